#include "anomaly/shift_likelihood.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace muster::anomaly {

Ratios shift_ratios(float y) {
  Ratios out;
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    const float mu = shifts[i];
    const float variance = 1 + 0.5F * (1 + mu * mu / 4);
    const float l = -0.5F * std::log(variance) - (y - mu) * (y - mu) / (2 * variance) + y * y / 2;
    out[i] = std::exp(std::clamp(l, -12.0F, 14.0F));
  }
  return out;
}

void GroupLikelihood::add(const Ratios& member) {
  for (std::size_t q = 0; q < 4; ++q)
    for (std::size_t m = 0; m < 8; ++m)
      product_[q * 8 + m] *= 1 - q_[q] + q_[q] * static_cast<double>(member[m]);
  if (++held_ < 16) return;
  for (std::size_t i = 0; i < 32; ++i) {
    log_[i] += std::log(product_[i]);
    product_[i] = 1;
  }
  held_ = 0;
}

std::array<double, 32> GroupLikelihood::logs() const {
  std::array<double, 32> out = log_;
  for (std::size_t i = 0; i < 32; ++i) out[i] += std::log(product_[i]);
  return out;
}

double GroupLikelihood::log_bayes_factor() const {
  const std::array<double, 32> all = logs();
  return log_sum_exp(all) - std::log(32.0);
}

GroupLikelihood::Best GroupLikelihood::best() const {
  const std::array<double, 32> all = logs();
  const auto at = static_cast<std::size_t>(std::max_element(all.begin(), all.end()) - all.begin());
  return {.q = q_[at / 8], .mu = at % 8};
}

double log_single(const Ratios& member) {
  double mean = 0;
  for (const float ratio : member) mean += static_cast<double>(ratio);
  return std::log(mean / 8);
}

double log_sum_exp(std::span<const double> values) {
  assert(!values.empty());
  const double top = *std::max_element(values.begin(), values.end());
  double total = 0;
  for (const double v : values) total += std::exp(v - top);
  return top + std::log(total);
}

}  // namespace muster::anomaly
