#include <catch2/catch.hpp>

#include <bit>
#include <cstdint>

#include "schema/store/log_reader.hpp"
#include "schema/store/partitions.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using store::Connection;
using store::LogReader;
using store::Params;

namespace {

constexpr Timestamp noon = from_seconds(1'700'000'000 / 3600 * 3600);

SeriesSet make_set(const std::string& model, int series) {
  SeriesSet set;
  set.model = model;
  set.attributes = {"v1", "eu", "ranker", "growth"};
  for (int i = 0; i < series; ++i) {
    const std::string metric = "metric_" + std::to_string(i);
    set.series.push_back({series_id(model, metric), metric, i % 2 ? Kind::counter : Kind::gauge});
  }
  set.id = set_id(set);
  return set;
}

// Writes as a collector does, a statement a table.
struct Writer {
  explicit Writer(const std::string& to) : dsn(to), connection(to, {}) {
    store::make_partitions(to, noon, {.ahead = std::chrono::hours(2)});
  }

  void put(const SeriesSet& set) {
    std::vector<std::int64_t> ids;
    for (const Series& s : set.series) {
      Params p;
      p.int4(0).int8(static_cast<std::int64_t>(s.id)).text(set.model).text(s.metric);
      p.int2(static_cast<std::int16_t>(s.kind));
      connection.run(
          "INSERT INTO series (shard, series_id, model, metric, kind) VALUES ($1, $2, $3, $4, $5)",
          p);
      ids.push_back(static_cast<std::int64_t>(s.id));
    }
    Params p;
    p.int4(0).int8(static_cast<std::int64_t>(set.id)).text(set.model).text(set.attributes.version);
    p.text(set.attributes.region)
        .text(set.attributes.family)
        .text(set.attributes.team)
        .int8_array(ids);
    connection.run("INSERT INTO series_set VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", p);
  }

  struct Values {
    std::vector<double> vals;
    std::vector<std::int16_t> pos;  // empty: full
  };

  // One batch, a row per entry of `rows`; ts = `at`.
  void put(std::int64_t collector, std::int64_t batch, Timestamp at, const SeriesSet& set,
           const std::vector<Values>& rows, const char* finish = "COMMIT") {
    std::int32_t samples = 0;
    for (const Values& v : rows) samples += static_cast<std::int32_t>(v.vals.size());
    connection.run("BEGIN");
    Params head;
    head.int4(0)
        .int8(collector)
        .int8(batch)
        .timestamptz(at)
        .int4(static_cast<std::int32_t>(rows.size()))
        .int4(samples);
    connection.run("INSERT INTO sample_batch VALUES ($1, $2, $3, $4, $5, $6)", head);
    std::int32_t no = 0;
    for (const Values& v : rows) {
      Params p;
      const std::int64_t one_set[] = {static_cast<std::int64_t>(set.id)};
      p.int4(0).int8(collector).int8(batch).int4(no++).timestamptz(at).int8_array(one_set);
      p.timestamptz(at);
      if (v.pos.empty()) {
        p.null(1005);
      } else {
        p.int2_array(v.pos);
      }
      p.float8_array(v.vals);
      connection.run("INSERT INTO sample_log VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", p);
    }
    connection.run(finish);
  }

  std::string dsn;
  Connection connection;
};

std::vector<std::int64_t> ids(LogReader& reader) {
  std::vector<std::int64_t> all;
  while (const auto batch = reader.next()) all.push_back(batch->position.batch);
  return all;
}

using Ids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("the log comes back as it was written, to the last bit of a NaN") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet a = make_set("a", 4), b = make_set("b", 2);
  writer.put(a);
  writer.put(b);
  const auto odd = std::bit_cast<double>(0xfff8'1234'5678'9abcULL);
  const auto stale = std::bit_cast<double>(stale_bits);
  writer.put(1, 1, noon, a, {{{1.5, null_value(), stale, odd}, {}}, {{-0.0, 7}, {1, 3}}});
  writer.put(1, 2, noon + std::chrono::seconds(1), b, {{{1, 2}, {}}});
  writer.put(1, 3, noon + std::chrono::seconds(2), a, {{{9}, {0}}});

  LogReader reader({.dsn = writer.dsn}, {});
  const auto one = reader.next();
  REQUIRE(one);
  CHECK(one->position == LogPosition{0, 1, 1});
  CHECK(one->written_at == noon);
  REQUIRE(one->rows.rows.size() == 2);
  const LogRows::Row& full = one->rows.rows[0];
  CHECK((full.full && full.first == 0 && full.count == 4 && full.set == a.id && full.ts == noon));
  const LogRows::Row& partial = one->rows.rows[1];
  CHECK((!partial.full && partial.first == 4 && partial.count == 2));
  std::vector<std::uint64_t> bits;
  for (const double v : one->rows.values) bits.push_back(std::bit_cast<std::uint64_t>(v));
  CHECK(bits == std::vector<std::uint64_t>{std::bit_cast<std::uint64_t>(1.5), null_bits, stale_bits,
                                           0xfff8'1234'5678'9abcULL, 0x8000'0000'0000'0000ULL,
                                           std::bit_cast<std::uint64_t>(7.0)});
  CHECK(one->rows.positions.size() == one->rows.values.size());
  CHECK(one->rows.positions[4] == 1);
  CHECK(one->rows.positions[5] == 3);
  REQUIRE(one->new_sets.size() == 1);
  const SeriesSet& back = *one->new_sets[0];
  CHECK((back.id == a.id && back.model == "a" && back.attributes == a.attributes));
  REQUIRE(back.series.size() == 4);
  CHECK((back.series[3].id == a.series[3].id && back.series[3].metric == "metric_3" &&
         back.series[3].kind == Kind::counter));

  const auto two = reader.next();
  REQUIRE(two);
  REQUIRE(two->new_sets.size() == 1);
  CHECK(two->new_sets[0]->id == b.id);
  const auto three = reader.next();
  REQUIRE(three);
  CHECK(three->new_sets.empty());  // handed out before
  CHECK_FALSE(reader.next());
  CHECK(reader.positions() == LogPositions{{0, 1, 3}});

  LogReader later({.dsn = writer.dsn}, {{0, 1, 2}});
  const auto again = later.next();
  REQUIRE(again);
  CHECK(again->position.batch == 3);
  CHECK(again->new_sets.size() == 1);  // new to this reader
}

TEST_CASE("a batch that cannot be seen yet is waited for, then both come in order") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet set = make_set("m", 1);
  writer.put(set);
  writer.put(5, 1, noon, set, {{{1}, {}}});
  writer.put(5, 2, noon, set, {{{2}, {}}},
             "PREPARE TRANSACTION 'batch 2'");  // acknowledged, invisible
  writer.put(5, 3, noon, set, {{{3}, {}}});

  LogReader reader({.dsn = writer.dsn}, {});
  CHECK(ids(reader) == Ids{1});
  CHECK(reader.waiting_for() == LogPosition{0, 5, 2});
  CHECK(reader.positions() == LogPositions{{0, 5, 1}});
  CHECK_FALSE(reader.next());

  writer.connection.run("COMMIT PREPARED 'batch 2'");
  CHECK(ids(reader) == Ids{2, 3});
  CHECK_FALSE(reader.waiting_for());
}

TEST_CASE("what a later collector wrote after a gap waits too, what it wrote before does not") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet set = make_set("m", 1);
  writer.put(set);
  writer.put(1, 1, noon, set, {{{1}, {}}});
  writer.put(1, 3, noon + std::chrono::seconds(3), set, {{{3}, {}}});
  writer.put(2, 1, noon + std::chrono::seconds(2), set, {{{10}, {}}});
  writer.put(2, 2, noon + std::chrono::seconds(4), set, {{{20}, {}}});

