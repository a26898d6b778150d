#include "simulator/fleet.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <tuple>

#include "schema/series.hpp"
#include "simulator/catalogue.hpp"

namespace muster::simulator {
namespace {

// One purpose, one stream of numbers (random.hpp). Changing one changes every fleet.
enum Purpose : std::uint32_t {
  for_models = 'm',
  for_series = 's',
  for_noise = 'n',
  for_market = 'k',
  for_move = 'K',
  for_family = 'f',
  for_regime = 'r',
  for_reports = 'R',
  for_runs = 'u',
  for_deploy_time = 'd',
  for_deploy_shift = 'D',
};

// Noise starts anew, from a warm-up, at the first tick of each block: that is what lets a tick be
// asked for without all before it. The warm-ups are so long that the seam (phi^length) is below any
// rounding of the values: 0.6^64 = 6e-15, 0.97^512 = 2e-7.
constexpr Tick block_length = 1008;
constexpr Tick warm_up = 64;
constexpr Tick slow_warm_up = 512;
constexpr double market_phi = 0.97;
constexpr double family_phi = 0.9;

constexpr Tick run_slot = 36;  // at most one run of missing reports in as many ticks
constexpr Tick regime_slot = 432;
constexpr Tick move_slot = 1728;

double logit(double p) {
  return log(p / (1 - p));
}

// Where a region's day lies against UTC, as a share of a day.
double day_offset(std::string_view region) {
  constexpr std::pair<std::string_view, double> known[]{
      {"eu", 1.0 / 24}, {"us", -6.0 / 24}, {"apac", 8.0 / 24}, {"latam", -4.0 / 24}};
  for (const auto& [id, offset] : known) {
    if (id == region) return offset;
  }
  return 0;
}

}  // namespace

double Draws::tailed(std::uint32_t who, std::uint64_t when, double half_nu) const {
  const Words w = words(who, when);
  const double ln_u = log(unit(w[0], w[1]));
  const double angle = cos_turn(unit(w[2], w[3]));
  if (half_nu == 0) return std::sqrt(-2 * ln_u) * angle;
  const double t = std::sqrt(2 * half_nu * (exp(-ln_u / half_nu) - 1)) * angle;
  return std::clamp(t * std::sqrt((half_nu - 1) / half_nu), -25.0, 25.0);
}

FleetShape FleetShape::hostile() {
  FleetShape shape;
  shape.tails = 3;
  shape.family_load = 0.45;
  shape.regime = 2.2;
  shape.missing = 0.10;
  return shape;
}

Fleet::Fleet(FleetShape shape, std::uint64_t seed)
    : shape_(shape), seed_(seed), topology_(invent_topology(shape.models, seed)) {
  assert(shape.models > 0 && shape.tick > Duration::zero() && shape.tails > 2);
  dependants_ = dependants(topology_);
  deploy_slot_ = std::max<Tick>(2, shape_.deploy_every / shape_.tick);
  make_models();
  make_series();
  for (std::uint32_t m = 0; m < models_.size(); ++m) topology_.models[m].version = version(m, 0);
}

void Fleet::make_models() {
  std::map<std::string_view, std::uint32_t> families;
  Dice dice(seed_, for_models);
  for (const Model& model : topology_.models) {
    ModelState state;
    state.family = families.try_emplace(model.family, families.size()).first->second;
    state.every = std::max<Tick>(1, *model.interval / shape_.tick);
    state.first_version = 1 + dice.below(40);
    models_.push_back(state);
  }
  family_count_ = static_cast<std::uint32_t>(families.size());
  market_.resize(metrics.size());
  family_.resize(family_count_ * metrics.size());
  is_silent_.resize(models_.size());
}

void Fleet::make_series() {
  for (std::uint32_t m = 0; m < models_.size(); ++m) {
    const double day = day_offset(topology_.models[m].region);
    for (std::size_t k = 0; k < metrics.size(); ++k) {
      const Metric& metric = metrics[k];
      Dice dice(seed_, for_series, static_cast<std::uint32_t>(series_.size()));
      Series s;
      switch (metric.scale) {
        case Scale::positive:
          s.level = dice.between(log(metric.low), log(metric.high));
          break;
        case Scale::rate:
          s.level = dice.between(logit(metric.low), logit(metric.high));
          break;
        case Scale::real:
          s.level = dice.between(metric.low, metric.high);
          break;
      }
      s.sigma = metric.noise * dice.between(0.7, 1.4);
      s.phi = dice.between(0.1, 0.6);
      s.innovation = std::sqrt(1 - s.phi * s.phi);
      // The day's height is about three in the afternoon, where the model's users are.
      for (int h = 0; h < 2; ++h) {
        const double swing =
            metric.season * (h == 0 ? dice.between(0.5, 1.5) : dice.between(0, 0.4));
        const double peak = h == 0 ? 0.625 - day + dice.between(-0.12, 0.12) : dice.uniform();
        s.season_cos[h] = swing * cos_turn(peak);
        s.season_sin[h] = swing * sin_turn(peak);
      }
      s.weekend_swing = dice.between(0.92, 1);
      s.weekend_shift = std::min(1.0, metric.season) * dice.between(-0.4, 0.4);
      const double busier = dice.between(0, 0.25);
      s.noise_cos = busier * cos_turn(0.625 - day);
      s.noise_sin = busier * sin_turn(0.625 - day);
      s.market = shape_.market_load * dice.between(0.5, 1.5);
      s.family = shape_.family_load * dice.between(0.5, 1.5);
      series_.push_back(s);
    }
  }
  noise_.resize(series_.size());
  fault_shift_.resize(series_.size());
  is_null_.resize(series_.size());
  held_.resize(series_.size());
}

std::string Fleet::version(std::uint32_t model, std::uint32_t deploy) const {
  return "v" + std::to_string(models_[model].first_version + deploy);
}

// A model is deployed once in each slot, at a tick of its own, so deploy n + 1 is that of slot n.
Tick Fleet::deploy_tick(std::uint32_t model, std::int64_t slot) const {
  const double u = Draws(seed_, for_deploy_time).uniform(model, static_cast<std::uint64_t>(slot));
  return slot * deploy_slot_ +
         std::min<Tick>(deploy_slot_ - 1, static_cast<Tick>(u * static_cast<double>(deploy_slot_)));
}

double Fleet::deploy_shift(std::uint32_t model, std::size_t metric, std::uint32_t deploy) const {
  if (deploy == 0) return 0;
  const auto when = std::uint64_t{deploy} * (metrics.size() + 1);
  const Draws draws(seed_, for_deploy_shift);
  if (draws.uniform(model, when) <= 0.5) return 0;
  return shape_.deploy_shift * draws.normal(model, when + 1 + metric);
}

std::uint32_t Fleet::deploys_by(std::uint32_t model, Tick t) const {
  const std::int64_t slot = t / deploy_slot_;
  return static_cast<std::uint32_t>(slot + (deploy_tick(model, slot) <= t ? 1 : 0));
}

void Fleet::set_deploy(std::uint32_t model, Tick t) {
  ModelState& state = models_[model];
  state.deploy = deploys_by(model, t);
  state.next_deploy = deploy_tick(model, state.deploy);
  for (std::size_t k = 0; k < metrics.size(); ++k)
    state.shift[k] = deploy_shift(model, k, state.deploy);
}

std::vector<Event> Fleet::events(Tick t) const {
  std::vector<Event> found;
  for (std::uint32_t m = 0; m < models_.size(); ++m) {
    const std::int64_t slot = t / deploy_slot_;
    if (deploy_tick(m, slot) != t) continue;
    const std::string& id = topology_.models[m].id;
    found.push_back({time_of(t),
                     {},
                     "deploy",
                     "model:" + id,
                     id + " " + version(m, static_cast<std::uint32_t>(slot + 1)) + " deployed"});
  }
  return found;
}

bool Fleet::in_run_of_missing(std::uint32_t model, Tick t) const {
  constexpr double run_mean = 5;  // of 2 to 8 ticks
  const Words w = Draws(seed_, for_runs).words(model, static_cast<std::uint64_t>(t / run_slot));
  if (unit(w[0]) > shape_.missing / 2 * static_cast<double>(run_slot) / run_mean) return false;
  const Tick length = 2 + w[1] % 7;
  const Tick from = w[2] % static_cast<std::uint32_t>(run_slot - length);
  const Tick into = t % run_slot - from;
  return 0 <= into && into < length;
}

double Fleet::regime(std::uint32_t family, Tick t) const {
  if (shape_.regime == 1) return 1;
  const Words w =
      Draws(seed_, for_regime).words(family, static_cast<std::uint64_t>(t / regime_slot));
  if (unit(w[0]) > 0.35) return 1;
  const Tick length = 36 + w[1] % 108;
  const Tick from = w[2] % static_cast<std::uint32_t>(regime_slot - length);
  const Tick into = t % regime_slot - from;
  return 0 <= into && into < length ? shape_.regime : 1;
}

double Fleet::market_move(std::size_t metric, Tick t) const {
  const auto slot = static_cast<std::uint64_t>(t / move_slot);
  const Draws draws(seed_, for_move);
  const Words w = draws.words(0, slot);
  const Tick length = 36 + w[0] % 108;
  const Tick from = w[1] % static_cast<std::uint32_t>(move_slot - length);
  const Tick into = t % move_slot - from;
  if (into < 0 || into >= length) return 0;
  const double ramp = static_cast<double>(std::min({into + 1, length - into, Tick{6}})) / 6;
  const double share = 2 * draws.uniform(static_cast<std::uint32_t>(metric) + 1, slot) - 1;
  return shape_.market_move * ramp * share;
}

void Fleet::advance_shared(Tick t) {
  const auto move = [&](std::vector<double>& states, Purpose purpose, double phi) {
    const Draws draws(seed_, purpose);
    for (std::uint32_t i = 0; i < states.size(); ++i) {
      states[i] = phi * states[i] +
                  std::sqrt(1 - phi * phi) * draws.normal(i, static_cast<std::uint64_t>(t));
    }
  };
  move(market_, for_market, market_phi);
  move(family_, for_family, family_phi);
}

void Fleet::advance(Tick t) {
  const auto when = static_cast<std::uint64_t>(t);
  const Draws noise(seed_, for_noise);
  const double half_nu = shape_.tails / 2;
  for (std::uint32_t s = 0; s < series_.size(); ++s) {
    noise_[s] = series_[s].phi * noise_[s] + series_[s].innovation * noise.tailed(s, when, half_nu);
  }
  advance_shared(t);
  at_ = t;
}

void Fleet::restart(Tick block) {
  const Tick from = block * block_length;
  std::fill(market_.begin(), market_.end(), 0.0);
  std::fill(family_.begin(), family_.end(), 0.0);
  std::fill(noise_.begin(), noise_.end(), 0.0);
  for (Tick t = from - slow_warm_up; t < from - warm_up; ++t) advance_shared(t);
  for (Tick t = from - warm_up; t < from; ++t) advance(t);
}

Fleet::Hour Fleet::hour_of(Tick t) const {
  constexpr std::int64_t day_length = 86'400;
  const std::int64_t seconds = time_of(t).us / 1'000'000;
  const double day = static_cast<double>(seconds % day_length) / day_length;
  // 1970 began on a Thursday; Monday is 0.
  constexpr double dusk = 0.5 / 24;  // days before and after midnight
  const double of_week =
      static_cast<double>((seconds + 3 * day_length) % (7 * day_length)) / day_length;
  const auto passed = [&](double moment) {
    return std::clamp((of_week - moment + dusk) / (2 * dusk), 0.0, 1.0);
  };
  const double weekend = passed(5) - passed(7) + (1 - passed(0));
  return {cos_turn(day), sin_turn(day), cos_turn(2 * day), sin_turn(2 * day), weekend};
}

double Fleet::season(const Series& s, const Hour& hour) {
  const double swing = s.season_cos[0] * hour.cos1 + s.season_sin[0] * hour.sin1 +
                       s.season_cos[1] * hour.cos2 + s.season_sin[1] * hour.sin2;
  return swing * (1 - hour.weekend * (1 - s.weekend_swing)) + hour.weekend * s.weekend_shift;
}

double Fleet::value_at(std::uint32_t series, double latent) const {
  const Metric& metric = metrics[series % metrics.size()];
  double value = latent;
  if (metric.scale == Scale::positive) value = exp(latent);
  if (metric.scale == Scale::rate) value = 1 / (1 + exp(-latent));
  return std::floor(value * metric.steps + 0.5) / metric.steps;
}

void Fleet::apply_effects(Tick t) {
  if (touched_) {
    std::fill(fault_shift_.begin(), fault_shift_.end(), 0.0);
    std::fill(is_null_.begin(), is_null_.end(), 0);
    std::fill(held_.begin(), held_.end(), nullptr);
    std::fill(is_silent_.begin(), is_silent_.end(), 0);
    touched_ = false;
  }
  for (const Effect& effect : effects_) {
    if (!effect.active(t)) continue;
    touched_ = true;
    // A drift takes 70 % of its time to come, everything else comes and goes within three ticks.
    const double into = static_cast<double>(t - effect.fault.first + 1);
    const double length = static_cast<double>(effect.fault.last - effect.fault.first);
    const double rise =
        effect.fault.kind == FaultKind::slow_drift ? std::max(1.0, 0.7 * length) : 3;
    const double height = std::min(1.0, into / rise);
    for (const Effect::Shift& shift : effect.shifts)
      fault_shift_[shift.series] += height * shift.sigma;
    for (const std::uint32_t s : effect.nulls) is_null_[s] = 1;
    for (std::size_t i = 0; i < effect.flat.size(); ++i) held_[effect.flat[i]] = &effect.held[i];
    for (const std::uint32_t m : effect.silent) is_silent_[m] = 1;
  }
}

void Fleet::report(Tick t) {
  apply_effects(t);
  const auto when = static_cast<std::uint64_t>(t);
  const Draws reports(seed_, for_reports);
  const Hour hour = hour_of(t);

  double market_now[metrics.size()];
  for (std::uint32_t k = 0; k < metrics.size(); ++k) market_now[k] = market_[k] + market_move(k, t);
  std::vector<double> regimes(family_count_);
  for (std::uint32_t f = 0; f < family_count_; ++f) regimes[f] = regime(f, t);

  for (std::uint32_t m = 0; m < models_.size(); ++m) {
    ModelState& model = models_[m];
    if (t >= model.next_deploy) set_deploy(m, t);
    if (t % model.every != 0) continue;
    const Words w = reports.words(m, when);
    if (unit(w[0]) <= shape_.missing / 2 || in_run_of_missing(m, t)) continue;
    // An outage lets a report through now and then.
    if (is_silent_[m] && w[0] % 16 != 0) continue;

    Tick delay = 0;
    if (const double u = unit(w[2]); u <= shape_.late) {
      delay = u <= shape_.late / 20 ? 12 + w[3] % (late_max - 11) : 1 + w[3] % 2;
    }
    const std::size_t null_metric =
        unit(w[1]) <= shape_.null ? w[3] / 64 % metrics.size() : metrics.size();

    for (std::uint16_t k = 0; k < metrics.size(); ++k) {
      const auto index = static_cast<std::uint32_t>(m * metrics.size() + k);
      const Series& s = series_[index];
      Sample sample{m, k, model.deploy, time_of(t), 0};
      if (k == null_metric || (is_null_[index] && w[3] % 8 != 0)) {
        sample.value = null_value();
      } else if (held_[index]) {
        sample.value = *held_[index];
      } else {
        const double noise_scale =
            regimes[model.family] * (1 + s.noise_cos * hour.cos1 + s.noise_sin * hour.sin1);
        const double z = season(s, hour) + noise_[index] * noise_scale + s.market * market_now[k] +
                         s.family * family_[model.family * metrics.size() + k] + model.shift[k] +
                         fault_shift_[index];
        sample.value = value_at(index, s.level + s.sigma * z);
      }
      if (delay == 0) {
        arrived_.push_back(sample);
      } else {
        waiting_.push_back({t + delay, sample});
      }
    }
  }
}

std::span<const Sample> Fleet::tick(Tick t) {
  assert(t >= 0);
  if (t != at_ + 1 || at_ < 0) {
    waiting_.clear();
    // What comes late in t was made up to late_max ticks ago.
    const Tick from = std::max<Tick>(0, t - late_max);
    for (std::uint32_t m = 0; m < models_.size(); ++m) set_deploy(m, from);
    for (Tick u = from / block_length * block_length; u < t; ++u) {
      if (u % block_length == 0) restart(u / block_length);
      advance(u);
      if (u >= from) report(u);
    }
  }
  if (t % block_length == 0) restart(t / block_length);
  advance(t);

  arrived_.clear();
  const auto past =
      std::partition(waiting_.begin(), waiting_.end(), [&](const Waiting& w) { return w.due > t; });
  for (auto late = past; late != waiting_.end(); ++late) {
    if (late->due == t) arrived_.push_back(late->sample);
  }
  waiting_.erase(past, waiting_.end());
  // Oldest first; a stable order whatever was waiting beside them.
  std::sort(arrived_.begin(), arrived_.end(), [](const Sample& a, const Sample& b) {
    return std::tie(a.ts, a.model, a.metric) < std::tie(b.ts, b.model, b.metric);
  });
  report(t);
  return arrived_;
}

}  // namespace muster::simulator
