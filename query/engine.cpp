#include "query/engine.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include <re2/re2.h>

#include "query/functions.hpp"
#include "query/number.hpp"
#include "query/parts.hpp"
#include "query/times.hpp"

namespace muster::query {

using parts::refuse;
using parts::Refused;

void set_label(Labels& labels, std::string_view name, std::string_view value) {
  const auto at = std::lower_bound(labels.begin(), labels.end(), name,
                                   [](const Label& label, std::string_view n) { return label.name < n; });
  const bool there = at != labels.end() && at->name == name;
  if (value.empty()) {
    if (there) labels.erase(at);
  } else if (there) {
    at->value = value;
  } else {
    labels.insert(at, {std::string(name), std::string(value)});
  }
}

std::string to_text(const Labels& labels) {
  std::string out = "{";
  for (const Label& label : labels) {
    if (out.size() > 1) out += ", ";
    out += label.name + "=\"" + label.value + '"';
  }
  return out + '}';
}

Result<void> go_on(const Stop& stop) {
  switch (stop.why.load(std::memory_order_relaxed)) {
    case Stop::Why::no: break;
    case Stop::Why::canceled: return Error{"canceled", "the query was canceled"};
    case Stop::Why::timeout: return Error{"timeout", "the query timed out"};
  }
  return {};
}

void sort_by_labels(Columns& columns) {
  std::vector<std::size_t> order(columns.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto less = [](const Label& a, const Label& b) {
    return a.name != b.name ? a.name < b.name : a.value < b.value;
  };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(columns.labels[a].begin(), columns.labels[a].end(),
                                        columns.labels[b].begin(), columns.labels[b].end(), less);
  });
  Columns sorted;
  sorted.steps = columns.steps;
  sorted.labels.reserve(order.size());
  sorted.values.reserve(columns.values.size());
  sorted.present.reserve(columns.present.size());
  for (const std::size_t s : order) {
    sorted.labels.push_back(std::move(columns.labels[s]));
    const auto values = columns.values_of(s);
    const auto present = columns.present_of(s);
    sorted.values.insert(sorted.values.end(), values.begin(), values.end());
    sorted.present.insert(sorted.present.end(), present.begin(), present.end());
  }
  columns = std::move(sorted);
}

namespace parts {

void refuse(std::string what) {
  throw Refused{{"execution", std::move(what)}};
}

std::string key_of(const Labels& labels) {
  std::string key;
  for (const Label& label : labels) {
    key += label.name;
    key += '\xff';
    key += label.value;
    key += '\xff';
  }
  return key;
}

namespace {
bool is_kept(const Label& label, const std::vector<std::string>& names, bool without) {
  const bool named = std::find(names.begin(), names.end(), label.name) != names.end();
  return without ? !named && label.name != "__name__" : named;
}
}  // namespace

Labels kept(const Labels& labels, const std::vector<std::string>& names, bool without) {
  Labels out;
  for (const Label& label : labels)
    if (is_kept(label, names, without)) out.push_back(label);
  return out;
}

std::string key_of(const Labels& labels, const std::vector<std::string>& names, bool without) {
  std::string key;
  for (const Label& label : labels) {
    if (!is_kept(label, names, without)) continue;
    key += label.name;
    key += '\xff';
    key += label.value;
    key += '\xff';
  }
  return key;
}

void drop_name(Labels& labels) {
  set_label(labels, "__name__", {});
}

namespace {

// Keeps the series that `keep` says, in their order.
void keep_only(Columns& columns, const std::vector<std::uint8_t>& keep) {
  std::size_t to = 0;
  for (std::size_t s = 0; s < columns.size(); ++s) {
    if (!keep[s]) continue;
    if (to != s) {
      columns.labels[to] = std::move(columns.labels[s]);
      std::copy(columns.values_of(s).begin(), columns.values_of(s).end(), columns.values_of(to).begin());
      std::copy(columns.present_of(s).begin(), columns.present_of(s).end(), columns.present_of(to).begin());
    }
    ++to;
  }
  columns.labels.resize(to);
  columns.values.resize(to * columns.steps);
  columns.present.resize(to * columns.steps);
}

}  // namespace

void drop_absent(Columns& columns) {
  std::vector<std::uint8_t> keep(columns.size());
  bool all = true;
  for (std::size_t s = 0; s < columns.size(); ++s) {
    const auto present = columns.present_of(s);
    keep[s] = std::any_of(present.begin(), present.end(), [](std::uint8_t p) { return p != 0; });
    all = all && keep[s];
  }
  if (!all) keep_only(columns, keep);
}

void join_equal(Columns& columns) {
  absl::flat_hash_map<std::string, std::size_t> first;
  first.reserve(columns.size());
  std::vector<std::uint8_t> keep(columns.size(), 1);
  bool all = true;
  for (std::size_t s = 0; s < columns.size(); ++s) {
    const auto [found, fresh] = first.try_emplace(key_of(columns.labels[s]), s);
    if (fresh) continue;
    keep[s] = 0;
    all = false;
    const auto to_values = columns.values_of(found->second);
    const auto to_present = columns.present_of(found->second);
    for (std::size_t i = 0; i < columns.steps; ++i) {
      if (!columns.present_of(s)[i]) continue;
      if (to_present[i])
        refuse("vector cannot contain metrics with the same labelset: " + to_text(columns.labels[s]));
      to_present[i] = 1;
      to_values[i] = columns.values_of(s)[i];
    }
  }
  if (!all) keep_only(columns, keep);
}

}  // namespace parts

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// A window that moves over the samples of one series, without its stale markers.
class Slide {
 public:
  Slide(std::span<const std::int64_t> at, std::span<const double> values) : at_(at), values_(values) {
    if (std::none_of(values.begin(), values.end(), is_stale)) return;
    for (std::size_t i = 0; i < at.size(); ++i) {
      if (is_stale(values[i])) continue;
      kept_at_.push_back(at[i]);
      kept_values_.push_back(values[i]);
    }
    at_ = kept_at_;
    values_ = kept_values_;
  }
  Slide(const Slide&) = delete;
  Slide& operator=(const Slide&) = delete;

