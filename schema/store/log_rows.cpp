#include "schema/store/log_rows.hpp"

#include <numeric>

namespace muster::store {

void read_log_row(const Rows& rows, int row, int column, LogRows& out) {
  std::vector<std::int64_t> sets;
  std::vector<std::int32_t> offsets;
  std::vector<std::int16_t> counts;
  read_array(rows.at(row, column), sets);
  const Timestamp ts = from_pg(rows.number<std::int64_t>(row, column + 1));
  if (!rows.null(row, column + 2)) read_array(rows.at(row, column + 2), offsets);
  if (!rows.null(row, column + 3)) read_array(rows.at(row, column + 3), counts);
  const bool full = rows.null(row, column + 4);

  auto first = static_cast<std::uint32_t>(out.values.size());
  const std::size_t count = read_array(rows.at(row, column + 5), out.values);
  if (full) {
    out.positions.resize(out.positions.size() + count);
  } else if (read_array(rows.at(row, column + 4), out.positions) != count) {
    throw Rejected("22000", "a row of the log has not as many positions as values");
  }
  if (counts.empty() && sets.size() == 1) counts.push_back(static_cast<std::int16_t>(count));
  if (counts.size() != sets.size() || (!offsets.empty() && offsets.size() != sets.size()) ||
      std::accumulate(counts.begin(), counts.end(), std::size_t{0}) != count) {
    throw Rejected("22000", "a row of the log has not as many values as its sets say");
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    LogRows::Row r;
    r.set = SetId{sets[i]};
    r.ts = offsets.empty() ? ts : ts + Duration(offsets[i]);
    r.full = full;
    r.first = first;
    r.count = static_cast<std::uint16_t>(counts[i]);
    first += r.count;
    out.rows.push_back(r);
  }
}

}  // namespace muster::store
