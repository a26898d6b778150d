#include "anomaly/robust.hpp"

#include <algorithm>
#include <cmath>

namespace muster::anomaly {

float median(std::vector<float>& values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

float mad_about_zero(std::vector<float>& values) {
  for (float& v : values) v = std::abs(v);
  return 1.4826F * median(values);
}

}  // namespace muster::anomaly
