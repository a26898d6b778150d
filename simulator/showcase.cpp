#include "simulator/showcase.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

namespace muster::simulator {
namespace {

enum Purpose : std::uint32_t { for_fault = 'l', for_kind = 'L', for_gap = 'g' };

// A cause is not taken again within so many faults: the same soon again would be the same incident.
constexpr std::size_t causes_remembered = 3;
// With more victims the fleet's median moves, and what is usual with it.
constexpr std::size_t victims_share = 7;  // one in
constexpr std::string_view first_cause = "src-clickstream";

// How often each kind comes by itself: a reader should see causes with many users more than the rest.
constexpr std::array by_itself{
    FaultKind::upstream_break,     FaultKind::upstream_break,     FaultKind::stale_feed,
    FaultKind::package_regression, FaultKind::package_regression, FaultKind::schema_change,
    FaultKind::slow_drift,         FaultKind::single_model,       FaultKind::region_outage,
};

// Whether two causes would be hard to tell apart: most users of the one use the other.
bool alike(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::vector<std::uint32_t> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return 2 * common.size() > std::min(a.size(), b.size());
}

}  // namespace

Fault Showcase::invent(FaultKind kind, Tick t, std::uint32_t id) {
  Dice dice(fleet_.seed(), for_fault, id);
  Fault fault;
  // With few causes of a kind the last draw has to do.
  for (int attempt = 0; attempt < 30; ++attempt) {
    fault = invent_fault(fleet_, kind, dice);
    const std::vector<std::uint32_t> users = fleet_.users(fault.cause);
    const bool lately = std::any_of(recent_.begin(), recent_.end(), [&](const std::string& recent) {
      return alike(users, fleet_.users(recent));
    });
    if (!lately) break;
  }
  if (id == 1 && kind == FaultKind::upstream_break && !fleet_.users(first_cause).empty()) {
    fault.cause = first_cause;
  }
  fault.id = id;
  fault.first = t;
  fault.last = t + 70 + dice.below(40);
  fault.strength = dice.between(1.6, 2.0);
  const auto users = static_cast<double>(fleet_.users(fault.cause).size());
  const auto most = static_cast<double>(fleet_.topology().models.size()) / victims_share;
  fault.share = users > 0 ? std::min(0.9, most / users) : 0.9;
  switch (fault.kind) {
    case FaultKind::slow_drift:
      fault.last += 40;
      fault.strength = 2.2;
      break;
    case FaultKind::single_model:
      fault.share = 1;
      break;
    case FaultKind::region_outage:
      fault.share = 0.9;
      break;
    default:
      break;
  }
  recent_.push_back(fault.cause);
  if (recent_.size() > causes_remembered) recent_.pop_front();
  return fault;
}

Fault Showcase::invent(Tick t, std::uint32_t id) {
  Dice dice(fleet_.seed(), for_kind, id);
  const FaultKind drawn = by_itself[dice.below(by_itself.size())];
  return invent(id == 1 ? FaultKind::upstream_break : drawn, t, id);
}

Tick Showcase::next_after(Tick t, std::uint32_t id) const {
  Dice dice(fleet_.seed(), for_gap, id);
  return t + settings_.gap_min + dice.below(settings_.gap_max - settings_.gap_min + 1);
}

}  // namespace muster::simulator
