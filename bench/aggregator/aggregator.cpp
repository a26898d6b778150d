#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "aggregator/fleet.hpp"

// What a sample and a series cost from baseline to e-value: a fleet of models x 20 metrics, every model with
// eight dependencies, at ten-minute ticks. Warm-up is short, so that all of it is judged while it is measured.
namespace {

using namespace muster;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

double allocated() {
  const auto info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd);
}

Topology topology_of(std::uint32_t models) {
  Topology t;
  const std::uint32_t dependencies = std::max(8U, models / 25);
  for (std::uint32_t d = 0; d < dependencies; ++d)
    t.dependencies.push_back({.id = "dep-" + std::to_string(1'000'000 + d), .kind = "source"});
  for (std::uint32_t m = 0; m < models; ++m) {
    Model model;
    model.id = "model-" + std::to_string(1'000'000 + m);
    model.family = "family-" + std::to_string(m % 40);
    model.interval = std::chrono::minutes(10);
    for (std::uint32_t k = 0; k < 8; ++k)
      t.edges.push_back({.from = model.id,
                         .to = "dep-" + std::to_string(1'000'000 + (m * 7 + k * (m % 13 + 1) * 31) %
                                                                       dependencies)});
    t.models.push_back(std::move(model));
  }
  return t;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t series = 100'000;
  std::vector<unsigned> workers = {1, 2};
  int ticks = 30;
  CLI::App app{"CPU a sample and bytes a series of the aggregator, with 1 and more workers"};
  app.add_option("--series", series)->capture_default_str();
  app.add_option("--workers", workers)->capture_default_str();
  app.add_option("--ticks", ticks, "measured")->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  constexpr std::uint32_t metrics = 20;
  const auto models = static_cast<std::uint32_t>(series / metrics);
  const Topology topology = topology_of(models);
  std::printf(
      "| workers | series | wall ns/sample | CPU ns/sample | of it intake, ns | bytes/series | "
      "scaling |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n");
  double first_wall = 0;
  for (const unsigned count : workers) {
    aggregator::Settings settings;
    settings.workers = count;
    settings.warmup_days = 0.35;
    settings.series_warmup_days = 0.2;
    const double before = allocated();
    aggregator::Fleet fleet(settings, topology);
    std::vector<aggregator::Fleet::SeriesRef> refs;
    for (std::uint32_t m = 0; m < models; ++m)
      for (std::uint32_t k = 0; k < metrics; ++k)
        refs.push_back(fleet.series(
            {.model = topology.models[m].id, .metric = "metric_" + std::to_string(k)}));
    // Independent noise that costs little: it is not what is measured.
    std::uint64_t state = 88172645463325252ULL;
    const auto noise = [&] {
      double total = 0;
      for (int i = 0; i < 3; ++i) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        total += static_cast<double>(state >> 11) * 0x1p-53 - 0.5;
      }
      return 2 * total;
    };
    std::vector<double> values(refs.size());
    double wall = 0, cpu = 0, intake = 0;
    constexpr int learning = 60;
    for (int t = 0; t < learning + ticks; ++t) {
      for (double& v : values) v = noise();
      const Timestamp ts = from_seconds(1'740'960'000 + 600LL * (t + 1));
      const auto begun = std::chrono::steady_clock::now();
      const double cpu_begun = cpu_seconds();
      for (std::size_t i = 0; i < refs.size(); ++i) fleet.observe(refs[i], ts, values[i]);
      const double cpu_taken = cpu_seconds();
      const auto findings = fleet.advance();
      if (t < learning) continue;
      wall += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
      cpu += cpu_seconds() - cpu_begun;
      intake += cpu_taken - cpu_begun;
    }
    const double bytes = (allocated() - before) / static_cast<double>(refs.size());
    const double samples = static_cast<double>(refs.size()) * ticks;
    if (first_wall == 0) first_wall = wall;
    std::printf("| %u | %zu | %.0f | %.0f | %.0f | %.0f | %.2fx |\n", count, refs.size(),
                1e9 * wall / samples, 1e9 * cpu / samples, 1e9 * intake / samples, bytes,
                first_wall / wall);
    std::fflush(stdout);
  }
  return 0;
}
