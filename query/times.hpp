#pragma once

#include "query/engine.hpp"

namespace muster::query {

// Of the whole query: what @ start() and @ end() mean.
struct Times {
  Timestamp start, end;
};

// The instant that a selector or subquery looks back from at a step.
Timestamp looks_from(const Expression& e, Timestamp step, const Times& times);

// The instants at which a subquery evaluates what it holds.
Steps subquery_steps(const Expression& e, const Steps& outer, const Times& times, const Limits& limits);

}  // namespace muster::query
