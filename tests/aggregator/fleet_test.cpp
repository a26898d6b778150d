#include "aggregator/fleet.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <set>

using namespace muster;
using namespace muster::aggregator;

namespace {

constexpr std::int64_t monday = 1'740'960'000;  // 2025-03-03 00:00 UTC
constexpr int per_day = 144;
constexpr int n_models = 48;

// 48 models in 4 families over three sources (16 each), six pipelines (8 each) and a package that half of each
// source's users have.
Topology topology() {
  std::string json = R"({"format":"muster-topology/1","models":[)";
  std::string edges;
  for (int m = 0; m < n_models; ++m) {
    const std::string id = "m" + std::to_string(100 + m);
    json += (m == 0 ? "" : ",") + std::string("{\"id\":\"") + id + "\",\"family\":\"f" +
            std::to_string(m % 4) + "\",\"interval_s\":600}";
    for (const std::string& to :
         {"pipe-" + std::to_string(m / 8), m % 2 == 0 ? std::string("pkg") : std::string()})
      if (!to.empty())
        edges += (edges.empty() ? "" : ",") + std::string("{\"from\":\"") + id + "\",\"to\":\"" +
                 to + "\"}";
  }
  for (int p = 0; p < 6; ++p)
    edges += ",{\"from\":\"pipe-" + std::to_string(p) + "\",\"to\":\"src-" + std::to_string(p / 2) +
             "\"}";
  json +=
      R"(],"dependencies":[{"id":"src-0","kind":"source"},{"id":"src-1","kind":"source"},{"id":"src-2","kind":"source"},{"id":"pkg","kind":"package"},
    {"id":"pipe-0","kind":"feature_pipeline"},{"id":"pipe-1","kind":"feature_pipeline"},
    {"id":"pipe-2","kind":"feature_pipeline"},{"id":"pipe-3","kind":"feature_pipeline"},
    {"id":"pipe-4","kind":"feature_pipeline"},{"id":"pipe-5","kind":"feature_pipeline"}],"edges":[)" +
      edges + "]}";
  auto parsed = parse_topology(json);
  REQUIRE(parsed);
  return *parsed;
}

Settings quick() {
  Settings s;
  s.warmup_days = 5;
  s.series_warmup_days = 1;
  s.workers = 1;
  return s;
}

struct Sample {
  int model;
  int metric;
  int tick;
  double value;
  std::string version;
};

using Shift = std::function<double(int model, int metric, int tick)>;

// Daily season, AR(1) of .4, unit innovations: a number for each (model, metric, tick), in any order of asking.
std::vector<std::vector<Sample>> stream(int days, const Shift& shift, unsigned seed = 1,
                                        const std::function<std::string(int, int)>& version = {}) {
  std::vector<std::vector<Sample>> out(static_cast<std::size_t>(days * per_day));
  std::mt19937 random(seed);
  std::normal_distribution<double> noise;
  std::vector<double> ar(n_models * 2);
  for (int t = 0; t < days * per_day; ++t) {
    for (int m = 0; m < n_models; ++m) {
      for (int k = 0; k < 2; ++k) {
        double& a = ar[static_cast<std::size_t>(2 * m + k)];
        a = 0.4 * a + noise(random);
        const double season = std::sin(2 * 3.14159265 * t / per_day);
        out[static_cast<std::size_t>(t)].push_back(
            {m, k, t, 50 * (k - 0.5) + season + a + shift(m, k, t), version ? version(m, t) : ""});
      }
    }
  }
  return out;
}

Timestamp at(int tick) {
  return from_seconds(monday + 600LL * (tick + 1));
}

void feed(Fleet& fleet, const Sample& s) {
  SeriesIdentity id;
  id.model = "m" + std::to_string(100 + s.model);
  id.metric = s.metric == 0 ? "psi_drift" : "null_rate";
  id.attributes.version = s.version;
  fleet.observe(fleet.series(id), at(s.tick), s.value);
}

std::vector<Finding> run(Fleet& fleet, const std::vector<std::vector<Sample>>& samples,
                         std::size_t from, std::size_t to) {
  std::vector<Finding> out;
  for (std::size_t t = from; t < to; ++t) {
    for (const Sample& s : samples[t]) feed(fleet, s);
    for (Finding& f : fleet.advance()) out.push_back(std::move(f));
  }
  return out;
}

std::vector<Finding> run(Fleet& fleet, const std::vector<std::vector<Sample>>& samples) {
  auto out = run(fleet, samples, 0, samples.size());
  for (Finding& f : fleet.finish()) out.push_back(std::move(f));
  return out;
}

