#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include <boost/json.hpp>

#include "http/gzip.hpp"
#include "query/api/answer.hpp"
#include "query/api/parameters.hpp"
#include "query/api/routes.hpp"
#include "query/api/write.hpp"
#include "query/functions.hpp"
#include "query/number.hpp"

namespace muster::query {
namespace {

namespace asio = boost::asio;

constexpr std::size_t pack_min = 64u << 10;
constexpr int pack_level = 1;
// How far back "latest" looks when it is not told.
constexpr Duration within_default = std::chrono::hours(1);

Timestamp wall_clock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::microseconds>(now).count()};
}

http::Response failed(const Error& fault) {
  struct Words {
    std::string_view where;
    int status;
    std::string_view code, fix;
  };
  static constexpr Words words[] = {
      {"bad_data", 400, "bad_parameter", R"(e.g. ?selector={model="churn-eu",metric=~"null_.*"}&from=-6h&step=5m)"},
      {"execution", 422, "too_much", "select fewer series, a shorter time or a longer step"},
      {"too_large", 413, "too_large", "select fewer series, a shorter time or a longer step"},
      {"timeout", 503, "timeout", "select fewer series or a shorter time"},
      {"canceled", 503, "canceled", ""},
      {"unavailable", 503, "busy", "send the same request again in a moment"},
      {"internal", 500, "internal", "the log of muster has the reason at this time"}};
  for (const Words& w : words)
    if (w.where == fault.where) return http::error(w.status, w.code, {"query", fault.what}, w.fix);
  return http::error(500, "internal", {"query", fault.what});
}

enum class Format { json, csv };

// How values over time, and series, become one.
struct Fold {
  enum class Is { avg, min, max, sum, count, last, quantile };
  Is is = Is::avg;
  double quantile = 0;
};

struct Asked {
  Selector selector;
  Timestamp from, to;  // [from, to)
  std::optional<Duration> step;
  Fold fold;
  std::string fold_word;
  std::optional<std::vector<std::string>> by;
  Format format = Format::json;
  bool explain = false;
  bool packs = false;
  // latest
  std::size_t top = 0;  // 0: all
  bool ascending = false;
  Timestamp now;
};

Error bad(std::string_view name, std::string what) {
  return {"bad_data", "invalid parameter \"" + std::string(name) + "\": " + std::move(what)};
}

// Unix milliseconds, RFC 3339, `now`, or -6h: before now.
Result<Timestamp> time_of(const Parameters& p, std::string_view name, Timestamp now, Timestamp otherwise) {
  const auto text = p.find(name);
  if (!text || text->empty()) return otherwise;
  if (*text == "now") return now;
  if (text->front() == '-') {
    if (const auto back = parse_duration(text->substr(1))) return now - *back;
  }
  std::int64_t ms = 0;
  const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), ms);
  if (fault == std::errc() && end == text->data() + text->size() && std::abs(ms) < 253'402'300'799'000)
    return from_millis(ms);
  if (const auto at = parse_rfc3339(*text)) return *at;
  return bad(name, "\"" + std::string(text->substr(0, 60)) +
                       "\" is neither unix milliseconds, nor 2026-11-24T16:00:00Z, nor -6h, nor now");
}

Result<Fold> fold_of(std::string_view word) {
  using Is = Fold::Is;
  static constexpr std::pair<std::string_view, Is> words[] = {{"avg", Is::avg}, {"min", Is::min},     {"max", Is::max},
                                                              {"sum", Is::sum}, {"count", Is::count}, {"last", Is::last}};
  for (const auto& [its, is] : words)
    if (its == word) return Fold{is, 0};
  // p50, p99, p99.9
  if (word.size() > 1 && word.front() == 'p') {
    const auto percent = parse_number(word.substr(1));
    if (percent && *percent >= 0 && *percent <= 100) return Fold{Is::quantile, *percent / 100};
  }
  return bad("aggregate", "\"" + std::string(word.substr(0, 20)) +
                              "\" is none of avg, min, max, sum, count, last and p0 to p100");
}

