#pragma once

#include <optional>

#include "schema/fleet_view.hpp"

namespace muster::app {

// Ticks close by the samples themselves, so a fleet of which nobody sends any more looks as well as it did last.
// This says so.
//
// unheard  wall clock since the last batch
// returns  a finding once that is more than three ticks, and five minutes: shorter is a restart of a sender
std::optional<StaticFinding> fleet_silence(const FleetView& view, Duration unheard);

}  // namespace muster::app
