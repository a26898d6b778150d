#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "schema/log.hpp"

namespace muster::store {

// Reads the log in the order in which it was written, from a position on.
//
// Batches of one (shard, collector) come by batch_id and without a gap: a missing id is a transaction that
// may still become visible, so what lies behind it waits. Between collectors the order is the time of
// writing, so a batch that waits also holds back what others wrote after it; decisions then see the samples
// in the order in which they were acknowledged. A gap that stays for good is closed by give_up_missing().
//
// One thread at a time. After Unavailable the next call connects again and goes on where it was.
class LogReader {
 public:
  struct Settings {
    std::string dsn;
    int shards = 1;  // reads 0 to shards - 1
    // Samples asked for at once: 3 MiB of values, milliseconds of work.
    std::uint32_t chunk_samples_max = 400'000;
  };

  LogReader(Settings settings, LogPositions from);
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // The next batch, or nothing: the end is reached, or a gap. Throws Unavailable; Rejected when the log
  // contradicts itself, e.g. a batch that lacks rows.
  std::optional<LogBatch> next();

  // Behind the last batch handed out; given-up and dropped batches are stepped over.
  LogPositions positions() const;

  // The batches of (shard, collector) up to `position.batch` came to the caller by another way, so they need
  // not be read. Their sets count as not handed out.
  void skip_to(const LogPosition& position);

  // The gap that the reader waits at now: the first id that is missing.
  std::optional<LogPosition> waiting_for() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// All sets with their series, longest first: what a registry starts with.
std::vector<SeriesSetPtr> known_sets(const std::string& dsn, int shards = 1);

// Writes a void batch for every id that is missing below the highest one of (shard, collector), so that
// readers can go on; returns how many. Only for a collector that has ended: a transaction of it that is
// still under way, or prepared, is waited for, and wins.
std::uint64_t give_up_missing(const std::string& dsn, int shard, std::int64_t collector);

// The same for every collector with an id below `before`: what a start does, as two commits of a shard may be
// under way when a collector is killed, of which only the later one was finished.
std::uint64_t give_up_missing_before(const std::string& dsn, int shards, std::int64_t before);

}  // namespace muster::store
