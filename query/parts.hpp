#pragma once

// What the parts of the engine share; nobody else includes it.

#include <string>

#include <absl/container/flat_hash_map.h>

#include "query/engine.hpp"

namespace muster::query::parts {

// Ends the evaluation from any depth; evaluate() turns it into an Error and nobody else sees it.
struct Refused {
  Error error;
};
[[noreturn]] void refuse(std::string what);

// A key that differs for different label sets.
std::string key_of(const Labels& labels);
// Only `names` of the labels, or all but them and the metric's name.
Labels kept(const Labels& labels, const std::vector<std::string>& names, bool without);
std::string key_of(const Labels& labels, const std::vector<std::string>& names, bool without);

void drop_name(Labels& labels);
// Joins series of equal labels that are present at different steps; refuses those present at one.
void join_equal(Columns& columns);
// Takes out the series that are absent everywhere.
void drop_absent(Columns& columns);

Columns aggregate(const Expression& e, Columns vector, const Value* parameter);
Columns set_operation(const Expression& e, Columns left, Columns right);
Columns match_vectors(const Expression& e, Columns left, Columns right);
Columns with_scalar(const Expression& e, Columns vector, const Columns& scalar, bool scalar_is_left);
Columns between_scalars(const Expression& e, Columns left, const Columns& right);

}  // namespace muster::query::parts
