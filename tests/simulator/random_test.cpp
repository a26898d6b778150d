#include "simulator/random.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

using namespace muster::simulator;

TEST_CASE("philox gives the numbers of its authors") {
  // kat_vectors of Random123 1.09, "philox4x32 10".
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t f = 0xffffffff;
  CHECK(philox({f, f, f, f}, {f, f}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("exp, log and the cosine agree with the C library") {
  // Relative 1e-13: the series are cut where their next term is below 1e-15, and a dozen roundings follow.
  for (double x = -40; x < 40; x += 0.0137) {
    CHECK(muster::simulator::exp(x) == Approx(std::exp(x)).epsilon(1e-13));
  }
  for (double x = 1e-16; x < 1e6; x *= 1.37) {
    CHECK(muster::simulator::log(x) == Approx(std::log(x)).epsilon(1e-13).margin(1e-14));
  }
  for (double v = -3; v < 3; v += 0.0113) {
    CHECK(cos_turn(v) == Approx(std::cos(2 * M_PI * v)).margin(1e-13));
    CHECK(sin_turn(v) == Approx(std::sin(2 * M_PI * v)).margin(1e-13));
  }
}

TEST_CASE("noise has the variance and the tails of its distribution") {
  const Draws draws(7, 't');
  constexpr int n = 200'000;
  const auto sample = [&](double half_nu) {
    std::vector<double> x(n);
    for (int i = 0; i < n; ++i) x[i] = draws.tailed(3, static_cast<std::uint64_t>(i), half_nu);
    std::sort(x.begin(), x.end());
    return x;
  };
  const auto at = [&](const std::vector<double>& x, double q) {
    return x[static_cast<std::size_t>(q * n)];
  };

  // Tables: the 97.5 % and 99.9 % points are 1.960 and 3.090 for the normal distribution, 2.571 and 5.893
  // for Student's t with 5 degrees of freedom, whose variance is 5/3. Tolerance: four standard errors.
  const std::vector<double> normal = sample(0);
  CHECK(at(normal, 0.5) == Approx(0).margin(0.012));
  CHECK(at(normal, 0.975) == Approx(1.960).margin(0.024));
  CHECK(at(normal, 0.999) == Approx(3.090).margin(0.09));
  const std::vector<double> t5 = sample(2.5);
  CHECK(at(t5, 0.975) == Approx(2.571 / std::sqrt(5.0 / 3)).margin(0.035));
  CHECK(at(t5, 0.999) == Approx(5.893 / std::sqrt(5.0 / 3)).margin(0.35));
  double sum2 = 0;
  for (const double x : t5) sum2 += x * x;
  CHECK(sum2 / n == Approx(1).margin(0.04));
}

TEST_CASE("dice keep inside their bounds and use them") {
  Dice dice(1, 'x');
  std::vector<int> seen(6);
  for (int i = 0; i < 6000; ++i) ++seen[dice.below(6)];
  // 1000 each; four standard deviations are 115.
  for (const int count : seen) CHECK(std::abs(count - 1000) < 116);
}
