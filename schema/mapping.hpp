#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "schema/series.hpp"

namespace muster {

struct LabelView {
  std::string_view name;
  std::string_view value;
};

// What a sender said of a metric beside its samples.
struct MetricFacts {
  std::string type;  // counter, gauge, histogram, gaugehistogram, summary, info, stateset; empty: not known
  std::string unit;  // seconds, bytes, …; empty: not known
};

// Whose a label set is, for senders that know nothing of muster (Prometheus and the like):
//
//   rule 1  model    the first of `model`, `model_name`, `model_id`, `deployment`
//   rule 2           else job/instance, or the one of the two that is there
//   rule 3           else "unknown"
//   rule 4  version  from `version`, else `model_version`; `region`, `family`, `team` and `environment` by
//                    their own names
//   rule 5  metric   `__name__` and whatever labels are left, as name{k="v",…}
//   rule 6  kind     by `__type__` when the sender said it; else names that end in _total, _count or _sum are a
//                    counter, in _bucket a bucket, all others a gauge; `__temporality__` "delta" makes them increases
//
// A label is used once: what a rule takes does not stand in the metric. What a protocol knows of a series beside
// its labels comes as the reserved labels `__type__`, `__unit__` and `__temporality__`; they are never part of it.
//
// A value: shared by threads once it is made.
class Mapping {
 public:
  // labels  sorted by name, each name once, no empty names or values
  SeriesIdentity identify(std::span<const LabelView> labels) const;

  // Which rules gave the model and the kind, in words for a person: `model from label "job" (rule 2); …`.
  std::string explain(std::span<const LabelView> labels) const;

  // What is known of the metric of this `__name__`: whoever reads label sets asks it when `__type__` and `__unit__`
  // are not among them. It may be asked from any thread, and there may be none.
  std::function<std::optional<MetricFacts>(std::string_view name)> facts;
};

using MappingPtr = std::shared_ptr<const Mapping>;

// {k="v",…} with quotes, backslashes and line ends escaped; nothing for no labels.
void append_labels(std::string& out, std::span<const LabelView> labels);

Kind kind_of(std::string_view metric_name);

}  // namespace muster
