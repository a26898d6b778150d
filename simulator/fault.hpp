#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/time.hpp"

namespace muster::simulator {

// Ticks of a fleet, counted from its start.
using Tick = std::int64_t;

enum class FaultKind : std::uint8_t {
  upstream_break,  // a source or pipeline: many users move a little, in a few metrics
  schema_change,   // a source or pipeline: values can no longer be computed (null), null_rate rises
  package_regression,  // a package: latency and errors rise
  single_model,        // one model, strongly
  slow_drift,          // a source or pipeline: users move over most of the fault's time
  stale_feed,          // a source or pipeline: predictions repeat exactly (flat), drift rises
  region_outage,       // a region: nearly all its models fall silent
  outside_graph,       // models that share nothing the topology knows of
};
inline constexpr std::array fault_kinds{
    FaultKind::upstream_break, FaultKind::schema_change, FaultKind::package_regression,
    FaultKind::single_model,   FaultKind::slow_drift,    FaultKind::stale_feed,
    FaultKind::region_outage,  FaultKind::outside_graph,
};
std::string_view to_word(FaultKind kind);
std::optional<FaultKind> fault_kind(std::string_view word);
// What goes on, for people: "goes stale".
std::string_view to_phrase(FaultKind kind);

// What shall go wrong. Who is hit, where and in which direction is drawn from the fleet's seed.
struct Fault {
  FaultKind kind = FaultKind::upstream_break;
  std::string cause;     // a dependency, or the model for single_model; ignored by outside_graph
  Tick first = 0;        // the first tick that is hit
  Tick last = 0;         // the first one that is not any more
  double strength = 1;   // the typical shift of a victim, in its own standard deviations
  double share = 0.8;    // how many of the cause's users are hit
  std::uint32_t id = 0;  // what is drawn depends on it; 0: one more than the last fault's
};

// What did go wrong: the answer that a detector is scored against.
struct Truth {
  std::uint32_t id = 0;
  std::string kind;
  std::string root_cause;  // a dependency, "model:<id>" or "unknown"
  std::vector<std::string> models;
  std::vector<std::string> metrics;
  Timestamp start;
  Timestamp end;
  double shift = 0;  // mean absolute shift over the shifted series at full strength, in sigma; 0:
                     // none is shifted
};

// A JSON array; times in unix milliseconds.
std::string to_json(const std::vector<Truth>& truth);
// Also reads lists with `affected` for `models`, `mean_shift_in_sigma` for `shift` and times in
// seconds.
Result<std::vector<Truth>> parse_truth(std::string_view json);

}  // namespace muster::simulator
