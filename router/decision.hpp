#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schema/time.hpp"

namespace muster::router {

// Why something was done, or not. Each has a word for machines and a sentence for people.
enum class Reason {
  matched_route,
  routed_default,
  group_by_forced,
  receiver_empty,
  waiting_group,
  flushed,
  flushed_old_alert,
  not_paged,
  already_seen,
  first_notification,
  new_alerts,
  some_resolved,
  all_resolved,
  repeat_elapsed,
  unchanged,
  resolved_never_told,
  resolved_not_sent,
  superseded,
  silenced,
  inhibited,
  muted_interval,
  outside_active_interval,
  acked,
  ack_expired,
  severity_rose,
  resolved_explicit,
  resolved_by_person,
  reopened,
  merged,
  sent,
  dead,
  unknown_incident,
  limit_reached,
  config_changed,
};

inline constexpr std::size_t reasons_count = static_cast<std::size_t>(Reason::config_changed) + 1;

std::string_view to_word(Reason reason);
std::string_view sentence(Reason reason);
std::optional<Reason> reason_of(std::string_view word);

// One line of "why was I told, why not".
struct Decision {
  enum class Verdict { kept, dropped, held, changed, sent, failed };

  Timestamp at;
  std::string_view stage;    // a stage's name, a literal
  std::string subject_kind;  // incident, alert, group
  std::string subject;       // its id, fingerprint or group key
  std::string receiver;      // empty when it is about all
  std::string integration;   // its target; empty when it is about all
  Verdict verdict = Verdict::kept;
  Reason reason = Reason::unchanged;
  std::vector<std::pair<std::string, std::string>> details;
};

std::string_view to_word(Decision::Verdict verdict);

}  // namespace muster::router
