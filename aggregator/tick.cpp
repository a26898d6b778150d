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
float week_term(const Baseline& b, const anomaly::SeasonView& season, float y,
                const anomaly::Phase& phase) {
  constexpr std::uint8_t seen_min = 3;
  const anomaly::Phase other = anomaly::other_day(phase);
  const float s = anomaly::spread(b);
  if (b.since_reset < first_values || !(s > 0)) return 0;
  for (const std::uint8_t node : {phase.node0, phase.node1, other.node0, other.node1})
    if (season.node_count(node) < seen_min) return 0;
  const float here = anomaly::usual(b, season, phase);
  const float change = std::clamp((anomaly::usual(b, season, other) - here) / s, -4.0F, 4.0F);
  const float r = std::clamp((y - here) / s, -4.0F, 4.0F);
  return 2 * r * change - change * change;
}

// 95 % over 5 % above 1.5 of values that are all above zero: judged on logarithms, with this floor. 0: as it is.
float logarithm_floor(std::array<float, first_values> values) {
  std::sort(values.begin(), values.end());
  const float low = values[values.size() / 20];
  const float high = values[values.size() - 1 - values.size() / 20];
  return low > 0 && high / low > 1.5F ? low / 10 : 0;
}

void follow(Smooth& h, float x) {
  h.h3 += (x - h.h3) / 3;
  h.h12 += (x - h.h12) / 12;
  h.h48 += (x - h.h48) / 48;
}

std::uint8_t flags_of(std::size_t tail) {
  return static_cast<std::uint8_t>(Unit::reading_flag | (tail << Unit::tail_shift));
}

std::size_t tail_of(std::uint8_t flags) {
  return (flags >> Unit::tail_shift) & Unit::tail_mask;
}

}  // namespace

void Engine::close(std::uint32_t index, std::int64_t tick, std::vector<Finding>& findings) {
  Scale& scale = *scales[index];
  OpenTick pending;
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
  OpenTick counts;
  if (const auto found = scale.open_counts.find(tick); found != scale.open_counts.end()) {
    counts = std::move(found->second);
    scale.open_counts.erase(found);
  }
  const std::size_t count = pending.values.size();
  const bool newcomers = read_counts(scale, tick, counts, pending);
  const bool data = !pending.values.empty() || !counts.values.empty();
  counts = {};
  At at = gather(scale, tick, pending, newcomers);
  scale.closed = tick;
  if (data) {
    scale.data_tick = tick;
    scale.last_count = count;
  }
  now = std::max(now, scale.end_of(tick));
  ++counters.ticks;

  read_baselines(scale, tick, at, pending);
  if (pooling(scale, tick)) pour(scale);
  const auto condition_all = [&](std::size_t first, std::size_t last) {
    for (std::size_t c = first; c < last; ++c) condition(scale, tick, scale.channels[c]);
  };
  each(scale.channels.size(), 1, condition_all);
  if (pooling(scale, tick)) {
    const double decay = std::pow(0.97, 1 / scale.ticks_per_day());
    each(scale.pools.size(), 1, [&](std::size_t first, std::size_t last) {
      for (std::size_t p = first; p < last; ++p)
        for (anomaly::NullHistogram& h : scale.pools[p].classes) h.tick(decay);
    });
  }
  judge_events(scale, tick);
  weigh(scale, tick);
  examine(index, tick, findings);
  upkeep(index, tick, findings);
  remember(scale, tick, at, pending);
  scale.metrics.forget_masks(tick);
  scale.events.forget_masks(tick);
}

// From this tick on innovations are pooled, and so judged.
bool Engine::pooling(const Scale& scale, std::int64_t tick) const {
  const double days = std::min(settings.pooling_days, settings.warmup_days * 9 / 14);
  return tick >=
         scale.first_tick + static_cast<std::int64_t>(std::ceil(days * scale.ticks_per_day()));
}