  // Windows must not move back; @ gives the same again and again.
  void move(Window& w) {
    while (to_ < at_.size() && at_[to_] <= w.end) ++to_;
    while (from_ < to_ && at_[from_] < w.start) ++from_;
    w.at = at_.subspan(from_, to_ - from_);
    w.values = values_.subspan(from_, to_ - from_);
  }

 private:
  std::span<const std::int64_t> at_;
  std::span<const double> values_;
  std::vector<std::int64_t> kept_at_;
  std::vector<double> kept_values_;
  std::size_t from_ = 0, to_ = 0;
};

class Evaluator {
 public:
  Evaluator(const Steps& steps, std::vector<Loaded>& loaded, const Limits& limits, const Stop& stop)
      : times_{steps.start, steps.last() + steps.beyond}, loaded_(loaded), limits_(limits), stop_(stop) {}

  Value value(const Expression& e, const Steps& steps) {
    look();
    Value out;
    out.type = e.type;
    out.columns.steps = steps.count;
    switch (e.is) {
      case Expression::Is::number:
        out.columns = constant(e.number, steps);
        break;
      case Expression::Is::text:
        out.text = e.text;
        break;
      case Expression::Is::selector:
        if (e.type == Type::range) {
          out.samples = range_of(e, steps);
        } else {
          out.columns = instant_of(e, steps, false);
        }
        break;
      case Expression::Is::subquery:
        out.samples = range_of(e, steps);
        break;
      case Expression::Is::negative:
        out = value(*e.operands[0], steps);
        for (double& x : out.columns.values) x = -x;
        for (Labels& labels : out.columns.labels) parts::drop_name(labels);
        parts::join_equal(out.columns);
        break;
      case Expression::Is::binary:
        out.columns = binary(e, steps);
        break;
      case Expression::Is::aggregate: {
        std::optional<Value> parameter;
        if (e.operands.size() > 1) parameter = value(*e.operands[1], steps);
        out.columns = parts::aggregate(e, value(*e.operands[0], steps).columns, parameter ? &*parameter : nullptr);
        break;
      }
      case Expression::Is::call:
        out.columns = call(e, steps);
        break;
    }
    bounded(out.columns.values.size());
    return out;
  }

 private:
  void look() {
    if (const Result<void> go = go_on(stop_); !go) throw Refused{go.error()};
  }
  // Looked at once in a while inside long loops.
  void look_sometimes() {
    if (++looked_ % 64 == 0) look();
  }
  void bounded(std::size_t values) const {
    if (values > limits_.samples_max)
      refuse("query processing would hold " + std::to_string(values) + " values at once, more than " +
             std::to_string(limits_.samples_max) + "; ask for fewer series, a longer step or a shorter time");
  }

