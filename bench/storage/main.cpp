// What history costs: bytes a sample on disk once its hour is compacted, by table; CPU of the compaction, ours and
// PostgreSQL's; and how fast each kind of column is encoded and decoded.
//
//   bench_storage [--series 10000] [--metrics 20] [--rounds 600] [--seconds 15] [--live 0|1]
//
// The values are those of a serving fleet: ratios and times of three or four digits, counters, buckets of
// histograms, a few doubles of full precision. With --live 1 a sample arrives at its time, so blocks are hours; else
// all arrive within one hour, as in an import. CPU is user and system time.

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/log.hpp"
#include "bench/clocks.hpp"
#include "schema/block.hpp"
#include "schema/store/compact.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/history.hpp"
#include "schema/store/log_writer.hpp"
#include "schema/store/migrate.hpp"
#include "schema/store/partitions.hpp"

using namespace muster;
using namespace muster::bench;

namespace {

struct Options {
  int series = 10'000;
  int metrics = 20;  // a model
  int rounds = 600;
  int seconds = 15;  // between rounds
  int live = 0;
};

class Noise {
 public:
  explicit Noise(std::uint64_t seed) : random_(seed) {}
  double normal() { return normal_(random_); }
  double unit() { return std::uniform_real_distribution<>()(random_); }
  double poisson(double mean) { return static_cast<double>(std::poisson_distribution<>(mean)(random_)); }

 private:
  std::mt19937_64 random_;
  std::normal_distribution<> normal_;
};

double digits(double v, int significant) {
  if (v == 0) return 0;
  const double power = std::pow(10, significant - 1 - std::floor(std::log10(std::abs(v))));
  // The nearest double to the decimal, as a program that prints it would send it.
  return power >= 1 ? std::round(v * power) / power : std::round(v * power) * std::round(1 / power);
}

struct Source {
  const char* name;
  Kind kind;
  // The next value of a series that stands at `state`, which begins as a number of its own.
  std::function<double(double& state, Noise&)> next;
};

// What a model's twenty metrics are like.
const std::vector<Source>& sources() {
  static const std::vector<Source> all = {
      {"psi_drift, 3 digits", Kind::gauge, [](double& s, Noise& n) { return digits(0.03 * s * (1 + 0.1 * n.normal()), 3); }},
      {"latency p99, 4 digits", Kind::duration, [](double& s, Noise& n) { return digits(0.2 * s * std::exp(0.1 * n.normal()), 4); }},
      {"null_rate, 3 digits", Kind::ratio, [](double& s, Noise& n) { return digits(0.006 * s * (1 + 0.05 * n.normal()), 3); }},
      {"auc, walk of 4 digits", Kind::ratio, [](double& s, Noise& n) { s += 0.0004 * n.normal(); return std::round((0.8 + 0.01 * s) * 1e4) / 1e4; }},
      {"requests, counter 50/s", Kind::counter, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(750); }},
      {"prediction mean, 4 digits", Kind::gauge, [](double& s, Noise& n) { s *= 1 + 0.01 * n.normal(); return digits(s, 4); }},
      {"queue depth", Kind::gauge, [](double&, Noise& n) { return n.poisson(3); }},
      {"gpu busy, 3 digits", Kind::ratio, [](double& s, Noise& n) { return std::round(1000 * std::min(1.0, 0.5 * s / (s + 1) + 0.05 * std::abs(n.normal()))) / 1000; }},
      {"error ratio, mostly 0", Kind::ratio, [](double&, Noise& n) { return n.unit() < 0.95 ? 0.0 : digits(n.unit() / 100, 2); }},
      {"cache hits, counter 5/s", Kind::counter, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(75); }},
      {"up, constant", Kind::gauge, [](double&, Noise&) { return 1.0; }},
      {"latency sum, full doubles", Kind::counter, [](double& s, Noise& n) { return s += 150 * (1 + 0.1 * n.normal()); }},
      {"latency count", Kind::counter, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(750); }},
      {"bucket le=0.1", Kind::bucket, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(300); }},
      {"bucket le=0.5", Kind::bucket, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(700); }},
      {"bucket le=1", Kind::bucket, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(745); }},
      {"errors, rare", Kind::counter, [](double& s, Noise& n) { return s = std::floor(s) + n.poisson(0.05); }},
      {"memory, pages in bytes", Kind::gauge, [](double& s, Noise& n) { s *= 1 + 0.001 * n.normal(); return std::floor(s * 1e5) * 4096; }},
      {"feature age, seconds", Kind::duration, [](double& s, Noise& n) { s = s > 900 ? 0 : s + 15; return std::round(10 * (s + 0.2 * n.normal())) / 10; }},
      {"prediction std, full doubles", Kind::gauge, [](double& s, Noise& n) { return s *= 1 + 0.01 * n.normal(); }},
  };
  return all;
}

