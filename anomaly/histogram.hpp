#pragma once

#include <optional>
#include <span>

namespace muster::anomaly {

// Where a share q of the observations of a histogram lies below, with even spread inside a bucket:
//
//   rank = q * n, in the first bucket i with cumulative[i] >= rank:
//   low + (bound[i] - low) * (rank - cumulative[i-1]) / (cumulative[i] - cumulative[i-1])
//
// low is the bound below, or 0 for the first bucket. A rank beyond the last finite bound gives that bound; one in a
// first bucket whose bound is not above 0 gives that bound too.
//
// q           in [0, 1]
// bounds      ascending, the last one +Inf; n buckets
// cumulative  observations at or below each bound; where it falls (counts read apart) it is taken as flat
// returns     nothing without +Inf, with fewer than two buckets or no observations
// source      Prometheus 2.42, promql/quantile.go, bucketQuantile, whose answers these are
std::optional<double> histogram_quantile(double q, std::span<const double> bounds,
                                         std::span<const double> cumulative);

// How far shares have moved from those that are usual, the population stability index:
//
//   sum_i (p_i - r_i) * ln(p_i / r_i),   p_i = (c_i + 1/2) / (n + k/2),   r_i = (n * s_i + 1/2) / (n + k/2)
//
// Half an observation in each bin, on both sides alike, keeps empty bins finite: an empty bin that was always empty
// gives 0. It is 0 for equal shares; in credit scoring 0.1 is called small and 0.25 large. Under no change its mean
// is about (k - 1) / n, which is why few observations say nothing.
//
// counts     c, k bins, not cumulative, n their sum
// usual      s, shares that sum to 1
// returns    dimensionless, >= 0; nothing without observations or with fewer than two bins
// source     Siddiqi, Credit Risk Scorecards (2006); Yurdakul & Naranjo, Statistical properties of the population
//            stability index, Journal of Risk Model Validation 14 (2020)
std::optional<double> stability_index(std::span<const double> counts, std::span<const double> usual);

}  // namespace muster::anomaly
