#include "query/functions.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace muster::query {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

double seconds(std::int64_t us) { return static_cast<double>(us) / 1e6; }

// Kahan's sum with Neumaier's correction: a window may hold a million values of one size.
struct Sum {
  double sum = 0, lost = 0;
  void add(double x) {
    const double next = sum + x;
    if (std::isinf(next)) {
      lost = 0;
    } else if (std::abs(sum) >= std::abs(x)) {
      lost += (sum - next) + x;
    } else {
      lost += (x - next) + sum;
    }
    sum = next;
  }
  double value() const { return sum + lost; }
};

double sum_of(std::span<const double> values) {
  Sum sum;
  for (const double x : values) sum.add(x);
  return sum.value();
}

// What the increments of a delta series, each stored with the end of its interval, add up to. The one that
// lies on the window's start belongs to the window before.
double increments(const Window& w) {
  const auto from = std::upper_bound(w.at.begin(), w.at.end(), w.start) - w.at.begin();
  return sum_of(w.values.subspan(static_cast<std::size_t>(from)));
}

bool is_delta(Kind kind) { return kind == Kind::delta || kind == Kind::delta_bucket; }

// The difference between the last and the first sample, resets of a counter made good, stretched to the
// window's ends as far as they are likely to belong to the series: to an end that is nearer than 1.1 mean
// intervals whole, else by half an interval, and for a counter not further back than where it was nought.
std::optional<double> extrapolated(const Window& w, bool counter, bool per_second) {
  const double window = seconds(w.end - w.start);
  if (counter && is_delta(w.kind)) {
    if (w.at.empty() || w.at.back() <= w.start) return std::nullopt;
    const double increase = increments(w);
    return per_second ? increase / window : increase;
  }
  const std::size_t n = w.values.size();
  if (n < 2) return std::nullopt;
  double change = w.values.back() - w.values.front();
  if (counter)
    for (std::size_t i = 1; i < n; ++i)
      if (w.values[i] < w.values[i - 1]) change += w.values[i - 1];

  double to_start = seconds(w.at.front() - w.start);
  const double to_end = seconds(w.end - w.at.back());
  const double sampled = seconds(w.at.back() - w.at.front());
  const double interval = sampled / static_cast<double>(n - 1);
  if (counter && change > 0 && w.values.front() >= 0)
    to_start = std::min(to_start, sampled * (w.values.front() / change));
  const double near = interval * 1.1;
  double stretched = sampled;
  stretched += to_start < near ? to_start : interval / 2;
  stretched += to_end < near ? to_end : interval / 2;
  double factor = stretched / sampled;
  if (per_second) factor /= window;
  return change * factor;
}

std::optional<double> rate(const Window& w) { return extrapolated(w, true, true); }
std::optional<double> increase(const Window& w) { return extrapolated(w, true, false); }
std::optional<double> delta(const Window& w) { return extrapolated(w, false, false); }

std::optional<double> instant(const Window& w, bool counter, bool per_second) {
  const std::size_t n = w.values.size();
  if (n < 2) return std::nullopt;
  const std::int64_t apart = w.at[n - 1] - w.at[n - 2];
  if (apart == 0) return std::nullopt;
  double change = w.values[n - 1] - w.values[n - 2];
  if (counter && (is_delta(w.kind) || w.values[n - 1] < w.values[n - 2])) change = w.values[n - 1];
  return per_second ? change / seconds(apart) : change;
}
std::optional<double> irate(const Window& w) { return instant(w, true, true); }
std::optional<double> idelta(const Window& w) { return instant(w, false, false); }

