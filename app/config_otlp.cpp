#include "app/config_otlp.hpp"

#include <algorithm>

#include "collector/decode/otlp_names.hpp"

namespace muster::app {
namespace {

// Each becomes a label of every series; a label set holds 64.
constexpr std::size_t promotions_max = 32;

}  // namespace

void read_otlp(Problems& problems, const YAML::Node& node, decode::OtlpRules& into) {
  Section section(problems, node, "collector.otlp");
  section.flag("target_info", into.target_info);
  section.flag("scope_labels", into.scope_labels);
  const auto promote = section.take("promote_resource_attributes");
  if (!promote) return;
  if (!promote->IsMap()) {
    problems.fault(*promote,
                   "promote_resource_attributes has to be a mapping of attributes to labels, e.g. "
                   "service.version: version");
    return;
  }
  std::vector<decode::OtlpRules::Promotion> list;
  for (const auto& pair : *promote) {
    const auto attribute = scalar(problems, pair.first, "a resource attribute");
    const auto label = scalar(problems, pair.second, "the label of a resource attribute");
    if (!attribute || !label) continue;
    if (!decode::is_prometheus_label(*label) || label->starts_with("__")) {
      problems.fault(pair.second, "'" + *label +
                                      "' is no name of a label: letters, digits and _, without a "
                                      "digit or _ in front");
    } else if (*label == "job" || *label == "instance") {
      problems.fault(pair.second,
                     *label + " comes from service.name and service.instance.id; use another label");
    } else if (std::any_of(list.begin(), list.end(), [&](const auto& one) {
                 return one.attribute == *attribute;
               })) {
      problems.fault(pair.first, "'" + *attribute + "' is there twice; keep one of the two");
    } else {
      list.push_back({*attribute, *label});
    }
  }
  if (list.size() > promotions_max)
    problems.fault(*promote, "promote_resource_attributes has more than " +
                                 std::to_string(promotions_max) +
                                 " entries, and each becomes a label of every series");
  into.promote = std::move(list);
}

}  // namespace muster::app
