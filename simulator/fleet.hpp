#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schema/event.hpp"
#include "schema/time.hpp"
#include "schema/topology.hpp"
#include "simulator/fault.hpp"
#include "simulator/random.hpp"

namespace muster::simulator {

// Of what scale a metric's numbers are: strictly positive and skewed, in (0, 1), or any real
// number.
enum class Scale : std::uint8_t { positive, rate, real };

struct Metric {
  std::string_view id;
  Scale scale;
  double low, high;  // typical values of a model lie between
  double noise;      // standard deviation on the scale's own axis: ln x, logit x or x
  double season;     // daily swing, in standard deviations of the noise
  double steps;      // in a unit: senders round
};
inline constexpr std::array metrics{
    Metric{"psi_drift", Scale::positive, 0.02, 0.08, 0.22, 0.8, 1e7},
    Metric{"null_rate", Scale::rate, 0.002, 0.03, 0.18, 0.6, 1e8},
    Metric{"latency_p95_ms", Scale::positive, 20, 240, 0.10, 2.2, 1e4},
    Metric{"prediction_mean", Scale::real, -1.5, 2.5, 0.12, 1.5, 1e6},
    Metric{"error_rate", Scale::rate, 0.004, 0.06, 0.15, 1.0, 1e8},
    Metric{"requests_per_second", Scale::positive, 3, 900, 0.08, 3.0, 1e4},
};

// Ticks; no report comes later than that.
inline constexpr Tick late_max = 36;

// How the fleet behaves when nothing is wrong with it.
struct FleetShape {
  std::uint32_t models = 200;
  Timestamp start = from_seconds(1'740'960'000);  // tick 0: Monday 3 March 2025, 00:00 UTC
  Duration tick = std::chrono::minutes(10);
  double tails = 5;  // degrees of freedom of the noise: Student's t, as real metrics have it
  double market_load = 0.25;  // what everybody shares, in sigma
  double market_move = 3;  // a move of the whole market, about every 12 days, in units of the load
  double family_load = 0.15;  // what a family shares, in sigma
  double regime = 1;          // now and then a family's noise grows by this factor for some hours
  double missing = 0.015;     // share of reports that never come, half of them in runs
  double null = 0.003;        // share of reports with one value that could not be computed
  double late =
      0.01;  // share of reports that come a tick or two late; a twentieth of it comes too late
  Duration deploy_every =
      std::chrono::days(14);   // each model; half of the deploys change its levels
  double deploy_shift = 1;     // standard deviation of that change, in sigma
  bool version_labels = true;  // without them a deploy cannot be told from a fault

  // Heavier tails, families that move together, unquiet nights, a tenth of the reports missing.
  static FleetShape hostile();
};

// One number as it leaves a model. `ts` is event time.
struct Sample {
  std::uint32_t model = 0;   // index in topology().models
  std::uint16_t metric = 0;  // index in metrics
  std::uint32_t deploy = 0;  // the model's version is version(model, deploy)
  Timestamp ts;
  double value = 0;  // null_value(): could not be computed
};

// An invented fleet. What it reports at a tick is a function of (shape, seed, faults, tick) to the
// last bit, on every machine; ticks may be asked in any order, and in ascending order they are
// cheap (about 0.1 us a sample).
//
// A value, on its scale's axis, is
//
//   level + sigma * (season(hour, weekday) + AR(1) noise + market + family + deploy + faults)
class Fleet {
 public:
  Fleet(FleetShape shape, std::uint64_t seed);

  const FleetShape& shape() const { return shape_; }
  std::uint64_t seed() const { return seed_; }
  const Topology& topology() const { return topology_; }
  Timestamp time_of(Tick t) const { return shape_.start + t * shape_.tick; }
  std::string version(std::uint32_t model, std::uint32_t deploy) const;

  // What arrives in tick t >= 0, late reports first. Valid until the next call.
  std::span<const Sample> tick(Tick t);
  // The deploys of tick t.
  std::vector<Event> events(Tick t) const;

  // Lets something go wrong; before its first tick is asked for, or what was asked before changes
  // with it.
  Result<Truth> inject(const Fault& fault);
  const std::vector<Truth>& truth() const { return truth_; }
  // Drops faults that ended before `t`; ticks from then on are not changed by it. For fleets that never end.
  void forget_before(Tick t);
  // The models that use a dependency, or the model itself; as indexes, sorted. Empty when the id is
  // unknown.
  std::vector<std::uint32_t> users(std::string_view cause) const;

