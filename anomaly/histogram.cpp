#include "anomaly/histogram.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

namespace muster::anomaly {

std::optional<double> histogram_quantile(double q, std::span<const double> bounds,
                                         std::span<const double> cumulative) {
  assert(q >= 0 && q <= 1 && bounds.size() == cumulative.size());
  const std::size_t n = bounds.size();
  if (n < 2 || !std::isinf(bounds[n - 1]) || bounds[n - 1] < 0) return {};
  double total = 0;
  for (const double c : cumulative) total = std::max(total, c);
  if (!(total > 0)) return {};
  const double rank = q * total;
  double below = 0;  // observations under the bucket's lower bound
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const double at = std::max(below, cumulative[i]);
    if (at >= rank) {
      if (i == 0 && bounds[0] <= 0) return bounds[0];
      const double low = i == 0 ? 0 : bounds[i - 1];
      return at > below ? low + (bounds[i] - low) * ((rank - below) / (at - below)) : low;
    }
    below = at;
  }
  return bounds[n - 2];
}

std::optional<double> stability_index(std::span<const double> counts,
                                      std::span<const double> usual) {
  assert(counts.size() == usual.size());
  const auto k = static_cast<double>(counts.size());
  double n = 0;
  for (const double c : counts) n += c;
  if (counts.size() < 2 || !(n > 0)) return {};
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double p = (counts[i] + 0.5) / (n + k / 2);
    const double r = (n * usual[i] + 0.5) / (n + k / 2);
    sum += (p - r) * std::log(p / r);
  }
  return sum;
}

}  // namespace muster::anomaly
