#include "router/stages.hpp"

#include <algorithm>

#include "router/labels.hpp"

namespace muster::router {
namespace {

Decision about_alert(const Draft& draft, const Alert& alert, std::string_view stage,
                     Reason reason) {
  Decision d;
  d.at = draft.at;
  d.stage = stage;
  d.subject_kind = alert.incident.empty() ? "alert" : "incident";
  d.subject = alert.incident.empty() ? alert.fingerprint : alert.incident;
  d.receiver = draft.receiver->name;
  d.verdict = Decision::Verdict::dropped;
  d.reason = reason;
  return d;
}

Decision about_group(const Draft& draft, std::string_view stage, Decision::Verdict verdict,
                     Reason reason) {
  Decision d;
  d.at = draft.at;
  d.stage = stage;
  d.subject_kind = draft.group->incident.empty() ? "group" : "incident";
  d.subject = draft.group->incident.empty() ? draft.group->key : draft.group->incident;
  d.receiver = draft.receiver->name;
  d.verdict = verdict;
  d.reason = reason;
  return d;
}

// Takes what `why` gives a decision for out of the firing ones. The end of what was told passes all the
// same: whoever was woken is told that it is over.
template <class Why>
Draft suppress(Draft draft, const Context& context, Why why) {
  std::set<std::string> kept;
  for (const std::string& id : draft.firing) {
    if (std::optional<Decision> decision = why(context.memory.alerts.at(id))) {
      draft.decisions.push_back(std::move(*decision));
    } else {
      kept.insert(id);
    }
  }
  draft.firing = std::move(kept);
  return draft;
}

Draft hold(Draft draft, std::string_view stage, Reason reason, const std::string& interval) {
  Decision d = about_group(draft, stage, Decision::Verdict::held, reason);
  d.details.emplace_back("interval", interval);
  draft.decisions.push_back(std::move(d));
  draft.firing.clear();
  draft.resolved.clear();
  draft.hold = true;
  return draft;
}

bool inside(const Settings& settings, const std::string& name, Timestamp t) {
  return std::any_of(settings.intervals.begin(), settings.intervals.end(),
                     [&](const TimeInterval& i) { return i.name == name && i.contains(t); });
}

bool within(const std::set<std::string>& part, const std::set<std::string>& whole) {
  return std::includes(whole.begin(), whole.end(), part.begin(), part.end());
}

// The table of ROUTER: the first row that fits says why an integration is told, or that it is not.
struct Told {
  bool tell = false;
  Reason reason = Reason::unchanged;
};
Told compare(const Entry* last, const std::set<std::string>& firing,
             const std::set<std::string>& resolved, const Integration& integration, Timestamp at,
             Duration repeat, bool may_repeat) {
  if (!last) {
    if (firing.empty()) return {false, Reason::resolved_never_told};
    return {true, Reason::first_notification};
  }
  if (!within(firing, last->firing))
    return {true, last->firing.empty() ? Reason::first_notification : Reason::new_alerts};
  if (firing.empty()) {
    if (within(resolved, last->resolved)) return {false, Reason::unchanged};
    return {true, Reason::all_resolved};
  }
  if (integration.send_resolved && !within(resolved, last->resolved))
    return {true, Reason::some_resolved};
  if (at - last->at >= repeat) {
    if (!may_repeat) return {false, Reason::superseded};
    return {true, Reason::repeat_elapsed};
  }
  return {false, Reason::unchanged};
}

}  // namespace

Draft inhibit(Draft draft, const Context& context) {
  return suppress(std::move(draft), context, [&](const Alert& target) -> std::optional<Decision> {
    for (const InhibitRule& rule : context.settings.inhibit_rules) {
      if (!matches(rule.target, target.labels)) continue;
      const bool both = matches(rule.source, target.labels);
      for (const auto& [id, source] : context.memory.alerts) {
        if (source.resolved(context.now) || !source.superseded_by.empty()) continue;
        if (!matches(rule.source, source.labels)) continue;
        // Two that match both sides would mute each other, and nobody would be told.
        if (both && matches(rule.target, source.labels)) continue;
        const bool equal =
            std::all_of(rule.equal.begin(), rule.equal.end(), [&](const std::string& name) {
              return value_of(source.labels, name) == value_of(target.labels, name);
            });
        if (!equal) continue;
        Decision d = about_alert(draft, target, "inhibit", Reason::inhibited);
        d.details.emplace_back("source",
                               source.incident.empty() ? source.fingerprint : source.incident);
        if (!rule.name.empty()) d.details.emplace_back("rule", rule.name);
        return d;
      }
    }
    return std::nullopt;
  });
}

Draft active(Draft draft, const Context& context) {
  const auto& names = draft.route->active_time_intervals;
  if (names.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return inside(context.settings, name, context.now);
      }))
    return draft;
  return hold(std::move(draft), "active", Reason::outside_active_interval, names.front());
}

