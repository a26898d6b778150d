#include "schema/store/cardinality.hpp"

#include <algorithm>
#include <cmath>

#include "base/hash.hpp"

namespace muster::store {

void DistinctCount::merge(const DistinctCount& other) {
  for (std::size_t i = 0; i < ranks_.size(); ++i)
    ranks_[i] = std::max(ranks_[i], other.ranks_[i]);
}

std::uint64_t DistinctCount::estimate() const {
  constexpr double m = 1u << bits;
  double sum = 0;
  int empty = 0;
  for (const std::uint8_t rank : ranks_) {
    sum += std::ldexp(1.0, -rank);
    empty += rank == 0;
  }
  double n = 0.7213 / (1 + 1.079 / m) * m * m / sum;
  if (n <= 2.5 * m && empty > 0) n = m * std::log(m / empty);
  return static_cast<std::uint64_t>(std::llround(n));
}

std::size_t Cardinality::Names::find(std::string_view name, std::size_t most) {
  const std::uint64_t hash = hash64(name);
  if (const auto known = index.find(hash); known != index.end()) return known->second;
  if (names.size() == most) {
    names.emplace_back("others");
  }
  if (names.size() > most) return most;
  index.emplace(hash, static_cast<std::uint32_t>(names.size()));
  names.emplace_back(name);
  return names.size() - 1;
}

void Cardinality::add(std::string_view metric) {
  const std::size_t brace = metric.find('{');
  const std::size_t at_metric = metrics_.find(metric.substr(0, brace), metrics_max);
  if (metric_series_.size() <= at_metric) metric_series_.resize(at_metric + 1);
  ++metric_series_[at_metric];

  // k="v", again and again; a quote inside a value has a backslash before it.
  std::size_t at = brace == metric.npos ? metric.size() : brace + 1;
  while (at < metric.size()) {
    const std::size_t equals = metric.find("=\"", at);
    if (equals == metric.npos) return;
    const std::size_t at_label = labels_.find(metric.substr(at, equals - at), labels_max);
    const std::size_t first = equals + 2;
    std::size_t end = first;
    while (end < metric.size() && metric[end] != '"') end += metric[end] == '\\' ? 2 : 1;
    if (label_seen_.size() <= at_label) label_seen_.resize(at_label + 1);
    Seen& seen = label_seen_[at_label];
    ++seen.series;
    seen.values.add(hash64(metric.substr(first, std::min(end, metric.size()) - first)));
    at = end + 2;  // the quote and the comma
  }
}

std::vector<Cardinality::Metric> Cardinality::top_metrics(std::size_t n) const {
  std::vector<Metric> all;
  for (std::size_t i = 0; i < metric_series_.size(); ++i)
    all.push_back({metrics_.names[i], metric_series_[i]});
  std::sort(all.begin(), all.end(), [](const Metric& a, const Metric& b) {
    return a.series != b.series ? a.series > b.series : a.name < b.name;
  });
  if (all.size() > n) all.resize(n);
  return all;
}

std::vector<Cardinality::Label> Cardinality::top_labels(std::size_t n) const {
  std::vector<Label> all;
  for (std::size_t i = 0; i < label_seen_.size(); ++i)
    all.push_back({labels_.names[i], label_seen_[i].series, label_seen_[i].values.estimate()});
  std::sort(all.begin(), all.end(), [](const Label& a, const Label& b) {
    return a.values != b.values ? a.values > b.values : a.name < b.name;
  });
  if (all.size() > n) all.resize(n);
  return all;
}

std::size_t Cardinality::bytes() const {
  return (metrics_.index.capacity() + labels_.index.capacity()) * 17 +
         (metrics_.names.capacity() + labels_.names.capacity()) * 64 +
         label_seen_.capacity() * sizeof(Seen);
}

}  // namespace muster::store
