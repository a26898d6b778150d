#include "router/step.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "router/labels.hpp"
#include "router/payload.hpp"
#include "router/stages.hpp"

namespace muster::router {
namespace {

// A list in an annotation is read by people; the page has the whole of it.
constexpr std::size_t models_listed_max = 20;

// The labels of an incident's alert, but for the severity: what routes and silences go by, so they never
// change.
Labels labels_of(const Incident& incident) {
  return canonical({{"alertname", "Incident"},
                    {"incident", incident.id},
                    {"cause", incident.cause},
                    {"cause_kind", incident.cause_kind},
                    {"team", incident.team},
                    {"region", incident.cause_kind == "region" ? incident.cause : std::string()}});
}

std::string percent(double share) {
  return std::to_string(std::lround(100 * share)) + "%";
}

// What may change while it lasts, and what people read.
Labels annotations_of(const Incident& incident) {
  std::string suspects;
  for (const Suspect& s : incident.suspects) {
    if (!suspects.empty()) suspects += ", ";
    suspects += s.id + ' ' + percent(s.posterior);
  }
  std::string models;
  for (std::size_t i = 0; i < incident.models.size() && i < models_listed_max; ++i) {
    if (i > 0) models += ", ";
    models += incident.models[i];
  }
  if (incident.models.size() > models_listed_max)
    models += " and " + std::to_string(incident.models.size() - models_listed_max) + " more";
  std::string metrics;
  for (const std::string& m : incident.metrics) metrics += (metrics.empty() ? "" : ", ") + m;

  return canonical(
      {{"title", incident.title},
       {"summary", incident.title},  // the name that receivers made for Alertmanager show
       {"why", incident.why},
       {"first_look", incident.first_look},
       {"suspects", suspects},
       {"models", models},
       {"models_count", std::to_string(incident.models.size())},
       {"metrics", metrics},
       {"started_at", rfc3339(incident.started_at)},
       {"merged_into", incident.merged_into}});
}

// The work of one step. Everything it decides goes into `out`.
class Work {
 public:
  Work(Memory memory, Timestamp now, const Settings& settings) : now_(now), settings_(settings) {
    out_.memory = std::move(memory);
  }

  Step run(std::span<const RouterEvent> events) {
    for (auto& [id, life] : memory().incidents) {
      if (!life.ack || !life.ack->until || *life.ack->until > now_) continue;
      life.ack.reset();
      decide("ack", "incident", id, Decision::Verdict::changed, Reason::ack_expired);
    }
    bool rebuild = memory().config_hash != settings_.config_hash && !memory().alerts.empty();
    memory().config_hash = settings_.config_hash;
    for (const RouterEvent& event : events) {
      if (std::holds_alternative<ConfigLoaded>(event)) rebuild = true;
    }
    // First, so that what is new in this step is routed once, by the new tree.
    if (rebuild) rebuild_groups();
    for (const RouterEvent& event : events) {
      std::visit([this](const auto& e) { apply(e); }, event);
    }
    flush_all();
    forget();
    for (const auto& [key, group] : memory().groups) {
      if (!out_.next_deadline || group.deadline < *out_.next_deadline)
        out_.next_deadline = group.deadline;
    }
    return std::move(out_);
  }

 private:
  Memory& memory() { return out_.memory; }

  Decision& decide(std::string_view stage, std::string_view kind, const std::string& subject,
                   Decision::Verdict verdict, Reason reason) {
    Decision d;
    d.at = now_;
    d.stage = stage;
    d.subject_kind = kind;
    d.subject = subject;
    d.verdict = verdict;
    d.reason = reason;
    out_.decisions.push_back(std::move(d));
    return out_.decisions.back();
  }

  // Findings.

  void apply(const Finding& finding) {
    const Incident& incident = finding.incident;
    OnCall& life = memory().incidents[incident.id];
    if (finding.sequence <= life.sequence) {
      decide("route", "incident", incident.id, Decision::Verdict::dropped, Reason::already_seen);
      return;
    }
    life.sequence = finding.sequence;
    life.updated_at = now_;
    if (incident.state == Incident::State::open) {
      fires(finding, life);
    } else {
      const bool merged = incident.state == Incident::State::merged;
      ends(incident, life, std::min(finding.at, now_),
           merged ? Reason::merged : Reason::resolved_explicit);
    }
  }

