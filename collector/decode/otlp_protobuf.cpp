#include <bit>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include <protozero/pbf_reader.hpp>

#include "collector/decode/otlp_mapper.hpp"

namespace muster::decode {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr auto bytes_of(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::length_delimited);
}
constexpr auto fixed64_of(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::fixed64);
}
constexpr auto varint_of(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::varint);
}

static_assert(std::endian::native == std::endian::little, "fixed64 is copied as it stands");

// Nobody describes a thing with more; it bounds the memory for what a small request can hold many of.
constexpr std::size_t attributes_max = 1000;

pbf_reader reader_of(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

// Goes on to the next message or text of this field, over all others.
bool next_bytes(pbf_reader& message, std::uint32_t field) {
  return message.next(field, pbf_wire_type::length_delimited);
}

std::string_view view_of(pbf_reader& message) {
  const auto view = message.get_view();
  return {view.data(), view.size()};
}

// A packed array of fixed64 or double; a length that is no multiple of eight is the sender's mistake.
template <class Number>
void append_packed(std::string_view bytes, std::vector<Number>& out) {
  static_assert(sizeof(Number) == 8);
  if (bytes.size() % 8 != 0) throw std::invalid_argument("a packed array that is cut short");
  const std::size_t at = out.size();
  out.resize(at + bytes.size() / 8);
  if (!bytes.empty()) std::memcpy(out.data() + at, bytes.data(), bytes.size());
}

class Reader {
 public:
  explicit Reader(OtlpMapper& mapper) : mapper_(mapper) {}

  void request(std::string_view bytes) {
    pbf_reader message = reader_of(bytes);
    while (message.next() && !mapper_.full()) {
      if (message.tag_and_type() == bytes_of(1)) {
        resource_metrics(view_of(message));
      } else {
        message.skip();
      }
    }
  }

 private:
  void resource_metrics(std::string_view bytes) {
    // The resource may come after what it speaks of.
    texts_.clear();
    attributes_.clear();
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 1);)
      for (pbf_reader resource = message.get_message(); next_bytes(resource, 1);)
        attribute(view_of(resource));
    mapper_.resource(attributes_);
    // What its points need is apart: it is told of once more when they are through.
    std::swap(texts_, resource_texts_);
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 2) && !mapper_.full();)
      scope_metrics(view_of(message));
    mapper_.end_resource();
  }

  void scope_metrics(std::string_view bytes) {
    std::string_view name, version;
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 1);) {
      pbf_reader scope = message.get_message();
      while (scope.next()) {
        switch (scope.tag_and_type()) {
          case bytes_of(1):
            name = view_of(scope);
            break;
          case bytes_of(2):
            version = view_of(scope);
            break;
          default:
            scope.skip();
        }
      }
    }
    mapper_.scope(name, version);
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 2) && !mapper_.full();)
      metric(view_of(message));
  }

  void metric(std::string_view bytes) {
    OtlpMetric metric;
    // Of several kinds of data the last counts, as protobuf wants it of a oneof.
    std::string_view data;
    std::uint32_t which = 0;
    for (pbf_reader message = reader_of(bytes); message.next();) {
      switch (message.tag_and_type()) {
        case bytes_of(1):
          metric.name = view_of(message);
          break;
        case bytes_of(2):
          metric.description = view_of(message);
          break;
        case bytes_of(3):
          metric.unit = view_of(message);
          break;
        case bytes_of(5):
        case bytes_of(7):
        case bytes_of(9):
        case bytes_of(10):
        case bytes_of(11):
          which = message.tag();
          data = view_of(message);
          break;
        default:
          message.skip();
      }
    }
    if (which == 0) return;
    metric.data = which == 5   ? OtlpData::gauge
                  : which == 7 ? OtlpData::sum
                  : which == 9 ? OtlpData::histogram
                  : which == 10 ? OtlpData::exponential_histogram
                                : OtlpData::summary;
    const bool has_temporality = which == 7 || which == 9 || which == 10;
    if (has_temporality) {
      // Serializers write it behind the points.
      for (pbf_reader message = reader_of(data); message.next();) {
        switch (message.tag_and_type()) {
          case varint_of(2):
            metric.temporality = static_cast<Temporality>(message.get_enum());
            break;
          case varint_of(3):
            if (which == 7) {
              metric.monotonic = message.get_bool();
            } else {
              message.skip();
            }
            break;
          default:
            message.skip();
        }
      }
    }
    mapper_.metric(metric);
    for (pbf_reader message = reader_of(data); next_bytes(message, 1) && !mapper_.full();) {
      const std::string_view point = view_of(message);
      texts_.clear();
      attributes_.clear();
      switch (metric.data) {
        case OtlpData::gauge:
        case OtlpData::sum:
          number(point);
          break;
        case OtlpData::histogram:
          histogram(point);
          break;
        case OtlpData::exponential_histogram:
          exponential(point);
          break;
        case OtlpData::summary:
          summary(point);
          break;
      }
    }
  }

  void number(std::string_view bytes) {
    OtlpNumber point;
    for (pbf_reader message = reader_of(bytes); message.next();) {
      switch (message.tag_and_type()) {
        case fixed64_of(2):
          point.start_ns = message.get_fixed64();
          break;
        case fixed64_of(3):
          point.time_ns = message.get_fixed64();
          break;
        case fixed64_of(4):
          point.value = message.get_double();
          break;
        case bytes_of(5):
          exemplar(message);
          break;
        case fixed64_of(6):
          point.value = static_cast<double>(message.get_sfixed64());
          break;
        case bytes_of(7):
          attribute(view_of(message));
          break;
        case varint_of(8):
          point.flags = message.get_uint32();
          break;
        default:
          message.skip();
      }
    }
    point.attributes = attributes_;
    mapper_.point(point);
  }

  void histogram(std::string_view bytes) {
    OtlpHistogram point;
    counts_.clear();
    bounds_.clear();
    for (pbf_reader message = reader_of(bytes); message.next();) {
      switch (message.tag_and_type()) {
        case fixed64_of(2):
          point.start_ns = message.get_fixed64();
          break;
        case fixed64_of(3):
          point.time_ns = message.get_fixed64();
          break;
        case fixed64_of(4):
          point.count = message.get_fixed64();
          break;
        case fixed64_of(5):
          point.sum = message.get_double();
          break;
        case bytes_of(6):
          append_packed(view_of(message), counts_);
          break;
        case fixed64_of(6):
          counts_.push_back(message.get_fixed64());
          break;
        case bytes_of(7):
          append_packed(view_of(message), bounds_);
          break;
        case fixed64_of(7):
          bounds_.push_back(message.get_double());
          break;
        case bytes_of(8):
          exemplar(message);
          break;
        case bytes_of(9):
          attribute(view_of(message));
          break;
        case varint_of(10):
          point.flags = message.get_uint32();
          break;
        default:
          message.skip();
      }
    }
    point.attributes = attributes_;
    point.bucket_counts = counts_;
    point.bounds = bounds_;
    mapper_.point(point);
  }

  void exponential(std::string_view bytes) {
    OtlpExponential point;
    std::string_view positive, negative;
    for (pbf_reader message = reader_of(bytes); message.next();) {
      switch (message.tag_and_type()) {
        case bytes_of(1):
          attribute(view_of(message));
          break;
        case fixed64_of(2):
          point.start_ns = message.get_fixed64();
          break;
        case fixed64_of(3):
          point.time_ns = message.get_fixed64();
          break;
        case fixed64_of(4):
          point.count = message.get_fixed64();
          break;
        case fixed64_of(5):
          point.sum = message.get_double();
          break;
        case varint_of(6):
          point.scale = message.get_sint32();
          break;
        case fixed64_of(7):
          point.zero_count = message.get_fixed64();
          break;
        case bytes_of(8):
          positive = view_of(message);
          break;
        case bytes_of(9):
          negative = view_of(message);
          break;
        case varint_of(10):
          point.flags = message.get_uint32();
          break;
        case bytes_of(11):
          exemplar(message);
          break;
        case fixed64_of(14):
          point.zero_threshold = message.get_double();
          break;
        default:
          message.skip();
      }
    }
    point.attributes = attributes_;
    if (!buckets(positive, positive_) || !buckets(negative, negative_)) {
      mapper_.refuse(point.attributes, too_many_buckets);
      return;
    }
    point.positive = positive_;
    point.negative = negative_;
    mapper_.point(point);
  }

  // Buckets that are not empty; false when there are too many of them.
  static bool buckets(std::string_view bytes, std::vector<ExponentialBucket>& out) {
    out.clear();
    std::int32_t offset = 0;
    for (pbf_reader message = reader_of(bytes); message.next();) {
      if (message.tag_and_type() == varint_of(1)) {
        offset = message.get_sint32();
      } else {
        message.skip();
      }
    }
    std::int64_t index = offset;
    bool good = true;
    const auto add = [&](std::uint64_t count) {
      if (count > 0) {
        good = good && out.size() < exponential_buckets_max && index <= bucket_index_max;
        if (good) out.push_back({static_cast<std::int32_t>(index), static_cast<double>(count)});
      }
      ++index;
    };
    for (pbf_reader message = reader_of(bytes); message.next() && good;) {
      switch (message.tag_and_type()) {
        case bytes_of(2):
          for (const std::uint64_t count : message.get_packed_uint64()) add(count);
          break;
        case varint_of(2):
          add(message.get_uint64());
          break;
        default:
          message.skip();
      }
    }
    return good;
  }

  void summary(std::string_view bytes) {
    OtlpSummary point;
    quantiles_.clear();
    for (pbf_reader message = reader_of(bytes); message.next();) {
      switch (message.tag_and_type()) {
        case fixed64_of(2):
          point.start_ns = message.get_fixed64();
          break;
        case fixed64_of(3):
          point.time_ns = message.get_fixed64();
          break;
        case fixed64_of(4):
          point.count = message.get_fixed64();
          break;
        case fixed64_of(5):
          point.sum = message.get_double();
          break;
        case bytes_of(6): {
          OtlpQuantile at;
          pbf_reader quantile = message.get_message();
          while (quantile.next()) {
            switch (quantile.tag_and_type()) {
              case fixed64_of(1):
                at.quantile = quantile.get_double();
                break;
              case fixed64_of(2):
                at.value = quantile.get_double();
                break;
              default:
                quantile.skip();
            }
          }
          quantiles_.push_back(at);
          break;
        }
        case bytes_of(7):
          attribute(view_of(message));
          break;
        case varint_of(8):
          point.flags = message.get_uint32();
          break;
        default:
          message.skip();
      }
    }
    point.attributes = attributes_;
    point.quantiles = quantiles_;
    mapper_.point(point);
  }

  void exemplar(pbf_reader& message) {
    mapper_.skip_exemplars(1);
    message.skip();
  }

  void attribute(std::string_view bytes) {
    if (attributes_.size() == attributes_max)
      throw std::invalid_argument("more than 1000 attributes of one thing");
    OtlpAttribute out;
    std::string_view value;
    pbf_reader message = reader_of(bytes);
    while (message.next()) {
      switch (message.tag_and_type()) {
        case bytes_of(1):
          out.key = view_of(message);
          break;
        case bytes_of(2):
          value = view_of(message);
          break;
        default:
          message.skip();
      }
    }
    out.value = value_text(value);
    attributes_.push_back(out);
  }

  // An AnyValue as text; a string stays where it is.
  std::string_view value_text(std::string_view bytes) {
    pbf_reader message = reader_of(bytes);
    // The usual one: a string and nothing else.
    if (!bytes.empty() && bytes.front() == 0x0a && next_bytes(message, 1)) {
      const std::string_view text = view_of(message);
      if (message.length() == 0) return text;
    }
    std::string& text = texts_.next();
    append_value(text, bytes, 0, false);
    return text;
  }

  // nested  inside an array or a map: strings in quotes, and nothing is null
  static void append_value(std::string& out, std::string_view bytes, int depth, bool nested) {
    const std::size_t start = out.size();
    bool set = false;
    // The last of several counts.
    for (pbf_reader message = reader_of(bytes); message.next();) {
      const auto kind = message.tag_and_type();
      if (kind != bytes_of(1) && kind != varint_of(2) && kind != varint_of(3) &&
          kind != fixed64_of(4) && kind != bytes_of(5) && kind != bytes_of(6) &&
          kind != bytes_of(7)) {
        message.skip();
        continue;
      }
      out.resize(start);
      set = true;
      switch (kind) {
        case bytes_of(1):
          if (nested) {
            attribute_text::append_quoted(out, view_of(message));
          } else {
            out += view_of(message);
          }
          break;
        case varint_of(2):
          out += message.get_bool() ? "true" : "false";
          break;
        case varint_of(3):
          out += std::to_string(message.get_int64());
          break;
        case fixed64_of(4):
          attribute_text::append_double(out, message.get_double());
          break;
        case bytes_of(5):
          append_array(out, view_of(message), depth + 1);
          break;
        case bytes_of(6):
          append_map(out, view_of(message), depth + 1);
          break;
        default:  // bytes
          if (nested) out += '"';
          attribute_text::append_base64(out, view_of(message));
          if (nested) out += '"';
      }
    }
    if (!set && nested) out += "null";
  }

  static void append_array(std::string& out, std::string_view bytes, int depth) {
    if (depth > attribute_text::depth_max) {
      out += "null";
      return;
    }
    out += '[';
    bool first = true;
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 1); first = false) {
      if (!first) out += ',';
      append_value(out, view_of(message), depth, true);
    }
    out += ']';
  }

  static void append_map(std::string& out, std::string_view bytes, int depth) {
    if (depth > attribute_text::depth_max) {
      out += "null";
      return;
    }
    out += '{';
    bool first = true;
    for (pbf_reader message = reader_of(bytes); next_bytes(message, 1); first = false) {
      if (!first) out += ',';
      std::string_view key, value;
      pbf_reader pair = message.get_message();
      while (pair.next()) {
        switch (pair.tag_and_type()) {
          case bytes_of(1):
            key = view_of(pair);
            break;
          case bytes_of(2):
            value = view_of(pair);
            break;
          default:
            pair.skip();
        }
      }
      attribute_text::append_quoted(out, key);
      out += ':';
      append_value(out, value, depth, true);
    }
    out += '}';
  }

  OtlpMapper& mapper_;
  OtlpTexts texts_;
  OtlpTexts resource_texts_;
  std::vector<OtlpAttribute> attributes_;
  std::vector<std::uint64_t> counts_;
  std::vector<double> bounds_;
  std::vector<ExponentialBucket> positive_, negative_;
  std::vector<OtlpQuantile> quantiles_;
};

}  // namespace

Result<Otlp> otlp_protobuf(std::span<const char> body, const OtlpRules& rules,
                           const Limits& limits) {
  OtlpMapper mapper(rules, limits);
  try {
    Reader(mapper).request({body.data(), body.size()});
  } catch (const protozero::exception& fault) {
    return Error{"body", std::string("not a protobuf ExportMetricsServiceRequest: ") + fault.what()};
  } catch (const std::invalid_argument& fault) {
    return Error{"body", fault.what()};
  }
  return mapper.finish();
}

}  // namespace muster::decode
