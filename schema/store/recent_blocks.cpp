#include "schema/store/recent_blocks.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "schema/rollup.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/registry.hpp"

namespace muster::store {
namespace {

BlockHead head_of(std::string_view bytes) {
  Result<BlockHead> head = BlockHead::read(bytes);
  if (!head) throw Rejected("22000", "a block cannot be read: " + head.error().what);
  return std::move(*head);
}

}  // namespace

void remember_blocks(Connection& connection, int shard, Timestamp since, std::size_t rows_max,
                     const absl::flat_hash_map<std::int64_t, SeriesSetPtr>& sets, Registry& registry) {
  struct Kept {
    std::int64_t set;
    Timestamp ts_from;
    std::int64_t part;
    BlockHead head;
  };
  std::vector<Kept> blocks;  // the newest first
  connection.run("BEGIN");
  Params p;
  p.int4(shard).timestamptz(since).timestamptz(bucket_of(since, std::chrono::hours(24)));
  connection.run(
      "DECLARE recent BINARY NO SCROLL CURSOR FOR SELECT set_id, ts_from, part, head FROM sample_block "
      "WHERE shard = $1 AND ts_to >= $2 AND ts_from >= $3 ORDER BY ts_to DESC, set_id, part",
      p);
  constexpr int fetch = 1'000;
  std::size_t rows_kept = 0;
  while (rows_kept < rows_max) {
    const Rows rows = connection.run("FETCH 1000 FROM recent", Params());
    for (int row = 0; row < rows.size() && rows_kept < rows_max; ++row) {
      const auto set = rows.number<std::int64_t>(row, 0);
      if (!sets.contains(set)) continue;
      blocks.push_back({set, from_pg(rows.number<std::int64_t>(row, 1)), rows.number<std::int64_t>(row, 2), head_of(rows.at(row, 3))});
      rows_kept += blocks.back().head.ts.size();
    }
    if (rows.size() < fetch) break;
  }
  connection.run("CLOSE recent");

  std::vector<std::int16_t> there;
  std::vector<BlockColumn> columns;
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    const SeriesSet& set = *sets.at(block->set);
    const BlockHead& head = block->head;
    // Columns that are full or empty are known by the head; where holes are, only by the column.
    bool holes = false;
    there.clear();
    for (std::size_t c = 0; c < head.columns(); ++c) {
      if (head.range(c).size == 0) continue;
      there.push_back(static_cast<std::int16_t>(c));
      holes = holes || !head.full(c);
    }
    if (!holes) {
      for (const Timestamp ts : head.ts)
        if (ts >= since) registry.remember(set, ts, there, there.size() == set.series.size());
      continue;
    }
    Params q;
    q.int4(shard).int8(block->set).timestamptz(block->ts_from).int8(block->part);
    const Rows rows = connection.run("SELECT body FROM sample_block WHERE shard = $1 AND set_id = $2 AND ts_from = $3 AND part = $4", q);
    if (rows.size() == 0) continue;  // dropped meanwhile
    columns.resize(head.columns());
    for (std::size_t c = 0; c < head.columns(); ++c) {
      const auto [from, size] = head.range(c);
      if (from + std::uint64_t{size} > rows.at(0, 0).size()) throw Rejected("22000", "a block is shorter than its head says");
      const Result<void> read = read_column(head, rows.at(0, 0).substr(from, size), columns[c]);
      if (!read) throw Rejected("22000", "a block cannot be read: " + read.error().what);
    }
    for (std::size_t i = 0; i < head.ts.size(); ++i) {
      if (head.ts[i] < since) continue;
      there.clear();
      for (std::size_t c = 0; c < columns.size(); ++c)
        if (columns[c].has(i)) there.push_back(static_cast<std::int16_t>(c));
      registry.remember(set, head.ts[i], there, false);
    }
  }
  connection.run("COMMIT");
}

}  // namespace muster::store