  void fires(const Finding& finding, OnCall& life) {
    const Incident& incident = finding.incident;
    const bool begins =
        finding.what == Finding::What::opened || finding.what == Finding::What::reopened;
    const auto found = memory().alerts.find(life.alert);
    Alert* present = found == memory().alerts.end() ? nullptr : &found->second;
    const bool fires_now = present && !present->ends_at;

    if (!fires_now && !incident.paged) {
      if (begins)
        decide("route", "incident", incident.id, Decision::Verdict::dropped, Reason::not_paged);
      return;
    }
    const bool first = life.alert.empty();
    const bool worse = !first && incident.severity > life.severity;
    if (!first && life.closed_by_person && finding.what != Finding::What::reopened && !worse) {
      // Whoever closed it knows that it goes on; only news is worth a word.
      if (present) present->annotations = annotations_of(incident);
      return;
    }
    if (fires_now && !worse) {
      present->annotations = annotations_of(incident);
      present->updated_at = now_;
      return;
    }
    if (memory().alerts.size() >= settings_.alerts_max) {
      decide("route", "incident", incident.id, Decision::Verdict::failed, Reason::limit_reached);
      return;
    }

    if (first) life.labels = labels_of(incident);
    if (!first && !fires_now) {
      decide("route", "incident", incident.id, Decision::Verdict::changed, Reason::reopened);
      life.ack.reset();
    }
    if (worse) {
      decide("route", "incident", incident.id, Decision::Verdict::changed, Reason::severity_rose)
          .details.emplace_back("severity", std::string(to_word(incident.severity)));
      life.ack.reset();
    }
    life.closed_by_person = false;
    life.severity = first ? incident.severity : std::max(life.severity, incident.severity);

    Alert alert;
    alert.labels = life.labels;
    set_label(alert.labels, "severity", to_word(life.severity));
    alert.fingerprint = fingerprint(alert.labels);
    alert.annotations = annotations_of(incident);
    alert.generator_url = incident_url(settings_, incident.id);
    // The first time, since when the fleet shows it; later, since when it is news again.
    alert.starts_at = std::min(first ? incident.started_at : finding.at, now_);
    alert.updated_at = now_;
    alert.incident = incident.id;
    alert.severity = life.severity;

    const std::string id = identity(alert.labels);
    const std::string before = life.alert;
    life.alert = id;
    memory().alerts[id] = std::move(alert);
    group(id);
    if (before != id && fires_now) supersede(before, id);
  }

  // The alert `before` gave way to a more severe one. Where both are in a group the old one just goes;
  // where only the old one is, its receiver was told of it and will be told when the incident is over.
  void supersede(const std::string& before, const std::string& by) {
    memory().alerts.at(before).superseded_by = by;
    for (auto& [key, g] : memory().groups) {
      if (!g.alerts.contains(before) || !g.alerts.contains(by)) continue;
      g.alerts.erase(before);
      for (auto& [entry_key, entry] : memory().entries) {
        if (entry_key.group == g.key) entry.told.erase(before);
      }
    }
    const Alert& old = memory().alerts.at(before);
    decide("route", "alert", old.fingerprint, Decision::Verdict::dropped, Reason::superseded);
    drop_unless_grouped(before);
  }

  void ends(const Incident& incident, OnCall& life, Timestamp at, Reason reason) {
    life.closed_by_person = false;
    life.ack.reset();
    if (life.alert.empty()) return;
    const Labels annotations = annotations_of(incident);
    end_alerts(incident.id, at, reason, &annotations);
  }

  void end_alerts(const std::string& incident, Timestamp at, Reason reason,
                  const Labels* annotations) {
    bool any = false;
    for (auto& [id, alert] : memory().alerts) {
      if (alert.incident != incident || alert.ends_at) continue;
      alert.ends_at = std::max(at, alert.starts_at);
      alert.ended = reason;
      alert.updated_at = now_;
      if (annotations) alert.annotations = *annotations;
      any = true;
    }
    if (any) decide("route", "incident", incident, Decision::Verdict::changed, reason);
  }

