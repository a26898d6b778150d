// What four common questions cost: asked of muster after compaction, and of a narrow table with a btree in the same
// PostgreSQL. Both are asked from this process and give their answers as numbers in memory.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>

#include "base/log.hpp"
#include "query/api/answer.hpp"
#include "schema/store/compact.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/log_reader.hpp"
#include "schema/store/log_writer.hpp"
#include "schema/store/migrate.hpp"
#include "schema/store/partitions.hpp"

using namespace muster;

namespace {

constexpr int models = 1000, metrics = 20, steps = 480;
constexpr auto step = std::chrono::minutes(1);
constexpr int repeats = 9;

double milliseconds(const std::function<void()>& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

// CPU of a process since its start, in milliseconds, to the nanosecond.
double cpu_of(const std::string& pid) {
  double total = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
    double ns = 0;
    std::ifstream(task.path() / "schedstat") >> ns;
    total += ns / 1e6;
  }
  return total;
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

class Folder {
 public:
  Folder() {
    std::string made = (std::filesystem::temp_directory_path() / "bench-query-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = made;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

double value_of_step(std::mt19937& random, double& level) {
  level += (static_cast<double>(random() % 1000) - 499.5) / 5000;
  return std::round(level * 1000) / 1000;
}

// The same samples, into the log and then blocks, and into the narrow table.
std::vector<SeriesSetPtr> fill(const std::string& dsn, Timestamp begin) {
  std::vector<SeriesSetPtr> sets;
  for (int m = 0; m < models; ++m) {
    auto set = std::make_shared<SeriesSet>();
    set->model = fmt::format("model-{:04}", m);
    set->attributes.version = fmt::format("v{}", m % 7);
    set->attributes.region = fmt::format("region-{}", m % 4);
    for (int k = 0; k < metrics; ++k) {
      const std::string metric = fmt::format("metric_{:02}", k);
      set->series.push_back({series_id(set->model, metric), metric, Kind::gauge});
    }
    set->id = set_id(*set);
    sets.push_back(std::move(set));
  }
  std::mt19937 random(1);
  std::vector<double> levels(models * metrics, 5);
  store::Connection narrow(dsn, {.statement_timeout = std::chrono::minutes(10)});
  narrow.run("CREATE TABLE narrow (series_id bigint NOT NULL, ts timestamptz NOT NULL, value float8 NOT NULL)");
  store::LogWriter writer(dsn);
  std::string copy;
  for (int s = 0; s < steps; ++s) {
    const Timestamp ts = begin + Duration(step) * s;
    if (s % 60 == 0) store::make_partitions(dsn, ts, {.ahead = std::chrono::hours(1)});
    store::Commit commit;
    commit.position = {0, 1, s + 1};
    commit.written_at = ts + Duration(std::chrono::seconds(1));
    store::Piece& piece = commit.piece;
    piece.ts_min = piece.ts_max = ts;
    copy.assign("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    for (int m = 0; m < models; ++m) {
      LogRows::Row row;
      row.set = sets[static_cast<std::size_t>(m)]->id;
      row.ts = ts;
      row.first = static_cast<std::uint32_t>(piece.rows.values.size());
      row.count = metrics;
      piece.rows.rows.push_back(row);
      for (int k = 0; k < metrics; ++k) {
        const double value = value_of_step(random, levels[static_cast<std::size_t>(m * metrics + k)]);
        piece.rows.values.push_back(value);
        piece.rows.positions.push_back(0);
        store::put(copy, std::int16_t{3});
        store::put(copy, std::int32_t{8});
        store::put(copy, static_cast<std::int64_t>(sets[static_cast<std::size_t>(m)]->series[static_cast<std::size_t>(k)].id));
        store::put(copy, std::int32_t{8});
        store::put(copy, store::to_pg(ts));
        store::put(copy, std::int32_t{8});
        store::put(copy, value);
      }
    }
    if (s == 0) {
      for (const SeriesSetPtr& set : sets) {
        piece.unsaved_sets.push_back(set);
        for (std::uint16_t k = 0; k < metrics; ++k) piece.unsaved_series.push_back({set, k});
      }
    }
    writer.write(commit);
    copy.append("\377\377", 2);
    narrow.begin_copy("COPY narrow FROM STDIN (FORMAT binary)");
    narrow.put_copy(copy);
    narrow.end_copy();
  }
  narrow.run("CREATE INDEX narrow_key ON narrow (series_id, ts)");
  narrow.run("VACUUM ANALYZE narrow");
  store::CompactSettings settings;
  settings.dsn = dsn;
  settings.retention.raw = settings.retention.minute = settings.retention.five_minutes = std::chrono::hours(24 * 3650);
  store::Compactor compactor(settings);
  store::NotYet reason = store::NotYet::none;
  while (compactor.compact_oldest(begin + Duration(std::chrono::hours(30)), std::nullopt, begin + Duration(std::chrono::hours(30)), reason)) {
  }
  narrow.run("VACUUM ANALYZE");
  return sets;
}

}  // namespace

int main() try {
  log::set_level(log::Level::warn);
  Folder folder;
  store::EmbeddedPostgres::Settings cluster_settings;
  cluster_settings.folder = folder.path;
  cluster_settings.initialise_without_sync = true;
  store::EmbeddedPostgres cluster(cluster_settings);
  const std::string dsn = cluster.dsn();
  store::migrate(dsn);
  const Timestamp begin = from_seconds(1'764'028'800);  // 2025-11-25 00:00 UTC
  const Timestamp end = begin + Duration(step) * steps;
  const std::vector<SeriesSetPtr> sets = fill(dsn, begin);

  query::Catalogue catalogue;
  catalogue.add(sets);
  {
    // As a running muster has them: from the batches as they were committed.
    store::Connection connection(dsn, {});
    LogRows last;
    for (const SeriesSetPtr& set : sets) {
      LogRows::Row row;
      row.set = set->id;
      row.ts = end - Duration(step);
      row.first = static_cast<std::uint32_t>(last.values.size());
      row.count = metrics;
      last.rows.push_back(row);
      last.values.resize(last.values.size() + metrics, 1);
      last.positions.resize(last.values.size());
    }
    catalogue.observe(last);
    catalogue.complete_since(begin);
  }
  query::Settings settings;
  store::History history({.dsn = dsn});
  const query::Stop stop;
  query::Context context{settings, catalogue, history, stop};
  store::Connection narrow(dsn, {.statement_timeout = std::chrono::minutes(10)});
  const auto selector = [](const std::string& text) { return *query::parse_selector(text, true); };

  std::vector<std::int64_t> of_metric;
  for (const SeriesSetPtr& set : sets) of_metric.push_back(static_cast<std::int64_t>(set->series[7].id));
  std::vector<std::int64_t> all;
  for (const SeriesSetPtr& set : sets)
    for (const Series& series : set->series) all.push_back(static_cast<std::int64_t>(series.id));

  std::size_t got = 0;
  std::string last;  // how the last answer of ours came about
  const auto told = [&last](const query::Explanation::Part& part) {
    last = fmt::format("select {:.2f} ms, read {:.2f} ms: level {}, {} blocks of {} KiB, {} rows of the log", part.select_milliseconds,
                       part.read_milliseconds, part.level, part.read.blocks, part.read.block_bytes >> 10, part.read.log_rows);
  };
  const auto must = [](auto result) {
    if (!result) throw std::runtime_error(result.error().what);
    return std::move(*result);
  };
  struct Question {
    const char* name;
    double must;
    std::size_t numbers;
    std::function<void()> muster, narrow;
  };
  const Timestamp hour = begin + Duration(std::chrono::hours(3));
  const Question questions[] = {
      {"q1 one series, all of 30 days", 2, steps,
       [&] {
         query::Explanation::Part part;
         got = must(query::load(context, selector(R"({model="model-0500",metric="metric_07"})"), nullptr, end - Duration(std::chrono::hours(720)), end, part)).at.size();
         told(part);
       },
       [&] {
         store::Params p;
         p.int8(of_metric[500]).timestamptz(end - Duration(std::chrono::hours(720)));
         got = static_cast<std::size_t>(narrow.run("SELECT ts, value FROM narrow WHERE series_id = $1 AND ts >= $2 ORDER BY ts", p).size());
       }},
      {"q2 1,000 series, one hour", 10, models * 60,
       [&] {
         query::Explanation::Part part;
         got = must(query::load(context, selector(R"({metric="metric_07"})"), nullptr, hour, hour + Duration(std::chrono::hours(1)) - Duration(1), part)).at.size();
         told(part);
       },
       [&] {
         store::Params p;
         p.int8_array(of_metric).timestamptz(hour).timestamptz(hour + Duration(std::chrono::hours(1)));
         got = static_cast<std::size_t>(
             narrow.run("SELECT series_id, ts, value FROM narrow WHERE series_id = ANY ($1) AND ts >= $2 AND ts < $3 ORDER BY 1, 2", p).size());
       }},
      {"q3 the newest of all 20,000", 25, models * metrics,
       [&] {
         query::Explanation::Part part;
         got = must(query::load_newest(context, selector(R"({model=~".+"})"), end - Duration(std::chrono::minutes(5)), end, part)).at.size();
         told(part);
       },
       [&] {
         store::Params p;
         p.int8_array(all);
         got = static_cast<std::size_t>(narrow.run("SELECT s.id, l.ts, l.value FROM unnest($1::bigint[]) AS s (id) CROSS JOIN LATERAL "
                                                   "(SELECT ts, value FROM narrow WHERE series_id = s.id ORDER BY ts DESC LIMIT 1) l", p).size());
       }},
      {"q4 one metric, all models, 5 min", 20, steps / 5,
       [&] {
         query::Explanation::Part part;
         const query::Steps windows{begin, std::chrono::minutes(5), steps / 5};
         const query::Aggregates found = must(query::load_windows(context, selector(R"({metric="metric_07"})"), nullptr, windows, part));
         told(part);
         std::vector<double> sums(windows.count), counts(windows.count);
         for (std::size_t k = 0; k < found.windows.size(); ++k) {
           sums[k % windows.count] += found.windows[k].sum;
           counts[k % windows.count] += found.windows[k].count;
         }
         got = static_cast<std::size_t>(std::count(counts.begin(), counts.end(), models * 5.0));
       },
       [&] {
         store::Params p;
         p.int8_array(of_metric);
         got = static_cast<std::size_t>(narrow.run("SELECT date_bin('5 min', ts, '2000-01-01 00:00+00'), avg(value) FROM narrow "
                                                   "WHERE series_id = ANY ($1) GROUP BY 1 ORDER BY 1", p).size());
       }}};

  const auto backends = [&] {
    std::vector<std::string> pids = {"self"};
    const store::Rows rows = store::Connection(dsn, {}).run("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    for (int row = 0; row < rows.size(); ++row) pids.emplace_back(rows.at(row, 0));
    return pids;
  };
  const auto cpu = [](const std::vector<std::string>& pids) {
    double sum = 0;
    for (const std::string& pid : pids) sum += cpu_of(pid);
    return sum;
  };

  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  fmt::print("{} series x {} steps a minute apart, PostgreSQL 15 with {} cores, load {:.1f}; medians of {} in turn\n\n", models * metrics, steps,
             std::thread::hardware_concurrency(), load, repeats);
  fmt::print("{:<36}{:>12}{:>12}{:>9}{:>7}{:>14}{:>14}{:>9}\n", "", "muster ms", "narrow ms", "faster", "must", "muster CPU ms", "narrow CPU ms", "less");
  for (const Question& q : questions) {
    std::vector<double> ours, theirs, our_cpu, their_cpu;
    q.muster();  // connected, plans and caches
    q.narrow();
    const std::vector<std::string> pids = backends();
    for (int i = 0; i <= repeats; ++i) {
      const double start = cpu(pids);
      const double a = milliseconds(q.muster);
      const double middle = cpu(pids);
      if (got != q.numbers) throw std::runtime_error(fmt::format("{}: muster gave {} of {}", q.name, got, q.numbers));
      const double b = milliseconds(q.narrow);
      const double finish = cpu(pids);
      if (got != q.numbers) throw std::runtime_error(fmt::format("{}: the narrow table gave {} of {}", q.name, got, q.numbers));
      our_cpu.push_back(middle - start);
      their_cpu.push_back(finish - middle);
      ours.push_back(a);
      theirs.push_back(b);
    }
    fmt::print("{:<36}{:>12.2f}{:>12.2f}{:>8.1f}x{:>6.0f}x{:>14.2f}{:>14.2f}{:>8.1f}x\n", q.name, median(ours), median(theirs),
               median(theirs) / median(ours), q.must, median(our_cpu), median(their_cpu), median(their_cpu) / median(our_cpu));
    fmt::print("  {}\n", last);
  }
  return 0;
} catch (const std::exception& fault) {
  fmt::print(stderr, "bench_query: {}\n", fault.what());
  return 1;
}
