#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "aggregator/fleet.hpp"

using namespace muster;
using namespace muster::aggregator;

namespace {

constexpr std::int64_t start = 1'740'960'000;  // 2025-03-03 00:00 UTC

// Ticks of a minute. A fixed limit far below every value makes each newest value readable as a finding.
Settings minutes(const std::string& metric) {
  Settings s;
  s.workers = 1;
  s.tick = std::chrono::minutes(1);
  s.lateness = std::chrono::minutes(2);
  s.limits = {{metric, std::nullopt, -1e9}};
  return s;
}

struct Sent {
  int second;
  double value;
};

// What the fleet read in the tick that ends `minute` minutes after the start: `samples` of the metric, and a metric
// that keeps the clock going.
std::optional<double> reading(const std::string& metric, Kind kind, const std::vector<Sent>& samples, int minute,
                              bool backwards = false) {
  Fleet fleet(minutes(metric), Topology{});
  const auto clock = fleet.series({"m", "clock", Kind::gauge, {}, {}, {}, {}, {}});
  const auto series = fleet.series({"m", metric, kind, {}, {}, {}, {}, {}});
  std::vector<Sent> order = samples;
  if (backwards) std::reverse(order.begin(), order.end());
  for (const Sent& s : order)
    if (s.second <= minute * 60) fleet.observe(series, from_seconds(start + s.second), s.value);
  for (int m = 1; m <= minute + 2; ++m) fleet.observe(clock, from_seconds(start + m * 60), m);
  fleet.advance();
  REQUIRE(fleet.closed() == from_seconds(start + minute * 60));
  for (const StaticFinding& f : fleet.view().static_findings)
    if (f.kind == "limit" && f.metric == metric) return std::strtod(f.text.c_str() + 3, nullptr);  // "is 0.5, …"
  return {};
}
double stale() { return std::bit_cast<double>(stale_bits); }

}  // namespace

TEST_CASE("a counter becomes the increase over the time between its samples") {
  // By hand: 30 in 60 s; then 90 in 60 s.
  const std::vector<Sent> samples = {{60, 100}, {120, 130}, {180, 220}};
  CHECK_FALSE(reading("c", Kind::counter, samples, 1));  // one sample is no rate
  CHECK(reading("c", Kind::counter, samples, 2).value() == Approx(0.5));
  CHECK(reading("c", Kind::counter, samples, 3).value() == Approx(1.5));
  CHECK(reading("c", Kind::counter, samples, 3, true).value() == Approx(1.5));  // the order of arrival does not count
}

TEST_CASE("several samples of a counter in a tick are one rate, and a gap is bridged") {
  // 15 s apart: 4 in each, and the tick's rate is from the last of the tick before: 16 / 60.
  CHECK(reading("c", Kind::counter, {{60, 0}, {75, 4}, {90, 8}, {105, 12}, {120, 16}}, 2).value() ==
        Approx(16.0 / 60));
  // In whatever order they come, and of two for one instant the one that came later counts.
  CHECK(reading("c", Kind::counter, {{60, 0}, {75, 4}, {90, 8}, {105, 12}, {120, 16}}, 2, true).value() ==
        Approx(16.0 / 60));
  CHECK(reading("c", Kind::counter, {{60, 0}, {120, 16}, {120, 30}}, 2).value() == Approx(0.5));
  // Nothing for three minutes: 60 over 240 s.
  CHECK(reading("c", Kind::counter, {{60, 0}, {300, 60}}, 5).value() == Approx(0.25));
}

TEST_CASE("a reset counts from zero, wherever in the tick it lies") {
  // 100 -> 20: it counted at least 20 since.
  CHECK(reading("c", Kind::counter, {{60, 100}, {120, 20}}, 2).value() == Approx(20.0 / 60));
  // Between: +10, reset to 5, +7: 22 in all.
  CHECK(reading("c", Kind::counter, {{60, 100}, {80, 110}, {100, 5}, {120, 12}}, 2).value() == Approx(22.0 / 60));
  // A zero where it began, as a created timestamp gives: the same increase.
  CHECK(reading("c", Kind::counter, {{60, 100}, {80, 110}, {95, 0}, {120, 12}}, 2).value() == Approx(22.0 / 60));
}

