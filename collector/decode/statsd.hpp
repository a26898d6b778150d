#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "schema/samples.hpp"
#include "schema/time.hpp"

namespace muster::decode {

struct StatsdSettings {
  std::size_t keys_max = 100'000;  // names with their tags that are remembered: some 300 bytes each
  // Values of one timer in a window that its quantiles are taken from; beyond it a fair choice of so many.
  std::size_t values_max = 1000;
  // Of one set in a window that are told apart.
  std::size_t distinct_max = 10'000;
  // Values of all timers and sets of a window together: 16 MiB.
  std::size_t values_in_all_max = 2'000'000;
  // A name that did not come for so many windows is forgotten; a gauge's value with it.
  std::uint32_t idle_windows_max = 360;
};

// What StatsD senders said between two flushes, with DogStatsD's tags:
//
//   name:1|c   name:1|c|@0.1   name:5|g   name:+5|g   name:-5|g   name:320|ms   name:7|h   name:7|d   name:id|s
//   name:1|c|#model:churn,arm:a     name:1:2:3|h
//
// A flush makes of a counter its increase (delta), of a gauge its value, of a timer, histogram or distribution
// `name_count` and `name_sum` as increases and `name{quantile="0.5|0.9|0.99"}`, of a set how many different ones
// there were. What did not come since the last flush gives no sample. Characters that no metric name has become _.
//
// source  the README of statsd; DogStatsD's datagram format
class StatsdWindow {
 public:
  explicit StatsdWindow(StatsdSettings settings = {}) : settings_(settings) {}

  // A datagram of lines.
  void take(std::string_view datagram);
  SampleBatch flush(Timestamp now);

  struct Counters {
    std::uint64_t lines = 0;
    std::uint64_t rejected = 0;    // not of this form
    std::uint64_t skipped = 0;     // events and service checks
    std::uint64_t over_limit = 0;  // keys_max, distinct_max or values_in_all_max
  };
  const Counters& counters() const { return counters_; }
  const std::string& last_rejected() const { return last_rejected_; }  // and why, for people
  std::size_t keys() const { return metrics_.size(); }

 private:
  enum class Type : std::uint8_t { counter, gauge, timer, set };
  struct Tag {
    std::string name;
    std::string value;
  };
  struct Metric {
    Type type = Type::counter;
    bool milliseconds = false;
    std::string name;
    std::vector<Tag> tags;  // sorted
    bool came = false;      // since the last flush
    std::uint32_t idle = 0;
    double value = 0;  // gauge; counter's increase; timer's sum
    double count = 0;  // timer
    std::uint64_t seen = 0;
    std::vector<double> values;
    absl::flat_hash_set<std::uint64_t> distinct;
  };

  const char* line(std::string_view text);  // what is wrong with it
  const char* add(Metric& metric, std::string_view value, double rate);

  StatsdSettings settings_;
  absl::flat_hash_map<std::string, Metric> metrics_;
  std::size_t values_ = 0;
  std::uint64_t random_ = 0x9e37'79b9'7f4a'7c15ULL;
  Counters counters_;
  std::string last_rejected_;
};

}  // namespace muster::decode
