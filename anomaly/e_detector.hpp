#pragma once

#include <array>

namespace muster::anomaly {

// Shiryaev-Roberts e-detectors for a shift of a score that is N(0, 1) when nothing is wrong:
//
//   e_t = exp(+-lambda u_t - lambda^2/2 - lambda (d0 + tau))    E[e_t] <= 1 while |mean of u| <= d0 + tau
//   V_t = e_t (V_{t-1} + w)
//
// The sum of all V of a group crosses A at most (ticks / A) times on average when the weights w of
// all groups sum to 1 a tick, whatever the dependence between them.
//
// source   Shin, Ramdas, Rinaldo, E-detectors (2023); docs/evidence.md, Over time
inline constexpr std::array<float, 4> lambdas = {0.35F, 0.7F, 1.4F, 2.5F};
inline constexpr float tolerance = 0.10F;  // d0

// exp(-lambda^2/2 - lambda (d0 + tau)) for each lambda: the same for all scores of a channel at a
// tick.
std::array<float, 4> tilts(float tau);

// exp(lambda u) tilt for each lambda.
std::array<float, 4> e_values(float u, const std::array<float, 4>& tilt);

// V for each lambda of one sign.
using Evidence = std::array<float, 4>;

// Takes u into v, `weight` a detector. Evidence is held below 1e30, far above any threshold.
void update(Evidence& v, float u, const std::array<float, 4>& tilt, float weight);

// Both signs at the cost of two exponentials: lambdas 0.7 and 1.4 are powers of the first.
void update(Evidence& up, Evidence& down, float u, const std::array<float, 4>& tilt, float weight);

inline float sum(const Evidence& v) {
  return v[0] + v[1] + v[2] + v[3];
}

}  // namespace muster::anomaly
