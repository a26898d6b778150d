#include "simulator/fleet.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "base/hash.hpp"
#include "schema/series.hpp"
#include "simulator/catalogue.hpp"
#include "simulator/encode.hpp"

using namespace muster;
using namespace muster::simulator;

namespace {

constexpr Tick day = 144;

std::vector<Sample> copy(std::span<const Sample> samples) {
  return {samples.begin(), samples.end()};
}

bool same(const std::vector<Sample>& a, const std::vector<Sample>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Sample& x, const Sample& y) {
    return x.model == y.model && x.metric == y.metric && x.deploy == y.deploy && x.ts == y.ts &&
           std::memcmp(&x.value, &y.value, sizeof x.value) == 0;
  });
}

std::uint64_t hash_of(Fleet& fleet, Tick from, Tick until) {
  std::uint64_t hash = 0;
  std::string lines;
  NdjsonWriter writer(fleet);
  for (Tick t = from; t < until; ++t) {
    lines.clear();
    writer.append(fleet.tick(t), lines);
    hash = hash64(lines, hash);
  }
  return hash;
}

// A fleet of nothing but season and noise.
FleetShape plain() {
  FleetShape shape;
  shape.models = 30;
  shape.market_load = shape.family_load = shape.missing = shape.null = shape.late = 0;
  shape.deploy_shift = 0;
  return shape;
}

// The whole history of one series on its scale's axis, by tick; NaN where it did not report.
std::vector<double> history(Fleet& fleet, std::uint32_t model, std::uint16_t metric, Tick until) {
  std::vector<double> x(static_cast<std::size_t>(until), NAN);
  for (Tick t = 0; t < until; ++t) {
    for (const Sample& s : fleet.tick(t)) {
      if (s.model != model || s.metric != metric) continue;
      double v = s.value;
      if (metrics[metric].scale == Scale::positive) v = std::log(v);
      if (metrics[metric].scale == Scale::rate) v = std::log(v / (1 - v));
      x[static_cast<std::size_t>((s.ts - fleet.shape().start) / fleet.shape().tick)] = v;
    }
  }
  return x;
}

std::uint32_t fast_model(const Fleet& fleet) {
  const auto& models = fleet.topology().models;
  const auto found = std::find_if(models.begin(), models.end(), [](const Model& m) {
    return m.interval == std::chrono::minutes(10);
  });
  return static_cast<std::uint32_t>(found - models.begin());
}

}  // namespace

TEST_CASE("a seed gives the same bits") {
  Fleet a({}, 42);
  Fleet b({}, 42);
  Fleet c({}, 43);
  const std::uint64_t hash = hash_of(a, 0, day);
  CHECK(hash == hash_of(b, 0, day));
  CHECK(hash != hash_of(c, 0, day));
  // From the first run of this test; any other value means that old seeds give new fleets.
  CHECK(hash == 0x2d4fbf02cc0a5734);
  CHECK(hash64(to_json(a.topology())) == 0x47f8dcce6e5bafe6);
}

TEST_CASE("a tick does not depend on which ticks were asked for before") {
  FleetShape shape = FleetShape::hostile();
  shape.models = 40;
  shape.late = 0.2;
  Fleet in_order(shape, 5);
  std::map<Tick, std::vector<Sample>> expected;
  // Past a seam of the noise (1008 ticks) and past a deploy of every model (2016).
  for (Tick t = 0; t < 2200; ++t) expected[t] = copy(in_order.tick(t));
  Fleet jumping(shape, 5);
  for (const Tick t : {2100, 3, 1007, 1008, 1020, 1045, 20, 2199, 0, 1}) {
    INFO("tick " << t);
    CHECK(same(copy(jumping.tick(t)), expected[t]));
    CHECK(same(copy(jumping.tick(t)), expected[t]));
  }
  CHECK(same(copy(jumping.tick(2)), expected[2]));
}

