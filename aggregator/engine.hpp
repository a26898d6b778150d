#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aggregator/fleet.hpp"
#include "anomaly/baseline.hpp"
#include "anomaly/e_detector.hpp"
#include "anomaly/event_chain.hpp"
#include "anomaly/null_histogram.hpp"

// The inside of Fleet. Indexes into vectors stand for references everywhere, so that all of it can
// be written down and read back.
//
//   alias   a series under one version of its model, as senders name it
//   series  (model, metric), over the whole fleet, in order of arrival: decides nothing
//   scale   a tick length with its own models, series, channels, groups and detectors. Inside a scale all is
//           numbered in an order that event time alone decides ("local"), so arrival order cannot show
//   channel a metric in a scale, over all models; and three that are events of a model: flat, null, missing
//   unit    (model, channel): a cell of the matrix that is judged. Units of metrics and of events stand in
//           two lanes
//
// A fleet has millions of series, so what each of them keeps is counted (memory.cpp, and a test that bounds
// it), and what one step reads of all series stands side by side.
namespace muster::aggregator {

enum EventKind : std::uint32_t { flat_event, null_event, missing_event, event_kinds };

inline constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

// Room for `n` elements, an eighth more when it has to grow: doubling would leave half of a large fleet's
// memory empty.
template <class T>
void grow(std::vector<T>& v, std::size_t n) {
  if (n > v.capacity()) v.reserve(std::max(n, v.size() + v.size() / 8));
  v.resize(n);
}

// The samples of a tick that is still open, in the order they came. Most come as rows of a set, whose aliases
// count up and whose instant is one: a run of them is kept as its values alone.
struct OpenTick {
  struct Run {
    static constexpr bool bulk = true;
    std::uint32_t alias = 0;  // of its first value
    std::int32_t millis = 0;  // before the end of the tick, <= 0
    std::uint32_t first = 0;  // its values stand from here to the next run's first
  };
  std::vector<Run> runs;
  std::vector<double> values;

  void add(std::uint32_t alias, std::int32_t millis, double value) {
    const auto at = static_cast<std::uint32_t>(values.size());
    if (runs.empty() || runs.back().millis != millis ||
        runs.back().alias + (at - runs.back().first) != alias)
      runs.push_back({alias, millis, at});
    values.push_back(value);
  }
  std::uint32_t end_of(std::size_t run) const {
    return run + 1 < runs.size() ? runs[run + 1].first : static_cast<std::uint32_t>(values.size());
  }
  // Of the value at `index`.
  std::int32_t millis_of(std::uint32_t index) const {
    const auto after = std::upper_bound(runs.begin(), runs.end(), index,
                                        [](std::uint32_t i, const Run& r) { return i < r.first; });
    return (after - 1)->millis;
  }
  template <class A>
  void archive(A& a) {
    a(runs, values);
  }
};

struct Waiting {
  std::uint32_t alias = 0;
  Timestamp ts;
  double value = 0;
  template <class A>
  void archive(A& a) {
    a(alias, ts, value);
  }
};

// The series of a model, and the aliases of what was said of it, mostly become known together and in order: they
// are found by halving. Only those that stand elsewhere need an index.
struct Run {
  static constexpr bool bulk = true;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};
struct Alias {
  static constexpr bool bulk = true;
  // What its samples are. Counts are read into rates and quantiles before a tick is gathered: counts.cpp.
  enum Are : std::uint32_t { values, counts, bucket_counts };
  std::uint32_t series = none;  // none: not judged. Of a bucket: its index
  std::uint32_t said : 30 = 0;  // index into Engine::said
  std::uint32_t are : 2 = values;
};
static_assert(sizeof(Alias) == 8);

// What senders said of a model beside its numbers, as one.
struct Said {
  static constexpr bool bulk = true;
  std::uint32_t model = 0;
  std::uint32_t attributes = 0;  // index into words: all of them
  std::uint32_t version = none;  // index into words
  Run run;                       // of its aliases
};

// Where the slots of a declared set lead. Its series mostly became known together, so their aliases count up.
struct Slots {
  static constexpr bool bulk = true;
  std::uint32_t first = 0;  // alias of the first slot; else where it stands in Engine::slot_aliases
  std::uint32_t count = 0;
  std::uint32_t counts_up = 1;
};

struct SeriesInfo {
  static constexpr bool bulk = true;
  // Of a series whose samples come of counts; it is placed when it has its first.
  static constexpr std::uint32_t plain = (1U << 24) - 1, derived = plain - 1,
                                 counters_max = derived;

