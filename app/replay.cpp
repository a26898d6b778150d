#include <absl/container/flat_hash_map.h>
#include <zlib.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "aggregator/fleet.hpp"
#include "app/commands.hpp"
#include "app/progress.hpp"
#include "collector/decode/csv_points.hpp"
#include "collector/decode/ndjson.hpp"

// muster replay: a recorded stream through the same evidence as a live one, under its own clock.
namespace muster::app {
namespace {

struct Options {
  std::string samples;
  std::string topology;
  std::string events;
  std::string config;
  std::string incidents;
  std::string pages;
  double budget = 1;
  double warmup_days = 14;
  unsigned workers = 0;
};

constexpr std::size_t chunk_bytes =
    4 << 20;  // long enough that closing ticks is not a matter of chunks

std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_whole(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path + ": " + std::strerror(errno));
}

// Whole lines of a file or a pipe, gzip or plain, a chunk at a time.
class Lines {
 public:
  explicit Lines(const std::string& path) : path_(path) {
    file_ = path == "-" ? gzdopen(0, "rb") : gzopen(path.c_str(), "rb");
    if (!file_) throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
    gzbuffer(file_, 1 << 18);
    if (path != "-") size_ = std::filesystem::file_size(path);
  }
  ~Lines() { gzclose(file_); }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;

  // Empty at the end.
  std::vector<char> next() {
    std::vector<char> out = std::move(rest_);
    rest_.clear();
    while (!ended_) {
      const std::size_t held = out.size();
      out.resize(held + chunk_bytes);
      const int got = gzread(file_, out.data() + held, chunk_bytes);
      if (got < 0) {
        int code = 0;
        throw std::runtime_error("cannot read " + path_ + ": " + gzerror(file_, &code));
      }
      out.resize(held + static_cast<std::size_t>(got));
      // A pipe gives what it has; only nothing is the end.
      ended_ = got == 0;
      const std::size_t whole = decode::whole_lines({out.data(), out.size()});
      if (whole == 0) continue;
      rest_.assign(out.begin() + static_cast<std::ptrdiff_t>(whole), out.end());
      out.resize(whole);
      return out;
    }
    return out;
  }

  std::uint64_t size() const { return size_; }
  std::uint64_t done() const {
    return static_cast<std::uint64_t>(std::max<z_off_t>(0, gzoffset(file_)));
  }

