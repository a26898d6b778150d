#include <algorithm>
#include <cmath>

#include "aggregator/engine.hpp"

namespace muster::aggregator {
namespace {

// A detector that adds evidence up stands at V = 14 w on average while nothing is wrong (tolerance and the four
// lambdas), and the highest of a hundred groups well above it: ten times that is seen on any day.
constexpr double quiet_odds = 140;

constexpr std::uint32_t dense_members_min = 3;
constexpr float focus_width_min = 2.5F;  // effective number of models a focused bet needs
constexpr float focus_gain = 1.0F / 18;
constexpr std::size_t history_max = 144;

void weigh_cell(const Scale& scale, const Group& group, Cell& cell,
                const std::array<float, 4>& tilt, double share, float fortnight10) {
  const Lane& lane = cell.event ? scale.events : scale.metrics;
  CellState& state = cell.state;
  double sum = 0;
  // Sums of the weights w of the focused bets, of w^2 and of w x; upwards and downwards side by side.
  using Both = double __attribute__((vector_size(16)));
  Both w_sum{}, ww_sum{}, wx_sum{};
  std::uint32_t n = 0;
  std::uint32_t moved = 0;
  scale.each_unit(group, cell, [&](std::uint32_t index) {
    const Unit& unit = lane.unit[index];
    if (!unit.seen) return;
    moved += unit.moved;
    if (!unit.ok) return;
    ++n;
    const auto x = static_cast<double>(unit.x);
    sum += x;
    const auto focus = static_cast<double>(unit.focus);
    const Both beyond = Both{focus, -focus} - 1;
    const Both w = beyond > 0 ? beyond : Both{};
    w_sum += w;
    ww_sum += w * w;
    wx_sum += w * x;
  });
  state.present = n;
  state.moved = moved;
  if (n < dense_members_min) return;
  const auto s = static_cast<float>(sum / std::sqrt(static_cast<double>(n)));
  const float sd = std::sqrt(state.variance);
  const float u = std::clamp((s - state.mean) / std::max(1.0F, sd), -6.0F, 6.0F);
  // Half the share of a cell is dense, half focused; then equal over signs and lambdas.
  const int signs = cell.event ? 1 : 2;
  const auto weight = static_cast<float>(share / 2 / signs / 4);
  if (cell.event) {
    anomaly::update(state.dense_up, u, tilt, weight);
  } else {
    anomaly::update(state.dense_up, state.dense_down, u, tilt, weight);
  }
  const double rho = std::max(0.0, static_cast<double>(state.variance) - 1) / (n - 1);
  const auto bet = [&](double w, double ww, double wx, float sign, float& moment,
                       anomaly::Evidence& v) {
    if (ww <= 0 || w * w / ww < static_cast<double>(focus_width_min)) return;
    const auto raw = static_cast<float>(static_cast<double>(sign) * wx /
                                        std::sqrt(ww * (1 + rho * (w * w / ww - 1))));
    const float bet_u = std::clamp(raw / std::max(1.0F, std::sqrt(moment)), -6.0F, 6.0F);
    anomaly::update(v, bet_u, tilt, weight);
    moment += fortnight10 * (std::min(raw * raw, 12.25F) - moment);
  };
  bet(w_sum[0], ww_sum[0], wx_sum[0], 1, state.focus_up, state.sparse_up);
  if (!cell.event) bet(w_sum[1], ww_sum[1], wx_sum[1], -1, state.focus_down, state.sparse_down);

  const float clipped = std::clamp(s, -3.5F, 3.5F);
  const float away = clipped - state.mean;
  state.variance += fortnight10 * (away * away - state.variance);
  state.mean = std::clamp(state.mean + fortnight10 * away, -0.15F, 0.15F);
}

}  // namespace

std::uint8_t score_of(double evidence, double share, double threshold) {
  if (share <= 0) return 0;
  // With a large budget a page needs little, and half of the way there is quiet too.
  const double needed = std::log1p(threshold / share);
  const double quiet = std::min(std::log1p(quiet_odds), needed / 2);
  const double s = 100 * (std::log1p(evidence / share) - quiet) / (needed - quiet);
  return static_cast<std::uint8_t>(std::clamp(s, 0.0, 100.0));
}

double Engine::threshold(const Scale& scale) const {
  // Each scale in use has an equal share of the budget.
  return scale.ticks_per_week() * static_cast<double>(scales.size()) / settings.budget_per_week;
}

double Engine::days_left(const Scale& scale) const {
  if (!scale.started()) return settings.warmup_days;
  const double lived = static_cast<double>(scale.closed - scale.first_tick) / scale.ticks_per_day();
  return std::max(0.0, settings.warmup_days - lived);
}

void Engine::weigh(Scale& scale, std::int64_t tick) {
  const auto ten_days = static_cast<float>(1 / (10 * scale.ticks_per_day()));
  const std::array<float, 4> plain = anomaly::tilts(0);
  const std::int64_t stride = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(scale.ticks_per_day() / static_cast<double>(history_max)));
  const bool keep = tick % stride == 0;
  // Cells one by one, those of a channel together, as they read the same units; the fleet's are as much work as
  // a dependency's whole group.
  std::vector<double> cell_share(scale.groups.size());
  for (std::size_t g = 0; g < scale.groups.size(); ++g) {
    const Group& group = scale.groups[g];
    std::size_t testable = 0;
    for (const Cell& cell : group.cells) testable += cell.size >= dense_members_min ? 1 : 0;
    cell_share[g] = testable > 0 ? group.share / static_cast<double>(testable) : 0;
  }
  const auto weigh_cells = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      const auto [g, c] = scale.cell_order[i];
      Group& group = scale.groups[g];
      Cell& cell = group.cells[c];
      const std::array<float, 4>& tilt = cell.event ? plain : scale.channels[cell.channel].tilt;
      weigh_cell(scale, group, cell, tilt, cell_share[g], ten_days);
    }
  };
  each(scale.cell_order.size(), 4, weigh_cells);
  each(scale.groups.size(), 16, [&](std::size_t first, std::size_t last) {
    for (std::size_t g = first; g < last; ++g) {
      Group& group = scale.groups[g];
      group.summarise();
      if (!keep || group.members.size() < dense_members_min) continue;
      const double ratio =
          group.share > 0 ? std::max(1.0, static_cast<double>(group.evidence) / group.share) : 1;
      group.history.push_back({.ts = scale.end_of(tick), .ratio = ratio, .moved = group.moved});
      while (group.history.size() > history_max) group.history.pop_front();
    }
  });

  // The bets of the next tick: E_{t-1} there is what is known now.
  const auto follow = [&](Lane& lane) {
    const float norm = std::sqrt((2 - focus_gain) / focus_gain);
    each(lane.size(), 4096, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        Unit& unit = lane.unit[i];
        if (!unit.seen) continue;
        unit.focus += focus_gain * (norm * unit.x - unit.focus);
      }
    });
  };
  follow(scale.metrics);
  follow(scale.events);

  const double a = threshold(scale);
  each(scale.models.size(), 256, [&](std::size_t first, std::size_t last) {
    for (std::size_t m = first; m < last; ++m) {
      ScaleModel& model = scale.models[m];
      double evidence = 0;
      float worst_drift = 0;
      model.worst = none;
      for (const std::uint32_t s : model.series) {
        const Bets& bets = scale.metrics.bets[s];
        evidence += static_cast<double>(anomaly::sum(bets.up) + anomaly::sum(bets.down));
        const float drift = std::abs(scale.metrics.deviation[s].drift);
        if (model.worst == none || drift > worst_drift) {
          model.worst = s;
          worst_drift = drift;
        }
      }
      for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
        evidence += static_cast<double>(anomaly::sum(scale.events.bets[event_kinds * m + kind].up));
      model.evidence = static_cast<float>(evidence);
      model.score = score_of(evidence, scale.single_share, a);
    }
  });
  // A model that moves where a group's evidence lies takes the group's score.
  for (const Group& group : scale.groups) {
    const std::uint8_t score = score_of(static_cast<double>(group.evidence), group.share, a);
    const Cell* cell = group.strongest();
    if (score == 0 || cell == nullptr) continue;
    const Lane& lane = cell->event ? scale.events : scale.metrics;
    scale.each_unit(group, *cell, [&](std::uint32_t unit) {
      if (std::abs(normalised12(lane.smooth[unit].h12)) <= 2) return;
      ScaleModel& model = scale.models[cell->event ? unit / event_kinds : scale.model_of[unit]];
      model.score = std::max(model.score, score);
    });
  }
}

