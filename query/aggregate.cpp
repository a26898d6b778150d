#include <algorithm>
#include <cmath>
#include <utility>

#include "query/functions.hpp"
#include "query/number.hpp"
#include "query/parts.hpp"

namespace muster::query::parts {
namespace {

// Which output series each input series belongs to.
struct Grouped {
  std::vector<std::size_t> group_of;
  std::vector<Labels> labels;
};

Grouped group(const Expression& e, const Columns& vector) {
  Grouped out;
  absl::flat_hash_map<std::string, std::size_t> places;
  out.group_of.reserve(vector.size());
  for (const Labels& labels : vector.labels) {
    const auto [found, fresh] = places.try_emplace(key_of(labels, e.grouping, e.without), out.labels.size());
    if (fresh) out.labels.push_back(kept(labels, e.grouping, e.without));
    out.group_of.push_back(found->second);
  }
  return out;
}

// Each fold takes the next value of a group at one step.
void add_mean(double& mean, double count, double x) {
  if (std::isinf(mean) && ((std::isinf(x) && (mean > 0) == (x > 0)) || std::isfinite(x))) return;
  mean += x / count - mean / count;
}

Columns fold(const Expression& e, const Columns& vector, const Grouped& groups) {
  Columns out;
  out.steps = vector.steps;
  for (const Labels& labels : groups.labels) out.add(labels);
  std::vector<double> counts(out.values.size());
  std::vector<double> means;
  const bool deviates = e.aggregation == Aggregation::stddev || e.aggregation == Aggregation::stdvar;
  if (deviates) means.resize(out.values.size());

  for (std::size_t s = 0; s < vector.size(); ++s) {
    const std::size_t base = groups.group_of[s] * out.steps;
    const auto values = vector.values_of(s);
    const auto present = vector.present_of(s);
    for (std::size_t i = 0; i < out.steps; ++i) {
      if (!present[i]) continue;
      const double x = values[i];
      double& held = out.values[base + i];
      const double n = ++counts[base + i];
      switch (e.aggregation) {
        case Aggregation::sum:
          held = n == 1 ? x : held + x;
          break;
        case Aggregation::avg:
          if (n == 1) {
            held = x;
          } else {
            add_mean(held, n, x);
          }
          break;
        case Aggregation::min:
          if (n == 1 || held > x || std::isnan(held)) held = x;
          break;
        case Aggregation::max:
          if (n == 1 || held < x || std::isnan(held)) held = x;
          break;
        case Aggregation::count:
          held = n;
          break;
        case Aggregation::group:
          held = 1;
          break;
        default: {  // Welford
          double& mean = means[base + i];
          const double off = x - mean;
          mean += off / n;
          held += off * (x - mean);
        }
      }
    }
  }
  for (std::size_t k = 0; k < counts.size(); ++k) {
    out.present[k] = counts[k] > 0;
    if (deviates && out.present[k]) {
      out.values[k] /= counts[k];
      if (e.aggregation == Aggregation::stddev) out.values[k] = std::sqrt(out.values[k]);
    }
  }
  return out;
}

std::vector<std::vector<std::size_t>> members(const Grouped& groups) {
  std::vector<std::vector<std::size_t>> out(groups.labels.size());
  for (std::size_t s = 0; s < groups.group_of.size(); ++s) out[groups.group_of[s]].push_back(s);
  return out;
}

Columns quantiles(const Columns& vector, const Grouped& groups, const Columns& q) {
  Columns out;
  out.steps = vector.steps;
  std::vector<double> values;
  for (const auto& series : members(groups)) {
    const std::size_t to = out.add(groups.labels[out.size()]);
    for (std::size_t i = 0; i < out.steps; ++i) {
      values.clear();
      for (const std::size_t s : series)
        if (vector.present_of(s)[i]) values.push_back(vector.values_of(s)[i]);
      if (values.empty()) continue;
      out.values_of(to)[i] = quantile(q.values[i], values);
      out.present_of(to)[i] = 1;
    }
  }
  return out;
}

// Keeps the k largest (or smallest) of each group at each step; of an instant, in their order.
Columns best(const Expression& e, Columns vector, const Grouped& groups, const Columns& k) {
  const bool top = e.aggregation == Aggregation::topk;
  std::vector<std::size_t> order;
  std::vector<std::size_t> all;
  const auto better = [&](double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
    return top ? a > b : a < b;
  };
  for (const auto& series : members(groups)) {
    for (std::size_t i = 0; i < vector.steps; ++i) {
      order.clear();
      for (const std::size_t s : series)
        if (vector.present_of(s)[i]) order.push_back(s);
      const double wanted = k.values[i];
      if (std::isnan(wanted) || wanted > 9e15 || wanted < -9e15)
        refuse("the parameter of " + std::string(to_word(e.aggregation)) + " is no whole number");
      const std::size_t keep = wanted < 1 ? 0 : std::min(order.size(), static_cast<std::size_t>(wanted));
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return better(vector.values_of(a)[i], vector.values_of(b)[i]);
      });
      for (std::size_t r = keep; r < order.size(); ++r) vector.present_of(order[r])[i] = 0;
      if (vector.steps == 1) all.insert(all.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(keep));
    }
  }
  if (vector.steps == 1) {
    Columns ordered;
    for (const std::size_t s : all) {
      const std::size_t to = ordered.add(std::move(vector.labels[s]));
      ordered.values[to] = vector.values[s];
      ordered.present[to] = 1;
    }
    return ordered;
  }
  drop_absent(vector);
  return vector;
}

Columns count_values(const Columns& vector, const Grouped& groups, const std::string& label) {
  Columns out;
  out.steps = vector.steps;
  absl::flat_hash_map<std::string, std::size_t> places;
  for (std::size_t s = 0; s < vector.size(); ++s) {
    for (std::size_t i = 0; i < vector.steps; ++i) {
      if (!vector.present_of(s)[i]) continue;
      std::string value;
      append_fixed(value, vector.values_of(s)[i]);
      Labels labels = groups.labels[groups.group_of[s]];
      set_label(labels, label, value);
      const auto [found, fresh] = places.try_emplace(key_of(labels), out.size());
      if (fresh) out.add(std::move(labels));
      out.values_of(found->second)[i] += 1;
      out.present_of(found->second)[i] = 1;
    }
  }
  return out;
}

}  // namespace

Columns aggregate(const Expression& e, Columns vector, const Value* parameter) {
  const Grouped groups = group(e, vector);
  switch (e.aggregation) {
    case Aggregation::quantile:
      return quantiles(vector, groups, parameter->columns);
    case Aggregation::topk:
    case Aggregation::bottomk:
      return best(e, std::move(vector), groups, parameter->columns);
    case Aggregation::count_values:
      return count_values(vector, groups, parameter->text);
    default: {
      Columns out = fold(e, vector, groups);
      drop_absent(out);
      return out;
    }
  }
}

}  // namespace muster::query::parts
