#include "schema/store/compact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/hash.hpp"
#include "schema/block.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/log_rows.hpp"
#include "schema/store/partitions.hpp"

namespace muster::store {
namespace {

using namespace std::chrono_literals;

constexpr Duration day = std::chrono::hours(24);
// Rows of the log fetched at once, 8 KB each.
constexpr int fetch_rows = 500;
// Rows of a COPY are sent when they take so much.
constexpr std::size_t copy_bytes_max = 8u << 20;
// A transaction that wrote to a closed hour ends within milliseconds, or not for a while.
constexpr auto first_lock_timeout = 2'000ms;

constexpr std::size_t mask_words = SeriesSet::slots_max / 64;

// The values of a set as they came, a row an instant, its slots side by side.
struct Rowset {
  std::int32_t shard = 0;
  std::int64_t set = 0;
  std::size_t width = 0;
  std::vector<std::int64_t> ts;
  std::vector<double> values;        // width a row; 0 in a hole
  std::vector<std::uint64_t> masks;  // mask_words a row; empty: all rows are full

  std::size_t bytes() const {
    return sizeof *this + 8 * (ts.capacity() + values.capacity() + masks.capacity());
  }
  bool has(std::size_t row, std::size_t slot) const {
    return masks.empty() || (masks[row * mask_words + slot / 64] >> (slot % 64) & 1) != 0;
  }
  // From here on each row has a mask.
  void mask_all() {
    if (!masks.empty()) return;
    std::uint64_t full[mask_words] = {};
    for (std::size_t s = 0; s < width; ++s) full[s / 64] |= std::uint64_t{1} << (s % 64);
    masks.reserve(std::max<std::size_t>(ts.capacity(), 1) * mask_words);
    for (std::size_t row = 0; row < ts.size(); ++row) masks.insert(masks.end(), full, full + mask_words);
  }
  // Rows ascending, each instant once; of a slot that was there already the first value stays. How many were
  // dropped for it.
  std::uint64_t sort();
  // The usual time between two rows, of a few that are spread over all; 0 for a single row. Of sorted rows.
  Duration usual_gap() const;
  // A slot of the rows [from, to).
  void column(std::size_t slot, std::size_t from, std::size_t to, BlockColumn& out) const;
};

std::uint64_t Rowset::sort() {
  if (std::adjacent_find(ts.begin(), ts.end(), std::greater_equal<>()) == ts.end()) return 0;
  std::vector<std::uint32_t> order(ts.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return ts[a] < ts[b]; });
  mask_all();
  Rowset sorted;
  sorted.ts.reserve(ts.size());
  sorted.values.reserve(values.size());
  sorted.masks.reserve(masks.size());
  std::uint64_t dropped = 0;
  for (const std::uint32_t row : order) {
    const double* const from = values.data() + row * width;
    const std::uint64_t* const mask = masks.data() + row * mask_words;
    if (sorted.ts.empty() || sorted.ts.back() != ts[row]) {
      sorted.ts.push_back(ts[row]);
      sorted.values.insert(sorted.values.end(), from, from + width);
      sorted.masks.insert(sorted.masks.end(), mask, mask + mask_words);
      continue;
    }
    double* const to = sorted.values.data() + (sorted.ts.size() - 1) * width;
    std::uint64_t* const there = sorted.masks.data() + (sorted.ts.size() - 1) * mask_words;
    for (std::size_t s = 0; s < width; ++s) {
      const std::uint64_t bit = std::uint64_t{1} << (s % 64);
      if ((mask[s / 64] & bit) == 0) continue;
      if ((there[s / 64] & bit) != 0) {
        ++dropped;
        continue;
      }
      there[s / 64] |= bit;
      to[s] = from[s];
    }
  }
  ts = std::move(sorted.ts);
  values = std::move(sorted.values);
  masks = std::move(sorted.masks);
  return dropped;
}

Duration Rowset::usual_gap() const {
  if (ts.size() < 2) return Duration(0);
  std::array<std::int64_t, 31> some;
  const std::size_t n = std::min(some.size(), ts.size() - 1);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t at = i * (ts.size() - 1) / n;
    some[i] = ts[at + 1] - ts[at];
  }
  std::nth_element(some.begin(), some.begin() + n / 2, some.begin() + n);
  return Duration(some[n / 2]);
}

