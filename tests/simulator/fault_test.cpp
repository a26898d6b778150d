#include "simulator/fault.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "schema/series.hpp"
#include "simulator/fleet.hpp"
#include "simulator/score.hpp"
#include "simulator/showcase.hpp"

using namespace muster;
using namespace muster::simulator;

namespace {

constexpr Tick first = 300, last = 400;

struct Change {
  std::set<std::string> models;
  std::set<std::string> metrics;
  Tick from = last, until = 0;
  std::size_t gone = 0, nulls = 0, repeats = 0, values = 0;
  std::map<std::pair<std::uint32_t, std::uint16_t>, std::vector<double>>
      shifts;  // on the scale's axis
};

double axis(const Sample& s) {
  if (metrics[s.metric].scale == Scale::positive) return std::log(s.value);
  if (metrics[s.metric].scale == Scale::rate) return std::log(s.value / (1 - s.value));
  return s.value;
}

// What a fault changes: the same fleet with it and without it, report by report.
Change change(const FleetShape& shape, std::uint64_t seed, const Fault& fault, Truth* truth) {
  Fleet with(shape, seed);
  Fleet without(shape, seed);
  const Result<Truth> injected = with.inject(fault);
  REQUIRE(injected);
  *truth = *injected;
  Change c;
  std::map<std::pair<std::uint32_t, std::uint16_t>, double> before;
  for (Tick t = first - 50; t < last + 50; ++t) {
    std::map<std::tuple<Timestamp, std::uint32_t, std::uint16_t>, Sample> faulty;
    for (const Sample& s : with.tick(t)) faulty.insert({{s.ts, s.model, s.metric}, s});
    for (const Sample& s : without.tick(t)) {
      const auto at = faulty.find({s.ts, s.model, s.metric});
      const bool gone = at == faulty.end();
      if (!gone &&
          (at->second.value == s.value || (is_null(at->second.value) && is_null(s.value)))) {
        before[{s.model, s.metric}] = s.value;
        continue;
      }
      const Tick tick = (s.ts - shape.start) / shape.tick;
      c.models.insert(with.topology().models[s.model].id);
      c.metrics.emplace(metrics[s.metric].id);
      c.from = std::min(c.from, tick);
      c.until = std::max(c.until, tick + 1);
      ++c.values;
      if (gone) {
        ++c.gone;
        continue;
      }
      const double now = at->second.value;
      c.nulls += is_null(now);
      c.repeats += before[{s.model, s.metric}] == now;
      before[{s.model, s.metric}] = now;
      // After the three ticks in which a fault comes.
      if (!is_null(now) && !is_null(s.value) && tick >= first + 3) {
        c.shifts[{s.model, s.metric}].push_back(axis(at->second) - axis(s));
      }
    }
  }
  return c;
}

template <class T>
std::set<T> set_of(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

}  // namespace

TEST_CASE("an upstream break shifts exactly the models it names") {
  Truth truth;
  const Change c =
      change({}, 8, {FaultKind::upstream_break, "src-clickstream", first, last, 1.2, 0.8}, &truth);
  CHECK(truth.kind == "upstream_break");
  CHECK(truth.root_cause == "src-clickstream");
  CHECK(c.models == set_of(truth.models));
  CHECK(c.metrics == set_of(truth.metrics));
  CHECK(c.from == first);
  CHECK(c.until == last);
  CHECK(truth.start == Fleet({}, 8).time_of(first));
  CHECK(truth.end == Fleet({}, 8).time_of(last));

  Fleet fleet({}, 8);
  const auto users = fleet.users("src-clickstream");
  std::set<std::string> dependants;
  for (const std::uint32_t m : users) dependants.insert(fleet.topology().models[m].id);
  CHECK(std::includes(dependants.begin(), dependants.end(), c.models.begin(), c.models.end()));
  // 80 % of the users are hit; within four standard deviations.
  const double n = static_cast<double>(users.size());
  CHECK(static_cast<double>(c.models.size()) == Approx(0.8 * n).margin(4 * std::sqrt(n * 0.16)));

  // The shift is constant, and about 1.2 of the metric's noise (0.7 to 1.4 of 0.22), times 0.7 to 1.3.
  for (const auto& [series, shifts] : c.shifts) {
    if (metrics[series.second].id != "psi_drift") continue;
    const auto [low, high] = std::minmax_element(shifts.begin(), shifts.end());
    CHECK(*high - *low < 1e-4);  // values are rounded to 1e-7 of some 0.05
    CHECK(*low > 1.2 * 0.22 * 0.7 * 0.7 - 1e-4);
    CHECK(*high < 1.2 * 0.22 * 1.4 * 1.3 + 1e-4);
  }
  CHECK(truth.shift > 0.8 * 1.2 * 0.7);
  CHECK(truth.shift < 1.2 * 1.3);
}

TEST_CASE("each kind of fault shows as what it is") {
  Truth truth;
  SECTION("a schema change makes predictions null") {
    const Change c =
        change({}, 3, {FaultKind::schema_change, "pipe-text-clean", first, last}, &truth);
    CHECK(c.models == set_of(truth.models));
    CHECK(c.metrics == set_of(truth.metrics));
    CHECK(c.nulls > c.models.size() * 50);  // seven of eight, of 100 ticks, some models slower
  }
  SECTION("a stale feed makes predictions repeat") {
    const Change c = change({}, 3, {FaultKind::stale_feed, "src-gps", first, last}, &truth);
    CHECK(c.models == set_of(truth.models));
    CHECK(c.metrics == std::set<std::string>{"prediction_mean", "psi_drift"});
    CHECK(c.repeats > c.models.size() * 50);
  }
  SECTION("a region's outage silences its models") {
    const Change c = change({}, 3, {FaultKind::region_outage, "apac", first, last, 1, 1}, &truth);
    CHECK(c.models == set_of(truth.models));
    for (const std::string& id : c.models) CHECK(id.find("-apac-") != std::string::npos);
    CHECK(c.gone == c.values);
    CHECK(truth.shift == 0);
  }
  SECTION("a package's regression slows its users down") {
    const Change c = change(
        {}, 3, {FaultKind::package_regression, "pkg-onnx-runtime 1.16.3", first, last}, &truth);
    CHECK(c.models == set_of(truth.models));
    CHECK(c.metrics.count("latency_p95_ms") == 1);
    CHECK(c.metrics == set_of(truth.metrics));
  }
  SECTION("a single model fails alone") {
    const std::string id = Fleet({}, 3).topology().models[17].id;
    const Change c = change({}, 3, {FaultKind::single_model, id, first, last, 1, 1}, &truth);
    CHECK(c.models == std::set<std::string>{id});
    CHECK(truth.root_cause == "model:" + id);
    CHECK(truth.shift > 2);
  }
  SECTION("a drift grows") {
    const Change c = change({}, 3, {FaultKind::slow_drift, "src-orders", first, last}, &truth);
    CHECK(c.models == set_of(truth.models));
    for (const auto& [series, shifts] : c.shifts) {
      if (shifts.size() < 90) continue;
      CHECK(std::abs(shifts[5]) < 0.25 * std::abs(shifts[80]));
    }
  }
  SECTION("what the graph does not know hits models that share nothing") {
    const Change c = change({}, 3, {FaultKind::outside_graph, "", first, last}, &truth);
    CHECK(c.models == set_of(truth.models));
    CHECK(truth.root_cause == "unknown");
    CHECK(c.models.size() >= 8);
    CHECK(c.models.size() < 50);
  }
}

TEST_CASE("faults add up, and what nobody uses cannot break") {
  Fleet fleet({}, 6);
  REQUIRE(fleet.inject({FaultKind::upstream_break, "src-orders", first, last}));
  REQUIRE(fleet.inject({FaultKind::upstream_break, "src-gps", first + 10, last}));
  CHECK(fleet.truth().size() == 2);
  CHECK(fleet.truth()[1].id == 2);
  const auto refused = fleet.inject({FaultKind::upstream_break, "src-nothing", first, last});
  REQUIRE(!refused);
  CHECK(refused.error().where == "fault.cause");
  CHECK(!fleet.inject({FaultKind::upstream_break, "src-gps", 10, 10}));
  CHECK(fleet.truth().size() == 2);
}

TEST_CASE("forgetting a fault that is over changes nothing that is still to come") {
  Fleet forgets({}, 6), remembers({}, 6);
  for (Fleet* fleet : {&forgets, &remembers}) {
    REQUIRE(fleet->inject({FaultKind::upstream_break, "src-orders", 10, 40}));
    REQUIRE(fleet->inject({FaultKind::upstream_break, "src-gps", 20, last}));
  }
  forgets.forget_before(40 + late_max);
  CHECK(forgets.truth().size() == 2);
  forgets.forget_before(40 + late_max + 1);
  REQUIRE(forgets.truth().size() == 1);
  CHECK(forgets.truth()[0].root_cause == "src-gps");
  for (Tick t = 40 + late_max + 1; t < 120; ++t) {
    const auto a = forgets.tick(t), b = remembers.tick(t);
    REQUIRE(
        std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Sample& x, const Sample& y) {
          return x.model == y.model && x.ts == y.ts && (x.value == y.value || is_null(x.value));
        }));
  }
  // The next one has an id of its own, so other victims.
  CHECK(forgets.inject({FaultKind::upstream_break, "src-gps", 200, 210})->id == 3);
}

