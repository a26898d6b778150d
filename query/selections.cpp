#include <algorithm>

#include "query/functions.hpp"
#include "query/times.hpp"

namespace muster::query {

Steps subquery_steps(const Expression& e, const Steps& outer, const Times& times, const Limits& limits) {
  const Duration step = e.step > Duration::zero() ? e.step : limits.subquery_step;
  const Timestamp first = looks_from(e, outer.start, times) - e.range;
  const Timestamp last = looks_from(e, outer.last(), times);
  // On multiples of the step, so that a dashboard that moves on asks for the same instants again.
  std::int64_t from = first.us - first.us % step.count();
  if (from < first.us) from += step.count();
  const std::int64_t count = last.us < from ? 0 : (last.us - from) / step.count() + 1;
  return {{from}, step, static_cast<std::size_t>(count)};
}

Timestamp looks_from(const Expression& e, Timestamp step, const Times& times) {
  switch (e.at.is) {
    case At::Is::step: break;
    case At::Is::time: step = e.at.time; break;
    case At::Is::start: step = times.start; break;
    case At::Is::end: step = times.end; break;
  }
  return step - e.offset;
}

namespace {

void collect(const Expression& e, const Steps& steps, const Times& times, const Limits& limits,
             const Function* over, std::vector<Selection>& out) {
  switch (e.is) {
    case Expression::Is::selector: {
      Selection s;
      s.selector = &e;
      s.from = looks_from(e, steps.start, times);
      s.to = looks_from(e, steps.count > 0 ? steps.last() : steps.start, times);
      if (e.range > Duration::zero()) {
        s.from = s.from - e.range;
        if (over && is_from_rollup(over->name) && e.at.is == At::Is::step) {
          s.function = over;
          s.windows = Steps{steps.start - e.offset, steps.step, steps.count};
        }
      } else {
        s.from = s.from - limits.lookback + Duration(1);
        s.newest_only = steps.count == 1;
      }
      if (out.size() <= e.index) out.resize(e.index + 1);
      out[e.index] = s;
      return;
    }
    case Expression::Is::subquery: {
      const Steps inner = subquery_steps(e, steps, times, limits);
      for (const auto& operand : e.operands) collect(*operand, inner, times, limits, nullptr, out);
      return;
    }
    default:
      for (const auto& operand : e.operands)
        collect(*operand, steps, times, limits, e.is == Expression::Is::call ? e.function : nullptr, out);
  }
}

}  // namespace

std::vector<Selection> selections(const Expression& expression, const Steps& steps, const Limits& limits) {
  std::vector<Selection> out;
  collect(expression, steps, {steps.start, steps.last() + steps.beyond}, limits, nullptr, out);
  return out;
}

}  // namespace muster::query