void Rowset::column(std::size_t slot, std::size_t from, std::size_t to, BlockColumn& out) const {
  const std::size_t rows = to - from;
  out.values.resize(rows);
  out.present.clear();
  for (std::size_t i = 0; i < rows; ++i) out.values[i] = values[(from + i) * width + slot];
  out.count = rows;
  if (masks.empty()) return;
  out.present.assign((rows + 63) / 64, 0);
  out.count = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    if (!has(from + i, slot)) continue;
    out.present[i / 64] |= std::uint64_t{1} << (i % 64);
    ++out.count;
  }
  if (out.count == rows) out.present.clear();
}

// Rows for one table, in COPY's binary form.
class CopyRows {
 public:
  explicit CopyRows(std::string table) : table_(std::move(table)) { clear(); }

  void begin(std::int16_t fields) { put<std::int16_t>(bytes_, fields); }
  template <class Number>
  void number(Number v) {
    put<std::int32_t>(bytes_, sizeof v);
    put(bytes_, v);
  }
  void bytes(std::string_view v) {
    put<std::int32_t>(bytes_, static_cast<std::int32_t>(v.size()));
    bytes_ += v;
  }
  bool large() const { return bytes_.size() > copy_bytes_max; }

  void send(Connection& connection) {
    if (bytes_.size() == head_size) return;
    put<std::int16_t>(bytes_, -1);
    connection.begin_copy(("COPY " + table_ + " FROM STDIN (FORMAT binary)").c_str());
    for (std::size_t at = 0; at < bytes_.size(); at += 256u << 10)
      connection.put_copy(std::string_view(bytes_).substr(at, 256u << 10));
    connection.end_copy();
    clear();
  }

 private:
  static constexpr std::size_t head_size = 19;
  void clear() { bytes_.assign("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", head_size); }
  std::string table_;
  std::string bytes_;
};

// One partition on its way.
struct Run {
  const CompactSettings& settings;
  Connection& connection;
  std::int64_t part;        // of what is written next; grows with each flush
  Timestamp raw_from;       // samples before it are beyond the retention
  Timestamp now;
  Compacted done;
  const std::function<void(std::string_view)>& at_step;

  std::map<std::pair<std::int32_t, std::int64_t>, std::size_t> widths;
  std::map<std::pair<std::int32_t, std::int64_t>, Rowset> open;
  std::size_t held = 0;
  std::set<std::pair<std::int32_t, std::int64_t>> groups;  // that are stored
  std::map<std::string, std::string> partitions;  // by what asked for it
  std::map<std::string, CopyRows> copies;         // by table

  void step(std::string_view name) const {
    if (at_step) at_step(name);
  }
  CopyRows& copy_to(const std::string& table) {
    const auto [at, fresh] = copies.try_emplace(table, table);
    if (!fresh && at->second.large()) at->second.send(connection);
    return at->second;
  }
  const std::string& block_table(Timestamp t);
  const std::string& rollup_table(Level level, Timestamp t);

  void read_known();
  void read_log(const std::string& table);
  void take(std::int32_t shard, const LogRows& log);
  void flush();
  void put_blocks(Rowset& rows);
  void put_rollups(std::int32_t shard, std::vector<Rowset*> sets);
  struct Member {
    std::int64_t series;
    std::uint32_t metric;
    bool counter;
    std::uint16_t slot;
    const Rowset* rows;
  };
  void put_group(std::int32_t shard, const std::string& metric, std::span<const Member> members);
};

const std::string& Run::block_table(Timestamp t) {
  std::string& name = partitions["b" + std::to_string(bucket_of(t, day).us)];
  if (name.empty()) name = block_partition_for(connection, t);
  return name;
}

const std::string& Run::rollup_table(Level level, Timestamp t) {
  const Duration length = rollup_partition(level);
  std::string& name = partitions[std::string(to_word(level)) + std::to_string(bucket_of(t, length).us)];
  if (name.empty()) name = rollup_partition_for(connection, level, t);
  return name;
}

// How wide each set is, and which groups are there.
void Run::read_known() {
  const Rows sets = connection.run("SELECT shard, set_id, cardinality(series_ids) FROM series_set", Params());
  for (int row = 0; row < sets.size(); ++row)
    widths[{sets.number<std::int32_t>(row, 0), sets.number<std::int64_t>(row, 1)}] =
        static_cast<std::size_t>(sets.number<std::int32_t>(row, 2));
  const Rows known = connection.run("SELECT shard, group_id FROM rollup_group", Params());
  for (int row = 0; row < known.size(); ++row)
    groups.emplace(known.number<std::int32_t>(row, 0), known.number<std::int64_t>(row, 1));
}