  LogReader reader({.dsn = writer.dsn}, {});
  std::vector<double> values;
  while (const auto batch = reader.next()) values.push_back(batch->rows.values.at(0));
  CHECK(values == std::vector<double>{1, 10});
  REQUIRE(reader.waiting_for());
  CHECK(*reader.waiting_for() == LogPosition{0, 1, 2});

  CHECK(store::give_up_missing(writer.dsn, 0, 1) == 1);  // batch 2 of collector 1 never came
  CHECK(store::give_up_missing(writer.dsn, 0, 1) == 0);
  while (const auto batch = reader.next()) values.push_back(batch->rows.values.at(0));
  CHECK(values == std::vector<double>{1, 10, 3, 20});
  CHECK(reader.positions() == LogPositions{{0, 1, 3}, {0, 2, 2}});
}

TEST_CASE("a start gives up what killed collectors had under way, and nothing of those that live") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  Writer writer(dsn);
  const SeriesSet set = make_set("m", 1);
  writer.put(set);
  writer.put(1, 1, noon, set, {{{1}, {}}});
  writer.put(1, 3, noon + std::chrono::seconds(1), set, {{{3}, {}}});
  writer.put(2, 2, noon + std::chrono::seconds(2), set, {{{2}, {}}});  // its first never came
  writer.put(3, 2, noon + std::chrono::seconds(3), set, {{{2}, {}}});  // this one lives
  CHECK(store::give_up_missing_before(dsn, 1, 3) == 2);
  CHECK(store::give_up_missing_before(dsn, 1, 3) == 0);
  LogReader reader({.dsn = dsn}, {});
  while (reader.next()) {}
  REQUIRE(reader.waiting_for());
  CHECK(*reader.waiting_for() == LogPosition{0, 3, 1});
}

