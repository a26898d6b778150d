#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "anomaly/e_detector.hpp"

using namespace muster::anomaly;

// The theorem of the budget on exact scores: at most T / A pages in T ticks, for any number of groups and any
// dependence between them.
TEST_CASE("exact scores keep the promise, for one group and for many that share their noise") {
  constexpr int ticks_a_week = 1008;
  constexpr int weeks = 400;
  constexpr double threshold = ticks_a_week;  // one page a week
  for (const int groups : {1, 30}) {
    std::mt19937 random(static_cast<unsigned>(groups));
    std::normal_distribution<float> noise;
    std::vector<Evidence> up(static_cast<std::size_t>(groups));
    const auto tilt = tilts(0);
    const auto weight = static_cast<float>(1.0 / groups / 4);
    int pages = 0;
    for (int t = 0; t < weeks * ticks_a_week; ++t) {
      const float shared = noise(random);
      for (std::size_t g = 0; g < up.size(); ++g) {
        // At the edge of the tolerance, where the e-values have mean 1 and nothing is given away.
        const float u = tolerance + 0.6F * shared + 0.8F * noise(random);
        update(up[g], u, tilt, weight);
        if (static_cast<double>(sum(up[g])) < threshold) continue;
        ++pages;
        up[g] = {};
      }
    }
    const double a_week = static_cast<double>(pages) / weeks;
    INFO("groups " << groups << ", pages a week " << a_week);
    CHECK(a_week <= 1);
    // And it is not kept by sleeping: only the overshoot over the threshold is lost.
    CHECK(a_week > 0.4);
  }
}

TEST_CASE("a shift of one sigma is found within hours") {
  std::mt19937 random(2);
  std::normal_distribution<float> noise;
  const auto tilt = tilts(0);
  double delay = 0;
  constexpr int runs = 200;
  for (int run = 0; run < runs; ++run) {
    Evidence up{}, down{};
    int t = 0;
    while (static_cast<double>(sum(up) + sum(down)) < 1008 && t < 500) {
      update(up, down, 1 + noise(random), tilt, 1.0F / 100 / 8);
      ++t;
    }
    delay += t;
  }
  // ln(1008 * 800) = 13.6 of evidence at about .4 a tick for lambda .7 to 1.4, so some 34 ticks.
  CHECK(delay / runs == Approx(34).margin(8));
}
