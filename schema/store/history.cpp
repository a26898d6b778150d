#include "schema/store/history.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>

#include "schema/store/connection.hpp"
#include "schema/store/log_rows.hpp"
#include "schema/store/partitions.hpp"

namespace muster::store {
namespace {

// A body up to this size comes with its head; of a larger one the columns that are asked for. Twice what a
// page of the table holds: beyond it a second question costs less than the bytes.
constexpr std::int32_t whole_body_max = 16 << 10;
// With more columns of a set than this, or more series of a group, bodies are fetched whole.
constexpr std::size_t slices_max = 8;
// So few sets or series are looked for by the server; more are sorted out here.
constexpr std::size_t overlap_max = 64;
// The times of a row's sets lie within so much of its own (four bytes of microseconds).
constexpr Duration row_span = std::chrono::minutes(36);
// How far a sender's clock may run ahead of ours, generously: a sample may arrive before its time.
constexpr Duration ahead_max = std::chrono::hours(1);

struct TooMuch {};

// What is asked of one set: slots, each with the requests that want it.
struct Wanted {
  std::uint16_t slot;
  std::size_t request;
};
using WantedSets = std::map<std::int64_t, std::vector<Wanted>>;

BlockHead head_of(std::string_view bytes) {
  Result<BlockHead> head = BlockHead::read(bytes);
  if (!head) throw Rejected("22000", "a block cannot be read: " + head.error().what);
  return std::move(*head);
}

void must(const Result<void>& read) {
  if (!read) throw Rejected("22000", "a block cannot be read: " + read.error().what);
}

// Sorted by time, each time once: what was appended first wins.
void in_order(Samples& s) {
  if (std::adjacent_find(s.ts.begin(), s.ts.end(), std::greater_equal<>()) == s.ts.end()) return;
  std::vector<std::size_t> order(s.ts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return s.ts[a] < s.ts[b]; });
  Samples sorted;
  for (const std::size_t i : order) {
    if (!sorted.ts.empty() && sorted.ts.back() == s.ts[i]) continue;
    sorted.ts.push_back(s.ts[i]);
    sorted.values.push_back(s.values[i]);
  }
  s = std::move(sorted);
}

}  // namespace

struct History::State {
  Settings settings;
  std::unique_ptr<Connection> connection;
  std::map<std::string, std::string> prepared;  // of this connection, by their SQL
  bool held = false;                            // between begin() and end()

  std::mutex mutex;  // guards the two below against cancel()
  PGcancel* cancel = nullptr;
  std::atomic<bool> cancelled = false;

  ~State() { forget(); }
  void forget();
  void connect();
  void open();

  // Runs `work` in the transaction that is held, or in one of its own.
  template <class Work>
  auto within(Work&& work) -> decltype(work());
  // Calls `take` for each row of a query, a few fetched at a time.
  template <class Take>
  void each_row(const std::string& sql, const Params& params, Take&& take);
  void check() const {
    if (cancelled) throw Cancelled("the query was cancelled");
  }

  void from_blocks(std::int32_t shard, const WantedSets& sets, Timestamp from, Timestamp to,
                   std::vector<Samples>& out);
  void from_log(std::int32_t shard, const WantedSets& sets, Timestamp from, Timestamp to,
                std::vector<Samples>& out);
  Result<std::vector<Samples>> read(std::span<const SlotRef> slots, Timestamp from, Timestamp to, bool blocks,
                                    bool log);

  Counts counts;            // of this call
  std::size_t numbers = 0;  // returned by this call so far
  void count(std::size_t more) {
    numbers += more;
    if (numbers > settings.numbers_max) throw TooMuch();
  }
  BlockColumn column;
};

void History::State::forget() {
  const std::lock_guard lock(mutex);
  if (cancel) PQfreeCancel(std::exchange(cancel, nullptr));
  connection.reset();
  prepared.clear();
  held = false;
}

void History::State::connect() {
  if (connection) return;
  ConnectOptions options;
  options.application_name = "muster history";
  options.statement_timeout = settings.statement_timeout;
  auto made = std::make_unique<Connection>(settings.dsn, options);
  // Compiling a plan costs more than any query here.
  made->run("SET jit = off");
  const std::lock_guard lock(mutex);
  connection = std::move(made);
  cancel = PQgetCancel(connection->raw());
}

