#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "schema/log.hpp"
#include "schema/mapping.hpp"
#include "schema/samples.hpp"
#include "schema/series.hpp"
#include "schema/store/cardinality.hpp"
#include "schema/time.hpp"

namespace muster::store {

// One of 256 slots by the model's hash, spread over `shards`: a model's facts lie in one shard. Stored for
// ever: never change the slot.
int shard_of(std::string_view model, int shards);

// Series that no table holds yet: those of `set` from slot `from` on.
struct NewSeries {
  SeriesSetPtr set;
  std::uint16_t from = 0;
};

// What one transaction writes: the rows of one shard, and whatever they name that no table holds yet.
struct Piece {
  int shard = 0;
  LogRows rows;
  Timestamp ts_min, ts_max;
  std::vector<SeriesSetPtr> new_sets;      // not yet handed out by this registry
  std::vector<SeriesSetPtr> unsaved_sets;  // of them, those not in the database
  std::vector<NewSeries> unsaved_series;
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
    // About 250 bytes of memory a series: beyond it new ones are refused, those known go on.
    std::size_t series_max = 4'000'000;
    // That one sender brings since the start, so that one whose labels change all the time leaves room for the
    // others: half of the default in app/config.hpp.
    std::size_t sender_series_max = 1'000'000;
    // In one request, so that labels that hold an id per request cannot fill the registry in one blow.
    std::size_t new_series_max = 200'000;
    // In one take(): about a tenth of a second of work here and in the database, for which the samples of
    // known series wait. A request that brings more goes on in the next.
    std::size_t new_series_at_once = 20'000;
    // Senders that are counted apart; all later ones together, as "others".
    std::size_t senders_max = 1'000;
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

  // How far a request has come, and what became of it so far.
  struct Progress {
    std::size_t next = 0;   // series of the batch
    std::size_t added = 0;  // series that were new
    Stored stored;
  };

  // Places the samples of a request among the rows that the next take() gives. Accepted means: stored once
  // the pieces are. Equal (series, ts) is a duplicate, whatever its value: the first wins.
  //
  // False when it brings more new series than the next take() may have: the rest has to follow after that.
  bool gather(const SampleBatch& batch, Timestamp now, Progress& progress);
  // All of it at once, for who has nobody waiting.
  Stored gather(const SampleBatch& batch, Timestamp now);

  // Other rules from now on. Every label set is asked anew when it comes next: a series that gets another model or
  // metric goes on under that name, and what was stored keeps the old one. Kind, direction and unit of a series
  // that is known stay as they were stored.
  void remap(MappingPtr mapping);

  std::size_t gathered() const { return pending_.size(); }  // samples
  std::vector<Piece> take();                                // a piece a shard that has rows

  // Why samples were not taken, or not counted on.
  enum class Reason : std::uint8_t {
    labels,         // a label set that breaks the rules
    series_limit,   // series_max, too many versions, an id that is taken
    sender_limit,   // sender_series_max
    request_limit,  // new_series_max
    ahead,          // ahead of the clock
    early,          // before 2000
    late,           // kept, but older than the lateness
    ignored,        // a mapping rule says that nobody wants them; their sender is not told
  };
  static constexpr std::size_t reasons = 8;

  struct Example {
    Timestamp at;  // arrival
    std::string sender;
    std::string series;  // its label set, or model and metric
    Timestamp ts;        // of the first sample
    double value = 0;
  };
  struct Drop {
    std::uint64_t samples = 0;  // since the start
    std::vector<Example> examples;  // the last few, oldest first
  };
  const std::array<Drop, reasons>& drops() const { return drops_; }

  // A sender's series since the start.
  struct Sender {
    std::string name;
    std::uint64_t samples = 0;        // accepted
    std::uint64_t new_series = 0;     // that it was the first to send
    std::uint64_t active_series = 0;  // that it sent in the last ten to twenty minutes, within 3 %
  };
  std::vector<Sender> senders() const;
  const Cardinality& cardinality() const { return cardinality_; }

  std::size_t model_count() const { return models_.size(); }
  std::size_t memory_bytes() const;  // about

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
  static constexpr std::uint32_t nowhere = std::numeric_limits<std::uint32_t>::max();  // the chunk of the ignored
  struct Variant {
    std::uint32_t attributes = 0;  // in attributes_
    std::uint16_t size = 0;        // of the set, which is as long as the chunk was when it was made; 0: none yet
    SetId set{};
  };
  struct Slot {
    SeriesId id{};
    std::uint32_t end = 0;  // of its metric in Chunk::metrics, which begins where the one before ends
    Kind kind = Kind::gauge;
    Direction direction = Direction::both;
    Unit unit = Unit::none;
  };
  struct Chunk {
    std::string model;
    std::string metrics;  // one after the other: a string each would take three times the memory
    std::vector<Slot> slots;
    std::vector<Variant> variants;
    int shard = 0;
    std::uint16_t saved = 0;  // of its series, those in the database

    std::string_view metric(std::size_t slot) const;
    void add(const Series& series);
  };

