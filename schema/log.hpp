#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster {

// Rows of the sample log, columnar. A row is one set at one instant.
struct LogRows {
  struct Row {
    SetId set{};
    Timestamp ts;
    std::uint32_t first = 0;  // its values stand at [first, first + count)
    std::uint16_t count = 0;
    bool full = true;  // all slots present; else `positions` names the slot of each value
  };
  std::vector<Row> rows;
  std::vector<double> values;
  std::vector<std::int16_t> positions;  // as long as `values`; meaningless for full rows
};

// Where a batch stands. `batch` is dense from 1 for each (shard, collector), so a reader that sees a gap
// knows that something is still to come and waits.
struct LogPosition {
  std::int32_t shard = 0;
  std::int64_t collector = 0;  // an incarnation of a collector: a new one at each start
  std::int64_t batch = 0;
  friend auto operator<=>(const LogPosition&, const LogPosition&) = default;
};

// A committed batch, with the sets that its rows name and that this reader was not handed before.
struct LogBatch {
  LogPosition position;
  Timestamp written_at;  // arrival, for measuring lag alone
  LogRows rows;
  std::vector<SeriesSetPtr> new_sets;
};

// How far a reader has come: one position a (shard, collector), sorted.
using LogPositions = std::vector<LogPosition>;

}  // namespace muster