void Run::read_log(const std::string& table) {
  connection.run("DECLARE l BINARY NO SCROLL CURSOR FOR SELECT shard, set_ids, ts, ts_off, counts, pos, vals FROM ONLY " + table);
  const std::string fetch = fmt::format("FETCH {} FROM l", fetch_rows);
  LogRows log;
  while (true) {
    const Rows rows = connection.run(fetch.c_str(), Params());
    for (int row = 0; row < rows.size(); ++row) {
      log.rows.clear();
      log.values.clear();
      log.positions.clear();
      read_log_row(rows, row, 1, log);
      take(rows.number<std::int32_t>(row, 0), log);
    }
    if (held > settings.memory_max) flush();
    if (rows.size() < fetch_rows) break;
  }
  connection.run("CLOSE l");
  flush();
}

void Run::take(std::int32_t shard, const LogRows& log) {
  for (const LogRows::Row& r : log.rows) {
    if (r.ts < raw_from) {
      done.expired += r.count;
      continue;
    }
    const std::pair key(shard, static_cast<std::int64_t>(r.set));
    Rowset& rows = open[key];
    if (rows.width == 0) {
      const auto width = widths.find(key);
      if (width == widths.end()) throw Rejected("22000", "a row of the log names a set that is not in the table series_set");
      rows.shard = shard;
      rows.set = key.second;
      rows.width = width->second;
    } else {
      held -= rows.bytes();
    }
    const double* const from = log.values.data() + r.first;
    if (r.full && r.count != rows.width) throw Rejected("22000", "a row of the log has not as many values as its set has series");
    if (!r.full) rows.mask_all();
    rows.ts.push_back(r.ts.us);
    if (r.full) {
      rows.values.insert(rows.values.end(), from, from + rows.width);
      if (!rows.masks.empty()) {
        const std::size_t at = rows.masks.size();
        rows.masks.resize(at + mask_words);
        for (std::size_t s = 0; s < rows.width; ++s) rows.masks[at + s / 64] |= std::uint64_t{1} << (s % 64);
      }
    } else {
      const std::size_t at = rows.values.size(), mask = rows.masks.size();
      rows.values.resize(at + rows.width);
      rows.masks.resize(mask + mask_words);
      for (std::size_t i = 0; i < r.count; ++i) {
        const auto slot = static_cast<std::size_t>(log.positions[r.first + i]);
        if (slot >= rows.width) throw Rejected("22000", "a row of the log has a slot that its set has not");
        rows.values[at + slot] = from[i];
        rows.masks[mask + slot / 64] |= std::uint64_t{1} << (slot % 64);
      }
    }
    held += rows.bytes();
  }
}

// All that is held becomes blocks and rollups.
void Run::flush() {
  if (open.empty()) return;
  ++part;
  std::map<std::int32_t, std::vector<Rowset*>> shards;
  for (auto& [key, rows] : open) {
    done.duplicates += rows.sort();
    put_blocks(rows);
    shards[key.first].push_back(&rows);
  }
  for (auto& [shard, sets] : shards) put_rollups(shard, std::move(sets));
  for (auto& [table, copy] : copies) copy.send(connection);
  copies.clear();
  open.clear();
  held = 0;
  step("flushed");
}

void Run::put_blocks(Rowset& rows) {
  std::vector<BlockColumn> columns(rows.width);
  std::vector<Timestamp> ts;
  for (std::size_t from = 0, to = 0; from < rows.ts.size(); from = to) {
    const Timestamp end = bucket_of({rows.ts[from]}, day) + day;
    while (to < rows.ts.size() && Timestamp{rows.ts[to]} < end && to - from < BlockLimits::rows_max) ++to;
    ts.clear();
    for (std::size_t row = from; row < to; ++row) ts.push_back({rows.ts[row]});
    std::uint64_t samples = 0;
    for (std::size_t s = 0; s < rows.width; ++s) {
      rows.column(s, from, to, columns[s]);
      samples += columns[s].count;
    }
    const Block block = encode_block(ts, columns);
    CopyRows& out = copy_to(block_table(ts.front()));
    out.begin(8);
    out.number(rows.shard);
    out.number(rows.set);
    out.number(to_pg(ts.front()));
    out.number(part);
    out.number(to_pg(ts.back()));
    out.number(static_cast<std::int32_t>(samples));
    out.bytes(block.head);
    out.bytes(block.body);
    done.samples += samples;
    ++done.blocks;
    done.block_bytes += block.head.size() + block.body.size();
  }
}

