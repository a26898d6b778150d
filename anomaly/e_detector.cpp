#include "anomaly/e_detector.hpp"

#include <algorithm>
#include <cmath>

namespace muster::anomaly {
namespace {

constexpr float evidence_max = 1e30F;

}  // namespace

std::array<float, 4> tilts(float tau) {
  std::array<float, 4> out;
  for (std::size_t i = 0; i < 4; ++i)
    out[i] = std::exp(-lambdas[i] * lambdas[i] / 2 - lambdas[i] * (tolerance + tau));
  return out;
}

std::array<float, 4> e_values(float u, const std::array<float, 4>& tilt) {
  const float a = std::exp(lambdas[0] * u);
  const float a2 = a * a;
  return {a * tilt[0], a2 * tilt[1], a2 * a2 * tilt[2], std::exp(lambdas[3] * u) * tilt[3]};
}

void update(Evidence& v, float u, const std::array<float, 4>& tilt, float weight) {
  const std::array<float, 4> e = e_values(u, tilt);
  for (std::size_t i = 0; i < 4; ++i) v[i] = std::min(e[i] * (v[i] + weight), evidence_max);
}

void update(Evidence& up, Evidence& down, float u, const std::array<float, 4>& tilt, float weight) {
  const float a = std::exp(lambdas[0] * u);
  const float b = std::exp(lambdas[3] * u);
  const float a2 = a * a;
  const float ia = 1 / a;
  const float ia2 = ia * ia;
  const std::array<float, 4> e = {a, a2, a2 * a2, b};
  const std::array<float, 4> ie = {ia, ia2, ia2 * ia2, 1 / b};
  for (std::size_t i = 0; i < 4; ++i) {
    up[i] = std::min(e[i] * tilt[i] * (up[i] + weight), evidence_max);
    down[i] = std::min(ie[i] * tilt[i] * (down[i] + weight), evidence_max);
  }
}

}  // namespace muster::anomaly
