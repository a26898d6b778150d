#pragma once

#include <array>
#include <span>

// How well "a share q of these models moved by about mu" explains smoothed scores, against "none
// did".
namespace muster::anomaly {

inline constexpr std::array<float, 8> shifts = {1, -1, 2, -2, 4, -4, 8, -8};  // mu, in sigma
inline constexpr std::array<double, 4> group_shares = {0.08, 0.25, 0.6,
                                                       0.97};  // q of a known cause
inline constexpr std::array<double, 4> unknown_shares = {0.02, 0.05, 0.12,
                                                         0.3};  // q of a set nobody named

// e^l for each mu, l = log N(y; mu, 1 + t2) / N(y; 0, 1), t2 = (1 + mu^2/4)/2, l clipped to [-12,
// 14].
using Ratios = std::array<float, 8>;
Ratios shift_ratios(float y);

// The Bayes factor of the two-group model with q and mu averaged over their grids, in logs:
//
//   log BF = log mean_{q, mu} prod_i (1 - q + q e^{l_i(mu)})
//
// Members stand in any order, as products are taken in double with logs every 16 factors.
class GroupLikelihood {
 public:
  explicit GroupLikelihood(const std::array<double, 4>& shares) : q_(shares) { product_.fill(1); }

  void add(const Ratios& member);
  double log_bayes_factor() const;

  // The (q, mu) that explains best; index into the grids.
  struct Best {
    double q = 0;
    std::size_t mu = 0;
  };
  Best best() const;

 private:
  std::array<double, 32> logs() const;

  std::array<double, 4> q_;
  std::array<double, 32> product_;
  std::array<double, 32> log_{};
  int held_ = 0;
};

// mean_mu e^l: the Bayes factor of one model alone, in logs.
double log_single(const Ratios& member);

// log sum exp, safe for large arguments. Not empty.
double log_sum_exp(std::span<const double> values);

}  // namespace muster::anomaly
