#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "schema/store/compact.hpp"

namespace muster::app {

class MetricsPage;

// What becomes of samples after they were judged: a thread of low priority with connections of its own that
// compacts closed hours of the log, drops what is beyond its retention, and keeps the database below its bound.
class StorageKeeper {
 public:
  struct Settings {
    store::CompactSettings compact;
    std::string control_dsn;  // where the aggregator saves how far it has read
    // An hour of the log is compacted so long after its end, as a commit that waits for the database still
    // bears the hour it was gathered in.
    Duration after = std::chrono::minutes(10);
    // Of the whole database, with incidents and all; nothing: no bound but the disk.
    std::optional<std::uint64_t> disk_max;
    std::chrono::milliseconds look_every{30'000};
    std::chrono::milliseconds drop_every{300'000};
  };

  // Since the start, and of now. Any thread.
  struct Counters {
    std::uint64_t hours = 0;  // of the log that became blocks
    std::uint64_t samples = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t expired = 0;  // older than the retention when they were compacted
    std::uint64_t blocks = 0;
    std::uint64_t block_bytes = 0;
    std::uint64_t rollups = 0;
    std::uint64_t rollup_bytes = 0;
    std::uint64_t dropped = 0;   // partitions beyond their retention
    std::uint64_t given_up = 0;  // days of samples dropped early for disk_max
    std::uint64_t failures = 0;
    bool over_bound = false;  // and there is nothing more to drop
    double cpu_seconds = 0;   // of the thread, without PostgreSQL's
    std::string last_error;   // empty once it went well again
    store::StorageUse use;
    Timestamp looked_at;  // when `use` was; 0: not yet
  };

  StorageKeeper(Settings settings, std::function<Timestamp()> clock);
  ~StorageKeeper();  // stops
  StorageKeeper(const StorageKeeper&) = delete;
  StorageKeeper& operator=(const StorageKeeper&) = delete;

  void start();
  void stop();  // lets a compaction that is under way finish

  Counters counters() const;

 private:
  void run();
  void compact();
  void drop();
  bool wait(std::chrono::milliseconds patience);  // false once it is to stop

  Settings settings_;
  std::function<Timestamp()> clock_;

  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  Counters counters_;
  bool stop_ = false;
  std::thread thread_;
};

void add_storage(MetricsPage& page, const StorageKeeper::Counters& counters);

}  // namespace muster::app
