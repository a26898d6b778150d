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

// Reads the samples of `series` from the database and appends them.
void read(Context& context, const std::vector<SeriesNumber>& series, Timestamp from, Timestamp to,
          Explanation::Part& part, Samples& out) {
  if (series.empty() || to < earliest || to < from) return;
  const auto stopped = [&context] { return context.stop.why.load() != Stop::Why::no; };
  std::vector<Samples::Series> heads;
  const store::WantedSeries wants = context.catalogue.look([&](const SeriesIndex& index) {
    for (const SeriesNumber number : series) heads.push_back({index.labels(number), index.kind(number), 0, 0});
    return wanted(index, series, context.settings.shards);
  });
  store::ReadSamples found = context.reader.read(wants, std::max(from, earliest), std::min(to, latest),
                                                 context.settings.limits.samples_max, stopped);
  const std::size_t base = out.at.size();
  if (base == 0) {
    out.at = std::move(found.at);
    out.values = std::move(found.values);
  } else {
    out.at.insert(out.at.end(), found.at.begin(), found.at.end());
    out.values.insert(out.values.end(), found.values.begin(), found.values.end());
  }
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const std::size_t count = found.first[i + 1] - found.first[i];
    if (count == 0) continue;
    heads[i].first = base + found.first[i];
    heads[i].count = count;
    out.series.push_back(std::move(heads[i]));
  }
  std::move(found.report.parts.begin(), found.report.parts.end(), std::back_inserter(part.read.parts));
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
  read(context, *series, from, to, part, out);
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
  read(context, *series, from, to, part, rest);
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
      context.reader.begin();
      began_reading = true;
    }
    read(context, *series, want.from, want.to, part, loaded[i].samples);
    explanation.parts.push_back(std::move(part));
  }
  context.reader.end();
  const auto began = SteadyClock::now();
  Result<Value> value = evaluate(expression, steps, loaded, context.settings.limits, context.stop);
  explanation.evaluate_milliseconds = since(began);
  return value;
}

std::string to_json(const Explanation& explanation) {
  namespace json = boost::json;
  json::array parts;
  for (const Explanation::Part& part : explanation.parts) {
    json::array reads;
    for (const store::ReadReport::Part& read : part.read.parts)
      reads.push_back(json::object{{"source", read.source},
                                   {"partitions", read.partitions},
                                   {"rows", read.rows},
                                   {"bytes", read.bytes},
                                   {"samples", read.samples},
                                   {"milliseconds", read.milliseconds}});
    parts.push_back(json::object{{"selector", part.selector},
                                 {"series", part.series},
                                 {"from_newest", part.from_newest},
                                 {"select_milliseconds", part.select_milliseconds},
                                 {"reads", std::move(reads)}});
  }
  return json::serialize(json::object{{"selectors", std::move(parts)},
                                      {"evaluate_milliseconds", explanation.evaluate_milliseconds}});
}

}  // namespace muster::query
