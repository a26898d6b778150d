#pragma once

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "collector/decode/otlp.hpp"
#include "otlp.pb.h"
#include "remote_write.pb.h"

// OTLP requests as a sender makes them, and what became of them in a form that can be compared.
namespace muster::test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr std::uint64_t otlp_ns = 1'700'000'000'123'456'789;
constexpr std::int64_t otlp_ms = 1'700'000'000'123;

template <class Message>
void add_attributes(Message& message, const Pairs& attributes) {
  for (const auto& [key, value] : attributes) {
    auto& attribute = *message.add_attributes();
    attribute.set_key(key);
    attribute.mutable_value()->set_string_value(value);
  }
}

// A request of one metric.
struct OneMetric {
  otlp_oracle::ExportMetricsServiceRequest request;
  otlp_oracle::ResourceMetrics& resource = *request.add_resource_metrics();
  otlp_oracle::ScopeMetrics& scope = *resource.add_scope_metrics();
  otlp_oracle::Metric& metric = *scope.add_metrics();

  OneMetric(const std::string& name, const std::string& unit, const Pairs& of_resource = {}) {
    metric.set_name(name);
    metric.set_unit(unit);
    add_attributes(*resource.mutable_resource(), of_resource);
  }
  OneMetric(const OneMetric&) = delete;
  OneMetric& operator=(const OneMetric&) = delete;
};

template <class Point>
Point& at(Point& point, const Pairs& attributes = {}, std::uint64_t start_ns = 0,
          std::uint64_t ns = otlp_ns) {
  add_attributes(point, attributes);
  point.set_start_time_unix_nano(start_ns);
  point.set_time_unix_nano(ns);
  return point;
}

inline std::string json_of(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_enums_as_ints = true;  // as OTLP wants it, and only it
  std::string out;
  if (!google::protobuf::util::MessageToJsonString(message, &out, options).ok())
    throw std::runtime_error("libprotobuf cannot write this as JSON");
  return out;
}

// One sample with all that is known of its series.
struct Told {
  std::map<std::string, std::string> labels;
  std::int64_t ms = 0;
  std::uint64_t bits = 0;
  std::int64_t start_ms = 0;
  std::uint32_t line = 0;

  double value() const { return std::bit_cast<double>(bits); }
  friend bool operator==(const Told&, const Told&) = default;
};

inline std::vector<Told> told(const decode::Otlp& otlp) {
  std::vector<Told> out;
  const SampleBatch& batch = otlp.decoded.batch;
  for (const RawSeries& series : batch.series) {
    muster_oracle::TimeSeries labels;
    if (!labels.ParseFromArray(series.labels.data(), static_cast<int>(series.labels.size())))
      throw std::runtime_error("labels that libprotobuf cannot read");
    Told one{{}, 0, 0, series.start_ms, series.line};
    for (const auto& label : labels.labels())
      if (!one.labels.emplace(label.name(), label.value()).second)
        throw std::runtime_error("label " + label.name() + " twice");
    for (std::uint32_t p = 0; p < series.count; ++p) {
      const Point& point = batch.points[series.first + p];
      one.ms = to_millis(point.ts);
      one.bits = std::bit_cast<std::uint64_t>(point.value);
      out.push_back(one);
    }
  }
  return out;
}

inline Result<decode::Otlp> read_json(std::string_view text, const decode::OtlpRules& rules = {},
                                      const decode::Limits& limits = {}) {
  return decode::otlp_json({text.begin(), text.end()}, rules, limits);
}

}  // namespace muster::test
