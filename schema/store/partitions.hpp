#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "schema/rollup.hpp"
#include "schema/time.hpp"

namespace muster::store {

class Connection;

struct PartitionSettings {
  // Creation may fail for that long (a lock that is held, a database that is away) before a write does.
  std::chrono::hours ahead{6};
  // Both need the table for an instant; whoever holds it longer is not made to wait behind us.
  std::chrono::milliseconds lock_timeout{2'000};
};

// Makes the partitions sample_log_YYYYMMDDHH (UTC) from the hour of `now` to `ahead` after it, as far as they
// are missing; their names. A background loop calls it every few minutes; throws Unavailable when a
// lock was not had in time.
std::vector<std::string> make_partitions(const std::string& dsn, Timestamp now,
                                         const PartitionSettings& settings = {});

// Drops the partitions that end at `before` or earlier; their names. A mark in sample_batch stands for the
// batches that go, so that a reader that comes too late steps over them.
std::vector<std::string> drop_partitions(const std::string& dsn, Timestamp before, int shards = 1,
                                         const PartitionSettings& settings = {});

// What the three partitioned tables consist of, oldest first.
struct Partition {
  std::string name;
  Timestamp begin, end;
};
std::vector<Partition> log_partitions(Connection& connection);    // hours of arrival
std::vector<Partition> block_partitions(Connection& connection);  // days of event time
std::vector<Partition> rollup_partitions(Connection& connection, Level level);

// Where the oldest partition of the log begins; what arrived before is in blocks. Now, when there is none.
Timestamp oldest_partition(Connection& connection);

// How long the partitions of a level are: the finest are kept for days, the coarsest for years.
Duration rollup_partition(Level level);

// The partition that holds an instant, made if it is missing, within the transaction of `connection`: readers
// are not disturbed, and with the transaction it goes. Its name.
std::string block_partition_for(Connection& connection, Timestamp t);
std::string rollup_partition_for(Connection& connection, Level level, Timestamp t);

// Within a transaction: what sample_batch says about the batches that arrived before `end` becomes a mark.
void mark_dropped(Connection& connection, int shard, Timestamp end);

}  // namespace muster::store
