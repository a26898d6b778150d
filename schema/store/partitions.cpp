#include "schema/store/partitions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "schema/store/connection.hpp"

namespace muster::store {
namespace {

constexpr Duration hour = std::chrono::hours(1), day = std::chrono::hours(24);

// "2026112412" and "2026-11-24 12:00+00".
std::string written(Timestamp t, bool as_name) {
  using namespace std::chrono;
  const sys_time<microseconds> at{microseconds(t.us)};
  const year_month_day date{floor<days>(at)};
  const auto h = floor<hours>(at - floor<days>(at)).count();
  const int y = static_cast<int>(date.year());
  const unsigned m = static_cast<unsigned>(date.month()), d = static_cast<unsigned>(date.day());
  return as_name ? fmt::format("{:04}{:02}{:02}{:02}", y, m, d, h)
                 : fmt::format("{:04}-{:02}-{:02} {:02}:00+00", y, m, d, h);
}

Connection connect(const std::string& dsn, const PartitionSettings& settings) {
  ConnectOptions options;
  options.application_name = "muster partitions";
  Connection connection(dsn, options);
  connection.run(fmt::format("SET lock_timeout = {}", settings.lock_timeout.count()));
  return connection;
}

// Those whose name is `prefix` and then digits that say when they begin; hours behind the date or none.
std::vector<Partition> partitions(Connection& connection, const std::string& table,
                                  const std::string& prefix, Duration length) {
  const Rows rows = connection.run(
      "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
      "WHERE i.inhparent = '" + table + "'::regclass");
  std::vector<Partition> found;
  for (int row = 0; row < rows.size(); ++row) {
    const std::string name(rows.at(row, 0));
    const std::string digits = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    if ((digits.size() != 8 && digits.size() != 10) || digits.find_first_not_of("0123456789") != std::string::npos)
      continue;  // not ours
    const auto part = [&](std::size_t from, std::size_t n) { return std::stoi(digits.substr(from, n)); };
    using namespace std::chrono;
    const sys_days date = year_month_day(year(part(0, 4)), month(static_cast<unsigned>(part(4, 2))),
                                         std::chrono::day(static_cast<unsigned>(part(6, 2))));
    const int h = digits.size() == 10 ? part(8, 2) : 0;
    const Timestamp begin = from_seconds((date.time_since_epoch().count() * 24LL + h) * 3600);
    found.push_back({name, begin, begin + length});
  }
  std::sort(found.begin(), found.end(), [](const Partition& a, const Partition& b) { return a.begin < b.begin; });
  return found;
}

std::string rollup_prefix(Level level) {
  return fmt::format("metric_rollup_{}_", static_cast<std::int32_t>(level));
}

// A table of its own that is attached when it is there: attaching lets others read and write the parent,
// which creating a partition in place does not.
std::string attached(Connection& connection, const std::string& parent, const std::string& name,
                     const std::string& from, const std::string& to) {
  const Rows there = connection.run(fmt::format("SELECT to_regclass('{}') IS NOT NULL", name));
  if (there.at(0, 0) == "t") return name;
  connection.run(fmt::format(
      "CREATE TABLE {} (LIKE {} INCLUDING STORAGE INCLUDING CONSTRAINTS) "
      "WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5);"
      "ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})",
      name, parent, parent, name, from, to));
  return name;
}

}  // namespace

std::vector<Partition> log_partitions(Connection& connection) {
  return partitions(connection, "sample_log", "sample_log_", hour);
}

std::vector<Partition> block_partitions(Connection& connection) {
  return partitions(connection, "sample_block", "sample_block_", day);
}

std::vector<Partition> rollup_partitions(Connection& connection, Level level) {
  return partitions(connection, "metric_rollup", rollup_prefix(level), rollup_partition(level));
}

Timestamp oldest_partition(Connection& connection) {
  const std::vector<Partition> all = log_partitions(connection);
  if (!all.empty()) return all.front().begin;
  return {static_cast<std::int64_t>(
      std::stod(std::string(connection.run("SELECT extract(epoch FROM now())::float8").at(0, 0))) * 1e6)};
}

Duration rollup_partition(Level level) {
  switch (level) {
    case Level::minute:
    case Level::five_minutes:
      return day;
    case Level::hour:
      return 30 * day;
    case Level::day:
      return 360 * day;
  }
  return day;
}

std::string block_partition_for(Connection& connection, Timestamp t) {
  const Timestamp begin = bucket_of(t, day);
  return attached(connection, "sample_block", "sample_block_" + written(begin, true).substr(0, 8),
                  "'" + written(begin, false) + "'", "'" + written(begin + day, false) + "'");
}

std::string rollup_partition_for(Connection& connection, Level level, Timestamp t) {
  const Duration length = rollup_partition(level);
  const Timestamp begin = bucket_of(t, length);
  const auto bound = [&](Timestamp at) {
    return fmt::format("{}, '{}'", static_cast<std::int32_t>(level), written(at, false));
  };
  return attached(connection, "metric_rollup", rollup_prefix(level) + written(begin, true).substr(0, 8),
                  bound(begin), bound(begin + length));
}

std::vector<std::string> make_partitions(const std::string& dsn, Timestamp now,
                                         const PartitionSettings& settings) {
  Connection connection = connect(dsn, settings);
  std::set<std::int64_t> have;
  for (const Partition& p : log_partitions(connection)) have.insert(p.begin.us);
  std::vector<std::string> made;
  const Timestamp last = bucket_of(now, hour) + settings.ahead;
  for (Timestamp t = bucket_of(now, hour); t <= last; t = t + hour) {
    if (have.contains(t.us)) continue;
    const std::string name = "sample_log_" + written(t, true);
    // Rows are only added, so there is nothing for a vacuum to find; statistics change slowly.
    connection.run(fmt::format(
        "CREATE TABLE IF NOT EXISTS {} PARTITION OF sample_log FOR VALUES FROM ('{}') TO ('{}') "
        "WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5)",
        name, written(t, false), written(t + hour, false)));
    made.push_back(name);
  }
  return made;
}

void mark_dropped(Connection& connection, int shard, Timestamp end) {
  Params p;
  p.int4(shard).timestamptz(end);
  connection.run(
      "UPDATE sample_batch b SET row_count = -1, sample_count = 0 FROM ("
      "  SELECT collector_id, max(batch_id) AS batch_id FROM sample_batch "
      "  WHERE shard = $1 AND written_at < $2 GROUP BY collector_id) l "
      "WHERE b.shard = $1 AND b.collector_id = l.collector_id AND b.batch_id = l.batch_id",
      p);
  Params of_shard;
  of_shard.int4(shard);
  connection.run(
      "DELETE FROM sample_batch b USING sample_batch mark "
      "WHERE b.shard = $1 AND mark.shard = $1 AND mark.collector_id = b.collector_id "
      "AND mark.row_count = -1 AND b.batch_id < mark.batch_id",
      of_shard);
}

std::vector<std::string> drop_partitions(const std::string& dsn, Timestamp before, int shards,
                                         const PartitionSettings& settings) {
  Connection connection = connect(dsn, settings);
  std::vector<std::string> gone;
  std::vector<Partition> old = log_partitions(connection);
  std::erase_if(old, [&](const Partition& p) { return p.end > before; });
  if (old.empty()) return gone;

  for (int shard = 0; shard < shards; ++shard) {
    connection.run("BEGIN");
    mark_dropped(connection, shard, old.back().end);
    connection.run("COMMIT");
  }
  for (const Partition& p : old) {
    connection.run("DROP TABLE IF EXISTS " + p.name);
    gone.push_back(p.name);
  }
  return gone;
}

}  // namespace muster::store