std::optional<double> avg_over_time(const Window& w) {
  // A mean that is updated: the sum of large values would overflow.
  Sum sum;
  for (const double x : w.values) sum.add(x);
  if (std::isfinite(sum.value())) return sum.value() / static_cast<double>(w.values.size());
  double mean = 0, n = 0;
  for (const double x : w.values) {
    ++n;
    if (std::isinf(mean) && ((std::isinf(x) && (mean > 0) == (x > 0)) || std::isfinite(x))) continue;
    mean += x / n - mean / n;
  }
  return mean;
}
std::optional<double> min_over_time(const Window& w) {
  double least = w.values.front();
  for (const double x : w.values)
    if (x < least || std::isnan(least)) least = x;
  return least;
}
std::optional<double> max_over_time(const Window& w) {
  double most = w.values.front();
  for (const double x : w.values)
    if (x > most || std::isnan(most)) most = x;
  return most;
}
std::optional<double> sum_over_time(const Window& w) { return sum_of(w.values); }
std::optional<double> count_over_time(const Window& w) { return static_cast<double>(w.values.size()); }
std::optional<double> last_over_time(const Window& w) { return w.values.back(); }
std::optional<double> present_over_time(const Window&) { return 1; }

double variance(std::span<const double> values) {
  Sum mean, squares;  // Welford
  double n = 0;
  for (const double x : values) {
    ++n;
    const double off = x - mean.value();
    mean.add(off / n);
    squares.add(off * (x - mean.value()));
  }
  return squares.value() / n;
}
std::optional<double> stdvar_over_time(const Window& w) { return variance(w.values); }
std::optional<double> stddev_over_time(const Window& w) { return std::sqrt(variance(w.values)); }
std::optional<double> quantile_over_time(const Window& w) {
  std::vector<double> values(w.values.begin(), w.values.end());
  return quantile(w.parameter, values);
}

std::optional<double> changes(const Window& w) {
  double n = 0;
  for (std::size_t i = 1; i < w.values.size(); ++i) {
    const double a = w.values[i - 1], b = w.values[i];
    if (a != b && !(std::isnan(a) && std::isnan(b))) ++n;
  }
  return n;
}
std::optional<double> resets(const Window& w) {
  double n = 0;
  for (std::size_t i = 1; i < w.values.size(); ++i) n += w.values[i] < w.values[i - 1] ? 1 : 0;
  return n;
}

struct Line {
  double slope = 0, at_origin = 0;
};
// The line of least squares, time in seconds from `origin`.
Line regression(const Window& w, std::int64_t origin) {
  const double first = w.values.front();
  if (std::all_of(w.values.begin(), w.values.end(), [&](double x) { return x == first; }))
    return std::isinf(first) ? Line{nan, nan} : Line{0, first};
  Sum sx, sy, sxy, sxx;
  for (std::size_t i = 0; i < w.values.size(); ++i) {
    const double x = seconds(w.at[i] - origin);
    sx.add(x);
    sy.add(w.values[i]);
    sxy.add(x * w.values[i]);
    sxx.add(x * x);
  }
  const auto n = static_cast<double>(w.values.size());
  const double covariance = sxy.value() - sx.value() * sy.value() / n;
  const double spread = sxx.value() - sx.value() * sx.value() / n;
  const double slope = covariance / spread;
  return {slope, sy.value() / n - slope * sx.value() / n};
}
std::optional<double> deriv(const Window& w) {
  if (w.values.size() < 2) return std::nullopt;
  return regression(w, w.at.front()).slope;
}
std::optional<double> predict_linear(const Window& w) {
  if (w.values.size() < 2) return std::nullopt;
  const Line line = regression(w, w.now);
  return line.slope * w.parameter + line.at_origin;
}

using Arguments = std::span<const double>;

double clamp(double x, Arguments a) {
  return std::isnan(a[0]) || std::isnan(a[1]) || std::isnan(x) ? nan : std::max(a[0], std::min(a[1], x));
}
double clamp_min(double x, Arguments a) { return std::isnan(a[0]) || std::isnan(x) ? nan : std::max(a[0], x); }
double clamp_max(double x, Arguments a) { return std::isnan(a[0]) || std::isnan(x) ? nan : std::min(a[0], x); }
// To the nearest multiple; halves go up. The inverse is multiplied, as 0.1 is no binary fraction.
double round_to(double x, Arguments a) {
  const double inverse = 1.0 / (a.empty() ? 1.0 : a[0]);
  return std::floor(x * inverse + 0.5) / inverse;
}
double sgn(double x, Arguments) { return x < 0 ? -1 : x > 0 ? 1 : x; }

