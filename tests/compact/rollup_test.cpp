#include <catch2/catch.hpp>
#include <limits>

#include "schema/store/compact.hpp"
#include "tests/compact/fleet.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace std::chrono_literals;
using store::History;
using test::Log;
using test::set_of;

namespace {

constexpr Timestamp noon = from_seconds(1'764'072'000);  // 2025-11-25 12:00 UTC
constexpr Timestamp later = noon + Duration(5h);

void compact_all(const std::string& dsn, const Log& log) {
  store::CompactSettings settings;
  settings.dsn = dsn;
  store::Compactor compactor(settings);
  store::NotYet reason = store::NotYet::none;
  while (compactor.compact_oldest(later, log.positions(), later, reason)) {
  }
  REQUIRE(reason == store::NotYet::none);
}

std::vector<std::vector<Rollup>> read(History& history, Level level, const std::string& metric, const std::vector<SeriesSetPtr>& sets, Timestamp from, Timestamp to) {
  std::vector<store::SeriesRef> series;
  for (const SeriesSetPtr& set : sets) series.push_back({0, series_id(set->model, metric)});
  auto rolled = history.rollups(level, metric, series, from, to);
  REQUIRE(rolled);
  return std::move(*rolled);
}

}  // namespace

TEST_CASE("rollups are what the samples add up to") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  const auto a = set_of("a", "v1", 3), b = set_of("b", "v1", 3);
  // metric_0 is a gauge, metric_1 a counter that is reset at minute 8.
  for (int i = 0; i < 150; ++i) {
    const Timestamp ts = noon + Duration(12s) * i;
    const double counter = i < 40 ? 100 + 2 * i : 2 * (i - 40);
    log.write(ts, {{a, ts, {i % 5 % 4 / 10.0, counter, i % 5 == 3 ? null_value() : 1.0}, {}}, {b, ts, {5, 1, 2}, {}}});
  }
  compact_all(dsn, log);
  History history({.dsn = dsn});
  const auto gauge = read(history, Level::minute, "metric_0", {b, a}, noon, noon + Duration(1h));
  REQUIRE(gauge.size() == 2);
  REQUIRE(gauge[1].size() == 60);
  // By hand: 0 + 0.1 + 0.2 + 0.3 + 0, which doubles make 0.6000000000000001.
  CHECK(gauge[1][0] == Rollup{5, 0, 0.6, 0, 0.3});
  CHECK(gauge[1][29] == gauge[1][0]);
  CHECK(gauge[1][30] == Rollup{});
  CHECK(gauge[0][7] == Rollup{5, 0, 25, 5, 5});

  const auto counter = read(history, Level::minute, "metric_1", {a}, noon, noon + Duration(1h));
  CHECK(counter[0][0] == Rollup{5, 0, 8, 100, 108});
  CHECK(counter[0][8] == Rollup{5, 0, 8, 0, 8});
  const auto five = read(history, Level::five_minutes, "metric_1", {a}, noon, noon + Duration(1h));
  // Minutes 5 to 9: 150 to 178 before the reset, then 0 to 18; the reset itself adds nothing.
  CHECK(five[0][1] == Rollup{25, 0, 28 + 0 + 18, 150, 18});
  CHECK(read(history, Level::hour, "metric_0", {a}, noon, later)[0][0].count == 150);
  CHECK(read(history, Level::day, "metric_0", {a}, noon, later)[0][0].count == 150);
  const auto nulls = read(history, Level::minute, "metric_2", {a}, noon + Duration(59s), noon + Duration(2min));
  REQUIRE(nulls[0].size() == 2);  // from the bucket that `from` lies in
  CHECK(nulls[0][0] == Rollup{4, 1, 4, 1, 1});
}

