#pragma once

#include <cstdint>
#include <string>

#include "collector/collector.hpp"
#include "schema/store/ingestor.hpp"

namespace muster::app {

// Bytes of memory, about, by who holds them.
struct IngestMemory {
  std::uint64_t resident = 0;  // of the whole process
  std::uint64_t registry = 0;  // who is who, and what is stored already
  std::uint64_t queue = 0;     // requests that wait
  std::uint64_t tail = 0;      // committed batches on their way to the aggregator
};

struct IngestLimits {
  std::uint64_t series_max = 0;
  std::uint64_t sender_series_max = 0;
};

// GET /api/v1/ingest: who sends what, what was not taken and why, and where the series come from, with a
// sentence for each thing that a person should look at.
std::string ingest_json(const store::IngestReport& report, const collector::Counters& senders,
                        const IngestMemory& memory, const IngestLimits& limits);

// The word for a reason, in JSON and in /metrics.
const char* word_of(store::Registry::Reason reason);

}  // namespace muster::app