  // People.

  void apply(const PersonActed& act) {
    const auto found = memory().incidents.find(act.incident);
    if (found == memory().incidents.end()) {
      decide("ack", "incident", act.incident, Decision::Verdict::dropped, Reason::unknown_incident)
          .details.emplace_back("by", act.by);
      return;
    }
    OnCall& life = found->second;
    switch (act.what) {
      case PersonActed::What::ack:
        // The first one owns it; a second ack does not take it away.
        if (!life.ack) life.ack = OnCall::Ack{act.by, now_, act.until};
        decide("ack", "incident", act.incident, Decision::Verdict::changed, Reason::acked)
            .details.emplace_back("by", act.by);
        break;
      case PersonActed::What::unack:
        life.ack.reset();
        decide("ack", "incident", act.incident, Decision::Verdict::changed, Reason::ack_expired)
            .details.emplace_back("by", act.by);
        break;
      case PersonActed::What::resolve:
        life.closed_by_person = true;
        life.ack.reset();
        end_alerts(act.incident, now_, Reason::resolved_by_person, nullptr);
        break;
    }
    life.updated_at = now_;
  }

  // Delivery.

  void apply(const Delivered& delivered) {
    const auto found =
        memory().entries.find({delivered.group, delivered.receiver, delivered.target});
    if (found != memory().entries.end()) {
      Entry& entry = found->second;
      entry.delivered = entry.delivered || delivered.sent;
      // Nobody heard of the beginning, so nobody is told of the end. The next try is the next notice.
      if (!entry.delivered) entry.told.clear();
    }
    const bool ours = !delivered.incident.empty();
    Decision& d =
        decide("deliver", ours ? "incident" : "group", ours ? delivered.incident : delivered.group,
               delivered.sent ? Decision::Verdict::sent : Decision::Verdict::failed,
               delivered.sent ? Reason::sent : Reason::dead);
    d.receiver = delivered.receiver;
    d.integration = delivered.target;
    d.details.emplace_back("key", delivered.key);
    if (!delivered.error.empty()) d.details.emplace_back("error", delivered.error);
  }

  // Silences act when a group is looked at next, and move no timer.
  void apply(const SilenceSet& event) {
    Silence silence = event.silence;
    const auto old = memory().silences.find(silence.id);
    const bool running = old != memory().silences.end() && old->second.starts_at <= now_;
    // A start in the past means now; editing one that runs does not move its start.
    if (!running) silence.starts_at = std::max(silence.starts_at, now_);
    memory().silences[silence.id] = std::move(silence);
  }
  void apply(const SilenceExpired& event) {
    const auto found = memory().silences.find(event.id);
    if (found == memory().silences.end() || found->second.ends_at <= now_) return;
    found->second.ends_at = now_;
    found->second.starts_at = std::min(found->second.starts_at, now_);
  }
  void apply(const ConfigLoaded&) {}
  void apply(const DeadlineReached&) {}

  // Groups.

  void group(const std::string& id) {
    const Alert& alert = memory().alerts.at(id);
    const std::string& name = alert.incident.empty() ? alert.fingerprint : alert.incident;
    for (const std::size_t index : match(settings_.routes, alert.labels)) {
      const Route& route = settings_.routes[index];
      Labels labels = group_labels(route, alert.labels);
      bool forced = false;
      if (!alert.incident.empty() && value_of(labels, "incident").empty()) {
        // One cause is one page: two incidents never share a group, whatever the route says.
        set_label(labels, "incident", alert.incident);
        forced = true;
      }
      Memory::GroupKey key{index, identity(labels)};
      auto [at, born] = memory().groups.try_emplace(std::move(key));
      Group& g = at->second;
      const bool old = alert.starts_at + route.group_wait < now_;
      if (born) {
        g.route = index;
        g.key = group_key(route, labels);
        g.labels = std::move(labels);
        g.incident = alert.incident;
        // An alert that fired for longer than the group waits has waited enough.
        g.deadline = old ? now_ : now_ + route.group_wait;
      }
      g.alerts.insert(id);
      Decision& d = decide("route", alert.incident.empty() ? "alert" : "incident", name,
                           Decision::Verdict::kept,
                           index == 0 && settings_.routes.size() > 1 ? Reason::routed_default
                                                                     : Reason::matched_route);
      d.receiver = route.receiver;
      d.details.emplace_back("route", route.key);
      if (forced) {
        decide("group", "incident", name, Decision::Verdict::changed, Reason::group_by_forced)
            .receiver = route.receiver;
      }
      Decision& waits = decide("group", alert.incident.empty() ? "alert" : "incident", name,
                               Decision::Verdict::held,
                               born && old ? Reason::flushed_old_alert : Reason::waiting_group);
      waits.receiver = route.receiver;
      waits.details.emplace_back("until_us", std::to_string(g.deadline.us));
    }
  }