  static Columns constant(double number, const Steps& steps) {
    Columns out;
    out.steps = steps.count;
    out.add({});
    std::fill(out.values.begin(), out.values.end(), number);
    std::fill(out.present.begin(), out.present.end(), std::uint8_t{1});
    return out;
  }

  Timestamp from(const Expression& e, Timestamp step) const { return looks_from(e, step, times_); }

  // The newest sample of each series in (t - lookback, t]; with `stamps` its time instead of its value.
  Columns instant_of(const Expression& e, const Steps& steps, bool stamps) {
    Samples& samples = loaded_.at(e.index).samples;
    bounded(samples.series.size() * steps.count);
    Columns out;
    out.steps = steps.count;
    out.labels.reserve(samples.series.size());
    out.values.resize(samples.series.size() * steps.count);
    out.present.resize(samples.series.size() * steps.count);
    const std::int64_t lookback = limits_.lookback.count();
    for (std::size_t s = 0; s < samples.series.size(); ++s) {
      look_sometimes();
      const Samples::Series& series = samples.series[s];
      out.labels.push_back(series.labels);
      const std::int64_t* at = samples.at.data() + series.first;
      const double* values = samples.values.data() + series.first;
      std::size_t next = 0;
      for (std::size_t i = 0; i < steps.count; ++i) {
        const std::int64_t t = from(e, steps.at(i)).us;
        while (next < series.count && at[next] <= t) ++next;
        if (next == 0 || at[next - 1] <= t - lookback) continue;
        const double x = values[next - 1];
        if (is_stale(x)) continue;
        out.values[s * steps.count + i] = stamps ? static_cast<double>(at[next - 1]) / 1e6 : x;
        out.present[s * steps.count + i] = 1;
      }
    }
    parts::drop_absent(out);
    return out;
  }

  // Samples that a range looks at; of a subquery, what it evaluates to.
  Samples range_of(const Expression& e, const Steps& steps) {
    if (e.is == Expression::Is::selector) return loaded_.at(e.index).samples;
    const Steps inner = subquery_steps(e, steps, times_, limits_);
    bounded(inner.count);
    Samples out;
    if (inner.count == 0) return out;
    const Value held = value(*e.operands[0], inner);
    for (std::size_t s = 0; s < held.columns.size(); ++s) {
      Samples::Series series{held.columns.labels[s], Kind::gauge, out.at.size(), 0};
      for (std::size_t i = 0; i < inner.count; ++i) {
        if (!held.columns.present_of(s)[i]) continue;
        out.at.push_back(inner.at(i).us);
        out.values.push_back(held.columns.values_of(s)[i]);
      }
      series.count = out.at.size() - series.first;
      out.series.push_back(std::move(series));
    }
    return out;
  }

  Columns binary(const Expression& e, const Steps& steps) {
    const Expression& l = *e.operands[0];
    const Expression& r = *e.operands[1];
    Columns left = value(l, steps).columns, right = value(r, steps).columns;
    if (l.type == Type::scalar && r.type == Type::scalar)
      return parts::between_scalars(e, std::move(left), right);
    if (r.type == Type::scalar) return parts::with_scalar(e, std::move(left), right, false);
    if (l.type == Type::scalar) return parts::with_scalar(e, std::move(right), left, true);
    if (is_set_operator(e.op)) return parts::set_operation(e, std::move(left), std::move(right));
    return parts::match_vectors(e, std::move(left), std::move(right));
  }

  // ---- calls

  Columns call(const Expression& e, const Steps& steps) {
    const Function& f = *e.function;
    if (f.over) return over(e, steps);
    if (f.map) return map(e, steps);
    if (f.calendar) return calendar(e, steps);
    if (f.name == "time") return now(steps);
    if (f.name == "pi") return constant(std::numbers::pi, steps);
    if (f.name == "vector") return argument(e, 0, steps);
    if (f.name == "scalar") return scalar(argument(e, 0, steps));
    if (f.name == "timestamp") return timestamp(e, steps);
    if (f.name == "sort" || f.name == "sort_desc") return sorted(argument(e, 0, steps), f.name == "sort");
    if (f.name == "absent" || f.name == "absent_over_time") return absent(e, steps);
    if (f.name == "histogram_quantile") return histogram(e, steps);
    if (f.name == "label_replace") return label_replace(e, steps);
    if (f.name == "label_join") return label_join(e, steps);
    refuse("the function \"" + std::string(f.name) + "\" is not there");
  }

