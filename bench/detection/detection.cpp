#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "aggregator/fleet.hpp"
#include "simulator/fleet.hpp"
#include "simulator/score.hpp"
#include "simulator/showcase.hpp"

// How good the detection is: invented fleets of several seeds, or a recorded fleet, through the aggregator;
// what it found against what was done. Prints a Markdown table. Or scores files that any detector wrote.
namespace {

using namespace muster;
using namespace muster::simulator;

struct Options {
  std::vector<std::uint64_t> seeds{1, 2, 3};
  std::uint32_t models = 200;
  int weeks = 8;
  double per_week = 7;
  double together = 0.15;
  double strength_low = 0.5, strength_high = 1.5;
  double budget = -1;  // below 0: 1, or 0.25 for the recorded fleet
  unsigned workers = 0;
  bool hostile = false;
  bool quiet = false;
  bool no_version_labels = false;
  bool showcase = false;
  std::string findings;  // file that gets every finding
  bool detail = false;
  std::string airquality;
  std::string incidents, pages, truth, topology;
  std::int64_t from_ms = std::numeric_limits<std::int64_t>::min();
  std::int64_t until_ms = std::numeric_limits<std::int64_t>::min();
};

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

std::string read_file(const std::string& path) {
  // gzread also reads what is not compressed.
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) throw std::runtime_error("cannot open " + path);
  std::string text;
  char block[1 << 16];
  int got;
  while ((got = gzread(file, block, sizeof block)) > 0)
    text.append(block, static_cast<std::size_t>(got));
  gzclose(file);
  if (got < 0) throw std::runtime_error("cannot read " + path);
  return text;
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().where + ": " + result.error().what);
  return std::move(*result);
}

// Every finding in full, a line each: two builds that decide alike write the same bytes.
void write_findings(const std::string& path, const std::vector<Finding>& findings) {
  if (path.empty()) return;
  std::FILE* file = std::fopen(path.c_str(), "ab");
  if (file == nullptr) throw std::runtime_error("cannot write " + path);
  for (const Finding& finding : findings) {
    const std::string line = to_json(finding) + "\n";
    std::fwrite(line.data(), 1, line.size(), file);
  }
  if (std::fclose(file) != 0) throw std::runtime_error("cannot write " + path);
}

