#include "app/silence.hpp"

#include <algorithm>

namespace muster::app {

std::optional<StaticFinding> fleet_silence(const FleetView& view, Duration unheard) {
  const Duration patience = std::max<Duration>(std::chrono::minutes(5), 3 * view.tick);
  if (view.models.empty() || unheard <= patience) return std::nullopt;
  return StaticFinding{"no_data", "the whole fleet", "", view.at, "has sent nothing: nothing below is newer"};
}

}  // namespace muster::app
