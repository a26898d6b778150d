#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "router/interval.hpp"
#include "schema/matcher.hpp"
#include "router/route.hpp"

namespace muster::router {

// One way to reach a receiver, as far as deciding goes; how to get there is the channel's part.
struct Integration {
  std::string channel;  // webhook, log
  std::string target;   // who it is, whatever its place in the list; holds no secret
  bool send_resolved = true;
  std::uint64_t max_alerts = 0;    // more than this are counted and not listed; 0 is no limit
  bool repeat_when_acked = false;  // a machine that wants every repeat, whoever works on it
};

struct Receiver {
  std::string name;
  std::vector<Integration> integrations;
};

// A firing alert that matches `source` mutes those that match `target`, when they agree on `equal`.
struct InhibitRule {
  std::string name;
  std::vector<Matcher> source;
  std::vector<Matcher> target;
  std::vector<std::string> equal;
};

struct Settings {
  RouteTree routes;
  std::vector<Receiver> receivers;
  std::vector<InhibitRule> inhibit_rules;
  std::vector<TimeInterval> intervals;

  // Where people open the pages; links in notices start with it. No '/' at the end.
  std::string external_url = "http://127.0.0.1:9797";

  // Says whether routes or receivers changed since the groups were built; any hash of the config's text.
  std::string config_hash;

  // What was told, and to whom, is remembered so long after its group is gone: an incident may reopen for
  // 12 hours, and Alertmanager's users expect 5 days.
  Duration retention = std::chrono::hours(120);

  // A notice that could not be delivered for a day is given up: by then its repeats have taken over.
  Duration delivery_age_max = std::chrono::hours(24);

  // Memory is written whole with each step, so it has to stay small: more incidents than this at once are
  // a storm that nobody can work through, and the rest is refused with a decision.
  std::size_t alerts_max = 20'000;

  // A message that lists more than this helps nobody; the rest is counted.
  std::size_t alerts_in_text_max = 10;
};

// What a user has who configured no route: everything that pages is one structured line of the log. One
// incident is one alert already, so waiting for others of its kind would only delay the page.
Settings default_settings();

}  // namespace muster::router
