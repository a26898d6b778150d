#include "schema/store/log_reader.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "schema/store/connection.hpp"
#include "schema/store/log_rows.hpp"

namespace muster::store {
namespace {

using Stream = std::pair<std::int32_t, std::int64_t>;  // shard, collector

// Heads of batches asked for at once, for each stream.
constexpr std::int32_t heads_max = 256;
// row_count of the head that stands for itself and all before it, whose rows retention has dropped.
constexpr std::int32_t dropped = -1;

struct Head {
  std::int64_t batch = 0;
  std::int64_t written = 0;  // microseconds since 2000
  std::int32_t rows = 0;
  std::int32_t samples = 0;
};

ConnectOptions options(const char* name) {
  ConnectOptions o;
  o.application_name = name;
  return o;
}

// Sets by id, their series looked up in `series`.
std::vector<SeriesSetPtr> read_sets(const Rows& rows,
                                    std::unordered_map<std::int64_t, Series>& series) {
  std::vector<SeriesSetPtr> sets;
  std::vector<std::int64_t> ids;
  for (int row = 0; row < rows.size(); ++row) {
    auto set = std::make_shared<SeriesSet>();
    set->id = SetId{rows.number<std::int64_t>(row, 0)};
    set->model = rows.at(row, 1);
    set->attributes = {std::string(rows.at(row, 2)), std::string(rows.at(row, 3)),
                       std::string(rows.at(row, 4)), std::string(rows.at(row, 5)),
                       std::string(rows.at(row, 6))};
    ids.clear();
    read_array(rows.at(row, 7), ids);
    for (const std::int64_t id : ids) {
      const auto known = series.find(id);
      if (known == series.end()) {
        throw Rejected("22000", "set " + std::to_string(static_cast<std::int64_t>(set->id)) +
                                    " names a series that is not in the table series");
      }
      set->series.push_back(known->second);
    }
    sets.push_back(std::move(set));
  }
  return sets;
}

void read_series(const Rows& rows, std::unordered_map<std::int64_t, Series>& into) {
  for (int row = 0; row < rows.size(); ++row) {
    const auto id = rows.number<std::int64_t>(row, 0);
    into[id] = {SeriesId{id}, std::string(rows.at(row, 1)),
                static_cast<Kind>(rows.number<std::int16_t>(row, 2)),
                static_cast<Direction>(rows.number<std::int16_t>(row, 3)),
                static_cast<Unit>(rows.number<std::int16_t>(row, 4))};
  }
}

}  // namespace

struct LogReader::State {
  struct Reading {
    std::int64_t handed = 0;       // the position
    std::int64_t queued = 0;       // of the last head in `heads`, or `handed`
    std::deque<Head> heads;        // visible, ascending; may have gaps
    std::deque<LogBatch> batches;  // rows of the first heads
  };

  Settings settings;
  std::unique_ptr<Connection> connection;
  std::map<Stream, Reading> streams;
  std::unordered_set<std::int64_t> handed_sets;
  std::optional<LogPosition> gap;
  bool stale = true;  // a stream has run dry since the heads were read

