#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "router/decision.hpp"
#include "schema/matcher.hpp"
#include "schema/incident.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::router {

struct Alert {
  Labels labels;  // canonical, and what the alert is: they never change
  std::string fingerprint;
  Labels annotations;  // the newest
  std::string generator_url;
  Timestamp starts_at;  // of this firing
  std::optional<Timestamp> ends_at;
  Reason ended = Reason::resolved_explicit;  // why, once ends_at is set
  Timestamp updated_at;
  std::string incident;  // empty: not one of ours
  Incident::Severity severity = Incident::Severity::warning;
  std::string superseded_by;  // the identity of the alert that took its place

  bool resolved(Timestamp now) const { return ends_at && *ends_at <= now; }
};

// What people and time did to an incident, beside what the aggregator says about it.
struct OnCall {
  struct Ack {
    std::string by;
    Timestamp at;
    std::optional<Timestamp> until;  // nothing: until it is over
  };
  std::uint64_t sequence = 0;  // of the last finding: an older one is a replay
  Labels labels;               // fixed when it first paged; without the severity, which may rise
  std::string alert;           // the identity of its present alert; empty: it never paged
  Incident::Severity severity = Incident::Severity::info;
  std::optional<Ack> ack;
  bool closed_by_person = false;  // until it reopens or becomes more severe
  Timestamp updated_at;
};

// Alerts of one route with the same group labels.
struct Group {
  std::size_t route = 0;
  Labels labels;
  std::string key;               // the payload's groupKey
  std::string incident;          // when it is of one of ours
  std::set<std::string> alerts;  // identities
  bool ticking = false;          // it was looked at once
  Timestamp deadline;            // when it is looked at next
};

// What one integration was told of one group, last and altogether.
struct Entry {
  std::set<std::string> firing;    // in the last notice
  std::set<std::string> resolved;  // in the last notice
  std::set<std::string> told;      // told firing, not yet told resolved
  Timestamp at;                    // of the last notice
  Timestamp born;
  std::uint64_t sequence = 0;
  bool delivered = false;  // at least one notice of it arrived
  Timestamp keep_until;    // when it may be forgotten, once its group is gone
};

struct Silence {
  std::string id;
  std::vector<Matcher> matchers;
  Timestamp starts_at;
  Timestamp ends_at;
  std::string created_by;
  std::string comment;
};

// All that the router knows. It goes into one row, in the transaction of the notices it led to.
struct Memory {
  struct EntryKey {
    std::string group;  // the group key
    std::string receiver;
    std::string target;
    friend auto operator<=>(const EntryKey&, const EntryKey&) = default;
  };
  using GroupKey = std::pair<std::size_t, std::string>;  // (route, identity of the group labels)

  std::string config_hash;              // the config the groups were built with
  std::map<std::string, Alert> alerts;  // by identity
  std::map<std::string, OnCall> incidents;
  std::map<GroupKey, Group> groups;
  std::map<EntryKey, Entry> entries;
  std::map<std::string, Silence> silences;
};

// JSON. Reading back what was written gives the same memory, byte for byte.
std::string to_json(const Memory& memory);
Result<Memory> parse_memory(std::string_view json);

}  // namespace muster::router