  void rebuild_groups() {
    memory().groups.clear();
    for (const auto& [id, alert] : memory().alerts) group(id);
    // Alerts come in the order of their names here, so the wait goes by the oldest of each group.
    for (auto& [key, g] : memory().groups) {
      Timestamp oldest = now_;
      for (const std::string& id : g.alerts)
        oldest = std::min(oldest, memory().alerts.at(id).starts_at);
      const Duration wait = settings_.routes[g.route].group_wait;
      g.deadline = oldest + wait < now_ ? now_ : now_ + wait;
    }
    // A new tree may route them elsewhere; where both would meet again, the old one stays away.
    std::vector<std::pair<std::string, std::string>> superseded;
    for (const auto& [id, alert] : memory().alerts) {
      if (!alert.superseded_by.empty()) superseded.emplace_back(id, alert.superseded_by);
    }
    for (const auto& [id, by] : superseded) {
      for (auto& [key, g] : memory().groups) {
        if (g.alerts.contains(by)) g.alerts.erase(id);
      }
      drop_unless_grouped(id);
    }
    decide("group", "config", settings_.config_hash, Decision::Verdict::changed,
           Reason::config_changed);
  }

  void drop_unless_grouped(const std::string& id) {
    for (const auto& [key, g] : memory().groups) {
      if (g.alerts.contains(id)) return;
    }
    memory().alerts.erase(id);
  }

  // Flushes, in the order of their deadlines.

  void flush_all() {
    std::vector<std::pair<Timestamp, Memory::GroupKey>> due;
    for (const auto& [key, g] : memory().groups) {
      if (g.deadline <= now_) due.emplace_back(g.deadline, key);
    }
    std::sort(due.begin(), due.end());
    for (const auto& [deadline, key] : due) flush(key);
  }

  void flush(const Memory::GroupKey& key) {
    Group& g = memory().groups.at(key);
    const Route& route = settings_.routes.at(g.route);
    const auto receiver = std::find_if(settings_.receivers.begin(), settings_.receivers.end(),
                                       [&](const Receiver& r) { return r.name == route.receiver; });
    assert(receiver != settings_.receivers.end() && "the config reader checks receivers");

    Draft draft;
    draft.group = &g;
    draft.route = &route;
    draft.receiver = &*receiver;
    // The tick counts from its deadline, not from when somebody found the time, so repeats keep their beat;
    // unless whole ticks were missed.
    draft.at = now_ - g.deadline < route.group_interval ? g.deadline : now_;
    std::set<std::string> over;
    for (const std::string& id : g.alerts) {
      (memory().alerts.at(id).resolved(now_) ? over : draft.firing).insert(id);
    }
    draft.resolved = over;

    const std::string subject = g.incident.empty() ? g.key : g.incident;
    const std::string_view kind = g.incident.empty() ? "group" : "incident";
    decide("group", kind, subject, Decision::Verdict::kept, Reason::flushed).receiver =
        receiver->name;
    if (receiver->integrations.empty()) {
      decide("group", kind, subject, Decision::Verdict::dropped, Reason::receiver_empty).receiver =
          receiver->name;
    }

    const Context context{memory(), settings_, now_};
    for (const Stage& stage : stages) draft = stage.run(std::move(draft), context);
    std::move(draft.decisions.begin(), draft.decisions.end(), std::back_inserter(out_.decisions));
    for (const Draft::Send& send : draft.sends) tell(draft, send);

    g.ticking = true;
    g.deadline = draft.at + route.group_interval;
    if (draft.hold) return;  // ends wait until they may be told
    for (const std::string& id : over) g.alerts.erase(id);
    if (g.alerts.empty()) memory().groups.erase(key);
    for (const std::string& id : over) drop_unless_grouped(id);
  }

