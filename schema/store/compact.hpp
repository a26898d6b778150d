#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "schema/log.hpp"
#include "schema/rollup.hpp"
#include "schema/time.hpp"

namespace muster::store {

// How long each kind of history is kept, by event time.
struct Retention {
  Duration raw = std::chrono::hours(24 * 30);  // an incident is looked into while it is remembered
  Duration minute = std::chrono::hours(24 * 30);
  Duration five_minutes = std::chrono::hours(24 * 90);  // a quarter beside the last one
  Duration hour = std::chrono::hours(24 * 365 * 2);     // a season beside the last one
  Duration day = std::chrono::hours(24 * 365 * 10);
  Duration of(Level level) const;
};

struct CompactSettings {
  std::string dsn;
  int shards = 1;
  Retention retention;  // what is older than it is not written at all
  // Values held to be sorted by set, with what holds them. Beyond it blocks become shorter: 256 MiB are about
  // 30 M samples, an hour of 100,000 series at a sample in ten seconds.
  std::size_t memory_max = 256u << 20;
  // A level is kept for a series that has so many samples in a bucket: with fewer its samples themselves are
  // as quickly read, and take little more room (a bucket takes about four bytes, a sample less than one and a
  // half; bench_storage).
  double samples_min = 5;
  // For the instant in which the log's partition goes. Writers wait behind us meanwhile, so it is short, and
  // tried again for as long as `patience`.
  std::chrono::milliseconds lock_timeout{150};
  std::chrono::milliseconds patience{20'000};
};

// What one partition of the log became.
struct Compacted {
  Timestamp hour;
  std::uint64_t samples = 0;     // in blocks now
  std::uint64_t duplicates = 0;  // of a (series, time) that is in the same partition before: dropped
  std::uint64_t expired = 0;     // older than the retention: dropped
  std::uint64_t blocks = 0;
  std::uint64_t block_bytes = 0;  // heads and bodies
  std::uint64_t rollups = 0;      // rows
  std::uint64_t rollup_bytes = 0;
};

// Why a partition stays for now.
enum class NotYet {
  none,        // there is nothing to compact
  open,        // its hour is not over, or not long enough ago
  unread,      // a reader has not saved a position behind it
  locked,      // a transaction that wrote to it is still under way, or prepared
};
std::string_view to_word(NotYet reason);

// Turns partitions of the log into blocks and rollups, the oldest first, each in one transaction that also drops
// the partition: whoever looks sees its samples once, before or after. What a killed one leaves is nothing, and
// the next one starts the partition again. Two at once are safe: one waits and finds it done.
class Compactor {
 public:
  explicit Compactor(CompactSettings settings);

  // Compacts the oldest partition if it may go, else says why not in `reason`.
  //
  // closed_before  only a partition that ends at it or before is over
  // read           positions of the log behind which every reader has saved its state; nothing: nobody reads
  // now            for the retention
  //
  // Throws Unavailable or Rejected; nothing has happened then.
  std::optional<Compacted> compact_oldest(Timestamp closed_before, const std::optional<LogPositions>& read,
                                          Timestamp now, NotYet& reason);

  // For tests: called with the name of each step, to stop there.
  std::function<void(std::string_view step)> at_step;

 private:
  CompactSettings settings_;
};

// Drops blocks and rollups beyond their retention; the names of the partitions.
std::vector<std::string> drop_expired(const std::string& dsn, Timestamp now, const Retention& retention);

// Drops days of blocks, the oldest first, until the database takes at most `bytes_max`; never the two newest
// days, and never the log, as that would be data nobody has seen. The names of what went, and the size after it.
struct Bounded {
  std::vector<std::string> dropped;
  std::uint64_t bytes = 0;
  bool met = true;  // false: there is nothing more to drop
};
Bounded keep_below(const std::string& dsn, std::uint64_t bytes_max, Timestamp now);

// What lies where, for /metrics and doctor.
struct StorageUse {
  struct Table {
    std::string name;  // log, blocks, 1m, 5m, 1h, 1d
    std::uint64_t bytes = 0;  // with indexes and TOAST
    std::uint64_t partitions = 0;
    std::uint64_t rows = 0;  // as PostgreSQL estimates them
    std::optional<Timestamp> oldest;
  };
  std::vector<Table> tables;
  std::uint64_t database_bytes = 0;
  std::uint64_t log_hours_behind = 0;  // partitions of the log that ended and are not compacted
  std::uint64_t log_hours_ahead = 0;   // partitions of the log that have not begun
};
StorageUse storage_use(const std::string& dsn, Timestamp now);

}  // namespace muster::store