  void read_heads();
  void find_streams(int shard);
  std::string read_rows(const Stream& stream, Reading& reading);
  void add_sets(int shard, std::vector<LogBatch>& batches);
  void step_over_void(Reading& reading);
  std::optional<LogBatch> next();
};

// Looks between the streams that are known, each look one descent into the primary key, until nothing new
// is there.
void LogReader::State::find_streams(int shard) {
  constexpr auto least = std::numeric_limits<std::int64_t>::min(),
                 most = std::numeric_limits<std::int64_t>::max();
  for (;;) {
    std::vector<std::int64_t> low{least}, high;
    for (const auto& [stream, reading] : streams) {
      if (stream.first != shard) continue;
      high.push_back(stream.second);
      low.push_back(stream.second);
    }
    high.push_back(most);
    Params p;
    p.int4(shard).int8_array(low).int8_array(high);
    const Rows rows = connection->run(
        "SELECT f.collector_id FROM unnest($2::bigint[], $3::bigint[]) AS p (low, high) "
        "CROSS JOIN LATERAL (SELECT collector_id FROM sample_batch "
        "  WHERE shard = $1 AND collector_id > p.low AND collector_id < p.high "
        "  ORDER BY collector_id LIMIT 1) f",
        p);
    if (rows.size() == 0) return;
    for (int row = 0; row < rows.size(); ++row)
      streams.try_emplace({shard, rows.number<std::int64_t>(row, 0)});
  }
}

void LogReader::State::read_heads() {
  for (int shard = 0; shard < settings.shards; ++shard) {
    find_streams(shard);
    std::vector<std::int64_t> collectors, after;
    for (auto& [stream, reading] : streams) {
      if (stream.first != shard || reading.heads.size() >= heads_max) continue;
      collectors.push_back(stream.second);
      after.push_back(reading.queued);
    }
    Params p;
    p.int4(shard).int8_array(collectors).int8_array(after).int4(heads_max);
    // An id that was missing may have appeared between heads that are queued already, so a stream that waits
    // forgets its heads (see next()) and reads them anew.
    const Rows rows = connection->run(
        "SELECT p.collector, b.batch_id, b.written_at, b.row_count, b.sample_count "
        "FROM unnest($2::bigint[], $3::bigint[]) AS p (collector, after) "
        "CROSS JOIN LATERAL (SELECT batch_id, written_at, row_count, sample_count FROM "
        "sample_batch "
        "  WHERE shard = $1 AND collector_id = p.collector AND batch_id > p.after "
        "  ORDER BY batch_id LIMIT $4) b "
        "ORDER BY p.collector, b.batch_id",
        p);
    for (int row = 0; row < rows.size(); ++row) {
      Reading& reading = streams[{shard, rows.number<std::int64_t>(row, 0)}];
      reading.heads.push_back({rows.number<std::int64_t>(row, 1), rows.number<std::int64_t>(row, 2),
                               rows.number<std::int32_t>(row, 3),
                               rows.number<std::int32_t>(row, 4)});
      reading.queued = reading.heads.back().batch;
    }
  }
  stale = false;
}

// Reads the rows of the first heads, as long as their ids follow each other, up to the size of a chunk. What
// is wrong with them, if anything: then none is kept.
std::string LogReader::State::read_rows(const Stream& stream, Reading& reading) {
  std::vector<LogBatch> batches;
  std::int64_t samples = 0, from = 0, until = 0;
  std::int64_t expected = reading.heads.front().batch;
  for (const Head& head : reading.heads) {
    if (head.batch != expected || head.rows <= 0) break;
    if (!batches.empty() && samples + head.samples > settings.chunk_samples_max) break;
    from = batches.empty() ? head.written : std::min(from, head.written);
    until = batches.empty() ? head.written : std::max(until, head.written);
    samples += head.samples;
    LogBatch& batch = batches.emplace_back();
    batch.position = {stream.first, stream.second, head.batch};
    batch.written_at = from_pg(head.written);
    batch.rows.rows.reserve(static_cast<std::size_t>(head.rows));
    batch.rows.values.reserve(static_cast<std::size_t>(head.samples));
    batch.rows.positions.reserve(static_cast<std::size_t>(head.samples));
    ++expected;
  }

  const std::int64_t first = batches.front().position.batch;
  Params p;
  p.int4(stream.first).int8(stream.second).int8(first).int8(batches.back().position.batch);
  p.timestamptz(from_pg(from)).timestamptz(from_pg(until));
  const Rows rows = connection->run(
      "SELECT batch_id, set_ids, ts, ts_off, counts, pos, vals FROM sample_log "
      "WHERE shard = $1 AND collector_id = $2 AND batch_id BETWEEN $3 AND $4 AND written_at "
      "BETWEEN $5 AND $6 "
      "ORDER BY batch_id, row_no",
      p);
  for (int row = 0; row < rows.size(); ++row) {
    const auto batch = static_cast<std::size_t>(rows.number<std::int64_t>(row, 0) - first);
    read_log_row(rows, row, 1, batches[batch].rows);
  }
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const auto have = batches[i].rows.rows.size();
    const auto want = static_cast<std::size_t>(reading.heads[i].rows);
    if (have == want) continue;
    const LogPosition& at = batches[i].position;
    return "batch " + std::to_string(at.batch) + " of collector " + std::to_string(at.collector) +
           " in shard " + std::to_string(at.shard) + " has " + std::to_string(have) +
           " rows in the log, its head says " + std::to_string(want);
  }
  add_sets(stream.first, batches);
  std::move(batches.begin(), batches.end(), std::back_inserter(reading.batches));
  return "";
}

