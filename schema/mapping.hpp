#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/matcher.hpp"
#include "schema/series.hpp"

namespace muster {

struct LabelView {
  std::string_view name;
  std::string_view value;
};

// Reserved labels: what a protocol knows of a series beside its labels. Rules read them like any other, and they
// are never part of a metric. `__temporality__="delta"` turns counters into increases, whatever rule made them.
inline constexpr std::string_view type_label = "__type__";  // counter, gauge, histogram, summary, …
inline constexpr std::string_view unit_label = "__unit__";  // seconds, bytes, …
inline constexpr std::string_view temporality_label = "__temporality__";  // "delta", or not there

// What a sender said of a metric beside its samples.
struct MetricFacts {
  std::string type;  // counter, gauge, histogram, gaugehistogram, summary, info, stateset; empty: not known
  std::string unit;  // seconds, bytes, …; empty: not known
};

// One rule of a mapping: what it says about the label sets that match. A text is a template of labels:
//
//   ${model_name}               the label's value
//   ${model_name|model}         that of the first that is there
//   ${job}/${instance}          with text between
//   $$                          a dollar
//
// A template of which a label is missing says nothing, and the next rule is asked; empty says nothing either.
struct MappingRule {
  std::string name;
  std::vector<Matcher> match;  // all hold; none: every label set

  std::string model;
  std::string version;
  std::string environment;
  std::string region;
  std::string family;
  std::string team;
  std::string metric;
  std::string unit;  // a word as in to_word(Unit) or a usual short form of it; or a template that gives one

  // What the model uses: a kind of dependency and a template of its id. The label stays in the metric.
  struct Use {
    std::string kind;
    std::string dependency;
  };
  std::vector<Use> uses;

  std::optional<Kind> kind;
  std::optional<Direction> direction;
  std::optional<bool> ignore;            // true: the samples are not stored
  std::vector<std::string> drop_labels;  // not part of the metric, beside those that templates took
  bool built_in = false;
};

// Whose a label set is, for senders that know nothing of muster: a list of rules, the user's before the built-in
// ones. Each field is given by the first rule that matches and says something about it. A label that a template
// took does not stand in the metric; all others do, so that no two label sets fall together.
//
// A value: cheap to copy, shared by threads once it is made.
class Mapping {
 public:
  static constexpr std::size_t rules_max = 200;   // of a user: more is a table, and belongs to the sender
  static constexpr std::size_t labels_max = 254;  // that rules may name in all

  Mapping();  // the built-in rules
  // `own` before the built-in ones; an error names the rule and the field.
  static Result<Mapping> make(std::vector<MappingRule> own);

  // labels  sorted by name, each name once, no empty names or values, at most 96
  SeriesIdentity identify(std::span<const LabelView> labels) const;

  // The same, with the rule behind each field.
  struct Because {
    std::string field;
    std::size_t rule = 0;  // index into rules()
    std::string why;       // half a sentence: `label "job" says it`
  };
  struct Explained {
    SeriesIdentity identity;
    std::vector<Because> because;
  };
  Explained explain(std::span<const LabelView> labels) const;

  // Direction and unit of a metric whose sender said model and metric itself.
  void describe(SeriesIdentity& identity) const;

  const std::vector<MappingRule>& rules() const;  // in the order in which they are asked

  // What is known of the metric of this `__name__`: whoever reads label sets asks it when `__type__` and `__unit__`
  // are not among them. It may be asked from any thread, and there may be none.
  std::function<std::optional<MetricFacts>(std::string_view name)> facts;

 private:
  struct Compiled;
  explicit Mapping(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  template <class Tell>
  SeriesIdentity evaluate(std::span<const LabelView> labels, Tell&& tell) const;

  std::shared_ptr<const Compiled> compiled_;
};

using MappingPtr = std::shared_ptr<const Mapping>;

// The rules that stand behind all others.
const std::vector<MappingRule>& built_in_rules();

// {k="v",…} with quotes, backslashes and line ends escaped; nothing for no labels.
void append_labels(std::string& out, std::span<const LabelView> labels);

// A unit by the word of Prometheus's names and OpenMetrics, or by UCUM's sign (s, ms, By, 1, %); none for others.
Unit unit_of(std::string_view word);

// What rules are written with, or nothing for another word.
std::optional<Kind> kind_from(std::string_view word);
std::optional<Direction> direction_from(std::string_view word);

}  // namespace muster
