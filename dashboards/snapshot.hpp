#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dashboards/incident_store.hpp"
#include "schema/fleet_view.hpp"
#include "schema/incident.hpp"

namespace muster::dashboards {

using Incidents = std::vector<Incident>;

// What the fleet page shows at one moment. Never changes once made, so it is shared without locks.
struct Snapshot {
  std::uint64_t number = 0;  // grows by one with each
  std::shared_ptr<const FleetView> fleet = std::make_shared<FleetView>();
  // The open ones and those closed within the last day; any order.
  std::shared_ptr<const Incidents> incidents = std::make_shared<Incidents>();
  std::map<std::string, Attention, std::less<>> attentions;

  // The fleet's clock and the number: a reader that comes back after a restart with a version of the process
  // before does not find it here, and gets everything.
  std::string version() const;
};

struct Parts {
  bool core = true;  // all but the heat strip
  bool heat = true;
  friend auto operator<=>(const Parts&, const Parts&) = default;
};

// GET /api/v1/fleet.
std::string fleet_json(const Snapshot& now, Parts parts);

// What a reader of `before` must hear to be at `now`; without `before`, everything. The strip comes as its
// newest column when that says it all, else whole.
std::string tick_json(const Snapshot* before, const Snapshot& now);

std::string base64(std::string_view bytes);

}  // namespace muster::dashboards
