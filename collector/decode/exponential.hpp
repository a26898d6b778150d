#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace muster::decode {

// Observations whose size lies in (base^index, base^(index + 1)], where base = 2^(2^-scale). This is
// OpenTelemetry's index; Prometheus counts from the upper end, so its bucket i is index i - 1 here.
struct ExponentialBucket {
  std::int32_t index = 0;
  double count = 0;
};

// A distribution whose buckets grow by one factor: an OTLP exponential histogram point, or a native histogram of
// Prometheus (its schema is the scale).
struct ExponentialHistogram {
  std::int32_t scale = 0;
  double zero_threshold = 0;  // observations between -it and it count as zero
  double zero_count = 0;
  std::span<const ExponentialBucket> positive;  // in any order; several of one index add up
  std::span<const ExponentialBucket> negative;  // of -observation
  double count = 0;  // of all observations; more than the buckets' when some were NaN
};

// A boundary of a classic histogram: how many observations are at most `le`.
struct ClassicBucket {
  double le = 0;
  double count = 0;
  friend bool operator==(const ClassicBucket&, const ClassicBucket&) = default;
};

// As fine as a classic histogram gets: a boundary each quarter of an octave, so that a quantile is read to
// within a factor of 2^(1/4) = 1.19. Finer senders are merged down to it.
inline constexpr std::int32_t classic_scale_max = 2;
// Boundaries of one histogram, with the one at infinity: OpenTelemetry's own default for its buckets.
inline constexpr std::size_t classic_buckets_max = 160;

// The histogram with classic cumulative buckets: boundaries at scale min(scale, classic_scale_max), or at the
// finest one below that needs no more than classic_buckets_max of them. The last is at infinity and has `count`.
//
// All boundaries between the smallest and the largest observation are there, also empty ones, and the range is
// widened to multiples of four: so an observation a little outside of what was seen before does not make new
// series. A boundary is the same number at every scale that has it, so when a sender lowers its scale, fewer of
// the same series go on.
//
// out      cleared, then ascending in `le`, each larger than the one before
// returns  an Error when a count is negative or not finite, `count` is less than the buckets hold, or the
//          threshold is negative or not finite
// source   OpenTelemetry, metrics data model, "ExponentialHistogram"
Result<void> classic_buckets(const ExponentialHistogram& histogram,
                             std::vector<ClassicBucket>& out);

}  // namespace muster::decode
