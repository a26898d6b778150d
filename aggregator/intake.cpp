#include <algorithm>
#include <cassert>
#include <cmath>

#include "aggregator/engine.hpp"

namespace muster::aggregator {
namespace {

constexpr std::int64_t second = 1'000'000;
constexpr std::array<std::int64_t, 5> ladder = {60 * second, 300 * second, 600 * second,
                                                3600 * second, 86400 * second};
constexpr std::size_t instants_needed = 4;
constexpr std::int64_t patience = 86400 * second;  // for a model that reports fewer than four times
constexpr std::size_t events_max = 500;            // a busy day of deploys

// The tick an instant belongs to: samples stand at the end of the interval they describe.
std::int64_t tick_of(std::int64_t us, std::int64_t step) {
  return us >= 0 ? (us + step - 1) / step : -((-us) / step);
}

}  // namespace

std::uint32_t Engine::word(std::string_view text) {
  const auto known = word_index.find(text);
  if (known != word_index.end()) return *known;
  const auto index = static_cast<std::uint32_t>(words.size());
  words.emplace_back(text);
  word_index.insert(index);
  return index;
}

std::uint32_t Engine::model_of(std::string_view id) {
  const auto there = model_index.find(id);
  if (there != model_index.end()) return *there;
  const auto index = static_cast<std::uint32_t>(models.size());
  ModelInfo& info = models.emplace_back();
  info.id = id;
  model_index.insert(index);
  const auto its =
      std::lower_bound(known_models.begin(), known_models.end(), id,
                       [](const KnownModel& m, std::string_view key) { return m.id < key; });
  std::int64_t interval = 0;
  if (its != known_models.end() && its->id == id) {
    info.known = static_cast<std::uint32_t>(its - known_models.begin());
    interval = its->interval;
  }
  counters.models = models.size();
  if (settings.tick) {
    give_interval(index, interval != 0 ? interval : settings.tick->count());
  } else if (interval != 0) {
    give_interval(index, interval);
  } else {
    info.unsettled = std::make_unique<Unsettled>();
    unlearned.push_back(index);
  }
  return index;
}

void Engine::give_interval(std::uint32_t model, std::int64_t interval) {
  ModelInfo& info = models[model];
  info.interval = std::max<std::int64_t>(interval, second);
  std::int64_t step = ladder.front();
  for (const std::int64_t rung : ladder)
    if (rung <= info.interval) step = rung;
  if (settings.tick) step = std::max<std::int64_t>(settings.tick->count(), second);
  auto at =
      std::find_if(scales.begin(), scales.end(), [&](const auto& s) { return s->step == step; });
  if (at == scales.end()) {
    scales.push_back(std::make_unique<Scale>());
    scales.back()->step = step;
    scales.back()->pools.emplace_back();
    at = scales.end() - 1;
  }
  info.scale = static_cast<std::int32_t>(at - scales.begin());
  (*at)->longest = std::max((*at)->longest, info.interval);
}

void Engine::apply(const Topology& t) {
  topology = t;
  std::sort(topology.models.begin(), topology.models.end(),
            [](const Model& a, const Model& b) { return a.id < b.id; });
  dependants = muster::dependants(topology);
  known_models.clear();
  known_models.reserve(topology.models.size());
  for (const Model& m : topology.models) {
    known_models.push_back({.id = m.id,
                            .version = word(m.version),
                            .region = word(m.region),
                            .family = word(m.family),
                            .team = word(m.team),
                            .interval = m.interval.value_or(Duration{}).count()});
  }
  // That was all that they say to it.
  topology.edges = std::vector<Edge>();
  topology.models = std::vector<Model>();
  for (ModelInfo& model : models) model.known = none;
  for (std::uint32_t m = 0; m < known_models.size(); ++m) {
    const auto it = model_index.find(known_models[m].id);
    if (it != model_index.end()) models[*it].known = m;
  }
  if (!settings.tick) {
    for (const std::uint32_t model : unlearned) {
      const std::uint32_t its = models[model].known;
      if (its == none || known_models[its].interval == 0) continue;
      models[model].unsettled->first = {0, known_models[its].interval};
      settle(model);
    }
    std::erase_if(unlearned, [&](std::uint32_t model) { return models[model].scale >= 0; });
  }
  for (const auto& scale : scales) {
    for (ScaleModel& m : scale->models) {
      const std::string& family = family_of(models[m.global]);
      const auto at = std::find(scale->families.begin(), scale->families.end(), family);
      m.family = family.empty() ? none : static_cast<std::uint32_t>(at - scale->families.begin());
      if (!family.empty() && at == scale->families.end()) scale->families.push_back(family);
    }
    regroup(*scale);
  }
}

std::uint32_t Engine::alias_of(std::string_view model_id, std::string_view metric, Kind kind,
                               const ModelAttributes& attributes) {
  const std::uint32_t model = model_of(model_id);
  std::string all;
  for (const std::string* part :
       {&attributes.version, &attributes.region, &attributes.family, &attributes.team}) {
    all += *part;
    all += '\xff';
  }
  const Said says{.model = model, .attributes = word(all)};
  const auto tell = [&] {
    ModelInfo& info = models[model];
    if (!attributes.version.empty()) info.version = word(attributes.version);
    if (!attributes.region.empty()) info.region = word(attributes.region);
    if (!attributes.family.empty()) info.family = word(attributes.family);
    if (!attributes.team.empty()) info.team = word(attributes.team);
  };
  auto its = said_index.find(key_of(says));
  if (its == said_index.end()) {
    tell();
    said.push_back(says);
    if (!attributes.version.empty()) {
      said.back().version = word(attributes.version);
      versions_said = true;
    }
    its = said_index.insert(static_cast<std::uint32_t>(said.size() - 1)).first;
  }
  Alias alias{.said = *its};
  const bool counts = kind == Kind::counter || kind == Kind::delta;
  if (kind == Kind::bucket || kind == Kind::delta_bucket) {
    alias.series = bucket_of(model, metric, kind == Kind::delta_bucket);
    alias.are = Alias::bucket_counts;
  } else {
    SeriesInfo fresh{
        .model = model, .metric = word(metric), .kind = static_cast<std::uint32_t>(kind)};
    alias.series = find(series, models[model].series_run, series_index, fresh);
    if (alias.series == none && series.size() < settings.series_max &&
        !(counts && counter_states.size() >= SeriesInfo::counters_max)) {
      if (counts) {
        fresh.counter = static_cast<std::uint32_t>(counter_states.size());
        counter_states.emplace_back();
      } else {
        ++unplaced;
      }
      alias.series = append(series, models[model].series_run, series_index, fresh);
      counters.series = series.size();
    }
    if (alias.series != none && series[alias.series].is_rate()) alias.are = Alias::counts;
  }
  if (alias.series == none) return not_judged;
  const std::uint32_t there = find(aliases, said[alias.said].run, alias_index, alias);
  if (there != none) return there;
  tell();
  return append(aliases, said[alias.said].run, alias_index, alias);
}

void Engine::declare(const SeriesSet& set) {
  const auto id = static_cast<std::int64_t>(set.id);
  if (sets.contains(id)) return;
  std::vector<std::uint32_t> slots;
  slots.reserve(set.series.size());
  for (const Series& s : set.series)
    slots.push_back(alias_of(set.model, s.metric, s.kind, set.attributes));
  Slots its{.count = static_cast<std::uint32_t>(slots.size())};
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i] != slots.front() + i) its.counts_up = 0;
  if (its.counts_up) {
    its.first = slots.empty() ? 0 : slots.front();
  } else {
    its.first = static_cast<std::uint32_t>(slot_aliases.size());
    slot_aliases.insert(slot_aliases.end(), slots.begin(), slots.end());
  }
  sets.emplace(id, its);
}

