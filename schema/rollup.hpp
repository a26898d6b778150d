#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "schema/block.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster {

// How coarse a rollup is, in seconds; buckets begin at multiples of it since 1970 and hold [begin, begin + level).
enum class Level : std::int32_t { minute = 60, five_minutes = 300, hour = 3'600, day = 86'400 };
inline constexpr std::array levels = {Level::minute, Level::five_minutes, Level::hour, Level::day};

constexpr Duration length(Level level) { return std::chrono::seconds(static_cast<std::int32_t>(level)); }
std::string_view to_word(Level level);                    // 1m, 5m, 1h, 1d
std::optional<Level> level_of(std::string_view word);

// The begin of the bucket that t lies in, also before 1970.
Timestamp bucket_of(Timestamp t, Duration length);

// What is kept of the samples of one series in one bucket. A counter is one whose values add up over time
// (Kind::counter, Kind::bucket); all else is a gauge here, delta kinds included: their `total` is the increase.
//
//                 gauge, delta                 counter
//   total         sum of the values            increase between the samples of the bucket, resets seen
//   low           least                        first value
//   high          greatest                     last value
//
// So avg = total / count; the increase of a counter over several buckets is the sum of their totals and of
// what lies between the `high` of one and the `low` of the next (counter_step). Quantiles over models are
// those of the models' averages; a quantile over time is not kept and needs the samples themselves.
struct Rollup {
  std::uint32_t count = 0;  // values: neither null nor stale nor another NaN
  std::uint32_t nulls = 0;  // nulls and other NaNs: reported and not computed. Stale markers are nothing
  double total = 0;
  double low = 0;
  double high = 0;
  friend bool operator==(const Rollup&, const Rollup&) = default;
};

// Whether a kind is rolled up as a counter.
bool adds_up(Kind kind);

// From one value of a counter to the next: the difference, or all of the next after a reset.
constexpr double counter_step(double from, double to) { return to >= from ? to - from : to; }

// Two rollups of one bucket made of different samples, e.g. late ones, or of neighbouring buckets, the earlier
// one first. Exact but for counters whose samples interleave: what lies inside the other then adds nothing.
void merge(Rollup& into, const Rollup& other, bool counter);

struct Bucket {
  Timestamp begin;
  Rollup rollup;
};
// The buckets of one column, ascending, those without a value or null left out.
//
// digits  of the column, decimal_digits(column). A sum is rounded to them, so that it is the decimal that one
//         would write down, and short in a block: 0.1 + 0.2 is 0.3
void roll_up(std::span<const Timestamp> ts, const BlockColumn& column, bool counter,
             std::optional<unsigned> digits, Level level, std::vector<Bucket>& out);

// The rollups of up to 192 series as a block: five columns a series, side by side, so that those of one are
// a slice. A bucket without a count has no total, low and high; no nulls are a hole.
struct RollupColumns {
  static constexpr std::size_t series_max = SeriesSet::slots_max;
  enum Number : std::size_t { count, total, low, high, nulls, numbers };
  static constexpr std::size_t column(std::size_t series, Number number) {
    return series * numbers + number;
  }
};

}  // namespace muster
