#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "schema/log.hpp"
#include "schema/mapping.hpp"
#include "schema/samples.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::store {

// One of 256 slots by the model's hash, spread over `shards`: a model's facts lie in one shard. Stored for
// ever: never change the slot.
int shard_of(std::string_view model, int shards);

// A row of the table `series`.
struct SeriesRow {
  SeriesId id{};
  std::string model;
  std::string metric;
  Kind kind = Kind::gauge;
  Direction direction = Direction::both;
  Unit unit = Unit::none;
};

// What one transaction writes: the rows of one shard, and whatever they name that no table holds yet.
struct Piece {
  int shard = 0;
  LogRows rows;
  Timestamp ts_min, ts_max;
  std::vector<SeriesSetPtr> new_sets;      // not yet handed out by this registry
  std::vector<SeriesSetPtr> unsaved_sets;  // of them, those not in the database
  std::vector<SeriesRow> unsaved_series;
};

// Who is who: from the alias of a label set to the place of its series in a row, and which (series, ts) are
// there already, so that what a sender sends again is stored once. Pure: it reads no clock and writes nothing,
// so a replay without a database gathers its rows with it too.
//
//   Stored outcome = registry.gather(batch, now);   // any number of batches …
//   for (Piece& piece : registry.take()) …          // … make one row per (set, ts)
//
// Not for several threads at once.
class Registry {
 public:
  struct Settings {
    int shards = 1;
    // Whose a label set is that was never seen before.
    MappingPtr mapping = std::make_shared<const Mapping>();
    // About 300 bytes of memory a series: beyond it new ones are refused, those known go on.
    std::size_t series_max = 4'000'000;
    // In one request, so that labels that hold an id per request cannot fill the registry in one blow.
    std::size_t new_series_max = 200'000;
    // How far behind a model's newest sample one may lie and still count in decisions; later ones are kept
    // and counted. Three intervals of ten minutes.
    Duration lateness = std::chrono::minutes(30);
    // Ahead of the clock: a sender's clock that is wrong by more would hold up every watermark. As in
    // Prometheus.
    Duration future_max = std::chrono::minutes(10);
    // A time before it is most likely in seconds where milliseconds are wanted.
    Timestamp earliest = from_seconds(946'684'800);  // 2000-01-01
  };

  explicit Registry(Settings settings);

  // What the database holds, in this order at start: the sets, longest first; then rows, oldest first.
  void remember(const SeriesSet& set);
  void remember(const SeriesSet& set, Timestamp ts, std::span<const std::int16_t> positions,
                bool full);

  // Places the samples of a request among the rows that the next take() gives. Accepted means: stored once
  // the pieces are. Equal (series, ts) is a duplicate, whatever its value: the first wins.
  Stored gather(const SampleBatch& batch, Timestamp now);

  std::size_t gathered() const { return pending_.size(); }  // samples
  std::vector<Piece> take();                                // a piece a shard that has rows

  // Samples that were not taken since the start, by the reason told to their sender.
  struct Refused {
    std::uint64_t labels = 0;  // a label set that breaks the rules
    std::uint64_t limit = 0;   // series_max, new_series_max, too many versions
    std::uint64_t ahead = 0;
    std::uint64_t early = 0;
  };
  const Refused& refused() const { return refused_; }

  std::size_t series_count() const { return places_.size(); }
  std::size_t set_count() const { return chunks_.size(); }

 private:
  // A series of the log lives in a chunk: up to slots_max series of one model in a fixed order that only
  // grows. A variant is the chunk under one set of attributes (a version); each makes its own sets.
  struct Place {
    std::uint32_t chunk = 0;
    std::uint16_t slot = 0;
    std::uint16_t variant = 0;  // meaningless in places_
  };
  struct Variant {
    ModelAttributes attributes;
    SeriesSetPtr set;  // as long as the chunk was when it was made
  };
  struct Chunk {
    std::string model;
    int shard = 0;
    std::vector<Series> series;
    std::vector<Variant> variants;
  };

  struct Mask {
    std::array<std::uint64_t, SeriesSet::slots_max / 64> words{};
    bool test(unsigned slot) const { return (words[slot / 64] >> (slot % 64) & 1) != 0; }
    void set(unsigned slot) { words[slot / 64] |= std::uint64_t{1} << (slot % 64); }
    unsigned count() const;
    friend bool operator==(const Mask&, const Mask&) = default;
  };

  // Which slots are stored at which instants. The last few instants stand each for itself; those that leave
  // are folded into runs of equal steps and equal masks, so a regular stream is remembered for months.
  struct Run {
    std::int64_t first = 0, step = 0;
    std::uint32_t count = 0;
    Mask mask;
    bool holds(std::int64_t ts) const;
  };
  struct Recent {
    static constexpr unsigned ticks_max = 8;
    static constexpr std::size_t runs_max = 32;
    struct Tick {
      Mask mask;
      std::uint32_t epoch = 0;  // of the gathering that row belongs to
      std::uint32_t row = 0;
    };
    std::array<std::int64_t, ticks_max> ts{};
    std::int64_t newest = std::numeric_limits<std::int64_t>::min();
    std::uint8_t used = 0, last = 0, oldest = 0;
    std::array<Tick, ticks_max> ticks;
    std::vector<Run> runs;  // oldest first
  };

  struct OpenRow {
    std::uint32_t chunk = 0;
    std::uint16_t variant = 0;
    std::int64_t ts = 0;
    std::uint32_t next = 0;  // a row of the same tick under other attributes; 0 is none
    Mask mask;
  };
  struct Pending {
    double value = 0;
    std::uint32_t row = 0;
    std::uint16_t slot = 0;
  };

  Result<Place> introduce(const SampleBatch& batch, std::string_view labels, std::size_t& added);
  std::uint32_t chunk_for(const std::string& model);
  Recent::Tick& tick(Recent& recent, std::int64_t ts);
  void place(const SampleBatch& batch, const RawSeries& series, std::uint32_t index, Place place,
             std::int64_t latest, Stored& out);
  std::uint32_t open_row(Recent::Tick& tick, Place place, std::int64_t ts);

  struct Hashed {
    std::size_t operator()(std::uint64_t hash) const { return hash; }  // it is one already
    std::size_t operator()(SeriesId id) const {
      return static_cast<std::size_t>(id) * 0x9e37'79b9'7f4a'7c15ULL;
    }
    std::size_t operator()(SetId id) const {
      return static_cast<std::size_t>(id) * 0x9e37'79b9'7f4a'7c15ULL;
    }
  };

  Settings settings_;
  absl::flat_hash_map<std::uint64_t, Place, Hashed>
      aliases_;  // a cache: may be emptied at any time
  absl::flat_hash_map<SeriesId, Place, Hashed> places_;
  absl::flat_hash_map<std::string, std::vector<std::uint32_t>> models_;  // to their chunks
  absl::flat_hash_set<SetId, Hashed> saved_sets_;
  std::vector<Chunk> chunks_;
  std::vector<Recent> recent_;  // by chunk; apart, as it is what each sample touches

  Refused refused_;
  std::uint32_t epoch_ = 1;
  std::vector<OpenRow> rows_;  // [0] is none
  std::vector<Pending> pending_;
  std::vector<std::pair<int, SeriesRow>> unsaved_series_;
};

}  // namespace muster::store
