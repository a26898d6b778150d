#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "schema/time.hpp"

namespace muster::store {

struct PartitionSettings {
  // Creation may fail for that long (a lock that is held, a database that is away) before a write does.
  std::chrono::hours ahead{6};
  // Both need the table for an instant; whoever holds it longer is not made to wait behind us.
  std::chrono::milliseconds lock_timeout{2'000};
};

// Makes the partitions sample_log_YYYYMMDDHH (UTC) from the hour before `now` to `ahead` after it, as far as
// they are missing; their names. A background loop calls it every few minutes; throws Unavailable when a
// lock was not had in time.
std::vector<std::string> make_partitions(const std::string& dsn, Timestamp now,
                                         const PartitionSettings& settings = {});

// Drops the partitions that end at `before` or earlier; their names. A mark in sample_batch stands for the
// batches that go, so that a reader that comes too late steps over them.
std::vector<std::string> drop_partitions(const std::string& dsn, Timestamp before, int shards = 1,
                                         const PartitionSettings& settings = {});

}  // namespace muster::store