void codec(const Options& options) {
  fmt::print("codec, sets of 20 series of one kind, {} rows a block\n{:<30} {:>8} {:>11} {:>11}\n", options.rounds, "kind", "B/sample", "encode us", "decode M/s");
  Noise noise(1);
  const auto rows = static_cast<std::size_t>(std::min<int>(options.rounds, BlockLimits::rows_max));
  std::vector<Timestamp> ts;
  for (std::size_t i = 0; i < rows; ++i) ts.push_back(from_seconds(1'764'000'000 + static_cast<std::int64_t>(i) * options.seconds));
  for (const Source& source : sources()) {
    double encode = 0, decode = 0;
    std::size_t bytes = 0, samples = 0;
    for (int repeat = 0; repeat < 25; ++repeat) {
      std::vector<BlockColumn> columns(20);
      for (BlockColumn& column : columns) {
        double state = std::exp(noise.normal());
        for (std::size_t i = 0; i < rows; ++i) column.values.push_back(source.next(state, noise));
        column.count = rows;
      }
      encode -= thread_cpu();
      const Block block = encode_block(ts, columns);
      encode += thread_cpu();
      bytes += block.head.size() + block.body.size();
      samples += rows * columns.size();
      BlockColumn out;
      decode -= thread_cpu();
      const auto head = BlockHead::read(block.head);
      for (std::size_t c = 0; c < columns.size(); ++c) {
        const auto [from, size] = head->range(c);
        if (!read_column(*head, std::string_view(block.body).substr(from, size), out)) std::abort();
      }
      decode += thread_cpu();
    }
    const auto n = static_cast<double>(samples);
    fmt::print("{:<30} {:>8.2f} {:>11.3f} {:>11.0f}\n", source.name, static_cast<double>(bytes) / n, 1e6 * encode / n, n / decode / 1e6);
  }
}

class Folder {
 public:
  Folder() {
    std::string made = (std::filesystem::temp_directory_path() / "bench-storage-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = made;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

std::string machine() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(file, line))
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  std::ifstream load("/proc/loadavg");
  std::string now;
  load >> now;
  return fmt::format("{}, {} cores, load {}", model, std::thread::hardware_concurrency(), now);
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  const std::map<std::string, int*> flags = {{"--series", &options.series}, {"--metrics", &options.metrics}, {"--rounds", &options.rounds}, {"--seconds", &options.seconds}, {"--live", &options.live}};
  for (int i = 1; i < argc; ++i) {
    const auto flag = flags.find(argv[i]);
    if (flag == flags.end() || i + 1 == argc || (*flag->second = std::atoi(argv[i + 1])) < 0) {
      fmt::print(stderr, "usage: bench_storage [--series N] [--metrics N] [--rounds N] [--seconds N] [--live 0|1]\n");
      return 2;
    }
    ++i;
  }
  log::set_level(log::Level::warn);
  fmt::print("machine: {}\n\n", machine());
  codec(options);

  Folder folder;
  store::EmbeddedPostgres::Settings cluster_settings;
  cluster_settings.folder = folder.path;
  store::EmbeddedPostgres cluster(cluster_settings);
  const std::string dsn = cluster.dsn();
  store::migrate(dsn);

  // A day's beginning, so that the whole lies in one.
  const Timestamp begin = from_seconds(1'764'028'800);  // 2025-11-25 00:00 UTC
  Noise noise(2);
  std::vector<SeriesSetPtr> sets;
  std::vector<double> states;
  for (int m = 0; m < options.series / options.metrics; ++m) {
    auto set = std::make_shared<SeriesSet>();
    set->model = fmt::format("ranker-{:05}", m);
    set->attributes.version = "v1";
    for (int i = 0; i < options.metrics; ++i) {
      const std::string metric = fmt::format("metric_{:02}", i);
      set->series.push_back({series_id(set->model, metric), metric, sources()[static_cast<std::size_t>(i) % sources().size()].kind});
      states.push_back(std::exp(noise.normal()));
    }
    set->id = set_id(*set);
    sets.push_back(std::move(set));
  }
  store::LogWriter writer(dsn);
  Timestamp arrival = begin, hour;
  for (int round = 0; round < options.rounds; ++round) {
    const Timestamp ts = begin + std::chrono::seconds(static_cast<std::int64_t>(round) * options.seconds);
    if (options.live) arrival = ts;
    if (round == 0 || bucket_of(arrival, std::chrono::hours(1)) != hour) store::make_partitions(dsn, arrival, {.ahead = std::chrono::hours(0)});
    hour = bucket_of(arrival, std::chrono::hours(1));
    store::Commit commit;
    commit.position = {0, 1, round + 1};
    commit.written_at = arrival;
    store::Piece& piece = commit.piece;
    piece.ts_min = piece.ts_max = ts;
    std::size_t state = 0;
    for (const SeriesSetPtr& set : sets) {
      LogRows::Row row;
      row.set = set->id;
      row.ts = ts;
      row.first = static_cast<std::uint32_t>(piece.rows.values.size());
      row.count = static_cast<std::uint16_t>(set->series.size());
      piece.rows.rows.push_back(row);
      for (std::size_t i = 0; i < set->series.size(); ++i) piece.rows.values.push_back(sources()[i % sources().size()].next(states[state++], noise));
      if (round == 0) {
        piece.unsaved_sets.push_back(set);
        piece.unsaved_series.push_back({set, 0});
      }
    }
    piece.rows.positions.resize(piece.rows.values.size());
    writer.write(commit);
  }

  const Timestamp end = begin + std::chrono::seconds(static_cast<std::int64_t>(options.rounds) * options.seconds);
  const auto n = static_cast<double>(options.series) * options.rounds;
  store::Connection connection(dsn, {});
  const auto show = [&](const char* when) {
    connection.run("CHECKPOINT");
    const store::StorageUse use = store::storage_use(dsn, end);
    fmt::print("\n{}: {} series x {} rounds, {} s apart\n", when, options.series, options.rounds, options.seconds);
    double sum = 0;
    for (const auto& table : use.tables) {
      fmt::print("  {:<8} {:>11} bytes {:>7.3f} a sample\n", table.name, table.bytes, static_cast<double>(table.bytes) / n);
      sum += static_cast<double>(table.bytes) / n;
    }
    for (const char* other : {"rollup_group", "series", "series_set", "sample_batch"}) {
      const double bytes = std::stod(std::string(connection.run(fmt::format("SELECT pg_total_relation_size('{}')", other)).at(0, 0)));
      fmt::print("  {:<8} {:>11.0f} bytes {:>7.3f} a sample\n", other, bytes, bytes / n);
    }
    fmt::print("  {:<8} {:>33.3f} a sample: log, blocks and rollups with TOAST and indexes\n", "sum", sum);
  };
  show("before");
  store::CompactSettings settings;
  settings.dsn = dsn;
  store::Compactor compactor(settings);
  store::NotYet reason = store::NotYet::none;
  const double app = app_cpu(), postgres = postgres_cpu(cluster.pid()), started = wall();
  while (compactor.compact_oldest(end + std::chrono::hours(2), std::nullopt, end, reason)) {
  }
  fmt::print("\ncompaction: CPU us a sample: app {:.3f}, PostgreSQL {:.3f}; {:.1f} s wall clock\n", 1e6 * (app_cpu() - app) / n, 1e6 * (postgres_cpu(cluster.pid()) - postgres) / n, wall() - started);
  show("after");

  store::History history({.dsn = dsn});
  const auto timed = [&](const char* what, const std::function<std::size_t()>& read) {
    double best = 1e9;
    std::size_t values = 0;
    for (int repeat = 0; repeat < 7; ++repeat) {
      const double at = wall();
      values = read();
      best = std::min(best, wall() - at);
    }
    fmt::print("  {:<58} {:>9} numbers {:>8.2f} ms\n", what, values, 1e3 * best);
  };
  fmt::print("\nreads, best of 7\n");
  timed("one series, all its samples", [&] {
    const store::SlotRef slot{0, sets.front()->id, 1};
    return history.block_samples({&slot, 1}, begin, end)->front().ts.size();
  });
  timed("1,000 series, one hour of samples", [&] {
    std::vector<store::SlotRef> slots;
    for (const SeriesSetPtr& set : sets)
      for (std::uint16_t s = 0; s < set->series.size() && slots.size() < 1'000; ++s) slots.push_back({0, set->id, s});
    const auto read = history.block_samples(slots, begin, begin + std::chrono::hours(1));
    std::size_t values = 0;
    for (const store::Samples& s : *read) values += s.ts.size();
    return values;
  });
  for (const Level level : {Level::five_minutes, Level::hour}) {
    timed(fmt::format("one metric of all models by {}", to_word(level)).c_str(), [&] {
      std::vector<store::SeriesRef> series;
      for (const SeriesSetPtr& set : sets) series.push_back({0, set->series[1].id});
      const auto read = history.rollups(level, sets.front()->series[1].metric, series, begin, end);
      return read->size() * read->front().size();
    });
  }
  return 0;
} catch (const std::exception& fault) {
  fmt::print(stderr, "bench_storage: {}\n", fault.what());
  return 1;
}
