// muster beside the servers that people know, one after the other, under the same load over real HTTP: what a
// sample costs until it is durable and all work for it is done. The sender's own CPU is not counted.
//
//   bench_peers --muster build/release/app/muster [--only muster,prometheus,victoria,influx]
//               [--series 100000] [--rounds 30] [--batch 2000] [--connections 4] [--disk-rounds 600]
//
// Ratios hold within a run, on a machine that does nothing else.
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "bench/peers/load.hpp"
#include "bench/peers/servers.hpp"

using namespace muster::bench;

namespace {

struct Options {
  std::string muster = "build/release/app/muster";
  std::string only = "muster,prometheus,victoria,influx";
  int series = 100'000;
  int rounds = 30;
  int batch = 2'000;
  int connections = 4;
  int disk_rounds = 600;  // of 10,000 series; 0: not measured
};

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class Folder {
 public:
  Folder() {
    std::string made = (std::filesystem::temp_directory_path() / "bench-peers-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = made;
    ::chmod(made.c_str(), 0755);  // PostgreSQL runs as another user when we are root
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

double quantile(std::vector<double> v, double q) {
  if (v.empty()) return 0;
  std::sort(v.begin(), v.end());
  return v[std::min(v.size() - 1, static_cast<std::size_t>(q * static_cast<double>(v.size())))];
}

// A row of the table; a column without a figure says n/a.
using Row = std::map<Server::Kind, std::string>;

struct Used {
  Sent sent;
  double cpu = 0;
};

Used measured(const Server& server, const std::function<Sent()>& work) {
  Used used;
  const double before = server.cpu_seconds();
  used.sent = work();
  server.settle();
  used.cpu = server.cpu_seconds() - before;
  if (used.sent.refused > 0)
    fmt::print(stderr, "{} refused {} of {} requests\n", name_of(server.kind()), used.sent.refused,
               used.sent.requests);
  return used;
}

std::string thousands(double rate) {
  return rate >= 1e6 ? fmt::format("{:.2f} M", rate / 1e6) : fmt::format("{:.0f} k", rate / 1e3);
}

std::string load_average() {
  std::ifstream file("/proc/loadavg");
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  const std::map<std::string, int*> numbers = {{"--series", &options.series},
                                               {"--rounds", &options.rounds},
                                               {"--batch", &options.batch},
                                               {"--connections", &options.connections},
                                               {"--disk-rounds", &options.disk_rounds}};
  const std::map<std::string, std::string*> texts = {{"--muster", &options.muster},
                                                     {"--only", &options.only}};
  for (int i = 1; i < argc; i += 2) {
    const bool value = i + 1 < argc;
    if (const auto n = numbers.find(argv[i]); value && n != numbers.end()) {
      *n->second = std::atoi(argv[i + 1]);
    } else if (const auto t = texts.find(argv[i]); value && t != texts.end()) {
      *t->second = argv[i + 1];
    } else {
      fmt::print(stderr,
                 "usage: bench_peers --muster BINARY [--only muster,prometheus,victoria,influx] "
                 "[--series N] [--rounds N] [--batch N] [--connections N] [--disk-rounds N]\n");
      return 2;
    }
  }
  if (options.series <= 0 || options.rounds <= 1 || options.batch <= 0 || options.connections <= 0)
    throw std::runtime_error("numbers are above 0, and rounds above 1");

  std::vector<Server::Kind> kinds;
  const std::pair<const char*, Server::Kind> words[] = {
      {"muster", Server::Kind::muster},
      {"prometheus", Server::Kind::prometheus},
      {"victoria", Server::Kind::victoria_metrics},
      {"influx", Server::Kind::influxdb}};
  for (const auto& [word, kind] : words) {
    if (options.only.find(word) == options.only.npos) continue;
    if (installed(kind)) {
      kinds.push_back(kind);
    } else {
      fmt::print("{} is not installed and is left out\n", name_of(kind));
    }
  }

  const Folder folder;
  Shape shape;
  shape.series = options.series;
  shape.batch = options.batch;
  shape.connections = options.connections;
  fmt::print("load: {} series, 20 a model, {} rounds of 15 s, requests of {} samples over {} connections\n",
             shape.series, options.rounds, shape.batch, shape.connections);
  fmt::print("machine: {} cores, load {}\n", std::thread::hardware_concurrency(), load_average());
  std::fflush(stdout);

  // Made once, the same bytes for all. Every server takes times of the last half hour.
  constexpr std::int64_t step = 15'000;
  const std::int64_t begin = (now_ms() - 2 * options.rounds * step) / step * step;
  Fleet fleet(shape);
  const Requests first = fleet.remote_write(begin, step, options.rounds);
  const Requests steady =
      fleet.remote_write(begin + options.rounds * step, step, options.rounds - 1);
  Shape fresh_shape = shape;
  fresh_shape.prefix = "new-";
  const Requests fresh = Fleet(fresh_shape).remote_write(begin, step, 1);
  // Ten seconds of 50,000 samples a second, of the same series.
  const int paced_rounds = std::max(1, 500'000 / shape.series);
  const Requests paced = fleet.remote_write(begin + (2 * options.rounds - 1) * step, 1'000, paced_rounds);
  const double paced_rate = 50'000.0 / shape.batch;

  const auto samples = [&](int rounds) { return static_cast<double>(shape.series) * rounds; };
  std::map<std::string, Row> table;
  std::vector<std::string> order;
  const auto put = [&](const std::string& row, Server::Kind kind, std::string text) {
    if (!table.contains(row)) order.push_back(row);
    table[row][kind] = std::move(text);
  };

  for (const Server::Kind kind : kinds) {
    fmt::print("{} …\n", name_of(kind));
    std::fflush(stdout);
    std::optional<Server> started;
    try {
      Server& server = started.emplace(kind, options.muster, folder.path / name_of(kind));
      server.settle(10);
      const auto write = [&](const Requests& requests, double rate = 0) {
        return measured(server, [&] {
          return send(server.port(), server.write_path(), remote_write_headers, requests, rate);
        });
      };
      const Used one = write(first);
      put("samples/CPU-s, first pass", kind, thousands(samples(options.rounds) / one.cpu));
      const Used two = write(steady);
      put("samples/CPU-s, steady", kind, thousands(samples(options.rounds - 1) / two.cpu));
      put("samples/s, steady", kind, thousands(samples(options.rounds - 1) / two.sent.seconds));
      const Used three = write(paced, paced_rate);
      put("50k samples/s: p50, ms", kind, fmt::format("{:.1f}", quantile(three.sent.latency_ms, 0.5)));
      put("50k samples/s: p99, ms", kind, fmt::format("{:.1f}", quantile(three.sent.latency_ms, 0.99)));
      const Used four = write(fresh);
      put("new series/CPU-s", kind, thousands(shape.series / four.cpu));
      put("resident, bytes a series", kind,
          fmt::format("{:.0f}", static_cast<double>(server.resident_bytes()) / (2.0 * shape.series)));
      if (server.lines_path() != nullptr) {
        Shape lines_shape = shape;
        lines_shape.prefix = "line-";
        Fleet lines(lines_shape);
        const bool victoria = kind == Server::Kind::victoria_metrics;
        const Requests warm = lines.lines(begin, step, 1, victoria);
        const Requests more = lines.lines(begin + step, step, 10, victoria);
        const std::string_view headers = "Content-Type: application/x-ndjson\r\n";
        const auto post = [&](const Requests& requests) {
          return measured(server, [&] {
            return send(server.port(), server.lines_path(), headers, requests);
          });
        };
        post(warm);
        const Used five = post(more);
        put("JSON lines, samples/CPU-s, steady", kind, thousands(samples(10) / five.cpu));
      }
    } catch (const std::exception& fault) {
      fmt::print(stderr, "{}: {}\n{}\n", name_of(kind), fault.what(),
                 started ? started->log() : "");
    }
    started.reset();

    if (options.disk_rounds > 0 && kind != Server::Kind::influxdb) {
      try {
        Server server(kind, options.muster, folder.path / (std::string(name_of(kind)) + "-disk"));
        Shape small = shape;
        small.series = 10'000;
        const std::int64_t from = (now_ms() - options.disk_rounds * step) / step * step;
        Fleet few(small);
        // In parts, so that not all of it is in memory.
        for (int r = 0; r < options.disk_rounds; r += 100)
          send(server.port(), server.write_path(), remote_write_headers,
               few.remote_write(from + r * step, step, std::min(100, options.disk_rounds - r)));
        server.settle();
        const auto bytes = static_cast<double>(server.compact_bytes());
        put(fmt::format("disk, bytes a sample (10k x {})", options.disk_rounds), kind,
            bytes > 0 ? fmt::format("{:.2f}", bytes / (1e4 * options.disk_rounds)) : "n/a");
      } catch (const std::exception& fault) {
        fmt::print(stderr, "{}: {}\n", name_of(kind), fault.what());
      }
    }
  }

  fmt::print("\n{:40}", "");
  for (const Server::Kind kind : kinds) fmt::print("{:>17}", name_of(kind));
  fmt::print("\n");
  for (const std::string& row : order) {
    fmt::print("{:40}", row);
    for (const Server::Kind kind : kinds)
      fmt::print("{:>17}", table[row].contains(kind) ? table[row][kind] : "n/a");
    fmt::print("\n");
  }
  fmt::print("load at the end: {}\n", load_average());
  return 0;
} catch (const std::exception& fault) {
  fmt::print(stderr, "bench_peers: {}\n", fault.what());
  return 1;
}
