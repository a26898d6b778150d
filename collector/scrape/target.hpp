#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "collector/scrape/settings.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::scrape {

// What is scraped, after relabelling.
struct Target {
  Labels discovered;  // before relabelling, for people
  Labels labels;      // its own on every series: job, instance, …
  std::string url;
  Duration interval{};
  Duration timeout{};

  std::string key() const;  // labels and URL: two with the same are one target
};

// A target from what its discovery said, as Prometheus makes it: __address__, __scheme__, __metrics_path__,
// __param_…, __scrape_interval__, __scrape_timeout__ and job are there for relabel_configs; afterwards labels
// that begin with __ are gone and `instance` is the address when nobody said another. Nothing: relabelling
// dropped it. As in Prometheus 3 an address keeps the port it was written with, or none.
//
// labels  of the group, with __address__; sorted
Result<std::optional<Target>> make_target(const Job& job, Labels labels);

// The first instant after `now` at which a target is due. Each has its own within the interval, by its hash, and
// the same after a restart.
Timestamp next_due(Timestamp now, Duration interval, std::uint64_t hash);

}  // namespace muster::scrape
