#pragma once

#include <string_view>
#include <vector>

#include "schema/log.hpp"
#include "schema/store/connection.hpp"

// Rows as they come from the database in binary, for whoever reads the log.
namespace muster::store {

// A binary array of fixed-width elements without nulls.
template <class Number>
std::size_t read_array(std::string_view bytes, std::vector<Number>& out) {
  const auto bad = [] { throw Rejected("22P03", "an array has an unknown form"); };
  if (bytes.size() < 12) bad();
  const auto dimensions = get<std::int32_t>(bytes.data());
  if (dimensions == 0) return 0;
  if (dimensions != 1 || bytes.size() < 20 || get<std::int32_t>(bytes.data() + 4) != 0) bad();
  const auto count = static_cast<std::size_t>(get<std::int32_t>(bytes.data() + 12));
  constexpr std::size_t step = 4 + sizeof(Number);
  if (bytes.size() != 20 + count * step) bad();
  const std::size_t before = out.size();
  out.resize(before + count);
  const char* from = bytes.data() + 24;
  for (std::size_t i = 0; i < count; ++i, from += step) out[before + i] = get<Number>(from);
  return count;
}

// Appends what a row of sample_log with the columns (set_ids, ts, ts_off, counts, pos, vals) from `column` on
// holds: a row a set. Throws Rejected when it contradicts itself.
void read_log_row(const Rows& rows, int row, int column, LogRows& out);

}  // namespace muster::store
