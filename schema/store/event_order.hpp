#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "schema/log.hpp"

namespace muster::store {

// All that was ever measured and is still kept, log and blocks, in the order of event time: what an aggregator
// learns from that begins anew.
//
//   EventOrder order({.dsn = dsn, .shards = shards});
//   for (const SeriesSetPtr& set : order.sets()) fleet.declare(*set);
//   while (const auto rows = order.next()) fleet.observe(*rows);
//
// A stretch of time is read at once and its rows given in the order of (time, set), each slot of a set once. A
// series that stands in two sets, as two collectors met it, comes twice where both have it; both have the same value.
// What is written meanwhile may be there or not.
class EventOrder {
 public:
  struct Settings {
    std::string dsn;
    int shards = 1;
    // Samples in memory at once, 32 bytes each: a stretch with more is cut in halves.
    std::size_t samples_max = 4'000'000;
    // The longest stretch. The log has no index by time, so each costs a look at all that is not compacted yet.
    Duration stretch_max = std::chrono::hours(24);
  };

  // Throws Unavailable or Rejected, as next() does.
  explicit EventOrder(Settings settings);
  ~EventOrder();
  EventOrder(const EventOrder&) = delete;
  EventOrder& operator=(const EventOrder&) = delete;

  const std::vector<SeriesSetPtr>& sets() const;

  // The next stretch that holds samples, or nothing: the end.
  std::optional<LogRows> next();

  // From the first sample to the last one that was there at the start, and how far next() has come.
  Timestamp begin() const;
  Timestamp end() const;
  Timestamp at() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::store
