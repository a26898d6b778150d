#include <boost/math/distributions/normal.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "anomaly/baseline.hpp"
#include "anomaly/e_detector.hpp"
#include "anomaly/event_chain.hpp"
#include "anomaly/normal.hpp"
#include "anomaly/null_histogram.hpp"
#include "anomaly/robust.hpp"
#include "anomaly/shift_likelihood.hpp"

using namespace muster::anomaly;

namespace {

constexpr std::int64_t monday = 1'740'960'000;  // 2025-03-03 00:00 UTC

}  // namespace

TEST_CASE("the normal quantile agrees with Boost.Math to nine digits") {
  const boost::math::normal exact;
  for (const double p : {1e-8, 1e-5, 0.001, 0.0242, 0.0243, 0.3, 0.5, 0.9, 0.976, 0.9999, 1 - 1e-7})
    CHECK(normal_quantile(p) == Approx(boost::math::quantile(exact, p)).epsilon(2e-9).margin(2e-9));
  CHECK(normal_cdf(1.959963984540054) == Approx(0.975).epsilon(1e-12));
}

TEST_CASE("the median of an even number is its upper middle value, whatever the order") {
  std::vector<float> a = {4, 1, 3, 2};
  std::vector<float> b = {1, 2, 3, 4};
  CHECK(median(a) == 3);
  CHECK(median(b) == 3);
  std::vector<float> none;
  CHECK(median(none) == 0);
  // By hand: |v| = 1 2 3, median 2.
  std::vector<float> c = {-2, 1, -3};
  CHECK(mad_about_zero(c) == Approx(2.9652F));
}

TEST_CASE("phases interpolate between hour centres and know weekends") {
  // Monday 00:30 is the centre of the weekday's first hour.
  const Phase centre = phase_of(monday + 1800);
  CHECK(centre.node0 == 0);
  CHECK(centre.weight0 == 1);
  CHECK(centre.cell == 0);
  // At 01:00 two hours weigh alike.
  const Phase between = phase_of(monday + 3600);
  CHECK(between.node0 == 0);
  CHECK(between.node1 == 1);
  CHECK(between.weight0 == 0.5F);
  CHECK(phase_of(monday).node0 == 24 + 23);  // Sunday's last hour
  CHECK(phase_of(monday + 5 * 86400 + 12 * 3600 + 1800).node0 == 24 + 12);
  CHECK(phase_of(monday - 3 * 86400 + 7 * 3600).cell == 2);
  // Nine hours ahead, Friday 15:30 UTC is Saturday.
  const std::int64_t friday = monday + 4 * 86400 + 15 * 3600 + 1800;
  CHECK(phase_of(friday).node0 == 15);
  CHECK(phase_of(friday, 9).node0 == 24 + 15);
  CHECK(other_day(phase_of(friday)).node0 == 24 + 15);
}

TEST_CASE("border hours say which kind of day they are under a shift") {
  const auto at = [](int day, int hour) {
    return border_hour(monday + day * 86400 + hour * 3600 + 600);
  };
  CHECK(at(2, 15) == BorderHour::none);
  CHECK(at(4, 11) == BorderHour::none);
  CHECK(at(4, 15) == 3);
  CHECK(at(5, 3) == 15);
  CHECK(at(6, 12) == 24);
  CHECK(at(0, 11) == 47);
  for (int hour = 12; hour < 24; ++hour) {
    for (const int shift : {-12, -5, 0, 3, 8, 12}) {
      // The same question asked of the phase itself, half an hour into the hour.
      const auto weekend = [&](int day) {
        return phase_of(monday + day * 86400 + hour * 3600 + 1800, shift).node0 >= 24;
      };
      CHECK(border_is_weekend(at(4, hour), shift) == weekend(4));
      CHECK(border_is_weekend(at(6, hour), shift) == weekend(6));
      const auto early = [&](int day) {
        return phase_of(monday + day * 86400 + (hour - 12) * 3600 + 1800, shift).node0 >= 24;
      };
      CHECK(border_is_weekend(at(5, hour - 12), shift) == early(5));
      CHECK(border_is_weekend(at(0, hour - 12), shift) == early(0));
    }
  }
}