TEST_CASE("a plan fills its weeks with faults of all kinds") {
  Fleet fleet({}, 21);
  const FaultPlan plan{14 * 144, 14 * 144 + 20 * 7 * 144};
  const auto faults = plan_faults(fleet, plan);
  // 20 weeks at 7 a week, and 15 % of them with a second one.
  CHECK(faults.size() > 140);
  CHECK(faults.size() < 180);
  std::map<FaultKind, int> kinds;
  for (const Fault& fault : faults) {
    ++kinds[fault.kind];
    CHECK(fault.first >= plan.first);
    CHECK(fault.first < plan.last);
    REQUIRE(fleet.inject(fault));
    if (fault.kind != FaultKind::single_model && fault.kind != FaultKind::outside_graph) {
      CHECK(fleet.users(fault.cause).size() >= 8);
    }
  }
  CHECK(kinds.size() == fault_kinds.size());
  CHECK(faults.size() == plan_faults(fleet, plan).size());
}

TEST_CASE("a showcase keeps its faults apart and its fleet in one piece") {
  FleetShape shape;
  shape.models = 240;
  Fleet fleet(shape, 7);
  Showcase showcase(fleet, {});
  Tick t = 4032;
  std::vector<Fault> faults;
  for (std::uint32_t id = 1; id <= 60; ++id) {
    faults.push_back(showcase.invent(t, id));
    const Fault& fault = faults.back();
    const auto truth = fleet.inject(fault);
    REQUIRE(truth);
    CHECK(truth->id == id);
    CHECK(fault.first == t);
    CHECK(fault.last > t + 60);
    CHECK(fault.last <= t + 150);
    // More than a fifth would move the fleet's own median; a region's outage moves nothing, it is silence.
    if (fault.kind != FaultKind::region_outage) CHECK(truth->models.size() < 240 / 5);
    const Tick next = showcase.next_after(t, id);
    CHECK(next - t >= 60);
    CHECK(next - t <= 120);
    t = next;
  }
  CHECK(faults[0].kind == FaultKind::upstream_break);
  CHECK(faults[0].cause == "src-clickstream");
  for (std::size_t i = 1; i < faults.size(); ++i) {
    if (!faults[i].cause.empty()) CHECK(faults[i].cause != faults[i - 1].cause);
  }
  // What a button asks for comes.
  for (const FaultKind kind : fault_kinds) CHECK(showcase.invent(kind, t, 99).kind == kind);
}

