#pragma once

#include <string>
#include <vector>

#include "query/api/runner.hpp"
#include "query/engine.hpp"

namespace muster::query {

// How an answer came about, for `explain`.
struct Explanation {
  struct Part {
    std::string selector;
    std::size_t series = 0;
    std::size_t from_newest = 0;  // answered from the newest values in memory
    double select_milliseconds = 0;
    std::string level;  // what was read: samples, or the rollup that was enough: 1m, 5m, 1h, 1d
    std::size_t samples = 0;  // or buckets
    store::History::Counts read;
    double read_milliseconds = 0;
  };
  std::vector<Part> parts;
  double evaluate_milliseconds = 0;
};
// As a JSON object.
std::string to_json(const Explanation& explanation);

// Series by selector; an Error when there are more than the limit.
Result<std::vector<SeriesNumber>> select(Context& context, const Selector& selector);

// Samples of the selected series in [from, to]; with `by`, of units (catalogue.hpp).
Result<Samples> load(Context& context, const Selector& selector, const std::vector<std::string>* by,
                     Timestamp from, Timestamp to, Explanation::Part& part);

// What each unit says in each window [start + i * step, start + (i + 1) * step), from rollups as far as those
// are there, else from samples. Windows must begin and end at whole minutes. Values that are NaN say nothing.
Result<Aggregates> load_windows(Context& context, const Selector& selector, const std::vector<std::string>* by,
                                const Steps& windows, Explanation::Part& part);

// The newest sample of each in [from, to], from memory where it is known.
Result<Samples> load_newest(Context& context, const Selector& selector, Timestamp from, Timestamp to,
                            Explanation::Part& part);

// Loads what an expression needs, all in one snapshot, and evaluates it.
Result<Value> answer(Context& context, const Expression& expression, const Steps& steps, Explanation& explanation);

}  // namespace muster::query
