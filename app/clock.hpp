#pragma once

#include <chrono>

#include "schema/time.hpp"

namespace muster::app {

// Arrival time. The commands and the pipeline read it and hand it on; nothing else in muster reads a clock.
inline Timestamp wall_clock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<Duration>(now).count()};
}

}  // namespace muster::app
