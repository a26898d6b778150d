#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "aggregator/fleet.hpp"

using namespace muster;
using namespace muster::aggregator;

namespace {

constexpr int n_metrics = 20;

// Models of 20 metrics that report hourly, with eight dependencies each and a family.
Topology topology_of(int models) {
  Topology t;
  for (int d = 0; d < 40; ++d)
    t.dependencies.push_back({.id = "dep-" + std::to_string(100 + d), .kind = "source"});
  for (int m = 0; m < models; ++m) {
    Model model;
    model.id = "model-" + std::to_string(10'000 + m);
    model.family = "family-" + std::to_string(m % 4);
    model.interval = std::chrono::hours(1);
    for (int k = 0; k < 8; ++k)
      t.edges.push_back(
          {.from = model.id, .to = "dep-" + std::to_string(100 + (m * 7 + k * 5) % 40)});
    t.models.push_back(std::move(model));
  }
  return t;
}

// Bytes by part after `ticks` hours, and their sum under "".
std::map<std::string, double> memory_of(int models, int ticks, double above) {
  Settings settings;
  settings.workers = 1;
  settings.warmup_days = 2;
  settings.recent_bytes_max = 0;  // the charts' least: six values a series
  Fleet fleet(settings, topology_of(models));
  std::uint64_t state = 1;
  for (int t = 1; t <= ticks; ++t) {
    for (int m = 0; m < models; ++m) {
      for (int k = 0; k < n_metrics; ++k) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const auto ref = fleet.series({.model = "model-" + std::to_string(10'000 + m),
                                       .metric = "metric_" + std::to_string(k)});
        fleet.observe(ref, from_seconds(1'740'960'000 + 3600LL * t),
                      above + static_cast<double>(state >> 11) * 0x1p-53 - 0.5);
      }
    }
    fleet.advance();
  }
  std::map<std::string, double> out;
  for (const MemoryPart& part : fleet.memory()) {
    out[part.what] += static_cast<double>(part.bytes);
    out[""] += static_cast<double>(part.bytes);
  }
  return out;
}

// What one more series costs: the difference of two fleets, so that what is kept once, or once a metric or a
// dependency, does not count.
std::map<std::string, double> marginal(int ticks, double above) {
  constexpr int models = 50;
  std::map<std::string, double> out = memory_of(2 * models, ticks, above);
  for (const auto& [part, bytes] : memory_of(models, ticks, above)) out[part] -= bytes;
  for (auto& [part, bytes] : out) bytes /= models * n_metrics;
  return out;
}

}  // namespace

TEST_CASE("a series that is known costs at most 600 bytes in all") {
  // 436 for what it has learned and is judged by (season 280, baseline 64, scores and evidence 92); 26 for the
  // samples of three open ticks, 24 for its charts; the rest is names, lists and its share of its model.
  const auto known = marginal(7 * 24 + 10, 0);
  INFO("bytes a series: " << known.at(""));
  CHECK(known.at("") < 600);
  CHECK(known.at("series: season") == 280);
  CHECK(known.at("learning buffers") == 0);
}

TEST_CASE("what is only held while a series learns is given back after its first week") {
  // Forty values and, for the first forty samples, their ticks.
  const auto first = marginal(30, 20);
  CHECK(first.at("learning buffers") > 40 * 8);
  const auto later = marginal(3 * 24, 20);
  CHECK(later.at("learning buffers") > 40 * 4);
  CHECK(later.at("learning buffers") < 40 * 4 + 60);
  CHECK(marginal(7 * 24 + 10, 20).at("learning buffers") == 0);
}