TEST_CASE("a stale marker ends a rate") {
  // After it the counter begins anew: the first sample is none, the next a rate of its own.
  CHECK_FALSE(reading("c", Kind::counter, {{60, 100}, {90, stale()}, {180, 500}}, 3));
  CHECK(reading("c", Kind::counter, {{60, 100}, {90, stale()}, {180, 500}, {240, 530}}, 4).value() == Approx(0.5));
  // What was counted before it in the same tick stays: 12 in 30 s.
  CHECK(reading("c", Kind::counter, {{60, 100}, {90, 112}, {100, stale()}}, 2).value() == Approx(12.0 / 30));
}

TEST_CASE("increases that are sent as such are added up over the time since the sample before") {
  // The first is over the reporting interval, 60 s.
  CHECK(reading("d", Kind::delta, {{60, 30}}, 1).value() == Approx(0.5));
  CHECK(reading("d", Kind::delta, {{60, 30}, {120, 90}}, 2).value() == Approx(1.5));
  CHECK(reading("d", Kind::delta, {{60, 1}, {90, 20}, {120, 40}}, 2).value() == Approx(1.0));
  CHECK(reading("d", Kind::delta, {{60, 1}, {180, 60}}, 3).value() == Approx(0.5));  // 60 in 120 s
}

TEST_CASE("a counter that stands still is not a flat line") {
  Settings s = minutes("c");
  Fleet fleet(s, Topology{});
  const auto series = fleet.series({"m", "c", Kind::counter, {}, {}, {}, {}, {}});
  for (int m = 1; m <= 200; ++m) fleet.observe(series, from_seconds(start + m * 60), m < 100 ? m * m : 9801);
  fleet.advance();
  for (const StaticFinding& f : fleet.view().static_findings) CHECK(f.kind != "flat");
}

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const std::vector<double> bounds = {0.1, 0.25, 0.5, 1, inf};

std::string bucket(double bound) {
  char text[64];
  std::snprintf(text, sizeof text, R"(lat_bucket{le="%s",path="/p"})", std::isinf(bound) ? "+Inf" : "");
  if (!std::isinf(bound)) std::snprintf(text, sizeof text, R"(lat_bucket{le="%g",path="/p"})", bound);
  return text;
}

// A histogram of one model, sent each minute: `per_minute[i]` observations in bucket i of minute m.
struct Sender {
  Fleet fleet;
  Kind kind;
  Fleet::SeriesRef clock;
  std::vector<Fleet::SeriesRef> refs;
  std::vector<double> totals = std::vector<double>(bounds.size());

  Sender(const std::string& read, Kind k) : fleet(minutes(read), Topology{}), kind(k) {
    clock = fleet.series({"m", "clock", Kind::gauge, {}, {}, {}, {}, {}});
    for (const double b : bounds) refs.push_back(fleet.series({"m", bucket(b), kind, {}, {}, {}, {}, {}}));
  }
  void send(int minute, const std::vector<double>& counts) {
    double below = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      below += counts[i];
      totals[i] += below;
      fleet.observe(refs[i], from_seconds(start + minute * 60), kind == Kind::bucket ? totals[i] : below);
    }
    fleet.observe(clock, from_seconds(start + minute * 60), minute);
  }
  std::optional<double> read(const std::string& metric) {
    for (int k = 1; k <= 2; ++k) fleet.observe(clock, fleet_now() + std::chrono::minutes(k), 1000 + k);
    fleet.advance();
    for (const StaticFinding& f : fleet.view().static_findings)
      if (f.kind == "limit" && f.metric == metric) return std::strtod(f.text.c_str() + 3, nullptr);
    return {};
  }
  int last = 0;
  Timestamp fleet_now() const { return from_seconds(start + last * 60); }
};

}  // namespace

TEST_CASE("the buckets of a histogram become quantiles of what came since the tick before") {
  const Kind kind = GENERATE(Kind::bucket, Kind::delta_bucket);
  for (const auto& [metric, wanted] : std::vector<std::pair<std::string, double>>{
           // By hand, of 100 observations as below: rank 50 is the 10th of 30 in (0.1, 0.25], which begins at 40.
           {R"(lat:p50{path="/p"})", 0.1 + 0.15 * 10 / 30},
           // Rank 99 is the 9th of 10 in (0.5, 1].
           {R"(lat:p99{path="/p"})", 0.5 + 0.5 * 9 / 10}}) {
    Sender sender(metric, kind);
    if (kind == Kind::bucket) sender.send(1, {7, 7, 7, 7, 7});  // of a counter the first says nothing
    sender.last = 2;
    sender.send(2, {40, 30, 20, 10, 0});
    CHECK(sender.read(metric).value() == Approx(wanted));
  }
}

