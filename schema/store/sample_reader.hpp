#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::store {

// Which series a reader is asked for: for each set that may hold samples of them, the place of each slot in
// the answer.
struct WantedSeries {
  static constexpr std::uint32_t not_wanted = std::numeric_limits<std::uint32_t>::max();

  struct Set {
    SetId id{};
    std::vector<std::uint32_t> places;  // a slot each; not_wanted for the others
  };
  struct Shard {
    int shard = 0;
    std::vector<Set> sets;
  };
  std::vector<Shard> shards;
  std::size_t series = 0;  // places are below it
};

// Where the samples of an answer came from, for `explain`.
struct ReadReport {
  struct Part {
    std::string source;      // log, blocks, rollup 5m, …
    std::string partitions;  // "sample_log_2026112415 to sample_log_2026112417", …
    std::uint64_t rows = 0;
    std::uint64_t bytes = 0;    // sent by the database
    std::uint64_t samples = 0;  // that were asked for
    double milliseconds = 0;
  };
  std::vector<Part> parts;
};

// Samples of the series asked for, a place after the other, each oldest first and one an instant. Nulls are
// left out; stale markers are there.
struct ReadSamples {
  std::vector<std::size_t> first;  // of each place, and one more: the end
  std::vector<std::int64_t> at;    // unix microseconds
  std::vector<double> values;
  ReadReport report;
};

// The query was told to stop.
struct ReadStopped {};
// It would hold more samples than it may.
struct TooManySamples {
  std::size_t max = 0;
};

// Samples back from the database, by series and event time. Log and blocks are read in one snapshot, so that
// a compaction that runs meanwhile neither hides a sample nor shows it twice.
//
// One thread at a time; a broken connection is made anew at the next call. Throws Unavailable, Rejected,
// ReadStopped, TooManySamples.
class SampleReader {
 public:
  struct Settings {
    std::string dsn;
    // How far ahead of its arrival a sample may lie (the registry's future_max, and some for clocks that were
    // set): older partitions of the log cannot hold it.
    Duration ahead_max = std::chrono::hours(1);
    // Longer than the longest deadline of a query: a server that hangs is noticed all the same.
    std::chrono::milliseconds statement_timeout{150'000};
  };

  explicit SampleReader(Settings settings);
  ~SampleReader();
  SampleReader(const SampleReader&) = delete;
  SampleReader& operator=(const SampleReader&) = delete;

  // From here on all reads see the database at one instant, until end(). A read outside begins and ends by
  // itself.
  void begin();
  void end();

  // Samples with from <= ts <= to.
  //
  // stopped  asked often, from this thread; true ends the reading with ReadStopped
  ReadSamples read(const WantedSeries& wanted, Timestamp from, Timestamp to, std::size_t samples_max,
                   const std::function<bool()>& stopped);

  // Every value of the log with an event time of `from` or later, of all sets, in the order of arrival within
  // a partition; nulls too.
  using Take = std::function<void(SetId set, std::size_t slot, std::int64_t at, double value)>;
  void scan_log(int shards, Timestamp from, const Take& take, const std::function<bool()>& stopped);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::store