Engine::At Engine::gather(Scale& scale, std::int64_t tick, OpenTick& pending, bool look) {
  if (look || unplaced > 0) {
    std::vector<std::uint32_t> newcomers;
    for (std::size_t r = 0; r < pending.runs.size(); ++r) {
      const OpenTick::Run& run = pending.runs[r];
      for (std::uint32_t i = run.first; i < pending.end_of(r); ++i) {
        const std::uint32_t s = aliases[run.alias + (i - run.first)].series;
        if (series[s].local == none) newcomers.push_back(s);
      }
    }
    if (!newcomers.empty()) join(scale, tick, std::move(newcomers));
  }

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
  At at(scale.series.size());
  std::uint32_t says = none;  // of the sample before
  std::uint32_t version = none;
  std::uint32_t local_model = none;
  for (std::size_t r = 0; r < pending.runs.size(); ++r) {
    const OpenTick::Run run = pending.runs[r];
    const std::uint32_t end = pending.end_of(r);
    says = none;
    for (std::uint32_t i = run.first; i < end; ++i) {
      const Alias& alias = aliases[run.alias + (i - run.first)];
      const SeriesInfo& info = series[alias.series];
      if (alias.said != says) {
        says = alias.said;
        version = said[says].version;
        local_model = models[said[says].model].local;
        ScaleModel& model = scale.models[local_model];
        model.seen_tick = tick;
        if (version != none) {
          if (version == model.version)
            model.version_seen_tick = tick;
          else
            changes.push_back({local_model, run.millis, version});
        }
      }
      if (at[info.local] == 0) {
        at[info.local] = i + 1;
      } else {
        extras.push_back({info.local, run.millis, i, pending.values[i]});
      }
    }
  }
  if (!extras.empty()) {
    // Several samples of a series in one tick: equal instants are replaced by the later arrival,
    // the rest is averaged in the order of time.
    std::vector<std::uint32_t> locals;
    for (const Extra& e : extras) locals.push_back(e.local);
    std::sort(locals.begin(), locals.end());
    locals.erase(std::unique(locals.begin(), locals.end()), locals.end());
    for (const std::uint32_t local : locals)
      extras.push_back({local, pending.millis_of(at[local] - 1), 0, pending.values[at[local] - 1]});
    std::sort(extras.begin(), extras.end(), [](const Extra& a, const Extra& b) {
      return std::tie(a.local, a.millis, a.order) < std::tie(b.local, b.millis, b.order);
    });
    for (std::size_t i = 0; i < extras.size();) {
      const std::uint32_t local = extras[i].local;
      double total = 0;
      int count = 0;
      bool null_seen = false;
      for (; i < extras.size() && extras[i].local == local; ++i) {
        if (i + 1 < extras.size() && extras[i + 1].local == local &&
            extras[i + 1].millis == extras[i].millis) {
          ++counters.duplicates;
          continue;
        }
        if (is_null(extras[i].value)) {
          null_seen = true;
          continue;
        }
        total += extras[i].value;
        ++count;
      }
      pending.values[at[local] - 1] =
          count == 0 && null_seen ? null_value() : total / std::max(count, 1);
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
    models[model.global].version = model.version;
    if (first) continue;
    model.version_tick = tick;
    for (const std::uint32_t s : model.series) anomaly::reset(scale.series[s].base);
  }
  return at;
}

void Engine::read_baselines(Scale& scale, std::int64_t tick, At& at, OpenTick& pending) {
  const std::int64_t seconds = scale.end_of(tick).us / 1'000'000;
  std::array<anomaly::Phase, 25> phases;
  for (int shift = -12; shift <= 12; ++shift)
    phases[static_cast<std::size_t>(shift + 12)] = anomaly::phase_of(seconds, shift);
  const bool border = anomaly::border_hour(seconds) != anomaly::BorderHour::none;
  std::vector<float> week_terms(border ? scale.series.size() : 0);
  const double per_day = scale.ticks_per_day();
  const auto joining = static_cast<std::int64_t>(std::ceil(settings.series_warmup_days * per_day));
  const std::uint32_t since_start = scale.since_start(tick);
  Lane& lane = scale.metrics;

  // What a series needs of its model, side by side.
  struct Beat {
    float step;
    std::int32_t week_shift;
    anomaly::Pace pace;
  };
  std::vector<Beat> beats(scale.models.size());
  for (std::size_t m = 0; m < beats.size(); ++m) {
    const ScaleModel& model = scale.models[m];
    beats[m] = {model.step, model.week_shift,
                anomaly::Pace::of(per_day / static_cast<double>(model.step))};
  }

  const auto read = [&](std::size_t first, std::size_t last) {
    // Values stand in the order of arrival: they are asked for before they are needed.
    constexpr std::size_t ahead = 24;
    for (std::size_t i = first; i < last; ++i) {
      if (i + ahead < last && at[i + ahead] != 0)
        __builtin_prefetch(&pending.values[at[i + ahead] - 1]);
      Unit& unit = lane.unit[i];
      unit.seen = unit.ok = unit.moved = 0;
      unit.x = 0;
      unit.flags &= Unit::masked_flag;
      if (at[i] == 0) continue;
      SeriesState& s = scale.series[i];
      const double v = pending.values[at[i] - 1];
      if (is_null(v)) {
        unit.flags |= Unit::null_flag;
        continue;
      }
      const std::uint32_t bits = folded(v);
      if (s.rate == 0) {
        if (s.base.total > 0 && bits == s.bits) {
          unit.flags |= Unit::flat_flag;
          ++s.repeats;
        } else {
          s.repeats = 0;
        }
      }
      s.bits = bits;
      const Beat& beat = beats[scale.model_of[i]];
      const float step = beat.step;
      const anomaly::Phase& phase = phases[static_cast<std::size_t>(beat.week_shift + 12)];
      const anomaly::SeasonRef season = scale.seasons.at(i);
      const auto gap_of = [&](std::uint32_t from, std::uint32_t to) {
        return std::max(1.0F, std::round(static_cast<float>(to - from) / step));
      };
      if (s.learning != none) {
        LearningBuffer& buffer = *scale.learning[s.learning];
        const auto f = static_cast<float>(v);
        if (v <= 0) {
          unit.flags |= Unit::learned_flag;  // no logarithm for it
        } else {
          if (buffer.count < first_values) {
            if (!buffer.ticks)
              buffer.ticks = std::make_unique<std::array<std::uint32_t, first_values>>();
            buffer.values[buffer.count] = f;
            (*buffer.ticks)[buffer.count] = since_start;
          } else {
            // Thinned so that the forty slots cover a week.
            const auto stride = static_cast<std::uint64_t>(std::max(
                1.0, 7 * per_day / static_cast<double>(step) / static_cast<double>(first_values)));
            if (buffer.count % stride == 0) buffer.values[buffer.count / stride % first_values] = f;
          }
          ++buffer.count;
          if (buffer.count == first_values) {
            const float floor = logarithm_floor(buffer.values);
            if (floor > 0) {
              // All that was learned so far, again on logarithms.
              s.base = {};
              anomaly::clear(season);
              s.base.log_floor = floor;
              const std::array<std::uint32_t, first_values>& ticks = *buffer.ticks;
              for (std::size_t k = 0; k + 1 < first_values; ++k) {
                const anomaly::Phase then = anomaly::phase_of(
                    scale.end_of(scale.tick_at(ticks[k])).us / 1'000'000, beat.week_shift);
                anomaly::observe(
                    s.base, season,
                    anomaly::transformed(s.base, static_cast<double>(buffer.values[k])), then,
                    beat.pace, k == 0 ? 1.0F : gap_of(ticks[k - 1], ticks[k]));
              }
              unit.flags |= Unit::learned_flag;
            }
            buffer.ticks.reset();
          } else if (static_cast<std::int64_t>(since_start - s.first_tick) >=
                         static_cast<std::int64_t>(7 * per_day) &&
                     buffer.count > first_values) {
            const float floor = logarithm_floor(buffer.values);
            if (floor > 0) anomaly::take_logarithms(s.base, season, floor);
            unit.flags |= Unit::learned_flag;
          }
        }
      }
      const float y = anomaly::transformed(s.base, v);
      if (border) week_terms[i] = week_term(s.base, season, y, phase);
      const anomaly::Reading reading =
          anomaly::observe(s.base, season, y, phase, beat.pace, gap_of(s.last_tick, since_start));
      s.last_tick = since_start;
      Deviation& deviation = lane.deviation[i];
      deviation.drift += (reading.deviation - deviation.drift) / 3;
      if (deviation.out_since == 0 && std::abs(deviation.drift) > 2)
        deviation.out_since = since_start + 1;
      if (deviation.out_since != 0 && std::abs(deviation.drift) < 1) deviation.out_since = 0;
      if (!reading.z || static_cast<std::int64_t>(since_start - s.first_tick) < joining) continue;
      unit.x = *reading.z;
      unit.flags |= flags_of(tail_class(s.base.tail_share));
    }
  };
  each(scale.series.size(), 512, read);
  forget_learned(scale);
  place_weeks(scale, tick, week_terms);
}

// Buffers that have served go.
void Engine::forget_learned(Scale& scale) {
  if (scale.learning_used == 0) return;
  for (std::size_t i = 0; i < scale.series.size(); ++i) {
    if ((scale.metrics.unit[i].flags & Unit::learned_flag) == 0) continue;
    std::uint32_t& learning = scale.series[i].learning;
    scale.learning[learning].reset();
    learning = none;
    --scale.learning_used;
  }
  // Holes are closed when they are the larger part.
  if (2 * scale.learning_used >= scale.learning.size()) return;
  std::vector<std::unique_ptr<LearningBuffer>> close;
  close.reserve(scale.learning_used);
  if (scale.learning_used > 0) {
    for (SeriesState& s : scale.series) {
      if (s.learning == none) continue;
      close.push_back(std::move(scale.learning[s.learning]));
      s.learning = static_cast<std::uint32_t>(close.size() - 1);
    }
  }
  scale.learning = std::move(close);
}

// What tails are usual, from the readings of this tick. The tables that scores are read from change at its end.
void Engine::pour(Scale& scale) {
  std::vector<std::vector<std::uint32_t>> channels_of(scale.pools.size());
  for (std::uint32_t c = 0; c < scale.channels.size(); ++c)
    channels_of[scale.channels[c].pool].push_back(c);
  std::vector<std::uint8_t> is_small(scale.pools.size());
  for (std::size_t p = 1; p < scale.pools.size(); ++p)
    is_small[p] = std::none_of(scale.pools[p].classes.begin(), scale.pools[p].classes.end(),
                               [](const auto& h) { return h.ready(); });
  const auto take = [&](Pool& into, const Channel& channel) {
    for (const std::uint32_t s : channel.series) {
      const Unit& unit = scale.metrics.unit[s];
      if ((unit.flags & Unit::reading_flag) == 0) continue;
      if (into.classes.empty()) into.classes.resize(3);
      into.classes[tail_of(unit.flags)].add(unit.x);
    }
  };
  each(scale.pools.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t p = first; p < last; ++p) {
      if (p == 0) {
        for (std::size_t q = 1; q < scale.pools.size(); ++q)
          if (is_small[q])
            for (const std::uint32_t c : channels_of[q]) take(scale.pools[0], scale.channels[c]);
      } else {
        for (const std::uint32_t c : channels_of[p]) take(scale.pools[p], scale.channels[c]);
      }
    }
  });
}

