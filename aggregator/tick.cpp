#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

#include "aggregator/engine.hpp"
#include "anomaly/robust.hpp"
#include "base/hash.hpp"

namespace muster::aggregator {
namespace {

using anomaly::Baseline;

constexpr std::size_t first_values = Baseline::first_samples;
constexpr std::size_t factor_members_min = 8;  // fewer, and their median is the signal itself
constexpr std::size_t regime_members_min = 10;
constexpr float slow_gain = 1.0F / 48;
constexpr float event_memory = 200;

std::uint32_t folded(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  return static_cast<std::uint32_t>(bits ^ (bits >> 32));
}

std::size_t tail_class(float share) {
  return share < 0.014F ? 0 : share < 0.02F ? 1 : 2;
}

// The null of a tail class, or the nearest one that has seen enough; nothing when none has.
const anomaly::NullHistogram* null_of(const Pool& pool, std::size_t tail) {
  if (pool.classes.empty()) return nullptr;
  const std::array<std::size_t, 3> order = {tail, tail == 0 ? std::size_t{1} : tail - 1,
                                            tail == 2 ? std::size_t{0} : std::size_t{2}};
  for (const std::size_t k : order)
    if (pool.classes[k].ready()) return &pool.classes[k];
  return nullptr;
}

// How much smaller the squared error of y would be under the other kind of day, in variances; 0 where that
// is not known yet.
float week_term(const Baseline& b, float y, const anomaly::Phase& phase) {
  constexpr std::uint8_t seen_min = 3;
  const anomaly::Phase other = anomaly::other_day(phase);
  const float s = anomaly::spread(b);
  if (b.since_reset < first_values || !(s > 0)) return 0;
  for (const std::uint8_t node : {phase.node0, phase.node1, other.node0, other.node1})
    if (b.node_count[node] < seen_min) return 0;
  const float here = anomaly::usual(b, phase);
  const float change = std::clamp((anomaly::usual(b, other) - here) / s, -4.0F, 4.0F);
  const float r = std::clamp((y - here) / s, -4.0F, 4.0F);
  return 2 * r * change - change * change;
}

// 95 % over 5 % above 1.5 and nothing at or below zero: judged on logarithms, with this floor. 0:
// as it is.
float logarithm_floor(std::vector<float> values, bool positive) {
  if (!positive || values.size() < first_values) return 0;
  std::sort(values.begin(), values.end());
  const float low = values[values.size() / 20];
  const float high = values[values.size() - 1 - values.size() / 20];
  return low > 0 && high / low > 1.5F ? low / 10 : 0;
}

}  // namespace

void Engine::close(std::uint32_t index, std::int64_t tick, std::vector<Finding>& findings) {
  Scale& scale = *scales[index];
  std::vector<Pending> pending;
  const auto open = scale.open.find(tick);
  if (open != scale.open.end()) {
    pending = std::move(open->second);
    scale.open.erase(open);
  }
  if (scale.cached_tick == tick) scale.cached = nullptr;
  if (!scale.started()) {
    scale.first_tick = tick;
    scale.data_tick = tick;
  }
  const bool data = !pending.empty();
  gather(scale, tick, pending);
  scale.closed = tick;
  if (data) {
    scale.data_tick = tick;
    scale.last_count = pending.size();
  }
  now = std::max(now, scale.end_of(tick));
  ++counters.ticks;

  read_baselines(scale, tick);
  each(scale.channels.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t c = first; c < last; ++c) condition(scale, tick, scale.channels[c]);
  });
  place_weeks(scale, tick);
  judge_events(scale, tick);
  weigh(scale, tick);
  examine(index, tick, findings);
  upkeep(index, tick, findings);
  remember(scale, tick);
}

