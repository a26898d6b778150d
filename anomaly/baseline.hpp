#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

// What is usual for one series at an hour, and how far its newest value lies from that, as an
// innovation that is near N(0, 1) and not correlated with the one before it.
namespace muster::anomaly {

// Where an instant stands in the week: the two neighbouring nodes of the season and their weights,
// and the three-hour cell of the scale. All series of a tick share it.
//
// Nodes stand at the hour centres, 24 of a working day and 24 of a weekend day; between two centres
// the season is linear, as a step profile leaves a bias of 0.2 sigma at steep hours.
struct Phase {
  std::uint8_t node0 = 0;
  std::uint8_t node1 = 0;
  std::uint8_t cell = 0;
  float weight0 = 1;
  float weight1 = 0;
};

// unix_seconds  UTC
// week_shift    hours by which the week of the series runs ahead of UTC's, -12 to 12: where it is Saturday
//               already on Friday at 16:00 UTC, the shift is 8. It moves the kind of day, not the hour of it
Phase phase_of(std::int64_t unix_seconds, int week_shift = 0);

// The same hour under the other kind of day.
Phase other_day(Phase phase);

// Whose week is it? Only the hours within half a day of the borders of a UTC weekend can tell: Friday from
// noon, Saturday until noon, Sunday from noon, Monday until noon.
struct BorderHour {
  static constexpr int count = 48;
  static constexpr int none = -1;
};
// 0 to 47 in the order above, or none.
int border_hour(std::int64_t unix_seconds);
// Whether a border hour is of a weekend when the week runs ahead by `week_shift` hours.
bool border_is_weekend(int border, int week_shift);

// The gains that belong to a reporting rate.
//
//   level    1 / max(3 days of samples, 336): it tracks in 3 days on purpose (slower leaves
//   low-frequency
//            error, which makes sequential tests lie); 336 makes it 14 days for hourly series
//   scale    1 / (14 days of samples)
struct Pace {
  float level = 0;
  float scale = 0;

  static Pace of(double samples_per_day);
};

// All that a series has of its own, beside its season.
struct Baseline {
  static constexpr std::uint32_t first_samples = 40;  // the level is a mean, the season is frozen
  static constexpr std::uint32_t muted_samples = 6;   // after a new version: nothing is said

  float level = 0;
  float abs_residual = 0;   // EWMA |r|
  float last_residual = 0;  // of the sample before, winsorised by nothing
  float moment0 = 0;        // winsorised EWMA r_t^2 and r_t r_{t-1}: phi = moment1 / moment0
  float moment1 = 0;
  float abs_innovation = 0;    // EWMA |e| over all cells, for cells with few samples
  float log_floor = 0;         // > 0: the series is judged on ln(max(x, log_floor))
  float tail_share = 0.0124F;  // EWMA of |z| > 2.5; starts at the normal distribution's
  std::uint32_t since_reset = 0;
  std::uint32_t total = 0;
};
static_assert(sizeof(Baseline) == 40);

inline constexpr std::size_t season_nodes = 48;
inline constexpr std::size_t season_cells = 8;  // of three hours each

// The season and the scales by time of day of one series, wherever they stand. A sample touches two nodes and
// one cell of them, so a fleet keeps them hour by hour: node k of a series is k * stride further on, and what
// an hour needs of all series stands side by side.
struct SeasonRef {
  float* nodes;
  std::uint8_t* node_counts;
  float* cells;  // EWMA |e| of a three-hour cell
  std::uint8_t* cell_counts;
  std::size_t stride;

  float& node(std::size_t k) const { return nodes[k * stride]; }
  std::uint8_t& node_count(std::size_t k) const { return node_counts[k * stride]; }
  float& cell(std::size_t k) const { return cells[k * stride]; }
  std::uint8_t& cell_count(std::size_t k) const { return cell_counts[k * stride]; }
};

// The same, to be read.
struct SeasonView {
  const float* nodes;
  const std::uint8_t* node_counts;
  std::size_t stride;

  SeasonView(const float* n, const std::uint8_t* c, std::size_t s)
      : nodes(n), node_counts(c), stride(s) {}
  SeasonView(const SeasonRef& r) : nodes(r.nodes), node_counts(r.node_counts), stride(r.stride) {}
  float node(std::size_t k) const { return nodes[k * stride]; }
  std::uint8_t node_count(std::size_t k) const { return node_counts[k * stride]; }
};

// The season of a single series.
struct Season {
  std::array<float, season_nodes> nodes{};
  std::array<float, season_cells> cells{};
  std::array<std::uint8_t, season_nodes> node_counts{};
  std::array<std::uint8_t, season_cells> cell_counts{};

  SeasonRef ref() {
    return {nodes.data(), node_counts.data(), cells.data(), cell_counts.data(), 1};
  }
};

// Nothing learned.
void clear(const SeasonRef& season);

// What one sample says.
struct Reading {
  float deviation =
      0;  // r / s: distance from what is usual, in the series' own standard deviations
  std::optional<float> z;  // the innovation; nothing while muted, or with no scale to measure by
};

// The value that is judged: y = ln(max(x, floor)) or x.
float transformed(const Baseline& b, double x);
double untransformed(const Baseline& b, float y);

// What is usual at a phase, and the standard deviation about it; in transformed units.
float usual(const Baseline& b, const SeasonView& season, const Phase& phase);
float spread(const Baseline& b);

// Judges y, then learns from it.
//
//   r = y - level - season(phase)
//   e = (r_t - phi^d r_{t-d}) / sqrt(1 - phi^(2d)),   phi in [0, .95]
//   z = e / (sigma_cell sqrt(1 + 1/n)),               n samples since the last reset
//   psi = clip(r, +-2.5 s), s = 1.2533 EWMA|r|
//   level += max(1/(n + 2), gain) psi;  node_b += w_b max(1/(n_b + 1), 1/150) psi
//
// Scales and correlation are EWMAs of gain max(3/(n + 3), scale).
//
// gap      d: how many samples ago the last one was, >= 1
// returns  no z in the first 40 samples, in the 6 after a reset, or when the series never varied
// source   docs/evidence.md, Baseline
Reading observe(Baseline& b, const SeasonRef& season, float y, const Phase& phase, const Pace& pace,
                float gap);

// A new version: level and correlation start again, season and scale stay.
void reset(Baseline& b);

// Goes over to logarithms: level and season by their logarithm, scales by the delta method, with
// counts set back so that they adapt quickly. `floor` > 0.
void take_logarithms(Baseline& b, const SeasonRef& season, float floor);

}  // namespace muster::anomaly
