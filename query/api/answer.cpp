#include "query/api/answer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <utility>

#include <boost/json.hpp>

namespace muster::query {
namespace {

using SteadyClock = std::chrono::steady_clock;

double since(SteadyClock::time_point began) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - began).count();
}

// No sample lies outside, and all sums of times stay far from the ends of their type.
constexpr Timestamp earliest{0};
constexpr Timestamp latest = from_seconds(253'402'300'799);

// Ends the work with a refusal of the store; answer() and load() turn it into an Error.
struct Refused {
  Error error;
};

// Reads the samples of `series` from the database and appends them.
void read(Context& context, const std::vector<SeriesNumber>& series, const std::vector<std::string>* by,
          Timestamp from, Timestamp to, Explanation::Part& part, Samples& out) {
  if (series.empty() || to < earliest || to < from) return;
  const auto began = SteadyClock::now();
  Units where = context.catalogue.look(
      [&](const SeriesIndex& index) { return units(index, series, by, context.settings.shards); });
  std::vector<Samples::Series> heads;
  for (Units::Unit& unit : where.units) heads.push_back({std::move(unit.labels), unit.kind, 0, 0});
  Result<std::vector<store::Samples>> found =
      context.history.samples(where.slots, std::max(from, earliest), std::min(to, latest) + Duration(1));
  if (!found) throw Refused{{"execution", found.error().what}};
  part.read = context.history.counts();

  // A series that stood in several sets is joined from its slots.
  std::vector<std::vector<std::uint32_t>> slots_of(heads.size());
  std::size_t all = out.at.size();
  for (std::size_t i = 0; i < where.unit_of.size(); ++i) {
    if ((*found)[i].ts.empty()) continue;
    slots_of[where.unit_of[i]].push_back(static_cast<std::uint32_t>(i));
    all += (*found)[i].ts.size();
  }
  out.at.reserve(all);
  out.values.reserve(all);
  std::vector<std::pair<std::int64_t, double>> joined;
  for (std::size_t s = 0; s < heads.size(); ++s) {
    heads[s].first = out.at.size();
    if (slots_of[s].size() == 1) {
      const store::Samples& samples = (*found)[slots_of[s].front()];
      for (std::size_t i = 0; i < samples.ts.size(); ++i) {
        if (is_null(samples.values[i])) continue;
        out.at.push_back(samples.ts[i].us);
        out.values.push_back(samples.values[i]);
      }
    } else if (!slots_of[s].empty()) {
      joined.clear();
      for (const std::uint32_t slot : slots_of[s]) {
        const store::Samples& samples = (*found)[slot];
        for (std::size_t i = 0; i < samples.ts.size(); ++i)
          if (!is_null(samples.values[i])) joined.emplace_back(samples.ts[i].us, samples.values[i]);
      }
      std::stable_sort(joined.begin(), joined.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      for (const auto& [at, value] : joined) {
        if (out.at.size() > heads[s].first && out.at.back() == at) continue;
        out.at.push_back(at);
        out.values.push_back(value);
      }
    }
    heads[s].count = out.at.size() - heads[s].first;
    part.samples += heads[s].count;
    if (heads[s].count > 0) out.series.push_back(std::move(heads[s]));
  }
  part.level = "samples";
  part.read_milliseconds = since(began);
}

// The newest sample at or before `to`, from memory where that is certain; the rest is left in `series`.
void take_newest(Context& context, std::vector<SeriesNumber>& series, Timestamp from, Timestamp to,
                 Explanation::Part& part, Samples& out) {
  const std::optional<Timestamp> complete = context.catalogue.complete_since();
  if (!complete) return;
  const std::vector<Newest> newest = context.catalogue.newest(series);
  std::vector<SeriesNumber> rest, known;
  for (std::size_t i = 0; i < series.size(); ++i) {
    // One that is newer than asked for hides the one that is; one that is too old says that there is none,
    // as far as memory reaches back.
    if (newest[i].at > to.us || (newest[i].at < from.us && from < *complete)) {
      rest.push_back(series[i]);
      continue;
    }
    ++part.from_newest;
    if (newest[i].at < from.us) continue;
    out.series.push_back({{}, Kind::gauge, out.at.size(), 1});
    out.at.push_back(newest[i].at);
    out.values.push_back(newest[i].value);
    known.push_back(series[i]);
  }
  context.catalogue.look([&](const SeriesIndex& index) {
    for (std::size_t i = 0; i < known.size(); ++i) {
      out.series[i].labels = index.labels(known[i]);
      out.series[i].kind = index.kind(known[i]);
    }
    return 0;
  });
  series = std::move(rest);
}

}  // namespace

Result<std::vector<SeriesNumber>> select(Context& context, const Selector& selector) {
  const std::size_t max = context.settings.limits.series_max;
  std::vector<SeriesNumber> series =
      context.catalogue.look([&](const SeriesIndex& index) { return index.select(selector, max); });
  if (series.size() > max)
    return Error{"execution", to_text(selector) + " selects more than " + std::to_string(max) +
                                  " series; ask for fewer"};
  return series;
}

Result<Samples> load(Context& context, const Selector& selector, const std::vector<std::string>* by,
                     Timestamp from, Timestamp to, Explanation::Part& part) {
  const auto began = SteadyClock::now();
  const Result<std::vector<SeriesNumber>> series = select(context, selector);
  if (!series) return series.error();
  part.selector = to_text(selector);
  part.series = series->size();
  part.select_milliseconds = since(began);
  Samples out;
  try {
    read(context, *series, by, from, to, part, out);
  } catch (const Refused& refused) {
    return refused.error;
  }
  return out;
}

namespace {

void add(Aggregate& into, double count, double sum, double least, double greatest) {
  if (count == 0) return;
  into.least = into.count == 0 ? least : std::min(into.least, least);
  into.greatest = into.count == 0 ? greatest : std::max(into.greatest, greatest);
  into.count += count;
  into.sum += sum;
}

// The coarsest level whose buckets fill windows of `step`.
std::optional<Level> level_for(Duration step) {
  for (auto level = levels.rbegin(); level != levels.rend(); ++level)
    if (step % length(*level) == Duration::zero()) return *level;
  return std::nullopt;
}

struct WindowsOf {
  Steps windows;
  Aggregates& out;
  // The place of an instant that lies in the windows.
  Aggregate& at(std::size_t unit, Timestamp t) const {
    return out.windows[unit * windows.count + static_cast<std::size_t>((t - windows.start) / windows.step)];
  }
  bool holds(Timestamp t) const {
    return t >= windows.start && t < windows.start + windows.step * static_cast<std::int64_t>(windows.count);
  }
  void take(std::size_t unit, const store::Samples& samples) const {
    for (std::size_t i = 0; i < samples.ts.size(); ++i)
      if (!std::isnan(samples.values[i]) && holds(samples.ts[i]))
        add(at(unit, samples.ts[i]), 1, samples.values[i], samples.values[i], samples.values[i]);
  }
};

// Units whose rollups say what is asked: no counters, of which a rollup keeps other numbers, and nothing that
// shares its stored series with what was not selected.
bool rolls_up(const Units::Unit& unit) { return unit.whole && !adds_up(unit.kind); }

void read_windows(Context& context, const Units& where, const WindowsOf& windows, Timestamp from, Timestamp to,
                  Explanation::Part& part) {
  store::History& history = context.history;
  const auto must = [](auto result) {
    if (!result) throw Refused{{"execution", result.error().what}};
    return std::move(*result);
  };
  const auto counted = [&] {
    const store::History::Counts& c = history.counts();
    part.read.log_rows += c.log_rows;
    part.read.log_bytes += c.log_bytes;
    part.read.blocks += c.blocks;
    part.read.block_bytes += c.block_bytes;
  };
  const std::optional<Level> level = level_for(windows.windows.step);
  std::vector<std::vector<std::size_t>> slots_of(where.units.size());
  for (std::size_t i = 0; i < where.unit_of.size(); ++i) slots_of[where.unit_of[i]].push_back(i);

  std::vector<std::size_t> by_samples, by_rollups;
  for (std::size_t u = 0; u < where.units.size(); ++u)
    (level && rolls_up(where.units[u]) ? by_rollups : by_samples).push_back(u);

  const auto slots = [&](const std::vector<std::size_t>& of, std::vector<std::size_t>& unit) {
    std::vector<store::SlotRef> out;
    for (const std::size_t u : of) {
      for (const std::size_t i : slots_of[u]) {
        out.push_back(where.slots[i]);
        unit.push_back(u);
      }
    }
    return out;
  };

  if (!by_samples.empty()) {
    std::vector<std::size_t> unit;
    const auto refs = slots(by_samples, unit);
    const auto found = must(history.samples(refs, from, to));
    counted();
    for (std::size_t i = 0; i < found.size(); ++i) {
      windows.take(unit[i], found[i]);
      part.samples += found[i].ts.size();
    }
  }
  if (by_rollups.empty()) return;

  part.level = to_word(*level);
  const Duration bucket = length(*level);
  std::map<std::string_view, std::vector<std::size_t>> metrics;
  for (const std::size_t u : by_rollups) metrics[where.units[u].metric].push_back(u);
  // Where a unit has no bucket its samples are looked at: they may be too few to be rolled up.
  struct Hole {
    std::size_t unit;
    std::vector<bool> missing;
    std::size_t first, last;
  };
  std::vector<Hole> holes;
  const Timestamp begin = bucket_of(from, bucket);
  for (const auto& [metric, members] : metrics) {
    std::vector<store::SeriesRef> refs;
    for (const std::size_t u : members) refs.push_back({where.units[u].shard, where.units[u].id});
    const auto found = must(history.rollups(*level, metric, refs, from, to));
    counted();
    for (std::size_t m = 0; m < members.size(); ++m) {
      Hole hole{members[m], std::vector<bool>(found[m].size()), found[m].size(), 0};
      for (std::size_t b = 0; b < found[m].size(); ++b) {
        const Rollup& r = found[m][b];
        const Timestamp t = begin + bucket * static_cast<std::int64_t>(b);
        if (r.count == 0 && r.nulls == 0) {
          hole.missing[b] = true;
          hole.first = std::min(hole.first, b);
          hole.last = b;
        } else if (windows.holds(t)) {
          add(windows.at(members[m], t), r.count, r.total, r.low, r.high);
          ++part.samples;
        }
      }
      if (hole.first <= hole.last && hole.first < found[m].size()) holes.push_back(std::move(hole));
    }
  }

  // What has not been compacted.
  {
    std::vector<std::size_t> unit;
    const auto refs = slots(by_rollups, unit);
    const auto found = must(history.log_samples(refs, from, to));
    counted();
    for (std::size_t i = 0; i < found.size(); ++i) {
      windows.take(unit[i], found[i]);
      part.samples += found[i].ts.size();
    }
  }
  if (holes.empty()) return;
  std::vector<std::size_t> holed;
  std::vector<const Hole*> hole_of(where.units.size());
  Timestamp least = to, most = from;
  for (const Hole& hole : holes) {
    holed.push_back(hole.unit);
    hole_of[hole.unit] = &hole;
    least = std::min(least, begin + bucket * static_cast<std::int64_t>(hole.first));
    most = std::max(most, begin + bucket * static_cast<std::int64_t>(hole.last + 1));
  }
  std::vector<std::size_t> unit;
  const auto refs = slots(holed, unit);
  auto found = must(history.block_samples(refs, std::max(least, from), std::min(most, to)));
  counted();
  for (std::size_t i = 0; i < found.size(); ++i) {
    store::Samples in_holes;
    for (std::size_t k = 0; k < found[i].ts.size(); ++k) {
      if (!hole_of[unit[i]]->missing[static_cast<std::size_t>((found[i].ts[k] - begin) / bucket)]) continue;
      in_holes.ts.push_back(found[i].ts[k]);
      in_holes.values.push_back(found[i].values[k]);
    }
    windows.take(unit[i], in_holes);
    part.samples += in_holes.ts.size();
  }
}

}  // namespace

Result<Aggregates> load_windows(Context& context, const Selector& selector, const std::vector<std::string>* by,
                                const Steps& windows, Explanation::Part& part) {
  auto began = SteadyClock::now();
  const Result<std::vector<SeriesNumber>> series = select(context, selector);
  if (!series) return series.error();
  part.selector = to_text(selector);
  part.series = series->size();
  Units where = context.catalogue.look(
      [&](const SeriesIndex& index) { return units(index, *series, by, context.settings.shards); });
  part.select_milliseconds = since(began);
  if (where.units.size() * windows.count > context.settings.limits.samples_max)
    return Error{"execution", "more than " + std::to_string(context.settings.limits.samples_max) + " values"};
  began = SteadyClock::now();
  Aggregates out;
  out.steps = windows.count;
  out.windows.resize(where.units.size() * windows.count);
  const Timestamp from = std::max(windows.start, earliest);
  const Timestamp to =
      std::min(windows.start + windows.step * static_cast<std::int64_t>(windows.count), latest);
  part.level = "samples";
  try {
    if (from < to && !where.units.empty()) {
      context.history.begin();
      read_windows(context, where, {windows, out}, from, to, part);
      context.history.end();
    }
  } catch (const Refused& refused) {
    return refused.error;
  }
  for (Units::Unit& unit : where.units) out.labels.push_back(std::move(unit.labels));
  part.read_milliseconds = since(began);
  return out;
}

Result<Samples> load_newest(Context& context, const Selector& selector, Timestamp from, Timestamp to,
                            Explanation::Part& part) {
  const auto began = SteadyClock::now();
  Result<std::vector<SeriesNumber>> series = select(context, selector);
  if (!series) return series.error();
  part.selector = to_text(selector);
  part.series = series->size();
  Samples out;
  take_newest(context, *series, from, to, part, out);
  part.select_milliseconds = since(began);
  Samples rest;
  try {
    read(context, *series, nullptr, from, to, part, rest);
  } catch (const Refused& refused) {
    return refused.error;
  }
  for (Samples::Series& held : rest.series) {
    const std::size_t newest = held.first + held.count - 1;
    out.series.push_back({std::move(held.labels), held.kind, out.at.size(), 1});
    out.at.push_back(rest.at[newest]);
    out.values.push_back(rest.values[newest]);
  }
  return out;
}

Result<Value> answer(Context& context, const Expression& expression, const Steps& steps, Explanation& explanation) {
  const std::vector<Selection> wants = selections(expression, steps, context.settings.limits);
  std::vector<Loaded> loaded(wants.size());
  bool began_reading = false;
  for (std::size_t i = 0; i < wants.size(); ++i) {
    if (const Result<void> go = go_on(context.stop); !go) return go.error();
    const Selection& want = wants[i];
    const auto began = SteadyClock::now();
    Result<std::vector<SeriesNumber>> series = select(context, want.selector->matchers);
    if (!series) return series.error();
    Explanation::Part part;
    part.selector = to_text(want.selector->matchers);
    part.series = series->size();
    part.select_milliseconds = since(began);
    if (want.newest_only) take_newest(context, *series, want.from, want.to, part, loaded[i].samples);
    if (!series->empty() && !began_reading) {
      context.history.begin();
      began_reading = true;
    }
    try {
      read(context, *series, nullptr, want.from, want.to, part, loaded[i].samples);
    } catch (const Refused& refused) {
      return refused.error;
    }
    explanation.parts.push_back(std::move(part));
  }
  context.history.end();
  const auto began = SteadyClock::now();
  Result<Value> value = evaluate(expression, steps, loaded, context.settings.limits, context.stop);
  explanation.evaluate_milliseconds = since(began);
  return value;
}

std::string to_json(const Explanation& explanation) {
  namespace json = boost::json;
  json::array parts;
  for (const Explanation::Part& part : explanation.parts) {
    json::object one{{"selector", part.selector},
                     {"series", part.series},
                     {"from_newest", part.from_newest},
                     {"select_milliseconds", part.select_milliseconds}};
    if (!part.level.empty()) {
      one["level"] = part.level;
      one["samples"] = part.samples;
      one["log_rows"] = part.read.log_rows;
      one["log_bytes"] = part.read.log_bytes;
      one["blocks"] = part.read.blocks;
      one["block_bytes"] = part.read.block_bytes;
      one["read_milliseconds"] = part.read_milliseconds;
    }
    parts.push_back(std::move(one));
  }
  return json::serialize(json::object{{"selectors", std::move(parts)},
                                      {"evaluate_milliseconds", explanation.evaluate_milliseconds}});
}

}  // namespace muster::query
