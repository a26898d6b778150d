#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
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
//   scale   a tick length with its own models, series, channels, groups and detectors. Inside a
//   scale all
//           is numbered in an order that event time alone decides ("local"), so arrival order
//           cannot show
//   channel a metric in a scale, over all models; and three that are events of a model: flat, null,
//   missing unit    (model, channel): a cell of the matrix that is judged. Units of metrics and of
//   events stand in
//           two lanes
namespace muster::aggregator {

inline constexpr std::uint8_t null_flag = 1, flat_flag = 2, learned_flag = 4;
inline constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

struct Pending {
  std::uint32_t alias = 0;
  std::int32_t millis = 0;  // before the end of its tick, <= 0
  double value = 0;
  template <class A>
  void archive(A& a) {
    a(alias, millis, value);
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

struct Alias {
  std::uint32_t series = none;
  std::uint32_t version = none;  // index into words
  std::int32_t scale = -1;       // of its model, once known
  std::uint32_t model = 0;
  std::uint32_t metric = 0;      // index into words
  std::uint32_t attributes = 0;  // index into words: all of them, as one
  using Key = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
  Key key() const { return {model, metric, attributes}; }
  template <class A>
  void archive(A& a) {
    a(series, version, scale, model, metric, attributes);
  }
};

struct SeriesInfo {
  std::uint32_t model = 0;
  std::uint32_t metric = 0;  // index into words
  Kind kind = Kind::gauge;
  std::uint32_t local = none;
  template <class A>
  void archive(A& a) {
    a(model, metric, kind, local);
  }
};

struct ModelInfo {
  std::string id;
  ModelAttributes said;       // by its senders
  Model known;                // by the topology; id empty when it is not there
  std::int64_t interval = 0;  // us; 0 while unknown
  std::int32_t scale = -1;
  std::uint32_t local = none;
  std::vector<std::uint32_t> aliases;
  std::vector<Waiting> waiting;
  std::vector<std::int64_t> first;  // the earliest four instants while the interval is unknown, us
  template <class A>
  void archive(A& a) {
    a(id, said.version, said.region, said.family, said.team, interval, scale, local, aliases,
      waiting, first);
  }
  const std::string& family() const { return known.family.empty() ? said.family : known.family; }
  const std::string& region() const { return known.region.empty() ? said.region : known.region; }
  const std::string& team() const { return known.team.empty() ? said.team : known.team; }
};

// Smoothed scores of a lane's units and who explains them. Normalised: N(0, 1) when nothing is
// wrong.
struct Lane {
  std::vector<float> x;                    // at this tick; 0 when not judged
  std::vector<std::uint8_t> ok;            // at this tick: judged, and not explained by an incident
  std::vector<std::uint8_t> seen;          // at this tick: judged
  std::vector<float> h3, h12, h48;         // EWMAs of x, not normalised
  std::vector<float> focus;                // EWMA_18 before this tick, normalised
  std::vector<float> drift;                // smoothed deviation in sigma, level based
  std::vector<std::int64_t> out_since;     // the tick it left its band; 0 inside
  std::vector<std::uint32_t> owner;        // incident number that explains it, 0 none
  std::vector<std::int64_t> masked_until;  // tick; its owner's mask holds before it
  std::vector<anomaly::Evidence> up, down;

  std::size_t size() const { return x.size(); }
  void resize(std::size_t n) {
    x.resize(n), ok.resize(n), seen.resize(n), h3.resize(n), h12.resize(n), h48.resize(n),
        focus.resize(n);
    drift.resize(n), out_since.resize(n), owner.resize(n), masked_until.resize(n), up.resize(n),
        down.resize(n);
  }
  void shrink() {
    x.shrink_to_fit(), ok.shrink_to_fit(), seen.shrink_to_fit(), h3.shrink_to_fit();
    h12.shrink_to_fit(), h48.shrink_to_fit(), focus.shrink_to_fit(), drift.shrink_to_fit();
    out_since.shrink_to_fit(), owner.shrink_to_fit(), masked_until.shrink_to_fit();
    up.shrink_to_fit(), down.shrink_to_fit();
  }
  bool masked(std::size_t i, std::int64_t tick) const {
    return owner[i] != 0 && masked_until[i] > tick;
  }
  template <class A>
  void archive(A& a) {
    a(x, ok, seen, h3, h12, h48, focus, drift, out_since, owner, masked_until, up, down);
  }
};

struct SeriesState {
  anomaly::Baseline base;
  float covariance = 0.25F;  // with the channel's common factor
  float family_covariance = 0.25F;
  float family_variance = 0.25F;
  float long_run = 1;         // L: EWMA of the squared slow EWMA
  float slow = 0;             // EWMA_48 before the deflator
  std::uint32_t model = 0;    // local
  std::uint32_t channel = 0;  // local
  std::uint32_t global = 0;
  std::uint32_t counter = none;   // index into counters
  std::uint32_t learning = none;  // index into learning buffers
  std::uint32_t bits = 0;         // of the last raw value
  std::uint32_t repeats = 0;      // how often it repeated
  std::int64_t first_tick = 0;
  std::int64_t last_tick = 0;
  template <class A>
  void archive(A& a) {
    anomaly::Baseline& b = base;
    a(b.level, b.abs_residual, b.last_residual, b.moment0, b.moment1, b.abs_innovation, b.log_floor,
      b.tail_share, b.node, b.cell, b.node_count, b.cell_count, b.since_reset, b.total);
    a(covariance, family_covariance, family_variance, long_run, slow, model, channel, global,
      counter, learning, bits, repeats, first_tick, last_tick);
  }
};

struct CounterState {
  double last = 0;
  std::int64_t millis = 0;
  bool known = false;
  template <class A>
  void archive(A& a) {
    a(last, millis, known);
  }
};

// What decides whether a series is judged on logarithms: its first values, then a sample of its
// first week.
struct LearningBuffer {
  std::vector<float> values;
  std::vector<std::int64_t> ticks;
  std::uint64_t count = 0;
  bool positive = true;
  template <class A>
  void archive(A& a) {
    a(values, ticks, count, positive);
  }
};

struct FamilyCell {
  std::uint32_t family = 0;  // index into Scale::families
  std::vector<std::uint32_t> series;
  float factor = 0;
  float variance = 0.25F;
  float regime = 1;  // EWMA_12 of the MAD scale
  template <class A>
  void archive(A& a) {
    a(family, series, factor, variance, regime);
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

enum EventKind : std::uint32_t { flat_event, null_event, missing_event, event_kinds };

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
  std::uint32_t channel = 0;  // >= channels.size(): event kinds follow
  bool event = false;
  std::vector<std::uint32_t> units;  // in its lane
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
  std::vector<float> drift;         // the worst |deviation|, for the trend
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
  std::map<std::int64_t, std::vector<Pending>> open;

  std::vector<ScaleModel> models;
  std::vector<std::string> families;
  std::vector<SeriesState> series;
  std::vector<CounterState> counters;
  std::vector<LearningBuffer> learning;
  std::vector<std::uint32_t> learning_free;
  std::vector<Channel> channels;
  std::vector<Pool> pools;  // the first is that of all small metrics
  Lane metrics;
  Lane events;  // 3 * model + kind
  std::vector<Group> groups;
  // States of cells and histories of groups that the present topology has not; by group id, then
  // channel.
  std::map<std::string, KeptGroup> kept;

  std::deque<Column> recent;
  std::deque<HeatColumn> heat;

  // Scratch of one tick, by local series.
  std::vector<std::int64_t> stamp;
  std::vector<double> value;
  std::vector<std::int32_t> millis;
  std::vector<float> z;
  std::vector<std::uint8_t> has_z;
  std::vector<float> week_term;     // of this tick, for week_gain
  std::vector<std::uint8_t> flags;  // what a value was: null_flag | flat_flag | learned_flag
  std::size_t last_count = 0;       // samples of the last tick that had any
  std::int64_t cached_tick = std::numeric_limits<std::int64_t>::min();
  std::vector<Pending>* cached = nullptr;

  double ticks_per_day() const { return 86400e6 / static_cast<double>(step); }
  double ticks_per_week() const { return 7 * ticks_per_day(); }
  Timestamp end_of(std::int64_t tick) const { return {tick * step}; }
  bool started() const { return closed != std::numeric_limits<std::int64_t>::min(); }
  double single_share = 0;  // w of one model
  // Moves what the groups know into `kept`.
  void keep_groups(std::map<std::string, KeptGroup>& into) const;
  std::string cell_name(const Cell& cell) const;
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

struct Engine {
  Settings settings;
  Topology topology;
  std::vector<std::vector<std::uint32_t>> dependants;  // by dependency, indexes of topology.models

  std::vector<std::string> words;
  absl::flat_hash_map<std::string, std::uint32_t> word_index;
  std::vector<Alias> aliases;
  absl::flat_hash_map<Alias::Key, std::uint32_t> alias_index;
  std::vector<SeriesInfo> series;
  absl::flat_hash_map<std::int64_t, std::uint32_t> series_index;  // by SeriesId
  std::vector<ModelInfo> models;
  absl::flat_hash_map<std::string, std::uint32_t> model_index;
  absl::flat_hash_map<std::int64_t, std::vector<std::uint32_t>> sets;
  std::vector<std::uint32_t> unlearned;  // models whose interval is not known

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

  // join.cpp
  void join(Scale& scale, std::int64_t tick, std::vector<std::uint32_t> newcomers);
  void regroup(Scale& scale);

  // tick.cpp
  void close(std::uint32_t scale, std::int64_t tick, std::vector<Finding>& findings);
  void gather(Scale& scale, std::int64_t tick, std::vector<Pending>& pending);
  void read_baselines(Scale& scale, std::int64_t tick);
  void condition(Scale& scale, std::int64_t tick, Channel& channel);
  void place_weeks(Scale& scale, std::int64_t tick);
  void judge_events(Scale& scale, std::int64_t tick);

  // evidence.cpp
  void weigh(Scale& scale, std::int64_t tick);
  void remember(Scale& scale, std::int64_t tick);
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
