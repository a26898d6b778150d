#include "schema/store/migrate.hpp"

#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/postgres.hpp"

using namespace muster;
using store::Connection;
using store::Migration;
using store::SchemaState;

namespace {

int tables_in(const std::string& dsn) {
  return Connection(dsn, {}).run("SELECT FROM pg_tables WHERE schemaname = 'public'").size();
}

}  // namespace

TEST_CASE("migrations are applied once, in order") {
  const std::string dsn = test::Postgres::shared().empty_database();
  CHECK(store::check(dsn).is == SchemaState::Is::behind);
  CHECK(tables_in(dsn) == 0);  // check changes nothing

  const auto first = store::migrate(dsn);
  CHECK(first.size() == store::migrations().size());
  CHECK(first.front() == "0001_log.sql");
  CHECK(store::check(dsn).is == SchemaState::Is::current);
  CHECK(store::check(dsn).version == static_cast<int>(store::migrations().size()));
  CHECK(store::migrate(dsn).empty());
}

TEST_CASE("two that migrate at once do the work once") {
  const std::string dsn = test::Postgres::shared().empty_database();
  std::size_t a = 0, b = 0;
  {
    std::jthread other([&] { a = store::migrate(dsn).size(); });
    b = store::migrate(dsn).size();
  }
  CHECK(a + b == store::migrations().size());
}

TEST_CASE(
    "a changed file and a newer database are refused, and a failed migration leaves nothing") {
  const std::string dsn = test::Postgres::shared().empty_database();
  const Migration one{1, "0001_one.sql", "CREATE TABLE one (a int); CREATE TABLE two (a int)"};
  const Migration bad{2, "0002_bad.sql", "CREATE TABLE three (a int); SELECT 1 / 0"};
  const Migration good{2, "0002_good.sql", "CREATE TABLE three (a int)"};

  CHECK(store::migrate(dsn, std::vector{one}).size() == 1);
  try {
    store::migrate(dsn, std::vector{one, bad});
    FAIL("a division by zero went through");
  } catch (const store::Rejected& fault) {
    CHECK(fault.sqlstate == "22012");
  }
  CHECK(tables_in(dsn) == 3);  // schema_version, one, two
  CHECK(store::check(dsn, std::vector{one, bad}).version == 1);
  CHECK(store::migrate(dsn, std::vector{one, good}).size() == 1);

  CHECK(store::check(dsn, std::vector{one}).is == SchemaState::Is::ahead);
  CHECK_THROWS_AS(store::migrate(dsn, std::vector{one}), store::SchemaRefused);

  const Migration edited{1, "0001_one.sql", "CREATE TABLE one (b int)"};
  CHECK(store::check(dsn, std::vector{edited, good}).is == SchemaState::Is::changed);
  CHECK_THROWS_AS(store::migrate(dsn, std::vector{edited, good}), store::SchemaRefused);
}

TEST_CASE("a dsn that cannot be read is told without its password") {
  try {
    store::check("postgresql://me:secret@[/muster");
    FAIL("it was read");
  } catch (const std::invalid_argument& fault) {
    CHECK(std::string(fault.what()).find("secret") == std::string::npos);
  }
  CHECK_THROWS_AS(store::check("host=/nowhere dbname=muster"), store::Unavailable);
}