Result<Asked> asked_of(const http::Request& request, bool latest) {
  const Result<Parameters> p = Parameters::of(request);
  if (!p) return p.error();
  Asked asked;
  asked.now = wall_clock();
  const std::string_view text = p->text("selector");
  if (text.empty()) return bad("selector", R"(is wanted, e.g. {model="churn-eu",metric=~"null_.*"})");
  Result<Selector> selector = parse_selector(text, true);
  if (!selector) return bad("selector", selector.error().what);
  asked.selector = std::move(*selector);

  const std::string_view format = p->text("format");
  if (format == "csv" || (format.empty() && request.header("Accept").starts_with("text/csv"))) {
    asked.format = Format::csv;
  } else if (!format.empty() && format != "json") {
    return bad("format", "is json or csv");
  }
  asked.explain = p->flag("explain");
  asked.packs = http::accepts_gzip(request.header("Accept-Encoding"));

  if (latest) {
    const auto top = p->number("top", 0, std::numeric_limits<std::size_t>::max());
    if (!top) return top.error();
    asked.top = *top;
    const std::string_view order = p->text("order");
    if (!order.empty() && order != "asc" && order != "desc") return bad("order", "is asc or desc");
    asked.ascending = order == "asc";
    const auto within = p->duration("within", within_default);
    if (!within) return within.error();
    asked.to = asked.now + std::chrono::hours(1);  // clocks of senders may be ahead
    asked.from = asked.now - *within;
    return asked;
  }

  const auto to = time_of(*p, "to", asked.now, asked.now);
  if (!to) return to.error();
  const auto from = time_of(*p, "from", asked.now, *to - std::chrono::hours(1));
  if (!from) return from.error();
  asked.from = *from;
  asked.to = *to;
  if (asked.to <= asked.from) return bad("to", "must be after from");
  if (p->find("step")) {
    const auto step = p->duration("step", std::nullopt);
    if (!step) return step.error();
    if (*step < std::chrono::milliseconds(1)) return bad("step", "must be a millisecond or longer");
    asked.step = *step;
  }
  const bool folds = p->find("aggregate").has_value();
  asked.fold_word = folds ? std::string(p->text("aggregate")) : "avg";
  const Result<Fold> fold = fold_of(asked.fold_word);
  if (!fold) return fold.error();
  asked.fold = *fold;
  if (const auto by = p->find("by")) {
    asked.by.emplace();
    for (std::string_view rest = *by; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      if (!is_label_name(name)) return bad("by", "\"" + std::string(name.substr(0, 60)) + "\" is no label name");
      asked.by->emplace_back(name == "__name__" ? "metric" : name);
    }
  }
  if ((folds || asked.by) && !asked.step) return bad("step", "is wanted with aggregate and by, e.g. 5m");
  return asked;
}

// muster calls the metric's name a metric.
void rename(Labels& labels) {
  const std::string name(value_of(labels, "__name__"));
  set_label(labels, "__name__", {});
  set_label(labels, "metric", name);
}

// ---- folding

struct Windows {
  Timestamp start;
  Duration step{0};
  std::size_t count = 0;
  std::size_t of(std::int64_t at) const { return static_cast<std::size_t>((at - start.us) / step.count()); }
};