std::vector<Incident> opened(const std::vector<Finding>& findings) {
  std::vector<Incident> out;
  for (const Finding& f : findings)
    if (f.what == Finding::What::opened) out.push_back(f.incident);
  return out;
}

std::string text(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& f : findings) out += to_json(f) + "\n";
  return out;
}

constexpr int onset = 9 * per_day;

double source_shift(int model, int metric, int tick) {
  return model < 16 && metric == 1 && tick >= onset && tick < onset + per_day ? 2.0 : 0.0;
}

}  // namespace

TEST_CASE("a quiet fleet has no incident") {
  Fleet fleet(quick(), topology());
  const auto findings = run(fleet, stream(14, [](int, int, int) { return 0; }));
  CHECK(opened(findings).empty());
  CHECK(fleet.counters().ticks == 14 * per_day);
  CHECK(fleet.counters().series == 2 * n_models);
  const FleetView view = fleet.view();
  CHECK_FALSE(view.learning);
  CHECK(view.models.size() == n_models);
  CHECK(view.heat.size() == view.models.size() * view.heat_ticks.size());
  CHECK(view.heat_ticks.size() == 144);
}

TEST_CASE(
    "a source that breaks is one incident that names it, with all that a page needs, and it "
    "resolves") {
  Fleet fleet(quick(), topology());
  Event deploy;
  deploy.ts = at(onset - 6);
  deploy.kind = "deploy";
  deploy.subject = "dependency:src-0";
  deploy.title = "src-0 v88";
  fleet.observe(deploy);
  const auto findings = run(fleet, stream(12, source_shift));
  const auto incidents = opened(findings);
  REQUIRE(incidents.size() == 1);
  const Incident& i = incidents.front();
  CHECK(i.id == "INC-0001");
  CHECK(i.cause == "src-0");
  CHECK(i.cause_kind == "source");
  CHECK(i.paged);
  CHECK(i.opened_at > at(onset));
  CHECK(i.opened_at < at(onset + 18));
  CHECK(i.started_at <= i.opened_at);
  CHECK(i.evidence >= i.needed);
  CHECK(i.members == 16);
  CHECK(i.expected_by_chance == Approx(0.8));
  CHECK(i.suspects.front().posterior > 0.5);
  double total = 0;
  for (const Suspect& s : i.suspects) total += s.posterior;
  CHECK(total <= 1.0001);
  for (const std::string& model : i.models) CHECK(model < "m116");
  CHECK(i.models.size() >= 8);
  CHECK(std::find(i.metrics.begin(), i.metrics.end(), "null_rate") != i.metrics.end());
  CHECK(i.title.find("src-0: ") == 0);
  CHECK(i.title.find("null_rate up") != std::string::npos);
  CHECK(i.first_look.find("freshness, volume and schema of src-0") != std::string::npos);
  CHECK(i.first_look.find("src-0 v88") != std::string::npos);
  REQUIRE(i.events.size() == 1);
  CHECK(i.timeline.size() == 144);
  REQUIRE(!i.affected.empty());
  const AffectedSeries& worst = i.affected.front();
  REQUIRE(worst.ts.size() == 144);
  CHECK(worst.value.size() == worst.ts.size());
  CHECK(worst.low.size() == worst.ts.size());
  // The band holds about 95 % of the day before.
  int inside = 0;
  for (std::size_t p = 0; p < 120; ++p)
    inside += *worst.value[p] > worst.low[p] && *worst.value[p] < worst.high[p] ? 1 : 0;
  CHECK(inside > 100);

  const auto resolved = std::find_if(findings.begin(), findings.end(), [](const Finding& f) {
    return f.what == Finding::What::resolved;
  });
  REQUIRE(resolved != findings.end());
  CHECK(resolved->at > at(onset + per_day));
  CHECK(resolved->at < at(onset + per_day + 60));
  CHECK(fleet.open_incidents().empty());
  // The sequence of an incident's findings is dense.
  std::uint64_t sequence = 0;
  for (const Finding& f : findings) CHECK(f.sequence == ++sequence);
}

TEST_CASE("two causes at once are two incidents") {
  Fleet fleet(quick(), topology());
  const auto findings = run(fleet, stream(11, [](int m, int k, int t) {
                              if (t < onset) return 0.0;
                              if (m < 16 && k == 1) return 2.5;
                              return m >= 40 && k == 0 ? -3.0 : 0.0;
                            }));
  std::set<std::string> causes;
  for (const Incident& i : opened(findings)) causes.insert(i.cause);
  CHECK(causes == std::set<std::string>{"pipe-5", "src-0"});
}

