#include <algorithm>
#include <cassert>
#include <map>

#include "aggregator/engine.hpp"

namespace muster::aggregator {
namespace {

std::string_view base_of(std::string_view metric) {
  return metric.substr(0, metric.find('{'));
}

// A dependency nearer to the origin of the data is named first when several have the same
// dependants.
int rank_of(std::string_view kind) {
  if (kind == "source") return 0;
  if (kind == "feature_pipeline") return 1;
  if (kind == "package") return 2;
  if (kind == "region") return 3;
  return 4;
}

}  // namespace

void Seasons::resize(std::size_t n) {
  if (n > capacity_) {
    const std::size_t wider = std::max(n, capacity_ + capacity_ / 8);
    const auto spread = [&](auto& rows, std::size_t count) {
      std::remove_reference_t<decltype(rows)> moved(count * wider);
      for (std::size_t k = 0; k < count; ++k)
        std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(k * capacity_), size_,
                    moved.begin() + static_cast<std::ptrdiff_t>(k * wider));
      rows = std::move(moved);
    };
    spread(nodes_, anomaly::season_nodes);
    spread(node_counts_, anomaly::season_nodes);
    spread(cells_, anomaly::season_cells);
    spread(cell_counts_, anomaly::season_cells);
    capacity_ = wider;
  }
  size_ = n;
}

void Lane::forget_masks(std::int64_t tick) {
  for (auto it = masks.begin(); it != masks.end();) {
    const auto here = it++;
    if (here->second.until > tick + 1) continue;
    unit[here->first].flags &= static_cast<std::uint8_t>(~Unit::masked_flag);
    masks.erase(here);
  }
}

bool Engine::limited(std::string_view metric) const {
  return std::any_of(settings.limits.begin(), settings.limits.end(),
                     [&](const Limit& limit) { return matches(limit.metric, metric); });
}

const std::string& Scale::channel_name(std::uint32_t channel) const {
  static const std::array<std::string, event_kinds> names = {"flat", "null", "missing"};
  return channel < channels.size() ? channels[channel].name : names.at(channel - channels.size());
}

std::string Scale::cell_name(const Cell& cell) const {
  if (!cell.event) return "metric " + channels[cell.channel].name;
  return "event " + channel_name(static_cast<std::uint32_t>(channels.size()) + cell.channel);
}

void Scale::keep_groups(std::map<std::string, KeptGroup>& into) const {
  for (const Group& group : groups) {
    KeptGroup& kept_group = into[group.id];
    for (const Cell& cell : group.cells) kept_group.cells[cell_name(cell)] = cell.state;
    kept_group.history = group.history;
  }
}

const Cell* Group::strongest() const {
  const Cell* best = nullptr;
  for (const Cell& cell : cells) {
    if (best == nullptr || cell.state.evidence() > best->state.evidence() ||
        (cell.state.evidence() == best->state.evidence() && cell.state.moved > best->state.moved))
      best = &cell;
  }
  return best;
}

void Group::summarise() {
  double total = 0;
  for (const Cell& cell : cells) total += static_cast<double>(cell.state.evidence());
  const Cell* strongest_cell = strongest();
  evidence = static_cast<float>(total);
  moved = strongest_cell == nullptr ? 0 : strongest_cell->state.moved;
  expected = strongest_cell == nullptr ? 0
                                       : static_cast<float>(strongest_cell->size) *
                                             (strongest_cell->event ? 0.025F : 0.05F);
}