void append(std::vector<Finding>& all, std::vector<Finding> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// What became of each fault, and what the false pages were about.
void print_detail(const Score& score, const std::vector<Truth>& truth,
                  const std::vector<Claim>& claims) {
  std::printf(
      "\n| fault | kind | cause | models | shift | hours | delay, min | rank | claims |\n| --- | "
      "--- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const Score::Fate& fate : score.fates) {
    const Truth& t = truth[fate.fault];
    std::string names;
    for (const std::string& id : fate.claims) {
      const auto claim =
          std::find_if(claims.begin(), claims.end(), [&](const Claim& c) { return c.id == id; });
      names += id + " (" + (claim->suspects.empty() ? "none" : claim->suspects.front()) + ") ";
    }
    std::printf("| %u | %s | %s | %zu | %.2f | %.0f | %s | %u | %s |\n", t.id, t.kind.c_str(),
                t.root_cause.c_str(), t.models.size(), t.shift,
                static_cast<double>((t.end - t.start).count()) / 3.6e9,
                fate.delay ? std::to_string(fate.delay->count() / 60'000'000).c_str() : "-",
                fate.rank, names.c_str());
  }
  for (const std::string& id : score.false_claims) {
    const auto claim =
        std::find_if(claims.begin(), claims.end(), [&](const Claim& c) { return c.id == id; });
    if (claim == claims.end()) continue;
    std::printf("false: %s at %lld ms, %s, %zu models\n", id.c_str(),
                static_cast<long long>(to_millis(claim->opened_at)),
                claim->suspects.empty() ? "no suspect" : claim->suspects.front().c_str(),
                claim->models.size());
  }
  std::printf("\n");
}

void print_cost(std::uint64_t samples, double seconds) {
  std::fprintf(stderr, "  %.1f M samples in %.1f s (%.0f ns each)\n",
               static_cast<double>(samples) / 1e6, seconds,
               seconds * 1e9 / static_cast<double>(samples));
}

aggregator::Settings settings_of(const Options& options, double default_budget) {
  aggregator::Settings settings;
  settings.budget_per_week = options.budget > 0 ? options.budget : default_budget;
  settings.workers = options.workers;
  return settings;
}

Score run_invented(const Options& options, std::uint64_t seed) {
  FleetShape shape = options.hostile ? FleetShape::hostile() : FleetShape{};
  shape.models = options.models;
  shape.version_labels = !options.no_version_labels;
  simulator::Fleet fleet(shape, seed);
  const Tick week = Duration(std::chrono::weeks(1)) / shape.tick;
  const aggregator::Settings settings = settings_of(options, 1);
  const Tick learned = static_cast<Tick>(settings.warmup_days / 7 * static_cast<double>(week));
  const Tick until = options.weeks * week;
  if (options.showcase) {
    // As the demo does it: after four weeks of history, for the rest of the time.
    Showcase showcase(fleet, {});
    std::uint32_t id = 1;
    for (Tick t = 4 * week + 20; t < until; t = showcase.next_after(t, id), ++id)
      must(fleet.inject(showcase.invent(t, id)));
  } else if (!options.quiet) {
    FaultPlan plan{learned,
                   until,
                   options.per_week,
                   options.together,
                   options.strength_low,
                   options.strength_high};
    for (const Fault& fault : plan_faults(fleet, plan)) must(fleet.inject(fault));
  }

  aggregator::Fleet detector(settings, fleet.topology());
  struct Known {
    std::uint32_t deploy = 0;
    bool known = false;
    aggregator::Fleet::SeriesRef ref = 0;
  };
  std::vector<Known> refs(shape.models * metrics.size());
  std::vector<Finding> findings;
  std::uint64_t samples = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (Tick t = 0; t < until; ++t) {
    for (const Event& event : fleet.events(t)) {
      if (shape.version_labels) detector.observe(event);
    }
    for (const Sample& sample : fleet.tick(t)) {
      Known& known = refs[sample.model * metrics.size() + sample.metric];
      if (!known.known || known.deploy != sample.deploy) {
        const Model& model = fleet.topology().models[sample.model];
        SeriesIdentity identity;
        identity.model = model.id;
        identity.metric = metrics[sample.metric].id;
        if (shape.version_labels)
          identity.attributes.version = fleet.version(sample.model, sample.deploy);
        identity.attributes.region = model.region;
        identity.attributes.family = model.family;
        identity.attributes.team = model.team;
        known = {sample.deploy, true, detector.series(identity)};
      }
      detector.observe(known.ref, sample.ts, sample.value);
      ++samples;
    }
    append(findings, detector.advance());
  }
  append(findings, detector.finish());
  print_cost(samples, seconds_since(begun));

  write_findings(options.findings, findings);
  const Claims claims = claims_of(findings);
  const Score result = score(fleet.truth(), claims.claims, claims.pages, &fleet.topology(),
                             {fleet.time_of(learned), fleet.time_of(until)});
  if (options.detail) print_detail(result, fleet.truth(), claims.claims);
  return result;
}

// The recorded fleet: points.csv.gz with ts,series,value and series model|metric, topology.json, incidents.json.
Score run_recorded(const Options& options) {
  const std::string folder = options.airquality + "/";
  const Topology topology = must(parse_topology(read_file(folder + "topology.json")));
  const std::vector<Truth> truth = must(parse_truth(read_file(folder + "incidents.json")));
  const std::string text = read_file(folder + "points.csv.gz");

  aggregator::Fleet detector(settings_of(options, 0.25), topology);
  std::map<std::string, aggregator::Fleet::SeriesRef, std::less<>> refs;
  std::vector<Finding> findings;
  std::uint64_t samples = 0;
  Timestamp first{}, last{};
  const auto begun = std::chrono::steady_clock::now();
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t a = line.find(','), b = line.rfind(',');
    std::int64_t seconds = 0;
    double value = 0;
    if (b == std::string_view::npos || a == b) continue;
    // The head of the file is the one line that does not begin with a number.
    if (std::from_chars(line.data(), line.data() + a, seconds).ec != std::errc()) continue;
    if (std::from_chars(line.data() + b + 1, line.data() + line.size(), value).ec != std::errc())
      continue;
    const std::string_view name = line.substr(a + 1, b - a - 1);
    auto ref = refs.find(name);
    if (ref == refs.end()) {
      SeriesIdentity identity;
      identity.model = name.substr(0, name.find('|'));
      identity.metric = name.substr(name.find('|') + 1);
      ref = refs.emplace(name, detector.series(identity)).first;
    }
    const Timestamp ts = from_seconds(seconds);
    if (samples == 0) first = ts;
    if (ts > last) {
      append(findings, detector.advance());
      last = ts;
    }
    detector.observe(ref->second, ts, value);
    ++samples;
  }
  append(findings, detector.finish());
  print_cost(samples, seconds_since(begun));

  write_findings(options.findings, findings);
  const Claims claims = claims_of(findings);
  // Its first 60 days hold no incident, to learn from. A tick is an hour, so the grace is in days.
  ScoreSettings settings{first + std::chrono::days(60), last};
  settings.grace = std::chrono::hours(24);
  const Score result = score(truth, claims.claims, claims.pages, &topology, settings);
  if (options.detail) print_detail(result, truth, claims.claims);
  return result;
}

