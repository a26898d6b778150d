#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::query {

// The instants at which a query is evaluated: `count` from `start`, `step` apart. An instant query has one.
struct Steps {
  Timestamp start;
  Duration step{1};
  std::size_t count = 1;
  Duration beyond{0};  // from the last of them to the end that was asked for, which `@ end()` means
  Timestamp at(std::size_t i) const { return start + step * static_cast<std::int64_t>(i); }
  Timestamp last() const { return at(count - 1); }
};

// Series × steps, a series after the other. What is absent is said by the mask; a NaN is a value.
struct Columns {
  std::size_t steps = 1;
  std::vector<Labels> labels;         // of each series, sorted by name
  std::vector<double> values;         // labels.size() × steps
  std::vector<std::uint8_t> present;  // as long as `values`

  std::size_t size() const { return labels.size(); }
  std::span<double> values_of(std::size_t s) { return {values.data() + s * steps, steps}; }
  std::span<const double> values_of(std::size_t s) const { return {values.data() + s * steps, steps}; }
  std::span<std::uint8_t> present_of(std::size_t s) { return {present.data() + s * steps, steps}; }
  std::span<const std::uint8_t> present_of(std::size_t s) const { return {present.data() + s * steps, steps}; }
  // A series more, absent everywhere; its place.
  std::size_t add(Labels of) {
    labels.push_back(std::move(of));
    values.resize(values.size() + steps);
    present.resize(present.size() + steps);
    return labels.size() - 1;
  }
};

// What the store gave for one selector: samples of each series, oldest first, one an instant. Stale markers
// are in it, as they end a series; nulls are not.
struct Samples {
  struct Series {
    Labels labels;
    Kind kind = Kind::gauge;
    std::size_t first = 0, count = 0;  // its samples stand at [first, first + count)
  };
  std::vector<Series> series;
  std::vector<std::int64_t> at;  // unix microseconds
  std::vector<double> values;
};

// What is known of one series in one window of time.
struct Aggregate {
  double count = 0, sum = 0, least = 0, greatest = 0;
};

// What the store gave for a selector whose windows it could answer from rollups: an aggregate a step.
struct Aggregates {
  std::size_t steps = 1;
  std::vector<Labels> labels;
  std::vector<Aggregate> windows;  // labels.size() × steps; count 0: nothing there
};

void set_label(Labels& labels, std::string_view name, std::string_view value);  // empty: takes it off
// {a="b"}: for messages.
std::string to_text(const Labels& labels);

}  // namespace muster::query