void Engine::gather(Scale& scale, std::int64_t tick, std::vector<Pending>& pending) {
  std::vector<std::uint32_t> newcomers;
  for (const Pending& p : pending) {
    const std::uint32_t s = aliases[p.alias].series;
    if (series[s].local == none) newcomers.push_back(s);
  }
  if (!newcomers.empty()) join(scale, tick, std::move(newcomers));

  struct Extra {
    std::uint32_t local;
    std::int32_t millis;
    std::uint32_t order;
    double value;
  };
  std::vector<Extra> extras;
  struct Change {
    std::uint32_t model;
    std::int32_t millis;
    std::uint32_t version;
  };
  std::vector<Change> changes;
  for (std::uint32_t i = 0; i < pending.size(); ++i) {
    const Pending& p = pending[i];
    const Alias& alias = aliases[p.alias];
    const std::uint32_t local = series[alias.series].local;
    ScaleModel& model = scale.models[scale.series[local].model];
    model.seen_tick = tick;
    if (alias.version != none) {
      if (alias.version == model.version)
        model.version_seen_tick = tick;
      else
        changes.push_back({scale.series[local].model, p.millis, alias.version});
    }
    if (scale.stamp[local] != tick) {
      scale.stamp[local] = tick;
      scale.value[local] = p.value;
      scale.millis[local] = p.millis;
    } else {
      extras.push_back({local, p.millis, i, p.value});
    }
  }
  if (!extras.empty()) {
    // Several samples of a series in one tick: equal instants are replaced by the later arrival,
    // the rest is averaged in the order of time. Of a counter the newest is taken.
    std::vector<std::uint32_t> locals;
    for (const Extra& e : extras) locals.push_back(e.local);
    std::sort(locals.begin(), locals.end());
    locals.erase(std::unique(locals.begin(), locals.end()), locals.end());
    for (const std::uint32_t local : locals)
      extras.push_back({local, scale.millis[local], 0, scale.value[local]});
    std::sort(extras.begin(), extras.end(), [](const Extra& a, const Extra& b) {
      return std::tie(a.local, a.millis, a.order) < std::tie(b.local, b.millis, b.order);
    });
    for (std::size_t i = 0; i < extras.size();) {
      const std::uint32_t local = extras[i].local;
      double total = 0;
      double last = 0;
      int count = 0;
      bool null_seen = false;
      std::int32_t millis = 0;
      for (; i < extras.size() && extras[i].local == local; ++i) {
        if (i + 1 < extras.size() && extras[i + 1].local == local &&
            extras[i + 1].millis == extras[i].millis) {
          ++counters.duplicates;
          continue;
        }
        millis = extras[i].millis;
        if (is_null(extras[i].value)) {
          null_seen = true;
          continue;
        }
        last = extras[i].value;
        total += last;
        ++count;
      }
      scale.millis[local] = millis;
      scale.value[local] = count == 0 && null_seen               ? null_value()
                           : scale.series[local].counter != none ? last
                                                                 : total / std::max(count, 1);
    }
  }

  // Versions. While the old one is still seen, two run side by side and nothing has changed for
  // good.
  std::sort(changes.begin(), changes.end(), [&](const Change& a, const Change& b) {
    return std::tie(a.model, a.millis, words[a.version]) <
           std::tie(b.model, b.millis, words[b.version]);
  });
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (i + 1 < changes.size() && changes[i + 1].model == changes[i].model) continue;
    ScaleModel& model = scale.models[changes[i].model];
    const bool first = model.version == none;
    if (!first && model.version_seen_tick == tick) continue;
    model.previous_version = model.version;
    model.version = changes[i].version;
    model.version_seen_tick = tick;
    models[model.global].said.version = words[model.version];
    if (first) continue;
    model.version_tick = tick;
    for (const std::uint32_t s : model.series) anomaly::reset(scale.series[s].base);
  }
}

