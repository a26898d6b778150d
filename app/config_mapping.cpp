#include "app/config_mapping.hpp"

#include <yaml-cpp/yaml.h>

#include <utility>
#include <vector>

#include "app/yaml_reader.hpp"

namespace muster::app {
namespace {

constexpr std::size_t text_bytes_max = 1 << 20;  // of rules to try: some hundred rules

template <class Enum>
void read_word(Section& section, const std::string& key, std::optional<Enum> (*from)(std::string_view),
               const std::string& words, std::optional<Enum>& into) {
  std::string word;
  section.text(key, word);
  if (word.empty()) return;
  into = from(word);
  if (!into) section.fault(key, key + ": '" + word + "' is none of " + words);
}

// Whether the rule can stand alone says where it is wrong; what only all together can break is said at the list.
MappingRule read_rule(Problems& problems, const YAML::Node& node) {
  MappingRule rule;
  bool sound = true;
  {
    Section section(problems, node, "a mapping rule");
    section.text("name", rule.name);
    std::string match;
    section.text("match", match);
    if (!match.empty()) {
      auto matchers = parse_series_selector(match);
      if (matchers) {
        rule.match = std::move(*matchers);
      } else {
        section.fault("match", matchers.error().where + ' ' + matchers.error().what);
        sound = false;
      }
    }
    section.text("model", rule.model);
    section.text("version", rule.version);
    section.text("environment", rule.environment);
    section.text("region", rule.region);
    section.text("family", rule.family);
    section.text("team", rule.team);
    section.text("metric", rule.metric);
    section.text("unit", rule.unit);
    if (const auto uses = section.take("uses")) {
      if (!uses->IsMap()) {
        section.fault("uses", "uses has to be a mapping of kinds to templates, e.g. {source: '${source}'}");
        sound = false;
      } else {
        for (const auto& entry : *uses) {
          const auto kind = scalar(problems, entry.first, "a kind of dependency");
          const auto text = scalar(problems, entry.second, "a template");
          if (kind && text) rule.uses.push_back({*kind, *text});
        }
      }
    }
    read_word(section, "kind", &kind_from,
              "gauge, counter, bucket, delta, delta_bucket, ratio, duration", rule.kind);
    read_word(section, "direction", &direction_from, "up (harm lies above), down, both", rule.direction);
    if (section.has("ignore")) {
      bool ignore = false;
      section.flag("ignore", ignore);
      rule.ignore = ignore;
    }
    section.texts("drop_labels", rule.drop_labels);
    const bool says = !rule.model.empty() || !rule.version.empty() || !rule.environment.empty() ||
                      !rule.region.empty() || !rule.family.empty() || !rule.team.empty() ||
                      !rule.metric.empty() || !rule.unit.empty() || !rule.uses.empty() || rule.kind ||
                      rule.direction || rule.ignore || !rule.drop_labels.empty();
    if (sound && !says && !problems.any())
      section.fault("this rule says nothing; give it model, metric, kind, ignore or another field");
  }
  if (sound) {
    MappingRule named = rule;
    if (const auto alone = Mapping::make({std::move(named)}); !alone) {
      const std::string& where = alone.error().where;
      const std::size_t field = where.find(": ");
      problems.fault(node, (field == where.npos ? where : where.substr(field + 2)) + ": " + alone.error().what);
    }
  }
  return rule;
}

Mapping read_list(Problems& problems, const YAML::Node& at, const std::vector<YAML::Node>& entries) {
  if (entries.size() > Mapping::rules_max) {
    problems.fault(at, "more than " + std::to_string(Mapping::rules_max) + " mapping rules; merge some");
    return {};
  }
  std::vector<MappingRule> rules;
  for (const YAML::Node& entry : entries) rules.push_back(read_rule(problems, entry));
  if (problems.any()) return {};
  auto made = Mapping::make(std::move(rules));
  if (made) return *made;
  problems.fault(at, made.error().where + ": " + made.error().what);
  return {};
}

}  // namespace

Mapping read_mapping(Problems& problems, const YAML::Node& node) {
  Section section(problems, node, "mapping");
  return read_list(problems, node, section.list("rules"));
}

Result<Mapping> parse_mapping(std::string_view yaml, const std::string& path) {
  if (yaml.size() > text_bytes_max)
    return Error{path, path + ": over " + std::to_string(text_bytes_max) + " bytes"};
  Problems problems(path);
  Mapping mapping;
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (root.IsSequence()) {
      mapping = read_list(problems, root, {root.begin(), root.end()});
    } else if (root.IsMap() && root["mapping"]) {
      mapping = read_mapping(problems, root["mapping"]);
    } else {
      mapping = read_mapping(problems, root);
    }
  } catch (const YAML::Exception& fault) {
    return Error{path, path + ": not YAML: " + fault.what()};
  }
  if (problems.any()) return Error{path, problems.text()};
  return mapping;
}

}  // namespace muster::app