 private:
  struct Series {
    double level, sigma, phi, innovation;  // innovation: sqrt(1 - phi^2)
    double season_cos[2], season_sin[2];   // daily and half-daily
    double weekend_swing, weekend_shift;
    double noise_cos, noise_sin;  // more noise at the height of the day
    double market, family;
  };
  struct ModelState {
    std::uint32_t family = 0;
    std::uint32_t region = 0;
    Tick every = 1;
    std::uint32_t first_version = 1;
    std::uint32_t deploy = 0;  // deploys so far
    Tick next_deploy = 0;
    double shift[metrics.size()] = {};  // what the last one changed
  };
  // A fault, worked out.
  struct Effect {
    Fault fault;
    struct Shift {
      std::uint32_t series;
      double sigma;
    };
    std::vector<Shift> shifts;
    std::vector<std::uint32_t> nulls;   // series
    std::vector<std::uint32_t> flat;    // series
    std::vector<double> held;           // and the value each repeats
    std::vector<std::uint32_t> silent;  // models
    bool active(Tick t) const { return fault.first <= t && t < fault.last; }
  };
  struct Waiting {
    Tick due;
    Sample sample;
  };

  void make_models();
  void make_series();
  void restart(Tick block);     // the states as they stand before the first tick of a block
  void advance(Tick t);         // the states of t from those of t - 1
  void advance_shared(Tick t);  // those of market and families alone
  void report(Tick t);          // what the models say about t: into arrived_, or waiting_ when late
  void apply_effects(Tick t);
  void set_deploy(std::uint32_t model, Tick t);
  std::uint32_t deploys_by(std::uint32_t model, Tick t) const;
  Tick deploy_tick(std::uint32_t model, std::int64_t slot) const;
  double deploy_shift(std::uint32_t model, std::size_t metric, std::uint32_t deploy) const;
  bool in_run_of_missing(std::uint32_t model, Tick t) const;
  double regime(std::uint32_t family, Tick t) const;
  double market_move(std::size_t metric, Tick t) const;
  // Where a tick lies in the day and the week.
  struct Hour {
    double cos1, sin1, cos2, sin2;  // of the day's first and second wave, UTC
    double weekend;                 // 0 to 1
  };
  Hour hour_of(Tick t) const;
  static double season(const Series& series, const Hour& hour);
  double value_at(std::uint32_t series, double latent) const;

  FleetShape shape_;
  std::uint64_t seed_;
  Topology topology_;
  std::vector<std::vector<std::uint32_t>> dependants_;
  std::vector<Series> series_;  // model-major: model * metrics.size() + metric
  std::vector<ModelState> models_;
  std::uint32_t family_count_ = 0;
  Tick deploy_slot_ = 0;  // ticks between two deploys of a model

  Tick at_ = -1;  // the tick the states below stand at
  std::vector<double> noise_;
  std::vector<double> market_;  // by metric
  std::vector<double> family_;  // family-major, by metric
  std::vector<Waiting> waiting_;
  std::vector<Sample> arrived_;

  std::vector<Effect> effects_;
  std::vector<Truth> truth_;  // of effects_, in their order
  std::uint32_t last_fault_ = 0;
  bool touched_ = false;                 // whether the four below hold anything
  std::vector<double> fault_shift_;      // by series
  std::vector<std::uint8_t> is_null_;    // by series
  std::vector<const double*> held_;      // by series
  std::vector<std::uint8_t> is_silent_;  // by model
};

// A plan of faults over a stretch of time, as a real fleet would have them.
struct FaultPlan {
  Tick first = 0;
  Tick last = 0;
  double per_week = 7;
  double together = 0.15;  // share of the faults during which a second one starts
  double strength_low = 0.5;
  double strength_high = 1.5;
};
std::vector<Fault> plan_faults(const Fleet& fleet, const FaultPlan& plan);

// One fault of the kind, on a cause drawn by `dice` that has enough users for the kind.
Fault invent_fault(const Fleet& fleet, FaultKind kind, Dice& dice);

}  // namespace muster::simulator
