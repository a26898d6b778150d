#include "collector/decode/native_histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include <protozero/pbf_reader.hpp>

#include "collector/decode/label_fields.hpp"
#include "collector/decode/text.hpp"
#include "schema/series.hpp"

namespace muster::decode {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr std::int32_t schema_min = -4, schema_max = 8;  // of Prometheus's exponential ones
constexpr std::int32_t custom_schema = -53;
// On each side of zero. A client keeps 160 by default and some thousand at most; the bound is for memory.
constexpr std::size_t native_buckets_max = 20'000;
// Each becomes a series.
constexpr std::size_t custom_values_max = 1000;
constexpr std::uint64_t hint_gauge = 3;

constexpr auto field(std::uint32_t number, pbf_wire_type type) {
  return protozero::tag_and_type(number, type);
}
constexpr auto packed = pbf_wire_type::length_delimited;
constexpr auto varint = pbf_wire_type::varint;
constexpr auto fixed64 = pbf_wire_type::fixed64;

Error too_many() {
  return {"histogram", "more than " + std::to_string(native_buckets_max) + " buckets"};
}

template <class Range, class T>
bool append(const Range& range, std::vector<T>& into) {
  for (const auto value : range) {
    if (into.size() == native_buckets_max) return false;
    into.push_back(value);
  }
  return true;
}

// Constants that put_text may read beyond.
struct Padded {
  char text[48];
  constexpr std::string_view view() const { return text; }
};
constexpr Padded padded_name = {"__name__"};
constexpr Padded padded_le = {"le"};
constexpr Padded padded_type = {"__type__"};
constexpr Padded padded_unit = {"__unit__"};
constexpr Padded type_words[] = {{"unknown"},        {"counter"}, {"gauge"}, {"histogram"},
                                 {"gaugehistogram"}, {"summary"}, {"info"},  {"stateset"}};
static_assert(padded_type.view() == type_label && padded_unit.view() == unit_label);

}  // namespace

std::string_view metric_type(std::uint64_t number) {
  return type_words[number < std::size(type_words) ? number : 0].view();
}

char* put_reserved(char* at, std::string_view type, std::string_view unit) {
  if (!type.empty()) at = put_label(at, padded_type.view(), type);
  if (!unit.empty()) at = put_label(at, padded_unit.view(), unit);
  return at;
}

void HistogramReader::Side::clear() {
  spans.clear();
  deltas.clear();
  counts.clear();
}

// shift  from the sender's bucket indexes to ours
Result<void> HistogramReader::Side::expand(bool floats, std::int32_t shift,
                                           std::vector<ExponentialBucket>& into) const {
  into.clear();
  const std::size_t given = floats ? counts.size() : deltas.size();
  if (floats ? !deltas.empty() : !counts.empty())
    return Error{"histogram", "integer and float buckets in one"};
  std::uint64_t lengths = 0;
  for (const Span& span : spans) lengths += span.length;
  if (lengths != given)
    return Error{"histogram", "its spans name " + std::to_string(lengths) + " buckets, and " +
                                  std::to_string(given) + " are there"};
  std::int64_t index = shift;
  std::uint64_t count = 0;  // differences may wrap; the sums may not, and are checked
  std::size_t next = 0;
  for (const Span& span : spans) {
    index += span.offset;
    for (std::uint32_t k = 0; k < span.length; ++k, ++index, ++next) {
      if (index < std::numeric_limits<std::int32_t>::min() ||
          index > std::numeric_limits<std::int32_t>::max())
        return Error{"histogram", "a bucket's index does not fit 32 bits"};
      double value = 0;
      if (floats) {
        value = counts[next];
      } else {
        count += static_cast<std::uint64_t>(deltas[next]);
        value = static_cast<double>(static_cast<std::int64_t>(count));
      }
      if (!(value >= 0) || std::isinf(value))
        return Error{"histogram", "a bucket's count is negative or not a number"};
      into.push_back({static_cast<std::int32_t>(index), value});
    }
  }
  return {};
}

