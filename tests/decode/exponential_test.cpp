#include "collector/decode/exponential.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

using namespace muster;
using decode::classic_buckets;
using decode::ClassicBucket;
using decode::ExponentialBucket;
using decode::ExponentialHistogram;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

std::vector<ClassicBucket> buckets_of(const ExponentialHistogram& histogram) {
  std::vector<ClassicBucket> out = {{7, 7}};  // what stood there goes
  REQUIRE(classic_buckets(histogram, out));
  return out;
}

// The count at the boundary that is exactly `le`; -1 when there is none.
double at(const std::vector<ClassicBucket>& buckets, double le) {
  for (const ClassicBucket& bucket : buckets)
    if (bucket.le == le) return bucket.count;
  return -1;
}

}  // namespace

TEST_CASE("an exponential histogram becomes cumulative buckets, widened to fours") {
  // By hand. Scale 0: bucket 0 is (1, 2], bucket 2 is (4, 8]. Four boundaries from 1 on: up to 16.
  const ExponentialBucket positive[] = {{0, 3}, {2, 2}};
  const auto buckets = buckets_of({.scale = 0, .zero_count = 1, .positive = positive, .count = 6});
  CHECK(buckets == std::vector<ClassicBucket>{
                       {0, 1}, {1, 1}, {2, 4}, {4, 4}, {8, 6}, {16, 6}, {inf, 6}});
}

TEST_CASE("negative buckets come first, from the most negative up") {
  // By hand. Scale 0: negative bucket 0 is [-2, -1), bucket 1 is [-4, -2).
  const ExponentialBucket negative[] = {{0, 1}, {1, 5}};
  const ExponentialBucket positive[] = {{-1, 2}};  // (0.5, 1]
  const auto buckets = buckets_of({.scale = 0,
                                   .zero_threshold = 0.01,
                                   .zero_count = 4,
                                   .positive = positive,
                                   .negative = negative,
                                   .count = 12});
  CHECK(buckets == std::vector<ClassicBucket>{{-16, 0},
                                              {-8, 0},
                                              {-4, 0},
                                              {-2, 5},
                                              {-1, 6},
                                              {0.01, 10},
                                              {0.0625, 10},
                                              {0.125, 10},
                                              {0.25, 10},
                                              {0.5, 10},
                                              {1, 12},
                                              {inf, 12}});
}

TEST_CASE("finer scales are merged to quarters of an octave, and no observation changes its bucket") {
  // Scale 20 is where OpenTelemetry's SDKs start. Buckets 2^18 k to 2^18 (k+1) - 1 lie in one quarter.
  const ExponentialBucket positive[] = {
      {0, 1}, {(1 << 18) - 1, 2}, {1 << 18, 4}, {-1, 8}, {(1 << 20) - 1, 16}};
  const auto buckets = buckets_of({.scale = 20, .positive = positive, .count = 31});
  REQUIRE(buckets.size() == 10);  // 2^-1 … 2^1 in quarters, and infinity
  CHECK(at(buckets, 0.5) == 0);
  CHECK(at(buckets, 0x1.ae89f995ad3adp-1) == 0);  // 2^-0.25
  CHECK(at(buckets, 1) == 8);
  CHECK(at(buckets, 0x1.306fe0a31b715p+0) == 11);  // 2^0.25
  CHECK(at(buckets, 0x1.6a09e667f3bcdp+0) == 15);  // 2^0.5
  CHECK(at(buckets, 2) == 31);
}

TEST_CASE("the boundaries of a lower scale are among those of a higher one, bit by bit") {
  const ExponentialBucket fine[] = {{-40, 1}, {40, 1}};
  const auto all = buckets_of({.scale = 2, .positive = fine, .count = 2});
  for (const std::int32_t scale : {1, 0, -1, -2}) {
    const ExponentialBucket coarse[] = {{0, 1}};
    for (const ClassicBucket& bucket :
         buckets_of({.scale = scale, .positive = coarse, .count = 1})) {
      if (bucket.le <= 1024) {
        INFO(bucket.le);
        CHECK(at(all, bucket.le) >= 0);
      }
    }
  }
}

TEST_CASE("boundaries are the powers of two that they stand for") {
  const ExponentialBucket wide[] = {{-70, 1}, {70, 1}};
  for (const ClassicBucket& bucket : buckets_of({.scale = 2, .positive = wide, .count = 2})) {
    if (std::isinf(bucket.le)) continue;
    const double quarters = 4 * std::log2(bucket.le);
    // log2 of a correctly rounded power is off by 2^-52 at most; times four and a size to 18.
    CHECK(std::abs(quarters - std::round(quarters)) < 1e-13);
  }
}

