// How fast samples become rows: remote write bodies through decode, registry, COPY and commit, against the
// least that PostgreSQL could do for the same samples: a bare binary COPY of narrow rows without an index on
// one connection. Both run in turn on one private cluster with fsync on, so that their ratio holds on a
// machine that others use too.
//
//   bench_ingest [--series 100000] [--metrics 20] [--rounds 20] [--repeats 5] [--senders 32] [--batch 2000]
//
// CPU is user and system time: of this process for the app, of the postmaster and all its children for
// PostgreSQL.
#include <snappy.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <protozero/pbf_writer.hpp>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "bench/clocks.hpp"
#include "collector/decode/ndjson.hpp"
#include "collector/decode/remote_write.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/ingestor.hpp"
#include "schema/store/migrate.hpp"
#include "schema/store/partitions.hpp"

using namespace muster;
using namespace muster::bench;

namespace {

struct Options {
  int series = 100'000;
  int metrics = 20;  // a model
  int rounds = 20;
  int repeats = 5;
  int senders = 32;  // requests under way at once: a few Prometheus with their shards
  int batch = 2'000;
};

// One round as its senders send it: each series belongs to one of Prometheus's four shards by a hash, as it
// spreads them, so a model's scrape comes in pieces.
class Fleet {
 public:
  explicit Fleet(const Options& options) : options_(options), random_(1) {
    for (int i = 0; i < options.series; ++i) {
      const int model = i / options.metrics;
      const int metric = i % options.metrics;
      const std::pair<std::string, std::string> labels[] = {
          {"__name__", fmt::format("model_{}_{}", names[metric % 10], metric)},
          {"env", "production"},
          {"instance",
           fmt::format("10.{}.{}.{}:9090", model / 65536, model / 256 % 256, model % 256)},
          {"job", "model-serving"},
          {"model", fmt::format("ranker-{:05}", model)},
          {"region", fmt::format("region-{}", static_cast<char>('a' + model % 4))},
          {"team", fmt::format("team-{:02}", model % 17)},
          {"version", fmt::format("v{}", 1 + model % 9)}};
      std::string fields;
      protozero::pbf_writer series(fields);
      for (const auto& [name, value] : labels) {
        protozero::pbf_writer label(series, 1);
        label.add_string(1, name);
        label.add_string(2, value);
      }
      fields_.push_back(std::move(fields));
      values_.push_back(std::exp(std::normal_distribution<>(0, 2)(random_)));
      shards_[hash64(fields_.back(), 99) % 4].push_back(i);
    }
  }

  // The bodies of one round, all shards in turn.
  std::vector<std::string> round(Timestamp ts) {
    std::vector<std::vector<std::string>> by_shard(4);
    for (int shard = 0; shard < 4; ++shard) {
      const auto& members = shards_[shard];
      for (std::size_t from = 0; from < members.size(); from += options_.batch) {
        std::string request;
        protozero::pbf_writer message(request);
        for (std::size_t k = from; k < std::min(members.size(), from + options_.batch); ++k) {
          const int i = members[k];
          std::string body = fields_[i];
          protozero::pbf_writer series(body);
          {
            protozero::pbf_writer sample(series, 2);
            sample.add_double(1, next(i));
            sample.add_int64(2, to_millis(ts));
          }
          message.add_message(1, body);
        }
        std::string packed;
        snappy::Compress(request.data(), request.size(), &packed);
        by_shard[shard].push_back(std::move(packed));
      }
    }
    std::vector<std::string> out;
    for (std::size_t k = 0; out.size() < by_shard[0].size() * 4; ++k)
      for (auto& bodies : by_shard)
        if (k < bodies.size())
          out.push_back(std::move(bodies[k]));
        else if (k >= by_shard[0].size())
          return out;
    return out;
  }

