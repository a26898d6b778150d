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
  const auto [it, fresh] = word_index.try_emplace(std::string(text), words.size());
  if (fresh) words.emplace_back(text);
  return it->second;
}

std::uint32_t Engine::model_of(std::string_view id) {
  const auto [it, fresh] =
      model_index.try_emplace(std::string(id), static_cast<std::uint32_t>(models.size()));
  if (fresh) {
    models.emplace_back();
    models.back().id = id;
    const auto known =
        std::lower_bound(topology.models.begin(), topology.models.end(), id,
                         [](const Model& m, std::string_view key) { return m.id < key; });
    if (known != topology.models.end() && known->id == id) models.back().known = *known;
    counters.models = models.size();
    if (settings.tick)
      give_interval(it->second, models.back().known.interval.value_or(*settings.tick).count());
    else if (models.back().known.interval)
      give_interval(it->second, models.back().known.interval->count());
    else
      unlearned.push_back(it->second);
  }
  return it->second;
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
  for (const std::uint32_t alias : info.aliases) aliases[alias].scale = info.scale;
}

void Engine::apply(const Topology& t) {
  topology = t;
  std::sort(topology.models.begin(), topology.models.end(),
            [](const Model& a, const Model& b) { return a.id < b.id; });
  dependants = muster::dependants(topology);
  for (ModelInfo& model : models) model.known = {};
  for (const Model& m : topology.models) {
    const auto it = model_index.find(m.id);
    if (it != model_index.end()) models[it->second].known = m;
  }
  if (!settings.tick) {
    for (const std::uint32_t model : unlearned) {
      if (!models[model].known.interval) continue;
      models[model].first = {0, models[model].known.interval->count()};
      settle(model);
    }
    std::erase_if(unlearned, [&](std::uint32_t model) { return models[model].scale >= 0; });
  }
  for (const auto& scale : scales) {
    for (ScaleModel& m : scale->models) {
      const std::string& family = models[m.global].family();
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
  std::string said;
  for (const std::string* part :
       {&attributes.version, &attributes.region, &attributes.family, &attributes.team}) {
    said += *part;
    said += '\xff';
  }
  Alias alias;
  alias.model = model;
  alias.metric = word(metric);
  alias.attributes = word(said);
  const auto [it, fresh] =
      alias_index.try_emplace(alias.key(), static_cast<std::uint32_t>(aliases.size()));
  if (!fresh) return it->second;
  ModelInfo& info = models[model];
  if (!attributes.version.empty()) {
    alias.version = word(attributes.version);
    info.said.version = attributes.version;
    versions_said = true;
  }
  if (!attributes.region.empty()) info.said.region = attributes.region;
  if (!attributes.family.empty()) info.said.family = attributes.family;
  if (!attributes.team.empty()) info.said.team = attributes.team;
  alias.scale = info.scale;
  if (kind != Kind::bucket) {
    const auto id = static_cast<std::int64_t>(series_id(model_id, metric));
    const auto known = series_index.find(id);
    if (known != series_index.end()) {
      alias.series = known->second;
    } else if (series.size() < settings.series_max) {
      alias.series = static_cast<std::uint32_t>(series.size());
      series_index.emplace(id, alias.series);
      series.push_back({.model = model, .metric = word(metric), .kind = kind});
      counters.series = series.size();
    }
  }
  info.aliases.push_back(it->second);
  aliases.push_back(alias);
  return it->second;
}

void Engine::declare(const SeriesSet& set) {
  const auto [it, fresh] = sets.try_emplace(static_cast<std::int64_t>(set.id));
  if (!fresh) return;
  std::vector<std::uint32_t> slots;
  slots.reserve(set.series.size());
  for (const Series& s : set.series)
    slots.push_back(alias_of(set.model, s.metric, s.kind, set.attributes));
  it->second = std::move(slots);
}

void Engine::observe(const LogRows& rows) {
  for (const LogRows::Row& row : rows.rows) {
    const auto set = sets.find(static_cast<std::int64_t>(row.set));
    if (set == sets.end()) {
      ++counters.unknown_set;
      continue;
    }
    for (std::uint32_t i = 0; i < row.count; ++i) {
      const std::size_t at = row.first + i;
      const std::size_t slot = row.full ? i : static_cast<std::size_t>(rows.positions[at]);
      if (slot < set->second.size()) observe(set->second[slot], row.ts, rows.values[at]);
    }
  }
}

void Engine::observe(std::uint32_t alias, Timestamp ts, double value) {
  ++counters.samples;
  const Alias& a = aliases[alias];
  if (a.series == none || is_stale(value) || (!std::isfinite(value) && !is_null(value))) {
    ++counters.not_judged;
    return;
  }
  newest = std::max(newest, ts.us);
  if (a.scale >= 0) {
    place(a.scale, alias, ts, value, false);
    return;
  }
  ModelInfo& model = models[series[a.series].model];
  if (model.waiting.size() >= settings.waiting_max) {
    ++counters.before_interval;
    return;
  }
  model.waiting.push_back({.alias = alias, .ts = ts, .value = value});
  const auto at = std::lower_bound(model.first.begin(), model.first.end(), ts.us);
  if (at == model.first.end() || *at != ts.us) {
    model.first.insert(at, ts.us);
    if (model.first.size() > instants_needed) model.first.pop_back();
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
    if (fresh) open->second.reserve(scale.last_count + scale.last_count / 16);
    scale.cached = &open->second;
    scale.cached_tick = tick;
  }
  const auto millis = static_cast<std::int32_t>((ts.us - tick * scale.step) / 1000);
  scale.cached->push_back({.alias = alias, .millis = millis, .value = value});
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
  if (model.first.empty()) return std::numeric_limits<std::int64_t>::max();
  if (model.first.size() < instants_needed) return model.first.front() + patience;
  const std::int64_t span = model.first.back() - model.first.front();
  return model.first.back() + (settings.lateness ? settings.lateness->count() : span);
}

void Engine::settle(std::uint32_t index) {
  ModelInfo& model = models[index];
  std::vector<std::int64_t> gaps;
  for (std::size_t i = 1; i < model.first.size(); ++i)
    gaps.push_back(model.first[i] - model.first[i - 1]);
  std::sort(gaps.begin(), gaps.end());
  give_interval(index, gaps.empty() ? patience : gaps[gaps.size() / 2]);
  for (const Waiting& w : models[index].waiting)
    place(models[index].scale, w.alias, w.ts, w.value, true);
  models[index].waiting = {};
  models[index].first = {};
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
    std::int64_t learn = std::numeric_limits<std::int64_t>::max();
    for (const std::uint32_t model : unlearned)
      learn = std::min(learn, learnable_at(models[model]));
    if (learn <= horizon && learn <= when) {
      // Those of one instant together, by name: the order of arrival must not number the scales.
      std::vector<std::uint32_t> ready;
      for (const std::uint32_t model : unlearned)
        if (learnable_at(models[model]) == learn) ready.push_back(model);
      std::sort(ready.begin(), ready.end(),
                [&](std::uint32_t a, std::uint32_t b) { return models[a].id < models[b].id; });
      for (const std::uint32_t model : ready) settle(model);
      std::erase_if(unlearned, [&](std::uint32_t model) { return models[model].scale >= 0; });
      continue;
    }
    if (when > horizon) break;
    close(static_cast<std::uint32_t>(which), tick, findings);
  }
  return findings;
}

}  // namespace muster::aggregator
