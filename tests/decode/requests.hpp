#pragma once

#include <snappy.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "remote_write.pb.h"
#include "remote_write_2.pb.h"

// Remote write requests as a sender makes them.
namespace muster::test {

using LabelList = std::vector<std::pair<std::string, std::string>>;

inline muster_oracle::TimeSeries& add_series(muster_oracle::WriteRequest& request,
                                             const LabelList& labels) {
  auto& series = *request.add_timeseries();
  for (const auto& [name, value] : labels) {
    auto& label = *series.add_labels();
    label.set_name(name);
    label.set_value(value);
  }
  return series;
}

inline void add_sample(muster_oracle::TimeSeries& series, std::int64_t millis, double value) {
  auto& sample = *series.add_samples();
  sample.set_timestamp(millis);
  sample.set_value(value);
}

inline std::string snapped(const std::string& bytes) {
  std::string body;
  snappy::Compress(bytes.data(), bytes.size(), &body);
  return body;
}

inline std::string body_of(const muster_oracle::WriteRequest& request) {
  return snapped(request.SerializeAsString());
}

// A 2.0 request with its table of symbols, each once.
struct Request2 {
  muster_oracle::v2::Request message;
  std::map<std::string, std::uint32_t> known;

  Request2() { symbol(""); }
  std::uint32_t symbol(const std::string& text) {
    const auto [at, is_new] = known.try_emplace(text, static_cast<std::uint32_t>(known.size()));
    if (is_new) message.add_symbols(text);
    return at->second;
  }
  muster_oracle::v2::TimeSeries& add(const LabelList& labels) {
    auto& series = *message.add_timeseries();
    for (const auto& [name, value] : labels) {
      series.add_labels_refs(symbol(name));
      series.add_labels_refs(symbol(value));
    }
    return series;
  }
  std::string body() const { return snapped(message.SerializeAsString()); }
};

inline muster_oracle::v2::Sample& add_sample(muster_oracle::v2::TimeSeries& series,
                                             std::int64_t millis, double value,
                                             std::int64_t start = 0) {
  auto& sample = *series.add_samples();
  sample.set_timestamp(millis);
  sample.set_value(value);
  sample.set_start_timestamp(start);
  return sample;
}

// What Prometheus's own documentation of native histograms and its clients would show: buckets (0.5, 1] with 1,
// (1, 2] with 2, (4, 8] with 1 and (8, 16] with 1 observation, and 2 within 0.001 of zero.
inline void fill_integers(muster_oracle::Histogram& h, std::int64_t millis) {
  h.set_count_int(7);
  h.set_sum(18.4);
  h.set_schema(0);
  h.set_zero_threshold(0.001);
  h.set_zero_count_int(2);
  for (const int offset : {0, 1}) {
    auto& span = *h.add_positive_spans();
    span.set_offset(offset);
    span.set_length(2);
  }
  for (const int delta : {1, 1, -1, 0}) h.add_positive_deltas(delta);
  h.set_timestamp(millis);
}

}  // namespace muster::test