TEST_CASE("a slow histogram waits until it has a hundred observations, and for an hour at most") {
  const std::string metric = R"(lat:p99{path="/p"})";
  Sender slow(metric, Kind::delta_bucket);
  for (int m = 1; m <= 9; ++m) slow.send(m, {0, 11, 0, 0, 0});
  slow.last = 9;
  CHECK_FALSE(slow.read(metric));  // 99
  Sender enough(metric, Kind::delta_bucket);
  for (int m = 1; m <= 10; ++m) enough.send(m, {0, 11, 0, 0, 0});
  enough.last = 10;
  CHECK(enough.read(metric).value() == Approx(0.1 + 0.15 * 0.99));  // 110, all in one bucket
  // One a minute: after an hour the sixty are forgotten, and a hundred never come together.
  Sender rare(metric, Kind::delta_bucket);
  for (int m = 1; m <= 180; ++m) rare.send(m, {0, 1, 0, 0, 0});
  rare.last = 180;
  CHECK_FALSE(rare.read(metric));
}

TEST_CASE("shares that move show as a stability index") {
  const std::string metric = R"(lat:psi{path="/p"})";
  Sender same(metric, Kind::delta_bucket);
  for (int m = 1; m <= 100; ++m) same.send(m, {400, 300, 200, 100, 0});
  same.last = 100;
  CHECK(same.read(metric).value() == Approx(0).margin(1e-9));
  Sender moved(metric, Kind::delta_bucket);
  for (int m = 1; m <= 100; ++m) moved.send(m, {400, 300, 200, 100, 0});
  moved.send(101, {100, 200, 300, 400, 0});
  moved.last = 101;
  // By hand with n = 1000, k = 5: sum of (p - r) ln(p / r) over 100.5/400.5, 200.5/300.5 and back, over 1002.5.
  const double wanted = 2 * ((400.5 - 100.5) * std::log(400.5 / 100.5) + (300.5 - 200.5) * std::log(300.5 / 200.5)) / 1002.5;
  CHECK(moved.read(metric).value() == Approx(wanted).epsilon(1e-5));  // the finding's text has six digits
}

TEST_CASE("a reset, a stale marker and buckets in any order leave a histogram right") {
  const std::string metric = R"(lat:p50{path="/p"})";
  Sender sender(metric, Kind::bucket);
  sender.send(1, {1000, 1000, 1000, 1000, 1000});
  std::fill(sender.totals.begin(), sender.totals.end(), 0);  // its process began anew
  sender.send(2, {40, 30, 20, 10, 0});
  sender.last = 2;
  CHECK(sender.read(metric).value() == Approx(0.1 + 0.15 * 10 / 30));

  Sender ended(metric, Kind::bucket);
  ended.send(1, {10, 0, 0, 0, 0});
  for (const auto ref : ended.refs) ended.fleet.observe(ref, from_seconds(start + 90), stale());
  ended.send(2, {5000, 0, 0, 0, 0});
  ended.last = 2;
  CHECK_FALSE(ended.read(metric));  // the 5000 may have come at any time
  ended.send(3, {0, 0, 0, 200, 0});
  ended.last = 3;
  CHECK(ended.read(metric).value() == Approx(0.75));  // the middle of (0.5, 1]
}

TEST_CASE("counts go through a snapshot, and the number of workers does not show") {
  const std::string metric = R"(lat:p99{path="/p"})";
  const auto run = [&](unsigned workers, int stop_at) {
    Settings s = minutes(metric);
    s.workers = workers;
    std::optional<Fleet> fleet(std::in_place, s, Topology{});
    std::mt19937 random(7);
    std::vector<double> totals(bounds.size() * 20);
    double requests = 0;
    for (int m = 1; m <= 300; ++m) {
      if (m == stop_at) {
        auto again = Fleet::restore(s, Topology{}, fleet->snapshot());
        REQUIRE(again);
        fleet.emplace(std::move(*again));
      }
      for (int model = 0; model < 20; ++model) {
        const std::string id = "m" + std::to_string(model);
        double below = 0;
        for (std::size_t i = 0; i < bounds.size(); ++i) {
          below += static_cast<double>(random() % 100);
          totals[model * bounds.size() + i] += below;
          fleet->observe(fleet->series({id, bucket(bounds[i]), Kind::bucket, {}, {}, {}, {}, {}}),
                         from_seconds(start + m * 60), totals[model * bounds.size() + i]);
        }
        requests += static_cast<double>(random() % 50);
        fleet->observe(fleet->series({id, "requests_total", Kind::counter, {}, {}, {}, {}, {}}),
                       from_seconds(start + m * 60), requests);
      }
      fleet->advance();
    }
    return fleet->snapshot();
  };
  const std::string one = run(1, -1);
  CHECK(run(2, -1) == one);
  CHECK(run(1, 150) == one);
}

