#include "aggregator/fleet.hpp"

#include <tbb/blocked_range.h>
#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>

#include "aggregator/archive.hpp"
#include "aggregator/engine.hpp"
#include "base/hash.hpp"

namespace muster::aggregator {
namespace {

constexpr std::string_view magic = "muster-fleet/3\n";

}  // namespace

struct Engine::Arena {
  explicit Arena(int workers) : count(workers), arena(workers) {}
  int count;
  tbb::task_arena arena;
};

Engine::Engine(Settings s, const Topology& t)
    : settings(std::move(s)), last_number(settings.incidents_before) {
#if defined(__SANITIZE_THREAD__)
  // TBB's package is not instrumented, so what it synchronises would look like a race.
  const int cores = 1;
#else
  // More threads than cores would only wait for each other.
  const int cores = tbb::info::default_concurrency();
#endif
  const int wanted =
      settings.workers == 0 ? cores : std::min(static_cast<int>(settings.workers), cores);
  arena = std::make_unique<Arena>(wanted);
  apply(t);
}

Engine::~Engine() = default;

void Engine::each(std::size_t n, std::size_t grain,
                  const std::function<void(std::size_t, std::size_t)>& body) const {
  if (n == 0) return;
  if (arena->count == 1 || n <= grain) {
    body(0, n);
    return;
  }
  arena->arena.execute([&] {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, n, grain),
                      [&](const tbb::blocked_range<std::size_t>& r) { body(r.begin(), r.end()); });
  });
}

template <class A>
void Lane::archive(A& a) {
  a(unit, smooth, deviation, bets);
  std::map<std::uint32_t, Mask> sorted(masks.begin(), masks.end());
  a(sorted);
  if constexpr (A::reading) masks.insert(sorted.begin(), sorted.end());
}

template <class A>
void Seasons::archive(A& a) {
  std::uint64_t n = size_;
  a(n);
  if constexpr (A::reading) {
    if (n > a.left()) {
      a.fail();
      return;
    }
    resize(n);
  }
  const auto rows = [&](auto& all, std::size_t count) {
    for (std::size_t k = 0; k < count; ++k) a.bytes(all.data() + k * capacity_, n * sizeof all[0]);
  };
  rows(nodes_, anomaly::season_nodes);
  rows(node_counts_, anomaly::season_nodes);
  rows(cells_, anomaly::season_cells);
  rows(cell_counts_, anomaly::season_cells);
}

template <class A>
void Scale::archive(A& a) {
  a(step, longest, closed, first_tick, data_tick, open, open_counts, models, families, series, model_of,
    channel_of, loading, seasons, metrics, learning, channels, pools, events, kept,
    recent, heat, limited, last_count, single_share);
}

template <class A>
void Engine::archive(A& a) {
  std::map<std::int64_t, Slots> sorted(sets.begin(), sets.end());
  a(sorted);
  if constexpr (A::reading) sets.insert(sorted.begin(), sorted.end());
  a(slot_aliases, models, words, said, aliases, series, counter_states, buckets, histograms, unlearned, newest, versions_said, events,
    cases, last_number, pages, now);
  a(counters.samples, counters.late, counters.duplicates, counters.unknown_set,
    counters.before_interval, counters.not_judged, counters.ticks, counters.series, counters.models,
    counters.pages, counters.candidates_dropped);
  std::uint64_t n = scales.size();
  a(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    if constexpr (A::reading) scales.push_back(std::make_unique<Scale>());
    Scale& scale = *scales[i];
    if constexpr (A::reading) {
      a(scale);
    } else {
      // Groups are the topology's; what they know travels by their names.
      auto all = scale.kept;
      scale.keep_groups(all);
      std::swap(scale.kept, all);
      a(scale);
      std::swap(scale.kept, all);
    }
  }
}

