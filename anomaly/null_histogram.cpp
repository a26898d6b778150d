#include "anomaly/null_histogram.hpp"

#include <algorithm>
#include <cassert>

#include "anomaly/normal.hpp"

namespace muster::anomaly {

void NullHistogram::tick(double decay) {
  assert(decay > 0 && decay <= 1);
  if (added_ == 0 && mass_ == 0) return;
  untabled_ += added_ / weight_;
  mass_ = mass_ * decay + added_ / weight_ * decay;
  added_ = 0;
  weight_ /= decay;
  if (weight_ > 1e3) {
    // Before floats lose a single count beside the old ones.
    for (float& count : counts_) count = static_cast<float>(count / weight_);
    weight_ = 1;
  }
  if (untabled_ < 0.02 * tabled_ || untabled_ == 0) return;
  double total = 0;
  for (const float count : counts_) total += count;
  total /= weight_;
  mass_ = total;
  double below = 0;
  for (std::size_t i = 0; i < cells; ++i) {
    const double here = counts_[i] / weight_;
    const double f = (below + here / 2 + 0.5) / (total + 1);
    table_[i] = static_cast<float>(std::clamp(normal_quantile(f), -5.0, 5.0));
    below += here;
  }
  tabled_ = total;
  untabled_ = 0;
}

}  // namespace muster::anomaly