void Engine::join(Scale& scale, std::int64_t tick, std::vector<std::uint32_t> newcomers) {
  std::sort(newcomers.begin(), newcomers.end());
  newcomers.erase(std::unique(newcomers.begin(), newcomers.end()), newcomers.end());
  // Numbered by name within the tick they first report in: what arrived first cannot show.
  const auto model_id = [&](std::uint32_t s) -> const std::string& {
    return models[series[s].model].id;
  };
  const auto metric = [&](std::uint32_t s) -> const std::string& {
    return words[series[s].metric];
  };

  std::sort(newcomers.begin(), newcomers.end(),
            [&](std::uint32_t a, std::uint32_t b) { return model_id(a) < model_id(b); });
  for (const std::uint32_t s : newcomers) {
    ModelInfo& info = models[series[s].model];
    if (info.local != none) continue;
    info.local = static_cast<std::uint32_t>(scale.models.size());
    ScaleModel& m = scale.models.emplace_back();
    m.global = series[s].model;
    m.first_tick = m.last_tick = tick;
    m.step = std::max(1.0F, static_cast<float>(info.interval) / static_cast<float>(scale.step));
    const std::string& family = family_of(info);
    if (!family.empty()) {
      const auto at = std::find(scale.families.begin(), scale.families.end(), family);
      m.family = static_cast<std::uint32_t>(at - scale.families.begin());
      if (at == scale.families.end()) scale.families.push_back(family);
    }
  }
  std::sort(newcomers.begin(), newcomers.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tie(metric(a), model_id(a)) < std::tie(metric(b), model_id(b));
  });
  absl::flat_hash_map<std::uint32_t, std::uint32_t> channel_of;  // by metric
  for (std::uint32_t c = 0; c < scale.channels.size(); ++c)
    channel_of[word(scale.channels[c].name)] = c;
  std::map<std::string, std::uint32_t, std::less<>> pool_of;
  for (std::uint32_t p = 1; p < scale.pools.size(); ++p) pool_of[scale.pools[p].metric] = p;
  // Room for all of them at once, so that nothing moves twice.
  const std::size_t before = scale.series.size();
  const std::size_t n = before + newcomers.size();
  grow(scale.series, n);
  grow(scale.model_of, n);
  grow(scale.channel_of, n);
  grow(scale.loading, n);
  scale.seasons.resize(n);
  scale.metrics.resize(n);
  scale.events.resize(event_kinds * scale.models.size());
  scale.learning.reserve(
      std::max(scale.learning.size() + newcomers.size(), scale.learning.size() * 9 / 8));
  std::size_t local = before;
  for (const std::uint32_t s : newcomers) {
    SeriesInfo& info = series[s];
    info.local = static_cast<std::uint32_t>(local++);
    unplaced -= info.counter == SeriesInfo::plain ? 1 : 0;
    SeriesState& state = scale.series[info.local];
    const std::uint32_t model = models[info.model].local;
    scale.model_of[info.local] = model;
    state.first_tick = state.last_tick = scale.since_start(tick);
    scale.models[model].series.push_back(info.local);
    const auto [at, fresh] =
        channel_of.try_emplace(info.metric, static_cast<std::uint32_t>(scale.channels.size()));
    scale.channel_of[info.local] = at->second;
    if (fresh) {
      Channel& channel = scale.channels.emplace_back();
      channel.name = metric(s);
      const auto [pool, new_pool] = pool_of.try_emplace(
          std::string(base_of(metric(s))), static_cast<std::uint32_t>(scale.pools.size()));
      channel.pool = pool->second;
      if (new_pool) scale.pools.emplace_back().metric = base_of(metric(s));
    }
    scale.channels[at->second].series.push_back(info.local);
    state.rate = info.is_rate() ? 1 : 0;
    state.learning = static_cast<std::uint32_t>(scale.learning.size());
    scale.learning.push_back(std::make_unique<LearningBuffer>());
    ++scale.learning_used;
    if (limited(metric(s))) scale.limited[info.local] = null_value();
  }
  if (newcomers.size() > n / 4) {
    // Many came at once: what doubling left over is worth giving back.
    for (Channel& channel : scale.channels) channel.series.shrink_to_fit();
    for (ScaleModel& model : scale.models) model.series.shrink_to_fit();
    scale.models.shrink_to_fit();
  }
  regroup(scale);
}