double fold_samples(Fold fold, std::vector<double>& values) {
  using Is = Fold::Is;
  switch (fold.is) {
    case Is::min: return *std::min_element(values.begin(), values.end());
    case Is::max: return *std::max_element(values.begin(), values.end());
    case Is::count: return static_cast<double>(values.size());
    case Is::last: return values.back();
    case Is::quantile: return quantile(fold.quantile, values);
    case Is::sum: return std::accumulate(values.begin(), values.end(), 0.0);
    case Is::avg: break;
  }
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// What the series give to the groups of `by`: their least, their greatest, their last value, or their mean.
Fold for_groups(Fold fold) {
  using Is = Fold::Is;
  if (fold.is != Is::min && fold.is != Is::max && fold.is != Is::last) fold.is = Is::avg;
  return fold;
}

// Whether count, sum, least and greatest are enough.
bool is_from_aggregates(Fold fold) { return fold.is != Fold::Is::last && fold.is != Fold::Is::quantile; }

// One value a series and window.
Columns over_time(const Samples& samples, const Windows& windows, Fold fold) {
  Columns out;
  out.steps = windows.count;
  std::vector<double> values;
  for (const Samples::Series& series : samples.series) {
    const std::size_t to = out.add(series.labels);
    const std::size_t end = series.first + series.count;
    for (std::size_t i = series.first; i < end;) {
      const std::size_t window = windows.of(samples.at[i]);
      values.clear();
      for (; i < end && windows.of(samples.at[i]) == window; ++i)
        if (!std::isnan(samples.values[i])) values.push_back(samples.values[i]);
      if (values.empty()) continue;
      out.values_of(to)[window] = fold_samples(fold, values);
      out.present_of(to)[window] = 1;
    }
  }
  return out;
}

Columns from_aggregates(Aggregates aggregates, Fold fold) {
  Columns out;
  out.steps = aggregates.steps;
  out.labels = std::move(aggregates.labels);
  out.values.resize(aggregates.windows.size());
  out.present.resize(aggregates.windows.size());
  for (std::size_t k = 0; k < aggregates.windows.size(); ++k) {
    const Aggregate& a = aggregates.windows[k];
    if (a.count == 0) continue;
    out.present[k] = 1;
    switch (fold.is) {
      case Fold::Is::min: out.values[k] = a.least; break;
      case Fold::Is::max: out.values[k] = a.greatest; break;
      case Fold::Is::sum: out.values[k] = a.sum; break;
      case Fold::Is::count: out.values[k] = a.count; break;
      default: out.values[k] = a.sum / a.count;
    }
  }
  return out;
}

// The groups are few and their members many, so the labels of `columns` are compared as one text.
Columns over_series(const Columns& columns, Fold fold) {
  Columns out;
  out.steps = columns.steps;
  std::map<std::string, std::vector<std::size_t>> groups;
  for (std::size_t s = 0; s < columns.size(); ++s) groups[to_text(columns.labels[s])].push_back(s);
  std::vector<double> values;
  for (const auto& [text, members] : groups) {
    const std::size_t to = out.add(columns.labels[members.front()]);
    for (std::size_t i = 0; i < out.steps; ++i) {
      values.clear();
      for (const std::size_t s : members)
        if (columns.present_of(s)[i]) values.push_back(columns.values_of(s)[i]);
      if (values.empty()) continue;
      Fold over = fold;
      if (over.is == Fold::Is::last) over.is = Fold::Is::avg;
      out.values_of(to)[i] = fold_samples(over, values);
      out.present_of(to)[i] = 1;
    }
  }
  return out;
}

// ---- writing

// A number where JSON has one, else its name in quotes.
void append_json_number(std::string& out, double value) {
  const bool quoted = !std::isfinite(value);
  if (quoted) out += '"';
  append_value(out, value);
  if (quoted) out += '"';
}

void append_csv(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

// Series with their points, in either form.
class Writer {
 public:
  Writer(const Asked& asked, const std::vector<Labels>& labels) : csv_(asked.format == Format::csv) {
    if (!csv_) return;
    std::set<std::string> names;
    for (const Labels& of : labels)
      for (const Label& label : of) names.insert(label.name);
    names_.assign(names.begin(), names.end());
    out_ = "ts";
    for (const std::string& name : names_) {
      out_ += ',';
      append_csv(out_, name);
    }
    out_ += ",value\n";
  }
  void series(const Labels& labels) {
    if (csv_) {
      middle_.clear();
      for (const std::string& name : names_) {
        middle_ += ',';
        append_csv(middle_, value_of(labels, name));
      }
      middle_ += ',';
      return;
    }
    if (any_series_) out_ += "]},";
    any_series_ = true;
    any_point_ = false;
    out_ += R"({"labels":)";
    append_labels(out_, labels);
    out_ += R"(,"points":[)";
  }
  void point(std::int64_t at, double value) {
    if (csv_) {
      out_ += std::to_string(to_millis({at}));
      out_ += middle_;
      append_value(out_, value);
      out_ += '\n';
      return;
    }
    if (any_point_) out_ += ',';
    any_point_ = true;
    out_ += '[';
    out_ += std::to_string(to_millis({at}));
    out_ += ',';
    append_json_number(out_, value);
    out_ += ']';
  }
  std::size_t size() const { return out_.size(); }
  std::string done() {
    if (any_series_) out_ += "]}";
    return std::move(out_);
  }

 private:
  bool csv_;
  std::vector<std::string> names_;
  std::string out_, middle_;
  bool any_series_ = false, any_point_ = false;
};

http::Response written(const Asked& asked, std::string body, std::string_view head,
                               const Explanation& explanation) {
  http::Response response;
  if (asked.format == Format::csv) {
    response.content_type = "text/csv; charset=utf-8";
    response.body = std::move(body);
  } else {
    response.body = "{";
    response.body += head;
    response.body += R"("series":[)";
    response.body += body;
    response.body += ']';
    if (asked.explain) response.body += R"(,"explain":)" + to_json(explanation);
    response.body += '}';
  }
  if (asked.packs && response.body.size() >= pack_min) {
    response.body = http::gzip(response.body, pack_level);
    response.headers.emplace_back("Content-Encoding", "gzip");
    response.headers.emplace_back("Vary", "Accept-Encoding");
  }
  return response;
}

Error too_large(const Context& context) {
  return {"too_large", "the answer would have more than " +
                           std::to_string(context.settings.answer_bytes_max >> 20) + " MiB"};
}

Result<http::Response> range(Context& context, const Asked& asked) {
  Timestamp from = asked.from;
  Windows windows;
  if (asked.step) {
    // On multiples of the step, so that the same window comes out of each question, and of rollups.
    const std::int64_t step = asked.step->count();
    const std::int64_t over = ((from.us % step) + step) % step;
    from.us -= over;
    windows = {from, *asked.step, static_cast<std::size_t>((asked.to.us - from.us + step - 1) / step)};
    if (windows.count > context.settings.limits.steps_max)
      return Error{"execution", "more than " + std::to_string(context.settings.limits.steps_max) + " steps"};
  }
  Explanation explanation;
  explanation.parts.emplace_back();
  std::string head = R"("from":)" + std::to_string(to_millis(from)) + R"(,"to":)" + std::to_string(to_millis(asked.to));
  if (asked.step) {
    head += R"(,"step_seconds":)";
    append_value(head, static_cast<double>(asked.step->count()) / 1e6);
    head += R"(,"aggregate":)";
    append_string(head, asked.fold_word);
  }
  head += ',';

  const std::size_t bytes_max = context.settings.answer_bytes_max;
  if (!asked.step) {
    Result<Samples> samples =
        load(context, asked.selector, nullptr, from, asked.to - Duration(1), explanation.parts.back());
    if (!samples) return samples.error();
    std::vector<Labels> labels;
    for (Samples::Series& series : samples->series) rename(series.labels);
    for (const Samples::Series& series : samples->series) labels.push_back(series.labels);
    Writer writer(asked, labels);
    for (const Samples::Series& series : samples->series) {
      writer.series(series.labels);
      for (std::size_t i = series.first; i < series.first + series.count; ++i)
        if (!is_stale(samples->values[i])) writer.point(samples->at[i], samples->values[i]);
      if (writer.size() > bytes_max) return too_large(context);
      if (const Result<void> go = go_on(context.stop); !go) return go.error();
    }
    return written(asked, writer.done(), head, explanation);
  }
  const std::vector<std::string>* by = asked.by ? &*asked.by : nullptr;
  const Fold fold = by ? for_groups(asked.fold) : asked.fold;
  Columns columns;
  if (is_from_aggregates(fold)) {
    Result<Aggregates> found = load_windows(context, asked.selector, by,
                                            {windows.start, windows.step, windows.count}, explanation.parts.back());
    if (!found) return found.error();
    columns = from_aggregates(std::move(*found), fold);
  } else {
    const Timestamp end = windows.start + windows.step * static_cast<std::int64_t>(windows.count) - Duration(1);
    Result<Samples> samples = load(context, asked.selector, by, from, end, explanation.parts.back());
    if (!samples) return samples.error();
    if (samples->series.size() * windows.count > context.settings.limits.samples_max)
      return Error{"execution", "more than " + std::to_string(context.settings.limits.samples_max) + " values"};
    columns = over_time(*samples, windows, fold);
  }
  if (by) {
    columns = over_series(columns, asked.fold);
  } else {
    for (Labels& labels : columns.labels) rename(labels);
  }
  sort_by_labels(columns);
  Writer writer(asked, columns.labels);
  for (std::size_t s = 0; s < columns.size(); ++s) {
    const auto there = columns.present_of(s);
    if (std::none_of(there.begin(), there.end(), [](std::uint8_t p) { return p != 0; })) continue;
    writer.series(columns.labels[s]);
    for (std::size_t i = 0; i < windows.count; ++i)
      if (columns.present_of(s)[i])
        writer.point((windows.start + windows.step * static_cast<std::int64_t>(i)).us, columns.values_of(s)[i]);
    if (writer.size() > bytes_max) return too_large(context);
    if (const Result<void> go = go_on(context.stop); !go) return go.error();
  }
  return written(asked, writer.done(), head, explanation);
}

Result<http::Response> latest(Context& context, const Asked& asked) {
  Explanation explanation;
  explanation.parts.emplace_back();
  Result<Samples> samples = load_newest(context, asked.selector, asked.from, asked.to, explanation.parts.back());
  if (!samples) return samples.error();
  std::vector<std::size_t> order;
  for (std::size_t s = 0; s < samples->series.size(); ++s)
    if (!is_stale(samples->values[samples->series[s].first])) order.push_back(s);
  if (asked.top > 0) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const double x = samples->values[samples->series[a].first], y = samples->values[samples->series[b].first];
      if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
      return asked.ascending ? x < y : x > y;
    });
    order.resize(std::min(order.size(), asked.top));
  }
  std::vector<Labels> labels;
  for (const std::size_t s : order) {
    rename(samples->series[s].labels);
    labels.push_back(samples->series[s].labels);
  }
  Writer writer(asked, labels);
  for (const std::size_t s : order) {
    writer.series(samples->series[s].labels);
    const std::size_t i = samples->series[s].first;
    writer.point(samples->at[i], samples->values[i]);
    if (writer.size() > context.settings.answer_bytes_max) return too_large(context);
  }
  return written(asked, writer.done(), "", explanation);
}

using Work = Result<http::Response> (*)(Context&, const Asked&);

asio::awaitable<http::Response> run(Runner& runner, http::Request request, bool is_latest, Work work) {
  Result<Asked> parsed = asked_of(request, is_latest);
  if (!parsed) co_return failed(parsed.error());
  const auto asked = std::make_shared<const Asked>(std::move(*parsed));
  Runner::Job job = [asked, work](Context& context) { return work(context, *asked); };
  Result<http::Response> answer = co_await runner.run(request.gone, runner.settings().timeout, std::move(job));
  if (!answer) co_return failed(answer.error());
  co_return std::move(*answer);
}

}  // namespace

void add_ranges(http::Routes& routes, Runner& runner) {
  routes.add(http::Method::get, "/api/v1/range",
             [&runner](http::Request request) { return run(runner, std::move(request), false, range); });
  routes.add(http::Method::get, "/api/v1/latest",
             [&runner](http::Request request) { return run(runner, std::move(request), true, latest); });
}

}  // namespace muster::query