TEST_CASE("one model alone is not blamed on what it shares") {
  Fleet fleet(quick(), topology());
  const auto incidents = opened(
      run(fleet, stream(11, [](int m, int, int t) { return m == 5 && t >= onset ? 3.0 : 0.0; })));
  REQUIRE(incidents.size() == 1);
  CHECK(incidents.front().cause == "model:m105");
  CHECK(incidents.front().models == std::vector<std::string>{"m105"});
}

TEST_CASE("a redeployment with its label is no incident, without it it is") {
  const auto shift = [](int m, int, int t) { return m == 5 && t >= onset ? 4.0 : 0.0; };
  Fleet labelled(quick(), topology());
  CHECK(
      opened(run(labelled, stream(11, shift, 1,
                                  [](int m, int t) { return m == 5 && t >= onset ? "v2" : "v1"; })))
          .empty());
  Fleet unlabelled(quick(), topology());
  CHECK(opened(run(unlabelled, stream(11, shift))).size() == 1);
}

TEST_CASE("what everybody sees is not an incident of one dependency") {
  Fleet fleet(quick(), topology());
  CHECK(opened(run(fleet,
                   stream(11, [](int, int k, int t) { return k == 0 && t >= onset ? 3.0 : 0.0; })))
            .empty());
}

TEST_CASE("learning: no page before the warm-up is over") {
  Fleet fleet(quick(), topology());
  const auto samples =
      stream(5, [](int m, int, int t) { return m < 16 && t >= 4 * per_day ? 3.0 : 0.0; });
  CHECK(opened(run(fleet, samples, 0, samples.size() - 5)).empty());
  CHECK(fleet.view().learning);
}

TEST_CASE("one worker and four give the same bits") {
  const auto samples = stream(11, source_shift);
  Settings four = quick();
  four.workers = 4;
  Fleet a(quick(), topology());
  Fleet b(four, topology());
  const auto from_a = text(run(a, samples));
  CHECK(from_a == text(run(b, samples)));
  CHECK_FALSE(from_a.empty());
  CHECK(a.snapshot() == b.snapshot());
}

TEST_CASE("how memory is laid out does not show in what is decided") {
  // A change here is a change of what people are told: it belongs with figures of bench_detection. The findings on
  // nine invented fleets and a recorded one are compared by bench_detection --findings (bench/README.md).
  const auto samples = stream(12, [](int m, int k, int t) {
    if (t < onset || t >= onset + per_day) return 0.0;
    if (m < 16 && k == 1) return 2.5;
    return m >= 40 && k == 0 ? -3.0 : 0.0;
  });
  Fleet fleet(quick(), topology());
  std::string decisions;
  for (const Finding& f : run(fleet, samples)) {
    const Incident& i = f.incident;
    decisions += std::to_string((f.at - at(0)).count() / 600'000'000) + " " + i.id + " " + i.cause +
                 " " + std::to_string(i.moved) + "/" + std::to_string(i.members) + "\n";
  }
  CHECK(decisions ==
        "1300 INC-0001 src-0 16/16\n"
        "1303 INC-0002 pipe-5 8/8\n"
        "1448 INC-0001 src-0 16/16\n"
        "1449 INC-0002 pipe-5 8/8\n");
}

TEST_CASE("a restored fleet goes on as if it had never stopped") {
  const auto samples = stream(11, source_shift);
  Fleet through(quick(), topology());
  const auto expected = run(through, samples);
  // In quiet, in the middle of a tick, while an incident is open.
  for (const std::size_t stop :
       {std::size_t{3 * per_day + 5}, std::size_t{onset + 4}, std::size_t{onset + 40}}) {
    Fleet first(quick(), topology());
    auto findings = run(first, samples, 0, stop);
    for (std::size_t s = 0; s < 20; ++s) feed(first, samples[stop][s]);
    auto second = Fleet::restore(quick(), topology(), first.snapshot());
    REQUIRE(second);
    CHECK(second->snapshot() == first.snapshot());
    for (std::size_t s = 20; s < samples[stop].size(); ++s) feed(*second, samples[stop][s]);
    for (Finding& f : second->advance()) findings.push_back(std::move(f));
    for (Finding& f : run(*second, samples, stop + 1, samples.size()))
      findings.push_back(std::move(f));
    for (Finding& f : second->finish()) findings.push_back(std::move(f));
    CHECK(text(findings) == text(expected));
    CHECK(second->snapshot() == through.snapshot());
  }
}

