#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>

#include "schema/log.hpp"

namespace muster::app {

// The newest end of the log, handed from the ingestor to the aggregator by value, so that a batch that was
// just committed need not be read back. It is a cache and nothing more: over its limit it forgets the oldest
// batches, and the aggregator finds them in the log by their positions.
class Tail {
 public:
  // values_max: 16 M values are 128 MiB, some ten seconds of a full ingestor.
  explicit Tail(std::size_t values_max = 16'000'000) : values_max_(values_max) {}

  // Any thread. Batches of one (shard, collector) come in the order of their ids.
  void push(LogBatch batch);

  // The oldest batch held; waits up to `patience` for one. Nothing when none came, or after close().
  std::optional<LogBatch> pop(std::chrono::milliseconds patience);

  // Wakes whoever waits, for good.
  void close();

  std::size_t values() const;     // held now
  std::size_t forgotten() const;  // batches dropped for want of room, since the start

 private:
  const std::size_t values_max_;
  mutable std::mutex mutex_;
  std::condition_variable came_;
  std::deque<LogBatch> batches_;
  std::size_t values_ = 0;
  std::size_t forgotten_ = 0;
  bool closed_ = false;
};

}  // namespace muster::app