  Columns argument(const Expression& e, std::size_t i, const Steps& steps) {
    return value(*e.operands[i], steps).columns;
  }

  Columns over(const Expression& e, const Steps& steps) {
    const Function& f = *e.function;
    const std::size_t range_at = f.arguments[0] == Type::range ? 0 : 1;
    const Expression& range = *e.operands[range_at];
    Columns parameter;
    if (e.operands.size() > 1) parameter = argument(e, 1 - range_at, steps);

    Columns out;
    out.steps = steps.count;
    if (range.is == Expression::Is::selector && loaded_.at(range.index).aggregates) {
      from_aggregates(f, *loaded_[range.index].aggregates, out);
    } else {
      Samples made;
      if (range.is == Expression::Is::subquery) made = range_of(range, steps);
      const Samples& samples = range.is == Expression::Is::subquery ? made : loaded_.at(range.index).samples;
      bounded(samples.series.size() * steps.count);
      for (const Samples::Series& series : samples.series) {
        look_sometimes();
        Slide slide({samples.at.data() + series.first, series.count},
                    {samples.values.data() + series.first, series.count});
        Window w;
        w.kind = series.kind;
        const std::size_t to = out.add(series.labels);
        const auto values = out.values_of(to);
        const auto present = out.present_of(to);
        for (std::size_t i = 0; i < steps.count; ++i) {
          w.now = steps.at(i).us;
          w.end = from(range, steps.at(i)).us;
          w.start = w.end - range.range.count();
          if (!parameter.values.empty()) w.parameter = parameter.values[i];
          slide.move(w);
          if (w.values.empty()) continue;
          if (const std::optional<double> x = f.over(w)) {
            values[i] = *x;
            present[i] = 1;
          }
        }
      }
    }
    if (!f.keeps_name)
      for (Labels& labels : out.labels) parts::drop_name(labels);
    parts::drop_absent(out);
    parts::join_equal(out);
    return out;
  }

  void from_aggregates(const Function& f, const Aggregates& windows, Columns& out) {
    bounded(windows.windows.size());
    for (std::size_t s = 0; s < windows.labels.size(); ++s) {
      const std::size_t to = out.add(windows.labels[s]);
      for (std::size_t i = 0; i < out.steps; ++i) {
        const Aggregate& a = windows.windows[s * windows.steps + i];
        if (a.count == 0) continue;
        out.present_of(to)[i] = 1;
        out.values_of(to)[i] = f.name == "avg_over_time"     ? a.sum / a.count
                               : f.name == "min_over_time"   ? a.least
                               : f.name == "max_over_time"   ? a.greatest
                               : f.name == "sum_over_time"   ? a.sum
                               : f.name == "count_over_time" ? a.count
                                                             : 1;
      }
    }
  }

  Columns map(const Expression& e, const Steps& steps) {
    Columns vector = argument(e, 0, steps);
    std::vector<Columns> scalars;
    for (std::size_t i = 1; i < e.operands.size(); ++i) scalars.push_back(argument(e, i, steps));
    std::vector<double> arguments(scalars.size());
    const bool clamps = e.function->name == "clamp";
    for (std::size_t s = 0; s < vector.size(); ++s) {
      const auto values = vector.values_of(s);
      const auto present = vector.present_of(s);
      for (std::size_t i = 0; i < steps.count; ++i) {
        for (std::size_t k = 0; k < scalars.size(); ++k) arguments[k] = scalars[k].values[i];
        if (clamps && arguments[0] > arguments[1]) present[i] = 0;  // as Prometheus: nothing lies between
        if (present[i]) values[i] = e.function->map(values[i], arguments);
      }
      parts::drop_name(vector.labels[s]);
    }
    parts::drop_absent(vector);
    parts::join_equal(vector);
    return vector;
  }