  struct Mask {
    std::array<std::uint64_t, SeriesSet::slots_max / 64> words{};
    bool test(unsigned slot) const { return (words[slot / 64] >> (slot % 64) & 1) != 0; }
    void set(unsigned slot) { words[slot / 64] |= std::uint64_t{1} << (slot % 64); }
    void add(const Mask& other) {
      for (std::size_t i = 0; i < words.size(); ++i) words[i] |= other.words[i];
    }
    bool covers(const Mask& other) const {
      for (std::size_t i = 0; i < words.size(); ++i)
        if ((other.words[i] & ~words[i]) != 0) return false;
      return true;
    }
    unsigned count() const;
    friend bool operator==(const Mask&, const Mask&) = default;
  };

  // Which slots are stored at which instants. The last few instants stand each for itself; those that leave
  // are folded into runs of equal steps and equal masks, so a regular stream is remembered for months, and so
  // are a few dozen of them that share a chunk.
  struct Run {
    std::int64_t first = 0, step = 0;
    std::uint32_t count = 0;
    Mask mask;
    bool holds(std::int64_t ts) const;
    bool says(const Run& other) const;  // all that the other does
    std::int64_t last() const { return first + step * (count - std::int64_t{1}); }
  };
  // A series whose instants are shared with no other and follow no step: each stands for itself, newest first.
  struct Instants {
    static constexpr unsigned count_max = 16;
    std::uint8_t used = 0;
    std::array<std::int64_t, count_max> ts;
    bool add(std::int64_t t);  // false when it is there
  };
  struct Recent {
    static constexpr unsigned ticks_max = 4;
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
    std::vector<Run> runs;  // the one that ended first comes first
    // Once the runs were too few for what came: a series each.
    std::unique_ptr<std::vector<Instants>> loose;
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

  // A sender's share of the registry. `active` is of now and of the ten minutes before.
  struct Use {
    std::uint64_t samples = 0;
    std::uint64_t new_series = 0;
    std::array<DistinctCount, 2> active;
    std::int64_t period = 0;
  };
  struct Refusal {
    Reason reason;
    std::string what;
  };

  std::variant<Place, Refusal> introduce(const SampleBatch& batch, std::string_view labels, Use& use,
                                         Progress& progress);
  std::uint32_t chunk_for(const std::string& model);
  std::uint32_t attributes_for(const ModelAttributes& attributes);
  Use& use_of(const std::string& sender, Timestamp now);
  struct Bounds {
    Timestamp now;
    std::int64_t latest = 0;  // us
  };

  void fold(Recent& recent, std::int64_t ts, const Mask& mask);
  static void loosen(Recent& recent);
  bool make_room(Recent& recent, std::int64_t ts);
  static Recent::Tick& tick(Recent& recent, std::int64_t ts);
  // Says that the series has a sample at `ts`; false when it had. Gives the tick, unless there is none.
  bool mark(Place place, std::int64_t ts, Recent::Tick** at = nullptr);
  bool began(Place place, std::int64_t ts) const;
  std::uint32_t open_row(Place place, std::int64_t ts, Recent::Tick* tick);
  void count_from_zero(const RawSeries& series, Place place, std::int64_t first_ts);
  void place(const SampleBatch& batch, const RawSeries& series, std::uint32_t index, Place place,
             const Bounds& bounds, Stored& out);
  void drop(Reason reason, std::uint64_t samples, const SampleBatch& batch, const RawSeries& series,
            std::string name, Timestamp now);
  std::string name_of(Place place) const;

  static constexpr std::uint64_t mixing = 0x9e37'79b9'7f4a'7c15ULL;
  struct Hashed {
    std::size_t operator()(std::uint64_t hash) const { return hash; }  // it is one already
    std::size_t operator()(SeriesId id) const {
      return static_cast<std::size_t>(id) * mixing;
    }
    std::size_t operator()(SetId id) const {
      return static_cast<std::size_t>(id) * mixing;
    }
  };

  Settings settings_;
  absl::flat_hash_map<std::uint64_t, Place, Hashed>
      aliases_;  // a cache: may be emptied at any time
  absl::flat_hash_map<SeriesId, Place, Hashed> places_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t, Hashed> models_;  // by their hash: the last chunk
  absl::flat_hash_map<std::string, std::uint32_t> attribute_index_;
  std::vector<ModelAttributes> attributes_;
  // When a series that says so began to count, by its place; 24 bytes for each that does.
  absl::flat_hash_map<std::uint64_t, std::int64_t, Hashed> starts_;
  absl::flat_hash_set<SetId, Hashed> saved_sets_;
  std::vector<Chunk> chunks_;
  std::vector<Recent> recent_;  // by chunk; apart, as it is what each sample touches

  std::array<Drop, reasons> drops_;
  absl::flat_hash_map<std::string, std::unique_ptr<Use>> senders_;
  Cardinality cardinality_;
  std::size_t loose_bytes_ = 0;

  std::uint32_t epoch_ = 1;
  std::size_t introduced_ = 0;  // aliases since the last take()
  std::vector<OpenRow> rows_;  // [0] is none
  absl::flat_hash_map<std::pair<std::uint32_t, std::int64_t>, std::uint32_t>
      open_;  // (chunk, ts): the row whose `next` are the others
  std::vector<Pending> pending_;
};

}  // namespace muster::store
