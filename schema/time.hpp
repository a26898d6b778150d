#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <limits>

namespace muster {

// Lengths of time in microseconds, as PostgreSQL keeps them.
using Duration = std::chrono::microseconds;

// An instant of event time: microseconds since 1970-01-01 UTC. Arrival time is measured, and decides nothing.
struct Timestamp {
  std::int64_t us = 0;

  friend constexpr auto operator<=>(Timestamp, Timestamp) = default;
  friend constexpr Timestamp operator+(Timestamp t, Duration d) { return {t.us + d.count()}; }
  friend constexpr Timestamp operator-(Timestamp t, Duration d) { return {t.us - d.count()}; }
  friend constexpr Duration operator-(Timestamp a, Timestamp b) { return Duration(a.us - b.us); }
};

constexpr Timestamp from_millis(std::int64_t millis) { return {millis * 1000}; }
constexpr Timestamp from_seconds(std::int64_t seconds) { return {seconds * 1'000'000}; }

// Rounded towards the past, so that an instant before 1970 keeps its order.
constexpr std::int64_t to_millis(Timestamp t) {
  const std::int64_t q = t.us / 1000;
  return t.us % 1000 < 0 ? q - 1 : q;
}

// Milliseconds that fit a Timestamp: about 290,000 years to each side. Senders are checked against it.
inline constexpr std::int64_t millis_max = std::numeric_limits<std::int64_t>::max() / 1000;

}  // namespace muster