  Columns calendar(const Expression& e, const Steps& steps) {
    Columns vector = e.operands.empty() ? now(steps) : argument(e, 0, steps);
    for (double& x : vector.values) x = std::abs(x) < 9e12 ? e.function->calendar(x) : nan;
    for (Labels& labels : vector.labels) parts::drop_name(labels);
    parts::join_equal(vector);
    return vector;
  }

  static Columns now(const Steps& steps) {
    Columns out = constant(0, steps);
    for (std::size_t i = 0; i < steps.count; ++i) out.values[i] = static_cast<double>(steps.at(i).us) / 1e6;
    return out;
  }

  static Columns scalar(const Columns& vector) {
    Columns out;
    out.steps = vector.steps;
    out.add({});
    for (std::size_t i = 0; i < out.steps; ++i) {
      std::size_t n = 0;
      double x = nan;
      for (std::size_t s = 0; s < vector.size(); ++s) {
        if (!vector.present_of(s)[i]) continue;
        ++n;
        x = vector.values_of(s)[i];
      }
      out.values[i] = n == 1 ? x : nan;
      out.present[i] = 1;
    }
    return out;
  }

  Columns timestamp(const Expression& e, const Steps& steps) {
    const Expression& of = *e.operands[0];
    const bool plain = of.is == Expression::Is::selector;
    Columns vector = plain ? instant_of(of, steps, true) : argument(e, 0, steps);
    for (std::size_t s = 0; s < vector.size(); ++s) {
      parts::drop_name(vector.labels[s]);
      if (plain) continue;
      for (std::size_t i = 0; i < steps.count; ++i)
        vector.values_of(s)[i] = static_cast<double>(steps.at(i).us) / 1e6;
    }
    parts::join_equal(vector);
    return vector;
  }