TEST_CASE("kinds have words that lead back to them") {
  for (const FaultKind kind : fault_kinds) {
    CHECK(fault_kind(to_word(kind)) == kind);
    CHECK(!to_phrase(kind).empty());
  }
  CHECK(!fault_kind("gremlins"));
}

TEST_CASE("truth survives its file") {
  Fleet fleet({}, 6);
  REQUIRE(fleet.inject({FaultKind::stale_feed, "src-orders", first, last}));
  const auto read = parse_truth(to_json(fleet.truth()));
  REQUIRE(read);
  REQUIRE(read->size() == 1);
  const Truth& a = fleet.truth()[0];
  const Truth& b = read->front();
  CHECK((b.id == a.id && b.kind == a.kind && b.root_cause == a.root_cause && b.start == a.start &&
         b.end == a.end));
  CHECK((b.models == a.models && b.metrics == a.metrics));
  CHECK(b.shift == Approx(a.shift));

  // The other form that is read: `affected`, `mean_shift_in_sigma`, seconds.
  const auto other =
      parse_truth(R"([{"id":3,"kind":"wx_stuck","root_cause":"weather:6","affected":["a","b"],
      "start":1398787200,"end":1398916800,"mean_shift_in_sigma":0.44}])");
  REQUIRE(other);
  CHECK(other->front().start == from_seconds(1398787200));
  CHECK(other->front().models == std::vector<std::string>{"a", "b"});
  CHECK(other->front().shift == 0.44);

  CHECK(parse_truth("{}").error().where == "truth");
  CHECK(parse_truth(R"([{"root_cause":"x","start":5}])").error().where == "truth[0]");
  CHECK(parse_truth(R"([{"start":5,"end":6}])").error().where == "truth[0].root_cause");
}