Draft mute(Draft draft, const Context& context) {
  if (draft.hold) return draft;
  for (const std::string& name : draft.route->mute_time_intervals) {
    if (inside(context.settings, name, context.now))
      return hold(std::move(draft), "mute", Reason::muted_interval, name);
  }
  return draft;
}

Draft silence(Draft draft, const Context& context) {
  return suppress(std::move(draft), context, [&](const Alert& alert) -> std::optional<Decision> {
    for (const auto& [id, s] : context.memory.silences) {
      if (context.now < s.starts_at || context.now >= s.ends_at ||
          !matches(s.matchers, alert.labels))
        continue;
      Decision d = about_alert(draft, alert, "silence", Reason::silenced);
      d.details.emplace_back("silence", id);
      d.details.emplace_back("by", s.created_by);
      return d;
    }
    return std::nullopt;
  });
}

Draft dedup(Draft draft, const Context& context) {
  if (draft.firing.empty() && draft.resolved.empty()) return draft;
  const bool may_repeat = std::any_of(
      draft.firing.begin(), draft.firing.end(),
      [&](const std::string& id) { return context.memory.alerts.at(id).superseded_by.empty(); });
  const auto& integrations = draft.receiver->integrations;
  for (std::uint32_t i = 0; i < integrations.size(); ++i) {
    const Integration& integration = integrations[i];
    const auto found =
        context.memory.entries.find({draft.group->key, draft.receiver->name, integration.target});
    const Entry* last = found == context.memory.entries.end() ? nullptr : &found->second;

    // Ends go to those who were told of the beginning, and to nobody else.
    std::set<std::string> resolved;
    for (const std::string& id : draft.resolved) {
      if (last && last->told.contains(id)) resolved.insert(id);
    }
    const Told told = compare(last, draft.firing, resolved, integration, draft.at,
                              draft.route->repeat_interval, may_repeat);
    const bool quiet = told.tell && draft.firing.empty() && !integration.send_resolved;

    Decision d = about_group(
        draft, "dedup", told.tell && !quiet ? Decision::Verdict::kept : Decision::Verdict::dropped,
        quiet ? Reason::resolved_not_sent : told.reason);
    d.integration = integration.target;
    d.details.emplace_back("firing", std::to_string(draft.firing.size()));
    d.details.emplace_back("resolved", std::to_string(resolved.size()));
    if (last) d.details.emplace_back("last_notice_us", std::to_string(last->at.us));
    draft.decisions.push_back(std::move(d));
    if (!told.tell) continue;
    draft.sends.push_back({&integration, i, told.reason, draft.firing, std::move(resolved), quiet});
  }
  return draft;
}

Draft ack(Draft draft, const Context& context) {
  const auto found = context.memory.incidents.find(draft.group->incident);
  if (found == context.memory.incidents.end() || !found->second.ack) return draft;
  std::vector<Draft::Send> kept;
  for (Draft::Send& send : draft.sends) {
    if (send.reason != Reason::repeat_elapsed || send.integration->repeat_when_acked) {
      kept.push_back(std::move(send));
      continue;
    }
    Decision d = about_group(draft, "ack", Decision::Verdict::held, Reason::acked);
    d.integration = send.integration->target;
    d.details.emplace_back("by", found->second.ack->by);
    draft.decisions.push_back(std::move(d));
  }
  draft.sends = std::move(kept);
  return draft;
}

}  // namespace muster::router
