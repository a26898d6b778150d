#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "query/expression.hpp"
#include "schema/series.hpp"

namespace muster::query {

// A series of the answer: a stored series under one set of attributes, numbered from 0 as they came.
using SeriesNumber = std::uint32_t;

// Who is there, by label, in memory. A series' labels are `__name__` (the sender's metric before its brace),
// `model`, the labels in the brace, and the attributes that are said: version, region, family, team,
// environment. A stored series that was sent under two versions is two series here, as Prometheus shows a
// deploy. A label of the metric that has one of those names is called exported_NAME.
//
// About 150 bytes a series: texts are kept once, postings are lists of numbers. Not for several threads at
// once while it grows.
class SeriesIndex {
 public:
  SeriesIndex();
  ~SeriesIndex();
  SeriesIndex(const SeriesIndex&) = delete;
  SeriesIndex& operator=(const SeriesIndex&) = delete;

  // Takes a set in; one that is known changes nothing.
  void add(const SeriesSet& set);
  bool knows(SetId set) const;

  std::size_t size() const;  // series
  std::size_t bytes() const;  // of memory, about

  // Those for which all matchers hold, ascending. `max` + 1 of them at most, so that "too many" is seen.
  std::vector<SeriesNumber> select(const Selector& matchers, std::size_t max) const;

  Labels labels(SeriesNumber series) const;
  SeriesId id(SeriesNumber series) const;
  Kind kind(SeriesNumber series) const;
  std::string_view model(SeriesNumber series) const;
  std::string_view metric(SeriesNumber series) const;  // as it is stored, with its brace

  // The slots of a set, as numbers; empty for a set that is not known.
  std::span<const SeriesNumber> slots(SetId set) const;
  // The sets of a model.
  std::vector<SetId> sets_of(std::string_view model) const;

  // Sorted. Of all series, or of those given.
  std::vector<std::string> names(const std::vector<SeriesNumber>* of = nullptr) const;
  std::vector<std::string> values(std::string_view name, const std::vector<SeriesNumber>* of = nullptr) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// name{k="v",…} taken apart: the name, and its labels. A text of another form is a name as it stands.
struct ParsedMetric {
  std::string name;
  Labels labels;
};
ParsedMetric parse_metric(std::string_view metric);

}  // namespace muster::query
