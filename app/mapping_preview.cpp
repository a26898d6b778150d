#include "app/mapping_preview.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <map>
#include <optional>
#include <vector>

#include "app/config_mapping.hpp"
#include "collector/decode/label_fields.hpp"
#include "schema/matcher.hpp"
#include "schema/text.hpp"

namespace muster::app {
namespace {

namespace json = boost::json;

// More at once nobody reads; a fleet is tried out in parts.
constexpr std::size_t previews_max = 10'000;

struct Said {
  std::string type;
  std::string unit;
};
using Families = std::map<std::string, Said, std::less<>>;

// The fields of one rule, in the words of the config.
std::vector<std::pair<std::string, std::string>> says_of(const MappingRule& rule) {
  std::vector<std::pair<std::string, std::string>> says;
  const auto add = [&](const char* field, const std::string& text) {
    if (!text.empty()) says.emplace_back(field, text);
  };
  add("model", rule.model);
  add("version", rule.version);
  add("environment", rule.environment);
  add("region", rule.region);
  add("family", rule.family);
  add("team", rule.team);
  add("metric", rule.metric);
  for (const MappingRule::Use& use : rule.uses) says.emplace_back("uses." + use.kind, use.dependency);
  if (rule.kind) says.emplace_back("kind", to_word(*rule.kind));
  if (rule.direction) says.emplace_back("direction", to_word(*rule.direction));
  add("unit", rule.unit);
  if (rule.ignore) says.emplace_back("ignore", *rule.ignore ? "true" : "false");
  std::string dropped;
  for (const std::string& label : rule.drop_labels) dropped += (dropped.empty() ? "" : ", ") + label;
  add("drop_labels", dropped);
  return says;
}

// The closing brace of a label set that begins with name{, beyond quoted values.
std::size_t end_of_labels(std::string_view text) {
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == '}' && !quoted) {
      return i + 1;
    }
  }
  return text.size();
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
  return s;
}

Result<Labels> read_labels(std::string_view text) {
  text = trimmed(text);
  const std::size_t brace = text.find('{'), space = text.find_first_of(" \t");
  const std::string_view selector = brace < space ? text.substr(0, end_of_labels(text)) : text.substr(0, space);
  auto matchers = parse_series_selector(selector);
  if (!matchers) return matchers.error();
  Labels labels;
  for (Matcher& m : *matchers) {
    if (m.op != Matcher::Op::equal)
      return Error{"series", "a label set has only NAME=\"VALUE\", not " + to_text(m)};
    labels.push_back({std::move(m.name), std::move(m.value)});
  }
  return labels;
}

// What an exposition says of a name's family: its own, or that of which it is a part.
void add_said(const Families& families, Labels& labels) {
  if (families.empty()) return;
  std::string name;
  for (const Label& label : labels)
    if (label.name == "__name__") name = label.value;
  auto at = families.find(name);
  for (const std::string_view end : {"_bucket", "_count", "_sum", "_total"})
    if (at == families.end() && name.ends_with(end))
      at = families.find(std::string_view(name).substr(0, name.size() - end.size()));
  if (at == families.end()) return;
  if (!at->second.type.empty()) labels.push_back({std::string(type_label), at->second.type});
  if (!at->second.unit.empty()) labels.push_back({std::string(unit_label), at->second.unit});
}

Result<Mapping::Explained> explained(Labels labels, const Mapping& mapping) {
  std::sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.name < b.name; });
  std::vector<char> fields;
  for (const Label& label : labels) decode::append_label_field(fields, label.name, label.value);
  return decode::label_fields_explained({fields.data(), fields.size()}, mapping);
}