  std::uint32_t model = 0;
  std::uint32_t metric = 0;  // index into words
  std::uint32_t kind : 8 = static_cast<std::uint32_t>(Kind::gauge);
  std::uint32_t counter : 24 = plain;  // index into Engine::counter_states, or one of the two above
  std::uint32_t local = none;
  bool is_rate() const { return counter < counters_max; }
};
static_assert(sizeof(SeriesInfo) == 16);

inline std::uint64_t order_in_run(const SeriesInfo& s) {
  return s.metric;
}
inline std::uint64_t order_in_run(const Alias& a) {
  return std::uint64_t{a.series} << 2U | a.are;
}

// What the topology says of a model. Indexes into words; 0: not said.
struct KnownModel {
  std::string id;
  std::uint32_t version = 0;
  std::uint32_t region = 0;
  std::uint32_t family = 0;
  std::uint32_t team = 0;
  std::int64_t interval = 0;  // us; 0: not said
};

// What is held of a model while its interval is not known.
struct Unsettled {
  std::vector<Waiting> waiting;
  std::vector<std::int64_t> first;  // the earliest four instants, us
  template <class A>
  void archive(A& a) {
    a(waiting, first);
  }
};

struct ModelInfo {
  std::string id;
  // By its senders, indexes into words; 0 is the empty word.
  std::uint32_t version = 0;
  std::uint32_t region = 0;
  std::uint32_t family = 0;
  std::uint32_t team = 0;
  std::uint32_t known = none;  // index into Engine::known_models
  std::int32_t scale = -1;
  std::uint32_t local = none;
  Run series_run;
  std::int64_t interval = 0;  // us; 0 while unknown
  std::unique_ptr<Unsettled> unsettled;
  template <class A>
  void archive(A& a) {
    a(id, version, region, family, team, scale, local, series_run, interval, unsettled);
  }
};

// What a unit is at this tick, and the bet on it.
struct Unit {
  static constexpr bool bulk = true;
  // flags: what its value was, what a sample's reading said; `masked_flag` alone outlives the tick.
  static constexpr std::uint8_t null_flag = 1, flat_flag = 2, learned_flag = 4, reading_flag = 8;
  static constexpr std::uint8_t tail_shift = 4, tail_mask = 3;  // class of its tail, two bits
  static constexpr std::uint8_t masked_flag = 64;

  float x = 0;  // the score; 0 when not judged. Before its channel is conditioned: the innovation
  float focus = 0;         // EWMA_18 before this tick, normalised
  std::uint8_t seen = 0;   // judged
  std::uint8_t ok = 0;     // judged, and not explained by an incident
  std::uint8_t moved = 0;  // judged, and its EWMA_12 is beyond 1.96
  std::uint8_t flags = 0;
};
static_assert(sizeof(Unit) == 12);

// EWMAs of x, not normalised.
struct Smooth {
  static constexpr bool bulk = true;
  float h3 = 0, h12 = 0, h48 = 0;
};

// h12, as N(0, 1): over sqrt(a / (2 - a)), a = 1/12.
inline float normalised12(float h) {
  return h * std::sqrt(23.0F);
}

struct Deviation {
  static constexpr bool bulk = true;
  float drift = 0;              // smoothed, in sigma, level based
  std::uint32_t out_since = 0;  // 1 + the tick it left its band, since the scale's first; 0 inside
};

// The evidence against one unit.
struct Bets {
  static constexpr bool bulk = true;
  anomaly::Evidence up{}, down{};
};

// Which incident explains a unit, and until when.
struct Mask {
  std::uint32_t owner = 0;  // incident number
  std::int64_t until = 0;   // tick; it holds before it
  template <class A>
  void archive(A& a) {
    a(owner, until);
  }
};

// The units of a lane, over time. Normalised scores are N(0, 1) when nothing is wrong.
struct Lane {
  std::vector<Unit> unit;
  std::vector<Smooth> smooth;
  std::vector<Deviation> deviation;
  std::vector<Bets> bets;
  absl::flat_hash_map<std::uint32_t, Mask> masks;  // few units are explained at any time

