#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <absl/container/flat_hash_map.h>

#include "collector/decode/otlp.hpp"

namespace muster::collector {

// What the start times of delta streams told, since the start. Points are stored in any case.
struct DeltaCounters {
  std::uint64_t gaps = 0;      // a point begins after the one before it ended: something is missing
  std::uint64_t overlaps = 0;  // it begins before that: something is counted twice
  std::uint64_t late = 0;      // it ends before one that was there already
};

// Remembers where each delta stream ended, as only neighbours show what is missing. A cache: a stream that was
// forgotten begins anew.
class DeltaWatch {
 public:
  // At least half of it is remembered, most recently seen first.
  explicit DeltaWatch(std::size_t streams_max) : half_(streams_max / 2 + 1) {}

  void see(std::span<const decode::DeltaSpan> spans, DeltaCounters& counters);
  std::size_t streams() const { return recent_.size() + older_.size(); }

 private:
  struct Hashed {
    std::size_t operator()(std::uint64_t alias) const { return alias; }  // it is a hash already
  };
  using Ends = absl::flat_hash_map<std::uint64_t, std::uint64_t, Hashed>;  // alias to end, ns

  std::size_t half_;
  Ends recent_, older_;
};

}  // namespace muster::collector