json::object answer(const Result<Mapping::Explained>& explained, const Mapping& mapping) {
  if (!explained) return {{"error", {{"where", explained.error().where}, {"what", explained.error().what}}}};
  const SeriesIdentity& id = explained->identity;
  json::array uses;
  for (const Use& use : id.uses) uses.push_back({{"dependency", use.dependency}, {"kind", use.kind}});
  json::array because;
  for (const Mapping::Because& b : explained->because)
    because.push_back({{"field", b.field}, {"rule", b.rule + 1}, {"name", mapping.rules()[b.rule].name}, {"why", b.why}});
  return {{"model", id.model},
          {"version", id.attributes.version},
          {"environment", id.attributes.environment},
          {"region", id.attributes.region},
          {"family", id.attributes.family},
          {"team", id.attributes.team},
          {"metric", id.metric},
          {"kind", std::string(to_word(id.kind))},
          {"direction", std::string(to_word(id.direction))},
          {"unit", std::string(to_word(id.unit))},
          {"ignored", id.ignored},
          {"uses", std::move(uses)},
          {"because", std::move(because)}};
}

Result<std::string> preview_json(const json::object& asked, const Mapping& current) {
  std::optional<Mapping> candidate;
  if (const json::value* rules = asked.if_contains("mapping")) {
    // JSON is YAML.
    auto parsed = parse_mapping(rules->is_string() ? std::string(rules->get_string()) : json::serialize(*rules),
                                "mapping");
    if (!parsed) return parsed.error();
    candidate = std::move(*parsed);
    candidate->facts = current.facts;
  }
  const Mapping& mapping = candidate ? *candidate : current;
  const json::value* series = asked.if_contains("series");
  if (series == nullptr) return Error{"series", R"(is missing; e.g. {"series":["up{job=\"api\"}"]})"};
  const json::array one{*series};
  const json::array& list = series->is_array() ? series->get_array() : one;
  if (list.size() > previews_max)
    return Error{"series", "more than " + std::to_string(previews_max) + "; ask in parts"};
  json::array out;
  for (const json::value& entry : list) {
    if (entry.is_string()) {
      auto labels = read_labels(entry.get_string());
      out.push_back(answer(labels ? explained(std::move(*labels), mapping) : labels.error(), mapping));
      continue;
    }
    const json::object* set = entry.if_object();
    if (set != nullptr && set->size() == 1 && set->contains("labels")) set = set->at("labels").if_object();
    Labels labels;
    std::string bad;
    if (set == nullptr) bad = "a series is name{a=\"b\"} in a text, or an object of labels";
    if (set != nullptr) {
      for (const auto& [name, value] : *set) {
        if (!value.is_string()) bad = "label \"" + std::string(name) + "\" is not a text";
        if (value.is_string()) labels.push_back({std::string(name), std::string(value.get_string())});
      }
    }
    out.push_back(answer(bad.empty() ? explained(std::move(labels), mapping) : Error{"series", bad}, mapping));
  }
  return json::serialize(json::object{{"series", std::move(out)}});
}

// `# TYPE NAME TYPE` and `# UNIT NAME UNIT`; other comments are passed over.
void read_comment(std::string_view line, Families& families) {
  std::vector<std::string_view> words;
  line.remove_prefix(1);
  for (line = trimmed(line); !line.empty() && words.size() < 3; line = trimmed(line)) {
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  if (words.size() < 3) return;
  if (words[0] == "TYPE") families[std::string(words[1])].type = words[2];
  if (words[0] == "UNIT") families[std::string(words[1])].unit = words[2];
}

Result<std::string> preview_text(std::string_view body, const Mapping& mapping) {
  Families families;
  json::array out;
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('\n'), body.size());
    const std::string_view line = trimmed(body.substr(0, end));
    body.remove_prefix(std::min(end + 1, body.size()));
    if (line.empty()) continue;
    if (line.front() == '#') {
      read_comment(line, families);
      continue;
    }
    if (out.size() == previews_max)
      return Error{"body", "more than " + std::to_string(previews_max) + " lines; ask in parts"};
    auto labels = read_labels(line);
    if (labels) add_said(families, *labels);
    out.push_back(answer(labels ? explained(std::move(*labels), mapping) : labels.error(), mapping));
  }
  if (out.empty()) return Error{"body", R"(is empty; send lines like up{job="api"}, or {"series":[…]})"};
  return json::serialize(json::object{{"series", std::move(out)}});
}

}  // namespace