void History::State::open() {
  connect();
  // The lock first, then the snapshot: a compaction that has it in between could else have dropped what this
  // snapshot does not see in blocks yet.
  connection->run(
      "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
      "LOCK TABLE ONLY sample_log IN ACCESS SHARE MODE");
}

template <class Work>
auto History::State::within(Work&& work) -> decltype(work()) {
  cancelled = false;
  numbers = 0;
  counts = {};
  try {
    if (!held) open();
    if constexpr (std::is_void_v<decltype(work())>) {
      work();
      if (!held) connection->run("COMMIT");
    } else {
      auto result = work();
      if (!held) connection->run("COMMIT");
      return result;
    }
  } catch (const TooMuch&) {
    forget();
    throw;
  } catch (const Unavailable& fault) {
    forget();
    if (cancelled) throw Cancelled("the query was cancelled");
    throw;
  } catch (...) {
    forget();
    throw;
  }
}

template <class Take>
void History::State::each_row(const std::string& sql, const Params& params, Take&& take) {
  // Most questions have few rows, and then one way to the server and back is what they cost.
  check();
  const int few = 2 * settings.fetch_rows;
  {
    // Planned once a connection: planning over many partitions costs more than the few rows.
    const auto [known, fresh] = prepared.try_emplace(sql, "h" + std::to_string(prepared.size()));
    if (fresh) connection->prepare(known->second.c_str(), (sql + " LIMIT " + std::to_string(few)).c_str());
    const Rows rows = connection->run_prepared(known->second.c_str(), params);
    if (rows.size() < few) {
      for (int row = 0; row < rows.size(); ++row) take(rows, row);
      return;
    }
  }
  connection->run(("DECLARE h BINARY NO SCROLL CURSOR FOR " + sql).c_str(), params);
  const std::string fetch = "FETCH " + std::to_string(settings.fetch_rows) + " FROM h";
  while (true) {
    check();
    const Rows rows = connection->run(fetch.c_str(), Params());
    for (int row = 0; row < rows.size(); ++row) take(rows, row);
    if (rows.size() < settings.fetch_rows) break;
  }
  connection->run("CLOSE h");
}