TEST_CASE("series and aliases are found wherever they stand") {
  // Two versions of two models whose metrics become known in turn and against the order of their words, so that
  // most stand outside of their model's run; a bucket between them is not judged.
  Fleet fleet(quick(), Topology{});
  std::map<std::string, Fleet::SeriesRef> refs;
  const auto ref = [&](int model, int metric, const std::string& version) {
    SeriesIdentity id{.model = "m" + std::to_string(model), .metric = "k" + std::to_string(metric)};
    id.attributes.version = version;
    return fleet.series(id);
  };
  for (int k = 9; k >= 0; --k)
    for (const char* version : {"v1", "v2"})
      for (int m = 0; m < 2; ++m)
        refs[std::to_string(m) + "/" + std::to_string(k) + "/" + version] = ref(m, k, version);
  const auto bucket = fleet.series({.model = "m0", .metric = "b", .kind = Kind::bucket});
  for (int m = 0; m < 2; ++m) ref(m, 10, "v1");
  std::set<Fleet::SeriesRef> distinct;
  for (const auto& [name, of] : refs) distinct.insert(of);
  CHECK(distinct.size() == 2 * 2 * 10);
  CHECK_FALSE(distinct.contains(bucket));
  CHECK(fleet.counters().series == 2 * 11);
  auto again = Fleet::restore(quick(), Topology{}, fleet.snapshot());
  REQUIRE(again);
  std::swap(fleet, *again);
  for (int k = 0; k < 10; ++k)
    for (const char* version : {"v1", "v2"})
      for (int m = 0; m < 2; ++m)
        CHECK(ref(m, k, version) ==
              refs[std::to_string(m) + "/" + std::to_string(k) + "/" + version]);
  CHECK(fleet.counters().series == 2 * 11);
  fleet.observe(bucket, at(1), 1);
  CHECK(fleet.counters().not_judged == 1);
}

TEST_CASE("a damaged snapshot is refused") {
  Fleet fleet(quick(), topology());
  std::string bytes = fleet.snapshot();
  CHECK(Fleet::restore(quick(), topology(), bytes));
  bytes.back() = static_cast<char>(bytes.back() + 1);
  CHECK_FALSE(Fleet::restore(quick(), topology(), bytes));
  CHECK_FALSE(Fleet::restore(quick(), topology(), "something else"));
  // Of the layout before: the log is read again.
  bytes = fleet.snapshot();
  bytes[bytes.find('/') + 1] = '1';
  CHECK_FALSE(Fleet::restore(quick(), topology(), bytes));
}

TEST_CASE("neither the order within the lateness nor the calls of advance show in the findings") {
  auto samples = stream(10, source_shift);
  Fleet plain(quick(), topology());
  const auto expected = text(run(plain, samples));
  REQUIRE_FALSE(expected.empty());

  // A series that is alone would number itself first; shuffled across two ticks, advanced once a day.
  std::vector<Sample> all;
  std::mt19937 random(9);
  for (std::size_t t = 0; t < samples.size(); t += 2) {
    std::vector<Sample> two = samples[t];
    two.insert(two.end(), samples[t + 1].begin(), samples[t + 1].end());
    std::shuffle(two.begin(), two.end(), random);
    all.insert(all.end(), two.begin(), two.end());
  }
  Fleet shuffled(quick(), topology());
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < all.size(); ++i) {
    feed(shuffled, all[i]);
    if (i % (2 * n_models * per_day) == 0)
      for (Finding& f : shuffled.advance()) findings.push_back(std::move(f));
  }
  for (Finding& f : shuffled.finish()) findings.push_back(std::move(f));
  CHECK(text(findings) == expected);
  CHECK(shuffled.view().models == plain.view().models);
  CHECK(shuffled.view().heat == plain.view().heat);
  CHECK(shuffled.counters().late == 0);
}

TEST_CASE("what happens in history is found and pages nobody") {
  const auto samples = stream(11, source_shift);
  Settings settings = quick();
  settings.pages_from = at(onset + per_day);
  Fleet fleet(settings, topology());
  const auto incidents = opened(run(fleet, samples));
  REQUIRE_FALSE(incidents.empty());
  for (const Incident& i : incidents) CHECK(i.paged == (i.opened_at >= *settings.pages_from));
  CHECK_FALSE(incidents.front().paged);
  CHECK(fleet.view().ledger.since == *settings.pages_from);
}