  std::size_t size() const { return unit.size(); }
  void resize(std::size_t n) { grow(unit, n), grow(smooth, n), grow(deviation, n), grow(bets, n); }
  bool masked(std::size_t i, std::int64_t tick) const {
    if ((unit[i].flags & Unit::masked_flag) == 0) return false;
    const auto mask = masks.find(static_cast<std::uint32_t>(i));
    return mask != masks.end() && mask->second.until > tick;
  }
  std::uint32_t owner(std::size_t i) const {
    const auto mask = masks.find(static_cast<std::uint32_t>(i));
    return mask == masks.end() ? 0 : mask->second.owner;
  }
  void mask(std::uint32_t i, Mask mask) {
    masks[i] = mask;
    unit[i].flags |= Unit::masked_flag;
  }
  // Forgets masks that will never hold again after `tick`.
  void forget_masks(std::int64_t tick);
  template <class A>
  void archive(A& a);
};

// The seasons of all series, hour by hour.
class Seasons {
 public:
  void resize(std::size_t n);
  anomaly::SeasonRef at(std::size_t i) {
    return {nodes_.data() + i, node_counts_.data() + i, cells_.data() + i, cell_counts_.data() + i,
            capacity_};
  }
  anomaly::SeasonView at(std::size_t i) const {
    return {nodes_.data() + i, node_counts_.data() + i, capacity_};
  }
  std::size_t bytes() const {
    return capacity_ * (anomaly::season_nodes + anomaly::season_cells) * (sizeof(float) + 1);
  }
  template <class A>
  void archive(A& a);

