#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schema/time.hpp"

namespace muster::router {

// How far a place's wall clock is ahead of UTC: from each instant on, until the next. Filled by whoever
// reads the time zone files, so that this folder stays free of them.
struct Zone {
  std::string name = "UTC";
  struct Change {
    Timestamp from;
    Duration ahead{};
  };
  std::vector<Change> changes;  // oldest first; empty: UTC

  Duration ahead(Timestamp t) const;
};

// A set of times as people write them down, tested by the wall clock of `zone`. A list that is absent
// matches; inside a list any range may match.
struct TimeInterval {
  struct Range {
    int first = 0;
    int last = 0;  // inclusive
  };
  struct Window {
    std::optional<std::vector<Range>> minutes;   // of the day, `last` is excluded: [first, last)
    std::optional<std::vector<Range>> weekdays;  // 0 Sunday to 6
    std::optional<std::vector<Range>> days_of_month;  // 1 to 31, or -31 to -1 from the month's end
    std::optional<std::vector<Range>> months;         // 1 to 12
    std::optional<std::vector<Range>> years;
    Zone zone;
  };
  std::string name;
  std::vector<Window> windows;

  bool contains(Timestamp t) const;
};

}  // namespace muster::router
