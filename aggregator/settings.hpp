#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schema/time.hpp"

namespace muster::aggregator {

// A fixed limit on a metric: what needs no history works from the first minute.
struct Limit {
  std::string metric;  // a name, with * for any run of characters
  std::optional<double> low;
  std::optional<double> high;
};

struct Settings {
  // False pages a week that the user accepts for the whole fleet. One: a person on call remembers
  // last week's.
  double budget_per_week = 1;

  // Threads of the evaluation; 0 takes all cores. The results do not depend on it.
  unsigned workers = 0;

  // How late a sample may be and still count. By default three reporting intervals of its scale: a
  // sender that retries twice is heard. At least two ticks.
  std::optional<Duration> lateness;

  // One tick for all models instead of the ladder 1 min, 5 min, 10 min, 1 h, 1 d.
  std::optional<Duration> tick;

  // Days of history before the first page: two weekends, so that the season has been seen twice.
  double warmup_days = 14;

  // Nothing that opens before it, in event time, may wake anybody: a fleet that sends its history first must not
  // page for what is over. Nothing: all may.
  std::optional<Timestamp> pages_from;

  // Incidents that were opened before this fleet was made, by another that learned less: theirs are never given
  // again, so its own count on from here.
  std::uint32_t incidents_before = 0;

  // Days before innovations are pooled into the empirical null: the season's first pass is not
  // noise.
  double pooling_days = 9;

  // Days before a series that joins a running fleet is judged.
  double series_warmup_days = 2;

  // Intervals without a sample before a model is called silent: two retries and a slow scrape are
  // not silence.
  int no_data_intervals = 5;

  // Equal values in a row before a line that used to vary is called flat.
  int flat_samples = 24;

  std::vector<Limit> limits;

  // Series that are judged; more are counted and not judged. 600 bytes each: 1.2 GB.
  std::uint32_t series_max = 2'000'000;

  // Buckets of histograms that are read; more are counted and not read. About 60 bytes each.
  std::uint32_t buckets_max = 4'000'000;

  // Samples held of one model until its interval is known: four samples of a large model.
  std::uint32_t waiting_max = 20'000;

  // Recent values kept for the charts of an incident, in bytes for all series together; six values a series at
  // least.
  std::uint64_t recent_bytes_max = 32ULL << 20;

  // Incidents remembered after they closed, for reopening and the pages.
  std::uint32_t closed_incidents_max = 200;

  // Candidates examined at one tick; the rest keep their evidence and wait for the next.
  std::uint32_t candidates_max = 16;
};

}  // namespace muster::aggregator