std::string mapping_json(const Mapping& mapping) {
  json::array rules;
  for (std::size_t r = 0; r < mapping.rules().size(); ++r) {
    const MappingRule& rule = mapping.rules()[r];
    json::object says;
    for (auto& [field, text] : says_of(rule)) says[field] = text;
    rules.push_back(json::object{{"rule", r + 1},
                                 {"name", rule.name},
                                 {"built_in", rule.built_in},
                                 {"match", to_text(rule.match)},
                                 {"says", std::move(says)}});
  }
  return json::serialize(json::object{{"rules", std::move(rules)}});
}

std::string mapping_text(const Mapping& mapping) {
  std::string out;
  for (std::size_t r = 0; r < mapping.rules().size(); ++r) {
    const MappingRule& rule = mapping.rules()[r];
    char head[80];
    std::snprintf(head, sizeof head, "%3zu  %-8s  %-28.28s", r + 1, rule.built_in ? "built in" : "yours",
                  rule.name.c_str());
    out += head;
    for (const auto& [field, text] : says_of(rule)) out += "  " + field + "=" + text;
    if (!rule.match.empty()) out += "  where " + to_text(rule.match);
    out += '\n';
  }
  return out;
}

Result<std::string> preview_mapping(std::string_view body, const Mapping& current) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(body, failed);
  if (failed) return preview_text(body, current);  // {a="b"} is none either
  if (parsed.is_object() &&
      (parsed.get_object().contains("series") || parsed.get_object().contains("mapping")))
    return preview_json(parsed.get_object(), current);
  if (parsed.is_array() || parsed.is_object()) return preview_json({{"series", parsed}}, current);
  return Error{"body", R"(is neither {"series":[…]} nor lines like up{job="api"})"};
}

Result<std::string> explain_mapping(std::string_view series, const Mapping& mapping) {
  auto labels = read_labels(series);
  if (!labels) return labels.error();
  const auto got = explained(std::move(*labels), mapping);
  if (!got) return got.error();
  const SeriesIdentity& id = got->identity;
  const auto value_of_field = [&](const std::string& field) -> std::string {
    if (field == "model") return id.model;
    if (field == "version") return id.attributes.version;
    if (field == "environment") return id.attributes.environment;
    if (field == "region") return id.attributes.region;
    if (field == "family") return id.attributes.family;
    if (field == "team") return id.attributes.team;
    if (field == "metric") return id.metric;
    if (field == "kind") return std::string(to_word(id.kind));
    if (field == "direction") return std::string(to_word(id.direction));
    if (field == "unit") return std::string(to_word(id.unit));
    if (field == "ignore") return id.ignored ? "yes, its samples are not stored" : "no";
    if (field == "uses") {
      std::string text;
      for (const Use& use : id.uses) text += (text.empty() ? "" : ", ") + use.kind + ' ' + use.dependency;
      return text;
    }
    return {};
  };
  std::string out;
  for (const Mapping::Because& b : got->because) {
    const MappingRule& rule = mapping.rules()[b.rule];
    char head[32];
    std::snprintf(head, sizeof head, "%-12s ", b.field.c_str());
    out += head + value_of_field(b.field) + "\n             because of rule " + std::to_string(b.rule + 1) +
           (rule.name.empty() ? "" : " (" + rule.name + ")") + ": " + b.why + '\n';
  }
  const bool kind_said = std::any_of(got->because.begin(), got->because.end(),
                                     [](const Mapping::Because& b) { return b.field == "kind"; });
  if (!kind_said) out += "kind         gauge\n             as no rule says otherwise\n";
  return out;
}

}  // namespace muster::app