  void tell(const Draft& draft, const Draft::Send& send) {
    const Group& g = *draft.group;
    const Memory::EntryKey entry_key{g.key, draft.receiver->name, send.integration->target};
    auto [found, fresh] = memory().entries.try_emplace(entry_key);
    Entry& entry = found->second;
    if (fresh) entry.born = draft.at;
    // An episode that begins anew has told nobody yet.
    if (entry.firing.empty() && entry.told.empty()) entry.delivered = false;
    entry.firing = send.firing;
    entry.resolved = send.resolved;
    entry.told.insert(send.firing.begin(), send.firing.end());
    for (const std::string& id : send.resolved) entry.told.erase(id);
    entry.at = draft.at;
    entry.keep_until = draft.at + std::min(settings_.retention, 2 * draft.route->repeat_interval);
    if (send.quiet) return;
    ++entry.sequence;

    Message message;
    message.receiver = draft.receiver->name;
    for (const std::set<std::string>* part : {&send.firing, &send.resolved}) {
      if (part == &send.resolved && !send.integration->send_resolved) continue;
      for (const std::string& id : *part) message.alerts.push_back(&memory().alerts.at(id));
    }
    message.now = now_;
    message.group_labels = g.labels;
    message.group_key = g.key;
    message.external_url = settings_.external_url;
    message.max_alerts = send.integration->max_alerts;

    Notice notice;
    notice.key = sha256_hex(g.key + '\n' + entry_key.receiver + '\n' + entry_key.target + '\n' +
                            std::to_string(entry.born.us) + '\n' + std::to_string(entry.sequence));
    notice.group = g.key;
    notice.incident = g.incident;
    notice.receiver = draft.receiver->name;
    notice.integration = send.index;
    notice.channel = send.integration->channel;
    notice.target = send.integration->target;
    notice.kind = send.firing.empty() ? Notice::Kind::resolved : Notice::Kind::notice;
    notice.sequence = entry.sequence;
    notice.reason = to_word(send.reason);
    notice.at = now_;
    notice.not_before = now_;
    notice.expires_at = now_ + settings_.delivery_age_max;
    notice.body = webhook_payload(message);
    notice.text = text_line(message, settings_.alerts_in_text_max);
    out_.notices.push_back(std::move(notice));
  }

  // What nothing refers to any more and nobody will ask for.
  void forget() {
    Memory& m = memory();
    std::set<std::string> alive;
    for (const auto& [key, g] : m.groups) alive.insert(g.key);
    std::erase_if(m.entries, [&](const auto& e) {
      return e.second.keep_until <= now_ && !alive.contains(e.first.group);
    });
    std::erase_if(m.incidents, [&](const auto& i) {
      return i.second.updated_at + settings_.retention <= now_ &&
             !m.alerts.contains(i.second.alert);
    });
    std::erase_if(m.silences,
                  [&](const auto& s) { return s.second.ends_at + settings_.retention <= now_; });
  }

  Step out_;
  Timestamp now_;
  const Settings& settings_;
};

}  // namespace

std::string incident_url(const Settings& settings, std::string_view incident) {
  return settings.external_url + "/incidents/" + std::string(incident);
}

Step step(Memory memory, std::span<const RouterEvent> events, Timestamp now,
          const Settings& settings) {
  assert(!settings.routes.empty() && "default_settings() has a route");
  return Work(std::move(memory), now, settings).run(events);
}

Settings default_settings() {
  Settings settings;
  RouteSpec root;
  root.receiver = "log";
  root.group_wait = Duration::zero();
  settings.routes = compile(root).value();
  settings.receivers = {{"log", {{"log", "log"}}}};
  settings.config_hash = "default";
  return settings;
}

}  // namespace muster::router
