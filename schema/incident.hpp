#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/event.hpp"
#include "schema/time.hpp"

namespace muster {

// One possible cause and how likely it is, given all series.
struct Suspect {
  std::string id;    // a dependency, "model:<id>", "family:<id>" or "unknown"
  std::string kind;  // source, feature_pipeline, …; model, family, unknown
  double posterior = 0;       // 0..1; over all candidates it sums to 1
  double score = 0;           // log odds against "nothing happened", natural logarithm
  std::uint32_t moved = 0;    // members that moved
  std::uint32_t members = 0;  // models that use it
  double explained = 0;       // 0..1 of the excess it explains
  std::string why;            // half a sentence: "all 4 families that use it moved"
};

// How one affected series moved.
struct AffectedSeries {
  std::string model;
  std::string metric;
  double sigma = 0;  // signed distance from its baseline, in its own standard deviations
  Timestamp since;   // first tick outside its band
  // The last day and what was usual then, oldest first, equally long; nothing for all but the strongest.
  std::vector<Timestamp> ts;
  std::vector<std::optional<double>> value;  // nothing: no sample
  std::vector<double> low;                   // the band that holds 95 % of what is usual at this hour
  std::vector<double> high;
};

// The group's evidence over time, oldest first.
struct EvidencePoint {
  Timestamp ts;
  double ratio = 1;          // evidence against "nothing changed", as odds to 1
  std::uint32_t moved = 0;   // members outside their 95 % line
};

// A cause that is at work, or was: what a person is paged for, once. The id is born at opening, never
// changes and is never used again.
struct Incident {
  enum class State { open, resolved, merged };
  enum class Severity { info, warning, critical };

  std::string id;  // INC-0001, in order of opening
  State state = State::open;
  Severity severity = Severity::warning;
  bool paged = false;  // it may wake someone; else it is shown only

  Timestamp opened_at;
  Timestamp started_at;  // when the first affected series left its band
  Timestamp updated_at;
  std::optional<Timestamp> resolved_at;
  std::string merged_into;

  std::string cause;  // suspects.front().id at the last evaluation
  std::string cause_kind;
  std::string team;   // who owns the cause, when the topology says
  std::string title;  // the sentence of the page: subject, what, since when, how many
  std::string why;    // the numbers behind it, as a sentence
  std::string first_look;  // what to look at first, and what not to do

  double score = 0;  // 0..100, the peak; 100 is a page candidate
  double evidence = 1;  // odds to 1 against "nothing changed"
  double needed = 1;    // odds to 1 that this group needs to page
  std::uint32_t moved = 0;
  std::uint32_t members = 0;
  double expected_by_chance = 0;  // how many of the members would look moved on a quiet day
  double explained = 0;           // 0..1 of the excess evidence that the cause explains

  std::vector<Suspect> suspects;         // best first, at most 5
  std::vector<AffectedSeries> affected;  // strongest first
  std::vector<std::string> models;       // affected, sorted
  std::vector<std::string> metrics;      // affected, sorted
  std::vector<EvidencePoint> timeline;
  std::vector<Event> events;  // that came in the six hours before, newest first
};

// What the aggregator says about an incident. `sequence` is dense from 1 within the incident, so
// (id, sequence) is the key that makes a replay after a crash harmless.
struct Finding {
  enum class What { opened, updated, attached, reopened, merged, resolved };
  What what = What::opened;
  std::uint64_t sequence = 1;
  Timestamp at;  // the closed tick
  Incident incident;  // whole, as it stands after this finding
};

std::string_view to_word(Incident::State state);
std::string_view to_word(Incident::Severity severity);
std::string_view to_word(Finding::What what);

// JSON as the pages, the API and the store have it: times in unix milliseconds, enums as words.
std::string to_json(const Incident& incident);
std::string to_json(const Finding& finding);
Result<Incident> parse_incident(std::string_view json);
Result<Finding> parse_finding(std::string_view json);

}  // namespace muster