TEST_CASE("a model is seen from its first sample on") {
  Fleet fleet(quick(), Topology{});
  CHECK(fleet.view().models.empty());
  feed(fleet, {3, 0, 0, 1.5, "v7"});
  fleet.advance();
  const FleetView view = fleet.view();
  REQUIRE(view.models.size() == 1);
  CHECK(view.models[0].id == "m103");
  CHECK(view.models[0].state == ModelView::State::learning);
  CHECK(view.models[0].last_seen == at(0));
  CHECK(view.models[0].version == "v7");
  CHECK(view.at == at(0));
}

TEST_CASE("a model that comes between two ticks is shown as learning") {
  Fleet fleet(quick(), topology());
  const auto samples = stream(1, [](int, int, int) { return 0.0; });
  for (int t = 0; t < 20; ++t) {
    for (const Sample& s : samples[static_cast<std::size_t>(t)])
      if (s.model < n_models - 1) feed(fleet, s);
    fleet.advance();
  }
  // Its interval is declared, so its scale is known; it joins that with the tick that is still open.
  feed(fleet, {n_models - 1, 0, 20, 1.5, "v1"});
  const FleetView view = fleet.view();
  REQUIRE(view.models.size() == n_models);
  CHECK(view.models.back().id == "m147");
  CHECK(view.models.back().state == ModelView::State::learning);
}

TEST_CASE("an event that is told twice is one") {
  Fleet fleet(quick(), topology());
  Event deploy;
  deploy.ts = at(5);
  deploy.kind = "deploy";
  deploy.subject = "model:m101";
  deploy.title = "v8";
  fleet.observe(deploy);
  fleet.observe(deploy);
  deploy.title = "v9";
  fleet.observe(deploy);
  run(fleet, stream(1, [](int, int, int) { return 0.0; }));
  CHECK(fleet.view().recent_events.size() == 2);
}

TEST_CASE("late samples within three intervals count, later ones are counted and dropped") {
  Fleet fleet(quick(), topology());
  const SeriesIdentity id{.model = "m100", .metric = "psi_drift"};
  const auto ref = fleet.series(id);
  for (int t = 0; t < 10; ++t) fleet.observe(ref, at(t), t);
  fleet.advance();
  CHECK(fleet.counters().ticks == 7);  // 9 - 3 and the one before
  fleet.observe(ref, at(7), 1);
  CHECK(fleet.counters().late == 0);
  fleet.observe(ref, at(6), 1);
  CHECK(fleet.counters().late == 1);
  fleet.finish();
  CHECK(fleet.counters().duplicates == 1);  // tick 7 had one
}

TEST_CASE("a model whose interval is not said is read at its own pace") {
  Fleet fleet(quick(), Topology{});
  const auto hourly = fleet.series({.model = "a", .metric = "x"});
  const auto minutely = fleet.series({.model = "b", .metric = "x"});
  for (int minute = 0; minute < 24 * 60; ++minute) {
    const Timestamp t = from_seconds(monday + 60LL * (minute + 1));
    fleet.observe(minutely, t, minute % 7);
    if (minute % 60 == 59) fleet.observe(hourly, t, minute % 11);
    fleet.advance();
  }
  fleet.finish();
  // 24 ticks of an hour, 1440 of a minute.
  CHECK(fleet.counters().ticks == 24 + 1440);
  CHECK(fleet.counters().late == 0);
  CHECK(fleet.counters().before_interval == 0);
}

TEST_CASE("declared sets and single series are one path") {
  const auto samples = stream(6, [](int, int, int) { return 0; });
  Fleet one(quick(), topology());
  Fleet sets(quick(), topology());
  std::vector<SeriesSet> declared;
  for (int m = 0; m < n_models; ++m) {
    SeriesSet set;
    set.model = "m" + std::to_string(100 + m);
    for (const char* metric : {"psi_drift", "null_rate"})
      set.series.push_back({.id = series_id(set.model, metric), .metric = metric});
    set.id = set_id(set);
    sets.declare(set);
    declared.push_back(set);
  }
  LogRows unknown;
  unknown.rows.push_back({.set = SetId{1}, .ts = at(0), .first = 0, .count = 1});
  unknown.values = {1};
  sets.observe(unknown);
  CHECK(sets.counters().unknown_set == 1);
  for (const auto& tick : samples) {
    LogRows rows;
    for (int m = 0; m < n_models; ++m) {
      rows.rows.push_back({.set = declared[static_cast<std::size_t>(m)].id,
                           .ts = at(tick.front().tick),
                           .first = static_cast<std::uint32_t>(rows.values.size()),
                           .count = 2});
      for (int k = 0; k < 2; ++k)
        rows.values.push_back(tick[static_cast<std::size_t>(2 * m + k)].value);
    }
    rows.positions.resize(rows.values.size());
    sets.observe(rows);
    sets.advance();
  }
  sets.finish();
  run(one, samples);
  const FleetView a = one.view();
  const FleetView b = sets.view();
  CHECK(a.models == b.models);
  CHECK(a.heat == b.heat);
}

