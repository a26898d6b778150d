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

constexpr std::string_view magic = "muster-fleet/1\n";

}  // namespace

struct Engine::Arena {
  explicit Arena(int workers) : count(workers), arena(workers) {}
  int count;
  tbb::task_arena arena;
};

Engine::Engine(Settings s, const Topology& t) : settings(std::move(s)) {
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
void Scale::archive(A& a) {
  a(step, longest, closed, first_tick, data_tick, open, models, families, series, counters,
    learning, learning_free, channels, pools, metrics, events, kept, recent, heat, stamp, value,
    single_share);
}

template <class A>
void Engine::archive(A& a) {
  std::map<std::int64_t, std::vector<std::uint32_t>> set_slots;
  if constexpr (!A::reading)
    for (const auto& [id, slots] : sets) set_slots[id] = slots;
  a(set_slots);
  if constexpr (A::reading)
    for (auto& [id, slots] : set_slots) sets[id] = std::move(slots);
  a(models, words, aliases, series, unlearned, newest, versions_said, events, cases, last_number,
    pages, now);
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
  for (std::uint32_t i = 0; i < words.size(); ++i) word_index[words[i]] = i;
  for (std::uint32_t i = 0; i < models.size(); ++i) model_index[models[i].id] = i;
  for (std::uint32_t i = 0; i < aliases.size(); ++i) alias_index[aliases[i].key()] = i;
  for (std::uint32_t i = 0; i < series.size(); ++i)
    series_index[static_cast<std::int64_t>(
        series_id(models[series[i].model].id, words[series[i].metric]))] = i;
  for (const auto& scale : scales) {
    const std::size_t n = scale->series.size();
    scale->millis.resize(n);
    scale->z.resize(n);
    scale->has_z.resize(n);
    scale->flags.resize(n);
    scale->week_term.resize(n);
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

Timestamp Fleet::closed() const { return engine_->now; }

std::vector<Incident> Fleet::open_incidents() const {
  std::vector<Incident> out;
  for (const Case& c : engine_->cases)
    if (c.incident.state == Incident::State::open) out.push_back(c.incident);
  return out;
}

std::string Fleet::snapshot() const {
  Writer writer;
  engine_->archive(writer);
  const std::string body = writer.take();
  std::uint64_t sum = hash64(body);
  std::string out(magic);
  out.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  out += body;
  return out;
}

Result<Fleet> Fleet::restore(Settings settings, const Topology& topology,
                             std::string_view snapshot) {
  std::uint64_t sum = 0;
  if (!snapshot.starts_with(magic) || snapshot.size() < magic.size() + sizeof sum)
    return Error{"snapshot", "not one of this version; read the log from its beginning"};
  std::memcpy(&sum, snapshot.data() + magic.size(), sizeof sum);
  const std::string_view body = snapshot.substr(magic.size() + sizeof sum);
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