Result<void> HistogramReader::parse(std::string_view bytes) {
  NativeHistogram& h = histogram_;
  h.count = h.sum = h.zero_threshold = h.zero_count = 0;
  h.schema = 0;
  h.custom_values.clear();
  h.gauge = false;
  h.millis = h.start_ms = 0;
  positive_.clear();
  negative_.clear();
  bool floats = false;
  std::uint64_t hint = 0;

  pbf_reader message(bytes.data(), bytes.size());
  const auto read_span = [&](Side& side) {
    Span span;
    pbf_reader inner = message.get_message();
    while (inner.next()) {
      switch (inner.tag_and_type()) {
        case field(1, varint):
          span.offset = inner.get_sint32();
          break;
        case field(2, varint):
          span.length = inner.get_uint32();
          break;
        default:
          inner.skip();
      }
    }
    if (side.spans.size() == native_buckets_max) return false;
    side.spans.push_back(span);
    return true;
  };
  const auto one = [](auto value, auto& into) {
    if (into.size() == native_buckets_max) return false;
    into.push_back(value);
    return true;
  };
  bool room = true;
  while (room && message.next()) {
    switch (message.tag_and_type()) {
      case field(1, varint):
        h.count = static_cast<double>(message.get_uint64());
        floats = false;
        break;
      case field(2, fixed64):
        h.count = message.get_double();
        floats = true;
        break;
      case field(3, fixed64):
        h.sum = message.get_double();
        break;
      case field(4, varint):
        h.schema = message.get_sint32();
        break;
      case field(5, fixed64):
        h.zero_threshold = message.get_double();
        break;
      case field(6, varint):
        h.zero_count = static_cast<double>(message.get_uint64());
        break;
      case field(7, fixed64):
        h.zero_count = message.get_double();
        break;
      case field(8, packed):
        room = read_span(negative_);
        break;
      case field(9, packed):
        room = append(message.get_packed_sint64(), negative_.deltas);
        break;
      case field(9, varint):
        room = one(message.get_sint64(), negative_.deltas);
        break;
      case field(10, packed):
        room = append(message.get_packed_double(), negative_.counts);
        break;
      case field(10, fixed64):
        room = one(message.get_double(), negative_.counts);
        break;
      case field(11, packed):
        room = read_span(positive_);
        break;
      case field(12, packed):
        room = append(message.get_packed_sint64(), positive_.deltas);
        break;
      case field(12, varint):
        room = one(message.get_sint64(), positive_.deltas);
        break;
      case field(13, packed):
        room = append(message.get_packed_double(), positive_.counts);
        break;
      case field(13, fixed64):
        room = one(message.get_double(), positive_.counts);
        break;
      case field(14, varint):
        hint = message.get_uint64();
        break;
      case field(15, varint):
        h.millis = message.get_int64();
        break;
      case field(16, packed):
        room = append(message.get_packed_double(), h.custom_values);
        break;
      case field(16, fixed64):
        room = one(message.get_double(), h.custom_values);
        break;
      case field(17, varint):
        h.start_ms = message.get_int64();
        break;
      default:
        message.skip();
    }
  }
  if (!room) return too_many();
  h.gauge = hint == hint_gauge;
  if (h.millis > millis_max || h.millis < -millis_max)
    return Error{"histogram", "timestamp " + std::to_string(h.millis) +
                                  " is not milliseconds since 1970-01-01 UTC"};
  if (is_stale(h.sum)) return {};
  if (h.schema != custom_schema && (h.schema < schema_min || h.schema > schema_max))
    return Error{"histogram", "schema " + std::to_string(h.schema) + " is not known"};
  // Prometheus counts a bucket by its upper end, and a custom one from 0.
  const std::int32_t shift = h.schema == custom_schema ? 0 : -1;
  if (const auto read = positive_.expand(floats, shift, h.positive); !read) return read.error();
  return negative_.expand(floats, shift, h.negative);
}

// Schema -53: the buckets' ends are given, as in a classic histogram.
Result<void> HistogramReader::custom_buckets() {
  const NativeHistogram& h = histogram_;
  buckets_.clear();
  if (h.custom_values.size() > custom_values_max)
    return Error{"histogram", "more than " + std::to_string(custom_values_max) + " custom buckets"};
  if (!h.negative.empty() || h.zero_count != 0)
    return Error{"histogram", "custom buckets have no negative and no zero bucket"};
  double before = -std::numeric_limits<double>::infinity();
  for (const double le : h.custom_values) {
    if (!(le > before) || std::isinf(le))
      return Error{"histogram", "custom values must be finite and ascend"};
    buckets_.push_back({before = le, 0});
  }
  buckets_.push_back({std::numeric_limits<double>::infinity(), 0});
  double held = 0;
  for (const ExponentialBucket& bucket : h.positive) {
    if (bucket.index < 0 || static_cast<std::size_t>(bucket.index) >= buckets_.size())
      return Error{"histogram", "bucket " + std::to_string(bucket.index) + " of " +
                                    std::to_string(buckets_.size()) + " custom ones"};
    buckets_[static_cast<std::size_t>(bucket.index)].count += bucket.count;
    held += bucket.count;
  }
  // As for exponential ones: float counts are sums of rounded numbers.
  if (!(h.count >= held * (1 - 1e-9)) || std::isinf(h.count))
    return Error{"histogram", "its count is less than its buckets hold, or not a number"};
  double seen = 0;
  for (ClassicBucket& bucket : buckets_) bucket.count = seen += bucket.count;
  buckets_.back().count = h.count;
  return {};
}