 private:
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;  // of each row; an hour a row
  std::vector<float> nodes_, cells_;
  std::vector<std::uint8_t> node_counts_, cell_counts_;
};

struct SeriesState {
  static constexpr bool bulk = true;
  anomaly::Baseline base;
  std::uint32_t rate = 0;         // 1: of a counter. It may stand still, and is not flat then
  std::uint32_t learning = none;  // index into learning buffers
  std::uint32_t bits = 0;         // of the last raw value
  std::uint32_t repeats = 0;      // how often it repeated
  std::uint32_t first_tick = 0;   // since the scale's first
  std::uint32_t last_tick = 0;
};
static_assert(sizeof(SeriesState) == 64);

// How a series moves with others.
struct Loading {
  static constexpr bool bulk = true;
  float covariance = 0.25F;  // with the channel's common factor
  float family_covariance = 0.25F;
  float family_variance = 0.25F;
  float long_run = 1;  // L: EWMA of the squared slow EWMA
  float slow = 0;      // EWMA_48 before the deflator
};

// A counter, or increases that are sent as such, on its way to a rate.
struct CounterState {
  static constexpr bool bulk = true;
  double last =
      std::numeric_limits<double>::quiet_NaN();  // NaN: it begins anew with the next sample
  double held = 0;                               // the increase since `from`
  std::int64_t from = 0;                         // ms
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();  // ms
};

// A bucket of a histogram. It is not judged and has no name.
struct Bucket {
  static constexpr bool bulk = true;
  double bound = 0;
  double last = std::numeric_limits<double>::quiet_NaN();
  double held = 0;  // increase, cumulative over the bounds, since quantiles were given
  std::uint32_t histogram = 0;
  float usual = 0;  // share of the observations that fall into it and no lower one
};
static_assert(sizeof(Bucket) == 32);

struct Histogram {
  enum Gives : std::size_t { p50, p99, psi, gives };
  std::uint32_t model = 0;
  std::uint32_t metric = 0;            // index into words: without _bucket and le
  bool increases = false;              // its samples are
  std::vector<std::uint32_t> buckets;  // by bound
  std::array<std::uint32_t, gives> series = {none, none, none};
  std::uint32_t learned = 0;  // how often its usual shares were
  std::int64_t held_since = std::numeric_limits<std::int64_t>::min();  // tick; min: nothing is held
  template <class A>
  void archive(A& a) {
    a(model, metric, increases, buckets, series, learned, held_since);
  }
};

// What decides whether a series is judged on logarithms: its first values, then a sample of its first week. A
// series that was zero or less is not, and needs none.
struct LearningBuffer {
  static constexpr std::size_t slots = anomaly::Baseline::first_samples;
  std::array<float, slots> values{};
  std::uint32_t count = 0;
  // Of the first values, since the scale's first tick; gone when all are there.
  std::unique_ptr<std::array<std::uint32_t, slots>> ticks;
  template <class A>
  void archive(A& a) {
    a(values, count, ticks);
  }
};

struct FamilyCell {
  std::uint32_t family = 0;  // index into Scale::families
  std::uint32_t size = 0;    // series; Scale::each_of_family names them
  std::vector<std::uint32_t>
      series;  // only where the channel and the family's models do not tell them
  float factor = 0;
  float variance = 0.25F;
  float regime = 1;  // EWMA_12 of the MAD scale
  template <class A>
  void archive(A& a) {
    a(family, factor, variance, regime);
  }
};

struct Pool {
  std::string metric;                           // without its labels
  std::vector<anomaly::NullHistogram> classes;  // three tail classes
  template <class A>
  void archive(A& a) {
    a(metric, classes);
  }
};

struct Channel {
  std::string name;
  std::uint32_t pool = 0;
  std::vector<std::uint32_t> series;
  std::vector<FamilyCell> families;
  // By local model, when at least half of the models have the channel: its series, or none.
  std::vector<std::uint32_t> unit_of;
  float factor = 0;
  float factor_variance = 0.25F;
  float slow_factor = 0;  // EWMA_12
  float slow_variance = 0.01F;
  float tau = 0;
  float mean_long_run = 1;
  std::array<float, 4> tilt{};
  template <class A>
  void archive(A& a) {
    a(name, pool, series, families, factor, factor_variance, slow_factor, slow_variance, tau,
      mean_long_run, tilt);
  }
};

struct ScaleModel {
  std::uint32_t global = 0;
  std::uint32_t family = none;
  std::vector<std::uint32_t> series;  // local
  std::array<anomaly::EventChain, event_kinds> chain;
  std::uint32_t version = none;
  std::uint32_t previous_version = none;
  std::int64_t version_tick = 0;
  std::int64_t first_tick = 0;
  std::int64_t last_tick = 0;  // with a sample
  float step = 1;              // its interval in ticks
  float evidence = 0;          // sum of its own V
  std::uint8_t score = 0;
  std::uint32_t worst = none;   // local series
  std::int32_t week_shift = 0;  // hours its week runs ahead of UTC's
  // By border hour: how much better its series would be predicted if that hour were of the other kind of day.
  std::array<float, anomaly::BorderHour::count> week_gain{};
  // Of this tick:
  std::int64_t seen_tick = 0;
  std::int64_t version_seen_tick = 0;
  bool null_now = false;
  bool flat_now = false;
  template <class A>
  void archive(A& a) {
    for (auto& c : chain) a(c.after_no, c.after_yes, c.last);
    a(global, family, series, version, previous_version, version_tick, first_tick, last_tick, step,
      evidence, score, worst, week_shift, week_gain, seen_tick, version_seen_tick, null_now,
      flat_now);
  }
};

// One (group, channel): the statistics that are tested.
struct CellState {
  float mean = 0;
  float variance = 1;
  float focus_up = 1;  // running second moments of the focused statistic
  float focus_down = 1;
  anomaly::Evidence dense_up{}, dense_down{}, sparse_up{}, sparse_down{};
  std::uint32_t present = 0;
  std::uint32_t moved = 0;
  template <class A>
  void archive(A& a) {
    a(mean, variance, focus_up, focus_down, dense_up, dense_down, sparse_up, sparse_down, present,
      moved);
  }
  float evidence() const {
    return anomaly::sum(dense_up) + anomaly::sum(dense_down) + anomaly::sum(sparse_up) +
           anomaly::sum(sparse_down);
  }
  void restart() { dense_up = dense_down = sparse_up = sparse_down = {}; }
};

struct Cell {
  std::uint32_t channel = 0;  // of events: their kind
  bool event = false;
  std::uint32_t size = 0;            // units; Scale::each_unit names them
  std::vector<std::uint32_t> units;  // only where neither the channel nor the kind tells them
  CellState state;
};

struct Group {
  enum class Kind : std::uint8_t { dependency, family, fleet };
  Kind kind = Kind::dependency;
  std::string id;
  std::string word;  // source, feature_pipeline, …, family, fleet
  std::string team;
  std::vector<std::string> twins;      // other dependencies with the same dependants
  std::vector<std::uint32_t> members;  // local models, sorted
  double share = 0;                    // w
  std::vector<Cell> cells;
  float evidence = 0;
  std::uint32_t moved = 0;
  float expected = 0;
  std::deque<EvidencePoint> history;

