#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/decode/exponential.hpp"
#include "collector/decode/label_fields.hpp"
#include "collector/decode/otlp.hpp"
#include "collector/decode/otlp_names.hpp"

// What both forms of OTLP are read into: for otlp_protobuf.cpp and otlp_json.cpp.
namespace muster::decode {

struct OtlpAttribute {
  std::string_view key;
  std::string_view value;  // as text; empty counts as absent
};
using OtlpAttributes = std::span<const OtlpAttribute>;

enum class Temporality : std::int32_t { unspecified = 0, delta = 1, cumulative = 2 };

struct OtlpMetric {
  std::string_view name;
  std::string_view description;
  std::string_view unit;
  OtlpData data = OtlpData::gauge;
  Temporality temporality = Temporality::unspecified;  // of sums and histograms
  bool monotonic = false;                              // of sums
};

// What every data point has.
struct OtlpPoint {
  std::uint64_t start_ns = 0;  // 0: not said
  std::uint64_t time_ns = 0;
  std::uint32_t flags = 0;
  OtlpAttributes attributes;

  static constexpr std::uint32_t no_recorded_value = 1;
  bool recorded() const { return (flags & no_recorded_value) == 0; }
};

struct OtlpNumber : OtlpPoint {
  std::optional<double> value;
};

struct OtlpHistogram : OtlpPoint {
  std::uint64_t count = 0;
  std::optional<double> sum;
  std::span<const std::uint64_t> bucket_counts;  // one more than bounds, or none
  std::span<const double> bounds;
};

struct OtlpExponential : OtlpPoint {
  std::uint64_t count = 0;
  std::optional<double> sum;
  std::int32_t scale = 0;
  std::uint64_t zero_count = 0;
  double zero_threshold = 0;
  std::span<const ExponentialBucket> positive;  // those that are not empty
  std::span<const ExponentialBucket> negative;
};

struct OtlpQuantile {
  double quantile = 0;
  double value = 0;
};
struct OtlpSummary : OtlpPoint {
  std::uint64_t count = 0;
  double sum = 0;
  std::span<const OtlpQuantile> quantiles;
};

// Buckets that are not empty, on one side of an exponential histogram. OpenTelemetry's SDKs make 160; a sender
// that makes more than this has no use for it, and 16 bytes of memory for one of the body would be too much.
inline constexpr std::size_t exponential_buckets_max = 20'000;
inline constexpr std::int64_t bucket_index_max = std::numeric_limits<std::int32_t>::max();
inline constexpr const char* too_many_buckets =
    "more than 20000 buckets on one side, or buckets beyond what a number can be";

// Turns resources, metrics and data points into series: the one place with the rules of the mapping. Readers tell
// what they read in this order:
//
//   resource  (scope  (metric  point*)*)*  end_resource  …  finish
class OtlpMapper {
 public:
  OtlpMapper(const OtlpRules& rules, const Limits& limits) : rules_(rules), limits_(limits) {}

  void resource(OtlpAttributes attributes);
  void scope(std::string_view name, std::string_view version);
  void metric(const OtlpMetric& metric);
  void point(const OtlpNumber& point);
  void point(const OtlpHistogram& point);
  void point(const OtlpExponential& point);
  void point(const OtlpSummary& point);
  // A data point that the reader cannot give.
  void refuse(OtlpAttributes attributes, std::string why);
  void skip_exemplars(std::uint64_t count) { out_.decoded.skipped.exemplars += count; }
  void end_resource();

  // The limits are reached: no more is taken, and finish() is an Error.
  bool full() const { return full_ != nullptr; }
  Result<Otlp> finish();

 private:
  // In families_text_, which moves as it grows.
  struct Family {
    std::size_t at = 0;
    std::size_t name = 0, unit = 0, help = 0;  // bytes
    std::string_view type;
  };
  struct Label {
    std::string name;
    std::string value;
    bool weak = false;  // an attribute of the data point counts before it
  };
  // Which name of a metric: the series of a histogram have several.
  enum Part : std::size_t { plain, count_part, sum_part, bucket_part, parts };

  void describe(std::string_view type, std::string_view unit);
  bool begin_point(const OtlpPoint& point);
  void reject(OtlpAttributes attributes, std::string why);
  // Fills fields_; false when a key is empty.
  bool attribute_fields(OtlpAttributes attributes);
  void merge(OtlpAttributes attributes);
  bool is_kept(std::string_view name) const;   // ours: an attribute of this name is left out
  bool is_taken(std::string_view name) const;  // or a label of the resource
  // counts: it grows from the start that the point says
  void start_series(Part part, bool counts);
  void series(Part part, double value, bool counts);
  void bounded_series(Part part, std::string_view label, double bound, double value, bool counts);
  std::string_view bound_field(std::string_view label, double bound);
  void remember_span(const OtlpPoint& point);
  bool is_delta() const {
    return metric_.temporality == Temporality::delta && metric_.data != OtlpData::gauge &&
           metric_.data != OtlpData::summary;
  }

  const OtlpRules& rules_;
  const Limits& limits_;
  Otlp out_;
  LabelFieldsWriter writer_;
  struct Delta {
    std::size_t series = 0;
    std::uint64_t start_ns = 0, end_ns = 0;
  };
  std::vector<Delta> deltas_;
  std::vector<Family> families_;
  std::vector<char> families_text_;
  const char* full_ = nullptr;

  // Of the resource and its scope.
  std::vector<OtlpAttribute> resource_;
  std::vector<Label> shared_;  // labels of every series
  std::size_t of_resource_ = 0;  // the first of shared_; behind them those of the scope
  std::vector<char> shared_fields_;
  std::uint64_t shared_mask_ = 0;
  std::int64_t newest_ms_ = 0;
  bool has_points_ = false;

  // Of the metric.
  OtlpMetric metric_;
  std::string name_;
  std::array<std::vector<char>, parts> part_fields_;  // name, type, unit, temporality

  // Of the point.
  std::uint32_t index_ = 0;
  std::int64_t ms_ = 0;
  std::int64_t start_ms_ = 0;
  bool merged_ = false;  // its labels are `fields_` alone, else shared_fields_ and then `fields_`
  std::vector<char> fields_;

  // Labels `le` and `quantile` with numbers that came before, by a hash of the number.
  struct BoundField {
    std::uint64_t bits = 0;
    char label = 0;  // its first letter
    std::uint8_t size = 0;
    std::array<char, 54> fields{};  // 40 bytes for -1.7976931348623157e+308 as a quantile
  };
  std::array<BoundField, 256> bound_fields_;

  // Kept for their memory.
  std::vector<char> bound_scratch_;
  std::string scratch_;
  std::vector<std::string_view> names_;
  std::vector<ClassicBucket> buckets_;
};

// Text of attribute values that are no strings, as OpenTelemetry writes them into labels.
namespace attribute_text {
inline constexpr int depth_max = 16;
void append_double(std::string& out, double number);  // 0.5, 1e-07, 1e+21, NaN
void append_quoted(std::string& out, std::string_view text);  // a JSON string
void append_base64(std::string& out, std::string_view bytes);
}  // namespace attribute_text

// Texts of one data point that stand nowhere in the request, kept until the next one without a new allocation.
class OtlpTexts {
 public:
  void clear() { used_ = 0; }
  // An empty one; it stays where it is.
  std::string& next();

 private:
  std::vector<std::unique_ptr<std::string>> texts_;
  std::size_t used_ = 0;
};

}  // namespace muster::decode
