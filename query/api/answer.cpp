#include "query/api/answer.hpp"

#include <algorithm>
#include <chrono>
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
void read(Context& context, const std::vector<SeriesNumber>& series, Timestamp from, Timestamp to,
          Explanation::Part& part, Samples& out) {
  if (series.empty() || to < earliest || to < from) return;
  const auto began = SteadyClock::now();
  std::vector<Samples::Series> heads;
  const Places where = context.catalogue.look([&](const SeriesIndex& index) {
    for (const SeriesNumber number : series) heads.push_back({index.labels(number), index.kind(number), 0, 0});
    return places(index, series, context.settings.shards);
  });
  Result<std::vector<store::Samples>> found =
      context.history.samples(where.slots, std::max(from, earliest), std::min(to, latest) + Duration(1));
  if (!found) throw Refused{{"execution", found.error().what}};
  part.read = context.history.counts();

  // A series that stood in several sets is joined from its slots.
  std::vector<std::vector<std::uint32_t>> slots_of(series.size());
  std::size_t all = out.at.size();
  for (std::size_t i = 0; i < where.series.size(); ++i) {
    if ((*found)[i].ts.empty()) continue;
    slots_of[where.series[i]].push_back(static_cast<std::uint32_t>(i));
    all += (*found)[i].ts.size();
  }
  out.at.reserve(all);
  out.values.reserve(all);
  std::vector<std::pair<std::int64_t, double>> joined;
  for (std::size_t s = 0; s < series.size(); ++s) {
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

Result<Samples> load(Context& context, const Selector& selector, Timestamp from, Timestamp to,
                     Explanation::Part& part) {
  const auto began = SteadyClock::now();
  const Result<std::vector<SeriesNumber>> series = select(context, selector);
  if (!series) return series.error();
  part.selector = to_text(selector);
  part.series = series->size();
  part.select_milliseconds = since(began);
  Samples out;
  try {
    read(context, *series, from, to, part, out);
  } catch (const Refused& refused) {
    return refused.error;
  }
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
    read(context, *series, from, to, part, rest);
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
      read(context, *series, want.from, want.to, part, loaded[i].samples);
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
