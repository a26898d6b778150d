#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "router/decision.hpp"
#include "router/memory.hpp"
#include "router/settings.hpp"
#include "schema/incident.hpp"
#include "schema/notice.hpp"

namespace muster::router {

// A person did something to an incident.
struct PersonActed {
  enum class What { ack, unack, resolve };
  What what = What::ack;
  std::string incident;
  std::string by;
  std::optional<Timestamp> until;  // of an ack; nothing: until the incident is over
};

// What became of a notice for good: it arrived, or it was given up. Retries in between are not told.
struct Delivered {
  std::string key;
  std::string group;
  std::string incident;
  std::string receiver;
  std::string target;
  bool sent = false;
  std::string error;  // the last one, when given up
};

struct SilenceSet {
  Silence silence;
};
struct SilenceExpired {
  std::string id;
};
// A person asked to load the config again. At the start of a process nothing has to be said: groups are
// built anew when the config's hash is not the one they were built with.
struct ConfigLoaded {};
// Nothing happened but time.
struct DeadlineReached {};

using RouterEvent = std::variant<Finding, PersonActed, Delivered, SilenceSet, SilenceExpired,
                                 ConfigLoaded, DeadlineReached>;

struct Step {
  Memory memory;
  std::vector<Notice> notices;
  std::vector<Decision> decisions;
  std::optional<Timestamp> next_deadline;  // when to step again if nothing happens before
};

// One step of the router: what it knows after `events`, whom that concerns, and why. Memory, notices and
// decisions belong into one transaction; a step whose transaction failed is done again with the same events
// and leaves the same keys. The same arguments give the same bytes.
//
// memory   as the last step left it; a default one at the very first
// events   what happened since, in order; may be empty
// now      not before the `now` of the last step
Step step(Memory memory, std::span<const RouterEvent> events, Timestamp now,
          const Settings& settings);

// Where an incident's page is.
std::string incident_url(const Settings& settings, std::string_view incident);

}  // namespace muster::router