  // The channel that has most of the evidence; null without channels.
  const Cell* strongest() const;
  // Evidence, and who moved in the strongest channel.
  void summarise();
};

// What a model shows while an open incident explains it, whose evidence began anew when it opened.
inline constexpr std::uint8_t explained_score = 78;

// How near evidence is to a page, 0..100: 100 is a candidate, 0 is what the best of a fleet's groups shows on a
// quiet day.
std::uint8_t score_of(double evidence, double share, double threshold);

// What a group knew, while no topology has it.
struct KeptGroup {
  std::map<std::string, CellState> cells;  // by "metric <name>" or "event <name>"
  std::deque<EvidencePoint> history;
  template <class A>
  void archive(A& a) {
    a(cells, history);
  }
};

struct Column {
  Timestamp ts;
  std::vector<float> values;  // by local series; absent_value where there was none
  template <class A>
  void archive(A& a) {
    a(ts, values);
  }
};
inline constexpr float absent_value = -std::numeric_limits<float>::infinity();

struct HeatColumn {
  Timestamp ts;
  std::vector<std::uint8_t> score;  // by local model
  std::vector<float> drift;         // the worst |deviation|, for the trend; of the last six hours
  template <class A>
  void archive(A& a) {
    a(ts, score, drift);
  }
};

struct Scale {
  std::int64_t step = 0;     // us
  std::int64_t longest = 0;  // the longest interval among its models, us
  std::int64_t closed =
      std::numeric_limits<std::int64_t>::min();  // the last closed tick; min: none yet
  std::int64_t first_tick = 0;
  std::int64_t data_tick = 0;  // the last closed one that held a sample
  std::map<std::int64_t, OpenTick> open;
  std::map<std::int64_t, OpenTick> open_counts;  // each of its ticks stands in `open` too

  std::vector<ScaleModel> models;
  std::vector<std::string> families;
  std::vector<std::vector<std::uint32_t>> family_models;  // local, by family
  // By local series.
  std::vector<SeriesState> series;
  std::vector<std::uint32_t> model_of;
  std::vector<std::uint32_t> channel_of;
  std::vector<Loading> loading;
  Seasons seasons;
  Lane metrics;
  std::vector<std::unique_ptr<LearningBuffer>>
      learning;  // with holes, which are closed now and then
  std::size_t learning_used = 0;
  std::vector<Channel> channels;
  std::vector<Pool> pools;  // the first is that of all small metrics
  Lane events;              // 3 * model + kind
  std::vector<Group> groups;
  // Cells as (group, cell), those of a channel together: they read the same units.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> cell_order;
  // States of cells and histories of groups that the present topology has not; by group id, then
  // channel.
  std::map<std::string, KeptGroup> kept;

  std::deque<Column> recent;
  std::deque<HeatColumn> heat;
  // The newest values of series that have a fixed limit; null where there is none to compare.
  std::map<std::uint32_t, double> limited;

  std::size_t last_count = 0;  // samples of the last tick that had any
  std::int64_t cached_tick = std::numeric_limits<std::int64_t>::min();
  OpenTick* cached = nullptr;

  double ticks_per_day() const { return 86400e6 / static_cast<double>(step); }
  double ticks_per_week() const { return 7 * ticks_per_day(); }
  Timestamp end_of(std::int64_t tick) const { return {tick * step}; }
  bool started() const { return closed != std::numeric_limits<std::int64_t>::min(); }
  double single_share = 0;  // w of one model
  // Moves what the groups know into `kept`.
  void keep_groups(std::map<std::string, KeptGroup>& into) const;
  std::string cell_name(const Cell& cell) const;
  // A tick since the scale's first, as series keep it, and back.
  std::uint32_t since_start(std::int64_t tick) const {
    return static_cast<std::uint32_t>(tick - first_tick);
  }
  std::int64_t tick_at(std::uint32_t since) const {
    return first_tick + static_cast<std::int64_t>(since);
  }
  Timestamp out_since(const Deviation& d) const { return end_of(tick_at(d.out_since - 1)); }
  // f(unit) for each unit of a cell, by model.
  template <class F>
  void each_unit(const Group& group, const Cell& cell, F&& f) const {
    if (cell.event) {
      for (const std::uint32_t m : group.members) f(event_kinds * m + cell.channel);
    } else if (!cell.units.empty()) {
      for (const std::uint32_t u : cell.units) f(u);
    } else {
      const std::vector<std::uint32_t>& unit_of = channels[cell.channel].unit_of;
      for (const std::uint32_t m : group.members)
        if (unit_of[m] != none) f(unit_of[m]);
    }
  }
  template <class F>
  void each_of_family(const Channel& channel, const FamilyCell& cell, F&& f) const {
    for (const std::uint32_t s : cell.series) f(s);
    if (!cell.series.empty()) return;
    for (const std::uint32_t m : family_models[cell.family])
      if (channel.unit_of[m] != none) f(channel.unit_of[m]);
  }
  // Name of a channel, events included.
  const std::string& channel_name(std::uint32_t channel) const;