void History::State::from_blocks(std::int32_t shard, const WantedSets& sets, Timestamp from, Timestamp to,
                                 std::vector<Samples>& out) {
  std::vector<std::int64_t> ids;
  std::size_t slots = 0;
  for (const auto& [set, wanted] : sets) {
    ids.push_back(set);
    slots = std::max(slots, wanted.size());
  }

  // Blocks whose bodies are fetched in slices, a second question for as many as came at once.
  struct Later {
    std::int64_t set;
    Timestamp ts_from;
    std::int64_t part;
    BlockHead head;
  };
  std::vector<Later> later;

  const auto take = [&](std::int64_t set, const BlockHead& head, std::string_view bytes, std::uint32_t offset) {
    const auto first = std::lower_bound(head.ts.begin(), head.ts.end(), from) - head.ts.begin();
    const auto last = std::lower_bound(head.ts.begin(), head.ts.end(), to) - head.ts.begin();
    for (const Wanted& w : sets.at(set)) {
      if (w.slot >= head.columns()) throw Rejected("22000", "a block has fewer columns than its set has slots");
      const auto [begin, size] = head.range(w.slot);
      if (size == 0) continue;
      if (begin - offset + std::uint64_t{size} > bytes.size()) throw Rejected("22000", "a block is shorter than its head says");
      must(read_column(head, bytes.substr(begin - offset, size), column));
      Samples& samples = out[w.request];
      if (column.present.empty()) {
        samples.ts.insert(samples.ts.end(), head.ts.begin() + first, head.ts.begin() + last);
        samples.values.insert(samples.values.end(), column.values.begin() + first, column.values.begin() + last);
      } else {
        for (auto i = first; i < last; ++i) {
          if (!column.has(static_cast<std::size_t>(i))) continue;
          samples.ts.push_back(head.ts[static_cast<std::size_t>(i)]);
          samples.values.push_back(column.values[static_cast<std::size_t>(i)]);
        }
      }
      count(static_cast<std::size_t>(last - first));
    }
  };
  // The slice that holds all wanted columns of a block.
  const auto slice = [&](std::int64_t set, const BlockHead& head) {
    BlockHead::Range range{std::numeric_limits<std::uint32_t>::max(), 0};
    std::uint32_t end = 0;
    for (const Wanted& w : sets.at(set)) {
      if (w.slot >= head.columns()) continue;  // said by take()
      const auto [begin, size] = head.range(w.slot);
      if (size == 0) continue;
      range.from = std::min(range.from, begin);
      end = std::max(end, begin + size);
    }
    range.size = end > range.from ? end - range.from : 0;
    return range;
  };

  Params p;
  p.int4(shard).int8_array(ids);
  // A block never crosses a day, so what begins before the day of `from` ends before it too.
  p.timestamptz(bucket_of(from, std::chrono::hours(24))).timestamptz(to).timestamptz(from);
  p.int4(slots > slices_max ? std::numeric_limits<std::int32_t>::max() : whole_body_max);
  each_row("SELECT set_id, ts_from, part, head, CASE WHEN octet_length(body) <= $6 THEN body END "
           "FROM sample_block WHERE shard = $1 AND set_id = ANY ($2) "
           "AND ts_from >= $3 AND ts_from < $4 AND ts_to >= $5",
           p, [&](const Rows& rows, int row) {
             const auto set = rows.number<std::int64_t>(row, 0);
             BlockHead head = head_of(rows.at(row, 3));
             ++counts.blocks;
             counts.block_bytes += rows.at(row, 3).size() + (rows.null(row, 4) ? 0 : rows.at(row, 4).size());
             if (!rows.null(row, 4)) {
               take(set, head, rows.at(row, 4), 0);
             } else {
               later.push_back({set, from_pg(rows.number<std::int64_t>(row, 1)),
                                rows.number<std::int64_t>(row, 2), std::move(head)});
             }
           });

  const auto at_once = static_cast<std::size_t>(settings.fetch_rows);
  for (std::size_t begin = 0; begin < later.size(); begin += at_once) {
    check();
    const std::size_t end = std::min(later.size(), begin + at_once);
    std::vector<std::int64_t> set_ids, parts;
    std::vector<Timestamp> ts;
    std::vector<std::int32_t> offsets, sizes;
    for (std::size_t i = begin; i < end; ++i) {
      const auto [offset, size] = slice(later[i].set, later[i].head);
      set_ids.push_back(later[i].set);
      ts.push_back(later[i].ts_from);
      parts.push_back(later[i].part);
      offsets.push_back(size == 0 ? 0 : static_cast<std::int32_t>(offset));
      sizes.push_back(static_cast<std::int32_t>(size));
    }
    Params q;
    q.int4(shard).int8_array(set_ids).timestamptz_array(ts).int8_array(parts).int4_array(offsets).int4_array(sizes);
    const Rows rows = connection->run(
        "SELECT w.n, substr(b.body, w.at + 1, w.size) FROM unnest($2::bigint[], $3::timestamptz[], "
        "$4::bigint[], $5::int[], $6::int[]) WITH ORDINALITY AS w (set_id, ts_from, part, at, size, n) "
        "JOIN sample_block b ON b.shard = $1 AND b.set_id = w.set_id AND b.ts_from = w.ts_from "
        "AND b.part = w.part",
        q);
    for (int row = 0; row < rows.size(); ++row) {
      const std::size_t i = begin + static_cast<std::size_t>(rows.number<std::int64_t>(row, 0)) - 1;
      counts.block_bytes += rows.at(row, 1).size();
      take(later[i].set, later[i].head, rows.at(row, 1), static_cast<std::uint32_t>(offsets[i - begin]));
    }
  }
}

