#pragma once

#include <optional>
#include <span>
#include <vector>

namespace muster::collector {

// What a gzip (or zlib) body holds; several members follow each other. `too_large` when it would be more
// than bytes_max, without having made more than that.
struct Inflated {
  enum class State { good, damaged, too_large };
  State state = State::good;
  std::vector<char> bytes;
};
Inflated inflate_body(std::span<const char> body, std::size_t bytes_max);

}  // namespace muster::collector
