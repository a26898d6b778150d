#include "collector/decode/statsd.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "schema/mapping.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::decode;

namespace {

constexpr Timestamp now{1'700'000'000'000'000};

struct One {
  double value = 0;
  Kind kind = Kind::gauge;
  friend bool operator==(const One&, const One&) = default;
};
using Samples = std::map<std::string, One>;
Samples flushed(StatsdWindow& window) {
  const SampleBatch batch = window.flush(now);
  Samples out;
  for (const RawSeries& series : batch.series) {
    const auto identity = batch.identify(series.labels, Mapping());
    INFO((identity ? "" : identity.error().what));
    REQUIRE(identity);
    CHECK(batch.points[series.first].ts == now);
    out[identity->model + " " + identity->metric] = {batch.points[series.first].value,
                                                     identity->kind};
  }
  return out;
}
Samples of(std::string_view datagram) {
  StatsdWindow window;
  window.take(datagram);
  INFO(window.last_rejected());
  CHECK(window.counters().rejected == 0);
  return flushed(window);
}

}  // namespace

// By hand from the README of statsd and DogStatsD's datagram format.

TEST_CASE("statsd: counters are increases, by their sample rate") {
  CHECK(of("hits:1|c\nhits:2|c\nhits:3|c|@0.5\n") == Samples{{"unknown hits", {9, Kind::delta}}});
  StatsdWindow window;
  window.take("a:1|c");
  CHECK(flushed(window) == Samples{{"unknown a", {1, Kind::delta}}});
  CHECK(flushed(window).empty());
  window.take("a:-2|c");
  CHECK(flushed(window) == Samples{{"unknown a", {-2, Kind::delta}}});
}

TEST_CASE("statsd: gauges keep their value for what is added to it") {
  StatsdWindow window;
  window.take("g:10|g\ng:-4|g\ng:+1.5|g");
  CHECK(flushed(window) == Samples{{"unknown g", {7.5, Kind::gauge}}});
  CHECK(flushed(window).empty());
  window.take("g:+1|g");
  CHECK(flushed(window) == Samples{{"unknown g", {8.5, Kind::gauge}}});
}

TEST_CASE("statsd: timers become count, sum and quantiles") {
  std::string datagram;
  for (int i = 1; i <= 100; ++i) datagram += "t:" + std::to_string(i) + "|ms\n";
  // By hand: of 1 to 100 the 50th, 90th and 99th.
  CHECK(of(datagram) == Samples{{"unknown t_count", {100, Kind::delta}},
                                {"unknown t_sum", {5050, Kind::delta}},
                                {"unknown t{quantile=\"0.5\"}", {50, Kind::gauge}},
                                {"unknown t{quantile=\"0.9\"}", {90, Kind::gauge}},
                                {"unknown t{quantile=\"0.99\"}", {99, Kind::gauge}}});
  const Samples sampled = of("t:4:6|h|@0.1");
  CHECK(sampled.at("unknown t_count").value == Approx(20));
  CHECK(sampled.at("unknown t_sum").value == Approx(100));
  CHECK(sampled.at("unknown t{quantile=\"0.5\"}").value == 4);
}

TEST_CASE("statsd: a set counts its different ones") {
  CHECK(of("u:a|s\nu:b|s\nu:a|s") == Samples{{"unknown u", {2, Kind::gauge}}});
}

TEST_CASE("statsd: DogStatsD's tags are labels, and names become metric names") {
  CHECK(of("app.latency-p99:1|g|#model:churn,url:http://x:1/,canary,empty:|c:id|T1700000000\n"
           "app.latency-p99:2|g|#model:other\r\n") ==
        Samples{{"churn app_latency_p99{canary=\"true\",url=\"http://x:1/\"}", {1, Kind::gauge}},
                {"other app_latency_p99", {2, Kind::gauge}}});
  CHECK(of("9lives:1|g|#a.b:c") == Samples{{"unknown _9lives{a_b=\"c\"}", {1, Kind::gauge}}});
  StatsdWindow window;
  window.take("_e{5,4}:title|text\n_sc|name|0\n");
  CHECK(window.counters().skipped == 2);
  CHECK(window.counters().rejected == 0);
}

TEST_CASE("statsd: what is not of this form is counted and shown") {
  for (const auto* bad :
       {"x", "x:", ":1|c", "x:1", "x:1|", "x:1|z", "x:y|c", "x:1|c|@2", "x:1|c|@0", "x:1|c|@x",
        "x:nan|g", "x:1|c|#__name__:y", "x:1|c|#a:1,a:2", "x:1|c|y", "x:1|c|#:v"}) {
    INFO(bad);
    StatsdWindow window;
    window.take(bad);
    CHECK(window.counters().rejected == 1);
    CHECK(window.last_rejected().starts_with(bad));
    CHECK(flushed(window).empty());
  }
}

TEST_CASE("statsd: memory is bounded, and what is left out is counted") {
  StatsdSettings settings;
  settings.keys_max = 10;
  settings.values_max = 100;
  settings.distinct_max = 5;
  settings.values_in_all_max = 110;
  settings.idle_windows_max = 2;
  StatsdWindow window(settings);
  for (int i = 0; i < 30; ++i) window.take("k" + std::to_string(i) + ":1|c");
  CHECK(window.keys() == 10);
  CHECK(window.counters().over_limit == 20);
  CHECK(flushed(window).size() == 10);
  for (int i = 0; i < 4; ++i) flushed(window);
  CHECK(window.keys() == 0);

  for (int i = 0; i < 8; ++i) window.take("s:" + std::to_string(i) + "|s");
  for (int i = 0; i < 10'000; ++i) window.take("t:" + std::to_string(i % 1000) + "|d");
  const std::uint64_t before = window.counters().over_limit;
  for (int i = 0; i < 10; ++i) window.take("other:1|d");
  CHECK(window.counters().over_limit == before + 5);
  const Samples samples = flushed(window);
  CHECK(samples.at("unknown s").value == 5);
  CHECK(samples.at("unknown t_count").value == 10'000);
  // A fair choice of 100 of 0 to 999: its median is within 150 of 500 but for one time in a thousand
  // (its standard deviation is 1000 / (2 sqrt(100)) = 50); the choice is the same in every run.
  CHECK(std::abs(samples.at("unknown t{quantile=\"0.5\"}").value - 500) < 150);
}

TEST_CASE("statsd: any bytes neither throw nor take long") {
  fuzz::Plan plan;
  plan.corpus = {"hits:1|c|@0.5|#a:b,c\ng:+1|g\n", "t:4:6|h\nu:a|s\n_e{1,2}:x\n"};
  plan.words = {":", "|", "#", "@", ",", "\n", "|c", "|ms", "1e308"};
  StatsdWindow window;
  std::uint64_t n = 0;
  const fuzz::Outcome outcome = fuzz::run(plan, [&](std::string_view bytes) {
    window.take(bytes);
    if (++n % 50 != 0) return;
    const SampleBatch batch = window.flush(now);
    for (const RawSeries& series : batch.series) (void)batch.identify(series.labels, Mapping());
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
}
