#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "query/expression.hpp"
#include "schema/series.hpp"

namespace muster::query {

// The samples of one series that lie in a window.
struct Window {
  std::span<const std::int64_t> at;  // unix microseconds, ascending
  std::span<const double> values;
  std::int64_t start = 0, end = 0;  // of the window, unix microseconds
  std::int64_t now = 0;             // the step itself; end is earlier by the offset
  Kind kind = Kind::gauge;
  double parameter = 0;  // the scalar argument, for those that have one
};

// A function of the language. One of the three ways of working is set; without any, the engine knows it by
// its name.
struct Function {
  std::string_view name;
  Type result = Type::vector;
  std::vector<Type> arguments;
  std::size_t required = 0;  // the rest may be left out; SIZE_MAX in `most` repeats the last
  bool repeats = false;

  // One value from a window, or none.
  std::optional<double> (*over)(const Window&) = nullptr;
  bool keeps_name = false;
  // One value from a value, with the scalar arguments that follow the vector.
  double (*map)(double value, std::span<const double> arguments) = nullptr;
  // One value from an instant in unix seconds: hour(), month() and the like.
  double (*calendar)(double seconds) = nullptr;
};

// Null when there is none of that name.
const Function* function(std::string_view name);
std::span<const Function> functions();

// Linear interpolation between the order statistics of `values`, which are put in order by it. NaN for no
// values, -Inf and +Inf for q outside [0, 1].
double quantile(double q, std::span<double> values);

// A classic histogram's quantile: linear inside the bucket in which it falls. Counts that sink with growing
// bounds are taken as their maximum so far.
struct Bucket {
  double bound = 0;
  double count = 0;  // of observations up to the bound
};
double histogram_quantile(double q, std::vector<Bucket> buckets);

// Whether `name` is one whose result over a window needs no more than count, sum, least, greatest.
bool is_from_rollup(std::string_view name);

}  // namespace muster::query