TEST_CASE("a wide histogram is told with fewer boundaries, never more than the limit") {
  // 1e-9 to 1e9 at scale 2: 240 boundaries, so scale 1 is the finest that fits.
  const ExponentialBucket wide[] = {{-120, 1}, {119, 1}};
  const auto buckets = buckets_of({.scale = 2, .positive = wide, .count = 2});
  CHECK(buckets.size() <= decode::classic_buckets_max);
  CHECK(buckets.size() > decode::classic_buckets_max / 2);
  CHECK(at(buckets, 1) == 1);
  CHECK(at(buckets, 0x1.6a09e667f3bcdp+0) == 1);  // 2^0.5 is there, 2^0.25 is not
  CHECK(at(buckets, 0x1.306fe0a31b715p+0) == -1);

  // All doubles at once, on both sides.
  const ExponentialBucket all[] = {{-1074 * 4, 1}, {1023 * 4, 1}};
  const auto most = buckets_of({.scale = 2, .positive = all, .negative = all, .count = 4});
  CHECK(most.size() <= decode::classic_buckets_max);
  CHECK(most.back() == ClassicBucket{inf, 4});
}

TEST_CASE("indices that no double reaches end at zero and at infinity") {
  const ExponentialBucket ends[] = {{std::numeric_limits<std::int32_t>::min(), 1},
                                    {std::numeric_limits<std::int32_t>::max(), 1}};
  for (const std::int32_t scale : {-11, -10, 0, 2, 20, std::numeric_limits<std::int32_t>::max()}) {
    const auto buckets = buckets_of({.scale = scale, .positive = ends, .negative = ends, .count = 4});
    CHECK(buckets.size() <= decode::classic_buckets_max);
    CHECK(buckets.back() == ClassicBucket{inf, 4});
  }
}

TEST_CASE("an empty histogram has one bucket, and observations that are not numbers are in the last") {
  CHECK(buckets_of({.scale = 3}) == std::vector<ClassicBucket>{{inf, 0}});
  const ExponentialBucket positive[] = {{0, 1}};
  CHECK(buckets_of({.scale = 0, .positive = positive, .count = 3}).back() == ClassicBucket{inf, 3});
  const ExponentialBucket empty[] = {{-1'000'000, 0}, {1'000'000, 0}};
  CHECK(buckets_of({.scale = 0, .positive = empty}).size() == 1);
}

TEST_CASE("a histogram that contradicts itself is refused") {
  std::vector<ClassicBucket> out;
  const ExponentialBucket two[] = {{0, 2}};
  const ExponentialBucket negative[] = {{0, -1}};
  const ExponentialBucket nan[] = {{0, std::nan("")}};
  CHECK_FALSE(classic_buckets({.scale = 0, .positive = two, .count = 1}, out));
  CHECK_FALSE(classic_buckets({.scale = 0, .positive = negative, .count = 1}, out));
  CHECK_FALSE(classic_buckets({.scale = 0, .negative = nan, .count = 1}, out));
  CHECK_FALSE(classic_buckets({.scale = 0, .zero_count = -1, .count = 1}, out));
  CHECK_FALSE(classic_buckets({.scale = 0, .zero_threshold = -1, .count = 1}, out));
  CHECK_FALSE(classic_buckets({.scale = 0, .count = std::nan("")}, out));
  CHECK_FALSE(classic_buckets({.scale = -12, .count = 1}, out));
  CHECK(out.empty());
}

TEST_CASE("every observation is counted at the first boundary that is not below it") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto scale = static_cast<std::int32_t>(random() % 12) - 3;
    std::vector<double> observed;
    std::vector<ExponentialBucket> positive, negative;
    for (auto n = random() % 40; n-- > 0;) {
      // The middle of a bucket, so that rounding cannot put it into its neighbour.
      const auto width = std::ldexp(1.0, -scale);
      const auto index = static_cast<std::int32_t>(static_cast<double>(random() % 41) / width) -
                         static_cast<std::int32_t>(20 / width);
      const double middle = std::exp2((index + 0.5) * width);
      if (random() % 3 == 0) {
        negative.push_back({index, 1});
        observed.push_back(-middle);
      } else {
        positive.push_back({index, 1});
        observed.push_back(middle);
      }
    }
    const auto buckets = buckets_of({.scale = scale,
                                     .positive = positive,
                                     .negative = negative,
                                     .count = static_cast<double>(observed.size())});
    REQUIRE(buckets.size() <= decode::classic_buckets_max);
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      if (i > 0) REQUIRE(buckets[i].le > buckets[i - 1].le);
      const auto below = std::count_if(observed.begin(), observed.end(),
                                       [&](double x) { return x <= buckets[i].le; });
      REQUIRE(buckets[i].count == static_cast<double>(below));
    }
  }
}