Score score_files(const Options& options) {
  const std::vector<Truth> truth = must(parse_truth(read_file(options.truth)));
  const std::vector<Claim> claims = must(parse_claims(read_file(options.incidents)));
  const std::vector<Page> pages = must(parse_pages(read_file(options.pages)));
  Topology topology;
  if (!options.topology.empty()) topology = must(parse_topology(read_file(options.topology)));
  Timestamp first{std::numeric_limits<std::int64_t>::max()},
      last{std::numeric_limits<std::int64_t>::min()};
  for (const Truth& t : truth) {
    first = std::min(first, t.start);
    last = std::max(last, t.end);
  }
  for (const Page& page : pages) last = std::max(last, page.ts + Duration(1));
  constexpr auto unset = std::numeric_limits<std::int64_t>::min();
  if (options.from_ms != unset) first = from_millis(options.from_ms);
  if (options.until_ms != unset) last = from_millis(options.until_ms);
  if (last < first) throw std::runtime_error("nothing lies between --from and --until");
  const Score result =
      score(truth, claims, pages, options.topology.empty() ? nullptr : &topology, {first, last});
  if (options.detail) print_detail(result, truth, claims);
  return result;
}

int run(const Options& options) {
  if (!options.incidents.empty() || !options.pages.empty() || !options.truth.empty()) {
    const Score s = score_files(options);
    std::printf("%s%s", markdown_head().c_str(), markdown_row("files", s).c_str());
    return 0;
  }
  if (!options.airquality.empty()) {
    const Score s = run_recorded(options);
    std::printf("%s%s", markdown_head().c_str(), markdown_row("recorded fleet", s).c_str());
    return 0;
  }
  std::vector<Score> scores;
  std::string rows;
  for (const std::uint64_t seed : options.seeds) {
    std::fprintf(stderr, "seed %llu, %u models, %d weeks\n", static_cast<unsigned long long>(seed),
                 options.models, options.weeks);
    scores.push_back(run_invented(options, seed));
    const std::string name = std::string(options.hostile ? "hostile " : "") +
                             (options.quiet ? "quiet " : "") + "seed " + std::to_string(seed);
    rows += markdown_row(name, scores.back());
  }
  if (scores.size() > 1) rows += markdown_row("all", pooled(scores));
  std::printf("%s%s", markdown_head().c_str(), rows.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"How good the detection is, against faults that are known."};
  Options o;
  app.add_option("--seeds", o.seeds, "invented fleets, one a seed")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--models", o.models)->capture_default_str();
  app.add_option("--weeks", o.weeks, "of which the first two are for learning")
      ->capture_default_str();
  app.add_option("--faults-per-week", o.per_week)->capture_default_str();
  app.add_option("--together", o.together, "share of faults with a second one beside them")
      ->capture_default_str();
  app.add_option("--strength-low", o.strength_low, "in sigma")->capture_default_str();
  app.add_option("--strength-high", o.strength_high)->capture_default_str();
  app.add_option("--budget", o.budget, "false pages a week");
  app.add_option("--workers", o.workers, "threads; 0: all cores");
  app.add_flag("--hostile", o.hostile);
  app.add_flag("--quiet", o.quiet, "no faults");
  app.add_flag("--showcase", o.showcase,
               "the demo's faults: strong, short, one a hundred ticks; from week five on");
  app.add_flag("--no-version-labels", o.no_version_labels);
  app.add_option("--findings", o.findings, "file to append every finding to, in full");
  app.add_flag("--detail", o.detail, "what became of each fault");
  app.add_option("--airquality", o.airquality,
                 "folder of a recorded fleet: points.csv.gz, topology.json, incidents.json");
  auto* incidents = app.add_option("--incidents", o.incidents,
                                   "score files instead: incidents as `muster replay` writes them");
  auto* pages = app.add_option("--pages", o.pages);
  auto* truth = app.add_option("--truth", o.truth, "as `muster simulate` writes it");
  incidents->needs(pages, truth);
  pages->needs(incidents);
  truth->needs(incidents);
  app.add_option("--topology", o.topology, "to know which causes cannot be told apart");
  app.add_option("--from", o.from_ms, "unix ms; by default the first fault's start");
  app.add_option("--until", o.until_ms, "unix ms; by default the last fault's end or page");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "bench_detection: %s\n", fault.what());
    return 1;
  }
}
