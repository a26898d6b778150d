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

float normalised12(float h) {
  return h * std::sqrt(23.0F);
}  // / sqrt(a / (2 - a)), a = 1/12

void weigh_cell(Cell& cell, const Lane& lane, const std::array<float, 4>& tilt, double share,
                float fortnight10) {
  CellState& state = cell.state;
  double sum = 0;
  double up_w = 0, up_ww = 0, up_wx = 0, down_w = 0, down_ww = 0, down_wx = 0;
  std::uint32_t n = 0;
  std::uint32_t moved = 0;
  for (const std::uint32_t u : cell.units) {
    if (!lane.seen[u]) continue;
    const float y = normalised12(lane.h12[u]);
    moved += (cell.event ? y : std::abs(y)) > 1.96F ? 1 : 0;
    if (!lane.ok[u]) continue;
    ++n;
    const auto x = static_cast<double>(lane.x[u]);
    sum += x;
    const double up = std::max(0.0, static_cast<double>(lane.focus[u]) - 1);
    const double down = std::max(0.0, -static_cast<double>(lane.focus[u]) - 1);
    up_w += up, up_ww += up * up, up_wx += up * x;
    down_w += down, down_ww += down * down, down_wx += down * x;
  }
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
  const auto bet = [&](double w, double ww, double wx, float sign, float& scale,
                       anomaly::Evidence& v) {
    if (ww <= 0 || w * w / ww < static_cast<double>(focus_width_min)) return;
    const auto raw = static_cast<float>(static_cast<double>(sign) * wx /
                                        std::sqrt(ww * (1 + rho * (w * w / ww - 1))));
    const float bet_u = std::clamp(raw / std::max(1.0F, std::sqrt(scale)), -6.0F, 6.0F);
    anomaly::update(v, bet_u, tilt, weight);
    scale += fortnight10 * (std::min(raw * raw, 12.25F) - scale);
  };
  bet(up_w, up_ww, up_wx, 1, state.focus_up, state.sparse_up);
  if (!cell.event) bet(down_w, down_ww, down_wx, -1, state.focus_down, state.sparse_down);

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
  each(scale.groups.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t g = first; g < last; ++g) {
      Group& group = scale.groups[g];
      std::size_t testable = 0;
      for (const Cell& cell : group.cells)
        testable += cell.units.size() >= dense_members_min ? 1 : 0;
      for (Cell& cell : group.cells) {
        const Lane& lane = cell.event ? scale.events : scale.metrics;
        const std::array<float, 4>& tilt = cell.event ? plain : scale.channels[cell.channel].tilt;
        weigh_cell(cell, lane, tilt, testable > 0 ? group.share / static_cast<double>(testable) : 0,
                   ten_days);
      }
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
        if (!lane.seen[i]) continue;
        lane.focus[i] += focus_gain * (norm * lane.x[i] - lane.focus[i]);
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
      model.worst = none;
      for (const std::uint32_t s : model.series) {
        evidence += static_cast<double>(anomaly::sum(scale.metrics.up[s]) +
                                        anomaly::sum(scale.metrics.down[s]));
        if (model.worst == none ||
            std::abs(scale.metrics.drift[s]) > std::abs(scale.metrics.drift[model.worst]))
          model.worst = s;
      }
      for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
        evidence += static_cast<double>(anomaly::sum(scale.events.up[event_kinds * m + kind]));
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
    for (const std::uint32_t unit : cell->units) {
      if (std::abs(normalised12(lane.h12[unit])) <= 2) continue;
      ScaleModel& model = scale.models[cell->event ? unit / event_kinds : scale.series[unit].model];
      model.score = std::max(model.score, score);
    }
  }
}

void Engine::remember(Scale& scale, std::int64_t tick) {
  HeatColumn column;
  column.ts = scale.end_of(tick);
  for (const ScaleModel& m : scale.models) {
    const bool alive = static_cast<double>(tick - m.last_tick) <
                       static_cast<double>(m.step) * settings.no_data_intervals;
    column.score.push_back(alive ? m.score : 255);
    column.drift.push_back(m.worst == none ? 0 : std::abs(scale.metrics.drift[m.worst]));
  }
  for (const Case& c : cases) {
    if (c.incident.state != Incident::State::open) continue;
    for (const CaseUnit& unit : c.affected) {
      if (scales[unit.scale].get() != &scale) continue;
      const std::uint32_t m = unit.event ? unit.unit / event_kinds : scale.series[unit.unit].model;
      if (column.score[m] != 255) column.score[m] = std::max(column.score[m], explained_score);
    }
  }
  scale.heat.push_back(std::move(column));
  while (scale.heat.size() > history_max) scale.heat.pop_front();

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
  for (std::size_t s = 0; s < scale.series.size(); ++s)
    if (scale.stamp[s] == tick && !is_null(scale.value[s]))
      newest_column.values[s] = static_cast<float>(scale.value[s]);
  const std::uint64_t bytes = std::max<std::uint64_t>(1, scale.series.size() * sizeof(float));
  const auto points = static_cast<std::uint64_t>(
      std::max(48.0, scale.ticks_per_day() / static_cast<double>(stride)));
  const std::uint64_t room = std::max<std::uint64_t>(12, settings.recent_bytes_max / bytes);
  while (scale.recent.size() > std::min(points, room)) scale.recent.pop_front();
}

}  // namespace muster::aggregator