void Run::put_rollups(std::int32_t shard, std::vector<Rowset*> sets) {
  std::unordered_map<std::int64_t, const Rowset*> by_id;
  std::vector<std::int64_t> ids;
  for (const Rowset* rows : sets) {
    by_id.emplace(rows->set, rows);
    ids.push_back(rows->set);
  }
  // Who stands in the slots.
  std::vector<Member> members;
  std::vector<std::string> metrics;
  {
    struct Meaning {
      std::uint32_t metric;
      bool counter;
    };
    std::unordered_map<std::string, std::uint32_t> numbers;
    std::unordered_map<std::int64_t, Meaning> series;
    Params p;
    p.int4(shard).int8_array(ids);
    connection.run(
        "DECLARE s BINARY NO SCROLL CURSOR FOR SELECT r.series_id, r.metric, r.kind FROM series r "
        "WHERE r.shard = $1 AND r.series_id IN (SELECT unnest(s.series_ids) FROM series_set s "
        "WHERE s.shard = $1 AND s.set_id = ANY ($2))",
        p);
    while (true) {
      const Rows rows = connection.run("FETCH 10000 FROM s", Params());
      for (int row = 0; row < rows.size(); ++row) {
        const auto [at, fresh] = numbers.try_emplace(std::string(rows.at(row, 1)), static_cast<std::uint32_t>(metrics.size()));
        if (fresh) metrics.push_back(at->first);
        series[rows.number<std::int64_t>(row, 0)] = {at->second, adds_up(static_cast<Kind>(rows.number<std::int16_t>(row, 2)))};
      }
      if (rows.size() < 10'000) break;
    }
    connection.run("CLOSE s");
    const Rows rows = connection.run("SELECT set_id, series_ids FROM series_set WHERE shard = $1 AND set_id = ANY ($2)", p);
    std::vector<std::int64_t> list;
    for (int row = 0; row < rows.size(); ++row) {
      list.clear();
      read_array(rows.at(row, 1), list);
      const Rowset* const of = by_id.at(rows.number<std::int64_t>(row, 0));
      for (std::size_t slot = 0; slot < list.size(); ++slot) {
        const auto meaning = series.find(list[slot]);
        if (meaning == series.end()) throw Rejected("22000", "a set names a series that is not in the table series");
        members.push_back({list[slot], meaning->second.metric, meaning->second.counter, static_cast<std::uint16_t>(slot), of});
      }
    }
  }
  // A series may stand in several sets (a deploy in this hour); its pieces lie side by side, the older first.
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
    return std::tuple(a.metric, a.counter, a.series, a.rows->ts.front()) < std::tuple(b.metric, b.counter, b.series, b.rows->ts.front());
  });
  for (std::size_t from = 0, to = 0; from < members.size(); from = to) {
    std::size_t count = 0;  // series
    for (to = from; to < members.size() && members[to].metric == members[from].metric && members[to].counter == members[from].counter; ++to)
      count += to == from || members[to].series != members[to - 1].series;
    // Groups are slices of the space of ids, which are hashes, so that a new series changes one group and not all
    // that come behind it.
    const unsigned slices = static_cast<unsigned>(std::bit_width(count / (RollupColumns::series_max * 3 / 4)));
    const auto slice_of = [&](const Member& m) { return slices == 0 ? 0 : static_cast<std::uint64_t>(m.series) >> (63 - slices); };
    for (std::size_t first = from, last = from; first < to; first = last) {
      std::size_t n = 0;
      for (last = first; last < to && slice_of(members[last]) == slice_of(members[first]); ++last) {
        const bool another = last == first || members[last].series != members[last - 1].series;
        if (another && n == RollupColumns::series_max) break;
        n += another;
      }
      put_group(shard, metrics[members[from].metric], std::span(members).subspan(first, last - first));
    }
  }
}