void LogReader::State::add_sets(int shard, std::vector<LogBatch>& batches) {
  std::vector<std::int64_t> wanted;
  std::unordered_map<std::int64_t, std::size_t> first_named;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    for (const LogRows::Row& row : batches[i].rows.rows) {
      const auto id = static_cast<std::int64_t>(row.set);
      if (handed_sets.contains(id) || !first_named.try_emplace(id, i).second) continue;
      wanted.push_back(id);
    }
  }
  if (wanted.empty()) return;

  Params for_series;
  for_series.int4(shard).int8_array(wanted);
  std::unordered_map<std::int64_t, Series> series;
  read_series(connection->run("SELECT r.series_id, r.metric, r.kind, r.direction, r.unit "
                              "FROM series r WHERE r.shard = $1 AND r.series_id IN "
                              "(SELECT unnest(s.series_ids) FROM series_set s WHERE s.shard = $1 "
                              "AND s.set_id = ANY ($2))",
                              for_series),
              series);
  Params for_sets;
  for_sets.int4(shard).int8_array(wanted);
  const auto sets =
      read_sets(connection->run("SELECT set_id, model, version, region, family, team, environment, "
                                "series_ids "
                                "FROM series_set WHERE shard = $1 AND set_id = ANY ($2)",
                                for_sets),
                series);
  if (sets.size() != wanted.size()) {
    throw Rejected("22000", "a row of the log names a set that is not in the table series_set");
  }
  for (const SeriesSetPtr& set : sets) {
    const auto id = static_cast<std::int64_t>(set->id);
    batches[first_named.at(id)].new_sets.push_back(set);
  }
  for (const std::int64_t id : wanted) handed_sets.insert(id);
}

// Void and dropped heads have nothing to hand out, and when they were written says nothing.
void LogReader::State::step_over_void(Reading& reading) {
  while (!reading.heads.empty()) {
    const Head& head = reading.heads.front();
    const bool is_void = head.rows == 0 && head.batch == reading.handed + 1;
    if (!is_void && head.rows != dropped) return;
    reading.handed = head.batch;
    reading.heads.pop_front();
    if (reading.heads.empty()) stale = true;
  }
}

std::optional<LogBatch> LogReader::State::next() {
  gap.reset();
  bool fresh = false;
  for (;;) {
    if (stale) {
      read_heads();
      fresh = true;
    }

    // The stream whose next visible batch was written first.
    Reading* first = nullptr;
    Stream stream;
    for (auto& [key, reading] : streams) {
      step_over_void(reading);
      if (reading.heads.empty()) continue;
      if (!first || reading.heads.front().written < first->heads.front().written) {
        first = &reading;
        stream = key;
      }
    }
    if (!first) {
      stale = true;
      if (fresh) return std::nullopt;
      continue;
    }

    const auto read_again = [&] {
      first->heads.clear();
      first->queued = first->handed;
      stale = true;
    };
    const Head head = first->heads.front();
    if (head.batch != first->handed + 1) {
      gap = LogPosition{stream.first, stream.second, first->handed + 1};
      read_again();
      if (fresh) return std::nullopt;
      continue;
    }

    if (first->batches.empty()) {
      const std::string wrong = read_rows(stream, *first);
      if (!wrong.empty()) {
        // Retention may have dropped the rows since the head was read; then the head says so now.
        read_again();
        if (fresh) throw Rejected("22000", wrong);
        continue;
      }
    }
    LogBatch batch = std::move(first->batches.front());
    first->batches.pop_front();
    gap.reset();
    first->handed = head.batch;
    first->heads.pop_front();
    if (first->heads.empty()) stale = true;
    return batch;
  }
}

LogReader::LogReader(Settings settings, LogPositions from) : state_(std::make_unique<State>()) {
  state_->settings = std::move(settings);
  for (const LogPosition& p : from) {
    auto& reading = state_->streams[{p.shard, p.collector}];
    reading.handed = reading.queued = p.batch;
  }
}

LogReader::~LogReader() = default;

std::optional<LogBatch> LogReader::next() {
  if (!state_->connection) {
    state_->connection =
        std::make_unique<Connection>(state_->settings.dsn, options("muster log reader"));
  }
  try {
    return state_->next();
  } catch (const Unavailable&) {
    state_->connection.reset();
    throw;
  }
}

