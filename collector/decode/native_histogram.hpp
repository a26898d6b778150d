#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "collector/decode/built_series.hpp"
#include "collector/decode/decoded.hpp"
#include "collector/decode/exponential.hpp"
#include "schema/mapping.hpp"

namespace muster::decode {

// A native histogram of Prometheus as remote write 1.0 and 2.0 send it (message Histogram), read.
struct NativeHistogram {
  double count = 0;
  double sum = 0;
  std::int32_t schema = 0;
  double zero_threshold = 0;
  double zero_count = 0;
  std::vector<ExponentialBucket> positive;  // by the indexes of exponential.hpp
  std::vector<ExponentialBucket> negative;
  std::vector<double>
      custom_values;   // schema -53: the buckets' ends, ascending, without the infinite one
  bool gauge = false;  // it is no counter: its counts may fall
  std::int64_t millis = 0;
  std::int64_t start_ms = 0;  // 0 is not said
};

// Labels reserved for us behind those of a series; empty ones are left out. `type` is a word of metric_type, `unit` as
// put_text wants it.
char* put_reserved(char* at, std::string_view type, std::string_view unit);

// Reads native histograms and makes them classic series: name_bucket{le="…"}, cumulative, name_count and name_sum.
// One object for a request, as it keeps its memory.
class HistogramReader {
 public:
  HistogramReader(Decoded& out, BuiltSeries& built) : out_(out), built_(built) {}

  // The series of the histogram in `message`, with labels `labels`, into the batch; `type` is what its metadata
  // says, "histogram" when nothing. A stale histogram gives stale name_count, name_sum and name_bucket{le="+Inf"}.
  // The Error tells what its sender has to change, and nothing of it is in the batch then. Throws
  // protozero::exception when it is no message.
  //
  // labels  in the order of their names, with BuiltSeries::spare_bytes behind each text
  Result<void> read(std::string_view message, std::span<const LabelView> labels,
                    std::string_view type, std::string_view unit, std::uint32_t line,
                    std::int64_t start_ms = 0);

 private:
  Result<void> parse(std::string_view message);
  Result<void> custom_buckets();
  void put(std::span<const LabelView> labels, std::string_view suffix, std::string_view le,
           double value);

  Decoded& out_;
  BuiltSeries& built_;
  NativeHistogram histogram_;
  std::vector<ClassicBucket> buckets_;
  struct Span {
    std::int32_t offset = 0;
    std::uint32_t length = 0;
  };
  struct Side {
    std::vector<Span> spans;
    std::vector<std::int64_t> deltas;
    std::vector<double> counts;
    void clear();
    Result<void> expand(bool floats, std::int32_t shift,
                        std::vector<ExponentialBucket>& into) const;
  };
  Side positive_, negative_;
  std::string_view type_, unit_;
  std::uint32_t line_ = 0;
  std::string le_, name_;
};

}  // namespace muster::decode
