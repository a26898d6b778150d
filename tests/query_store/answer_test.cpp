#include "query/api/answer.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>

#include "query/api/catalogue.hpp"
#include "schema/store/compact.hpp"
#include "schema/store/log_reader.hpp"
#include "tests/compact/fleet.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace muster::query;
using namespace std::chrono_literals;

namespace {

const Timestamp noon = from_seconds(1'764'072'000);  // 2025-11-25 12:00 UTC
const Timestamp end = noon + Duration(3h);
const Timestamp later = noon + Duration(48h);

// What was written, by what it is called: (model, metric, version).
using Name = std::array<std::string, 3>;
using Truth = std::map<Name, std::map<Timestamp, double>>;

// Three hours of six models, each series four times a minute: one model is deployed anew, one grows by a
// series, one is stale for a while and has nulls, and some samples come hours late.
struct World {
  World() : dsn(test::Postgres::shared().fresh_database()), log(dsn) {
    std::mt19937 random(3);
    std::vector<SeriesSetPtr> sets, other;
    for (int m = 0; m < 6; ++m) {
      sets.push_back(test::set_of("model-" + std::to_string(m), "v1", 3));
      other.push_back(test::set_of("model-" + std::to_string(m), m == 0 ? "v2" : "v1", m == 1 ? 4 : 3));
    }
    for (Timestamp t = noon; t < end; t = t + Duration(15s)) {
      std::vector<test::Log::Row> rows;
      for (std::size_t m = 0; m < sets.size(); ++m) {
        const bool changed = (m == 0 && t >= noon + Duration(77min)) || (m == 1 && t >= noon + Duration(40min));
        const SeriesSetPtr& set = changed ? other[m] : sets[m];
        test::Log::Row row{set, t, {}, {}};
        for (std::size_t i = 0; i < set->series.size(); ++i)
          row.values.push_back(i == 1 ? static_cast<double>(++counts[m]) : static_cast<double>(random() % 1000) / 8);
        if (m == 2 && random() % 10 == 0) row.values[0] = null_value();
        if (m == 2 && t == noon + Duration(100min)) row.values[2] = std::bit_cast<double>(stale_bits);
        if (m == 2 && t > noon + Duration(100min) && t < noon + Duration(110min)) continue;
        rows.push_back(row);
        remember(row);
      }
      log.write(t + Duration(1s), rows);
    }
    for (int k = 0; k < 5; ++k) {
      const test::Log::Row late{sets[3], noon + Duration(std::chrono::minutes(7 * k)) + Duration(3s), {1000, 1, -1000}, {}};
      remember(late);
      log.write(end - Duration(5min), {late});
    }
    catalogue.add(store::known_sets(dsn));
  }

  void remember(const test::Log::Row& row) {
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      const Name name{row.set->model, row.set->series[i].metric, row.set->attributes.version};
      if (!is_null(row.values[i])) truth[name].emplace(row.ts, row.values[i]);
    }
  }

  bool compact() {
    store::CompactSettings settings;
    settings.dsn = dsn;
    settings.retention.raw = settings.retention.minute = 24h * 365 * 20;
    store::Compactor compactor(settings);
    store::NotYet reason = store::NotYet::none;
    return compactor.compact_oldest(later, log.positions(), later, reason).has_value();
  }

  std::string dsn;
  test::Log log;
  Truth truth;
  std::map<std::size_t, int> counts;
  Catalogue catalogue;
};

Selector selector_of(const std::string& text) {
  const Result<Selector> selector = parse_selector(text, true);
  REQUIRE(selector);
  return *selector;
}

// What load_windows has to give for gauges: one entry a group of labels.
std::map<std::string, std::vector<Aggregate>> expected(const Truth& truth, const std::string& metric, const std::string& version,
                                                       bool by_model, const Steps& windows) {
  std::map<std::string, std::vector<Aggregate>> out;
  for (const auto& [name, samples] : truth) {
    if (name[1] != metric || (!version.empty() && name[2] != version)) continue;
    Labels labels;
    set_label(labels, "model", name[0]);
    if (!by_model) {
      set_label(labels, "__name__", name[1]);
      set_label(labels, "version", name[2]);
    }
    std::vector<Aggregate>& into = out[to_text(labels)];
    into.resize(windows.count);
    for (const auto& [ts, value] : samples) {
      if (std::isnan(value) || ts < windows.start || ts >= windows.start + windows.step * static_cast<std::int64_t>(windows.count)) continue;
      Aggregate& a = into[static_cast<std::size_t>((ts - windows.start) / windows.step)];
      a.least = a.count == 0 ? value : std::min(a.least, value);
      a.greatest = a.count == 0 ? value : std::max(a.greatest, value);
      ++a.count;
      a.sum += value;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("an answer does not depend on what lies in the log, in blocks and in rollups") {
  World world;
  query::Settings settings;
  store::History history({.dsn = world.dsn});
  const Stop stop;
  Context context{settings, world.catalogue, history, stop};

  const auto ask = [&](const std::string& text, Steps steps) {
    const Result<ExpressionPtr> e = parse(text);
    REQUIRE(e);
    Explanation explanation;
    Result<Value> value = answer(context, **e, steps, explanation);
    if (!value) FAIL(value.error().what);
    sort_by_labels(value->columns);
    return std::pair(value->columns.labels, std::pair(value->columns.values, value->columns.present));
  };
  const std::vector<std::string> queries = {"metric_0", "metric_3", "sum by (model) (rate(metric_1[5m]))", "max_over_time(metric_2[10m])",
                                            "avg by (version) (metric_0)", "count_over_time({model=\"model-3\",__name__=\"metric_0\"}[1h])"};
  const Steps steps{noon - Duration(1min), Duration(97s), 120};
  std::vector<decltype(ask("", steps))> first;

  std::size_t from_rollups = 0;
  for (int stage = 0; stage < 5; ++stage) {
    INFO("after " << stage << " compactions");
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const auto got = ask(queries[q], steps);
      if (stage == 0) {
        first.push_back(got);
        CHECK(!got.first.empty());
      }
      INFO(queries[q]);
      CHECK(got.first == first[q].first);
      CHECK(got.second.first == first[q].second.first);
      CHECK(got.second.second == first[q].second.second);
    }
    struct Case {
      const char* text;
      const char* metric;
      const char* version;
      bool by_model;
      Duration step;
    };
    for (const Case& c : {Case{R"({metric="metric_0"})", "metric_0", "", true, 1min}, Case{R"({metric="metric_0"})", "metric_0", "", true, 5min},
                          Case{R"({metric="metric_2"})", "metric_2", "", true, 1h}, Case{R"({metric="metric_2"})", "metric_2", "", false, 5min},
                          Case{R"({metric="metric_0",version="v2"})", "metric_0", "v2", true, 5min}, Case{R"({metric="metric_1"})", "metric_1", "", true, 5min},
                          Case{R"({metric="metric_0"})", "metric_0", "", false, 7s}}) {
      const Steps windows{noon, c.step, static_cast<std::size_t>(Duration(3h) / c.step)};
      const std::vector<std::string> by = {"model"};
      Explanation::Part part;
      const Result<Aggregates> got = load_windows(context, selector_of(c.text), c.by_model ? &by : nullptr, windows, part);
      REQUIRE(got);
      if (part.level != "samples" && part.read.blocks > 0) ++from_rollups;
      const auto want = expected(world.truth, c.metric, c.version, c.by_model, windows);
      INFO(c.text << " by " << c.step.count() << " us, level " << part.level);
      REQUIRE(got->labels.size() == want.size());
      for (std::size_t u = 0; u < got->labels.size(); ++u) {
        const auto& of = want.at(to_text(got->labels[u]));
        for (std::size_t i = 0; i < windows.count; ++i) {
          const Aggregate& g = got->windows[u * windows.count + i];
          INFO(to_text(got->labels[u]) << " window " << i);
          REQUIRE(g.count == of[i].count);
          if (g.count == 0) continue;
          CHECK(g.least == of[i].least);
          CHECK(g.greatest == of[i].greatest);
          // Eighths add up exactly; a rollup's sum is rounded to the decimals of its values.
          CHECK(g.sum == Approx(of[i].sum));
        }
      }
    }
    if (!world.compact()) break;
  }
  CHECK(from_rollups > 3);
}

TEST_CASE("the newest values are known without the database as far as memory reaches, and else from it") {
  World world;
  query::Settings settings;
  store::History history({.dsn = world.dsn});
  const Stop stop;
  Context context{settings, world.catalogue, history, stop};
  const auto newest = [&](Timestamp from, Timestamp to) {
    Explanation::Part part;
    const Result<Samples> samples = load_newest(context, selector_of(R"({model="model-4",metric="metric_0"})"), from, to, part);
    REQUIRE(samples);
    return std::pair(samples->values, part.from_newest);
  };
  const auto& truth = world.truth.at({"model-4", "metric_0", "v1"});
  const double last = truth.rbegin()->second;
  // Nothing was observed yet.
  CHECK(newest(end - Duration(5min), end) == std::pair(std::vector<double>{last}, std::size_t{0}));

  store::LogReader reader({.dsn = world.dsn}, {});
  while (const auto batch = reader.next()) world.catalogue.observe(*batch);
  world.catalogue.complete_since(noon);
  CHECK(newest(end - Duration(5min), end) == std::pair(std::vector<double>{last}, std::size_t{1}));
  // Older than the newest: memory has only that.
  const Timestamp before = noon + Duration(1h);
  CHECK(newest(before - Duration(5min), before) == std::pair(std::vector<double>{truth.at(before)}, std::size_t{0}));
  // Known to have ended.
  CHECK(newest(end + Duration(10min), end + Duration(20min)) == std::pair(std::vector<double>{}, std::size_t{1}));
}

TEST_CASE("more samples than a query may read are refused before they are held") {
  World world;
  query::Settings settings;
  settings.limits.samples_max = 1000;
  store::History history({.dsn = world.dsn, .numbers_max = 1000});
  const Stop stop;
  Context context{settings, world.catalogue, history, stop};
  Explanation::Part part;
  const Result<Samples> samples = load(context, selector_of(R"({metric="metric_0"})"), nullptr, noon, end, part);
  REQUIRE(!samples);
  CHECK(samples.error().where == "execution");
  // The next one finds all as it was.
  CHECK(load(context, selector_of(R"({metric="metric_0"})"), nullptr, noon, noon + Duration(10min), part));
  settings.limits.series_max = 3;
  CHECK(!load(context, selector_of(R"({metric="metric_0"})"), nullptr, noon, noon, part));
}
