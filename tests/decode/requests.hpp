#pragma once

#include <snappy.h>

#include <string>
#include <utility>
#include <vector>

#include "remote_write.pb.h"

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

}  // namespace muster::test
