#include <malloc.h>
#include <sys/resource.h>

#include <chrono>
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
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

// Of the process, from the kernel; bytes.
double resident() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long pages = 0, rss = 0;
  const int read = std::fscanf(file, "%ld %ld", &pages, &rss);
  std::fclose(file);
  return read == 2 ? static_cast<double>(rss) * 4096 : 0;
}

// What each part of the fleet's memory takes, beside what the allocator says about all of it.
void print_memory(const std::string& when, const aggregator::Fleet& fleet, double series,
                  double all) {
  std::printf("\n%s\n| part | count | bytes a series |\n| --- | --- | --- |\n", when.c_str());
  double total = 0;
  for (const aggregator::MemoryPart& part : fleet.memory()) {
    total += static_cast<double>(part.bytes);
    if (part.bytes > 0)
      std::printf("| %s | %llu | %.1f |\n", part.what.c_str(),
                  static_cast<unsigned long long>(part.count),
                  static_cast<double>(part.bytes) / series);
  }
  std::printf("| all parts | | %.0f |\n| allocated | | %.0f |\n", total / series, all / series);
}

Topology topology_of(std::uint32_t models, std::chrono::seconds interval) {
  Topology t;
  const std::uint32_t dependencies = std::max(8U, models / 25);
  for (std::uint32_t d = 0; d < dependencies; ++d)
    t.dependencies.push_back({.id = "dep-" + std::to_string(1'000'000 + d), .kind = "source"});
  for (std::uint32_t m = 0; m < models; ++m) {
    Model model;
    model.id = "model-" + std::to_string(1'000'000 + m);
    model.family = "family-" + std::to_string(m % 40);
    model.interval = interval;
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
  int interval = 600;
  bool memory = false;
  CLI::App app{"CPU a sample and bytes a series of the aggregator, with 1 and more workers"};
  app.add_option("--series", series)->capture_default_str();
  app.add_option("--workers", workers)->capture_default_str();
  app.add_option("--ticks", ticks, "measured")->capture_default_str();
  app.add_option("--interval", interval, "seconds; a tick too")->capture_default_str();
  app.add_flag("--memory", memory,
               "where the bytes are, at the end; learning of logarithms takes a week");
  CLI11_PARSE(app, argc, argv);

  constexpr std::uint32_t metrics = 20;
  const auto models = static_cast<std::uint32_t>(series / metrics);
  const Topology topology = topology_of(models, std::chrono::seconds(interval));
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
      // Every other series is above zero, and so might be one that is judged on logarithms.
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = noise() + (i % 2 == 0 ? 0 : 20);
      const Timestamp ts =
          from_seconds(1'740'960'000 + static_cast<std::int64_t>(interval) * (t + 1));
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
    const double own = static_cast<double>(refs.capacity() * sizeof(refs[0]) +
                                           values.capacity() * sizeof(values[0]));
    const double all = allocated() - before - own;
    const double bytes = all / static_cast<double>(refs.size());
    const double samples = static_cast<double>(refs.size()) * ticks;
    if (first_wall == 0) first_wall = wall;
    std::printf("| %u | %zu | %.0f | %.0f | %.0f | %.0f | %.2fx |\n", count, refs.size(),
                1e9 * wall / samples, 1e9 * cpu / samples, 1e9 * intake / samples, bytes,
                first_wall / wall);
    std::fflush(stdout);
    if (!memory) continue;
    print_memory("after " + std::to_string(learning + ticks) + " ticks", fleet,
                 static_cast<double>(refs.size()), all);
    const double rss = resident();
    auto begun = std::chrono::steady_clock::now();
    const auto taken = [&] {
      const auto at = std::exchange(begun, std::chrono::steady_clock::now());
      return 1e3 * std::chrono::duration<double>(begun - at).count();
    };
    const FleetView view = fleet.view();
    const double view_ms = taken();
    const std::string snapshot = fleet.snapshot();
    const double snapshot_ms = taken();
    const auto again = aggregator::Fleet::restore(settings, topology, snapshot);
    const double restore_ms = taken();
    std::printf(
        "\nresident %.0f MiB; view %.0f ms; snapshot %.0f MB, %.0f bytes a series, %.0f ms; "
        "restore %.0f ms%s\n",
        rss / 1048576, view_ms, static_cast<double>(snapshot.size()) / 1e6,
        static_cast<double>(snapshot.size()) / static_cast<double>(refs.size()), snapshot_ms,
        restore_ms, again && again->snapshot() == snapshot ? "" : "; NOT THE SAME AGAIN");
    std::fflush(stdout);
  }
  return 0;
}