TEST_CASE("innovations of a seasonal, correlated series are white with unit variance") {
  // y = 100 + 10 sin(day) + AR(1) of .6 with unit innovations; three weeks to learn, three to measure.
  std::mt19937 random(7);
  std::normal_distribution<float> noise;
  Baseline b;
  Season season;
  const Pace pace = Pace::of(144);
  float ar = 0;
  double sum = 0, squares = 0, products = 0, before = 0;
  int n = 0;
  for (int t = 0; t < 6 * 7 * 144; ++t) {
    ar = 0.6F * ar + noise(random);
    const std::int64_t at = monday + t * 600;
    const double day = 2 * 3.14159265 * static_cast<double>(at % 86400) / 86400;
    const float y = 100 + 10 * static_cast<float>(std::sin(day)) + ar;
    const Reading reading = observe(b, season.ref(), y, phase_of(at), pace, 1);
    if (t < 3 * 7 * 144 || !reading.z) continue;
    const auto z = static_cast<double>(*reading.z);
    sum += z;
    squares += z * z;
    products += z * before;
    before = z;
    ++n;
  }
  REQUIRE(n == 3 * 7 * 144);
  // 3024 scores: the mean's sd is .018, the variance's .026, the correlation's .018; four of them.
  CHECK(sum / n == Approx(0).margin(0.073));
  CHECK(squares / n == Approx(1).margin(0.11));
  CHECK(products / squares == Approx(0).margin(0.08));
}

TEST_CASE("a new version mutes six samples and is not a shift") {
  std::mt19937 random(3);
  std::normal_distribution<float> noise;
  const Pace pace = Pace::of(144);
  Baseline b;
  Season season;
  int t = 0;
  for (; t < 2000; ++t) observe(b, season.ref(), noise(random), phase_of(monday + t * 600), pace, 1);
  Baseline unlabelled = b;
  Season unlabelled_season = season;
  reset(b);
  float labelled_worst = 0, unlabelled_worst = 0;
  for (int k = 0; k < 30; ++k, ++t) {
    const float y = 8 + noise(random);
    const Reading with = observe(b, season.ref(), y, phase_of(monday + t * 600), pace, 1);
    const Reading without = observe(unlabelled, unlabelled_season.ref(), y, phase_of(monday + t * 600), pace, 1);
    CHECK(with.z.has_value() == (k >= 6));
    if (with.z) labelled_worst = std::max(labelled_worst, std::abs(*with.z));
    unlabelled_worst = std::max(unlabelled_worst, std::abs(*without.z));
  }
  CHECK(labelled_worst < 4);
  CHECK(unlabelled_worst > 6);
}

TEST_CASE("a series that never varied has no score, and logarithms keep what was learned") {
  Baseline flat;
  Season flat_season;
  for (int t = 0; t < 500; ++t) {
    const Reading reading = observe(flat, flat_season.ref(), 5, phase_of(monday + t * 600), Pace::of(144), 1);
    CHECK_FALSE(reading.z);
  }
  Baseline b;
  Season season;
  b.level = 100;
  season.nodes[3] = 50;
  b.abs_residual = 10;
  take_logarithms(b, season.ref(), 1);
  CHECK(b.level == Approx(std::log(100.0)));
  CHECK(season.nodes[3] == Approx(std::log(1.5)));
  CHECK(b.abs_residual == Approx(0.1));
  CHECK(transformed(b, 0) == 0);  // ln of the floor
  CHECK(untransformed(b, transformed(b, 42)) == Approx(42));
}

