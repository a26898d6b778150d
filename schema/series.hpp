#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schema/time.hpp"

namespace muster {

// Sorted by name, each name once, no empty names or values.
struct Label {
  std::string name;
  std::string value;
  friend bool operator==(const Label&, const Label&) = default;
};
using Labels = std::vector<Label>;

enum class SeriesId : std::int64_t {};  // 63-bit hash of (model, metric)
enum class SetId : std::int64_t {};     // 63-bit hash of a SeriesSet

// What the numbers of a series are. Stored as these numbers: never change them.
enum class Kind : std::uint8_t {
  gauge = 0,
  counter = 1,       // only grows, but for resets; turned into a rate before it is judged
  bucket = 2,        // of a histogram, cumulative over `le` and a counter; not judged by itself
  delta = 3,         // the increase since the sample before it: a rate when divided by the time between
  delta_bucket = 4,  // of a histogram whose samples are increases
  ratio = 5,         // a gauge between 0 and 1
  duration = 6,      // a gauge above 0: a time that something took, or an age
};

// Which way harm lies. Stored as these numbers: never change them.
enum class Direction : std::uint8_t { both = 0, up = 1, down = 2 };

// What a number counts, for people. Stored as these numbers: new ones come at the end.
enum class Unit : std::uint8_t {
  none = 0,
  seconds,
  milliseconds,
  microseconds,
  nanoseconds,
  minutes,
  hours,
  days,
  bytes,
  ratio,
  percent,
  celsius,
  meters,
  volts,
  amperes,
  joules,
  watts,
  grams,
  hertz,
};

std::string_view to_word(Kind kind);
std::string_view to_word(Direction direction);
std::string_view to_word(Unit unit);  // "" for none

// What a sender says about a model beside its numbers. It changes over a model's life (a deploy changes
// `version`), so it belongs to the rows, not to the identity of a series. Empty means "not said".
struct ModelAttributes {
  std::string version;
  std::string region;
  std::string family;
  std::string team;
  std::string environment;  // production, staging, …
  friend bool operator==(const ModelAttributes&, const ModelAttributes&) = default;
};

// A dependency that a model's labels name.
struct Use {
  std::string dependency;
  std::string kind;  // source, feature_pipeline, …
  friend bool operator==(const Use&, const Use&) = default;
};

// (model, metric) identifies one series. `metric` carries whatever labels are left when the model and its
// attributes are taken out, as name{k="v",…}, so that no two label sets fall together.
struct SeriesIdentity {
  std::string model;
  std::string metric;
  Kind kind = Kind::gauge;
  ModelAttributes attributes;
  Direction direction = Direction::both;
  Unit unit = Unit::none;
  bool ignored = false;   // a rule says that its samples are not wanted
  std::vector<Use> uses;  // one a kind
};

// XXH3 of "model 0xFF metric" without its top bit. Stored for ever: never change it.
SeriesId series_id(std::string_view model, std::string_view metric);

struct Series {
  SeriesId id{};
  std::string metric;
  Kind kind = Kind::gauge;
  Direction direction = Direction::both;
  Unit unit = Unit::none;
};

// Series of one model that arrive together; immutable. A row of the log names a set, and its values stand
// in the set's order. A model that changes its version, or grows a series, gets a new set.
struct SeriesSet {
  static constexpr std::size_t slots_max = 192;  // keeps a row inside one heap page

  SetId id{};
  std::string model;
  ModelAttributes attributes;
  std::vector<Series> series;  // 1 to slots_max, slot order
};

// XXH3 of the model, its attributes and the ids in slot order, without the top bit. Never change it.
SetId set_id(const SeriesSet& set);

using SeriesSetPtr = std::shared_ptr<const SeriesSet>;

// "The model reported and this metric could not be computed": evidence of its own, and not the same as no
// sample. It travels as this one quiet NaN, compared by bits; NaNs that senders send keep their own bits.
inline constexpr std::uint64_t null_bits = 0x7ff8'0000'006e'756cULL;
// Prometheus's stale marker: the series has ended. Compare bits, never isnan.
inline constexpr std::uint64_t stale_bits = 0x7ff0'0000'0000'0002ULL;

double null_value();
bool is_null(double value);
bool is_stale(double value);

}  // namespace muster
