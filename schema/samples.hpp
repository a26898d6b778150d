#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/mapping.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster {

struct Point {
  Timestamp ts;
  double value = 0;  // may be null_value() or a stale marker
};

// One series as its sender wrote it. `labels` are raw bytes of the request, in the sender's own form, and
// `alias` is their XXH3: a series seen before is found by it without reading the labels again.
struct RawSeries {
  std::string_view labels;
  std::uint64_t alias = 0;
  std::uint32_t first = 0;  // its points stand at [first, first + count)
  std::uint32_t count = 0;
  std::uint32_t line = 0;  // NDJSON: the 1-based line; remote write: the index in the request
  // When the counter that these points read began to count, unix ms; 0 is not said.
  std::int64_t start_ms = 0;
};

// A decoded request. It owns the bytes its views point into, so it moves and is never copied.
struct SampleBatch {
  SampleBatch() = default;
  SampleBatch(SampleBatch&&) = default;
  SampleBatch& operator=(SampleBatch&&) = default;

  // Reads `labels` of one series of this batch: who it is, or why it is refused. Pure; called only for
  // aliases that were never seen.
  using Identify = Result<SeriesIdentity> (*)(std::string_view labels, const Mapping& mapping);
  // `labels` in words for a person who has to find their sender: bounded, and fit to be printed.
  using Show = std::string (*)(std::string_view labels);

  std::vector<char> bytes;
  std::vector<RawSeries> series;
  std::vector<Point> points;
  Identify identify = nullptr;
  Show show = nullptr;  // none: a line's number is enough to find it
  std::string sender;  // user agent, address or token name; for counters and messages
};

struct Rejected {
  std::uint32_t line = 0;  // as in RawSeries
  std::string what;
  std::string series;  // its label set, when the batch can show it
};

// What became of a batch. Whatever is in `accepted` is committed.
struct Stored {
  enum class State {
    committed,  // all that could be kept is on disk
    busy,       // nothing was taken: the queue is full or the database is away. Send the same again later
    throttled,  // nothing was taken: this sender has its share of the queue. Send the same again later
  };
  State state = State::committed;
  bool come_again() const { return state != State::committed; }
  std::uint64_t accepted = 0;
  std::uint64_t duplicates = 0;  // (series, ts) that were there already
  std::uint64_t late = 0;        // kept, but older than the lateness: no decision is rewritten
  std::uint64_t ignored = 0;     // not kept, as a mapping rule wants: nothing that the sender has to change
  std::vector<Rejected> rejected;
  std::uint64_t rejected_count = 0;  // all of them; `rejected` holds the first 100
  // Which of the batch's points were not taken, ascending. Fewer than rejected_count when the database refused
  // all that was new: then no point is known to be stored.
  std::vector<std::uint32_t> refused;
};

}  // namespace muster