void Engine::condition(Scale& scale, std::int64_t tick, Channel& channel) {
  Lane& lane = scale.metrics;
  const auto per_day = static_cast<float>(scale.ticks_per_day());
  const float week = 1 / (7 * per_day);
  const float fortnight = 1 / (14 * per_day);

  std::vector<std::uint32_t> seen;
  seen.reserve(channel.series.size());
  std::size_t masked = 0;
  std::vector<float> values;
  values.reserve(channel.series.size());
  std::array<const anomaly::NullHistogram*, 3> nulls{};
  if (pooling(scale, tick)) {
    for (std::size_t k = 0; k < 3; ++k) {
      nulls[k] = null_of(scale.pools[channel.pool], k);
      if (nulls[k] == nullptr) nulls[k] = null_of(scale.pools.front(), k);
    }
  }
  for (const std::uint32_t s : channel.series) {
    Unit& unit = lane.unit[s];
    if ((unit.flags & Unit::reading_flag) == 0) continue;
    const anomaly::NullHistogram* null = nulls[tail_of(unit.flags)];
    if (null == nullptr) {
      unit.x = 0;
      continue;
    }
    unit.x = null->score(unit.x);
    unit.seen = 1;
    seen.push_back(s);
    unit.ok = lane.masked(s, tick) ? 0 : 1;
    masked += unit.ok ? 0 : 1;
  }
  channel.tau = 0;
  channel.tilt = anomaly::tilts(0);
  if (seen.empty()) return;
  const auto collect = [&](const std::vector<std::uint32_t>& from) {
    values.clear();
    for (const std::uint32_t s : from)
      if (lane.unit[s].seen && lane.unit[s].ok) values.push_back(lane.unit[s].x);
    return values.size();
  };

  const auto collect_family = [&](const FamilyCell& family) {
    values.clear();
    scale.each_of_family(channel, family, [&](std::uint32_t s) {
      if (lane.unit[s].seen && lane.unit[s].ok) values.push_back(lane.unit[s].x);
    });
    return values.size();
  };

  // The common factor: what everybody sees is not an incident of one dependency.
  if (collect(seen) >= factor_members_min) {
    const float f = anomaly::median(values);
    channel.factor = f;
    const float clipped = std::clamp(f, -1.5F, 1.5F);
    for (const std::uint32_t s : seen) {
      Loading& state = scale.loading[s];
      const float b =
          std::clamp(state.covariance / std::max(channel.factor_variance, 1e-3F), -1.0F, 3.0F);
      const float before = lane.unit[s].x;
      lane.unit[s].x =
          (before - b * f) / std::sqrt(std::max(0.2F, 1 - b * b * channel.factor_variance));
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
    for (const std::uint32_t s : seen) lane.unit[s].x /= spread;
  }

  for (FamilyCell& family : channel.families) {
    if (family.size < factor_members_min || collect_family(family) < 6) continue;
    const float f = anomaly::median(values);
    family.factor = f;
    const float clipped = std::clamp(f, -3.0F, 3.0F);
    scale.each_of_family(channel, family, [&](std::uint32_t s) {
      if (!lane.unit[s].seen) return;
      Loading& state = scale.loading[s];
      const float b =
          std::clamp(state.family_covariance / std::max(state.family_variance, 1e-3F), 0.0F, 2.0F);
      const float before = lane.unit[s].x;
      lane.unit[s].x =
          (before - b * f) / std::sqrt(std::clamp(1 - b * b * family.variance, 0.2F, 1.0F));
      state.family_covariance +=
          fortnight * (std::clamp(before, -4.0F, 4.0F) * clipped - state.family_covariance);
      state.family_variance += fortnight * (clipped * clipped - state.family_variance);
    });
    family.variance += fortnight * (clipped * clipped - family.variance);
    collect_family(family);
    const float spread = anomaly::mad_about_zero(values);
    float divisor = std::max(1.0F, spread);
    if (family.size >= regime_members_min) {
      divisor = std::max(divisor, family.regime);
      family.regime += (spread - family.regime) / 12;
    }
    scale.each_of_family(channel, family, [&](std::uint32_t s) {
      if (lane.unit[s].seen) lane.unit[s].x /= divisor;
    });
  }

  if (masked * 10 > seen.size()) {
    collect(seen);
    const float centre = anomaly::median(values);
    for (const std::uint32_t s : seen)
      if (lane.unit[s].ok) lane.unit[s].x -= centre;
  }

  // The long-run deflator, then all that follows a score over time.
  const float slow_scale = slow_gain / (2 - slow_gain);
  double long_run = 0;
  for (const std::uint32_t s : seen) {
    Loading& state = scale.loading[s];
    const float deflator = std::sqrt(std::max(1.0F, (state.long_run + channel.mean_long_run) / 2));
    state.slow += slow_gain * (lane.unit[s].x - state.slow);
    state.long_run +=
        fortnight * (std::min(9.0F, state.slow * state.slow / slow_scale) - state.long_run);
    long_run += static_cast<double>(state.long_run);
    const float x = std::clamp(lane.unit[s].x / deflator, -6.0F, 6.0F);
    lane.unit[s].x = x;
    follow(lane.smooth[s], x);
    lane.unit[s].moved = std::abs(normalised12(lane.smooth[s].h12)) > 1.96F ? 1 : 0;
    if (!lane.unit[s].ok) continue;
    const double weight = scale.single_share /
                          static_cast<double>(scale.models[scale.model_of[s]].series.size() + 2) /
                          8;
    anomaly::update(lane.bets[s].up, lane.bets[s].down, x, channel.tilt,
                    static_cast<float>(weight));
  }
  channel.mean_long_run = static_cast<float>(long_run / static_cast<double>(seen.size()));
}

// Whose week a model lives in is not said; the hours around the weekend tell. Decided each Tuesday.
void Engine::place_weeks(Scale& scale, std::int64_t tick, const std::vector<float>& week_terms) {
  constexpr float gain_min = 25;  // variances: far above what noise gives in a weekend's hours
  constexpr std::uint8_t node_memory = 24;
  const std::int64_t seconds = scale.end_of(tick).us / 1'000'000;
  const int border = anomaly::border_hour(seconds);
  if (border != anomaly::BorderHour::none) {
    each(scale.models.size(), 256, [&](std::size_t first, std::size_t last) {
      for (std::size_t m = first; m < last; ++m) {
        ScaleModel& model = scale.models[m];
        float term = 0;
        for (const std::uint32_t s : model.series) term += week_terms[s];
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
      for (const std::uint32_t s : model.series) {
        const anomaly::SeasonRef season = scale.seasons.at(s);
        for (std::size_t k = 0; k < anomaly::season_nodes; ++k)
          season.node_count(k) = std::min(season.node_count(k), node_memory);
      }
    } else {
      for (float& gain : model.week_gain) gain /= 2;
    }
  }
}

void Engine::judge_events(Scale& scale, std::int64_t tick) {
  const double per_day = scale.ticks_per_day();
  const bool pooled = pooling(scale, tick);
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
          const std::uint8_t flags = scale.metrics.unit[s].flags;
          m.null_now = m.null_now || (flags & Unit::null_flag) != 0;
          m.flat_now = m.flat_now || (flags & Unit::flat_flag) != 0;
        }
      }
      const auto silent = static_cast<double>(tick - m.last_tick);
      // A model that left for good is not missed for ever.
      const bool retired = silent > std::max(3 * per_day, 48.0 * static_cast<double>(m.step));
      const bool expected = anybody && !retired && silent + 0.5 >= static_cast<double>(m.step);
      const bool judged = pooled && tick - m.first_tick >= joining;
      const std::uint64_t seed =
          hash64(models[m.global].id, static_cast<std::uint64_t>(scale.end_of(tick).us));
      for (std::uint32_t kind = 0; kind < event_kinds; ++kind) {
        const std::size_t u = event_kinds * i + kind;
        Unit& unit = lane.unit[u];
        unit.seen = unit.ok = unit.moved = 0;
        unit.x = 0;
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
        Deviation& deviation = lane.deviation[u];
        deviation.drift += ((event ? 4.0F : 0.0F) - deviation.drift) / 3;
        if (deviation.out_since == 0 && deviation.drift > 2)
          deviation.out_since = scale.since_start(tick) + 1;
        if (deviation.out_since != 0 && deviation.drift < 1) deviation.out_since = 0;
        if (!judged) continue;
        unit.seen = 1;
        unit.ok = lane.masked(u, tick) ? 0 : 1;
        unit.x = x;
        follow(lane.smooth[u], x);
        unit.moved = normalised12(lane.smooth[u].h12) > 1.96F ? 1 : 0;
        if (!unit.ok || missing) continue;
        const double weight = scale.single_share / static_cast<double>(m.series.size() + 2) / 4;
        anomaly::update(lane.bets[u].up, x, tilt, static_cast<float>(weight));
      }
      if (present) m.last_tick = tick;
    }
  });
}

}  // namespace muster::aggregator
