#pragma once

#include <array>
#include <bit>
#include <cstdint>

// Random numbers by counter: what is drawn depends on (key, counter) alone, so any sample of a
// simulated fleet can be made without those before it, in any order, on any thread.
//
// The elementary functions are written out with + - * / and sqrt, which IEEE 754 defines to the
// last bit; exp, log and cos of the C library differ between versions and processors. So a seed
// gives the same bits everywhere. Accuracy is about 1e-14, which is more than an invented number
// needs.
namespace muster::simulator {

using Words = std::array<std::uint32_t, 4>;

// Philox4x32-10.
// source  Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011)
inline Words philox(Words counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// In (0, 1], 53 bits.
inline double unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 11;
  return static_cast<double>(bits + 1) * 0x1p-53;
}
// In (0, 1], 32 bits: enough for a yes or no.
inline double unit(std::uint32_t word) {
  return (static_cast<double>(word) + 1) * 0x1p-32;
}

// e^x for |x| < 700.
inline double exp(double x) {
  const double scaled = x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5);
  const auto k = static_cast<std::int64_t>(scaled);
  // ln 2 in two parts, the first with few bits, so that k times it is exact.
  const double r = (x - static_cast<double>(k) * 0x1.62e42fee00000p-1) -
                   static_cast<double>(k) * 0x1.a39ef35793c76p-33;
  double sum = 1;
  for (int n = 13; n > 0; --n) sum = 1 + sum * r / n;
  return sum * std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}

// ln x for normal x > 0.
inline double log(double x) {
  auto bits = std::bit_cast<std::uint64_t>(x);
  auto k = static_cast<std::int64_t>(bits >> 52) - 1023;
  bits = (bits & 0x000f'ffff'ffff'ffffULL) | 0x3ff0'0000'0000'0000ULL;
  double m = std::bit_cast<double>(bits);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  // ln m = 2 artanh f
  const double f = (m - 1) / (m + 1);
  const double f2 = f * f;
  double sum = 1.0 / 21;
  for (int n = 19; n > 0; n -= 2) sum = 1.0 / n + sum * f2;
  return 2 * f * sum + static_cast<double>(k) * 0.6931471805599453;
}

// cos(2 pi v) for |v| < 2^31.
inline double cos_turn(double v) {
  v -= static_cast<double>(static_cast<std::int64_t>(v + (v < 0 ? -0.5 : 0.5)));
  if (v < 0) v = -v;
  double sign = 1;
  if (v > 0.25) {
    v = 0.5 - v;
    sign = -1;
  }
  if (v <= 0.125) {
    const double t2 = v * v * 39.478417604357434;  // (2 pi)^2
    double sum = 1;
    for (int n = 16; n > 0; n -= 2) sum = 1 - sum * t2 / (n * (n - 1));
    return sign * sum;
  }
  const double t = (0.25 - v) * 6.283185307179586;
  const double t2 = t * t;
  double sum = 1;
  for (int n = 17; n > 1; n -= 2) sum = 1 - sum * t2 / (n * (n - 1));
  return sign * t * sum;
}
inline double sin_turn(double v) {
  return cos_turn(v - 0.25);
}

// Numbers for one purpose. The purpose is part of the counter, so that two uses never share a
// number.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint32_t purpose) : seed_(seed), purpose_(purpose) {}

  Words words(std::uint32_t who, std::uint64_t when) const {
    return philox(
        {static_cast<std::uint32_t>(when), static_cast<std::uint32_t>(when >> 32), who, purpose_},
        {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  }
  double uniform(std::uint32_t who, std::uint64_t when) const {
    const Words w = words(who, when);
    return unit(w[0], w[1]);
  }
  // Student's t with variance 1, cut at 25; half_nu = nu / 2 > 1, or 0 for the normal distribution.
  // source  Bailey, Polar generation of random variates with the t-distribution (Math. Comp. 1994)
  double tailed(std::uint32_t who, std::uint64_t when, double half_nu) const;
  double normal(std::uint32_t who, std::uint64_t when) const { return tailed(who, when, 0); }

 private:
  std::uint64_t seed_;
  std::uint32_t purpose_;
};

// A sequence, for choices that are made once: who depends on whom, what a fault does.
class Dice {
 public:
  Dice(std::uint64_t seed, std::uint32_t purpose, std::uint32_t who = 0)
      : draws_(seed, purpose), who_(who) {}
  double uniform() { return draws_.uniform(who_, next_++); }
  double between(double low, double high) { return low + (high - low) * uniform(); }
  bool chance(double p) { return uniform() <= p; }
  // In [0, n).
  std::uint32_t below(std::uint32_t n) {
    const auto k = static_cast<std::uint32_t>(uniform() * n);
    return k < n ? k : n - 1;
  }

 private:
  Draws draws_;
  std::uint32_t who_;
  std::uint64_t next_ = 0;
};

}  // namespace muster::simulator
