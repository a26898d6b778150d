#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/matcher.hpp"
#include "schema/time.hpp"

namespace muster::query {

// All of them hold for what is selected.
using Selector = std::vector<Matcher>;

enum class Type { scalar, vector, range, text };
std::string_view to_word(Type type);  // "scalar", "instant vector", …

enum class Operator { add, sub, mul, div, mod, pow, atan2, eq, ne, gt, lt, ge, le, both, either, unless };
std::string_view to_word(Operator op);
inline bool is_comparison(Operator op) { return op >= Operator::eq && op <= Operator::le; }
inline bool is_set_operator(Operator op) { return op >= Operator::both; }

enum class Aggregation {
  sum, avg, min, max, count, group, stddev, stdvar, topk, bottomk, quantile, count_values
};
std::string_view to_word(Aggregation aggregation);

struct Function;  // functions.hpp

// How series of two vectors find each other.
struct Matching {
  bool on = false;  // by `labels`; else by all but `labels` and the name
  std::vector<std::string> labels;
  enum class Cardinality { one_to_one, many_to_one, one_to_many, many_to_many };
  Cardinality cardinality = Cardinality::one_to_one;
  std::vector<std::string> include;  // labels that the "one" side gives to the result
};

// The time that a selector or a subquery looks from, when it is not the step's.
struct At {
  enum class Is { step, time, start, end };
  Is is = Is::step;
  Timestamp time;
};

// A parsed expression. `is` says which fields have a meaning.
struct Expression {
  enum class Is { number, text, selector, subquery, negative, binary, aggregate, call };
  Is is = Is::number;
  Type type = Type::scalar;

  double number = 0;
  std::string text;

  // selector; subquery: range, step, offset, at
  Selector matchers;
  std::size_t index = 0;  // of a selector, in the order of the text
  Duration range{0};      // 0: an instant vector
  Duration step{0};       // of a subquery; 0: the default
  Duration offset{0};
  At at;

  Operator op = Operator::add;
  bool returns_bool = false;
  Matching matching;

  Aggregation aggregation = Aggregation::sum;
  bool without = false;
  std::vector<std::string> grouping;

  const Function* function = nullptr;

  // negative, subquery: one; binary: two; aggregate: the vector and then its parameter, if it has one;
  // call: its arguments
  std::vector<std::unique_ptr<const Expression>> operands;
};
using ExpressionPtr = std::unique_ptr<const Expression>;

// A query is a line of a dashboard; Prometheus itself has no bound, the server's body has.
inline constexpr std::size_t query_bytes_max = 64u << 10;
// Deeper nesting is no query, and each level is a frame on the stack.
inline constexpr int nesting_max = 200;

// Reads a query. The Error says at which character, and what was wanted there.
Result<ExpressionPtr> parse(std::string_view text);

// Reads name{a="b",…} alone, as `match[]` has it: `up`, `{job=~"a|b"}`. At least one matcher must not match
// the empty string. metric_is_name: the label `metric` means `__name__`, as muster's own endpoints have it.
Result<Selector> parse_selector(std::string_view text, bool metric_is_name = false);

// Whether a name may stand before an = sign without quotes: [a-zA-Z_][a-zA-Z0-9_]*.
bool is_label_name(std::string_view name);

}  // namespace muster::query
