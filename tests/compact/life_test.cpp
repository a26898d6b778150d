#include <catch2/catch.hpp>
#include <future>

#include "schema/store/compact.hpp"
#include "schema/store/control.hpp"
#include "schema/store/ingestor.hpp"
#include "tests/compact/fleet.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace std::chrono_literals;
using store::Connection;
using store::Ingestor;
using test::Given;
using test::Log;
using test::set_of;

namespace {

constexpr std::int64_t noon_s = 1'764'072'000;  // 2025-11-25 12:00 UTC
constexpr Timestamp noon = from_seconds(noon_s);

Stored stored_of(Ingestor& ingestor, const std::vector<Given>& given) {
  std::promise<Stored> promise;
  auto future = promise.get_future();
  ingestor.submit(test::batch_of(given), [&](Stored stored) { promise.set_value(std::move(stored)); });
  return future.get();
}

bool compact(const std::string& dsn, Timestamp before) {
  store::CompactSettings settings;
  settings.dsn = dsn;
  store::Compactor compactor(settings);
  store::NotYet reason = store::NotYet::none;
  return compactor.compact_oldest(before, std::nullopt, before, reason).has_value();
}

}  // namespace

TEST_CASE("what a sender repeats after a restart is a duplicate, though its hour is in blocks") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  store::make_partitions(dsn, noon);
  Timestamp now = noon + Duration(10min);
  const auto settings = [&](std::int64_t collector) {
    Ingestor::Settings s;
    s.data_dsns = {dsn};
    s.collector = collector;
    return s;
  };
  // One series in each minute, the other in every second one, so that its column has holes.
  std::vector<Given> given;
  for (int i = 0; i < 10; ++i) {
    given.push_back({"m|a|v1", noon_s + 60 * i, i * 1.0});
    if (i % 2 == 0) given.push_back({"m|b|v1", noon_s + 60 * i, i * 2.0});
    given.push_back({"other|a|v1", noon_s + 60 * i, 5});
  }
  {
    Ingestor first(settings(1), [&] { return now; }, nullptr);
    CHECK(stored_of(first, given).accepted == 25);
  }
  REQUIRE(compact(dsn, noon + Duration(1h)));
  now = noon + Duration(1h + 20min);
  store::make_partitions(dsn, now);
  Ingestor second(settings(2), [&] { return now; }, nullptr);
  const Stored again = stored_of(second, given);
  CHECK(again.duplicates == 25);
  CHECK(again.accepted == 0);
  // A hole is not remembered as a sample.
  const Stored hole = stored_of(second, {{"m|b|v1", noon_s + 60, 7}});
  CHECK(hole.accepted == 1);
}

TEST_CASE("a commit that waited until its hour was compacted is written all the same") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  const auto set = set_of("m", "v1", 2);
  log.write(noon, {{set, noon, {1, 2}, {}}});
  const Log::Row row{set, noon + Duration(1min), {3, 4}, {}};
  const store::Commit late = log.commit(noon + Duration(1min), {row});
  REQUIRE(compact(dsn, noon + Duration(1h)));

  store::LogWriter writer(dsn);
  CHECK_THROWS_AS(writer.write(late), store::Unavailable);
  writer.write(late);
  log.expect(row);
  store::History history({.dsn = dsn});
  CHECK(log.difference(history, noon, noon + Duration(1h)) == "");
  REQUIRE(compact(dsn, noon + Duration(1h)));
  CHECK(log.difference(history, noon, noon + Duration(1h)) == "");
}

TEST_CASE("the log is needed back to where the older of two snapshots stands") {
  store::Control control(test::Postgres::shared().fresh_database());
  CHECK(control.saved_positions().empty());
  store::Snapshot snapshot;
  snapshot.at_tick = noon;
  snapshot.state = "state";
  snapshot.positions = {{0, 1, 10}};
  control.save_snapshot(snapshot);
  CHECK(control.saved_positions() == LogPositions{{0, 1, 10}});
  snapshot.positions = {{0, 1, 12}, {0, 2, 5}};
  control.save_snapshot(snapshot);
  CHECK(control.saved_positions() == LogPositions{{0, 1, 10}});
  snapshot.positions = {{0, 1, 12}, {0, 2, 7}};
  control.save_snapshot(snapshot);
  CHECK(control.saved_positions() == LogPositions{{0, 1, 12}, {0, 2, 5}});
}

TEST_CASE("a query can be cancelled from another thread, and the next one works") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  const auto set = set_of("m", "v1", 1);
  log.write(noon, {{set, noon, {1}, {}}});
  // Someone holds the table, so that the query waits.
  Connection other(dsn, {});
  other.run("BEGIN; LOCK TABLE sample_log IN ACCESS EXCLUSIVE MODE");
  store::History history({.dsn = dsn});
  const store::SlotRef slot{0, set->id, 0};
  auto cancelled = std::async(std::launch::async, [&] {
    for (int i = 0; i < 1'000; ++i) {
      std::this_thread::sleep_for(20ms);
      Connection look(dsn, {});
      if (look.run("SELECT 1 FROM pg_stat_activity WHERE application_name = 'muster history' AND wait_event_type = 'Lock'").size() > 0) break;
    }
    history.cancel();
  });
  const auto began = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(history.samples({&slot, 1}, noon, noon + Duration(1h)), store::Cancelled);
  // By the cancellation, long before the statement's own time is up.
  CHECK(std::chrono::steady_clock::now() - began < 25s);
  cancelled.get();
  other.run("ROLLBACK");
  CHECK(history.samples({&slot, 1}, noon, noon + Duration(1h))->front().ts.size() == 1);
  history.begin();
  CHECK(history.compacted_until() == noon);
  CHECK(history.samples({&slot, 1}, noon, noon + Duration(1h))->front().values.at(0) == 1);
  history.end();
}