TEST_CASE("the fleet reads like a company's") {
  const Topology topology = invent_topology(200, 1);
  REQUIRE(topology.models.size() == 200);
  CHECK(topology.warnings.empty());
  std::set<std::string> families, regions, teams;
  for (const Model& m : topology.models) {
    families.insert(m.family);
    regions.insert(m.region);
    teams.insert(m.team);
    CHECK(m.id.starts_with(m.family + "-" + m.region + "-"));
  }
  CHECK(families.size() == 15);
  CHECK(regions.size() == 4);
  CHECK(teams.size() > 8);

  std::map<std::string, int> kinds;
  const auto users = dependants(topology);
  std::size_t alike = 0;
  for (std::size_t d = 0; d < users.size(); ++d) {
    INFO(topology.dependencies[d].id);
    ++kinds[topology.dependencies[d].kind];
    CHECK(users[d].size() >= 5);
    CHECK(users[d].size() <= 120);
    alike += std::count(users.begin(), users.end(), users[d]) > 1;
  }
  CHECK(kinds["source"] == 21);
  CHECK(kinds["feature_pipeline"] == 18);
  CHECK(kinds["package"] == 8);
  CHECK(kinds["region"] == 4);
  // A pipeline over one source cannot be told from it when nothing else reads that source; most can.
  CHECK(alike < users.size() / 2);

  // More models: more copies, not more users of each.
  const auto many = dependants(invent_topology(1000, 1));
  const auto largest = std::max_element(many.begin(), many.end(),
                                        [](auto& a, auto& b) { return a.size() < b.size(); });
  CHECK(largest->size() < 500);
  CHECK(invent_topology(1, 1).models.size() == 1);
}

TEST_CASE("series have a day, a week and memory") {
  Fleet fleet(plain(), 11);
  const std::uint32_t model = fast_model(fleet);
  const std::uint16_t requests = 5;
  constexpr Tick weeks = 8;
  const std::vector<double> x = history(fleet, model, requests, weeks * 7 * day);

  // By tick of the week over eight weeks: the mean is the season, what is left is noise.
  std::vector<double> season(7 * day), rest(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) season[i % season.size()] += x[i] / weeks;
  for (std::size_t i = 0; i < x.size(); ++i) rest[i] = x[i] - season[i % season.size()];
  double variance = 0, lag1 = 0;
  for (std::size_t i = 1; i < rest.size(); ++i) {
    variance += rest[i] * rest[i] / static_cast<double>(rest.size());
    lag1 += rest[i] * rest[i - 1] / static_cast<double>(rest.size());
  }
  // The metric's noise is 0.08 x 0.7 to 1.4 (fleet.hpp), less a part in 16 that the mean took.
  CHECK(std::sqrt(variance) > 0.05);
  CHECK(std::sqrt(variance) < 0.13);
  // phi is drawn between 0.1 and 0.6.
  CHECK(lag1 / variance > 0.08);
  CHECK(lag1 / variance < 0.62);

  // The season swings by 1.5 to 4.5 sigma to each side.
  const auto [low, high] = std::minmax_element(season.begin(), season.begin() + day);
  CHECK(*high - *low > 2.5 * std::sqrt(variance));
}

TEST_CASE("weekends differ from working days") {
  Fleet fleet(plain(), 11);
  const std::uint32_t model = fast_model(fleet);
  double largest = 0;
  for (std::uint16_t metric = 0; metric < metrics.size(); ++metric) {
    constexpr Tick weeks = 8;
    const std::vector<double> x = history(fleet, model, metric, weeks * 7 * day);
    std::array<double, 7> mean{};
    for (std::size_t i = 0; i < x.size(); ++i) mean[i / day % 7] += x[i] / (weeks * day);
    // A day's mean over eight weeks has an error of about 0.04 sigma: 1,152 samples, phi up to 0.6.
    const double sigma = metrics[metric].noise;
    CHECK(std::abs(mean[1] - mean[2]) < 0.25 * sigma);
    largest =
        std::max(largest, std::abs((mean[5] + mean[6]) / 2 - (mean[1] + mean[2]) / 2) / sigma);
  }
  CHECK(largest > 0.25);
}

TEST_CASE("values lie on their metric's scale") {
  Fleet fleet(FleetShape::hostile(), 3);
  std::size_t nulls = 0, all = 0;
  for (Tick t = 0; t < 2 * day; ++t) {
    for (const Sample& s : fleet.tick(t)) {
      ++all;
      if (is_null(s.value)) {
        ++nulls;
        continue;
      }
      REQUIRE(std::isfinite(s.value));
      if (metrics[s.metric].scale == Scale::positive) REQUIRE(s.value > 0);
      if (metrics[s.metric].scale == Scale::rate) REQUIRE((s.value > 0 && s.value < 1));
    }
  }
  // 0.3 % of the reports have a null in one of six values.
  CHECK(static_cast<double>(nulls) / static_cast<double>(all) == Approx(0.003 / 6).epsilon(0.4));
}