  template <class A>
  void archive(A& a);
};

// A unit an incident explains.
struct CaseUnit {
  std::uint32_t scale = 0;
  bool event = false;
  std::uint32_t unit = 0;
  float sign = 1;
  float strength = 0;  // |Y| when it was attached
  template <class A>
  void archive(A& a) {
    a(scale, event, unit, sign, strength);
  }
};

// An incident and what is needed to go on with it.
struct Case {
  Incident incident;
  std::uint32_t number = 0;
  std::uint32_t scale = 0;
  std::vector<CaseUnit> affected;
  std::int64_t opened_tick = 0;
  std::int64_t news_tick = 0;
  std::int64_t told_tick = 0;
  float level = 0;
  float peak = 0;
  std::uint32_t below = 0;
  std::uint32_t told_moved = 0;
  bool examined_again = false;
  std::uint64_t sequence = 0;
  std::uint32_t hit_channel = 0;  // the channel of the title, in its scale
  bool hit_event = false;
  bool down = false;
  template <class A>
  void archive(A& a) {
    a(incident, number, scale, affected, opened_tick, news_tick, told_tick, level, peak, below,
      told_moved, examined_again, sequence, hit_channel, hit_event, down);
  }
};

// A possible cause with its score; see cause.cpp.
struct Scored {
  enum class Kind : std::uint8_t { group, single, unknown };
  Kind kind = Kind::unknown;
  std::uint32_t index = 0;  // of the group or the model
  double score = 0;
  double posterior = 0;
};

struct ScoredUnit {
  bool event = false;
  std::uint32_t unit = 0;
  std::uint32_t model = 0;
  std::uint32_t channel = 0;
  float y = 0;
  float responsibility = 0;
};

struct Ranking {
  std::vector<Scored> all;            // best first
  std::vector<ScoredUnit> units;      // of the best: all its members' units
  std::vector<std::uint32_t> models;  // affected, local, sorted
  std::vector<std::uint32_t>
      hit;  // channels (events after metrics) with P(hit) > 1/2, strongest first
  std::vector<Suspect> suspects;  // at most 5, `why` included
  double explained = 0;
  std::uint32_t moved = 0;
};

// Finds a position in a vector by what stands there, without keeping that twice.
struct WordHash {
  using is_transparent = void;
  const std::vector<std::string>* words;
  std::size_t operator()(std::string_view s) const { return absl::Hash<std::string_view>{}(s); }
  std::size_t operator()(std::uint32_t i) const { return (*this)((*words)[i]); }
};
struct WordEqual {
  using is_transparent = void;
  const std::vector<std::string>* words;
  bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
  bool operator()(std::uint32_t a, std::string_view b) const { return (*words)[a] == b; }
  bool operator()(std::string_view a, std::uint32_t b) const { return (*words)[b] == a; }
};
struct ModelHash {
  using is_transparent = void;
  const std::vector<ModelInfo>* models;
  std::size_t operator()(std::string_view s) const { return absl::Hash<std::string_view>{}(s); }
  std::size_t operator()(std::uint32_t i) const { return (*this)((*models)[i].id); }
};
struct ModelEqual {
  using is_transparent = void;
  const std::vector<ModelInfo>* models;
  bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
  bool operator()(std::uint32_t a, std::string_view b) const { return (*models)[a].id == b; }
  bool operator()(std::string_view a, std::uint32_t b) const { return (*models)[b].id == a; }
};
// A series by (model, metric), an alias by (series, said), what was said by (model, attributes).
using Pair = std::pair<std::uint32_t, std::uint32_t>;
inline Pair key_of(const SeriesInfo& s) {
  return {s.model, s.metric};
}
inline Pair key_of(const Alias& a) {
  return {a.series, a.said | a.are << 30};
}
inline Pair key_of(const Said& s) {
  return {s.model, s.attributes};
}
template <class T>
struct PairHash {
  using is_transparent = void;
  const std::vector<T>* items;
  std::size_t operator()(const Pair& p) const { return absl::Hash<Pair>{}(p); }
  std::size_t operator()(std::uint32_t i) const { return (*this)(key_of((*items)[i])); }
};
template <class T>
struct PairEqual {
  using is_transparent = void;
  const std::vector<T>* items;
  bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
  bool operator()(std::uint32_t a, const Pair& b) const { return key_of((*items)[a]) == b; }
  bool operator()(const Pair& a, std::uint32_t b) const { return key_of((*items)[b]) == a; }
};
template <class T>
using PairIndex = absl::flat_hash_set<std::uint32_t, PairHash<T>, PairEqual<T>>;

// Where `item` stands in `all`, or none: in its owner's run, else in the index of what stands outside of runs.
template <class T>
std::uint32_t find(const std::vector<T>& all, const Run& run, const PairIndex<T>& index,
                   const T& item) {
  const auto first = all.begin() + run.first;
  const auto last = first + run.count;
  const auto at = std::lower_bound(
      first, last, item, [](const T& a, const T& b) { return order_in_run(a) < order_in_run(b); });
  if (at != last && order_in_run(*at) == order_in_run(item))
    return static_cast<std::uint32_t>(at - all.begin());
  const auto outside = index.find(key_of(item));
  return outside == index.end() ? none : *outside;
}

template <class T>
std::uint32_t append(std::vector<T>& all, Run& run, PairIndex<T>& index, const T& item) {
  const auto at = static_cast<std::uint32_t>(all.size());
  if (all.size() == all.capacity()) all.reserve(all.size() + all.size() / 8 + 64);
  all.push_back(item);
  if (run.count == 0) {
    run = {at, 1};
  } else if (run.first + run.count == at && order_in_run(all[at - 1]) < order_in_run(item)) {
    ++run.count;
  } else {
    index.insert(at);
  }
  return at;
}

struct Engine {
  Settings settings;
  Topology topology;
  std::vector<KnownModel> known_models;                // the topology's, by id; it has them no more
  std::vector<std::vector<std::uint32_t>> dependants;  // by dependency, indexes into known_models

