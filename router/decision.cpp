#include "router/decision.hpp"

namespace muster::router {
namespace {

struct Words {
  std::string_view word;
  std::string_view sentence;
};

// In the order of the enum.
constexpr std::array<Words, reasons_count> words{{
    {"matched_route", "A route of the config matched it."},
    {"routed_default", "No child route matched, so it went to the root's receiver."},
    {"group_by_forced",
     "It was grouped by incident beside the labels of the route: one cause never shares a page."},
    {"receiver_empty", "The receiver has no integrations, so nothing is sent."},
    {"waiting_group", "It waits for others of its group."},
    {"flushed", "The group's time came and it was looked at."},
    {"flushed_old_alert",
     "It had been firing for longer than its group waits, so it does not wait."},
    {"not_paged",
     "The incident is shown and wakes nobody: its evidence does not reach the page budget."},
    {"already_seen", "The same finding came before."},
    {"first_notification", "It is the first notice about this group."},
    {"new_alerts", "Something fires that the last notice did not have."},
    {"some_resolved", "Something of the last notice is over."},
    {"all_resolved", "All of it is over."},
    {"repeat_elapsed", "It still fires and the time to say so again came."},
    {"unchanged", "Nothing changed since the last notice, and it is too early to repeat it."},
    {"resolved_never_told", "It was over before anybody was told, so nobody is."},
    {"resolved_not_sent", "It is over, and this integration does not want to hear of ends."},
    {"superseded", "The same incident fires with a higher severity, which took its place."},
    {"silenced", "A silence covers it."},
    {"inhibited", "Another alert that fires mutes it."},
    {"muted_interval", "A mute interval of its route covers this time."},
    {"outside_active_interval", "Its route is not active at this time."},
    {"acked", "Somebody acknowledged the incident, so repeats are held."},
    {"ack_expired", "The acknowledgement ran out."},
    {"severity_rose", "The incident became more severe."},
    {"resolved_explicit", "Its source said that it is over."},
    {"resolved_by_person", "A person resolved it."},
    {"reopened", "The same cause is at work again."},
    {"merged", "It turned out to have the cause of an older incident, which goes on."},
    {"sent", "The receiver took it."},
    {"dead", "It could not be delivered and was given up."},
    {"unknown_incident", "No such incident is known."},
    {"limit_reached", "There are more alerts at once than the router keeps."},
    {"config_changed", "The config changed, and groups were built anew."},
}};

}  // namespace

std::string_view to_word(Reason reason) {
  return words[static_cast<std::size_t>(reason)].word;
}
std::string_view sentence(Reason reason) {
  return words[static_cast<std::size_t>(reason)].sentence;
}

std::optional<Reason> reason_of(std::string_view word) {
  for (std::size_t i = 0; i < reasons_count; ++i) {
    if (words[i].word == word) return static_cast<Reason>(i);
  }
  return std::nullopt;
}

std::string_view to_word(Decision::Verdict verdict) {
  switch (verdict) {
    case Decision::Verdict::kept:
      return "kept";
    case Decision::Verdict::dropped:
      return "dropped";
    case Decision::Verdict::held:
      return "held";
    case Decision::Verdict::changed:
      return "changed";
    case Decision::Verdict::sent:
      return "sent";
    case Decision::Verdict::failed:
      return "failed";
  }
  return "";
}

}  // namespace muster::router