TEST_CASE("many small chunks give the same as one large, and skipping leaves out what is known") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet a = make_set("a", 2), b = make_set("b", 2);
  writer.put(a);
  writer.put(b);
  for (int i = 1; i <= 9; ++i) {
    writer.put(1, i, noon + std::chrono::seconds(i), i % 2 ? a : b,
               {{{1.0 * i, 2}, {}}, {{3}, {1}}});
  }
  LogReader large({.dsn = writer.dsn}, {}), small({.dsn = writer.dsn, .chunk_samples_max = 4}, {});
  CHECK(ids(large) == Ids{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(ids(small) == Ids{1, 2, 3, 4, 5, 6, 7, 8, 9});

  LogReader skipping({.dsn = writer.dsn}, {});
  REQUIRE(skipping.next());
  skipping.skip_to({0, 1, 2});  // b came with batch 2, which is read ahead already
  const auto three = skipping.next();
  REQUIRE(three);
  CHECK(three->position.batch == 3);
  const auto four = skipping.next();
  REQUIRE(four);
  CHECK(four->new_sets.size() == 1);
  skipping.skip_to({0, 1, 8});
  CHECK(ids(skipping) == Ids{9});
}

TEST_CASE("a registry finds all sets, longest first") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet shorter = make_set("a", 2), longer = make_set("b", 5);
  writer.put(shorter);
  writer.put(longer);
  const auto sets = store::known_sets(writer.dsn);
  REQUIRE(sets.size() == 2);
  CHECK(sets[0]->id == longer.id);
  CHECK(sets[0]->series.size() == 5);
  CHECK(sets[1]->series[1].metric == "metric_1");
}

TEST_CASE("partitions are made ahead, dropped when old, and a late reader steps over what went") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  using std::chrono::hours;
  CHECK(store::make_partitions(dsn, from_seconds(1'700'000'000), {.ahead = hours(2)}) ==
        std::vector<std::string>{
            "sample_log_2023111422", "sample_log_2023111423", "sample_log_2023111500"});  // date -u -d @1700000000: 2023-11-14 22:13:20
  CHECK(store::make_partitions(dsn, from_seconds(1'700'000'000), {.ahead = hours(2)}).empty());

  Writer writer(dsn);
  const SeriesSet set = make_set("m", 1);
  writer.put(set);
  for (int i = 0; i < 4; ++i)
    writer.put(1, i + 1, noon + std::chrono::minutes(45 * i), set, {{{1.0 * i}, {}}});
  LogReader late({.dsn = dsn}, {});
  REQUIRE(late.next());  // has read ahead

  // Batches 1 and 2 lie in the hour of noon (0 and 45 minutes), 3 and 4 in the next two.
  CHECK(store::drop_partitions(dsn, noon + hours(1)) ==
        std::vector<std::string>{"sample_log_2023111422"});
  CHECK(store::drop_partitions(dsn, noon + hours(1)).empty());
  LogReader fresh({.dsn = dsn}, {});
  CHECK(ids(fresh) == Ids{3, 4});
  CHECK(fresh.positions() == LogPositions{{0, 1, 4}});
  CHECK(store::give_up_missing(dsn, 0, 1) == 0);
  CHECK(ids(late).back() == 4);

  // A lock that somebody holds is not waited for.
  Connection holder(dsn, {});
  holder.run("BEGIN; LOCK TABLE sample_log IN ACCESS SHARE MODE");
  store::PartitionSettings hasty{.ahead = hours(9), .lock_timeout = std::chrono::milliseconds(50)};
  CHECK_THROWS_AS(store::make_partitions(dsn, noon, hasty), store::Unavailable);
}

TEST_CASE("a reader outlives its connection") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet set = make_set("m", 1);
  writer.put(set);
  writer.put(1, 1, noon, set, {{{1}, {}}});
  LogReader reader({.dsn = writer.dsn}, {});
  CHECK(ids(reader) == Ids{1});
  writer.put(1, 2, noon, set, {{{2}, {}}});
  writer.connection.run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
      "'muster log reader' AND datname = current_database()");
  CHECK_THROWS_AS(reader.next(), store::Unavailable);
  CHECK(ids(reader) == Ids{2});
}

TEST_CASE("v_sample_recent shows a row a sample, with the two NaNs named") {
  Writer writer(test::Postgres::shared().fresh_database());
  const SeriesSet set = make_set("m", 3);
  writer.put(set);
  // The view looks two hours back from the server's clock.
  const store::Rows clock =
      writer.connection.run("SELECT (extract(epoch FROM now()) * 1000000)::bigint", Params());
  const Timestamp now{clock.number<std::int64_t>(0, 0)};
  store::make_partitions(writer.dsn, now);
  writer.put(1, 1, now, set,
             {{{1.5, null_value(), std::bit_cast<double>(stale_bits)}, {}}, {{8}, {2}}});

  const auto rows = writer.connection.run(
      "SELECT metric, coalesce(value::text, '-'), coalesce(marker, '-'), model, version FROM "
      "v_sample_recent "
      "ORDER BY metric, value");
  std::vector<std::string> lines;
  for (int r = 0; r < rows.size(); ++r) {
    lines.push_back(std::string(rows.at(r, 0)) + " " + std::string(rows.at(r, 1)) + " " +
                    std::string(rows.at(r, 2)));
  }
  CHECK(lines == std::vector<std::string>{"metric_0 1.5 -", "metric_1 - null", "metric_2 8 -",
                                          "metric_2 - stale"});
  CHECK(rows.at(0, 3) == "m");
  CHECK(rows.at(0, 4) == "v1");
}