void Run::put_group(std::int32_t shard, const std::string& metric, std::span<const Member> members) {
  const bool counter = members.front().counter;
  std::vector<std::int64_t> ids;
  std::vector<std::array<std::vector<Bucket>, levels.size()>> rolled;
  BlockColumn column;
  std::vector<Timestamp> ts;
  std::vector<Bucket> buckets;
  std::array<bool, levels.size()> any{};
  for (const Member& m : members) {
    const bool another = ids.empty() || ids.back() != m.series;
    if (another) {
      ids.push_back(m.series);
      rolled.emplace_back();
    }
    m.rows->column(m.slot, 0, m.rows->ts.size(), column);
    // Of a single sample nothing is known.
    if (column.count < 2) continue;
    ts.clear();
    for (const std::int64_t us : m.rows->ts) ts.push_back({us});
    // A series that fills every other row comes half as often.
    const double interval = static_cast<double>(m.rows->usual_gap().count()) *
                            static_cast<double>(column.values.size()) / static_cast<double>(column.count);
    const std::optional<unsigned> digits = counter ? std::nullopt : decimal_digits(column);
    for (std::size_t l = 0; l < levels.size(); ++l) {
      // A tenth more, so that jitter does not decide.
      if (static_cast<double>(length(levels[l]).count()) * 1.1 < settings.samples_min * interval) continue;
      roll_up(ts, column, counter, digits, levels[l], buckets);
      any[l] = any[l] || !buckets.empty();
      std::vector<Bucket>& into = rolled.back()[l];
      if (into.empty()) {
        into = buckets;
        continue;
      }
      std::vector<Bucket> both;
      std::merge(into.begin(), into.end(), buckets.begin(), buckets.end(), std::back_inserter(both),
                 [](const Bucket& a, const Bucket& b) { return a.begin < b.begin; });
      into.clear();
      for (const Bucket& b : both) {
        if (!into.empty() && into.back().begin == b.begin) {
          merge(into.back().rollup, b.rollup, counter);
        } else {
          into.push_back(b);
        }
      }
    }
  }
  if (std::none_of(any.begin(), any.end(), [](bool a) { return a; })) return;

  std::string bytes = metric;
  bytes += counter ? "\xff\x01" : "\xff";
  for (const std::int64_t id : ids) put(bytes, id);
  const std::int64_t group = hash63(bytes);
  if (groups.emplace(shard, group).second) {
    Params p;
    p.int4(shard).int8(group).text(metric).int8_array(ids).int2(counter ? 1 : 0);
    connection.run(
        "INSERT INTO rollup_group (shard, group_id, metric, series_ids, counter) "
        "VALUES ($1, $2, $3, $4, $5 = 1::smallint) ON CONFLICT DO NOTHING",
        p);
  }

  std::vector<BlockColumn> columns(ids.size() * RollupColumns::numbers);
  for (std::size_t l = 0; l < levels.size(); ++l) {
    if (!any[l]) continue;
    const Level level = levels[l];
    const Timestamp keep = now - settings.retention.of(level);
    std::set<std::int64_t> times;
    for (const auto& of : rolled)
      for (const Bucket& b : of[l])
        if (b.begin >= keep) times.insert(b.begin.us);
    const std::vector<std::int64_t> all(times.begin(), times.end());
    for (std::size_t from = 0, to = 0; from < all.size(); from = to) {
      const Timestamp end = bucket_of({all[from]}, rollup_partition(level)) + rollup_partition(level);
      while (to < all.size() && Timestamp{all[to]} < end && to - from < BlockLimits::rows_max) ++to;
      const std::size_t rows = to - from;
      for (BlockColumn& c : columns) {
        c.values.assign(rows, 0);
        c.present.assign((rows + 63) / 64, 0);
        c.count = 0;
      }
      for (std::size_t s = 0; s < ids.size(); ++s) {
        const auto set = [&](RollupColumns::Number number, std::size_t row, double v) {
          BlockColumn& c = columns[RollupColumns::column(s, number)];
          c.values[row] = v;
          c.present[row / 64] |= std::uint64_t{1} << (row % 64);
          ++c.count;
        };
        for (const Bucket& b : rolled[s][l]) {
          if (b.begin.us < all[from] || b.begin.us > all[to - 1]) continue;
          const auto row = static_cast<std::size_t>(std::lower_bound(all.begin() + static_cast<std::ptrdiff_t>(from), all.begin() + static_cast<std::ptrdiff_t>(to), b.begin.us) - all.begin()) - from;
          if (b.rollup.count > 0) {
            set(RollupColumns::count, row, b.rollup.count);
            set(RollupColumns::total, row, b.rollup.total);
            set(RollupColumns::low, row, b.rollup.low);
            set(RollupColumns::high, row, b.rollup.high);
          }
          if (b.rollup.nulls > 0) set(RollupColumns::nulls, row, b.rollup.nulls);
        }
      }
      for (BlockColumn& c : columns)
        if (c.count == rows) c.present.clear();
      ts.clear();
      for (std::size_t i = from; i < to; ++i) ts.push_back({all[i]});
      const Block block = encode_block(ts, columns);
      CopyRows& out = copy_to(rollup_table(level, ts.front()));
      out.begin(8);
      out.number(shard);
      out.number(static_cast<std::int32_t>(level));
      out.number(group);
      out.number(to_pg(ts.front()));
      out.number(part);
      out.number(to_pg(ts.back()));
      out.bytes(block.head);
      out.bytes(block.body);
      ++done.rollups;
      done.rollup_bytes += block.head.size() + block.body.size();
    }
  }
}