TEST_CASE("counters are judged as rates, and a reset is not a drop") {
  Settings settings = quick();
  Fleet fleet(settings, Topology{});
  std::mt19937 random(4);
  std::normal_distribution<double> noise;
  std::vector<double> total(20);
  std::vector<Finding> findings;
  for (int t = 0; t < 9 * per_day; ++t) {
    for (int m = 0; m < 20; ++m) {
      double& c = total[static_cast<std::size_t>(m)];
      c += 600 * (10 + noise(random));
      if (t == 7 * per_day && m == 3) c = 5;
      const auto ref = fleet.series(
          {.model = "m" + std::to_string(m), .metric = "requests_total", .kind = Kind::counter});
      fleet.observe(ref, at(t), c);
    }
    for (Finding& f : fleet.advance()) findings.push_back(std::move(f));
  }
  CHECK(opened(findings).empty());
  for (const ModelView& m : fleet.view().models) CHECK(std::abs(m.worst_sigma) < 3);
}

TEST_CASE("silence, a flat line and a limit are seen from the first hours") {
  Settings settings = quick();
  settings.limits.push_back({.metric = "feature_age*", .high = 100});
  Fleet fleet(settings, Topology{});
  std::mt19937 random(4);
  std::normal_distribution<double> noise;
  for (int t = 0; t < 72; ++t) {
    for (int m = 0; m < 3; ++m) {
      if (m == 1 && t > 60) continue;
      const auto ref =
          fleet.series({.model = "m" + std::to_string(m), .metric = "feature_age_seconds"});
      fleet.observe(ref, at(t),
                    m == 0 && t > 40   ? 50
                    : m == 2 && t > 66 ? 130
                                       : 50 + noise(random));
    }
    fleet.advance();
  }
  std::set<std::string> kinds;
  for (const StaticFinding& f : fleet.view().static_findings) kinds.insert(f.kind + " " + f.model);
  CHECK(kinds == std::set<std::string>{"flat m0", "no_data m1", "limit m2"});
}

TEST_CASE("a new topology while running keeps what is known") {
  const auto samples = stream(11, source_shift);
  Fleet fleet(quick(), topology());
  auto findings = run(fleet, samples, 0, onset - 10);
  Topology other = topology();
  other.dependencies.push_back({.id = "late", .kind = "source"});
  other.edges.push_back({.from = "m100", .to = "late"});
  fleet.apply(other);
  for (Finding& f : run(fleet, samples, onset - 10, samples.size()))
    findings.push_back(std::move(f));
  REQUIRE(opened(findings).size() == 1);
  CHECK(opened(findings).front().cause == "src-0");
}

TEST_CASE("a region whose weekend begins before UTC's does not page each Friday") {
  // Nine hours ahead, and weekends at a third of the working day's traffic. Half of the fleet lives by UTC.
  Settings settings = quick();
  settings.warmup_days = 17;
  Fleet fleet(settings, topology());
  std::mt19937 random(6);
  std::normal_distribution<double> noise;
  std::vector<Finding> findings;
  for (int t = 0; t < 32 * per_day + 20 * per_day / 24; ++t) {
    for (int m = 0; m < n_models; ++m) {
      const int local = t + (m % 8 < 4 ? 9 * per_day / 24 : 0);
      const bool weekend = local / per_day % 7 >= 5;
      feed(fleet, {m, 0, t, (weekend ? 3.0 : 9.0) + noise(random), ""});
    }
    for (Finding& f : fleet.advance()) findings.push_back(std::move(f));
  }
  CHECK(opened(findings).empty());
  // It is Friday 20:00 UTC of the fifth week: six sigma out for those who are ahead, if nobody knew.
  for (const ModelView& m : fleet.view().models) CHECK(std::abs(m.worst_sigma) < 3.5);
}
