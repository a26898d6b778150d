#pragma once

#include <cstdint>

namespace muster::anomaly {

// A yes/no event per tick (a null value, a repeated value, an absent sample) as a two-state Markov
// chain with its own learned rates: real gaps come in runs, and independent trials would page at
// each of them.
struct EventChain {
  float after_no = 0.03F;  // P(event | no event before), EWMA
  float after_yes = 0.7F;  // P(event | event before), EWMA
  std::uint8_t last = 0;
};

// How the rates are read: not below `floor`, after_no raised by `factor`, after_yes >= 0.7, all <=
// 0.98.
struct EventPrior {
  float factor = 1.25F;
  float floor = 0.02F;
};

// P(event now), from what was known before.
float event_probability(const EventChain& chain, const EventPrior& prior);

// The randomised probability integral transform: exactly N(0, 1) when p is right, high when an
// event comes unexpected.
//
//   v = event ? 1 - U p : U (1 - p),   x = Phi^-1(v), clipped at +-5
//
// p        in (0, 1)
// uniform  U in (0, 1), from a hash, so that a replay draws the same
float randomised_score(bool event, float p, float uniform);

// memory   in ticks, e.g. 200
void learn(EventChain& chain, bool event, float memory);

// U in (0, 1) from 64 hashed bits.
float uniform(std::uint64_t bits);

}  // namespace muster::anomaly