  std::string lines(Timestamp ts) {
    std::string out;
    for (int i = 0; i < options_.series; ++i)
      out += fmt::format(
          R"({{"ts":{},"model":"mdl-{:04}","metric":"{}_{}","value":{:.6g},"labels":{{"region":"region-a","family":"family-{:02}","version":"v1"}}}})"
          "\n",
          to_millis(ts), i / options_.metrics, names[i % 10], i % options_.metrics, next(i), i % 7);
    return out;
  }

 private:
  double next(int i) {
    return values_[i] *= 1 + 0.02 * (static_cast<double>(random_() % 1000) / 1000 - 0.5);
  }

  static constexpr const char* names[] = {
      "psi_drift",       "latency_seconds", "null_rate", "auc",         "requests_total",
      "prediction_mean", "queue_depth",     "gpu_busy",  "error_ratio", "cache_hits"};
  Options options_;
  std::mt19937_64 random_;
  std::vector<std::string> fields_;
  std::vector<double> values_;
  std::vector<int> shards_[4];
};

struct Used {
  double seconds = 0, app = 0, postgres = 0, wal = 0;
};

// Runs `work` on the cluster and measures it. A checkpoint before, so that full-page images weigh the same.
Used measure(store::EmbeddedPostgres& cluster, const std::function<void()>& work) {
  store::Connection connection(cluster.dsn(), {.statement_timeout = std::chrono::minutes(5)});
  connection.run("CHECKPOINT");
  const auto lsn = [&] {
    return std::stod(
        std::string(connection.run("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").at(0, 0)));
  };
  Used used;
  used.wal = -lsn();
  used.app = -app_cpu();
  used.postgres = -postgres_cpu(cluster.pid());
  used.seconds = -wall();
  work();
  used.seconds += wall();
  used.app += app_cpu();
  used.postgres += postgres_cpu(cluster.pid());
  used.wal += lsn();
  return used;
}

// The measure of things: (series_id, ts, value), no index, 20,000 rows a commit.
void bare_copy(const std::string& dsn, std::size_t samples) {
  store::Connection connection(dsn, {});
  std::string buffer;
  constexpr std::size_t a_commit = 20'000;
  buffer.reserve(a_commit * 40 + 64);
  for (std::size_t done = 0; done < samples; done += a_commit) {
    connection.run("BEGIN");
    connection.begin_copy("COPY bare (series_id, ts, value) FROM STDIN (FORMAT binary)");
    buffer.assign("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    const std::size_t start = buffer.size();
    buffer.resize(start + a_commit * 38);
    char* at = buffer.data() + start;
    const auto put = [&at](auto value) {
      std::memcpy(at, &value, sizeof value);
      at += sizeof value;
    };
    for (std::size_t i = 0; i < a_commit; ++i) {
      put(__builtin_bswap16(3));
      put(__builtin_bswap32(8));
      put(__builtin_bswap64((done + i) % 100'000 * 0x9e37'79b9'7f4a'7c15ULL >> 1));
      put(__builtin_bswap32(8));
      put(__builtin_bswap64(800'000'000'000'000ULL + done));
      put(__builtin_bswap32(8));
      put(__builtin_bswap64(0x3fb9'9999'9999'9999ULL + i));
    }
    buffer.append("\377\377", 2);
    for (std::size_t from = 0; from < buffer.size(); from += 256u << 10)
      connection.put_copy(std::string_view(buffer).substr(from, 256u << 10));
    connection.end_copy();
    connection.run("COMMIT");
  }
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

std::string machine() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(file, line))
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  return fmt::format("{}, {} cores", model, std::thread::hardware_concurrency());
}

class Folder {
 public:
  Folder() {
    std::string made = (std::filesystem::temp_directory_path() / "bench-ingest-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = made;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  const std::map<std::string, int*> flags = {
      {"--series", &options.series},   {"--metrics", &options.metrics},
      {"--rounds", &options.rounds},   {"--repeats", &options.repeats},
      {"--senders", &options.senders}, {"--batch", &options.batch}};
  for (int i = 1; i < argc; ++i) {
    const auto flag = flags.find(argv[i]);
    if (flag == flags.end() || i + 1 == argc || (*flag->second = std::atoi(argv[i + 1])) <= 0) {
      fmt::print(stderr,
                 "usage: bench_ingest [--series N] [--metrics N] [--rounds N] [--repeats N] "
                 "[--senders N] [--batch N]\n");
      return 2;
    }
    ++i;
  }
  log::set_level(log::Level::warn);

  Folder folder;
  store::EmbeddedPostgres::Settings cluster_settings;
  cluster_settings.folder = folder.path;
  store::EmbeddedPostgres cluster(cluster_settings);
  const std::string dsn = cluster.dsn();
  store::migrate(dsn);
  const auto clock = [] {
    return Timestamp{std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count()};
  };
  store::make_partitions(dsn, clock());
  store::Connection(dsn, {}).run(
      "CREATE TABLE bare (series_id bigint NOT NULL, ts timestamptz NOT NULL, value float8 NOT "
      "NULL)");

  store::Ingestor::Settings settings;
  settings.data_dsns = {dsn};
  settings.collector = 1;
  std::size_t handed_values = 0;
  store::Ingestor ingestor(settings, clock,
                           [&](LogBatch batch) { handed_values += batch.rows.values.size(); });

  Fleet fleet(options);
  const Timestamp begin = clock() - std::chrono::hours(6);
  int rounds_made = 0;
  const auto next_rounds = [&](int n) {
    std::vector<std::string> bodies;
    for (int r = 0; r < n; ++r)
      for (std::string& body : fleet.round(begin + std::chrono::seconds(15) * rounds_made++))
        bodies.push_back(std::move(body));
    return bodies;
  };

  double decode_cpu = 0;
  std::uint64_t sent = 0;
  const auto send_all = [&](const std::vector<std::string>& bodies) {
    std::mutex mutex;
    std::condition_variable answered;
    int under_way = 0;
    std::uint64_t accepted = 0;
    for (const std::string& body : bodies) {
      {
        std::unique_lock lock(mutex);
        answered.wait(lock, [&] { return under_way < options.senders; });
        ++under_way;
      }
      const double start = thread_cpu();
      auto decoded = decode::remote_write(body);
      decode_cpu += thread_cpu() - start;
      if (!decoded) throw std::runtime_error(decoded.error().what);
      sent += decoded->batch.points.size();
      ingestor.submit(std::move(decoded->batch), [&](Stored stored) {
        const std::lock_guard lock(mutex);
        accepted += stored.accepted;
        --under_way;
        answered.notify_all();
      });
    }
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return under_way == 0; });
    return accepted;
  };

  fmt::print("machine: {}; PostgreSQL fsync on, checksums on, private cluster\n", machine());
  fmt::print("load: {} series, {} a model, requests of {} samples, {} under way; {} x {} rounds\n",
             options.series, options.metrics, options.batch, options.senders, options.repeats,
             options.rounds);

  {
    const auto bodies = next_rounds(1);
    const double start = wall();
    const Used used = measure(cluster, [&] { send_all(bodies); });
    fmt::print("first sight of {} series: {:.2f} s, {:.0f} k series a CPU second ({:.1f} us app, {:.1f} us PG each)\n",
               options.series, wall() - start, options.series / (used.app + used.postgres) / 1e3,
               1e6 * used.app / options.series, 1e6 * used.postgres / options.series);
    const store::IngestReport report = ingestor.report(1);
    fmt::print("the registry takes {:.0f} bytes a series\n",
               static_cast<double>(report.registry_bytes) / static_cast<double>(report.series));
  }

  const double samples = static_cast<double>(options.series) * options.rounds;
  std::vector<Used> ours, bare;
  store::IngestCounters before = ingestor.counters();
  decode_cpu = 0;
  sent = 0;
  for (int repeat = 0; repeat < options.repeats; ++repeat) {
    const auto bodies = next_rounds(options.rounds);
    std::uint64_t accepted = 0;
    ours.push_back(measure(cluster, [&] { accepted = send_all(bodies); }));
    if (accepted != static_cast<std::uint64_t>(samples))
      throw std::runtime_error(fmt::format("{} of {} samples were accepted", accepted, samples));
    bare.push_back(measure(cluster, [&] { bare_copy(dsn, static_cast<std::size_t>(samples)); }));
    store::Connection(dsn, {}).run("TRUNCATE bare");
  }
  const store::IngestCounters after = ingestor.counters();

  const auto of = [&](const std::vector<Used>& runs, auto field) {
    std::vector<double> values;
    for (const Used& run : runs) values.push_back(field(run));
    return median(values);
  };
  const auto row = [&](const char* name, const std::vector<Used>& runs) {
    fmt::print("{:<22} {:>10.0f} {:>9.3f} {:>9.3f} {:>9.3f} {:>9.1f}\n", name,
               of(runs, [&](const Used& u) { return samples / u.seconds; }),
               of(runs, [&](const Used& u) { return 1e6 * u.app / samples; }),
               of(runs, [&](const Used& u) { return 1e6 * u.postgres / samples; }),
               of(runs, [&](const Used& u) { return 1e6 * (u.app + u.postgres) / samples; }),
               of(runs, [&](const Used& u) { return u.wal / samples; }));
  };
  fmt::print("\n{:<22} {:>10} {:>9} {:>9} {:>9} {:>9}\n", "medians", "samples/s", "app us", "PG us",
             "CPU us", "WAL B");
  row("muster, decode..commit", ours);
  row("bare binary COPY", bare);
  std::vector<double> rate, cpu;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    rate.push_back(bare[i].seconds / ours[i].seconds);
    cpu.push_back((ours[i].app + ours[i].postgres) / (bare[i].app + bare[i].postgres));
  }
  fmt::print(
      "ratio: {:.2f} x the rate (must 1.2, stretch 2), {:.2f} x the CPU (must 0.85, stretch 0.6)\n",
      median(rate), median(cpu));

  const double total = static_cast<double>(sent);
  const auto us = [&](double seconds) { return 1e6 * seconds / total; };
  const double app = [&] {
    double sum = 0;
    for (const Used& u : ours) sum += u.app;
    return us(sum);
  }();
  const double gather = us(after.gather_seconds - before.gather_seconds);
  const double encode = us(after.write.encode - before.write.encode);
  const double send = us(after.write.send - before.write.send);
  const double decode = us(decode_cpu);
  fmt::print(
      "\nwhere the app's {:.3f} us a sample go: decode {:.3f}, look-up and rows {:.3f}, COPY "
      "encode {:.3f}, "
      "COPY send {:.3f}, rest {:.3f}\n",
      app, decode, gather, encode, send, app - decode - gather - encode - send);
  const auto commits = static_cast<double>(after.commits - before.commits);
  fmt::print(
      "commits: {:.0f} samples each, {:.1f} values a row, {:.1f} ms each of which {:.1f} ms "
      "waiting for the server\n",
      total / commits, total / static_cast<double>(after.rows - before.rows),
      1e3 * (after.commit_seconds - before.commit_seconds) / commits,
      1e3 * (after.write.waited - before.write.waited) / commits);

  {
    const std::string text = fleet.lines(begin);
    std::vector<double> rates;
    std::size_t lines = 0;
    for (int repeat = 0; repeat < 7; ++repeat) {
      std::vector<char> body(text.begin(), text.end());
      const double start = thread_cpu();
      const auto decoded = decode::ndjson(std::move(body));
      rates.push_back(static_cast<double>(decoded.batch.points.size()) / (thread_cpu() - start));
      lines = decoded.batch.points.size();
    }
    fmt::print(
        "NDJSON decode: {:.2f} M lines per CPU second ({} lines of {} bytes; must 0.7, stretch "
        "1.5)\n",
        median(rates) / 1e6, lines, text.size() / lines);
  }
  return 0;
} catch (const std::exception& fault) {
  fmt::print(stderr, "bench_ingest: {}\n", fault.what());
  return 1;
}