std::chrono::sys_days day_of(double at) {
  return std::chrono::floor<std::chrono::days>(
      std::chrono::sys_seconds(std::chrono::seconds(static_cast<std::int64_t>(at))));
}
std::int64_t second_of_day(double at) {
  const auto s = static_cast<std::int64_t>(at) % 86'400;
  return s < 0 ? s + 86'400 : s;
}
std::chrono::year_month_day date_of(double at) { return std::chrono::year_month_day(day_of(at)); }
double hour(double at) { return static_cast<double>(second_of_day(at) / 3600); }
double minute(double at) { return static_cast<double>(second_of_day(at) / 60 % 60); }
double month(double at) { return static_cast<unsigned>(date_of(at).month()); }
double year(double at) { return static_cast<int>(date_of(at).year()); }
double day_of_month(double at) { return static_cast<unsigned>(date_of(at).day()); }
double day_of_week(double at) { return std::chrono::weekday(day_of(at)).c_encoding(); }
double day_of_year(double at) {
  const std::chrono::sys_days first = date_of(at).year() / std::chrono::January / 1;
  return static_cast<double>((day_of(at) - first).count() + 1);
}
double days_in_month(double at) {
  const auto date = date_of(at);
  return static_cast<unsigned>((date.year() / date.month() / std::chrono::last).day());
}

std::vector<Function> make() {
  std::vector<Function> all;
  const auto over = [&](std::string_view name, std::optional<double> (*f)(const Window&), bool keeps = false) {
    Function made;
    made.name = name;
    made.arguments = {Type::range};
    made.required = 1;
    made.over = f;
    made.keeps_name = keeps;
    all.push_back(std::move(made));
  };
  over("rate", rate);
  over("irate", irate);
  over("increase", increase);
  over("delta", delta);
  over("idelta", idelta);
  over("deriv", deriv);
  over("changes", changes);
  over("resets", resets);
  over("avg_over_time", avg_over_time);
  over("min_over_time", min_over_time);
  over("max_over_time", max_over_time);
  over("sum_over_time", sum_over_time);
  over("count_over_time", count_over_time);
  over("last_over_time", last_over_time, true);
  over("present_over_time", present_over_time);
  over("stddev_over_time", stddev_over_time);
  over("stdvar_over_time", stdvar_over_time);
  over("quantile_over_time", quantile_over_time);
  all.back().arguments = {Type::scalar, Type::range};
  all.back().required = 2;
  over("predict_linear", predict_linear);
  all.back().arguments = {Type::range, Type::scalar};
  all.back().required = 2;

  const auto map = [&](std::string_view name, double (*f)(double, Arguments), std::size_t scalars = 0) {
    Function made;
    made.name = name;
    made.arguments = {Type::vector};
    made.arguments.insert(made.arguments.end(), scalars, Type::scalar);
    made.required = made.arguments.size();
    made.map = f;
    all.push_back(std::move(made));
  };
  map("abs", [](double x, Arguments) { return std::abs(x); });
  map("ceil", [](double x, Arguments) { return std::ceil(x); });
  map("floor", [](double x, Arguments) { return std::floor(x); });
  map("sqrt", [](double x, Arguments) { return std::sqrt(x); });
  map("exp", [](double x, Arguments) { return std::exp(x); });
  map("ln", [](double x, Arguments) { return std::log(x); });
  map("log2", [](double x, Arguments) { return std::log2(x); });
  map("log10", [](double x, Arguments) { return std::log10(x); });
  map("sgn", sgn);
  map("clamp", clamp, 2);
  map("clamp_min", clamp_min, 1);
  map("clamp_max", clamp_max, 1);
  map("round", round_to, 1);
  all.back().required = 1;

  const auto calendar = [&](std::string_view name, double (*f)(double)) {
    Function made;
    made.name = name;
    made.arguments = {Type::vector};
    made.calendar = f;
    all.push_back(std::move(made));
  };
  calendar("minute", minute);
  calendar("hour", hour);
  calendar("day_of_week", day_of_week);
  calendar("day_of_month", day_of_month);
  calendar("day_of_year", day_of_year);
  calendar("days_in_month", days_in_month);
  calendar("month", month);
  calendar("year", year);

  const auto named = [&](std::string_view name, Type result, std::vector<Type> arguments, bool repeats = false) {
    Function made;
    made.name = name;
    made.result = result;
    made.required = arguments.size();
    made.arguments = std::move(arguments);
    made.repeats = repeats;
    all.push_back(std::move(made));
  };
  named("time", Type::scalar, {});
  named("pi", Type::scalar, {});
  named("scalar", Type::scalar, {Type::vector});
  named("vector", Type::vector, {Type::scalar});
  named("timestamp", Type::vector, {Type::vector});
  named("sort", Type::vector, {Type::vector});
  named("sort_desc", Type::vector, {Type::vector});
  named("absent", Type::vector, {Type::vector});
  named("absent_over_time", Type::vector, {Type::range});
  named("histogram_quantile", Type::vector, {Type::scalar, Type::vector});
  named("label_replace", Type::vector, {Type::vector, Type::text, Type::text, Type::text, Type::text});
  named("label_join", Type::vector, {Type::vector, Type::text, Type::text, Type::text}, true);
  all.back().required = 3;
  return all;
}

}  // namespace

