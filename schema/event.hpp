#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "schema/time.hpp"

namespace muster {

// Something people did or know of: a deploy, a retrain, a holiday, a maintenance window, a package change.
// It may come before an incident on its time line, and says nothing about blame.
struct Event {
  Timestamp ts;
  std::optional<Timestamp> until;
  std::string kind;     // deploy, retrain, experiment, holiday, maintenance, package, …
  std::string subject;  // "model:<id>", "dependency:<id>" or "fleet"
  std::string title;
};

// One JSON object. `subject` may also be written {"model":"<id>"} or {"dependency":"<id>"}.
Result<Event> parse_event(std::string_view json);
std::string to_json(const Event& event);

}  // namespace muster