// Whether every reader has saved what it made of all batches of the partition. Nothing can be written to it any
// more, so the last batch of each collector says all.
bool all_read(Connection& connection, const Partition& partition, const LogPositions& read) {
  Params p;
  p.timestamptz(partition.end);
  const Rows rows = connection.run(
      "SELECT shard, collector_id, max(batch_id) FROM sample_batch WHERE written_at < $1 AND row_count > 0 "
      "GROUP BY shard, collector_id",
      p);
  for (int row = 0; row < rows.size(); ++row) {
    const LogPosition last{rows.number<std::int32_t>(row, 0), rows.number<std::int64_t>(row, 1), rows.number<std::int64_t>(row, 2)};
    const auto at = std::find_if(read.begin(), read.end(), [&](const LogPosition& r) { return r.shard == last.shard && r.collector == last.collector; });
    if (at == read.end() || at->batch < last.batch) return false;
  }
  return true;
}

// Runs a statement that needs a lock, within a transaction that survives when the lock is not had.
bool tried(Connection& connection, const std::string& sql, std::chrono::milliseconds timeout) {
  connection.run(fmt::format("SAVEPOINT lock; SET LOCAL lock_timeout = {}", timeout.count()));
  PGresult* const raw = PQexec(connection.raw(), sql.c_str());
  const char* const state = raw ? PQresultErrorField(raw, PG_DIAG_SQLSTATE) : nullptr;
  if (state && std::string_view(state) == "55P03") {
    PQclear(raw);
    connection.run("ROLLBACK TO SAVEPOINT lock; RELEASE SAVEPOINT lock");
    return false;
  }
  connection.checked(raw);
  connection.run("RELEASE SAVEPOINT lock");
  return true;
}

}  // namespace

Duration Retention::of(Level level) const {
  switch (level) {
    case Level::minute:
      return minute;
    case Level::five_minutes:
      return five_minutes;
    case Level::hour:
      return hour;
    case Level::day:
      return day;
  }
  return raw;
}

std::string_view to_word(NotYet reason) {
  constexpr std::string_view words[] = {"nothing to do", "the hour is not over", "not read by the aggregator yet", "a transaction still writes to it"};
  return words[static_cast<std::size_t>(reason)];
}

Compactor::Compactor(CompactSettings settings) : settings_(std::move(settings)) {}

