#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "query/series_index.hpp"
#include "schema/log.hpp"
#include "schema/store/history.hpp"

namespace muster::query {

// The newest value of a series. Nulls are not values; a stale marker is.
struct Newest {
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::min();
  std::int64_t at = never;  // unix microseconds
  double value = 0;
};

// Who is there and what they said last, kept by the batches as they are committed: for threads that ask while
// one that commits tells. 16 bytes a series beside the index.
class Catalogue {
 public:
  // A committed batch: its sets, and its values. Late values change nothing.
  void observe(const LogBatch& batch);
  void add(std::span<const SeriesSetPtr> sets);
  // Rows of the log, at the start.
  void observe(const LogRows& rows);
  // All values with an event time of `since` or later have been observed.
  void complete_since(Timestamp since);

  // Calls `look` with the index while nobody changes it.
  template <class Look>
  auto look(const Look& look) const {
    const std::shared_lock lock(mutex_);
    return look(static_cast<const SeriesIndex&>(index_));
  }

  // The newest values of some series; nothing when it is not yet known whether they are the newest.
  std::vector<Newest> newest(std::span<const SeriesNumber> of) const;
  // From when on nothing can have escaped it.
  std::optional<Timestamp> complete_since() const;

 private:

  mutable std::shared_mutex mutex_;  // guards the index
  SeriesIndex index_;
  mutable std::mutex newest_mutex_;  // taken after mutex_
  std::vector<Newest> newest_;       // by number
  std::optional<Timestamp> since_;
};

// Where the samples of some series may lie.
struct Places {
  std::vector<store::SlotRef> slots;
  std::vector<std::uint32_t> series;  // of each slot: the place in what was asked for
};
Places places(const SeriesIndex& index, std::span<const SeriesNumber> series, int shards);

}  // namespace muster::query
