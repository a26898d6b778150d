#include "schema/rollup.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace muster {
namespace {

constexpr std::array<std::string_view, levels.size()> words = {"1m", "5m", "1h", "1d"};

// A sum of so many digits is exact in a double, and its rounding too.
constexpr double exact_max = 9'007'199'254'740'992.0;  // 2^53

double as_decimal(double sum, std::optional<unsigned> digits) {
  if (!digits) return sum;
  const double power = std::pow(10.0, *digits);
  const double scaled = sum * power;
  return std::abs(scaled) < exact_max ? std::round(scaled) / power : sum;
}

}  // namespace

std::string_view to_word(Level level) {
  const auto at = std::find(levels.begin(), levels.end(), level);
  return words[static_cast<std::size_t>(at - levels.begin())];
}

std::optional<Level> level_of(std::string_view word) {
  const auto at = std::find(words.begin(), words.end(), word);
  if (at == words.end()) return std::nullopt;
  return levels[static_cast<std::size_t>(at - words.begin())];
}

Timestamp bucket_of(Timestamp t, Duration length) {
  const std::int64_t n = length.count();
  const std::int64_t rest = t.us % n;
  return {t.us - rest - (rest < 0 ? n : 0)};
}

bool adds_up(Kind kind) { return kind == Kind::counter || kind == Kind::bucket; }

void merge(Rollup& into, const Rollup& other, bool counter) {
  into.nulls += other.nulls;
  if (other.count == 0) return;
  if (into.count == 0) {
    const std::uint32_t nulls = into.nulls;
    into = other;
    into.nulls = nulls;
    return;
  }
  into.count += other.count;
  if (!counter) {
    into.total += other.total;
    into.low = std::min(into.low, other.low);
    into.high = std::max(into.high, other.high);
    return;
  }
  if (other.low >= into.low && other.high <= into.high) return;  // its samples lie between ours
  if (into.low >= other.low && into.high <= other.high) {
    into.total = other.total;
    into.low = other.low;
    into.high = other.high;
  } else if (other.high <= into.low && other.low <= other.high) {  // it came before, or we were reset
    into.total += other.total + into.low - other.high;
    into.low = other.low;
  } else {
    into.total += other.total + (other.low >= into.high ? other.low - into.high : 0);
    into.high = other.high;
  }
}

void roll_up(std::span<const Timestamp> ts, const BlockColumn& column, bool counter,
             std::optional<unsigned> digits, Level level, std::vector<Bucket>& out) {
  out.clear();
  if (column.count == 0) return;
  const Duration step = length(level);
  Timestamp end{std::numeric_limits<std::int64_t>::min()};
  for (std::size_t i = 0; i < ts.size(); ++i) {
    if (!column.has(i)) continue;
    const double v = column.values[i];
    if (is_stale(v)) continue;
    if (out.empty() || ts[i] >= end) {
      const Timestamp begin = bucket_of(ts[i], step);
      end = begin + step;
      out.push_back({begin, {}});
    }
    Rollup& r = out.back().rollup;
    if (std::isnan(v)) {
      ++r.nulls;
      continue;
    }
    if (r.count++ == 0) {
      r.low = r.high = v;
      r.total = counter ? 0 : v;
    } else if (counter) {
      r.total += counter_step(r.high, v);
      r.high = v;
    } else {
      r.total += v;
      r.low = std::min(r.low, v);
      r.high = std::max(r.high, v);
    }
  }
  for (Bucket& bucket : out) bucket.rollup.total = as_decimal(bucket.rollup.total, digits);
}

}  // namespace muster
