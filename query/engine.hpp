#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "query/columns.hpp"
#include "query/expression.hpp"

namespace muster::query {

// What one query may use. Prometheus has the same three bounds.
struct Limits {
  // As Prometheus: a screen has fewer columns.
  std::size_t steps_max = 11'000;
  // Values held at once, by each part of the query: 9 bytes each, so a query stays below some 300 MB.
  std::size_t samples_max = 20'000'000;
  // Of one selector; each brings its labels, some 400 bytes.
  std::size_t series_max = 200'000;
  // An older sample says nothing about now.
  Duration lookback = std::chrono::minutes(5);
  // A subquery without a step of its own.
  Duration subquery_step = std::chrono::minutes(1);
};

// How a query is stopped from outside: whoever waits for it writes, the query looks.
struct Stop {
  enum class Why { no, canceled, timeout };
  std::atomic<Why> why{Why::no};
};
// An Error when it is to stop.
Result<void> go_on(const Stop& stop);

// What a selector needs of the store to be evaluated.
struct Selection {
  const Expression* selector = nullptr;
  Timestamp from, to;  // samples in [from, to], both included
  // An instant vector of one step: the newest sample at or before `to` is all it looks at.
  bool newest_only = false;
  // The windows are (step - range, step] and the function over them needs no more than aggregates.
  const Function* function = nullptr;
  std::optional<Steps> windows;  // their ends
};

// In the order of the selectors' `index`.
std::vector<Selection> selections(const Expression& expression, const Steps& steps, const Limits& limits);

struct Value {
  Type type = Type::vector;
  Columns columns;   // scalar: one series without labels, present everywhere
  std::string text;  // of a string
  Samples samples;   // of a range vector, in an instant query
};

// One answer a selection, from either source.
struct Loaded {
  Samples samples;
  std::optional<Aggregates> aggregates;
};

// Evaluates as Prometheus 2.42 does: an instant vector takes the newest sample in (t - lookback, t] unless it
// is a stale marker, a range is [t - range, t] without stale markers, rates are extrapolated to the range's
// ends, and names are dropped where a value is no longer the metric's. Beyond it: a null is no sample, and
// rate and increase of a delta series are sums over (t - range, t].
//
// loaded   what the store gave, in the order of `selections`
// returns  the value, or an Error whose `where` is Prometheus's errorType: bad_data, execution, timeout,
//          canceled
Result<Value> evaluate(const Expression& expression, const Steps& steps, std::vector<Loaded>& loaded,
                       const Limits& limits, const Stop& stop);

// Series in the order of their labels, as Prometheus answers ranges.
void sort_by_labels(Columns& columns);

}  // namespace muster::query