  std::vector<std::string> words = {""};
  absl::flat_hash_set<std::uint32_t, WordHash, WordEqual> word_index{0, {&words}, {&words}};
  std::vector<Said> said;
  PairIndex<Said> said_index{0, {&said}, {&said}};
  // The first stands for all that is not judged.
  static constexpr std::uint32_t not_judged = 0;
  std::vector<Alias> aliases = {Alias{}};
  PairIndex<Alias> alias_index{0, {&aliases}, {&aliases}};
  std::vector<SeriesInfo> series;
  PairIndex<SeriesInfo> series_index{0, {&series}, {&series}};
  std::size_t unplaced = 0;  // plain series that no scale has yet
  std::vector<CounterState> counter_states;
  std::vector<Bucket> buckets;
  std::vector<Histogram> histograms;
  absl::flat_hash_map<Pair, std::uint32_t> histogram_index;  // by (model, metric)
  std::vector<ModelInfo> models;
  absl::flat_hash_set<std::uint32_t, ModelHash, ModelEqual> model_index{0, {&models}, {&models}};
  absl::flat_hash_map<std::int64_t, Slots> sets;
  std::vector<std::uint32_t> slot_aliases;  // of sets whose aliases do not count up
  std::vector<std::uint32_t> unlearned;     // models whose interval is not known

  std::vector<std::unique_ptr<Scale>> scales;                      // by step
  std::int64_t newest = std::numeric_limits<std::int64_t>::min();  // us
  bool versions_said = false;
  std::deque<Event> events;  // newest last
  std::vector<Case> cases;   // open, and closed ones that are remembered
  std::uint32_t last_number = 0;
  std::deque<Timestamp> pages;  // of the last 28 days
  Timestamp now;                // end of the newest closed tick
  Counters counters;

  Engine(Settings s, const Topology& t);

  // intake.cpp
  void apply(const Topology& t);
  std::uint32_t word(std::string_view text);
  std::uint32_t model_of(std::string_view id);
  std::uint32_t alias_of(std::string_view model, std::string_view metric, Kind kind,
                         const ModelAttributes& attributes);
  void declare(const SeriesSet& set);
  void observe(const LogRows& rows);
  // What the topology says of a model, else what its senders do.
  const std::string& family_of(const ModelInfo& m) const {
    return words[known_or(m, &KnownModel::family, m.family)];
  }
  const std::string& region_of(const ModelInfo& m) const {
    return words[known_or(m, &KnownModel::region, m.region)];
  }
  const std::string& team_of(const ModelInfo& m) const {
    return words[known_or(m, &KnownModel::team, m.team)];
  }
  const std::string& known_version_of(const ModelInfo& m) const {
    return words[known_or(m, &KnownModel::version, 0)];
  }
  std::uint32_t known_or(const ModelInfo& m, std::uint32_t KnownModel::*field,
                         std::uint32_t said_word) const {
    const bool is_known = m.known != none && known_models[m.known].*field != 0;
    return is_known ? known_models[m.known].*field : said_word;
  }
  void observe(std::uint32_t alias, Timestamp ts, double value);
  void place(std::int32_t scale, std::uint32_t alias, Timestamp ts, double value, bool was_waiting);
  void observe(const Event& event);
  std::vector<Finding> advance(bool to_the_end);
  std::int64_t lateness_of(const Scale& scale) const;
  // Gives a model its interval and scale when `horizon` shows it; true when it did.
  std::int64_t learnable_at(const ModelInfo& model) const;
  void settle(std::uint32_t model);
  void give_interval(std::uint32_t model, std::int64_t interval);
  // The tick to close next and the watermark that allows it.
  std::optional<std::int64_t> next_tick(const Scale& scale) const;

