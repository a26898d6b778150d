#include "anomaly/histogram.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace muster::anomaly;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
using Values = std::vector<double>;

}  // namespace

TEST_CASE("a quantile of a histogram lies inside its bucket by the rank") {
  const Values bounds = {0.1, 0.25, 0.5, 1, inf};
  const Values counts = {10, 40, 80, 98, 100};
  // By hand. Rank 50 is the 10th of 40 between 0.25 and 0.5; rank 5 is half of the first, which begins at 0.
  CHECK(*histogram_quantile(0.5, bounds, counts) == Approx(0.25 + 0.25 * 10 / 40));
  CHECK(*histogram_quantile(0.05, bounds, counts) == Approx(0.05));
  CHECK(*histogram_quantile(0.9, bounds, counts) == Approx(0.5 + 0.5 * 10 / 18));
  // Beyond the last finite bound nothing is known but that bound.
  CHECK(*histogram_quantile(0.99, bounds, counts) == 1);
  CHECK(*histogram_quantile(1, bounds, counts) == 1);
}

TEST_CASE("odd histograms give what Prometheus gives") {
  // Buckets below zero: the first has no lower end.
  CHECK(*histogram_quantile(0.1, Values{-1, 0, 1, inf}, Values{50, 60, 100, 100}) == -1);
  CHECK(*histogram_quantile(0.55, Values{-1, 0, 1, inf}, Values{50, 60, 100, 100}) == Approx(-0.5));
  // Read while it was written: the second count is behind the first and counts as equal.
  CHECK(*histogram_quantile(0.5, Values{1, 2, 4, inf}, Values{40, 39, 80, 80}) == Approx(1 * 40.0 / 40));
  CHECK(*histogram_quantile(0.75, Values{1, 2, 4, inf}, Values{40, 39, 80, 80}) == Approx(2 + 2 * 20.0 / 40));
  CHECK_FALSE(histogram_quantile(0.5, Values{1, 2}, Values{1, 2}));      // no +Inf
  CHECK_FALSE(histogram_quantile(0.5, Values{inf}, Values{5}));          // no bounds
  CHECK_FALSE(histogram_quantile(0.5, Values{1, inf}, Values{0, 0}));    // nothing observed
}

TEST_CASE("the stability index is zero for equal shares and by hand for others") {
  CHECK(*stability_index(Values{50, 30, 20}, Values{0.5, 0.3, 0.2}) == Approx(0).margin(1e-15));
  // By hand, n = 100, k = 2: p = 80.5/101, 20.5/101; r = 50.5/101 both.
  const double p0 = 80.5 / 101, p1 = 20.5 / 101, r = 0.5;
  CHECK(*stability_index(Values{80, 20}, Values{0.5, 0.5}) ==
        Approx((p0 - r) * std::log(p0 / r) + (p1 - r) * std::log(p1 / r)));
  // A bin that was always empty, and one that no longer is.
  CHECK(*stability_index(Values{50, 50, 0}, Values{0.5, 0.5, 0}) == Approx(0).margin(1e-15));
  const double some = *stability_index(Values{45, 45, 10}, Values{0.5, 0.5, 0});
  CHECK(std::isfinite(some));
  CHECK(some > 0.1);
  CHECK_FALSE(stability_index(Values{0, 0}, Values{0.5, 0.5}));
  CHECK_FALSE(stability_index(Values{5}, Values{1}));
}
