#include "router/memory.hpp"

#include <boost/json.hpp>
#include <exception>

#include "router/labels.hpp"

namespace muster::router {
namespace {

namespace json = boost::json;

// Read by the next version too: a change of form needs a new number and a reader of the old one.
constexpr int version = 1;

json::array json_of(const Labels& labels) {
  json::array out;
  for (const Label& l : labels) out.push_back(json::array{l.name, l.value});
  return out;
}

json::array json_of(const std::set<std::string>& texts) {
  json::array out;
  for (const std::string& t : texts) out.emplace_back(t);
  return out;
}

json::value json_of(const std::optional<Timestamp>& t) {
  return t ? json::value(t->us) : json::value();
}

std::string text(const json::object& o, std::string_view key) {
  return std::string(o.at(key).as_string());
}
Timestamp instant(const json::value& v) {
  return {v.to_number<std::int64_t>()};
}
std::optional<Timestamp> maybe_instant(const json::value& v) {
  if (v.is_null()) return std::nullopt;
  return instant(v);
}

Labels labels_of(const json::value& v) {
  Labels out;
  for (const json::value& pair : v.as_array()) {
    const json::array& p = pair.as_array();
    out.push_back({std::string(p.at(0).as_string()), std::string(p.at(1).as_string())});
  }
  return out;
}

std::set<std::string> texts_of(const json::value& v) {
  std::set<std::string> out;
  for (const json::value& t : v.as_array()) out.emplace(t.as_string());
  return out;
}

Incident::Severity severity_of(const json::value& v) {
  const auto n = v.to_number<int>();
  if (n < 0 || n > static_cast<int>(Incident::Severity::critical))
    throw std::out_of_range("severity");
  return static_cast<Incident::Severity>(n);
}

Matcher::Op op_of(std::string_view word) {
  for (const auto op :
       {Matcher::Op::equal, Matcher::Op::not_equal, Matcher::Op::regex, Matcher::Op::not_regex}) {
    if (to_word(op) == word) return op;
  }
  throw std::out_of_range("operator of a matcher");
}

}  // namespace

std::string to_json(const Memory& m) {
  json::object alerts, incidents, silences;
  json::array groups, entries;
  for (const auto& [id, a] : m.alerts) {
    alerts[id] = {{"labels", json_of(a.labels)},
                  {"annotations", json_of(a.annotations)},
                  {"generator_url", a.generator_url},
                  {"starts_at", a.starts_at.us},
                  {"ends_at", json_of(a.ends_at)},
                  {"ended", to_word(a.ended)},
                  {"updated_at", a.updated_at.us},
                  {"incident", a.incident},
                  {"severity", static_cast<int>(a.severity)},
                  {"superseded_by", a.superseded_by}};
  }
  for (const auto& [id, c] : m.incidents) {
    json::value ack;
    if (c.ack) ack = {{"by", c.ack->by}, {"at", c.ack->at.us}, {"until", json_of(c.ack->until)}};
    incidents[id] = {{"sequence", c.sequence},
                     {"labels", json_of(c.labels)},
                     {"alert", c.alert},
                     {"severity", static_cast<int>(c.severity)},
                     {"ack", std::move(ack)},
                     {"closed_by_person", c.closed_by_person},
                     {"updated_at", c.updated_at.us}};
  }
  for (const auto& [id, g] : m.groups) {
    groups.push_back({{"route", g.route},
                      {"labels", json_of(g.labels)},
                      {"key", g.key},
                      {"incident", g.incident},
                      {"alerts", json_of(g.alerts)},
                      {"ticking", g.ticking},
                      {"deadline", g.deadline.us}});
  }
  for (const auto& [id, e] : m.entries) {
    entries.push_back({{"group", id.group},
                       {"receiver", id.receiver},
                       {"target", id.target},
                       {"firing", json_of(e.firing)},
                       {"resolved", json_of(e.resolved)},
                       {"told", json_of(e.told)},
                       {"at", e.at.us},
                       {"born", e.born.us},
                       {"sequence", e.sequence},
                       {"delivered", e.delivered},
                       {"keep_until", e.keep_until.us}});
  }
  for (const auto& [id, s] : m.silences) {
    json::array matchers;
    for (const Matcher& x : s.matchers)
      matchers.push_back(json::array{x.name, to_word(x.op), x.value});
    silences[id] = {{"matchers", std::move(matchers)},
                    {"starts_at", s.starts_at.us},
                    {"ends_at", s.ends_at.us},
                    {"created_by", s.created_by},
                    {"comment", s.comment}};
  }
  const json::object out{{"version", version},
                         {"config_hash", m.config_hash},
                         {"alerts", std::move(alerts)},
                         {"incidents", std::move(incidents)},
                         {"groups", std::move(groups)},
                         {"entries", std::move(entries)},
                         {"silences", std::move(silences)}};
  return json::serialize(out);
}

Result<Memory> parse_memory(std::string_view from) {
  try {
    const json::value parsed = json::parse(from);
    const json::object& o = parsed.as_object();
    if (const auto v = o.at("version").to_number<int>(); v != version)
      return Error{"router memory", "is of version " + std::to_string(v) +
                                        ", and this muster reads version " +
                                        std::to_string(version)};
    Memory m;
    m.config_hash = text(o, "config_hash");
    for (const auto& [id, value] : o.at("alerts").as_object()) {
      const json::object& f = value.as_object();
      Alert a;
      a.labels = labels_of(f.at("labels"));
      a.fingerprint = fingerprint(a.labels);
      a.annotations = labels_of(f.at("annotations"));
      a.generator_url = text(f, "generator_url");
      a.starts_at = instant(f.at("starts_at"));
      a.ends_at = maybe_instant(f.at("ends_at"));
      const auto ended = reason_of(text(f, "ended"));
      if (!ended) throw std::out_of_range("reason");
      a.ended = *ended;
      a.updated_at = instant(f.at("updated_at"));
      a.incident = text(f, "incident");
      a.severity = severity_of(f.at("severity"));
      a.superseded_by = text(f, "superseded_by");
      m.alerts.emplace(id, std::move(a));
    }
    for (const auto& [id, value] : o.at("incidents").as_object()) {
      const json::object& f = value.as_object();
      OnCall c;
      c.sequence = f.at("sequence").to_number<std::uint64_t>();
      c.labels = labels_of(f.at("labels"));
      c.alert = text(f, "alert");
      c.severity = severity_of(f.at("severity"));
      if (const json::object* ack = f.at("ack").if_object())
        c.ack =
            OnCall::Ack{text(*ack, "by"), instant(ack->at("at")), maybe_instant(ack->at("until"))};
      c.closed_by_person = f.at("closed_by_person").as_bool();
      c.updated_at = instant(f.at("updated_at"));
      m.incidents.emplace(id, std::move(c));
    }
    for (const json::value& value : o.at("groups").as_array()) {
      const json::object& f = value.as_object();
      Group g;
      g.route = f.at("route").to_number<std::size_t>();
      g.labels = labels_of(f.at("labels"));
      g.key = text(f, "key");
      g.incident = text(f, "incident");
      g.alerts = texts_of(f.at("alerts"));
      g.ticking = f.at("ticking").as_bool();
      g.deadline = instant(f.at("deadline"));
      Memory::GroupKey key{g.route, identity(g.labels)};
      m.groups.emplace(std::move(key), std::move(g));
    }
    for (const json::value& value : o.at("entries").as_array()) {
      const json::object& f = value.as_object();
      Entry e;
      e.firing = texts_of(f.at("firing"));
      e.resolved = texts_of(f.at("resolved"));
      e.told = texts_of(f.at("told"));
      e.at = instant(f.at("at"));
      e.born = instant(f.at("born"));
      e.sequence = f.at("sequence").to_number<std::uint64_t>();
      e.delivered = f.at("delivered").as_bool();
      e.keep_until = instant(f.at("keep_until"));
      Memory::EntryKey key{text(f, "group"), text(f, "receiver"), text(f, "target")};
      m.entries.emplace(std::move(key), std::move(e));
    }
    for (const auto& [id, value] : o.at("silences").as_object()) {
      const json::object& f = value.as_object();
      Silence s;
      s.id = id;
      for (const json::value& x : f.at("matchers").as_array()) {
        const json::array& parts = x.as_array();
        auto made =
            make_matcher(std::string(parts.at(0).as_string()), op_of(parts.at(1).as_string()),
                         std::string(parts.at(2).as_string()));
        if (!made) return made.error();
        s.matchers.push_back(std::move(*made));
      }
      s.starts_at = instant(f.at("starts_at"));
      s.ends_at = instant(f.at("ends_at"));
      s.created_by = text(f, "created_by");
      s.comment = text(f, "comment");
      m.silences.emplace(id, std::move(s));
    }
    for (const auto& [key, group] : m.groups) {
      for (const std::string& id : group.alerts) {
        if (!m.alerts.contains(id))
          return Error{"router memory", "a group names an alert that is not there"};
      }
    }
    return m;
  } catch (const std::exception& fault) {
    return Error{"router memory", std::string("is not what this muster writes: ") + fault.what()};
  }
}

}  // namespace muster::router