void Engine::read_baselines(Scale& scale, std::int64_t tick) {
  const std::int64_t seconds = scale.end_of(tick).us / 1'000'000;
  std::array<anomaly::Phase, 25> phases;
  for (int shift = -12; shift <= 12; ++shift)
    phases[static_cast<std::size_t>(shift + 12)] = anomaly::phase_of(seconds, shift);
  const bool border = anomaly::border_hour(seconds) != anomaly::BorderHour::none;
  const double per_day = scale.ticks_per_day();
  const auto pooling_from =
      scale.first_tick +
      static_cast<std::int64_t>(
          std::ceil(std::min(settings.pooling_days, settings.warmup_days * 9 / 14) * per_day));
  const bool pooling = tick >= pooling_from;
  const auto joining = static_cast<std::int64_t>(std::ceil(settings.series_warmup_days * per_day));
  Lane& lane = scale.metrics;

  each(scale.series.size(), 512, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      lane.seen[i] = lane.ok[i] = 0;
      lane.x[i] = 0;
      scale.has_z[i] = 0;
      scale.flags[i] = 0;
      scale.week_term[i] = 0;
      if (scale.stamp[i] != tick) continue;
      SeriesState& s = scale.series[i];
      double v = scale.value[i];
      if (is_null(v)) {
        scale.flags[i] = null_flag;
        continue;
      }
      const std::uint32_t bits = folded(v);
      if (s.counter == none) {
        if (s.base.total > 0 && bits == s.bits) {
          scale.flags[i] = flat_flag;
          ++s.repeats;
        } else {
          s.repeats = 0;
        }
      }
      s.bits = bits;
      if (s.counter != none) {
        CounterState& c = scale.counters[s.counter];
        const std::int64_t at = tick * (scale.step / 1000) + scale.millis[i];
        const bool rate = c.known && v >= c.last && at > c.millis;
        const double per_second =
            rate ? (v - c.last) * 1000 / static_cast<double>(at - c.millis) : 0;
        c = {.last = v, .millis = at, .known = true};
        if (!rate) {
          scale.stamp[i] = std::numeric_limits<std::int64_t>::min();
          continue;
        }
        v = per_second;
        scale.value[i] = v;
      }
      const float step = scale.models[s.model].step;
      const std::int32_t week_shift = scale.models[s.model].week_shift;
      const anomaly::Phase& phase = phases[static_cast<std::size_t>(week_shift + 12)];
      const anomaly::Pace pace = anomaly::Pace::of(per_day / static_cast<double>(step));
      const auto gap_of = [&](std::int64_t from, std::int64_t to) {
        return std::max(1.0F, std::round(static_cast<float>(to - from) / step));
      };
      if (s.learning != none) {
        LearningBuffer& buffer = scale.learning[s.learning];
        buffer.positive = buffer.positive && v > 0;
        if (buffer.values.empty()) {
          buffer.values.reserve(first_values);
          buffer.ticks.reserve(first_values);
        }
        const auto f = static_cast<float>(v);
        if (buffer.count < first_values) {
          buffer.values.push_back(f);
          buffer.ticks.push_back(tick);
        } else {
          // Thinned so that the forty slots cover a week.
          const auto stride = static_cast<std::uint64_t>(std::max(
              1.0, 7 * per_day / static_cast<double>(step) / static_cast<double>(first_values)));
          if (buffer.count % stride == 0) buffer.values[buffer.count / stride % first_values] = f;
        }
        ++buffer.count;
        if (buffer.count == first_values) {
          const float floor = logarithm_floor(buffer.values, buffer.positive);
          if (floor > 0) {
            // All that was learned so far, again on logarithms.
            s.base = {};
            s.base.log_floor = floor;
            for (std::size_t k = 0; k + 1 < buffer.values.size(); ++k) {
              const anomaly::Phase then =
                  anomaly::phase_of(scale.end_of(buffer.ticks[k]).us / 1'000'000, week_shift);
              anomaly::observe(
                  s.base, anomaly::transformed(s.base, static_cast<double>(buffer.values[k])), then,
                  pace, k == 0 ? 1.0F : gap_of(buffer.ticks[k - 1], buffer.ticks[k]));
            }
            scale.flags[i] |= learned_flag;
          }
          buffer.ticks = {};
        } else if (tick - s.first_tick >= static_cast<std::int64_t>(7 * per_day) &&
                   buffer.count > first_values) {
          const float floor = logarithm_floor(buffer.values, buffer.positive);
          if (floor > 0) anomaly::take_logarithms(s.base, floor);
          scale.flags[i] |= learned_flag;
        }
      }
      const float y = anomaly::transformed(s.base, v);
      if (border) scale.week_term[i] = week_term(s.base, y, phase);
      const anomaly::Reading reading =
          anomaly::observe(s.base, y, phase, pace, gap_of(s.last_tick, tick));
      s.last_tick = tick;
      lane.drift[i] += (reading.deviation - lane.drift[i]) / 3;
      if (lane.out_since[i] == 0 && std::abs(lane.drift[i]) > 2) lane.out_since[i] = tick;
      if (lane.out_since[i] != 0 && std::abs(lane.drift[i]) < 1) lane.out_since[i] = 0;
      if (!reading.z || tick - s.first_tick < joining) continue;
      scale.z[i] = *reading.z;
      scale.has_z[i] = 1;
      if (!pooling) continue;
      const std::size_t k = tail_class(s.base.tail_share);
      const Pool& own = scale.pools[scale.channels[s.channel].pool];
      const anomaly::NullHistogram* null = null_of(own, k);
      if (null == nullptr) null = null_of(scale.pools.front(), k);
      if (null == nullptr) continue;
      lane.x[i] = null->score(scale.z[i]);
      lane.seen[i] = 1;
    }
  });

  // Buffers that have served go back. A counter of buffers in use would save the loop; the loop is
  // short.
  if (scale.learning_free.size() < scale.learning.size()) {
    for (std::size_t i = 0; i < scale.series.size(); ++i) {
      if ((scale.flags[i] & learned_flag) == 0) continue;
      scale.learning[scale.series[i].learning] = {};
      scale.learning_free.push_back(scale.series[i].learning);
      scale.series[i].learning = none;
    }
  }
  if (!pooling) return;

  const double decay = std::pow(0.97, 1 / per_day);
  std::vector<std::vector<std::uint32_t>> channels_of(scale.pools.size());
  for (std::uint32_t c = 0; c < scale.channels.size(); ++c)
    channels_of[scale.channels[c].pool].push_back(c);
  const auto small = [&](std::size_t p) {
    return std::none_of(scale.pools[p].classes.begin(), scale.pools[p].classes.end(),
                        [](const auto& h) { return h.ready(); });
  };
  std::vector<std::uint8_t> is_small(scale.pools.size());
  for (std::size_t p = 1; p < scale.pools.size(); ++p) is_small[p] = small(p);
  const auto pour = [&](Pool& into, const Channel& channel) {
    for (const std::uint32_t s : channel.series) {
      if (!scale.has_z[s]) continue;
      if (into.classes.empty()) into.classes.resize(3);
      into.classes[tail_class(scale.series[s].base.tail_share)].add(scale.z[s]);
    }
  };
  each(scale.pools.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t p = first; p < last; ++p) {
      if (p == 0) {
        for (std::size_t q = 1; q < scale.pools.size(); ++q)
          if (is_small[q])
            for (const std::uint32_t c : channels_of[q]) pour(scale.pools[0], scale.channels[c]);
      } else {
        for (const std::uint32_t c : channels_of[p]) pour(scale.pools[p], scale.channels[c]);
      }
      for (anomaly::NullHistogram& h : scale.pools[p].classes) h.tick(decay);
    }
  });
}

