#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

namespace muster::store {

// How many different things were seen, within 3 % and in 1 KiB however many they are.
//
// hash    of a thing, 64 good bits
// source  Flajolet et al., HyperLogLog (2007), with linear counting below 2.5 m
class DistinctCount {
 public:
  void add(std::uint64_t hash) {
    std::uint8_t& rank = ranks_[hash >> (64 - bits)];
    const auto found = static_cast<std::uint8_t>(__builtin_clzll((hash << bits) | 1) + 1);
    if (found > rank) rank = found;
  }
  void merge(const DistinctCount& other);
  std::uint64_t estimate() const;

 private:
  static constexpr unsigned bits = 10;  // 1.04 / sqrt(1024) is 3.3 %
  std::array<std::uint8_t, 1u << bits> ranks_{};
};

// Where the series come from, by names of metrics and of labels: who looks for the label that holds an id per
// request finds it here. Bounded: beyond its limits names count together as "others".
class Cardinality {
 public:
  // A new series. `metric` as in SeriesIdentity: name{k="v",…}.
  void add(std::string_view metric);

  struct Metric {
    std::string name;
    std::uint64_t series = 0;
  };
  struct Label {
    std::string name;
    std::uint64_t series = 0;  // that have it
    std::uint64_t values = 0;  // within 3 %
  };
  std::vector<Metric> top_metrics(std::size_t n) const;  // most series first
  std::vector<Label> top_labels(std::size_t n) const;    // most values first
  std::size_t bytes() const;                             // of memory, about

 private:
  // A fleet has some hundred names of metrics and some ten of labels that are not the model's.
  static constexpr std::size_t metrics_max = 10'000;
  static constexpr std::size_t labels_max = 1'000;

  // By the hash of their names; the last one is "others".
  struct Names {
    absl::flat_hash_map<std::uint64_t, std::uint32_t> index;
    std::vector<std::string> names;
    std::size_t find(std::string_view name, std::size_t most);
  };
  struct Seen {
    std::uint64_t series = 0;
    DistinctCount values;
  };
  Names metrics_, labels_;
  std::vector<std::uint64_t> metric_series_;
  std::vector<Seen> label_seen_;
};

}  // namespace muster::store
