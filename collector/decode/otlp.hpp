#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// How OpenTelemetry's resources become labels.
struct OtlpRules {
  // A resource attribute that becomes a label of every series of its resource. Of several that give one label,
  // the first in this list that is there counts; an attribute of the data point itself counts before it.
  struct Promotion {
    std::string attribute;
    std::string label;
    friend bool operator==(const Promotion&, const Promotion&) = default;
  };
  std::vector<Promotion> promote = default_promotions();
  bool target_info = true;    // one series a resource that carries all its other attributes
  bool scope_labels = false;  // otel_scope_name and otel_scope_version: they make a library's update new series

  // What says whose numbers these are: the model, its version, environment, region, family and team.
  static std::vector<Promotion> default_promotions();
};

// The time that a data point of delta temporality covers, as its sender says.
struct DeltaSpan {
  std::uint64_t alias = 0;  // of the first series that the point gave
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;
};

// An OTLP request. Each series has one sample. In RawSeries::line and Rejected::line stands the index of the data point in the request,
// counted over all its metrics; a target_info series belongs to none and has `no_data_point`. In `decoded`,
// rejected_count counts data points.
struct Otlp {
  static constexpr std::uint32_t no_data_point = 0xffff'ffff;

  Decoded decoded;
  std::uint32_t data_points = 0;
  std::vector<DeltaSpan> deltas;

  // Which data points the samples at these indices of `decoded.batch.points` belong to, each once; those of
  // target_info belong to none. For when the batch is gone.
  std::size_t data_points_of(std::span<const std::uint32_t> samples) const;
  std::vector<std::uint32_t> data_point_of;  // by sample
};

// `where` of an Error: the request is sound and would be more than the limits allow.
inline constexpr std::string_view over_limit = "request size";

// An ExportMetricsServiceRequest of OTLP, protobuf or JSON, as samples with Prometheus's names:
//
//   gauge, sum             one series; a monotonic sum is a counter and ends in _total
//   histogram              _count, _sum (when said) and _bucket{le}, cumulative over le
//   exponential_histogram  the same; buckets as in exponential.hpp
//   summary                one series a quantile, _sum and _count
//
// Delta temporality is stored as it was sent, marked with __temporality__; cumulative counters and histograms carry
// their start time. A point without a recorded value gives stale markers. Times are kept to the millisecond, so
// that what was read within one export lies at one instant. Min, max and exemplars are left out; exemplars are
// counted. What a metric says of itself is in `families`.
//
// A data point that cannot be taken is left out and stands in `rejected` with its metric and attributes; an Error
// means that nothing can be used. Attributes with empty values count as absent, as labels do; nested ones become
// JSON, to a depth of 16.
//
// source   opentelemetry-proto 1.x; JSON: keys in lowerCamelCase, enums as numbers, 64-bit integers as numbers or
//          strings, unknown keys are ignored
Result<Otlp> otlp_protobuf(std::span<const char> body, const OtlpRules& rules = {},
                           const Limits& limits = {});
Result<Otlp> otlp_json(std::vector<char> body, const OtlpRules& rules = {},
                       const Limits& limits = {});

}  // namespace muster::decode