void Engine::condition(Scale& scale, std::int64_t tick, Channel& channel) {
  Lane& lane = scale.metrics;
  const auto per_day = static_cast<float>(scale.ticks_per_day());
  const float week = 1 / (7 * per_day);
  const float fortnight = 1 / (14 * per_day);

  std::vector<std::uint32_t> seen;
  std::size_t masked = 0;
  std::vector<float> values;
  for (const std::uint32_t s : channel.series) {
    if (!lane.seen[s]) continue;
    seen.push_back(s);
    lane.ok[s] = lane.masked(s, tick) ? 0 : 1;
    masked += lane.ok[s] ? 0 : 1;
  }
  channel.tau = 0;
  channel.tilt = anomaly::tilts(0);
  if (seen.empty()) return;
  const auto collect = [&](const std::vector<std::uint32_t>& from) {
    values.clear();
    for (const std::uint32_t s : from)
      if (lane.seen[s] && lane.ok[s]) values.push_back(lane.x[s]);
    return values.size();
  };

  // The common factor: what everybody sees is not an incident of one dependency.
  if (collect(seen) >= factor_members_min) {
    const float f = anomaly::median(values);
    channel.factor = f;
    const float clipped = std::clamp(f, -1.5F, 1.5F);
    for (const std::uint32_t s : seen) {
      SeriesState& state = scale.series[s];
      const float b =
          std::clamp(state.covariance / std::max(channel.factor_variance, 1e-3F), -1.0F, 3.0F);
      const float before = lane.x[s];
      lane.x[s] = (before - b * f) / std::sqrt(std::max(0.2F, 1 - b * b * channel.factor_variance));
      state.covariance += week * (std::clamp(before, -3.0F, 3.0F) * clipped - state.covariance);
    }
    channel.factor_variance += week * (clipped * clipped - channel.factor_variance);
    // In a move of the whole market loadings are not exactly known: the tolerance widens with it.
    channel.slow_factor += (f - channel.slow_factor) / 12;
    channel.tau =
        std::max(0.0F, std::abs(channel.slow_factor) - 2.5F * std::sqrt(channel.slow_variance));
    channel.slow_variance +=
        fortnight * (channel.slow_factor * channel.slow_factor - channel.slow_variance);
    channel.tilt = anomaly::tilts(channel.tau);
    // The cross-section's own spread at this tick.
    collect(seen);
    const float spread = std::max(1.0F, anomaly::mad_about_zero(values));
    for (const std::uint32_t s : seen) lane.x[s] /= spread;
  }

  for (FamilyCell& family : channel.families) {
    if (family.series.size() < factor_members_min || collect(family.series) < 6) continue;
    const float f = anomaly::median(values);
    family.factor = f;
    const float clipped = std::clamp(f, -3.0F, 3.0F);
    for (const std::uint32_t s : family.series) {
      if (!lane.seen[s]) continue;
      SeriesState& state = scale.series[s];
      const float b =
          std::clamp(state.family_covariance / std::max(state.family_variance, 1e-3F), 0.0F, 2.0F);
      const float before = lane.x[s];
      lane.x[s] = (before - b * f) / std::sqrt(std::clamp(1 - b * b * family.variance, 0.2F, 1.0F));
      state.family_covariance +=
          fortnight * (std::clamp(before, -4.0F, 4.0F) * clipped - state.family_covariance);
      state.family_variance += fortnight * (clipped * clipped - state.family_variance);
    }
    family.variance += fortnight * (clipped * clipped - family.variance);
    collect(family.series);
    const float spread = anomaly::mad_about_zero(values);
    float divisor = std::max(1.0F, spread);
    if (family.series.size() >= regime_members_min) {
      divisor = std::max(divisor, family.regime);
      family.regime += (spread - family.regime) / 12;
    }
    for (const std::uint32_t s : family.series)
      if (lane.seen[s]) lane.x[s] /= divisor;
  }

  if (masked * 10 > seen.size()) {
    collect(seen);
    const float centre = anomaly::median(values);
    for (const std::uint32_t s : seen)
      if (lane.ok[s]) lane.x[s] -= centre;
  }

  // The long-run deflator, then all that follows a score over time.
  const float slow_scale = slow_gain / (2 - slow_gain);
  double long_run = 0;
  for (const std::uint32_t s : seen) {
    SeriesState& state = scale.series[s];
    const float deflator = std::sqrt(std::max(1.0F, (state.long_run + channel.mean_long_run) / 2));
    state.slow += slow_gain * (lane.x[s] - state.slow);
    state.long_run +=
        fortnight * (std::min(9.0F, state.slow * state.slow / slow_scale) - state.long_run);
    long_run += static_cast<double>(state.long_run);
    const float x = std::clamp(lane.x[s] / deflator, -6.0F, 6.0F);
    lane.x[s] = x;
    lane.h3[s] += (x - lane.h3[s]) / 3;
    lane.h12[s] += (x - lane.h12[s]) / 12;
    lane.h48[s] += (x - lane.h48[s]) / 48;
    if (!lane.ok[s]) continue;
    const double weight =
        scale.single_share / static_cast<double>(scale.models[state.model].series.size() + 2) / 8;
    anomaly::update(lane.up[s], lane.down[s], x, channel.tilt, static_cast<float>(weight));
  }
  channel.mean_long_run = static_cast<float>(long_run / static_cast<double>(seen.size()));
}

