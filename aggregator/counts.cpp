#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <numeric>

#include "aggregator/engine.hpp"
#include "anomaly/histogram.hpp"

// Counts are read before a tick is gathered. A counter becomes a rate: the increase between two samples, over the
// time between them. A histogram's buckets become quantiles, and how far its shares have moved. From there on they
// are samples like any other.
namespace muster::aggregator {
namespace {

// One observation beyond the 99th percentile on average; fewer say nothing of it.
constexpr double observations_min = 100;
// How many ticks a slow histogram may take to come to them; then it begins anew.
constexpr std::int64_t hold_ticks_max = 60;
// Readings before shares are called usual.
constexpr std::uint32_t shares_min = 60;
// Days over which usual shares are forgotten, so that an incident does not soon become usual.
constexpr double shares_days = 14;
constexpr std::array<std::string_view, Histogram::gives> suffixes = {":p50", ":p99", ":psi"};

constexpr double begins_anew = std::numeric_limits<double>::quiet_NaN();

// What was counted between two readings. A fall is a reset: it counted from zero again.
double increase(double from, double to) {
  return to >= from ? to - from : to;
}

// name_bucket{a="b",le="0.1"} without its ending and its bound; nothing when it has none.
struct BucketName {
  std::string family;
  double bound = 0;
};
std::optional<BucketName> read_bucket_name(std::string_view metric) {
  constexpr std::string_view ending = "_bucket";
  const std::size_t brace = metric.find('{');
  if (brace == metric.npos || metric.back() != '}') return {};
  std::string_view name = metric.substr(0, brace);
  if (name.ends_with(ending)) name.remove_suffix(ending.size());
  std::string kept;
  std::optional<double> bound;
  std::string_view rest = metric.substr(brace + 1, metric.size() - brace - 2);
  while (!rest.empty()) {
    // label="value", with backslashes before quotes and themselves.
    const std::size_t value = rest.find("=\"");
    if (value == rest.npos) return {};
    std::size_t end = value + 2;
    while (end < rest.size() && rest[end] != '"') end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size()) return {};
    if (rest.substr(0, value) == "le") {
      std::string_view number = rest.substr(value + 2, end - value - 2);
      if (number.starts_with('+')) number.remove_prefix(1);
      double parsed = 0;
      const auto [stop, fault] =
          std::from_chars(number.data(), number.data() + number.size(), parsed);
      if (fault != std::errc() || stop != number.data() + number.size() || std::isnan(parsed)) return {};
      bound = parsed;
    } else {
      kept += (kept.empty() ? "" : ",");
      kept += rest.substr(0, end + 1);
    }
    rest.remove_prefix(end + 1);
    if (rest.starts_with(',')) rest.remove_prefix(1);
  }
  if (!bound) return {};
  BucketName out{std::string(name), *bound};
  if (!kept.empty()) out.family += '{' + kept + '}';
  return out;
}

// The name with a suffix before its labels.
std::string with_suffix(const std::string& family, std::string_view suffix) {
  const std::size_t brace = std::min(family.find('{'), family.size());
  std::string out = family.substr(0, brace);
  out += suffix;
  out += family.substr(brace);
  return out;
}

}  // namespace

std::uint32_t Engine::bucket_of(std::uint32_t model, std::string_view metric, bool increases) {
  const auto read = read_bucket_name(metric);
  if (!read) return none;
  const std::uint32_t family = word(read->family);
  const auto [at, fresh] = histogram_index.try_emplace(
      Pair{model, family}, static_cast<std::uint32_t>(histograms.size()));
  if (fresh) {
    Histogram& made = histograms.emplace_back();
    made.model = model;
    made.metric = family;
    made.increases = increases;
  }
  Histogram& histogram = histograms[at->second];
  const auto place = std::lower_bound(
      histogram.buckets.begin(), histogram.buckets.end(), read->bound,
      [&](std::uint32_t b, double bound) { return buckets[b].bound < bound; });
  if (place != histogram.buckets.end() && buckets[*place].bound == read->bound) return *place;
  if (buckets.size() >= settings.buckets_max) return none;
  const auto index = static_cast<std::uint32_t>(buckets.size());
  histogram.buckets.insert(place, index);
  Bucket& bucket = buckets.emplace_back();
  bucket.bound = read->bound;
  bucket.histogram = at->second;
  return index;
}

