#include "anomaly/event_chain.hpp"

#include <algorithm>
#include <cassert>

#include "anomaly/normal.hpp"

namespace muster::anomaly {

float event_probability(const EventChain& chain, const EventPrior& prior) {
  const float p = chain.last ? std::max(chain.after_yes, 0.7F)
                             : std::max(chain.after_no * prior.factor, prior.floor);
  return std::min(p, 0.98F);
}

float randomised_score(bool event, float p, float u) {
  assert(p > 0 && p < 1 && u > 0 && u < 1);
  const double v = event ? 1 - static_cast<double>(u) * static_cast<double>(p)
                         : static_cast<double>(u) * (1 - static_cast<double>(p));
  return static_cast<float>(std::clamp(normal_quantile(std::clamp(v, 1e-9, 1 - 1e-9)), -5.0, 5.0));
}

void learn(EventChain& chain, bool event, float memory) {
  float& rate = chain.last ? chain.after_yes : chain.after_no;
  rate += ((event ? 1.0F : 0.0F) - rate) / memory;
  chain.last = event ? 1 : 0;
}

float uniform(std::uint64_t bits) {
  return (static_cast<float>(bits >> 41) + 0.5F) / static_cast<float>(1U << 23);
}

}  // namespace muster::anomaly