  // counts.cpp
  std::uint32_t bucket_of(std::uint32_t model, std::string_view metric, bool increases);
  std::uint32_t alias_for(const Alias& alias);
  // Reads a tick's counts into samples of `pending`; whether one of them belongs to a series without a place.
  bool read_counts(Scale& scale, std::int64_t tick, OpenTick& counts, OpenTick& pending);
  void read_histogram(Scale& scale, std::int64_t tick, std::uint32_t histogram, std::uint32_t says,
                      std::int32_t millis, OpenTick& pending, bool& newcomers);

  // join.cpp
  void join(Scale& scale, std::int64_t tick, std::vector<std::uint32_t> newcomers);
  void regroup(Scale& scale);
  bool limited(std::string_view metric) const;  // by a setting

  // tick.cpp
  void close(std::uint32_t scale, std::int64_t tick, std::vector<Finding>& findings);
  // `at` of a local series: 1 + the index of its value in `pending`; 0 without one.
  using At = std::vector<std::uint32_t>;
  At gather(Scale& scale, std::int64_t tick, OpenTick& pending, bool look);
  bool pooling(const Scale& scale, std::int64_t tick) const;
  void read_baselines(Scale& scale, std::int64_t tick, At& at, OpenTick& pending);
  void forget_learned(Scale& scale);
  void pour(Scale& scale);
  void condition(Scale& scale, std::int64_t tick, Channel& channel);
  // week_terms  by local series; empty outside the border hours
  void place_weeks(Scale& scale, std::int64_t tick, const std::vector<float>& week_terms);
  void judge_events(Scale& scale, std::int64_t tick);

  // evidence.cpp
  void weigh(Scale& scale, std::int64_t tick);
  void remember(Scale& scale, std::int64_t tick, const At& at, const OpenTick& pending);
  double threshold(const Scale& scale) const;
  double days_left(const Scale& scale) const;

  // cause.cpp
  Ranking rank(const Scale& scale, std::int64_t tick, const Group* group, std::uint32_t model,
               std::uint32_t owner) const;

  // incidents.cpp
  void examine(std::uint32_t scale, std::int64_t tick, std::vector<Finding>& findings);
  // Marks it as one that may wake someone, unless what happens at `at` is history.
  void count_page(Incident& incident, Timestamp at);
  void upkeep(std::uint32_t scale, std::int64_t tick, std::vector<Finding>& findings);
  void explain(std::uint32_t scale, std::int64_t tick, Case& c, const Ranking& ranking,
               const Group* group);
  void release(const Case& c);
  void fill(Case& c, const Ranking& ranking);
  void refresh(Case& c);
  void tell(Case& c, Finding::What what, std::vector<Finding>& findings);

  // view.cpp
  FleetView view() const;

  // memory.cpp
  std::vector<MemoryPart> memory() const;

  // Runs body(first, last) over pieces of [0, n) on all workers; each index writes its own slots.
  void each(std::size_t n, std::size_t grain,
            const std::function<void(std::size_t, std::size_t)>& body) const;

  template <class A>
  void archive(A& a);
  void reindex();  // the hash maps, after reading

  struct Arena;
  std::unique_ptr<Arena> arena;
  ~Engine();
};

// words.cpp
std::string clock_of(Timestamp t);   // 14:20, UTC
std::string grouped(double number);  // 41 000, thin spaces
std::string title_of(const Engine& e, const Case& c);
std::string why_of(const Engine& e, const Case& c);
std::string first_look_of(const Engine& e, const Case& c);
bool matches(std::string_view pattern, std::string_view text);  // * is any run

}  // namespace muster::aggregator
