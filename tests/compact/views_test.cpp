#include <catch2/catch.hpp>
#include <functional>
#include <limits>

#include "schema/block.hpp"
#include "schema/store/compact.hpp"
#include "tests/compact/fleet.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace std::chrono_literals;
using store::Connection;
using test::Log;
using test::set_of;

namespace {

constexpr Timestamp noon = from_seconds(1'764'072'000);  // 2025-11-25 12:00 UTC

void compact_all(const std::string& dsn, const Log& log, Timestamp before) {
  store::CompactSettings settings;
  settings.dsn = dsn;
  store::Compactor compactor(settings);
  store::NotYet reason = store::NotYet::none;
  while (compactor.compact_oldest(before, log.positions(), before, reason)) {
  }
}

// What the SQL functions make of a column.
struct Read {
  std::vector<std::string> values;  // as text; "" where there is none
  std::vector<std::string> markers;
};

Read through_sql(Connection& connection, const std::vector<Timestamp>& ts, const BlockColumn& column) {
  // Between two other columns, so that its place is found.
  BlockColumn other;
  other.values.assign(ts.size(), 1.5);
  other.count = ts.size();
  const Block block = encode_block(ts, std::vector{other, column, other});
  store::Params p;
  p.bytea(block.head).bytea(block.body);
  const store::Rows rows = connection.run(
      "SELECT float8send(c.vals[i]), coalesce(c.markers[i], ''), h.ts[i] FROM muster_head($1) h "
      "CROSS JOIN LATERAL muster_column($2, h.ends, 1, cardinality(h.ts)) c "
      "CROSS JOIN LATERAL generate_subscripts(h.ts, 1) i ORDER BY i",
      p);
  REQUIRE(rows.size() == static_cast<int>(ts.size()));
  Read read;
  for (int row = 0; row < rows.size(); ++row) {
    CHECK(store::from_pg(rows.number<std::int64_t>(row, 2)) == ts[static_cast<std::size_t>(row)]);
    read.values.push_back(rows.null(row, 0) ? "" : std::string(rows.at(row, 0)));
    read.markers.push_back(std::string(rows.at(row, 1)));
  }
  return read;
}

}  // namespace

TEST_CASE("SQL reads every form of a column as the program does") {
  Connection connection(test::Postgres::shared().fresh_database(), {});
  std::mt19937_64 random(31);
  const auto unit = [&] { return std::uniform_real_distribution<>()(random); };
  constexpr double inf = std::numeric_limits<double>::infinity();
  const double stale = std::bit_cast<double>(stale_bits);
  const std::vector<std::function<double(std::size_t)>> kinds = {
      [](auto) { return 7.0; },
      [](auto) { return 0.1; },
      [&](auto) { return null_value(); },
      [&](auto) { return std::round(unit() * 1e4) / 100; },
      [&](auto i) { return i * 60 + std::floor(unit() * 3); },
      [&](auto) { return unit() - 0.5; },
      [&](auto) { return std::exp(600 * (unit() - 0.5)); },
      [](auto i) { return static_cast<double>(i) * std::numeric_limits<double>::denorm_min(); },
      [](auto i) { return (i % 2 ? 1 : -1) * std::numeric_limits<double>::max(); },
      [](auto i) { return 1e17 + 16.0 * static_cast<double>(i * i); },
      [&](auto i) { return i % 3 == 0 ? null_value() : i % 3 == 1 ? stale : std::round(unit() * 10); },
      [&](auto i) { return i % 2 ? null_value() : stale; },
      [&](auto i) { return i % 50 == 49 ? inf : i % 50 == 48 ? -inf : i == 47 ? -0.0 : std::round(unit() * 100) / 10; },
      [](auto i) { return i == 100 ? 1e15 : static_cast<double>(i % 2); },
      [](auto i) { return static_cast<double>(i * i); },
  };
  std::vector<Timestamp> ts;
  for (int i = 0; i < 150; ++i) ts.push_back(noon + Duration(15s) * i + Duration(random() % 3000));
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    for (const int holes : {0, 1, 2}) {
      INFO("kind " << k << ", holes " << holes);
      BlockColumn column;
      for (std::size_t i = 0; i < ts.size(); ++i) {
        const bool there = holes == 0 || (holes == 1 ? i >= 40 && i < 120 : i % 3 != 0);
        column.values.push_back(there ? kinds[k](i) : 0);
        if (column.present.size() * 64 <= i) column.present.push_back(0);
        if (!there) continue;
        column.present.back() |= std::uint64_t{1} << (i % 64);
        ++column.count;
      }
      if (holes == 0) column.present.clear();
      const Read read = through_sql(connection, ts, column);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < ts.size(); ++i) {
        std::string want, marker;
        if (column.has(i)) {
          const double v = column.values[i];
          if (is_null(v)) marker = "null";
          if (is_stale(v)) marker = "stale";
          if (marker.empty()) store::put(want, v);
        }
        wrong += read.values[i] != want || read.markers[i] != marker;
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("v_sample_block and v_sample_recent show samples wherever they lie") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Connection connection(dsn, {});
  const store::Rows clock = connection.run("SELECT date_trunc('hour', now())", store::Params());
  // Half an hour of the hour before this one, or of this one.
  const Timestamp hour = store::from_pg(clock.number<std::int64_t>(0, 0)), begin = hour - Duration(30min);
  Log log(dsn);
  const auto set = set_of("m", "v1", 3);
  for (int i = 0; i < 20; ++i)
    log.write(begin + Duration(1min) * i, {{set, begin + Duration(1min) * i, {i / 10.0, i % 4 == 1 ? null_value() : i * 2.0}, {0, 2}}});
  log.write(hour, {{set, hour, {1, 2, std::bit_cast<double>(stale_bits)}, {}}});
  const auto recent = [&] {
    const store::Rows rows = connection.run(
        "SELECT count(*), count(value), count(*) FILTER (WHERE marker = 'null'), count(*) FILTER (WHERE marker = 'stale'), "
        "round(sum(value)::numeric, 1), min(version), count(DISTINCT (series_id, ts)) FROM v_sample_recent WHERE model = 'm'");
    std::string line;
    for (int c = 0; c < 7; ++c) line += (c ? " " : "") + std::string(rows.at(0, c));
    return line;
  };
  // By hand: 40 values of 20 instants and 3 more; every fourth of the second series is null. Sum: 19 + 380 less
  // 2 * (1 + 5 + 9 + 13 + 17), and 3.
  const std::string want = "43 37 5 1 312.0 v1 43";
  CHECK(recent() == want);
  compact_all(dsn, log, hour);
  CHECK(connection.run("SELECT count(*) > 0 FROM sample_block").at(0, 0) == "t");
  CHECK(recent() == want);
  CHECK(connection.run("SELECT count(*) FROM v_sample_block WHERE metric = 'metric_2' AND marker = 'null'").at(0, 0) == "5");
  CHECK(connection.run("SELECT count(*) FROM v_sample_block WHERE part_from > now() - interval '1 day' AND metric = 'metric_0'").at(0, 0) == "20");
  CHECK(connection.run("SELECT model, samples, bytes > 0 FROM v_block").at(0, 1) == "40");
}

TEST_CASE("v_metric and v_storage show rollups and what all takes") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Connection connection(dsn, {});
  Log log(dsn);
  const auto a = set_of("a", "v1", 2), b = set_of("b", "v1", 2);
  for (int i = 0; i < 50; ++i) {
    const Timestamp ts = noon + Duration(12s) * i;
    log.write(ts, {{a, ts, {i % 5 / 10.0, 10.0 * i}, {}}, {b, ts, {5, i % 25 * 1.0}, {}}});
  }
  compact_all(dsn, log, noon + Duration(1h));
  // A late sample makes a second row of its bucket, and they add up.
  for (int i = 0; i < 6; ++i) log.write(noon + Duration(2h), {{a, noon + Duration(7s + 12s * i), {1}, {0}}});
  compact_all(dsn, log, noon + Duration(3h));
  const store::Rows rows = connection.run(
      "SELECT model, extract(epoch FROM ts)::bigint, sum(samples), round((sum(sum) / sum(samples))::numeric, 3), min(min), max(max) FROM v_metric "
      "WHERE metric = 'metric_0' AND level = '1m' AND part_to >= '2025-11-25 12:00+00' AND part_from < '2025-11-25 13:00+00' "
      "GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 3");
  const auto line = [&](const store::Rows& r, int row, int columns) {
    std::string text;
    for (int c = 0; c < columns; ++c) text += (c ? " " : "") + std::string(r.at(row, c));
    return text;
  };
  // By hand: 0, .1, .2, .3, .4 and five late ones: 6 / 10; the sixth late one with the next five: 2 / 6.
  CHECK(line(rows, 0, 6) == "a 1764072000 10 0.600 0 1");
  CHECK(line(rows, 1, 6) == "a 1764072060 6 0.333 0 1");
  CHECK(line(rows, 2, 6) == "a 1764072120 5 0.200 0 0.4");
  const store::Rows counter = connection.run("SELECT increase, first, last, avg IS NULL FROM v_metric WHERE metric = 'metric_1' AND level = '5m' AND model = 'b' ORDER BY ts");
  REQUIRE(counter.size() == 2);
  CHECK(line(counter, 0, 4) == "24 0 24 t");
  CHECK(line(counter, 1, 4) == "24 0 24 t");
  const store::Rows storage = connection.run("SELECT kind, count(*), bool_and(bytes > 0), min(range) FROM v_storage GROUP BY kind ORDER BY kind");
  REQUIRE(storage.size() == 5);
  CHECK(line(storage, 0, 3) == "1d 1 t");
  CHECK(line(storage, 1, 3) == "1h 1 t");
  CHECK(line(storage, 2, 3) == "1m 1 t");
  CHECK(line(storage, 3, 3) == "5m 1 t");
  CHECK(line(storage, 4, 3) == "blocks 1 t");
  CHECK(std::string(storage.at(4, 3)).starts_with("FOR VALUES FROM ('2025-11-25 00:00:00+00')"));
}
