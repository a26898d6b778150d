#include "schema/store/imports.hpp"

#include <utility>

#include "schema/store/control_connection.hpp"

namespace muster::store {
namespace {

// Microseconds since 1970, as a column that is read, and as a parameter that is written.
constexpr const char* pages_from_us = "(extract(epoch FROM pages_from) * 1000000)::bigint";

}  // namespace

struct Imports::State {
  std::string dsn;
  std::unique_ptr<pqxx::connection> connection;

  // `work` in a transaction of its own; a connection that broke is made anew by the next call.
  template <class Work>
  auto within(Work&& work) {
    if (!connection || !connection->is_open()) {
      ConnectOptions options;
      options.application_name = "muster import";
      connection = connect_control(dsn, options);
    }
    try {
      return translated(*connection, [&] {
        pqxx::work transaction(*connection);
        auto result = work(transaction);
        transaction.commit();
        return result;
      });
    } catch (const Unavailable&) {
      connection.reset();
      throw;
    }
  }
};

Imports::Imports(std::string dsn) : state_(std::make_unique<State>()) {
  state_->dsn = std::move(dsn);
}
Imports::~Imports() = default;

std::optional<ImportProgress> Imports::progress(const std::string& source) {
  return state_->within([&](pqxx::work& w) -> std::optional<ImportProgress> {
    const auto rows =
        w.exec_params("SELECT cursor, samples FROM import_source WHERE source = $1", source);
    if (rows.empty()) return {};
    return ImportProgress{rows[0][0].as<std::string>(), rows[0][1].as<std::uint64_t>()};
  });
}

void Imports::advance(const std::string& source, const std::string& cursor,
                      std::uint64_t samples_more) {
  state_->within([&](pqxx::work& w) {
    return w.exec_params(
        "INSERT INTO import_source AS s (source, cursor, samples, brought_at)"
        " VALUES ($1, $2, $3::bigint, CASE WHEN $3::bigint > 0 THEN clock_timestamp() END)"
        " ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor,"
        " samples = s.samples + excluded.samples,"
        " brought_at = coalesce(excluded.brought_at, s.brought_at)"
        " WHERE s.cursor <> excluded.cursor",
        source, cursor, samples_more);
  });
}

bool Imports::want_relearning(Timestamp pages_from) {
  return state_->within([&](pqxx::work& w) {
    // Two that ask at once would else both find nothing that waits.
    w.exec("LOCK TABLE relearning IN SHARE ROW EXCLUSIVE MODE");
    const auto waiting = w.exec_params(
        "UPDATE relearning SET wanted_at = clock_timestamp(),"
        " pages_from = greatest(pages_from, to_timestamp($1 / 1000000.0)) WHERE done_at IS NULL",
        pages_from.us);
    if (waiting.affected_rows() > 0) return true;
    return w.exec_params(
                "INSERT INTO relearning (pages_from, incidents_before)"
                " SELECT to_timestamp($1 / 1000000.0),"
                " (SELECT coalesce(max(substring(incident_id FROM '^INC-([0-9]+)$')::bigint), 0)"
                " FROM incident)"
                " WHERE EXISTS (SELECT 1 FROM import_source WHERE brought_at >"
                " (SELECT coalesce(max(wanted_at), '-infinity') FROM relearning))",
                pages_from.us)
               .affected_rows() > 0;
  });
}

std::optional<Relearning> Imports::wanted_relearning() {
  return state_->within([&](pqxx::work& w) -> std::optional<Relearning> {
    const auto rows = w.exec(std::string("SELECT number, ") + pages_from_us +
                             ", incidents_before FROM relearning WHERE done_at IS NULL"
                             " ORDER BY number LIMIT 1");
    if (rows.empty()) return {};
    return Relearning{rows[0][0].as<std::int64_t>(),
                      {rows[0][1].as<std::int64_t>()},
                      rows[0][2].as<std::uint64_t>()};
  });
}

void Imports::relearned(const Relearning& done) {
  state_->within([&](pqxx::work& w) {
    // One that was asked for again meanwhile, with a later time, waits for the next round.
    return w.exec_params(
        "UPDATE relearning SET done_at = now() WHERE number = $1 AND done_at IS NULL"
        " AND (extract(epoch FROM pages_from) * 1000000)::bigint <= $2",
        done.number, done.pages_from.us);
  });
}

std::optional<Timestamp> Imports::pages_from() {
  return state_->within([&](pqxx::work& w) -> std::optional<Timestamp> {
    const auto rows = w.exec(std::string("SELECT ") + pages_from_us +
                             " FROM relearning ORDER BY number DESC LIMIT 1");
    if (rows.empty()) return {};
    return Timestamp{rows[0][0].as<std::int64_t>()};
  });
}

bool Imports::is_import(std::int64_t collector) {
  return state_->within([&](pqxx::work& w) {
    const auto rows =
        w.exec_params("SELECT name FROM collector_incarnation WHERE collector_id = $1", collector);
    return !rows.empty() && rows[0][0].as<std::string>() == collector_name;
  });
}

}  // namespace muster::store