void History::State::from_log(std::int32_t shard, const WantedSets& sets, Timestamp from, Timestamp to,
                              std::vector<Samples>& out) {
  Params p;
  p.int4(shard).timestamptz(from - ahead_max).timestamptz(from - row_span).timestamptz(to + row_span);
  std::vector<std::int64_t> ids;
  const bool few = sets.size() <= overlap_max;
  if (few) {
    for (const auto& [set, wanted] : sets) ids.push_back(set);
    p.int8_array(ids);
  }
  LogRows log;
  each_row(std::string("SELECT set_ids, ts, ts_off, counts, pos, vals FROM sample_log WHERE shard = $1 "
                       "AND written_at >= $2 AND ts >= $3 AND ts < $4") + (few ? " AND set_ids && $5" : ""),
           p, [&](const Rows& rows, int row) {
             log.rows.clear();
             log.values.clear();
             log.positions.clear();
             read_log_row(rows, row, 0, log);
             ++counts.log_rows;
             for (int c = 0; c < 6; ++c) counts.log_bytes += rows.at(row, c).size();
             for (const LogRows::Row& r : log.rows) {
               if (r.ts < from || r.ts >= to) continue;
               const auto set = sets.find(static_cast<std::int64_t>(r.set));
               if (set == sets.end()) continue;
               for (const Wanted& w : set->second) {
                 std::uint32_t i = w.slot;
                 if (!r.full) {
                   const auto begin = log.positions.begin() + r.first, end = begin + r.count;
                   i = static_cast<std::uint32_t>(std::find(begin, end, static_cast<std::int16_t>(w.slot)) - begin);
                 }
                 if (i >= r.count) continue;
                 count(1);
                 out[w.request].ts.push_back(r.ts);
                 out[w.request].values.push_back(log.values[r.first + i]);
               }
             }
           });
}

Result<std::vector<Samples>> History::State::read(std::span<const SlotRef> slots, Timestamp from, Timestamp to, bool blocks,
                                                  bool log) {
  std::map<std::int32_t, WantedSets> shards;
  for (std::size_t i = 0; i < slots.size(); ++i)
    shards[slots[i].shard][static_cast<std::int64_t>(slots[i].set)].push_back({slots[i].slot, i});
  std::vector<Samples> out(slots.size());
  if (!(from < to) || slots.empty()) return out;
  try {
    within([&] {
      for (const auto& [shard, sets] : shards) {
        if (blocks) from_blocks(shard, sets, from, to, out);
        if (log) from_log(shard, sets, from, to, out);
      }
    });
  } catch (const TooMuch&) {
    return Error{"query", "it would return more than " + std::to_string(settings.numbers_max) +
                              " samples; ask for fewer series, a shorter time or a coarser step"};
  }
  for (Samples& samples : out) in_order(samples);
  return out;
}

History::History(Settings settings) : state_(std::make_unique<State>()) {
  state_->settings = std::move(settings);
}

History::~History() = default;

Result<std::vector<Samples>> History::samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to) {
  return state_->read(slots, from, to, true, true);
}

Result<std::vector<Samples>> History::block_samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to) {
  return state_->read(slots, from, to, true, false);
}

Result<std::vector<Samples>> History::log_samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to) {
  return state_->read(slots, from, to, false, true);
}