void Engine::remember(Scale& scale, std::int64_t tick, const At& at, const OpenTick& pending) {
  HeatColumn column;
  column.ts = scale.end_of(tick);
  column.score.reserve(scale.models.size());
  // The trend compares with six hours ago, where the strip reaches so far.
  const auto six_hours = static_cast<std::size_t>(scale.ticks_per_day() / 4);
  if (six_hours >= 1 && six_hours < history_max) column.drift.reserve(scale.models.size());
  for (const ScaleModel& m : scale.models) {
    const bool alive = static_cast<double>(tick - m.last_tick) <
                       static_cast<double>(m.step) * settings.no_data_intervals;
    column.score.push_back(alive ? m.score : 255);
    if (column.drift.capacity() > 0)
      column.drift.push_back(m.worst == none ? 0
                                             : std::abs(scale.metrics.deviation[m.worst].drift));
  }
  for (const Case& c : cases) {
    if (c.incident.state != Incident::State::open) continue;
    for (const CaseUnit& unit : c.affected) {
      if (scales[unit.scale].get() != &scale) continue;
      const std::uint32_t m = unit.event ? unit.unit / event_kinds : scale.model_of[unit.unit];
      if (column.score[m] != 255) column.score[m] = std::max(column.score[m], explained_score);
    }
  }
  scale.heat.push_back(std::move(column));
  while (scale.heat.size() > history_max) scale.heat.pop_front();
  if (scale.heat.size() > six_hours + 1)
    scale.heat[scale.heat.size() - 2 - six_hours].drift = std::vector<float>();

  // Values for the charts: one column per ten minutes or tick, a day of them (two of hourly ones),
  // fewer in a very large fleet.
  const std::int64_t stride = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(scale.ticks_per_day() / static_cast<double>(history_max)));
  if (tick % stride == 0 || scale.recent.empty()) {
    Column values;
    values.ts = scale.end_of(tick);
    values.values.assign(scale.series.size(), absent_value);
    scale.recent.push_back(std::move(values));
  }
  Column& newest_column = scale.recent.back();
  newest_column.ts = scale.end_of(tick);
  newest_column.values.resize(scale.series.size(), absent_value);
  const auto write = [&](std::size_t first, std::size_t last) {
    for (std::size_t s = first; s < last; ++s)
      if (at[s] != 0 && (scale.metrics.unit[s].flags & Unit::null_flag) == 0)
        newest_column.values[s] = static_cast<float>(pending.values[at[s] - 1]);
  };
  each(at.size(), 4096, write);
  for (auto& [s, value] : scale.limited) {
    if ((scale.metrics.unit[s].flags & Unit::null_flag) != 0)
      value = null_value();
    else if (at[s] != 0)
      value = pending.values[at[s] - 1];
  }
  const std::uint64_t bytes = std::max<std::uint64_t>(1, scale.series.size() * sizeof(float));
  const auto points = static_cast<std::uint64_t>(
      std::max(48.0, scale.ticks_per_day() / static_cast<double>(stride)));
  const std::uint64_t room = std::max<std::uint64_t>(6, settings.recent_bytes_max / bytes);
  while (scale.recent.size() > std::min(points, room)) scale.recent.pop_front();
}

}  // namespace muster::aggregator