void HistogramReader::put(std::span<const LabelView> labels, std::string_view suffix,
                          std::string_view le, double value) {
  std::size_t bytes =
      suffix.size() + le.size() + 4 * label_overhead_max + 32 + type_.size() + unit_.size();
  for (const LabelView& label : labels)
    bytes += label.name.size() + label.value.size() + label_overhead_max;
  char* at = built_.room(bytes);
  bool le_put = le.empty();
  for (const LabelView& label : labels) {
    // Where it stands among sorted labels, so that a sender of classic histograms has the same alias.
    if (!le_put && label.name > padded_le.view()) {
      at = put_label(at, padded_le.view(), le);
      le_put = true;
    }
    if (label.name == padded_name.view()) {
      name_.assign(label.value);
      name_ += suffix;
      name_.reserve(name_.size() + BuiltSeries::spare_bytes);
      at = put_label(at, padded_name.view(), name_);
    } else {
      at = put_label(at, label.name, label.value);
    }
  }
  if (!le_put) at = put_label(at, padded_le.view(), le);
  const char* const alias_end = at;
  at = put_reserved(at, type_, unit_);

  RawSeries series;
  series.first = static_cast<std::uint32_t>(out_.batch.points.size());
  series.count = 1;
  series.line = line_;
  series.start_ms = histogram_.start_ms;
  built_.close(out_.batch, series, alias_end, at);
  out_.batch.points.push_back({from_millis(histogram_.millis), value});
}

Result<void> HistogramReader::read(std::string_view message, std::span<const LabelView> labels,
                                   std::string_view type, std::string_view unit, std::uint32_t line,
                                   std::int64_t start_ms) {
  if (const auto parsed = parse(message); !parsed) return parsed.error();
  NativeHistogram& h = histogram_;
  if (h.start_ms == 0) h.start_ms = start_ms;
  const auto has = [&](std::string_view name) {
    return std::any_of(labels.begin(), labels.end(),
                       [&](const LabelView& label) { return label.name == name; });
  };
  if (!has(padded_name.view())) return Error{"histogram", "a native histogram without a name"};
  line_ = line;
  const bool typed = has(type_label);  // its sender said it in a label
  type_ = typed          ? std::string_view()
          : h.gauge      ? metric_type(4)
          : type.empty() ? metric_type(3)
                         : type;
  unit_ = has(unit_label) ? std::string_view() : unit;

  const bool stale = is_stale(h.sum);
  if (stale) {
    // It names no buckets, and which there were is not known here: they end with the infinite one.
    h.count = h.sum;
    buckets_.assign(1, {std::numeric_limits<double>::infinity(), h.sum});
  } else if (h.schema == custom_schema) {
    if (const auto made = custom_buckets(); !made) return made.error();
  } else {
    ExponentialHistogram exponential;
    exponential.scale = h.schema;
    exponential.zero_threshold = h.zero_threshold;
    exponential.zero_count = h.zero_count;
    exponential.positive = h.positive;
    exponential.negative = h.negative;
    exponential.count = h.count;
    if (const auto made = classic_buckets(exponential, buckets_); !made) return made.error();
  }

  const auto first = static_cast<std::uint32_t>(out_.batch.points.size());
  for (const ClassicBucket& bucket : buckets_) {
    le_.clear();
    append_number(le_, bucket.le);
    le_.reserve(le_.size() + BuiltSeries::spare_bytes);
    put(labels, "_bucket", le_, bucket.count);
  }
  // No counter's name ends make one of them.
  if (h.gauge && !typed) type_ = metric_type(2);
  put(labels, "_count", {}, h.count);
  put(labels, "_sum", {}, h.sum);
  out_.histograms.push_back({first, static_cast<std::uint32_t>(out_.batch.points.size()) - first});
  return {};
}

}  // namespace muster::decode