Result<std::vector<std::vector<Rollup>>> History::rollups(Level level, std::string_view metric,
                                                          std::span<const SeriesRef> series, Timestamp from,
                                                          Timestamp to) {
  const Duration step = length(level);
  const Timestamp begin = bucket_of(from, step);
  std::vector<std::vector<Rollup>> out(series.size());
  if (!(from < to) || series.empty()) return out;
  const auto buckets = static_cast<std::uint64_t>((to - begin + step - Duration(1)) / step);
  if (buckets > state_->settings.numbers_max || buckets * series.size() > state_->settings.numbers_max) {
    return Error{"query", "it would return " + std::to_string(buckets) + " buckets for each of " +
                              std::to_string(series.size()) +
                              " series; ask for fewer series, a shorter time or a coarser step"};
  }

  std::map<std::int32_t, std::map<std::int64_t, std::vector<std::size_t>>> shards;
  for (std::size_t i = 0; i < series.size(); ++i) {
    out[i].resize(buckets);
    shards[series[i].shard][static_cast<std::int64_t>(series[i].series)].push_back(i);
  }

  State& s = *state_;
  BlockColumn numbers[RollupColumns::numbers];
  s.within([&] {
    for (const auto& [shard, wanted] : shards) {
      struct Group {
        bool counter;
        std::vector<std::pair<std::size_t, std::size_t>> members;  // place in the group, place in `out`
      };
      std::map<std::int64_t, Group> groups;
      {
        Params p;
        p.int4(shard).text(metric);
        std::vector<std::int64_t> ids;
        const bool few = wanted.size() <= overlap_max;
        if (few) {
          for (const auto& [id, places] : wanted) ids.push_back(id);
          p.int8_array(ids);
        }
        const std::string sql = std::string("SELECT group_id, counter, series_ids FROM rollup_group WHERE shard = $1 AND metric = $2") +
                                (few ? " AND series_ids && $3" : "");
        const Rows rows = s.connection->run(sql.c_str(), p);
        std::vector<std::int64_t> members;
        for (int row = 0; row < rows.size(); ++row) {
          members.clear();
          read_array(rows.at(row, 2), members);
          Group group{rows.number<std::uint8_t>(row, 1) != 0, {}};
          for (std::size_t m = 0; m < members.size(); ++m) {
            const auto found = wanted.find(members[m]);
            if (found == wanted.end()) continue;
            for (const std::size_t place : found->second) group.members.emplace_back(m, place);
          }
          if (!group.members.empty()) groups.emplace(rows.number<std::int64_t>(row, 0), std::move(group));
        }
      }
      if (groups.empty()) continue;

      const auto take = [&](const Group& group, const BlockHead& head, std::string_view bytes, std::uint32_t offset) {
        for (const auto& [member, place] : group.members) {
          for (std::size_t n = 0; n < RollupColumns::numbers; ++n) {
            const std::size_t c = RollupColumns::column(member, static_cast<RollupColumns::Number>(n));
            if (c >= head.columns()) throw Rejected("22000", "a rollup has fewer columns than its group has series");
            const auto [at, size] = head.range(c);
            if (size > 0 && at - offset + std::uint64_t{size} > bytes.size()) throw Rejected("22000", "a rollup is shorter than its head says");
            must(read_column(head, size == 0 ? std::string_view() : bytes.substr(at - offset, size), numbers[n]));
          }
          for (std::size_t i = 0; i < head.ts.size(); ++i) {
            if (head.ts[i] < begin || head.ts[i] >= to) continue;
            Rollup r;
            if (numbers[RollupColumns::count].has(i)) {
              r.count = static_cast<std::uint32_t>(numbers[RollupColumns::count].values[i]);
              r.total = numbers[RollupColumns::total].values[i];
              r.low = numbers[RollupColumns::low].values[i];
              r.high = numbers[RollupColumns::high].values[i];
            }
            if (numbers[RollupColumns::nulls].has(i)) r.nulls = static_cast<std::uint32_t>(numbers[RollupColumns::nulls].values[i]);
            merge(out[place][static_cast<std::size_t>((head.ts[i] - begin) / step)], r, group.counter);
          }
        }
      };
      const auto slice = [&](const Group& group, const BlockHead& head) {
        std::uint32_t low = std::numeric_limits<std::uint32_t>::max(), high = 0;
        for (const auto& [member, place] : group.members) {
          if (RollupColumns::column(member, RollupColumns::nulls) >= head.columns()) continue;  // said by take()
          low = std::min(low, head.range(RollupColumns::column(member, RollupColumns::count)).from);
          const auto [at, size] = head.range(RollupColumns::column(member, RollupColumns::nulls));
          high = std::max(high, at + size);
        }
        return low < high ? BlockHead::Range{low, high - low} : BlockHead::Range{};
      };

      std::vector<std::int64_t> ids;
      std::size_t most = 0;
      for (const auto& [id, group] : groups) {
        ids.push_back(id);
        most = std::max(most, group.members.size());
      }
      struct Later {
        std::int64_t group;
        Timestamp bucket_from;
        std::int64_t part;
        BlockHead head;
      };
      std::vector<Later> later;
      Params p;
      p.int4(shard).int4(static_cast<std::int32_t>(level)).int8_array(ids);
      p.timestamptz(bucket_of(begin, rollup_partition(level))).timestamptz(to).timestamptz(begin);
      p.int4(most > slices_max ? std::numeric_limits<std::int32_t>::max() : whole_body_max);
      s.each_row("SELECT group_id, bucket_from, part, head, CASE WHEN octet_length(body) <= $7 THEN body END "
                 "FROM metric_rollup WHERE shard = $1 AND level_seconds = $2 AND group_id = ANY ($3) "
                 "AND bucket_from >= $4 AND bucket_from < $5 AND bucket_to >= $6 ORDER BY bucket_from, part",
                 p, [&](const Rows& rows, int row) {
                   const auto id = rows.number<std::int64_t>(row, 0);
                   BlockHead head = head_of(rows.at(row, 3));
                   ++s.counts.blocks;
                   s.counts.block_bytes += rows.at(row, 3).size() + (rows.null(row, 4) ? 0 : rows.at(row, 4).size());
                   if (!rows.null(row, 4)) {
                     take(groups.at(id), head, rows.at(row, 4), 0);
                   } else {
                     later.push_back({id, from_pg(rows.number<std::int64_t>(row, 1)),
                                      rows.number<std::int64_t>(row, 2), std::move(head)});
                   }
                 });
      const auto at_once = static_cast<std::size_t>(s.settings.fetch_rows);
      for (std::size_t first = 0; first < later.size(); first += at_once) {
        s.check();
        const std::size_t last = std::min(later.size(), first + at_once);
        std::vector<std::int64_t> group_ids, parts;
        std::vector<Timestamp> ts;
        std::vector<std::int32_t> offsets, sizes;
        for (std::size_t i = first; i < last; ++i) {
          const auto [offset, size] = slice(groups.at(later[i].group), later[i].head);
          group_ids.push_back(later[i].group);
          ts.push_back(later[i].bucket_from);
          parts.push_back(later[i].part);
          offsets.push_back(static_cast<std::int32_t>(offset));
          sizes.push_back(static_cast<std::int32_t>(size));
        }
        Params q;
        q.int4(shard).int8_array(group_ids).timestamptz_array(ts).int8_array(parts).int4_array(offsets).int4_array(sizes);
        q.int4(static_cast<std::int32_t>(level));
        const Rows rows = s.connection->run(
            "SELECT w.n, substr(r.body, w.at + 1, w.size) FROM unnest($2::bigint[], $3::timestamptz[], "
            "$4::bigint[], $5::int[], $6::int[]) WITH ORDINALITY AS w (group_id, bucket_from, part, at, size, n) "
            "JOIN metric_rollup r ON r.shard = $1 AND r.level_seconds = $7 AND r.group_id = w.group_id "
            "AND r.bucket_from = w.bucket_from AND r.part = w.part ORDER BY w.n",
            q);
        for (int row = 0; row < rows.size(); ++row) {
          const std::size_t i = first + static_cast<std::size_t>(rows.number<std::int64_t>(row, 0)) - 1;
          s.counts.block_bytes += rows.at(row, 1).size();
          take(groups.at(later[i].group), later[i].head, rows.at(row, 1), static_cast<std::uint32_t>(offsets[i - first]));
        }
      }
    }
  });
  return out;
}

const History::Counts& History::counts() const { return state_->counts; }

void History::begin() {
  state_->cancelled = false;
  try {
    state_->open();
  } catch (...) {
    state_->forget();
    throw;
  }
  state_->held = true;
}

void History::end() {
  if (!state_->held) return;
  state_->held = false;
  try {
    state_->connection->run("COMMIT");
  } catch (...) {
    state_->forget();
    throw;
  }
}

Timestamp History::compacted_until() {
  return state_->within([&] { return oldest_partition(*state_->connection); });
}

void History::cancel() {
  const std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  char why[256];
  if (state_->cancel) PQcancel(state_->cancel, why, sizeof why);
}

}  // namespace muster::store
