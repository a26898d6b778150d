#include "schema/store/log_scan.hpp"

#include "schema/store/connection.hpp"
#include "schema/store/log_rows.hpp"

namespace muster::store {
namespace {

// Some megabytes at once.
constexpr int fetch_rows = 500;
// As History has them: how far a sample may lie ahead of its arrival, and a set from the time of its row.
constexpr Duration ahead_max = std::chrono::hours(1);
constexpr Duration row_span = std::chrono::minutes(36);

}  // namespace

void scan_log(const std::string& dsn, int shards, Timestamp from, const std::function<bool(const LogRows&)>& take) {
  ConnectOptions options;
  options.application_name = "muster log scan";
  Connection connection(dsn, options);
  connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  LogRows log;
  for (int shard = 0; shard < shards; ++shard) {
    Params p;
    p.int4(shard).timestamptz(from - ahead_max).timestamptz(from - row_span);
    connection.run(
        "DECLARE s BINARY NO SCROLL CURSOR FOR SELECT set_ids, ts, ts_off, counts, pos, vals FROM sample_log "
        "WHERE shard = $1 AND written_at >= $2 AND ts >= $3",
        p);
    const std::string fetch = "FETCH " + std::to_string(fetch_rows) + " FROM s";
    for (bool more = true; more;) {
      const Rows rows = connection.run(fetch.c_str(), Params());
      log = {};
      for (int row = 0; row < rows.size(); ++row) read_log_row(rows, row, 0, log);
      if (!log.rows.empty() && !take(log)) return;
      more = rows.size() == fetch_rows;
    }
    connection.run("CLOSE s");
  }
  connection.run("COMMIT");
}

}  // namespace muster::store
