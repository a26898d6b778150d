#include "schema/store/partitions.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "schema/store/connection.hpp"

namespace muster::store {
namespace {

constexpr std::int64_t hour_us = 3'600'000'000;

std::int64_t hour_of(Timestamp t) {
  return t.us / hour_us - (t.us % hour_us < 0 ? 1 : 0);
}

// "sample_log_2026112412" and "2026-11-24 12:00+00" for an hour since 1970.
std::string written(std::int64_t hour, bool as_name) {
  using namespace std::chrono;
  const sys_time<hours> at{hours(hour)};
  const year_month_day day{floor<days>(at)};
  const auto h = (at - floor<days>(at)).count();
  const int y = static_cast<int>(day.year());
  const unsigned m = static_cast<unsigned>(day.month()), d = static_cast<unsigned>(day.day());
  return as_name ? fmt::format("sample_log_{:04}{:02}{:02}{:02}", y, m, d, h)
                 : fmt::format("{:04}-{:02}-{:02} {:02}:00+00", y, m, d, h);
}

Connection connect(const std::string& dsn, const PartitionSettings& settings) {
  ConnectOptions options;
  options.application_name = "muster partitions";
  Connection connection(dsn, options);
  connection.run(fmt::format("SET lock_timeout = {}", settings.lock_timeout.count()));
  return connection;
}

// By the hour that each begins with.
std::set<std::int64_t> partitions(Connection& connection) {
  const Rows rows = connection.run(
      "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
      "WHERE i.inhparent = 'sample_log'::regclass");
  std::set<std::int64_t> hours;
  for (int row = 0; row < rows.size(); ++row) {
    int y = 0;
    unsigned m = 0, d = 0, h = 0;
    const std::string name(rows.at(row, 0));
    if (std::sscanf(name.c_str(), "sample_log_%4d%2u%2u%2u", &y, &m, &d, &h) != 4)
      continue;  // not ours
    using namespace std::chrono;
    const sys_days at = year_month_day(year(y), month(m), day(d));
    hours.insert(at.time_since_epoch().count() * 24 + h);
  }
  return hours;
}

}  // namespace

std::vector<std::string> make_partitions(const std::string& dsn, Timestamp now,
                                         const PartitionSettings& settings) {
  Connection connection = connect(dsn, settings);
  const std::set<std::int64_t> have = partitions(connection);
  std::vector<std::string> made;
  for (std::int64_t hour = hour_of(now) - 1; hour <= hour_of(now) + settings.ahead.count();
       ++hour) {
    if (have.contains(hour)) continue;
    const std::string name = written(hour, true);
    // Rows are only added, so there is nothing for a vacuum to find; statistics change slowly.
    connection.run(fmt::format(
        "CREATE TABLE IF NOT EXISTS {} PARTITION OF sample_log FOR VALUES FROM ('{}') TO ('{}') "
        "WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.5)",
        name, written(hour, false), written(hour + 1, false)));
    made.push_back(name);
  }
  return made;
}

std::vector<std::string> drop_partitions(const std::string& dsn, Timestamp before, int shards,
                                         const PartitionSettings& settings) {
  Connection connection = connect(dsn, settings);
  std::vector<std::int64_t> old;
  for (const std::int64_t hour : partitions(connection)) {
    if (hour < hour_of(before)) old.push_back(hour);
  }
  std::vector<std::string> gone;
  if (old.empty()) return gone;

  const Timestamp end{(old.back() + 1) * hour_us};
  for (int shard = 0; shard < shards; ++shard) {
    Params p;
    p.int4(shard).timestamptz(end);
    connection.run("BEGIN");
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
    connection.run("COMMIT");
  }
  for (const std::int64_t hour : old) {
    const std::string name = written(hour, true);
    connection.run("DROP TABLE IF EXISTS " + name);
    gone.push_back(name);
  }
  return gone;
}

}  // namespace muster::store
