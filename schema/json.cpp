#include "schema/json.hpp"

#include <array>
#include <stdexcept>
#include <utility>

namespace muster {
namespace {

namespace json = boost::json;

// The words of each enum, once, for both directions.
constexpr std::array incident_states{std::pair{Incident::State::open, std::string_view("open")},
                                     std::pair{Incident::State::resolved, std::string_view("resolved")},
                                     std::pair{Incident::State::merged, std::string_view("merged")}};
constexpr std::array severities{std::pair{Incident::Severity::info, std::string_view("info")},
                                std::pair{Incident::Severity::warning, std::string_view("warning")},
                                std::pair{Incident::Severity::critical, std::string_view("critical")}};
constexpr std::array finding_words{std::pair{Finding::What::opened, std::string_view("opened")},
                                   std::pair{Finding::What::updated, std::string_view("updated")},
                                   std::pair{Finding::What::attached, std::string_view("attached")},
                                   std::pair{Finding::What::reopened, std::string_view("reopened")},
                                   std::pair{Finding::What::merged, std::string_view("merged")},
                                   std::pair{Finding::What::resolved, std::string_view("resolved")}};
constexpr std::array model_states{std::pair{ModelView::State::ok, std::string_view("ok")},
                                  std::pair{ModelView::State::watch, std::string_view("watch")},
                                  std::pair{ModelView::State::degraded, std::string_view("degraded")},
                                  std::pair{ModelView::State::failing, std::string_view("failing")},
                                  std::pair{ModelView::State::learning, std::string_view("learning")},
                                  std::pair{ModelView::State::silent, std::string_view("silent")},
                                  std::pair{ModelView::State::muted, std::string_view("muted")}};

template <class Words, class Enum>
std::string_view word_of(const Words& words, Enum value) {
  for (const auto& [e, word] : words) {
    if (e == value) return word;
  }
  return "";
}

// Boost.JSON's checked access throws; the parsers below turn that into one Error at their door.
template <class Words>
auto enum_of(const Words& words, const json::value& from) {
  const json::string& text = from.as_string();
  for (const auto& [e, word] : words) {
    if (word == std::string_view(text)) return e;
  }
  throw std::invalid_argument("unknown word '" + std::string(text) + "'");
}

// The member `key`, or a fault that names it.
const json::value& field(const json::object& from, std::string_view key) {
  const json::value* found = from.if_contains(key);
  if (!found) throw std::invalid_argument("\"" + std::string(key) + "\" is missing");
  return *found;
}

json::value millis(Timestamp t) { return to_millis(t); }
Timestamp instant(const json::value& from) { return from_millis(from.to_number<std::int64_t>()); }
std::string text(const json::object& from, std::string_view key) {
  const json::string* found = field(from, key).if_string();
  if (!found) throw std::invalid_argument("\"" + std::string(key) + "\" must be a string");
  return std::string(*found);
}
double number(const json::object& from, std::string_view key) { return field(from, key).to_number<double>(); }
std::uint32_t count(const json::object& from, std::string_view key) {
  return field(from, key).to_number<std::uint32_t>();
}

json::array texts(const std::vector<std::string>& from) {
  json::array list;
  for (const std::string& s : from) list.emplace_back(s);
  return list;
}
std::vector<std::string> texts_of(const json::value& from) {
  std::vector<std::string> list;
  for (const json::value& v : from.as_array()) list.emplace_back(v.as_string());
  return list;
}
json::array numbers(const std::vector<double>& from) { return json::array(from.begin(), from.end()); }
std::vector<double> numbers_of(const json::value& from) {
  std::vector<double> list;
  for (const json::value& v : from.as_array()) list.push_back(v.to_number<double>());
  return list;
}

Event event_of(const json::value& from) {
  const json::object& o = from.as_object();
  Event event;
  if (!field(o, "ts").is_int64()) throw std::invalid_argument("\"ts\" must be whole unix milliseconds");
  event.ts = instant(field(o, "ts"));
  if (const json::value* until = o.if_contains("until"); until && !until->is_null()) {
    event.until = instant(*until);
  }
  event.kind = text(o, "kind");
  if (const json::object* named = field(o, "subject").if_object(); named && named->size() == 1) {
    const std::string_view kind = named->begin()->key();
    event.subject = std::string(kind) + ":" + text(*named, kind);
  } else {
    event.subject = text(o, "subject");
  }
  event.title = text(o, "title");
  return event;
}

Incident incident_from(const json::object& o) {
  Incident i;
  i.id = text(o, "id");
  i.state = enum_of(incident_states, field(o, "state"));
  i.severity = enum_of(severities, field(o, "severity"));
  i.paged = field(o, "paged").as_bool();
  i.opened_at = instant(field(o, "opened_at"));
  i.started_at = instant(field(o, "started_at"));
  i.updated_at = instant(field(o, "updated_at"));
  if (!field(o, "resolved_at").is_null()) i.resolved_at = instant(field(o, "resolved_at"));
  i.merged_into = text(o, "merged_into");
  i.cause = text(o, "cause");
  i.cause_kind = text(o, "cause_kind");
  i.team = text(o, "team");
  i.title = text(o, "title");
  i.why = text(o, "why");
  i.first_look = text(o, "first_look");
  i.score = number(o, "score");
  i.evidence = number(o, "evidence");
  i.needed = number(o, "needed");
  i.moved = count(o, "moved");
  i.members = count(o, "members");
  i.expected_by_chance = number(o, "expected_by_chance");
  i.explained = number(o, "explained");
  for (const json::value& v : field(o, "suspects").as_array()) {
    const json::object& s = v.as_object();
    i.suspects.push_back({text(s, "dependency"), text(s, "kind"), number(s, "posterior"), number(s, "score"),
                          count(s, "moved"), count(s, "members"), number(s, "explained"), text(s, "why")});
  }
  for (const json::value& v : field(o, "affected").as_array()) {
    const json::object& s = v.as_object();
    AffectedSeries a{text(s, "model"), text(s, "metric"), number(s, "sigma"), instant(field(s, "since")), {}, {}, {}, {}};
    if (const json::value* ts = s.if_contains("ts")) {
      for (const json::value& t : ts->as_array()) a.ts.push_back(instant(t));
      for (const json::value& x : field(s, "value").as_array()) {
        a.value.push_back(x.is_null() ? std::nullopt : std::optional(x.to_number<double>()));
      }
      a.low = numbers_of(field(s, "low"));
      a.high = numbers_of(field(s, "high"));
    }
    i.affected.push_back(std::move(a));
  }
  i.models = texts_of(field(o, "models"));
  i.metrics = texts_of(field(o, "metrics"));
  for (const json::value& v : field(o, "timeline").as_array()) {
    const json::object& p = v.as_object();
    i.timeline.push_back({instant(field(p, "ts")), number(p, "ratio"), count(p, "moved")});
  }
  for (const json::value& v : field(o, "events").as_array()) i.events.push_back(event_of(v));
  return i;
}

// Runs a reader of checked accesses and turns what it throws into an Error.
template <class Read>
auto guarded(std::string_view where, Read read) -> Result<decltype(read())> {
  try {
    return read();
  } catch (const std::exception& fault) {
    return Error{std::string(where), fault.what()};
  }
}

}  // namespace

std::string_view to_word(Incident::State s) { return word_of(incident_states, s); }
std::string_view to_word(Incident::Severity s) { return word_of(severities, s); }
std::string_view to_word(Finding::What w) { return word_of(finding_words, w); }
std::string_view to_word(ModelView::State s) { return word_of(model_states, s); }

json::object json_of_summary(const Incident& i) {
  return {{"id", i.id},
          {"state", to_word(i.state)},
          {"severity", to_word(i.severity)},
          {"paged", i.paged},
          {"opened_at", millis(i.opened_at)},
          {"started_at", millis(i.started_at)},
          {"updated_at", millis(i.updated_at)},
          {"resolved_at", i.resolved_at ? millis(*i.resolved_at) : json::value(nullptr)},
          {"merged_into", i.merged_into},
          {"cause", i.cause},
          {"cause_kind", i.cause_kind},
          {"team", i.team},
          {"title", i.title},
          {"score", i.score},
          {"evidence", i.evidence},
          {"needed", i.needed},
          {"moved", i.moved},
          {"members", i.members}};
}

json::object json_of(const Incident& i) {
  json::object o = json_of_summary(i);
  o["why"] = i.why;
  o["first_look"] = i.first_look;
  o["expected_by_chance"] = i.expected_by_chance;
  o["explained"] = i.explained;
  json::array suspects;
  for (const Suspect& s : i.suspects) {
    suspects.push_back(json::object{{"dependency", s.id},
                                    {"kind", s.kind},
                                    {"posterior", s.posterior},
                                    {"score", s.score},
                                    {"moved", s.moved},
                                    {"members", s.members},
                                    {"explained", s.explained},
                                    {"why", s.why}});
  }
  o["suspects"] = std::move(suspects);
  json::array affected;
  for (const AffectedSeries& a : i.affected) {
    json::object s{{"model", a.model}, {"metric", a.metric}, {"sigma", a.sigma}, {"since", millis(a.since)}};
    if (!a.ts.empty()) {
      json::array ts, value;
      for (const Timestamp t : a.ts) ts.push_back(millis(t));
      for (const auto& v : a.value) value.push_back(v ? json::value(*v) : json::value(nullptr));
      s["ts"] = std::move(ts);
      s["value"] = std::move(value);
      s["low"] = numbers(a.low);
      s["high"] = numbers(a.high);
    }
    affected.push_back(std::move(s));
  }
  o["affected"] = std::move(affected);
  o["models"] = texts(i.models);
  o["metrics"] = texts(i.metrics);
  json::array timeline;
  for (const EvidencePoint& p : i.timeline) {
    timeline.push_back(json::object{{"ts", millis(p.ts)}, {"ratio", p.ratio}, {"moved", p.moved}});
  }
  o["timeline"] = std::move(timeline);
  json::array events;
  for (const Event& e : i.events) events.push_back(json_of(e));
  o["events"] = std::move(events);
  return o;
}

json::object json_of(const Finding& f) {
  return {{"what", to_word(f.what)},
          {"sequence", f.sequence},
          {"at", millis(f.at)},
          {"incident", json_of(f.incident)}};
}

json::object json_of(const Event& e) {
  json::object o{{"ts", millis(e.ts)}, {"kind", e.kind}, {"subject", e.subject}, {"title", e.title}};
  if (e.until) o["until"] = millis(*e.until);
  return o;
}

json::object json_of(const ModelView& m) {
  return {{"id", m.id},
          {"family", m.family},
          {"region", m.region},
          {"team", m.team},
          {"version", m.version},
          {"state", to_word(m.state)},
          {"worst_metric", m.worst_metric},
          {"worst_sigma", m.worst_sigma},
          {"score", m.score},
          {"trend", m.trend},
          {"incident", m.incident.empty() ? json::value(nullptr) : json::value(m.incident)},
          {"learning_days_left", m.learning_days_left},
          {"last_seen", m.last_seen ? millis(*m.last_seen) : json::value(nullptr)},
          {"caption", m.caption}};
}

json::object json_of(const DependencyView& d) {
  return {{"id", d.id},           {"kind", d.kind},   {"team", d.team},
          {"members", d.members}, {"moved", d.moved}, {"score", d.score},
          {"incident", d.incident.empty() ? json::value(nullptr) : json::value(d.incident)}};
}

json::object json_of(const LedgerView& l) {
  return {{"budget_per_week", l.budget_per_week},
          {"since", millis(l.since)},
          {"promised", l.promised},
          {"sent", l.sent}};
}

json::object json_of(const StaticFinding& f) {
  return {{"kind", f.kind}, {"model", f.model}, {"metric", f.metric}, {"since", millis(f.since)}, {"text", f.text}};
}

Result<Incident> incident_of(const json::value& from) {
  return guarded("incident", [&] { return incident_from(from.as_object()); });
}

std::string to_json(const Incident& i) { return json::serialize(json_of(i)); }
std::string to_json(const Finding& f) { return json::serialize(json_of(f)); }
std::string to_json(const Event& e) { return json::serialize(json_of(e)); }

Result<Incident> parse_incident(std::string_view from) {
  return guarded("incident", [&] { return incident_from(json::parse(from).as_object()); });
}

Result<Finding> parse_finding(std::string_view from) {
  return guarded("finding", [&] {
    const json::value parsed = json::parse(from);
    const json::object& o = parsed.as_object();
    Finding f;
    f.what = enum_of(finding_words, field(o, "what"));
    f.sequence = field(o, "sequence").to_number<std::uint64_t>();
    f.at = instant(field(o, "at"));
    f.incident = incident_from(field(o, "incident").as_object());
    return f;
  });
}

Result<Event> parse_event(std::string_view from) {
  Result<Event> event = guarded("event", [&] { return event_of(json::parse(from)); });
  if (event && event->kind.empty()) return Error{"event.kind", "must be a non-empty string, e.g. \"deploy\""};
  if (event && event->until && *event->until < event->ts) return Error{"event.until", "lies before ts"};
  return event;
}

}  // namespace muster