  // Of an instant; the steps of a range have no common order.
  static Columns sorted(Columns vector, bool ascending) {
    if (vector.steps != 1) return vector;
    std::vector<std::size_t> order(vector.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      const double x = vector.values[a], y = vector.values[b];
      if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
      return ascending ? x < y : x > y;
    });
    Columns out;
    for (const std::size_t s : order) {
      const std::size_t to = out.add(std::move(vector.labels[s]));
      out.values[to] = vector.values[s];
      out.present[to] = vector.present[s];
    }
    return out;
  }

  // 1 where nothing is, with the labels that the selector says by =.
  Columns absent(const Expression& e, const Steps& steps) {
    const Expression& of = *e.operands[0];
    std::vector<std::uint8_t> any(steps.count);
    if (of.type == Type::range) {
      const Samples samples = range_of(of, steps);
      for (const Samples::Series& series : samples.series) {
        Slide slide({samples.at.data() + series.first, series.count},
                    {samples.values.data() + series.first, series.count});
        Window w;
        for (std::size_t i = 0; i < steps.count; ++i) {
          w.end = from(of, steps.at(i)).us;
          w.start = w.end - of.range.count();
          slide.move(w);
          any[i] |= !w.values.empty();
        }
      }
    } else {
      const Columns vector = argument(e, 0, steps);
      for (std::size_t k = 0; k < vector.present.size(); ++k) any[k % steps.count] |= vector.present[k];
    }
    Labels labels;
    std::vector<std::string> twice;
    if (of.is == Expression::Is::selector) {
      for (const Matcher& m : of.matchers) {
        if (m.name == "__name__") continue;
        if (m.op == Matcher::Op::equal && value_of(labels, m.name).empty()) {
          set_label(labels, m.name, m.value);
        } else {
          twice.push_back(m.name);
        }
      }
      for (const std::string& name : twice) set_label(labels, name, {});
    }
    Columns out;
    out.steps = steps.count;
    out.add(std::move(labels));
    for (std::size_t i = 0; i < steps.count; ++i) {
      out.values[i] = 1;
      out.present[i] = any[i] == 0;
    }
    parts::drop_absent(out);
    return out;
  }

  Columns histogram(const Expression& e, const Steps& steps) {
    const Columns q = argument(e, 0, steps);
    const Columns vector = argument(e, 1, steps);
    struct Member {
      double bound;
      std::size_t series;
    };
    absl::flat_hash_map<std::string, std::size_t> places;
    std::vector<std::vector<Member>> groups;
    Columns out;
    out.steps = steps.count;
    const std::vector<std::string> le = {"le"};
    for (std::size_t s = 0; s < vector.size(); ++s) {
      const auto bound = parse_number(value_of(vector.labels[s], "le"));
      if (!bound) continue;
      const auto [found, fresh] = places.try_emplace(parts::key_of(vector.labels[s], le, true), groups.size());
      if (fresh) {
        groups.emplace_back();
        out.add(parts::kept(vector.labels[s], le, true));
      }
      groups[found->second].push_back({*bound, s});
    }
    std::vector<Bucket> buckets;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      look_sometimes();
      for (std::size_t i = 0; i < steps.count; ++i) {
        buckets.clear();
        for (const Member& m : groups[g])
          if (vector.present_of(m.series)[i]) buckets.push_back({m.bound, vector.values_of(m.series)[i]});
        if (buckets.empty()) continue;
        out.values_of(g)[i] = histogram_quantile(q.values[i], buckets);
        out.present_of(g)[i] = 1;
      }
    }
    parts::drop_absent(out);
    return out;
  }

  const std::string& text_of(const Expression& e, std::size_t i) const { return e.operands[i]->text; }

  Columns label_replace(const Expression& e, const Steps& steps) {
    Columns vector = argument(e, 0, steps);
    const std::string& to = text_of(e, 1);
    const std::string& replacement = text_of(e, 2);
    const std::string& source = text_of(e, 3);
    if (!is_label_name(to)) refuse("invalid destination label name in label_replace(): " + to);
    Result<Matcher> matcher = make_matcher(source, Matcher::Op::regex, text_of(e, 4));
    if (!matcher) refuse(matcher.error().what);
    const re2::RE2& regex = *matcher->regex;
    std::vector<re2::StringPiece> found(static_cast<std::size_t>(regex.NumberOfCapturingGroups()) + 1);
    for (Labels& labels : vector.labels) {
      const std::string text(value_of(labels, source));
      if (!regex.Match(text, 0, text.size(), re2::RE2::ANCHOR_BOTH, found.data(), static_cast<int>(found.size())))
        continue;
      set_label(labels, to, expand(replacement, regex, found));
    }
    parts::join_equal(vector);
    return vector;
  }

  // $1, $name, ${1}, ${name}; $$ is a dollar; a group that is not there is empty.
  static std::string expand(const std::string& text, const re2::RE2& regex,
                            const std::vector<re2::StringPiece>& found) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '$' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      if (text[i + 1] == '$') {
        out += text[++i];
        continue;
      }
      const bool braced = text[i + 1] == '{';
      std::size_t from = i + 1 + (braced ? 1 : 0), to = from;
      while (to < text.size() && (is_label_name(text.substr(to, 1)) || (text[to] >= '0' && text[to] <= '9'))) ++to;
      if (to == from || (braced && (to == text.size() || text[to] != '}'))) {
        out += '$';
        continue;
      }
      const std::string name = text.substr(from, to - from);
      std::size_t group = found.size();
      const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), group);
      if (fault != std::errc() || end != name.data() + name.size()) {
        const auto& named = regex.NamedCapturingGroups();
        const auto at = named.find(name);
        group = at == named.end() ? found.size() : static_cast<std::size_t>(at->second);
      }
      if (group < found.size()) out.append(found[group].data() ? found[group].data() : "", found[group].size());
      i = braced ? to : to - 1;
    }
    return out;
  }

  Columns label_join(const Expression& e, const Steps& steps) {
    Columns vector = argument(e, 0, steps);
    const std::string& to = text_of(e, 1);
    if (!is_label_name(to)) refuse("invalid destination label name in label_join(): " + to);
    for (Labels& labels : vector.labels) {
      std::string joined;
      for (std::size_t i = 3; i < e.operands.size(); ++i) {
        if (i > 3) joined += text_of(e, 2);
        joined += value_of(labels, text_of(e, i));
      }
      set_label(labels, to, joined);
    }
    parts::join_equal(vector);
    return vector;
  }

  Times times_;
  std::vector<Loaded>& loaded_;
  const Limits& limits_;
  const Stop& stop_;
  std::size_t looked_ = 0;
};

}  // namespace

Result<Value> evaluate(const Expression& expression, const Steps& steps, std::vector<Loaded>& loaded,
                       const Limits& limits, const Stop& stop) {
  try {
    return Evaluator(steps, loaded, limits, stop).value(expression, steps);
  } catch (const Refused& refused) {
    return refused.error;
  }
}

}  // namespace muster::query