void Engine::reindex() {
  const auto refill = [](auto& index, std::size_t n) {
    index.clear();
    index.reserve(n);
    for (std::uint32_t i = 0; i < n; ++i) index.insert(i);
  };
  refill(word_index, words.size());
  refill(model_index, models.size());
  refill(said_index, said.size());
  series_index.clear();
  for (std::uint32_t i = 0; i < series.size(); ++i) {
    const Run& run = models[series[i].model].series_run;
    if (i < run.first || i >= run.first + run.count) series_index.insert(i);
  }
  alias_index.clear();
  for (std::uint32_t i = not_judged + 1; i < aliases.size(); ++i) {
    const Run& run = said[aliases[i].said].run;
    if (i < run.first || i >= run.first + run.count) alias_index.insert(i);
  }
  unplaced = 0;
  for (const SeriesInfo& s : series)
    unplaced += s.local == none && s.counter == SeriesInfo::plain ? 1 : 0;
  histogram_index.clear();
  for (std::uint32_t i = 0; i < histograms.size(); ++i)
    histogram_index[Pair{histograms[i].model, histograms[i].metric}] = i;
  for (const auto& scale : scales) {
    scale->learning_used = 0;
    for (const auto& buffer : scale->learning) scale->learning_used += buffer ? 1 : 0;
    // The settings may have changed.
    std::map<std::uint32_t, double> limited_now;
    for (const Channel& channel : scale->channels) {
      if (!limited(channel.name)) continue;
      for (const std::uint32_t s : channel.series) {
        const auto known = scale->limited.find(s);
        limited_now[s] = known == scale->limited.end() ? null_value() : known->second;
      }
    }
    scale->limited = std::move(limited_now);
  }
}

Fleet::Fleet(Settings settings, const Topology& topology)
    : engine_(std::make_unique<Engine>(std::move(settings), topology)) {}
Fleet::Fleet(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Fleet::Fleet(Fleet&&) noexcept = default;
Fleet& Fleet::operator=(Fleet&&) noexcept = default;
Fleet::~Fleet() = default;

void Fleet::apply(const Topology& topology) {
  engine_->apply(topology);
}
void Fleet::declare(const SeriesSet& set) {
  engine_->declare(set);
}
bool Fleet::knows(SetId set) const {
  return engine_->sets.contains(static_cast<std::int64_t>(set));
}
void Fleet::observe(const LogRows& rows) {
  engine_->observe(rows);
}
Fleet::SeriesRef Fleet::series(const SeriesIdentity& identity) {
  return engine_->alias_of(identity.model, identity.metric, identity.kind, identity.attributes);
}
void Fleet::observe(SeriesRef series, Timestamp ts, double value) {
  engine_->observe(series, ts, value);
}
void Fleet::observe(const Event& event) {
  engine_->observe(event);
}
std::vector<Finding> Fleet::advance() {
  return engine_->advance(false);
}
std::vector<Finding> Fleet::finish() {
  return engine_->advance(true);
}
FleetView Fleet::view() const {
  return engine_->view();
}
const Counters& Fleet::counters() const {
  return engine_->counters;
}

std::vector<MemoryPart> Fleet::memory() const {
  return engine_->memory();
}

Timestamp Fleet::closed() const {
  return engine_->now;
}

std::vector<Incident> Fleet::open_incidents() const {
  std::vector<Incident> out;
  for (const Case& c : engine_->cases)
    if (c.incident.state == Incident::State::open) out.push_back(c.incident);
  return out;
}

void Fleet::snapshot(const std::function<void(std::string_view)>& take) const {
  Hasher hasher;
  take(magic);
  Writer writer([&](std::string_view piece) {
    hasher.add(piece);
    take(piece);
  });
  engine_->archive(writer);
  writer.flush();
  const std::uint64_t sum = hasher.hash64();
  take({reinterpret_cast<const char*>(&sum), sizeof sum});
}

std::string Fleet::snapshot() const {
  std::string out;
  snapshot([&](std::string_view piece) { out += piece; });
  return out;
}

Result<Fleet> Fleet::restore(Settings settings, const Topology& topology,
                             std::string_view snapshot) {
  std::uint64_t sum = 0;
  if (!snapshot.starts_with(magic) || snapshot.size() < magic.size() + sizeof sum)
    return Error{"snapshot", "not one of this version; read the log from its beginning"};
  std::memcpy(&sum, snapshot.data() + snapshot.size() - sizeof sum, sizeof sum);
  const std::string_view body =
      snapshot.substr(magic.size(), snapshot.size() - magic.size() - sizeof sum);
  if (hash64(body) != sum)
    return Error{"snapshot",
                 "damaged: its checksum does not agree; read the log from its beginning"};
  auto engine = std::make_unique<Engine>(std::move(settings), Topology{});
  Reader reader(body);
  engine->archive(reader);
  if (!reader.done())
    return Error{"snapshot", "not the fields of this build; read the log from its beginning"};
  engine->reindex();
  engine->apply(topology);
  return Fleet(std::move(engine));
}

}  // namespace muster::aggregator
