#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "simulator/fleet.hpp"

namespace muster::simulator {

// Faults for an audience: strong enough to be found within an hour of ticks, over soon after, and never two
// that could be taken for each other.
class Showcase {
 public:
  struct Settings {
    // Ticks between the beginnings of two faults.
    std::uint32_t gap_min = 60;
    std::uint32_t gap_max = 120;
  };
  Showcase(const Fleet& fleet, Settings settings) : fleet_(fleet), settings_(settings) {}

  // A fault of the kind from tick `t` on. The id decides what is drawn.
  Fault invent(FaultKind kind, Tick t, std::uint32_t id);
  // The one that comes by itself: its kind is drawn too. The first is what muster is for: a source whose many
  // users all move a little.
  Fault invent(Tick t, std::uint32_t id);
  // When the one after a fault of `t` and `id` comes by itself.
  Tick next_after(Tick t, std::uint32_t id) const;

 private:
  const Fleet& fleet_;
  Settings settings_;
  std::deque<std::string> recent_;  // causes, oldest first
};

}  // namespace muster::simulator
