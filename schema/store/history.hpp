#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/rollup.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::store {

// What was measured, wherever it lies by now: in the log (the last hour or two), in blocks, in rollups.
//
//   History history({.dsn = dsn});
//   const SlotRef one{0, set->id, 3};                          // series 3 of a set
//   const auto samples = history.samples({&one, 1}, from, to);  // samples->front().ts, .values
//
// Which sets a series stands in is the caller's to know (table series_set, known_sets()): a model that changes
// its version, or grows a series, gets a new set, so a series over a month may be several slots.
//
// One thread at a time, but for cancel(). Every function throws Unavailable (call again; the next call
// connects anew), Rejected, or Cancelled; a request over its limit is an Error that says what to ask instead.
struct SlotRef {
  std::int32_t shard = 0;
  SetId set{};
  std::uint16_t slot = 0;
  friend auto operator<=>(const SlotRef&, const SlotRef&) = default;
};

// Ascending, each time once. Nulls, stale markers and other NaNs are there with their bits.
struct Samples {
  std::vector<Timestamp> ts;
  std::vector<double> values;
};

struct SeriesRef {
  std::int32_t shard = 0;
  SeriesId series{};
  friend auto operator<=>(const SeriesRef&, const SeriesRef&) = default;
};

struct Cancelled : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class History {
 public:
  struct Settings {
    std::string dsn;
    // Samples, or rollups, that one call may return: 1.6 GB of memory at most, far more than a page can show.
    std::size_t numbers_max = 100'000'000;
    // A person waits no longer.
    std::chrono::milliseconds statement_timeout{30'000};
    // Rows fetched at once; bounds what waits in memory to be decoded, about 8 KB a row.
    int fetch_rows = 1'000;
  };

  explicit History(Settings settings);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // The samples of each slot with from <= ts < to, from the log and from blocks, in the order of `slots`. One
  // instant of the database: a compaction meanwhile makes nothing be missed or seen twice.
  //
  // The log has no index by series: what is not compacted yet is read whole, about 0.1 us a sample of all that
  // arrived since `from`. A caller that has the newest samples in memory asks for blocks alone.
  Result<std::vector<Samples>> samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to);
  Result<std::vector<Samples>> block_samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to);
  // Only what is in the log still: what rollups do not know yet.
  Result<std::vector<Samples>> log_samples(std::span<const SlotRef> slots, Timestamp from, Timestamp to);

  // The rollups of each series whose buckets begin in [bucket_of(from), to), dense: element i of a series is
  // the bucket that begins at bucket_of(from) + i * level. A bucket without count and nulls is not there, which
  // means one of three things: there was no sample; it is not compacted yet (see compacted_until); or the
  // series has fewer than `RollupSettings::samples_min` samples in such a bucket, so that its samples are as
  // quickly read. So: fall back to samples() for series that are all empty here.
  //
  // metric  the series' own, Series::metric. All of `series` have it; ask per metric.
  Result<std::vector<std::vector<Rollup>>> rollups(Level level, std::string_view metric,
                                                   std::span<const SeriesRef> series, Timestamp from,
                                                   Timestamp to);

  // What the last call got from the database, for whoever explains a query.
  struct Counts {
    std::uint64_t log_rows = 0, log_bytes = 0;
    std::uint64_t blocks = 0, block_bytes = 0;  // of samples or of rollups; heads and what was asked of bodies
  };
  const Counts& counts() const;

  // Several calls that see one instant: between begin() and end() no compaction ends, so keep it short.
  void begin();
  void end();

  // Every sample that arrived before it lies in blocks; what arrived later is in the log. Event times may be
  // older (late samples) or a few minutes younger (clocks ahead).
  Timestamp compacted_until();

  // Any thread: ends the call that is under way, if any, with Cancelled.
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::store
