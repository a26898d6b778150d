#include "anomaly/baseline.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace muster::anomaly {
namespace {

constexpr float abs_to_sd =
    1.2533F;  // sqrt(pi / 2): a normal's standard deviation from its mean |r|
constexpr float phi_max = 0.95F;
constexpr float node_gain_min = 1.0F / 150;
constexpr std::uint8_t borrowed_count = 6;  // what the other kind of day is worth, in samples
constexpr std::uint8_t cell_samples_min = 12;

// The gain of a scale with n samples behind it. Thrice that of a mean, so that what was large only because the
// season was not known yet is forgotten by the cube of time.
float young_gain(float n, float steady) {
  return std::max(3 / (n + 3), steady);
}

std::size_t twin(std::size_t node) {
  return (node + 24) % 48;
}

// An hour that was never seen on this kind of day is taken to be as on the other.
float season_node(const SeasonView& season, std::size_t node) {
  return season.node_count(node) > 0 ? season.node(node) : season.node(twin(node));
}

float season_at(const SeasonView& season, const Phase& phase) {
  return phase.weight0 * season_node(season, phase.node0) +
         phase.weight1 * season_node(season, phase.node1);
}

float clip(float v, float limit) {
  return std::clamp(v, -limit, limit);
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// 0 is Sunday; 1970-01-01 was a Thursday.
std::int64_t weekday(std::int64_t day) {
  return ((day + 4) % 7 + 7) % 7;
}

// A standard deviation this small beside the level is arithmetic, not a scale.
bool is_scale(float sd, float level) {
  return sd > 1e-6F * std::abs(level) && sd > 1e-30F;
}

}  // namespace

Phase phase_of(std::int64_t unix_seconds, int week_shift) {
  const auto node_of_hour = [&](std::int64_t hour) {
    const std::int64_t local_day = floor_div(hour + week_shift, 24);
    const std::int64_t day_of_week = weekday(local_day);
    const bool weekend = day_of_week == 0 || day_of_week == 6;
    return static_cast<std::uint8_t>(hour - floor_div(hour, 24) * 24 + (weekend ? 24 : 0));
  };
  const std::int64_t shifted = unix_seconds - 1800;
  const std::int64_t hour = floor_div(shifted, 3600);
  const auto rest = static_cast<float>(shifted - hour * 3600) / 3600;
  Phase phase;
  phase.node0 = node_of_hour(hour);
  phase.node1 = node_of_hour(hour + 1);
  phase.weight0 = 1 - rest;
  phase.weight1 = rest;
  const std::int64_t of_day = unix_seconds - floor_div(unix_seconds, 86400) * 86400;
  phase.cell = static_cast<std::uint8_t>(of_day / (3 * 3600));
  return phase;
}

Phase other_day(Phase phase) {
  const auto flip = [](std::uint8_t node) { return static_cast<std::uint8_t>((node + 24) % 48); };
  phase.node0 = flip(phase.node0);
  phase.node1 = flip(phase.node1);
  return phase;
}

int border_hour(std::int64_t unix_seconds) {
  const std::int64_t hour =
      floor_div(unix_seconds - 1, 3600);  // samples stand at the end of an interval
  const std::int64_t day = floor_div(hour, 24);
  const auto of_day = static_cast<int>(hour - day * 24);
  switch (weekday(day)) {
    case 5:
      return of_day >= 12 ? of_day - 12 : BorderHour::none;
    case 6:
      return of_day < 12 ? 12 + of_day : BorderHour::none;
    case 0:
      return of_day >= 12 ? 24 + of_day - 12 : BorderHour::none;
    case 1:
      return of_day < 12 ? 36 + of_day : BorderHour::none;
    default:
      return BorderHour::none;
  }
}

bool border_is_weekend(int border, int week_shift) {
  assert(border >= 0 && border < BorderHour::count);
  // Hours from the Friday noon, and from the Sunday noon.
  if (border < 24) return border + week_shift >= 12;
  return border - 24 + week_shift < 12;
}

Pace Pace::of(double samples_per_day) {
  return {.level = static_cast<float>(1 / std::max(3 * samples_per_day, 336.0)),
          .scale = static_cast<float>(1 / std::max(14 * samples_per_day, 40.0))};
}

float transformed(const Baseline& b, double x) {
  if (b.log_floor <= 0) return static_cast<float>(x);
  return static_cast<float>(std::log(std::max(x, static_cast<double>(b.log_floor))));
}

double untransformed(const Baseline& b, float y) {
  return b.log_floor > 0 ? std::exp(static_cast<double>(y)) : static_cast<double>(y);
}

void clear(const SeasonRef& season) {
  for (std::size_t k = 0; k < season_nodes; ++k) season.node(k) = 0, season.node_count(k) = 0;
  for (std::size_t k = 0; k < season_cells; ++k) season.cell(k) = 0, season.cell_count(k) = 0;
}

float usual(const Baseline& b, const SeasonView& season, const Phase& phase) {
  return b.level + season_at(season, phase);
}

float spread(const Baseline& b) {
  return abs_to_sd * b.abs_residual;
}

Reading observe(Baseline& b, const SeasonRef& season, float y, const Phase& phase, const Pace& pace,
                float gap) {
  assert(gap >= 1);
  if (b.total == 0) {
    b.level = y;
    b.total = b.since_reset = 1;
    return {};
  }
  if (b.since_reset == 0) {
    // The first value of a new version says where it is, and nothing about where it should be.
    b.level = y - season_at(season, phase);
    b.last_residual = 0;
    b.since_reset = 1;
    ++b.total;
    return {};
  }
  Reading out;
  const float r = y - usual(b, season, phase);
  const float s = spread(b);
  const bool young = b.total < Baseline::first_samples;
  const bool fresh = b.since_reset < Baseline::first_samples;
  const bool muted = b.since_reset < Baseline::muted_samples;
  const bool scaled = is_scale(s, b.level);
  if (scaled) out.deviation = clip(r / s, 50);

  // Whitening.
  const float phi = b.moment0 > 0 ? std::clamp(b.moment1 / b.moment0, 0.0F, phi_max) : 0;
  const float phi_d = gap == 1 ? phi : std::pow(phi, gap);
  const float e = (r - phi_d * b.last_residual) / std::sqrt(1 - phi_d * phi_d);

  // Scale by time of day.
  float& cell = season.cell(phase.cell);
  std::uint8_t& cell_count = season.cell_count(phase.cell);
  const float sigma = abs_to_sd * (cell_count >= cell_samples_min ? cell : b.abs_innovation);
  const auto n = static_cast<float>(b.since_reset);
  if (!young && !muted && is_scale(sigma, b.level))
    out.z = clip(e / (sigma * std::sqrt(1 + 1 / n)), 50);

  // From here on it learns.
  const float gain = young_gain(static_cast<float>(b.total), pace.scale);
  if (!muted || young) {
    if (gap == 1) {
      const float most = scaled && !young ? 2.5F * s : std::abs(r);
      const float here = clip(r, most);
      const float before = scaled && !young ? clip(b.last_residual, most) : b.last_residual;
      b.moment1 += gain * (here * before - b.moment1);
      b.moment0 += gain * (here * here - b.moment0);
    }
    // The first residuals are those of a level that is not yet one.
    const float a = std::abs(r);
    b.abs_residual += gain * (a - b.abs_residual);
    const bool winsorise = b.total > cell_samples_min && is_scale(b.abs_innovation, b.level);
    const float base = abs_to_sd * b.abs_innovation;
    b.abs_innovation +=
        gain * ((winsorise ? std::min(std::abs(e), 4 * base) : std::abs(e)) - b.abs_innovation);
    // The count stops at 255; by then an eighth of all samples is near enough.
    const float of_cell =
        cell_count < 255 ? static_cast<float>(cell_count) : static_cast<float>(b.total) / 8;
    const float cell_gain = young_gain(of_cell, 8 * pace.scale);
    const float cell_limit = winsorise && is_scale(sigma, b.level) ? 4 * sigma : std::abs(e);
    cell += cell_gain * (std::min(std::abs(e), cell_limit) - cell);
    if (cell_count < 255) ++cell_count;
    if (out.z) {
      b.tail_share += pace.scale * ((std::abs(*out.z) > 2.5F ? 1.0F : 0.0F) - b.tail_share);
    }
  }
  // As long as the level is a plain mean its errors are white; a gain that fell at once would keep the
  // error of the first hours for days, and the detectors would take it for a shift.
  const float limit = !scaled || b.total < 6 ? std::abs(r) : muted ? 50 * s : 2.5F * s;
  const float psi = clip(r, limit);
  b.level += std::max(1 / (n + 2), pace.level) * psi;
  if (!fresh) {
    const auto learn_node = [&](std::uint8_t index, float weight) {
      if (weight <= 0) return;
      std::uint8_t& count = season.node_count(index);
      if (count == 0) {
        season.node(index) = season_node(season, index);
        count = std::min<std::uint8_t>(season.node_count(twin(index)), borrowed_count);
      }
      season.node(index) +=
          weight * std::max(1 / (static_cast<float>(count) + 1), node_gain_min) * psi;
      if (count < 255) ++count;
    };
    learn_node(phase.node0, phase.weight0);
    learn_node(phase.node1, phase.weight1);
  }
  b.last_residual = r;
  ++b.since_reset;
  ++b.total;
  return out;
}

void reset(Baseline& b) {
  b.since_reset = 0;
  b.last_residual = 0;
}

void take_logarithms(Baseline& b, const SeasonRef& season, float floor) {
  assert(floor > 0);
  const float level = std::max(b.level, floor);
  for (std::size_t k = 0; k < season_nodes; ++k) {
    float& node = season.node(k);
    node = std::log(std::max(level + node, floor)) - std::log(level);
    season.node_count(k) = std::min<std::uint8_t>(season.node_count(k), 2);
  }
  b.abs_residual /= level;
  b.abs_innovation /= level;
  for (std::size_t k = 0; k < season_cells; ++k) {
    season.cell(k) /= level;
    season.cell_count(k) = std::min<std::uint8_t>(season.cell_count(k), cell_samples_min);
  }
  b.last_residual /= level;
  b.moment0 /= level * level;
  b.moment1 /= level * level;
  b.level = std::log(level);
  b.log_floor = floor;
}

}  // namespace muster::anomaly