std::optional<Compacted> Compactor::compact_oldest(Timestamp closed_before, const std::optional<LogPositions>& read,
                                                   Timestamp now, NotYet& reason) {
  ConnectOptions options;
  options.application_name = "muster compactor";
  // A fetch and a flush are seconds; between them lies our own work on what was fetched.
  options.statement_timeout = std::chrono::minutes(5);
  options.idle_in_transaction_timeout = std::chrono::minutes(5);
  Connection connection(settings_.dsn, options);
  const auto step = [&](std::string_view name) {
    if (at_step) at_step(name);
  };

  const std::vector<Partition> log = log_partitions(connection);
  if (log.empty() || log.front().begin >= closed_before) {
    reason = NotYet::none;
    return std::nullopt;
  }
  const Partition& oldest = log.front();
  if (oldest.end > closed_before) {
    reason = NotYet::open;
    return std::nullopt;
  }
  // Losing what was not flushed to disk yet would lose nothing: the log goes in the same transaction. But the
  // commit has to be durable like any other.
  connection.run("BEGIN; SET LOCAL jit = off");
  // No writer any more, and no second compactor; readers go on.
  if (!tried(connection, "LOCK TABLE ONLY " + oldest.name + " IN SHARE ROW EXCLUSIVE MODE", first_lock_timeout)) {
    reason = NotYet::locked;
    connection.run("ROLLBACK");
    return std::nullopt;
  }
  if (read && !all_read(connection, oldest, *read)) {
    reason = NotYet::unread;
    connection.run("ROLLBACK");
    return std::nullopt;
  }
  step("locked");

  // The database's clock, as `now` may be anything in a replay: compactions come one after the other, so each
  // finds another instant.
  const Rows clock = connection.run("SELECT clock_timestamp()", Params());
  Run run{settings_, connection, clock.number<std::int64_t>(0, 0), now - settings_.retention.raw, now, {}, at_step};
  run.done.hour = oldest.begin;
  run.read_known();
  run.read_log(oldest.name);
  step("written");
  for (int shard = 0; shard < settings_.shards; ++shard) mark_dropped(connection, shard, oldest.end);

  const auto until = std::chrono::steady_clock::now() + settings_.patience;
  while (!tried(connection, "DROP TABLE " + oldest.name, settings_.lock_timeout)) {
    if (std::chrono::steady_clock::now() > until) {
      reason = NotYet::locked;
      connection.run("ROLLBACK");
      return std::nullopt;
    }
    std::this_thread::sleep_for(2 * settings_.lock_timeout);
  }
  step("dropped");
  connection.run("COMMIT");
  step("committed");
  return run.done;
}

std::vector<std::string> drop_expired(const std::string& dsn, Timestamp now, const Retention& retention) {
  ConnectOptions options;
  options.application_name = "muster retention";
  Connection connection(dsn, options);
  connection.run("SET lock_timeout = 2000");
  std::vector<std::string> gone;
  const auto drop = [&](const std::vector<Partition>& partitions, Duration kept) {
    for (const Partition& p : partitions) {
      if (p.end > now - kept) continue;
      connection.run("DROP TABLE IF EXISTS " + p.name);
      gone.push_back(p.name);
    }
  };
  drop(block_partitions(connection), retention.raw);
  for (const Level level : levels) drop(rollup_partitions(connection, level), retention.of(level));
  return gone;
}

Bounded keep_below(const std::string& dsn, std::uint64_t bytes_max, Timestamp now) {
  ConnectOptions options;
  options.application_name = "muster retention";
  Connection connection(dsn, options);
  connection.run("SET lock_timeout = 2000");
  Bounded result;
  const auto size = [&] {
    return std::stoull(std::string(connection.run("SELECT pg_database_size(current_database())").at(0, 0)));
  };
  result.bytes = size();
  for (const Partition& p : block_partitions(connection)) {
    if (result.bytes <= bytes_max || p.end > bucket_of(now, day) - day + Duration(1)) break;
    connection.run("DROP TABLE IF EXISTS " + p.name);
    result.dropped.push_back(p.name);
    result.bytes = size();
  }
  result.met = result.bytes <= bytes_max;
  return result;
}

StorageUse storage_use(const std::string& dsn, Timestamp now) {
  ConnectOptions options;
  options.application_name = "muster storage";
  Connection connection(dsn, options);
  StorageUse use;
  const auto add = [&](std::string name, const std::vector<Partition>& partitions) {
    StorageUse::Table table;
    table.name = std::move(name);
    table.partitions = partitions.size();
    if (!partitions.empty()) table.oldest = partitions.front().begin;
    std::string names;
    for (const Partition& p : partitions) names += (names.empty() ? "'" : ",'") + p.name + "'";
    if (!names.empty()) {
      const Rows rows = connection.run(
          "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint, "
          "coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class "
          "WHERE relnamespace = current_schema()::regnamespace AND relname IN (" + names + ")");
      table.bytes = std::stoull(std::string(rows.at(0, 0)));
      table.rows = std::stoull(std::string(rows.at(0, 1)));
    }
    use.tables.push_back(std::move(table));
  };
  const std::vector<Partition> log = log_partitions(connection);
  for (const Partition& p : log) {
    use.log_hours_behind += p.end <= now;
    use.log_hours_ahead += p.begin > now;
  }
  add("log", log);
  add("blocks", block_partitions(connection));
  for (const Level level : levels) add(std::string(to_word(level)), rollup_partitions(connection, level));
  use.database_bytes = std::stoull(std::string(connection.run("SELECT pg_database_size(current_database())").at(0, 0)));
  return use;
}

}  // namespace muster::store
