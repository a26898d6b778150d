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

// What an answer treats as one: a series, or a stored series under all its versions.
struct Units {
  struct Unit {
    Labels labels;
    Kind kind = Kind::gauge;
    int shard = 0;
    SeriesId id{};
    std::string metric;  // as it is stored
    bool whole = true;   // it holds the stored series under every set of attributes there is
  };
  std::vector<Unit> units;
  std::vector<store::SlotRef> slots;   // where the samples of all may lie
  std::vector<std::uint32_t> unit_of;  // of each slot
};
// by  none: a unit a series. Else a stored series is one unit for all its versions that agree in these labels,
//     which are all the labels it has left
Units units(const SeriesIndex& index, std::span<const SeriesNumber> series,
            const std::vector<std::string>* by, int shards);

}  // namespace muster::query