 private:
  std::string path_;
  gzFile file_ = nullptr;
  std::uint64_t size_ = 0;
  std::vector<char> rest_;
  bool ended_ = false;
};

std::vector<Event> read_events(const std::string& path) {
  std::vector<Event> out;
  if (path.empty()) return out;
  Lines lines(path);
  std::uint32_t number = 0;
  for (std::vector<char> chunk = lines.next(); !chunk.empty(); chunk = lines.next()) {
    const std::string_view all(chunk.data(), chunk.size());
    for (std::size_t at = 0; at < all.size();) {
      std::size_t end = all.find('\n', at);
      if (end == std::string_view::npos) end = all.size();
      const std::string_view line = all.substr(at, end - at);
      at = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      auto event = parse_event(line);
      if (!event)
        throw std::runtime_error(path + ", line " + std::to_string(number) + ": " +
                                 event.error().where + ": " + event.error().what);
      out.push_back(std::move(*event));
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Event& a, const Event& b) { return a.ts < b.ts; });
  return out;
}

boost::json::object json_of(const Incident& incident) {
  boost::json::array suspects;
  for (const Suspect& s : incident.suspects)
    suspects.push_back({{"dependency", s.id}, {"score", s.posterior}});
  boost::json::object out{
      {"id", incident.id},
      {"opened_at", to_millis(incident.opened_at)},
      {"resolved_at", nullptr},
      {"score", incident.score},
      {"suspects", std::move(suspects)},
      {"models", boost::json::array(incident.models.begin(), incident.models.end())},
      {"metrics", boost::json::array(incident.metrics.begin(), incident.metrics.end())},
      {"state", to_word(incident.state)},
      {"cause", incident.cause},
      {"title", incident.title},
      {"why", incident.why}};
  if (incident.resolved_at) out["resolved_at"] = to_millis(*incident.resolved_at);
  return out;
}

std::string per_line(const boost::json::array& array) {
  std::string out = "[";
  for (std::size_t i = 0; i < array.size(); ++i)
    out += (i == 0 ? "\n" : ",\n") + boost::json::serialize(array[i]);
  return out + "\n]\n";
}

int replay(const Options& options) {
  Topology topology;
  if (!options.topology.empty()) {
    auto parsed = parse_topology(read_whole(options.topology));
    if (!parsed) {
      std::fprintf(stderr, "muster: %s: %s: %s\n", options.topology.c_str(),
                   parsed.error().where.c_str(), parsed.error().what.c_str());
      return 2;
    }
    topology = std::move(*parsed);
    for (const std::string& warning : topology.warnings)
      std::fprintf(stderr, "muster: %s\n", warning.c_str());
  }
  const std::vector<Event> events = read_events(options.events);
  std::size_t next_event = 0;

  aggregator::Settings settings;
  settings.budget_per_week = options.budget;
  settings.warmup_days = options.warmup_days;
  settings.workers = options.workers;
  aggregator::Fleet fleet(settings, topology);

  std::map<std::string, Incident> incidents;  // as each stands after its last finding
  boost::json::array pages;
  std::uint64_t page_count = 0;
  std::optional<Timestamp> first_ts;
  std::optional<Timestamp> last_ts;
  const auto take = [&](std::vector<Finding> findings) {
    for (Finding& finding : findings) {
      if (finding.what == Finding::What::opened && finding.incident.paged) {
        pages.push_back({{"ts", to_millis(finding.at)}, {"incident_id", finding.incident.id}});
        ++page_count;
      }
      incidents[finding.incident.id] = std::move(finding.incident);
    }
  };

  Lines lines(options.samples);
  std::unique_ptr<Progress> progress;
  if (lines.size() > 0) progress = std::make_unique<Progress>("replay", lines.size());
  const Mapping mapping;
  absl::flat_hash_map<std::uint64_t, aggregator::Fleet::SeriesRef> refs;
  const auto begun = std::chrono::steady_clock::now();
  std::uint64_t rejected = 0;
  std::uint32_t line = 1;
  bool json = false;
  for (std::vector<char> chunk = lines.next(); !chunk.empty(); chunk = lines.next()) {
    if (line == 1) {
      const auto first = std::find_if(chunk.begin(), chunk.end(), [](char c) {
        return c != ' ' && c != '\n' && c != '\r' && c != '\t';
      });
      json = first != chunk.end() && *first == '{';
    }
    decode::Decoded decoded = json ? decode::ndjson(std::move(chunk), {}, line)
                                   : decode::csv_points(std::move(chunk), line);
    line += decoded.lines;
    for (const Rejected& r : decoded.rejected)
      if (rejected + static_cast<std::uint64_t>(&r - decoded.rejected.data()) < 10)
        std::fprintf(stderr, "muster: %s, line %u: %s\n", options.samples.c_str(), r.line,
                     r.what.c_str());
    rejected += decoded.rejected_count;
    const SampleBatch& batch = decoded.batch;
    for (const RawSeries& raw : batch.series) {
      auto ref = refs.find(raw.alias);
      if (ref == refs.end()) {
        const auto identity = batch.identify(raw.labels, mapping);
        if (!identity) {
          if (rejected++ < 10)
            std::fprintf(stderr, "muster: %s, line %u: %s: %s\n", options.samples.c_str(), raw.line,
                         identity.error().where.c_str(), identity.error().what.c_str());
          continue;
        }
        ref = refs.emplace(raw.alias, fleet.series(*identity)).first;
      }
      for (std::uint32_t i = 0; i < raw.count; ++i) {
        const Point& point = batch.points[raw.first + i];
        if (!first_ts || point.ts < *first_ts) first_ts = point.ts;
        if (!last_ts || point.ts > *last_ts) last_ts = point.ts;
        fleet.observe(ref->second, point.ts, point.value);
      }
    }
    while (next_event < events.size() && last_ts && events[next_event].ts <= *last_ts)
      fleet.observe(events[next_event++]);
    take(fleet.advance());
    if (progress)
      progress->update(lines.done(), std::to_string(fleet.counters().samples) + " samples");
  }
  take(fleet.finish());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (progress) progress->finish(std::to_string(fleet.counters().samples) + " samples");

  boost::json::array all;
  for (const auto& [id, incident] : incidents) all.push_back(json_of(incident));
  write_whole(options.incidents, per_line(all));
  write_whole(options.pages, per_line(pages));

  const aggregator::Counters& counters = fleet.counters();
  const FleetView view = fleet.view();
  std::size_t reporting = 0;
  for (const ModelView& m : view.models) reporting += m.state != ModelView::State::silent ? 1 : 0;
  const double weeks =
      first_ts ? static_cast<double>((*last_ts - *first_ts).count()) / (7 * 86400e6) : 0;
  const double paging_weeks = std::max(0.0, weeks - options.warmup_days / 7);
  std::printf(
      "%llu samples of %llu series, %llu models, %.1f weeks; %llu late, %llu duplicates, %llu "
      "refused\n",
      static_cast<unsigned long long>(counters.samples),
      static_cast<unsigned long long>(counters.series),
      static_cast<unsigned long long>(counters.models), weeks,
      static_cast<unsigned long long>(counters.late),
      static_cast<unsigned long long>(counters.duplicates),
      static_cast<unsigned long long>(rejected));
  std::printf(
      "%zu incidents, %llu pages: %.2f a week after %.0f days of learning; false ones promised: at "
      "most %.2f a week\n",
      incidents.size(), static_cast<unsigned long long>(page_count),
      paging_weeks > 0 ? static_cast<double>(page_count) / paging_weeks : 0.0, options.warmup_days,
      options.budget);
  std::printf("coverage: %zu of %zu models report at the end, %zu of them known to the topology\n",
              reporting, view.models.size(),
              static_cast<std::size_t>(
                  std::count_if(view.models.begin(), view.models.end(), [&](const ModelView& m) {
                    return std::any_of(topology.models.begin(), topology.models.end(),
                                       [&](const Model& t) { return t.id == m.id; });
                  })));
  std::printf("%.1f s, %.2f M samples/s\n", seconds,
              static_cast<double>(counters.samples) / 1e6 / std::max(seconds, 1e-9));
  return 0;
}

}  // namespace

void add_replay(CLI::App& app, Run& run) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("replay", "past samples under their own clock, to incidents and pages");
  command->footer(
      "Example:\n  muster replay --samples fleet.ndjson.gz --topology topology.json --incidents "
      "incidents.json "
      "--pages pages.json");
  command
      ->add_option("--samples", options->samples,
                   "NDJSON or CSV ts,series,value; .gz too; - is a pipe")
      ->required();
  command->add_option("--topology", options->topology, "muster-topology/1")
      ->check(CLI::ExistingFile);
  command->add_option("--events", options->events, "NDJSON, as POST /api/v1/events takes them")
      ->check(CLI::ExistingFile);
  command->add_option("--config", options->config, "the YAML of serve; flags win over it")
      ->check(CLI::ExistingFile);
  command->add_option("--incidents", options->incidents, "written: a JSON array")->required();
  command->add_option("--pages", options->pages, "written: a JSON array")->required();
  command->add_option("--budget", options->budget, "false pages a week")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--warmup-days", options->warmup_days, "history before the first page")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--workers", options->workers, "threads; 0: all cores");
  command->callback([options, &run] { run = [options] { return replay(*options); }; });
}

}  // namespace muster::app
