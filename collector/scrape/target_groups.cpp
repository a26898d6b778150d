#include "collector/scrape/target_groups.hpp"

#include <yaml-cpp/yaml.h>

#include <boost/json.hpp>
#include <string>

namespace muster::scrape {
namespace {

namespace json = boost::json;

Error in_group(std::size_t index, std::string what) {
  return {"entry " + std::to_string(index + 1), std::move(what)};
}

// What a group may not be, whoever wrote it.
Result<void> check(const TargetGroup& group, std::size_t index) {
  for (const std::string& target : group.targets)
    if (target.empty() || target.find('/') != target.npos)
      return in_group(index, "target '" + target + "' is no HOST:PORT");
  for (const Label& label : group.labels)
    if (!decode::is_label_name(label.name))
      return in_group(index, "'" + label.name + "' is no label name");
  return {};
}

}  // namespace

Result<std::vector<TargetGroup>> groups_of_json(std::string_view text) {
  boost::system::error_code failed;
  const json::value root = json::parse(text, failed);
  if (failed) return Error{"list", "not JSON: " + failed.message()};
  if (!root.is_array())
    return Error{"list", R"(not an array; write [{"targets": ["host:port"], "labels": {}}])"};
  std::vector<TargetGroup> groups;
  for (const json::value& entry : root.get_array()) {
    const std::size_t index = groups.size();
    if (!entry.is_object()) return in_group(index, "not an object");
    TargetGroup group;
    for (const auto& [key, value] : entry.get_object()) {
      if (key == "targets") {
        if (!value.is_array()) return in_group(index, "targets is not an array");
        for (const json::value& target : value.get_array()) {
          if (!target.is_string()) return in_group(index, "a target that is not a string");
          group.targets.emplace_back(target.get_string());
        }
      } else if (key == "labels") {
        if (value.is_null()) continue;
        if (!value.is_object()) return in_group(index, "labels is not an object");
        for (const auto& [name, word] : value.get_object()) {
          if (!word.is_string())
            return in_group(index, "label " + std::string(name) + " is not a string");
          decode::set_label(group.labels, name, word.get_string());
        }
      } else {
        return in_group(index,
                        "unknown key '" + std::string(key) + "'; there is targets and labels");
      }
    }
    if (const Result<void> good = check(group, index); !good) return good.error();
    groups.push_back(std::move(group));
  }
  return groups;
}

Result<std::vector<TargetGroup>> groups_of_yaml(std::string_view text) {
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    std::vector<TargetGroup> groups;
    if (root.IsNull()) return groups;
    if (!root.IsSequence()) return Error{"list", "not a list; write `- targets: ['host:port']`"};
    for (const YAML::Node& entry : root) {
      const std::size_t index = groups.size();
      if (!entry.IsMap()) return in_group(index, "not a mapping");
      TargetGroup group;
      for (const auto& pair : entry) {
        const auto key = pair.first.as<std::string>();
        if (key == "targets") {
          if (!pair.second.IsSequence()) return in_group(index, "targets is not a list");
          for (const YAML::Node& target : pair.second)
            group.targets.push_back(target.as<std::string>());
        } else if (key == "labels") {
          if (pair.second.IsNull()) continue;
          if (!pair.second.IsMap()) return in_group(index, "labels is not a mapping");
          for (const auto& label : pair.second)
            decode::set_label(group.labels, label.first.as<std::string>(),
                              label.second.as<std::string>());
        } else {
          return in_group(index, "unknown key '" + key + "'; there is targets and labels");
        }
      }
      if (const Result<void> good = check(group, index); !good) return good.error();
      groups.push_back(std::move(group));
    }
    return groups;
  } catch (const YAML::Exception& fault) {
    return Error{"list", "not YAML of this form: " + std::string(fault.what())};
  }
}

}  // namespace muster::scrape