TEST_CASE(
    "the pooled null turns heavy tails into Gaussian scores and never claims more than it saw") {
  std::mt19937 random(11);
  std::student_t_distribution<float> heavy(4);
  NullHistogram h;
  for (int t = 0; t < 400; ++t) {
    for (int i = 0; i < 200; ++i) h.add(heavy(random));
    h.tick(1);
  }
  CHECK(h.mass() == Approx(80'000).epsilon(1e-6));
  REQUIRE(h.ready());
  double squares = 0;
  int beyond = 0;
  for (int i = 0; i < 100'000; ++i) {
    const auto x = static_cast<double>(h.score(heavy(random)));
    squares += x * x;
    beyond += x > 3 ? 1 : 0;
  }
  CHECK(squares / 100'000 == Approx(1).margin(0.03));
  // P(X > 3) = 135 in 100 000; Student's own would be 2000.
  CHECK(beyond == Approx(135).margin(60));

  NullHistogram young;
  for (int i = 0; i < 99; ++i) young.add(0);
  young.tick(1);
  // By hand: F = (99 + .5) / 100.
  CHECK(young.score(7) == Approx(normal_quantile(0.995)).epsilon(1e-5));
}

TEST_CASE("the pooled null forgets at the pace it is told") {
  NullHistogram h;
  for (int i = 0; i < 1000; ++i) h.add(-2);
  h.tick(1);
  for (int t = 0; t < 2000; ++t) {
    h.add(2);
    h.tick(0.99);
  }
  // By hand: the old thousand weigh 1000 * .99^2000 = 2e-6, the new 99 in the limit.
  CHECK(h.mass() == Approx(99).epsilon(0.03));
  CHECK(h.score(0) < -2);
}

TEST_CASE("e-values are exactly what the formula says") {
  const auto tilt = tilts(0.2F);
  const auto e = e_values(1.5F, tilt);
  for (std::size_t i = 0; i < 4; ++i) {
    const double l = static_cast<double>(lambdas[i]);
    CHECK(e[i] == Approx(std::exp(l * 1.5 - l * l / 2 - l * 0.3)).epsilon(1e-5));
  }
  Evidence up{1, 1, 1, 1};
  Evidence down{1, 1, 1, 1};
  Evidence alone{1, 1, 1, 1};
  update(up, down, 1.5F, tilt, 0.5F);
  update(alone, 1.5F, tilt, 0.5F);
  const auto mirrored = e_values(-1.5F, tilt);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(up[i] == Approx(e[i] * 1.5F).epsilon(1e-5));
    CHECK(down[i] == Approx(mirrored[i] * 1.5F).epsilon(1e-4));
    CHECK(alone[i] == Approx(up[i]).epsilon(1e-5));
  }
}

TEST_CASE("the randomised transform of an event with a known rate is standard normal") {
  std::mt19937_64 random(5);
  for (const float p : {0.02F, 0.3F, 0.9F}) {
    std::bernoulli_distribution event(static_cast<double>(p));
    double sum = 0, squares = 0, e = 0;
    constexpr int n = 200'000;
    for (int i = 0; i < n; ++i) {
      const auto x = static_cast<double>(randomised_score(event(random), p, uniform(random())));
      sum += x;
      squares += x * x;
      e += std::exp(1.4 * x - 0.98);
    }
    CHECK(sum / n == Approx(0).margin(0.01));  // four sd of the mean
    CHECK(squares / n == Approx(1).margin(0.015));
    CHECK(e / n == Approx(1).margin(0.06));  // E[e] = 1 at lambda 1.4, its sd 2.5 / sqrt(n)
  }
}

TEST_CASE("event chains learn that gaps come in runs") {
  EventChain chain;
  for (int i = 0; i < 4000; ++i) learn(chain, i % 40 < 10, 200);
  // By hand: 1 of 31 after no event, 9 of 10 after one.
  CHECK(chain.after_no == Approx(1.0 / 31).margin(0.01));
  CHECK(chain.after_yes == Approx(0.9).margin(0.03));
  chain.last = 0;
  CHECK(event_probability(chain, {}) == Approx(chain.after_no * 1.25F));
  chain.last = 1;
  CHECK(event_probability(chain, {}) == chain.after_yes);
}

TEST_CASE("the group likelihood is the mean over its grid, and prefers the set that moved") {
  // By hand for one member: the mean over q and mu of 1 - q + q e^l.
  const Ratios one = shift_ratios(2.5F);
  GroupLikelihood likelihood(group_shares);
  likelihood.add(one);
  double mean = 0;
  for (const double q : group_shares)
    for (const float e : one) mean += (1 - q + q * static_cast<double>(e)) / 32;
  CHECK(likelihood.log_bayes_factor() == Approx(std::log(mean)));
  // l at mu = 2, y = 2.5 by hand: t2 = 1, log N(2.5; 2, 2) - log N(2.5; 0, 1) = -.3466 - .0625 + 3.125.
  CHECK(std::log(one[2]) == Approx(2.7159).epsilon(1e-3));

  const auto of = [](int moved, int calm) {
    GroupLikelihood l(group_shares);
    for (int i = 0; i < moved; ++i) l.add(shift_ratios(2.5F));
    for (int i = 0; i < calm; ++i) l.add(shift_ratios(0.2F));
    return l.log_bayes_factor();
  };
  CHECK(of(20, 2) > of(20, 40));  // too large a set pays for its healthy members
  CHECK(of(20, 2) > of(10, 1));   // too small a set leaves evidence aside
  CHECK(of(0, 30) < 0);
}