void Engine::regroup(Scale& scale) {
  scale.keep_groups(scale.kept);
  scale.groups.clear();

  scale.family_models.assign(scale.families.size(), {});
  for (std::uint32_t m = 0; m < scale.models.size(); ++m)
    if (scale.models[m].family != none) scale.family_models[scale.models[m].family].push_back(m);

  for (Channel& channel : scale.channels) {
    channel.unit_of = std::vector<std::uint32_t>();
    if (2 * channel.series.size() >= scale.models.size()) {
      channel.unit_of.assign(scale.models.size(), none);
      for (const std::uint32_t s : channel.series) channel.unit_of[scale.model_of[s]] = s;
    }
    std::map<std::uint32_t, FamilyCell> fresh;
    for (const std::uint32_t s : channel.series) {
      const std::uint32_t family = scale.models[scale.model_of[s]].family;
      if (family != none) ++fresh[family].size;
    }
    const auto is_told = [&](std::uint32_t family, const FamilyCell& cell) {
      return !channel.unit_of.empty() && 2 * cell.size >= scale.family_models[family].size();
    };
    for (const std::uint32_t s : channel.series) {
      const std::uint32_t family = scale.models[scale.model_of[s]].family;
      if (family == none) continue;
      FamilyCell& cell = fresh[family];
      if (is_told(family, cell)) continue;
      cell.series.reserve(cell.size);
      cell.series.push_back(s);
    }
    for (const FamilyCell& old : channel.families) {
      const auto it = fresh.find(old.family);
      if (it == fresh.end()) continue;
      it->second.factor = old.factor;
      it->second.variance = old.variance;
      it->second.regime = old.regime;
    }
    channel.families.clear();
    for (auto& [family, cell] : fresh) {
      cell.family = family;
      channel.families.push_back(std::move(cell));
    }
    channel.families.shrink_to_fit();
  }

  std::vector<std::uint32_t> units_in(scale.channels.size());  // of the group at hand
  const auto add_group = [&](Group group) {
    std::vector<std::uint32_t> channels;
    for (const std::uint32_t m : group.members)
      for (const std::uint32_t s : scale.models[m].series)
        if (units_in[scale.channel_of[s]]++ == 0) channels.push_back(scale.channel_of[s]);
    std::sort(channels.begin(), channels.end());
    group.cells.reserve(channels.size() + event_kinds);
    std::map<std::uint32_t, Cell*> listed;  // those that keep a list of their units
    for (const std::uint32_t channel : channels) {
      Cell& cell = group.cells.emplace_back();
      cell.channel = channel;
      cell.size = units_in[channel];
      units_in[channel] = 0;
      // To ask each member is dearer than a list when few have it.
      if (!scale.channels[channel].unit_of.empty() && 2 * cell.size >= group.members.size())
        continue;
      cell.units.reserve(cell.size);
      listed[channel] = &cell;
    }
    if (!listed.empty()) {
      for (const std::uint32_t m : group.members) {
        for (const std::uint32_t s : scale.models[m].series) {
          const auto cell = listed.find(scale.channel_of[s]);
          if (cell != listed.end()) cell->second->units.push_back(s);
        }
      }
    }
    for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
      group.cells.push_back({.channel = kind,
                             .event = true,
                             .size = static_cast<std::uint32_t>(group.members.size())});
    const auto kept = scale.kept.find(group.id);
    if (kept != scale.kept.end()) {
      for (Cell& cell : group.cells) {
        const auto state = kept->second.cells.find(scale.cell_name(cell));
        if (state != kept->second.cells.end()) cell.state = state->second;
      }
      group.history = std::move(kept->second.history);
      scale.kept.erase(kept);
    }
    group.members.shrink_to_fit();
    group.summarise();
    scale.groups.push_back(std::move(group));
  };

  // Dependencies with the same dependants cannot be told apart: one group carries all their names.
  std::map<std::vector<std::uint32_t>, std::vector<std::uint32_t>> by_members;
  for (std::uint32_t d = 0; d < topology.dependencies.size(); ++d) {
    std::vector<std::uint32_t> members;
    for (const std::uint32_t m : dependants[d]) {
      const auto it = model_index.find(known_models[m].id);
      if (it == model_index.end()) continue;
      const ModelInfo& info = models[*it];
      if (info.local == none || info.scale < 0 ||
          scales[static_cast<std::size_t>(info.scale)].get() != &scale)
        continue;
      members.push_back(info.local);
    }
    std::sort(members.begin(), members.end());
    if (!members.empty()) by_members[members].push_back(d);
  }
  std::vector<Group> dependencies;
  for (auto& [members, twins] : by_members) {
    std::sort(twins.begin(), twins.end(), [&](std::uint32_t a, std::uint32_t b) {
      const Dependency& x = topology.dependencies[a];
      const Dependency& y = topology.dependencies[b];
      return std::make_tuple(rank_of(x.kind), std::string_view(x.id)) <
             std::make_tuple(rank_of(y.kind), std::string_view(y.id));
    });
    Group group;
    const Dependency& first = topology.dependencies[twins.front()];
    group.id = first.id;
    group.word = first.kind;
    group.team = first.team;
    for (std::size_t i = 1; i < twins.size(); ++i)
      group.twins.push_back(topology.dependencies[twins[i]].id);
    group.members = members;
    dependencies.push_back(std::move(group));
  }
  std::sort(dependencies.begin(), dependencies.end(),
            [](const Group& a, const Group& b) { return a.id < b.id; });
  for (Group& group : dependencies) add_group(std::move(group));

  std::map<std::string, std::vector<std::uint32_t>> families;
  Group fleet;
  fleet.kind = Group::Kind::fleet;
  fleet.id = "fleet";
  fleet.word = "fleet";
  for (std::uint32_t m = 0; m < scale.models.size(); ++m) {
    fleet.members.push_back(m);
    if (scale.models[m].family != none)
      families[scale.families[scale.models[m].family]].push_back(m);
  }
  for (auto& [family, members] : families) {
    Group group;
    group.kind = Group::Kind::family;
    group.id = "family:" + family;
    group.word = "family";
    group.members = std::move(members);
    add_group(std::move(group));
  }
  add_group(std::move(fleet));

  // The weights of one tick, over all groups and single models, sum to 1: dependencies .5, single
  // models .3, families .1, fleet .1; what no group of a kind can use goes to the others in
  // proportion.
  const auto testable = [](const Group& g) { return g.members.size() >= 3; };
  std::array<double, 3> count{};
  for (const Group& g : scale.groups)
    if (testable(g)) ++count[static_cast<std::size_t>(g.kind)];
  const std::array<double, 3> wanted = {0.5, 0.1, 0.1};
  double total = scale.models.empty() ? 0 : 0.3;
  for (std::size_t k = 0; k < 3; ++k)
    if (count[k] > 0) total += wanted[k];
  for (Group& g : scale.groups) {
    const auto k = static_cast<std::size_t>(g.kind);
    g.share = testable(g) ? wanted[k] / total / count[k] : 0;
  }
  scale.single_share =
      scale.models.empty() ? 0 : 0.3 / total / static_cast<double>(scale.models.size());

  scale.groups.shrink_to_fit();
  scale.cell_order.clear();
  for (std::uint32_t g = 0; g < scale.groups.size(); ++g)
    for (std::uint32_t c = 0; c < scale.groups[g].cells.size(); ++c)
      scale.cell_order.emplace_back(g, c);
  std::stable_sort(scale.cell_order.begin(), scale.cell_order.end(),
                   [&](const auto& a, const auto& b) {
                     const Cell& x = scale.groups[a.first].cells[a.second];
                     const Cell& y = scale.groups[b.first].cells[b.second];
                     return std::tie(x.event, x.channel) < std::tie(y.event, y.channel);
                   });
  scale.cell_order.shrink_to_fit();
}

}  // namespace muster::aggregator
