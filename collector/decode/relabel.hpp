#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/matcher.hpp"
#include "schema/series.hpp"

namespace re2 {
class RE2;
}

namespace muster::decode {

// One entry of Prometheus's `relabel_configs` or `metric_relabel_configs`, in its words and with its defaults.
struct RelabelRule {
  enum class Action : std::uint8_t {
    replace,    // target_label becomes the expanded replacement when the regex matches the source
    keep,       // the regex has to match, or the whole set is dropped
    drop,       // the whole set is dropped when it does
    keepequal,  // the source has to equal target_label
    dropequal,
    hashmod,    // target_label becomes md5(source) mod modulus
    labelmap,   // labels whose name matches are copied to the expanded replacement
    labeldrop,  // labels whose name matches go
    labelkeep,  // all others go
    lowercase,  // target_label becomes the source in small or capital letters (those of ASCII)
    uppercase,
  };
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string target_label;
  std::string regex = "(.*)";  // RE2, matched from end to end; `.` takes a line end too
  std::uint64_t modulus = 0;
  std::string replacement = "$1";
  Action action = Action::replace;

  std::shared_ptr<const re2::RE2> compiled;  // made by checked()
};

Result<RelabelRule::Action> relabel_action(std::string_view word);
std::string_view to_word(RelabelRule::Action action);

// The rule with its regex compiled, or what Prometheus would refuse of it. The Error's `where` is the key that
// is wrong.
Result<RelabelRule> checked(RelabelRule rule);

// Applies the rules in their order; false when one of them drops the set, which then is of no more use. A label
// that becomes empty is gone. The rules went through checked().
//
// labels  sorted by name, each name once; stays so
// source  Prometheus, configuration: relabel_config
bool relabel(Labels& labels, std::span<const RelabelRule> rules);

// Of a set sorted by name. An empty value takes the label away.
void set_label(Labels& labels, std::string_view name, std::string_view value);

// [a-zA-Z_][a-zA-Z0-9_]*, and with colons for a metric.
bool is_label_name(std::string_view name);
bool is_metric_name(std::string_view name);

}  // namespace muster::decode