void Engine::observe(const LogRows& rows) {
  for (const LogRows::Row& row : rows.rows) {
    const auto set = sets.find(static_cast<std::int64_t>(row.set));
    if (set == sets.end()) {
      ++counters.unknown_set;
      continue;
    }
    const Slots& slots = set->second;
    for (std::uint32_t i = 0; i < row.count; ++i) {
      const std::size_t at = row.first + i;
      const std::size_t slot = row.full ? i : static_cast<std::size_t>(rows.positions[at]);
      if (slot >= slots.count) continue;
      const std::size_t alias = slots.first + slot;
      observe(slots.counts_up ? static_cast<std::uint32_t>(alias) : slot_aliases[alias], row.ts,
              rows.values[at]);
    }
  }
}

void Engine::observe(std::uint32_t alias, Timestamp ts, double value) {
  ++counters.samples;
  const Alias& a = aliases[alias];
  // The end of a counter is news; of a value it is that none comes.
  const bool ends = is_stale(value) && a.are != Alias::values;
  if (a.series == none || (!std::isfinite(value) && !is_null(value) && !ends)) {
    ++counters.not_judged;
    return;
  }
  if (!ends) newest = std::max(newest, ts.us);
  ModelInfo& model = models[said[a.said].model];
  if (model.scale >= 0) {
    place(model.scale, alias, ts, value, false);
    return;
  }
  Unsettled& held = *model.unsettled;
  if (held.waiting.size() >= settings.waiting_max) {
    ++counters.before_interval;
    return;
  }
  held.waiting.push_back({.alias = alias, .ts = ts, .value = value});
  if (ends) return;
  const auto at = std::lower_bound(held.first.begin(), held.first.end(), ts.us);
  if (at == held.first.end() || *at != ts.us) {
    held.first.insert(at, ts.us);
    if (held.first.size() > instants_needed) held.first.pop_back();
  }
}

void Engine::place(std::int32_t scale_index, std::uint32_t alias, Timestamp ts, double value,
                   bool was_waiting) {
  Scale& scale = *scales[static_cast<std::size_t>(scale_index)];
  const std::int64_t tick = tick_of(ts.us, scale.step);
  if (scale.started() && tick <= scale.closed) {
    ++(was_waiting ? counters.before_interval : counters.late);
    return;
  }
  if (tick != scale.cached_tick || scale.cached == nullptr) {
    const auto [open, fresh] = scale.open.try_emplace(tick);
    // About as many as in the tick before; growing by doubling would hold twice the memory.
    if (fresh) open->second.values.reserve(scale.last_count + scale.last_count / 16);
    scale.cached = &open->second;
    scale.cached_tick = tick;
  }
  const auto millis = static_cast<std::int32_t>((ts.us - tick * scale.step) / 1000);
  if (aliases[alias].are == Alias::values) {
    scale.cached->add(alias, millis, value);
  } else {
    scale.open_counts[tick].add(alias, millis, value);
  }
}

