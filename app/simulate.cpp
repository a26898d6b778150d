#include <zlib.h>

#include <cerrno>
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "app/commands.hpp"
#include "app/progress.hpp"
#include "simulator/encode.hpp"
#include "simulator/fleet.hpp"

namespace muster::app {
namespace {

struct Options {
  std::uint64_t seed = 1;
  std::uint32_t models = 200;
  double weeks = 6;
  double quiet_weeks = 2;
  double faults_per_week = 7;
  std::string out;
  bool hostile = false;
  bool quiet = false;
  bool gzip = false;
  bool no_version_labels = false;
};

// A file that is written from start to end; throws when the disk does not take it.
class Output {
 public:
  Output(const std::filesystem::path& path, bool gzip) : path_(path.string()) {
    // "T" writes as is, without a gzip wrapper; level 1, as the lines compress well and time matters more.
    file_ = gzopen(path_.c_str(), gzip ? "wb1" : "wbT");
    if (!file_) fail();
    gzbuffer(file_, 1 << 20);
  }
  ~Output() {
    if (file_) gzclose(file_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(std::string_view bytes) {
    if (!bytes.empty() && gzwrite(file_, bytes.data(), static_cast<unsigned>(bytes.size())) <= 0)
      fail();
  }
  void close() {
    const int closed = gzclose(file_);
    file_ = nullptr;
    if (closed != Z_OK) fail();
  }

 private:
  [[noreturn]] void fail() const {
    throw std::runtime_error("cannot write " + path_ + ": " + std::strerror(errno));
  }
  std::string path_;
  gzFile file_ = nullptr;
};

void write_whole(const std::filesystem::path& path, std::string_view text) {
  Output file(path, false);
  file.write(text);
  file.close();
}

int simulate(const Options& options) {
  using namespace simulator;
  FleetShape shape = options.hostile ? FleetShape::hostile() : FleetShape{};
  shape.models = options.models;
  shape.version_labels = !options.no_version_labels;
  Fleet fleet(shape, options.seed);

  const double week = static_cast<double>(Duration(std::chrono::weeks(1)) / shape.tick);
  const auto until = static_cast<Tick>(options.weeks * week);
  if (!options.quiet) {
    FaultPlan plan;
    plan.first = static_cast<Tick>(options.quiet_weeks * week);
    plan.last = until;
    plan.per_week = options.faults_per_week;
    for (const Fault& fault : plan_faults(fleet, plan)) {
      if (const auto injected = fleet.inject(fault); !injected)
        throw std::logic_error(injected.error().what);
    }
  }

  const std::filesystem::path folder = options.out;
  std::filesystem::create_directories(folder);
  write_whole(folder / "topology.json", to_json(fleet.topology()) + "\n");
  write_whole(folder / "truth.json", to_json(fleet.truth()) + "\n");

  Output samples(folder / (options.gzip ? "samples.ndjson.gz" : "samples.ndjson"), options.gzip);
  Output events(folder / "events.ndjson", false);
  NdjsonWriter writer(fleet);
  Progress progress("simulate", static_cast<std::uint64_t>(until));
  std::string lines;
  std::uint64_t count = 0;
  const auto note = [&] { return std::to_string(count) + " samples"; };
  for (Tick t = 0; t < until; ++t) {
    lines.clear();
    const auto arrived = fleet.tick(t);
    writer.append(arrived, lines);
    samples.write(lines);
    count += arrived.size();
    lines.clear();
    for (const Event& event : fleet.events(t)) append_event(event, lines);
    events.write(lines);
    progress.update(static_cast<std::uint64_t>(t), note());
  }
  samples.close();
  events.close();
  progress.finish(note());
  std::printf("%s: %u models, %llu samples, %zu faults, seed %llu\n", options.out.c_str(),
              shape.models, static_cast<unsigned long long>(count), fleet.truth().size(),
              static_cast<unsigned long long>(options.seed));
  return 0;
}

}  // namespace

void add_simulate(CLI::App& app, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "simulate", "write an invented fleet's samples, with known faults, to files");
  command->footer(
      "Writes samples.ndjson, topology.json, events.ndjson and truth.json (what went wrong, when "
      "and why).\n"
      "The same seed gives the same bytes on every machine.\n\n"
      "Example: muster simulate --seed 7 --weeks 6 --out fleet7\n"
      "         muster replay --samples fleet7/samples.ndjson --topology fleet7/topology.json "
      "--events fleet7/events.ndjson --incidents incidents.json --pages pages.json");
  command->add_option("--seed", options->seed, "which fleet")->capture_default_str();
  command->add_option("--models", options->models, "how many models")
      ->check(CLI::Range(1u, 20'000u))
      ->capture_default_str();
  command->add_option("--weeks", options->weeks, "how long")
      ->check(CLI::Range(0.01, 520.0))
      ->capture_default_str();
  command
      ->add_option("--quiet-weeks", options->quiet_weeks,
                   "at the beginning, without faults, to learn from")
      ->check(CLI::Range(0.0, 520.0))
      ->capture_default_str();
  command->add_option("--faults-per-week", options->faults_per_week, "how many faults")
      ->check(CLI::Range(0.01, 100.0))
      ->capture_default_str();
  command->add_option("--out", options->out, "the folder to write to")->required();
  command->add_flag("--hostile", options->hostile,
                    "heavy tails, families that move together, a tenth of the reports missing");
  command->add_flag("--quiet", options->quiet, "no faults at all");
  command->add_flag("--gzip", options->gzip, "samples.ndjson.gz instead of samples.ndjson");
  command->add_flag("--no-version-labels", options->no_version_labels,
                    "samples do not say which version made them");
  command->callback([&run, options] { run = [options] { return simulate(*options); }; });
}

}  // namespace muster::app