bool Engine::read_counts(Scale& scale, std::int64_t tick, OpenTick& open_tick, OpenTick& pending) {
  if (open_tick.values.empty()) return false;
  const std::int64_t end_ms = tick * (scale.step / 1000);
  bool newcomers = false;

  // In the order of time, whatever the order of arrival; of equal instants the one that came later counts.
  std::vector<std::uint32_t> order(open_tick.runs.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::tie(open_tick.runs[a].millis, b) < std::tie(open_tick.runs[b].millis, a);
  });

  // The alias each counter and each histogram last came under, and when its bucket did.
  std::vector<std::uint32_t> counter_alias(counter_states.size(), none);
  std::vector<std::uint32_t> touched_counters;
  constexpr std::int32_t never = std::numeric_limits<std::int32_t>::min();
  std::vector<std::int32_t> bucket_millis(buckets.size(), never);
  struct Touched {
    std::uint32_t says = none;
    std::int32_t millis = never;
  };
  std::vector<Touched> touched(histograms.size());
  std::vector<std::uint32_t> touched_histograms;

  const auto tell_rate = [&](std::uint32_t alias, CounterState& c) {
    if (c.newest <= c.from || std::isnan(c.last)) return;
    const double rate = c.held * 1000 / static_cast<double>(c.newest - c.from);
    newcomers = newcomers || series[aliases[alias].series].local == none;
    pending.add(alias, static_cast<std::int32_t>(c.newest - end_ms), rate);
    c.from = c.newest;
    c.held = 0;
  };

  for (const std::uint32_t r : order) {
    const OpenTick::Run run = open_tick.runs[r];
    const std::int64_t at = end_ms + run.millis;
    for (std::uint32_t i = run.first; i < open_tick.end_of(r); ++i) {
      const std::uint32_t alias = run.alias + (i - run.first);
      const Alias& its = aliases[alias];
      const double v = open_tick.values[i];
      if (its.are == Alias::bucket_counts) {
        Bucket& bucket = buckets[its.series];
        if (bucket_millis[its.series] == run.millis) {
          ++counters.duplicates;
          continue;
        }
        bucket_millis[its.series] = run.millis;
        Histogram& histogram = histograms[bucket.histogram];
        Touched& now_touched = touched[bucket.histogram];
        if (now_touched.says == none) touched_histograms.push_back(bucket.histogram);
        now_touched = {its.said, std::max(now_touched.millis, run.millis)};
        if (is_stale(v) || is_null(v)) {
          bucket.last = begins_anew;
        } else if (histogram.increases) {
          bucket.held += v;
        } else {
          if (!std::isnan(bucket.last)) bucket.held += increase(bucket.last, v);
          bucket.last = v;
        }
        continue;
      }
      const SeriesInfo& info = series[its.series];
      CounterState& c = counter_states[info.counter];
      if (c.newest == at) {
        ++counters.duplicates;
        continue;
      }
      if (counter_alias[info.counter] == none) touched_counters.push_back(info.counter);
      counter_alias[info.counter] = alias;
      if (is_null(v)) {
        newcomers = newcomers || info.local == none;
        pending.add(alias, run.millis, v);
        continue;
      }
      if (is_stale(v)) {
        tell_rate(alias, c);
        c.last = begins_anew;
        continue;
      }
      const bool began = std::isnan(c.last);
      if (info.kind == static_cast<std::uint32_t>(Kind::delta)) {
        // The first is over the time that its model takes from one report to the next.
        if (began) c.from = at - std::max<std::int64_t>(1, models[info.model].interval / 1000);
        c.held = began ? v : c.held + v;
      } else if (began) {
        c.from = at;
        c.held = 0;
      } else {
        c.held += increase(c.last, v);
      }
      c.last = v;
      c.newest = at;
    }
  }
  for (const std::uint32_t c : touched_counters) tell_rate(counter_alias[c], counter_states[c]);
  for (const std::uint32_t h : touched_histograms)
    read_histogram(scale, tick, h, touched[h].says, touched[h].millis, pending, newcomers);
  return newcomers;
}