TEST_CASE("rollups of pieces and of late samples add up, over hundreds of models") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  std::vector<SeriesSetPtr> sets;
  for (int m = 0; m < 500; ++m) sets.push_back(set_of("m" + std::to_string(m), "v1", 2));
  for (int i = 0; i < 20; ++i) {
    const Timestamp ts = noon + Duration(1min) * i;
    std::vector<Log::Row> rows;
    for (int m = 0; m < 500; ++m)
      if (m % 20 != i) rows.push_back({sets[static_cast<std::size_t>(m)], ts, {m + 0.5, static_cast<double>(i)}, {}});
    log.write(ts, rows);
  }
  // The rest comes two hours later.
  for (int i = 0; i < 20; ++i) {
    std::vector<Log::Row> rows;
    for (int m = i; m < 500; m += 20) rows.push_back({sets[static_cast<std::size_t>(m)], noon + Duration(1min) * i, {m + 0.5, static_cast<double>(i)}, {}});
    for (int m = 0; m < 500; ++m) rows.push_back({sets[static_cast<std::size_t>(m)], noon + Duration(2h) + Duration(1min) * i, {1, 50}, {}});
    log.write(noon + Duration(2h) + Duration(1min) * i, rows);
  }
  compact_all(dsn, log);
  History history({.dsn = dsn});
  const auto hour = read(history, Level::hour, "metric_0", sets, noon, later);
  const auto counter = read(history, Level::hour, "metric_1", sets, noon, later);
  for (std::size_t m = 0; m < sets.size(); ++m) {
    INFO(m);
    CHECK(hour[m][0] == Rollup{20, 0, 20 * (static_cast<double>(m) + 0.5), static_cast<double>(m) + 0.5, static_cast<double>(m) + 0.5});
    CHECK(hour[m][2].count == 20);
    // From 0 to 19 in steps of one, whichever of them came late.
    CHECK(counter[m][0].count == 20);
    CHECK(counter[m][0].total == 19);
  }
  // A few series of a large group come as slices.
  const auto few = read(history, Level::hour, "metric_0", {sets[7], sets[499]}, noon, later);
  CHECK(few[0] == hour[7]);
  CHECK(few[1] == hour[499]);
}

TEST_CASE("a level is kept for series that have several samples in a bucket") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  const auto fast = set_of("fast", "v1", 1), slow = set_of("slow", "v1", 1);
  for (int i = 0; i < 60; ++i) {
    std::vector<Log::Row> rows{{fast, noon + Duration(1min) * i, {1}, {}}};
    if (i % 20 == 0) rows.push_back({slow, noon + Duration(1min) * i, {1}, {}});
    log.write(noon + Duration(1min) * i, rows);
  }
  compact_all(dsn, log);
  History history({.dsn = dsn});
  const auto at = [&](Level level, const SeriesSetPtr& set) { return read(history, level, "metric_0", {set}, noon, later)[0][0].count; };
  CHECK(at(Level::minute, fast) == 0);
  CHECK(at(Level::five_minutes, fast) == 5);
  CHECK(at(Level::hour, fast) == 60);
  CHECK(at(Level::hour, slow) == 0);  // three in an hour
  CHECK(at(Level::day, slow) == 3);   // 72 in a day
}

TEST_CASE("two rollups of one bucket merge, in whatever order their samples came") {
  Rollup gauge{2, 1, 3, 1, 2};
  merge(gauge, {1, 0, 7, 7, 7}, false);
  CHECK(gauge == Rollup{3, 1, 10, 1, 7});
  Rollup empty{0, 2, 0, 0, 0};
  merge(empty, {1, 0, 7, 7, 7}, false);
  CHECK(empty == Rollup{1, 2, 7, 7, 7});

  const Rollup early{3, 0, 10, 100, 110}, late{2, 0, 5, 115, 120}, inside{1, 0, 0, 104, 104};
  Rollup r = early;
  merge(r, late, true);
  CHECK(r == Rollup{5, 0, 20, 100, 120});
  r = late;
  merge(r, early, true);
  CHECK(r == Rollup{5, 0, 20, 100, 120});
  r = early;
  merge(r, inside, true);
  CHECK(r == Rollup{4, 0, 10, 100, 110});
  r = inside;
  merge(r, early, true);
  CHECK(r == Rollup{4, 0, 10, 100, 110});
}

TEST_CASE("buckets begin at multiples of their length, before 1970 too") {
  CHECK(bucket_of({-1}, Duration(10)) == Timestamp{-10});
  CHECK(bucket_of({0}, Duration(10)) == Timestamp{0});
  CHECK(bucket_of({-10}, Duration(10)) == Timestamp{-10});
  CHECK(level_of("5m") == Level::five_minutes);
  CHECK(to_word(Level::day) == "1d");
  CHECK(!level_of("2m"));
}

TEST_CASE("a request that would return too much says what to ask instead") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Log log(dsn);
  const auto set = set_of("m", "v1", 1);
  for (int i = 0; i < 30; ++i) log.write(noon + Duration(1s) * i, {{set, noon + Duration(1s) * i, {1}, {}}});
  History history({.dsn = dsn, .numbers_max = 20});
  const store::SlotRef slot{0, set->id, 0};
  const auto too_much = history.samples({&slot, 1}, noon, later);
  REQUIRE(!too_much);
  CHECK(too_much.error().what.find("more than 20 samples") != std::string::npos);
  CHECK(history.samples({&slot, 1}, noon, noon + Duration(20s))->front().ts.size() == 20);
  const store::SeriesRef series{0, set->series[0].id};
  CHECK(!history.rollups(Level::minute, "metric_0", {&series, 1}, noon, later));
}
