#include "collector/decode/exponential.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>

namespace muster::decode {
namespace {

// Boundaries are named by quarters of an octave: boundary k is 2^(k/4). Doubles end at 2^-1074 and 2^1024.
constexpr std::int64_t quarters_min = 4 * -1075;
constexpr std::int64_t quarters_max = 4 * 1024;
// So many boundaries at once that a bucket's range does not end in the middle of four.
constexpr std::int64_t step_of_range = 4;
// Nobody's scale is lower: one bucket on each side of 1 holds every double.
constexpr std::int32_t scale_min = -11;

double boundary(std::int64_t quarters) {
  if (quarters >= quarters_max) return std::numeric_limits<double>::infinity();
  if (quarters <= quarters_min) return 0;
  constexpr std::array<double, 4> within = {1, 0x1.306fe0a31b715p+0, 0x1.6a09e667f3bcdp+0,
                                            0x1.ae89f995ad3adp+0};
  return std::ldexp(within[static_cast<std::size_t>(quarters & 3)],
                    static_cast<int>(quarters >> 2));
}

// A bucket index at `scale` brought down to scale `to`, at most classic_scale_max: the one that holds all of it,
// or the last that a double can lie in.
std::int64_t lowered(std::int64_t index, std::int32_t scale, std::int32_t to) {
  const std::int64_t shift = std::int64_t{scale} - to;
  const std::int64_t low = shift > 62 ? (index < 0 ? -1 : 0) : index >> shift;
  const std::int32_t width = classic_scale_max - to;
  return std::clamp(low, quarters_min >> width, (quarters_max >> width) - 1);
}

std::int64_t round_down(std::int64_t value) {
  const std::int64_t rest = value % step_of_range;
  return value - rest - (rest < 0 ? step_of_range : 0);
}
std::int64_t round_up(std::int64_t value) { return -round_down(-value); }

// One side's buckets, at the scale of the result.
struct Side {
  std::int64_t first = 0;  // a multiple of step_of_range
  std::size_t size = 0;
  std::array<double, classic_buckets_max> counts{};
  bool empty() const { return size == 0; }
};

struct Range {
  std::int64_t low = std::numeric_limits<std::int64_t>::max();
  std::int64_t high = std::numeric_limits<std::int64_t>::min();
  bool empty() const { return low > high; }
  // Boundaries on this side at scale `to`, with the lowest one.
  std::int64_t boundaries(std::int32_t scale, std::int32_t to) const {
    if (empty()) return 0;
    return round_up(lowered(high, scale, to) + 1) - round_down(lowered(low, scale, to)) + 1;
  }
};

struct Summed {
  Range range;
  double count = 0;
  bool good = true;
};

Summed sum_up(std::span<const ExponentialBucket> buckets) {
  Summed out;
  for (const ExponentialBucket& bucket : buckets) {
    if (!(bucket.count >= 0) || std::isinf(bucket.count)) out.good = false;
    if (!(bucket.count > 0)) continue;
    out.count += bucket.count;
    out.range.low = std::min<std::int64_t>(out.range.low, bucket.index);
    out.range.high = std::max<std::int64_t>(out.range.high, bucket.index);
  }
  return out;
}

Side merged(std::span<const ExponentialBucket> buckets, const Range& range, std::int32_t scale,
            std::int32_t to) {
  Side side;
  if (range.empty()) return side;
  side.first = round_down(lowered(range.low, scale, to));
  side.size = static_cast<std::size_t>(round_up(lowered(range.high, scale, to) + 1) - side.first);
  assert(side.size < side.counts.size());
  for (const ExponentialBucket& bucket : buckets) {
    if (!(bucket.count > 0)) continue;
    side.counts[static_cast<std::size_t>(lowered(bucket.index, scale, to) - side.first)] +=
        bucket.count;
  }
  return side;
}

}  // namespace

Result<void> classic_buckets(const ExponentialHistogram& histogram,
                             std::vector<ClassicBucket>& out) {
  out.clear();
  const Summed above = sum_up(histogram.positive);
  const Summed below = sum_up(histogram.negative);
  const auto sound = [](double number) { return number >= 0 && !std::isinf(number); };
  if (!above.good || !below.good || !sound(histogram.zero_count) || !sound(histogram.count))
    return Error{"histogram", "a count is negative or not a number"};
  if (!sound(histogram.zero_threshold))
    return Error{"histogram", "its zero threshold is negative or not a number"};
  const double held = above.count + below.count + histogram.zero_count;
  // Float counts are sums of rounded numbers; whole ones are exact to 2^53.
  if (histogram.count < held * (1 - 1e-9))
    return Error{"histogram", "its buckets hold " + std::to_string(held) +
                                  " observations, more than its count of " +
                                  std::to_string(histogram.count)};
  if (histogram.scale < scale_min)
    return Error{"histogram", "its scale of " + std::to_string(histogram.scale) +
                                  " is below " + std::to_string(scale_min)};

  // Infinity, and the zero bucket's end.
  const auto room = static_cast<std::int64_t>(classic_buckets_max) - 2;
  std::int32_t to = std::min(histogram.scale, classic_scale_max);
  while (to > scale_min && above.range.boundaries(histogram.scale, to) +
                                   below.range.boundaries(histogram.scale, to) >
                               room)
    --to;

  const Side up = merged(histogram.positive, above.range, histogram.scale, to);
  const Side down = merged(histogram.negative, below.range, histogram.scale, to);

  // Quarters of an octave in one bucket.
  const std::int64_t width = std::int64_t{1} << (classic_scale_max - to);
  const auto quarters = [width](std::int64_t index) { return index * width; };
  double seen = 0;
  const auto put = [&](double le) {
    if (std::isinf(le)) return;
    // A threshold inside the buckets, and the ends of what a double can hold, fall on or before a boundary.
    if (!out.empty() && le <= out.back().le) {
      out.back().count = seen;
    } else {
      out.push_back({le, seen});
    }
  };
  if (!down.empty()) {
    // The bucket with the largest index is the most negative one.
    for (std::size_t i = down.size; i-- > 0;) {
      put(-boundary(quarters(down.first + static_cast<std::int64_t>(i) + 1)));
      seen += down.counts[i];
    }
    put(-boundary(quarters(down.first)));
  }
  if (histogram.zero_count > 0 || !down.empty()) {
    seen += histogram.zero_count;
    put(histogram.zero_threshold);
  }
  if (!up.empty()) {
    put(boundary(quarters(up.first)));
    for (std::size_t i = 0; i < up.size; ++i) {
      seen += up.counts[i];
      put(boundary(quarters(up.first + static_cast<std::int64_t>(i) + 1)));
    }
  }
  out.push_back({std::numeric_limits<double>::infinity(), histogram.count});
  return {};
}

}  // namespace muster::decode