void Engine::observe(const Event& event) {
  // Kept in the order of their time, whatever the order of arrival.
  const auto at =
      std::upper_bound(events.begin(), events.end(), event, [](const Event& a, const Event& b) {
        return std::tie(a.ts, a.kind, a.subject, a.title) <
               std::tie(b.ts, b.kind, b.subject, b.title);
      });
  // After a restart the events of the last day are said again.
  if (at != events.begin()) {
    const Event& twin = *(at - 1);
    if (std::tie(twin.ts, twin.kind, twin.subject, twin.title) ==
        std::tie(event.ts, event.kind, event.subject, event.title)) {
      return;
    }
  }
  events.insert(at, event);
  if (events.size() > events_max) events.pop_front();
}

std::int64_t Engine::lateness_of(const Scale& scale) const {
  const std::int64_t wanted =
      settings.lateness ? settings.lateness->count() : 3 * std::max(scale.longest, scale.step);
  return std::max(wanted, 2 * scale.step);
}

std::int64_t Engine::learnable_at(const ModelInfo& model) const {
  const std::vector<std::int64_t>& first = model.unsettled->first;
  if (first.empty()) return std::numeric_limits<std::int64_t>::max();
  if (first.size() < instants_needed) return first.front() + patience;
  const std::int64_t span = first.back() - first.front();
  return first.back() + (settings.lateness ? settings.lateness->count() : span);
}

void Engine::settle(std::uint32_t index) {
  const std::unique_ptr<Unsettled> held = std::move(models[index].unsettled);
  std::vector<std::int64_t> gaps;
  for (std::size_t i = 1; i < held->first.size(); ++i)
    gaps.push_back(held->first[i] - held->first[i - 1]);
  std::sort(gaps.begin(), gaps.end());
  give_interval(index, gaps.empty() ? patience : gaps[gaps.size() / 2]);
  for (const Waiting& w : held->waiting) place(models[index].scale, w.alias, w.ts, w.value, true);
}

std::optional<std::int64_t> Engine::next_tick(const Scale& scale) const {
  if (!scale.started())
    return scale.open.empty() ? std::nullopt : std::optional(scale.open.begin()->first);
  // Where nobody reported for a day there is nothing to judge.
  const auto day = static_cast<std::int64_t>(std::max(12.0, scale.ticks_per_day()));
  const std::int64_t next = scale.closed + 1;
  if (next - scale.data_tick <= day) return next;
  return scale.open.empty() ? std::nullopt : std::optional(scale.open.begin()->first);
}

std::vector<Finding> Engine::advance(bool to_the_end) {
  std::vector<Finding> findings;
  if (newest == std::numeric_limits<std::int64_t>::min()) return findings;
  const std::int64_t horizon = to_the_end ? std::numeric_limits<std::int64_t>::max() - 1 : newest;
  // Models whose interval shows by now, in the order of the instants at which it does; those of one instant by
  // name: the order of arrival must not number the scales.
  std::vector<std::pair<std::int64_t, std::uint32_t>> learnable;
  for (const std::uint32_t model : unlearned) {
    const std::int64_t at = learnable_at(models[model]);
    if (at <= horizon) learnable.emplace_back(at, model);
  }
  std::sort(learnable.begin(), learnable.end(), [&](const auto& a, const auto& b) {
    return std::tie(a.first, models[a.second].id) < std::tie(b.first, models[b.second].id);
  });
  auto learn = learnable.begin();
  for (;;) {
    // The order is that of the watermarks at which things become possible, so it does not matter
    // when and how often this is called.
    std::int64_t when = std::numeric_limits<std::int64_t>::max();
    std::size_t which = 0;
    std::int64_t tick = 0;
    for (std::size_t i = 0; i < scales.size(); ++i) {
      const auto next = next_tick(*scales[i]);
      if (!next) continue;
      if (to_the_end && (scales[i]->open.empty() || *next > scales[i]->open.rbegin()->first))
        continue;
      const std::int64_t at = *next * scales[i]->step + lateness_of(*scales[i]);
      if (at < when || (at == when && scales[i]->step < scales[which]->step)) {
        when = at;
        which = i;
        tick = *next;
      }
    }
    if (learn != learnable.end() && learn->first <= when) {
      const std::int64_t instant = learn->first;
      for (; learn != learnable.end() && learn->first == instant; ++learn) settle(learn->second);
      continue;
    }
    if (when > horizon) break;
    close(static_cast<std::uint32_t>(which), tick, findings);
  }
  if (!learnable.empty())
    std::erase_if(unlearned, [&](std::uint32_t model) { return models[model].scale >= 0; });
  return findings;
}

}  // namespace muster::aggregator