std::span<const Function> functions() {
  static const std::vector<Function> all = make();
  return all;
}

const Function* function(std::string_view name) {
  for (const Function& f : functions())
    if (f.name == name) return &f;
  return nullptr;
}

double quantile(double q, std::span<double> values) {
  if (values.empty() || std::isnan(q)) return nan;
  if (q < 0) return -infinity;
  if (q > 1) return infinity;
  std::sort(values.begin(), values.end(),
            [](double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; });
  const double rank = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(rank));
  const std::size_t above = std::min(values.size() - 1, below + 1);
  const double part = rank - std::floor(rank);
  return values[below] * (1 - part) + values[above] * part;
}

double histogram_quantile(double q, std::vector<Bucket> buckets) {
  if (std::isnan(q) || buckets.empty()) return nan;
  if (q < 0) return -infinity;
  if (q > 1) return infinity;
  std::stable_sort(buckets.begin(), buckets.end(),
                   [](const Bucket& a, const Bucket& b) { return a.bound < b.bound; });
  if (buckets.back().bound != infinity) return nan;
  std::size_t used = 0;  // buckets of one bound are one
  for (std::size_t i = 1; i < buckets.size(); ++i) {
    if (buckets[i].bound == buckets[used].bound) {
      buckets[used].count += buckets[i].count;
    } else {
      buckets[++used] = buckets[i];
    }
  }
  buckets.resize(used + 1);
  double most = -infinity;
  for (Bucket& b : buckets) {
    most = std::isnan(b.count) || b.count > most ? b.count : most;
    b.count = std::max(b.count, most);
  }
  if (buckets.size() < 2) return nan;
  const double all = buckets.back().count;
  if (all == 0) return nan;
  double rank = q * all;
  std::size_t at = 0;
  while (at + 1 < buckets.size() && !(buckets[at].count >= rank)) ++at;
  if (at + 1 == buckets.size()) return buckets[at - 1].bound;
  if (at == 0 && buckets[0].bound <= 0) return buckets[0].bound;
  double low = 0, count = buckets[at].count;
  if (at > 0) {
    low = buckets[at - 1].bound;
    count -= buckets[at - 1].count;
    rank -= buckets[at - 1].count;
  }
  return low + (buckets[at].bound - low) * (rank / count);
}

bool is_from_rollup(std::string_view name) {
  return name == "avg_over_time" || name == "min_over_time" || name == "max_over_time" ||
         name == "sum_over_time" || name == "count_over_time" || name == "present_over_time";
}

}  // namespace muster::query