// Whose week a model lives in is not said; the hours around the weekend tell. Decided each Tuesday.
void Engine::place_weeks(Scale& scale, std::int64_t tick) {
  constexpr float gain_min = 25;  // variances: far above what noise gives in a weekend's hours
  constexpr std::uint8_t node_memory = 24;
  const std::int64_t seconds = scale.end_of(tick).us / 1'000'000;
  const int border = anomaly::border_hour(seconds);
  if (border != anomaly::BorderHour::none) {
    each(scale.models.size(), 256, [&](std::size_t first, std::size_t last) {
      for (std::size_t m = first; m < last; ++m) {
        ScaleModel& model = scale.models[m];
        float term = 0;
        for (const std::uint32_t s : model.series)
          if (scale.stamp[s] == tick) term += scale.week_term[s];
        model.week_gain[static_cast<std::size_t>(border)] += term;
      }
    });
  }
  constexpr std::int64_t week = 7 * 86400;
  constexpr std::int64_t first_tuesday = 5 * 86400;  // 1970-01-06
  const auto week_of = [](std::int64_t at) { return (at - first_tuesday + 1000 * week) / week; };
  if (week_of(seconds) == week_of(seconds - scale.step / 1'000'000)) return;
  for (ScaleModel& model : scale.models) {
    float best = gain_min;
    int best_shift = model.week_shift;
    for (int shift = -12; shift <= 12; ++shift) {
      float gain = 0;
      for (int b = 0; b < anomaly::BorderHour::count; ++b)
        if (anomaly::border_is_weekend(b, shift) != anomaly::border_is_weekend(b, model.week_shift))
          gain += model.week_gain[static_cast<std::size_t>(b)];
      if (gain > best) {
        best = gain;
        best_shift = shift;
      }
    }
    if (best_shift != model.week_shift) {
      model.week_shift = best_shift;
      model.week_gain = {};
      // What the season learned from the wrong kind of day is soon replaced.
      for (const std::uint32_t s : model.series)
        for (std::uint8_t& count : scale.series[s].base.node_count)
          count = std::min(count, node_memory);
    } else {
      for (float& gain : model.week_gain) gain /= 2;
    }
  }
}

