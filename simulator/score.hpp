#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "schema/incident.hpp"
#include "schema/time.hpp"
#include "schema/topology.hpp"
#include "simulator/fault.hpp"

// How well a detector did, measured against what really happened.
namespace muster::simulator {

// An incident as a detector reports it.
struct Claim {
  std::string id;
  Timestamp opened_at;
  std::vector<std::string> suspects;  // best first
  std::vector<std::string> models;
};
struct Page {
  Timestamp ts;
  std::string incident_id;
};

struct ScoreSettings {
  Timestamp from;  // faults that start, and pages that leave, before this are not counted: learning
  Timestamp until;  // nor from this on
  // A recovery is a shift too, and a detector may need a while: up to here after a fault's end a
  // page still belongs to it.
  Duration grace = std::chrono::hours(6);
  // A claim belongs to a fault when so much of the smaller of the two sets of models is common, or
  // when its first suspect is the cause.
  double overlap_min = 0.5;
};

struct Score {
  std::uint32_t faults = 0;
  std::uint32_t found = 0;  // paged, in time
  std::optional<Duration> delay_median;
  std::optional<Duration> delay_p90;
  std::uint32_t pages = 0;
  std::uint32_t false_pages = 0;
  double weeks = 0;
  double false_per_week = 0;
  double false_low = 0, false_high = 0;  // its exact 95 % Poisson interval
  double pages_per_incident = 0;         // pages of found faults / found
  double top1 = 0,
         top3 = 0;  // of the found: the cause is first, among the first three, at its first page
  double fragmentation = 0;  // claims paged for found faults / found

  struct Fate {
    std::size_t fault;                // index in truth
    std::optional<Duration> delay;    // nothing: not found
    std::vector<std::string> claims;  // in order of their pages
    std::uint32_t rank = 0;           // of the cause in the first claim's suspects; 0: not named
  };
  std::vector<Fate> fates;                // of the counted faults
  std::vector<std::string> false_claims;  // incident ids of the false pages
};

// Each paged claim is given to the one fault it fits best: in time (opened within [start, end +
// grace)) and in place (models or cause, ScoreSettings); the larger Jaccard index of the model sets
// decides, then the named cause, then the later start. A page of a claim that fits none is false.
// Dependencies with the same dependants cannot be told apart, so either counts as the cause;
// without a topology names must be equal.
Score score(std::span<const Truth> truth, std::span<const Claim> claims,
            std::span<const Page> pages, const Topology* topology, const ScoreSettings& settings);

// What a run's findings claim: the suspects and models as they stood when an incident was opened,
// and a page for each opening or reopening that may wake someone.
struct Claims {
  std::vector<Claim> claims;
  std::vector<Page> pages;
};
Claims claims_of(std::span<const Finding> findings);

// The exact 95 % interval of a Poisson mean, n seen: Garwood (1936).
struct Interval {
  double low, high;
};
Interval poisson_interval(std::uint32_t n);

// Files as an evaluation reads them: a JSON array or one object a line; times in unix milliseconds,
// unix seconds or ISO 8601 with Z; suspects as objects with `dependency` or plain strings.
Result<std::vector<Claim>> parse_claims(std::string_view text);
Result<std::vector<Page>> parse_pages(std::string_view text);

// A row of a Markdown table, and its head.
std::string markdown_head();
std::string markdown_row(std::string_view name, const Score& score);

// Scores of several runs as one: counts add, delays are pooled.
Score pooled(std::span<const Score> scores);

}  // namespace muster::simulator