LogPositions LogReader::positions() const {
  LogPositions all;
  for (const auto& [stream, reading] : state_->streams) {
    if (reading.handed > 0) all.push_back({stream.first, stream.second, reading.handed});
  }
  return all;
}

void LogReader::skip_to(const LogPosition& position) {
  auto& reading = state_->streams[{position.shard, position.collector}];
  if (position.batch <= reading.handed) return;
  // What was read ahead may count on sets that came with a batch that is skipped now.
  for (auto& [stream, other] : state_->streams) {
    for (const LogBatch& batch : other.batches) {
      for (const SeriesSetPtr& set : batch.new_sets) {
        state_->handed_sets.erase(static_cast<std::int64_t>(set->id));
      }
    }
    other.batches.clear();
  }
  while (!reading.heads.empty() && reading.heads.front().batch <= position.batch)
    reading.heads.pop_front();
  reading.handed = position.batch;
  reading.queued = std::max(reading.queued, position.batch);
  if (reading.heads.empty()) state_->stale = true;
}

std::optional<LogPosition> LogReader::waiting_for() const {
  return state_->gap;
}

std::vector<SeriesSetPtr> known_sets(const std::string& dsn, int shards) {
  Connection connection(dsn, options("muster registry"));
  std::vector<SeriesSetPtr> all;
  for (int shard = 0; shard < shards; ++shard) {
    Params p;
    p.int4(shard);
    std::unordered_map<std::int64_t, Series> series;
    const Rows sets = connection.run(
        "SELECT set_id, model, version, region, family, team, environment, series_ids "
        "FROM series_set WHERE shard = $1",
        p);
    // After the sets: a series is written before, or with, the set that names it.
    read_series(connection.run("SELECT series_id, metric, kind, direction, unit FROM series "
                               "WHERE shard = $1",
                               p),
                series);
    auto read = read_sets(sets, series);
    std::move(read.begin(), read.end(), std::back_inserter(all));
  }
  // Then by id, so that every start gives the same order.
  std::sort(all.begin(), all.end(), [](const SeriesSetPtr& a, const SeriesSetPtr& b) {
    return std::pair(b->series.size(), a->id) < std::pair(a->series.size(), b->id);
  });
  return all;
}

std::uint64_t give_up_missing(const std::string& dsn, int shard, std::int64_t collector) {
  ConnectOptions o = options("muster log");
  o.statement_timeout = std::chrono::minutes(5);  // it waits for whoever holds the key
  Connection connection(dsn, o);
  Params p;
  p.int4(shard).int8(collector);
  return connection
      .run(
          "INSERT INTO sample_batch (shard, collector_id, batch_id, written_at, row_count, "
          "sample_count) "
          "SELECT $1, $2, n, now(), 0, 0 FROM generate_series("
          "  (SELECT coalesce(max(batch_id), 0) + 1 FROM sample_batch "
          "   WHERE shard = $1 AND collector_id = $2 AND row_count < 0), "
          "  (SELECT max(batch_id) FROM sample_batch WHERE shard = $1 AND collector_id = $2)) n "
          "WHERE NOT EXISTS (SELECT FROM sample_batch b "
          "  WHERE b.shard = $1 AND b.collector_id = $2 AND b.batch_id = n) "
          "ON CONFLICT ON CONSTRAINT sample_batch_pk DO NOTHING",
          p)
      .affected();
}

std::uint64_t give_up_missing_before(const std::string& dsn, int shards, std::int64_t before) {
  std::vector<std::pair<std::int32_t, std::int64_t>> gaps;
  {
    Connection connection(dsn, options("muster log"));
    Params p;
    p.int8(before);
    // Ids are dense from 1, or from the mark that stands for what was dropped.
    const Rows rows = connection.run(
        "SELECT shard, collector_id FROM sample_batch WHERE collector_id < $1 GROUP BY shard, collector_id "
        "HAVING count(*) <> max(batch_id) - min(batch_id) + 1"
        " OR (min(batch_id) > 1 AND NOT bool_or(row_count < 0))",
        p);
    for (int row = 0; row < rows.size(); ++row)
      gaps.emplace_back(rows.number<std::int32_t>(row, 0), rows.number<std::int64_t>(row, 1));
  }
  std::uint64_t given_up = 0;
  for (const auto& [shard, collector] : gaps)
    if (shard < shards) given_up += give_up_missing(dsn, shard, collector);
  return given_up;
}

}  // namespace muster::store