TEST_CASE("reports come at each model's interval, some late, some never") {
  FleetShape shape;
  shape.missing = 0.1;
  shape.late = 0.1;
  Fleet fleet(shape, 9);
  const Tick until = 10 * day;
  std::vector<std::size_t> reports(shape.models);
  std::size_t late = 0, too_late = 0, all = 0;
  for (Tick t = 0; t < until; ++t) {
    Timestamp last{};
    for (const Sample& s : fleet.tick(t)) {
      if (s.metric != 0) continue;
      ++all;
      ++reports[s.model];
      CHECK(s.ts >= last);  // late reports come first, oldest first
      last = s.ts;
      const Tick behind = t - (s.ts - shape.start) / shape.tick;
      CHECK((s.ts - shape.start) % *fleet.topology().models[s.model].interval == Duration::zero());
      late += behind > 0;
      too_late += behind > 3;
    }
  }
  std::size_t expected = 0;
  for (std::size_t m = 0; m < reports.size(); ++m) {
    expected += static_cast<std::size_t>(until * shape.tick / *fleet.topology().models[m].interval);
  }
  // Independent gaps and runs each make half of the missing; the runs vary.
  CHECK(1 - static_cast<double>(all) / static_cast<double>(expected) == Approx(0.1).margin(0.02));
  CHECK(static_cast<double>(late) / static_cast<double>(all) == Approx(0.1).margin(0.01));
  CHECK(static_cast<double>(too_late) / static_cast<double>(all) == Approx(0.005).margin(0.002));
}

TEST_CASE("a deploy changes the version, and events say so") {
  Fleet fleet(plain(), 2);
  std::map<std::uint32_t, std::uint32_t> deploys;
  std::size_t events = 0;
  const Tick until = 28 * day;
  for (Tick t = 0; t < until; ++t) {
    std::set<std::string> announced;
    for (const Event& e : fleet.events(t)) {
      CHECK(e.kind == "deploy");
      CHECK(e.ts == fleet.time_of(t));
      announced.insert(e.subject);
      ++events;
    }
    for (const Sample& s : fleet.tick(t)) {
      const bool changed = deploys.count(s.model) && deploys[s.model] != s.deploy;
      // A slow model shows its new version at its next report.
      if (changed && fleet.topology().models[s.model].interval == std::chrono::minutes(10)) {
        CHECK(announced.count("model:" + fleet.topology().models[s.model].id) == 1);
      }
      deploys[s.model] = s.deploy;
    }
  }
  CHECK(events == 2 * 30);  // two slots of 14 days, 30 models
  for (const auto& [model, deploy] : deploys) CHECK(deploy == 2);
}

TEST_CASE("a deploy moves the levels of about half of the models") {
  FleetShape shape = plain();
  shape.models = 200;
  shape.deploy_shift = 5;
  FleetShape still = shape;
  still.deploy_shift = 0;
  Fleet moving(shape, 4);
  Fleet unmoved(still, 4);
  // Every model has been deployed once by then, and everything else is the same.
  const auto a = copy(moving.tick(14 * day));
  const auto b = copy(unmoved.tick(14 * day));
  REQUIRE(a.size() == b.size());
  std::set<std::uint32_t> moved;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].value != b[i].value) moved.insert(a[i].model);
  }
  CHECK(moved.size() > 70);
  CHECK(moved.size() < 130);
}

TEST_CASE("the lines are those of the input format") {
  FleetShape shape = plain();
  shape.models = 15;
  Fleet fleet(shape, 1);
  NdjsonWriter writer(fleet);
  Sample sample{0, 1, 2, from_millis(1740960000000), 0.25};
  std::string lines;
  writer.append(std::span(&sample, 1), lines);
  const Model& m = fleet.topology().models[0];
  CHECK(lines == R"({"ts":1740960000000,"model":")" + m.id +
                     R"(","metric":"null_rate","value":0.25,"labels":{"region":")" + m.region +
                     R"(","family":")" + m.family + R"(","team":")" + m.team + R"(","version":")" +
                     fleet.version(0, 2) + "\"}}\n");
  sample.value = null_value();
  sample.deploy = 3;
  lines.clear();
  writer.append(std::span(&sample, 1), lines);
  CHECK(lines.find(R"("value":null,)") != std::string::npos);
  CHECK(lines.find(fleet.version(0, 3)) != std::string::npos);

  shape.version_labels = false;
  Fleet unlabelled(shape, 1);
  lines.clear();
  NdjsonWriter(unlabelled).append(std::span(&sample, 1), lines);
  CHECK(lines.find("version") == std::string::npos);
}