void Engine::judge_events(Scale& scale, std::int64_t tick) {
  const double per_day = scale.ticks_per_day();
  const auto pooling_from =
      scale.first_tick +
      static_cast<std::int64_t>(
          std::ceil(std::min(settings.pooling_days, settings.warmup_days * 9 / 14) * per_day));
  const auto joining = static_cast<std::int64_t>(std::ceil(settings.series_warmup_days * per_day));
  const std::array<float, 4> tilt = anomaly::tilts(0);
  const bool anybody = std::any_of(scale.models.begin(), scale.models.end(),
                                   [&](const ScaleModel& m) { return m.seen_tick == tick; });
  Lane& lane = scale.events;
  each(scale.models.size(), 256, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      ScaleModel& m = scale.models[i];
      const bool present = m.seen_tick == tick;
      m.null_now = m.flat_now = false;
      if (present) {
        for (const std::uint32_t s : m.series) {
          if (scale.stamp[s] != tick) continue;
          m.null_now = m.null_now || (scale.flags[s] & null_flag) != 0;
          m.flat_now = m.flat_now || (scale.flags[s] & flat_flag) != 0;
        }
      }
      const auto silent = static_cast<double>(tick - m.last_tick);
      // A model that left for good is not missed for ever.
      const bool retired = silent > std::max(3 * per_day, 48.0 * static_cast<double>(m.step));
      const bool expected = anybody && !retired && silent + 0.5 >= static_cast<double>(m.step);
      const bool judged = tick >= pooling_from && tick - m.first_tick >= joining;
      const std::uint64_t seed =
          hash64(models[m.global].id, static_cast<std::uint64_t>(scale.end_of(tick).us));
      for (std::uint32_t kind = 0; kind < event_kinds; ++kind) {
        const std::size_t u = event_kinds * i + kind;
        lane.seen[u] = lane.ok[u] = 0;
        lane.x[u] = 0;
        const bool missing = kind == missing_event;
        if (missing ? !(expected || present) : !present) continue;
        const bool event = missing ? !present : kind == null_event ? m.null_now : m.flat_now;
        const anomaly::EventPrior prior =
            missing ? anomaly::EventPrior{.factor = 1.1F, .floor = 0.01F} : anomaly::EventPrior{};
        anomaly::EventChain& chain = m.chain[kind];
        const float p = anomaly::event_probability(chain, prior);
        const float x =
            anomaly::randomised_score(event, p, anomaly::uniform(hash64("event", seed + kind)));
        anomaly::learn(chain, event, event_memory);
        lane.drift[u] += ((event ? 4.0F : 0.0F) - lane.drift[u]) / 3;
        if (lane.out_since[u] == 0 && lane.drift[u] > 2) lane.out_since[u] = tick;
        if (lane.out_since[u] != 0 && lane.drift[u] < 1) lane.out_since[u] = 0;
        if (!judged) continue;
        lane.seen[u] = 1;
        lane.ok[u] = lane.masked(u, tick) ? 0 : 1;
        lane.x[u] = x;
        lane.h3[u] += (x - lane.h3[u]) / 3;
        lane.h12[u] += (x - lane.h12[u]) / 12;
        lane.h48[u] += (x - lane.h48[u]) / 48;
        if (!lane.ok[u] || missing) continue;
        const double weight = scale.single_share / static_cast<double>(m.series.size() + 2) / 4;
        anomaly::update(lane.up[u], x, tilt, static_cast<float>(weight));
      }
      if (present) m.last_tick = tick;
    }
  });
}

}  // namespace muster::aggregator