TEST_CASE("a latency that doubles in all users of one source opens one incident that names it") {
  // 120 models, 30 on each of four sources; each tick a histogram of about 2,000 log-normal latencies around a level of
  // its own, with a daily season. From the eighth day on those of src-crm take twice as long.
  constexpr int n_models = 120, per_day = 144, days = 9, from_day = 8;
  std::string models, edges;
  for (int m = 0; m < n_models; ++m) {
    const std::string id = "m" + std::to_string(100 + m);
    models += (m ? "," : "") + std::string("{\"id\":\"") + id + "\",\"interval_s\":600}";
    edges += (m ? "," : "") + std::string("{\"from\":\"") + id + "\",\"to\":\"" +
             (m % 4 == 0 ? "src-crm" : m % 4 == 1 ? "src-ledger" : m % 4 == 2 ? "src-web" : "src-geo") + "\"}";
  }
  const auto topology = parse_topology(
      R"({"format":"muster-topology/1","models":[)" + models +
      R"(],"dependencies":[{"id":"src-crm","kind":"source"},{"id":"src-ledger","kind":"source"},{"id":"src-web","kind":"source"},{"id":"src-geo","kind":"source"}],"edges":[)" + edges +
      "]}");
  REQUIRE(topology);
  Settings s;
  s.warmup_days = 5;
  s.series_warmup_days = 1;
  Fleet fleet(s, *topology);

  std::vector<double> le;
  for (double b = 0.01; b < 20; b *= 1.6) le.push_back(b);
  le.push_back(inf);
  std::vector<Fleet::SeriesRef> refs;
  for (int m = 0; m < n_models; ++m)
    for (const double b : le) {
      char name[64];
      std::snprintf(name, sizeof name, std::isinf(b) ? R"(lat_bucket{le="+Inf"})" : R"(lat_bucket{le="%.6g"})", b);
      refs.push_back(fleet.series({"m" + std::to_string(100 + m), name, Kind::bucket, {}, {}, {}, {}, {}}));
    }

  std::mt19937 random(5);
  std::normal_distribution<double> noise;
  std::vector<double> totals(refs.size());
  std::vector<Finding> opened;
  for (int t = 1; t <= days * per_day; ++t) {
    for (int m = 0; m < n_models; ++m) {
      const bool slow = t >= from_day * per_day && m % 4 == 0;
      const double level = std::log(0.1 + 0.002 * m) + 0.1 * std::sin(2 * 3.14159265 * t / per_day) +
                           0.05 * noise(random) + (slow ? std::log(2.0) : 0);
      const double n = 2000 + 100 * noise(random);
      for (std::size_t i = 0; i < le.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(m) * le.size() + i;
        const double below = std::isinf(le[i]) ? 1 : 0.5 * std::erfc(-(std::log(le[i]) - level) / 0.5 / std::sqrt(2.0));
        totals[at] += std::floor(n * below);
        fleet.observe(refs[at], from_seconds(start + t * 600), totals[at]);
      }
    }
    for (Finding& f : fleet.advance())
      if (f.what == Finding::What::opened) opened.push_back(std::move(f));
  }
  std::size_t paged = 0;
  for (const Finding& f : opened) {
    INFO(f.incident.title);
    paged += f.incident.paged ? 1 : 0;
    CHECK(f.at >= from_seconds(start + from_day * 86400));
  }
  CHECK(paged == 1);
  REQUIRE(opened.size() == 1);
  CHECK(opened[0].incident.cause == "src-crm");
  CHECK(opened[0].at <= from_seconds(start + from_day * 86400 + 2 * 3600));
  const auto& metrics = opened[0].incident.metrics;
  CHECK(std::find(metrics.begin(), metrics.end(), "lat:p99") != metrics.end());
}