void Engine::read_histogram(Scale& scale, std::int64_t tick, std::uint32_t index, std::uint32_t says,
                            std::int32_t millis, OpenTick& pending, bool& newcomers) {
  Histogram& histogram = histograms[index];
  const std::size_t k = histogram.buckets.size();
  std::vector<double> bounds(k), cumulative(k);
  for (std::size_t i = 0; i < k; ++i) {
    bounds[i] = buckets[histogram.buckets[i]].bound;
    cumulative[i] = buckets[histogram.buckets[i]].held;
  }
  if (k < 2 || !std::isinf(bounds.back())) return;
  const double n = *std::max_element(cumulative.begin(), cumulative.end());
  if (histogram.held_since == std::numeric_limits<std::int64_t>::min()) histogram.held_since = tick;
  const auto forget = [&] {
    for (const std::uint32_t b : histogram.buckets) buckets[b].held = 0;
    histogram.held_since = std::numeric_limits<std::int64_t>::min();
  };
  if (n < observations_min) {
    if (tick - histogram.held_since >= hold_ticks_max) forget();
    return;
  }

  std::array<std::optional<double>, Histogram::gives> found;
  found[Histogram::p50] = anomaly::histogram_quantile(0.5, bounds, cumulative);
  found[Histogram::p99] = anomaly::histogram_quantile(0.99, bounds, cumulative);
  std::vector<double> counts(k), usual(k);
  double below = 0;
  for (std::size_t i = 0; i < k; ++i) {
    const double here = std::max(below, cumulative[i]);
    counts[i] = here - below;
    below = here;
    usual[i] = static_cast<double>(buckets[histogram.buckets[i]].usual);
  }
  if (histogram.learned >= shares_min) found[Histogram::psi] = anomaly::stability_index(counts, usual);
  // A plain mean at first, then a slow memory.
  ++histogram.learned;
  const double gain = std::max(1.0 / histogram.learned, 1 / (shares_days * scale.ticks_per_day()));
  for (std::size_t i = 0; i < k; ++i) {
    float& share = buckets[histogram.buckets[i]].usual;
    share += static_cast<float>(gain * (counts[i] / n - static_cast<double>(share)));
  }
  forget();

  for (std::size_t give = 0; give < Histogram::gives; ++give) {
    if (!found[give]) continue;
    std::uint32_t& s = histogram.series[give];
    if (s == none) {
      if (series.size() >= settings.series_max) continue;
      SeriesInfo fresh{.model = histogram.model,
                       .metric = word(with_suffix(words[histogram.metric], suffixes[give])),
                       .counter = SeriesInfo::derived};
      Run& run = models[histogram.model].series_run;
      if (find(series, run, series_index, fresh) != none) continue;  // somebody sends a metric of this name
      s = append(series, run, series_index, fresh);
      counters.series = series.size();
    }
    newcomers = newcomers || series[s].local == none;
    pending.add(alias_for({.series = s, .said = says}), millis, *found[give]);
  }
}

std::uint32_t Engine::alias_for(const Alias& alias) {
  const std::uint32_t there = find(aliases, said[alias.said].run, alias_index, alias);
  return there != none ? there : append(aliases, said[alias.said].run, alias_index, alias);
}

}  // namespace muster::aggregator
