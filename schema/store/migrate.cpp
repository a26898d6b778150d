#include "schema/store/migrate.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "schema/store/control_connection.hpp"

namespace muster::store {

extern const std::string_view ledger_sql;  // migrations/ledger.sql, built in

namespace {

// "muster" and "migrate", as one key among all users of advisory locks in the database.
constexpr const char* lock_key = "7885087596529118309";

std::string checksum(std::string_view sql) {
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(hash64(sql)));
  return hex;
}

struct Applied {
  std::string name;
  std::string checksum;
};

std::map<int, Applied> applied(pqxx::transaction_base& t) {
  std::map<int, Applied> all;
  if (t.exec("SELECT to_regclass('schema_version') IS NULL").front()[0].as<bool>()) return all;
  for (const auto& row : t.exec("SELECT version, name, checksum FROM schema_version")) {
    all[row[0].as<int>()] = {row[1].as<std::string>(), row[2].as<std::string>()};
  }
  return all;
}

SchemaState judge(const std::map<int, Applied>& have, std::span<const Migration> known) {
  SchemaState state;
  if (!have.empty()) state.version = have.rbegin()->first;
  const int newest = known.empty() ? 0 : known.back().version;
  if (state.version > newest) {
    state.is = SchemaState::Is::ahead;
    state.what = "the database is at version " + std::to_string(state.version) + " (" +
                 have.rbegin()->second.name + "), this muster knows " + std::to_string(newest) +
                 ": a newer muster was here, install that one";
    return state;
  }
  for (const Migration& m : known) {
    const auto at = have.find(m.version);
    if (at == have.end() || at->second.checksum == checksum(m.sql)) continue;
    state.is = SchemaState::Is::changed;
    state.what =
        "migration " + std::string(m.name) + " was applied as another text (" + at->second.name +
        ", checksum " + at->second.checksum + ", here " + checksum(m.sql) +
        "): a migration is never edited once applied; install the muster that made this database";
    return state;
  }
  const auto missing = std::count_if(known.begin(), known.end(),
                                     [&](const Migration& m) { return !have.contains(m.version); });
  if (missing > 0) {
    state.is = SchemaState::Is::behind;
    state.what = "the database is at version " + std::to_string(state.version) +
                 ", this muster needs " + std::to_string(newest) + ": run muster migrate";
  }
  return state;
}

ConnectOptions options() {
  ConnectOptions o;
  o.application_name = "muster migrate";
  o.statement_timeout = std::chrono::milliseconds(0);  // a migration may rewrite a table
  return o;
}

}  // namespace

SchemaState check(const std::string& dsn, std::span<const Migration> known) {
  const auto held = connect_control(dsn, options());
  pqxx::connection& connection = *held;
  return translated(connection, [&] {
    pqxx::nontransaction t(connection);
    return judge(applied(t), known);
  });
}

std::vector<std::string> migrate(const std::string& dsn, std::span<const Migration> known) {
  const auto held = connect_control(dsn, options());
  pqxx::connection& connection = *held;
  return translated(connection, [&] {
    std::vector<std::string> done;
    {
      pqxx::nontransaction t(connection);
      t.exec(std::string("SELECT pg_advisory_lock(") + lock_key + ")");  // goes with the connection
      t.exec(std::string(ledger_sql));
    }
    std::map<int, Applied> have;
    {
      pqxx::nontransaction t(connection);
      have = applied(t);
    }
    const SchemaState state = judge(have, known);
    if (state.is == SchemaState::Is::ahead || state.is == SchemaState::Is::changed)
      throw SchemaRefused(state.what);

    for (const Migration& m : known) {
      if (have.contains(m.version)) continue;
      pqxx::work t(connection);
      t.exec(std::string(m.sql));
      t.exec_params("INSERT INTO schema_version (version, name, checksum) VALUES ($1, $2, $3)",
                    m.version, std::string(m.name), checksum(m.sql));
      t.commit();
      done.emplace_back(m.name);
      log::info("schema.migrated", {{"to", m.name}});
    }
    return done;
  });
}

}  // namespace muster::store
