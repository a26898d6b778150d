#include <charconv>
#include <cmath>
#include <limits>

#include <simdjson.h>

#include "collector/decode/otlp_mapper.hpp"
#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

struct Fault {
  std::string where;
  std::string what;
};

// As in the protobuf form.
constexpr std::size_t attributes_max = 1000;

template <class Number>
bool parse_whole(std::string_view text, Number& number) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc{} && end == text.data() + text.size();
}

class Reader {
 public:
  explicit Reader(OtlpMapper& mapper) : mapper_(mapper) {}

  void request(element root) {
    for (const auto& [key, value] : object(root))
      if (key == "resourceMetrics") each(key, value, [this](element e) { resource_metrics(e); });
  }

 private:
  // Where in the request we are, for messages: resourceMetrics[0].scopeMetrics[2].metrics[5]…
  struct Step {
    std::string_view key;
    std::int64_t index = -1;
  };

  [[noreturn]] void fault(std::string what) const {
    std::string where;
    for (const Step& step : path_) {
      if (!where.empty()) where += '.';
      where += printable(step.key, 60);
      if (step.index >= 0) where += '[' + std::to_string(step.index) + ']';
    }
    throw Fault{where.empty() ? "body" : where, std::move(what)};
  }

  // A field's value under its name in messages.
  template <class Read>
  auto at(std::string_view key, element value, Read read) {
    path_.push_back({key});
    auto out = read(value);
    path_.pop_back();
    return out;
  }

  simdjson::dom::object object(element value) const {
    simdjson::dom::object out;
    if (value.get(out) != simdjson::SUCCESS) fault("an object is wanted");
    return out;
  }

  // null counts as absent everywhere, as in protobuf's JSON.
  template <class Take>
  void each(std::string_view key, element value, Take take) {
    if (value.is_null()) return;
    path_.push_back({key});
    simdjson::dom::array array;
    if (value.get(array) != simdjson::SUCCESS) fault("an array is wanted");
    path_.back().index = 0;
    for (const element one : array) {
      if (mapper_.full()) break;
      take(one);
      ++path_.back().index;
    }
    path_.pop_back();
  }

  std::string_view text(std::string_view key, element value) {
    if (value.is_null()) return {};
    return at(key, value, [this](element e) {
      std::string_view out;
      if (e.get(out) != simdjson::SUCCESS) fault("a string is wanted");
      return out;
    });
  }

  // A number or a string of one, as protobuf's JSON has 64-bit integers.
  template <class Number>
  Number whole(std::string_view key, element value) {
    if (value.is_null()) return 0;
    return at(key, value, [this](element e) -> Number {
      switch (e.type()) {
        case element_type::INT64: {
          const std::int64_t number = std::int64_t(e);
          if (std::in_range<Number>(number)) return static_cast<Number>(number);
          break;
        }
        case element_type::UINT64: {
          const std::uint64_t number = std::uint64_t(e);
          if (std::in_range<Number>(number)) return static_cast<Number>(number);
          break;
        }
        case element_type::DOUBLE: {
          // Below 2^53 a double is the number that was meant; above it cannot be known.
          const double number = double(e);
          if (std::trunc(number) == number && std::abs(number) < 0x1p53 &&
              std::in_range<Number>(static_cast<std::int64_t>(number)))
            return static_cast<Number>(number);
          break;
        }
        case element_type::STRING: {
          Number number = 0;
          if (parse_whole(std::string_view(e), number)) return number;
          break;
        }
        default:
          break;
      }
      fault("an integer of " + std::to_string(sizeof(Number) * 8) + " bits is wanted");
    });
  }

  double number(std::string_view key, element value) {
    return at(key, value, [this](element e) -> double {
      double out = 0;
      if (e.get(out) == simdjson::SUCCESS) return out;
      std::string_view word;
      if (e.get(word) == simdjson::SUCCESS) {
        if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
        if (word == "Infinity") return std::numeric_limits<double>::infinity();
        if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
        if (parse_whole(word, out) && std::isfinite(out)) return out;
      }
      fault("a number is wanted, or \"NaN\", \"Infinity\" or \"-Infinity\"");
    });
  }

  bool flag(std::string_view key, element value) {
    if (value.is_null()) return false;
    return at(key, value, [this](element e) {
      bool out = false;
      if (e.get(out) != simdjson::SUCCESS) fault("true or false is wanted");
      return out;
    });
  }

  Temporality temporality(std::string_view key, element value) {
    if (value.is_string())
      return at(key, value, [this](element) -> Temporality {
        fault("enums are numbers in OTLP's JSON: 1 for delta, 2 for cumulative");
      });
    return static_cast<Temporality>(whole<std::int32_t>(key, value));
  }

  void resource_metrics(element value) {
    const simdjson::dom::object fields = object(value);
    texts_.clear();
    attributes_.clear();
    for (const auto& [key, field] : fields) {
      if (key != "resource" || field.is_null()) continue;
      path_.push_back({key});
      for (const auto& [name, inner] : object(field))
        if (name == "attributes") attributes(name, inner);
      path_.pop_back();
    }
    mapper_.resource(attributes_);
    // What its points need is apart: it is told of once more when they are through.
    std::swap(texts_, resource_texts_);
    for (const auto& [key, field] : fields)
      if (key == "scopeMetrics") each(key, field, [this](element e) { scope_metrics(e); });
    mapper_.end_resource();
  }

  void scope_metrics(element value) {
    const simdjson::dom::object fields = object(value);
    std::string_view name, version;
    for (const auto& [key, field] : fields) {
      if (key != "scope" || field.is_null()) continue;
      path_.push_back({key});
      for (const auto& [part, inner] : object(field)) {
        if (part == "name") name = text(part, inner);
        if (part == "version") version = text(part, inner);
      }
      path_.pop_back();
    }
    mapper_.scope(name, version);
    for (const auto& [key, field] : fields)
      if (key == "metrics") each(key, field, [this](element e) { metric(e); });
  }

  void metric(element value) {
    OtlpMetric metric;
    std::string_view data_key;
    element data;
    for (const auto& [key, field] : object(value)) {
      const auto is = [&, key = key, field = field](OtlpData kind) {
        if (field.is_null()) return;
        metric.data = kind;
        data_key = key;
        data = field;
      };
      if (key == "name") {
        metric.name = text(key, field);
      } else if (key == "description") {
        metric.description = text(key, field);
      } else if (key == "unit") {
        metric.unit = text(key, field);
      } else if (key == "gauge") {
        is(OtlpData::gauge);
      } else if (key == "sum") {
        is(OtlpData::sum);
      } else if (key == "histogram") {
        is(OtlpData::histogram);
      } else if (key == "exponentialHistogram") {
        is(OtlpData::exponential_histogram);
      } else if (key == "summary") {
        is(OtlpData::summary);
      }
    }
    if (data_key.empty()) return;
    path_.push_back({data_key});
    const simdjson::dom::object fields = object(data);
    const bool has_temporality =
        metric.data != OtlpData::gauge && metric.data != OtlpData::summary;
    for (const auto& [key, field] : fields) {
      if (has_temporality && key == "aggregationTemporality")
        metric.temporality = temporality(key, field);
      if (metric.data == OtlpData::sum && key == "isMonotonic") metric.monotonic = flag(key, field);
    }
    mapper_.metric(metric);
    for (const auto& [key, field] : fields) {
      if (key != "dataPoints") continue;
      each(key, field, [this, &metric](element point) {
        texts_.clear();
        attributes_.clear();
        switch (metric.data) {
          case OtlpData::gauge:
          case OtlpData::sum:
            return number_point(point);
          case OtlpData::histogram:
            return histogram(point);
          case OtlpData::exponential_histogram:
            return exponential(point);
          case OtlpData::summary:
            return summary(point);
        }
      });
    }
    path_.pop_back();
  }

  // What all kinds of data points have; false when `key` is none of it.
  bool common(std::string_view key, element value, OtlpPoint& point) {
    if (key == "attributes") {
      attributes(key, value);
    } else if (key == "timeUnixNano") {
      point.time_ns = whole<std::uint64_t>(key, value);
    } else if (key == "startTimeUnixNano") {
      point.start_ns = whole<std::uint64_t>(key, value);
    } else if (key == "flags") {
      point.flags = whole<std::uint32_t>(key, value);
    } else if (key == "exemplars") {
      each(key, value, [this](element) { mapper_.skip_exemplars(1); });
    } else {
      return false;
    }
    return true;
  }

  void number_point(element value) {
    OtlpNumber point;
    for (const auto& [key, field] : object(value)) {
      if (common(key, field, point) || field.is_null()) continue;
      if (key == "asDouble") point.value = number(key, field);
      if (key == "asInt") point.value = static_cast<double>(whole<std::int64_t>(key, field));
    }
    point.attributes = attributes_;
    mapper_.point(point);
  }

  void histogram(element value) {
    OtlpHistogram point;
    counts_.clear();
    bounds_.clear();
    for (const auto& [key, field] : object(value)) {
      if (common(key, field, point) || field.is_null()) continue;
      if (key == "count") point.count = whole<std::uint64_t>(key, field);
      if (key == "sum") point.sum = number(key, field);
      if (key == "bucketCounts")
        each(key, field,
             [this](element e) { counts_.push_back(whole<std::uint64_t>("count", e)); });
      if (key == "explicitBounds")
        each(key, field, [this](element e) { bounds_.push_back(number("bound", e)); });
    }
    point.attributes = attributes_;
    point.bucket_counts = counts_;
    point.bounds = bounds_;
    mapper_.point(point);
  }

  void exponential(element value) {
    OtlpExponential point;
    positive_.clear();
    negative_.clear();
    bool good = true;
    for (const auto& [key, field] : object(value)) {
      if (common(key, field, point) || field.is_null()) continue;
      if (key == "count") point.count = whole<std::uint64_t>(key, field);
      if (key == "sum") point.sum = number(key, field);
      if (key == "scale") point.scale = whole<std::int32_t>(key, field);
      if (key == "zeroCount") point.zero_count = whole<std::uint64_t>(key, field);
      if (key == "zeroThreshold") point.zero_threshold = number(key, field);
      if (key == "positive") good = buckets(key, field, positive_) && good;
      if (key == "negative") good = buckets(key, field, negative_) && good;
    }
    point.attributes = attributes_;
    if (!good) {
      mapper_.refuse(point.attributes, too_many_buckets);
      return;
    }
    point.positive = positive_;
    point.negative = negative_;
    mapper_.point(point);
  }

  // Buckets that are not empty; false when there are too many of them.
  bool buckets(std::string_view name, element value, std::vector<ExponentialBucket>& out) {
    path_.push_back({name});
    const simdjson::dom::object fields = object(value);
    std::int32_t offset = 0;
    for (const auto& [key, field] : fields)
      if (key == "offset") offset = whole<std::int32_t>(key, field);
    std::int64_t index = offset;
    bool good = true;
    for (const auto& [key, field] : fields) {
      if (key != "bucketCounts") continue;
      each(key, field, [&](element e) {
        const auto count = whole<std::uint64_t>("count", e);
        if (count > 0) {
          good = good && out.size() < exponential_buckets_max && index <= bucket_index_max;
          if (good) out.push_back({static_cast<std::int32_t>(index), static_cast<double>(count)});
        }
        ++index;
      });
    }
    path_.pop_back();
    return good;
  }

  void summary(element value) {
    OtlpSummary point;
    quantiles_.clear();
    for (const auto& [key, field] : object(value)) {
      if (common(key, field, point) || field.is_null()) continue;
      if (key == "count") point.count = whole<std::uint64_t>(key, field);
      if (key == "sum") point.sum = number(key, field);
      if (key == "quantileValues")
        each(key, field, [this](element e) {
          OtlpQuantile at;
          for (const auto& [part, inner] : object(e)) {
            if (inner.is_null()) continue;
            if (part == "quantile") at.quantile = number(part, inner);
            if (part == "value") at.value = number(part, inner);
          }
          quantiles_.push_back(at);
        });
    }
    point.attributes = attributes_;
    point.quantiles = quantiles_;
    mapper_.point(point);
  }

  void attributes(std::string_view name, element value) {
    each(name, value, [this](element e) {
      if (attributes_.size() == attributes_max) fault("more than 1000 attributes of one thing");
      OtlpAttribute out;
      for (const auto& [key, field] : object(e)) {
        if (key == "key") out.key = text(key, field);
        if (key == "value") out.value = value_text(key, field);
      }
      attributes_.push_back(out);
    });
  }

  // An AnyValue as text; a string stays where it is.
  std::string_view value_text(std::string_view key, element value) {
    if (value.is_null()) return {};
    path_.push_back({key});
    std::string_view out;
    bool plain = false;
    for (const auto& [kind, inner] : object(value)) {
      plain = kind == "stringValue";
      if (plain) out = text(kind, inner);
    }
    if (!plain) {
      std::string& made = texts_.next();
      append_value(made, value, 0, false);
      out = made;
    }
    path_.pop_back();
    return out;
  }

  // nested  inside an array or a map: strings in quotes, and nothing is null
  void append_value(std::string& out, element value, int depth, bool nested) {
    const std::size_t start = out.size();
    bool set = false;
    const auto quoted = [&](std::string_view words) {
      if (nested) {
        attribute_text::append_quoted(out, words);
      } else {
        out += words;
      }
    };
    if (!value.is_null()) {
      for (const auto& [kind, inner] : object(value)) {
        if (inner.is_null()) continue;
        const bool known = kind == "stringValue" || kind == "boolValue" || kind == "intValue" ||
                           kind == "doubleValue" || kind == "arrayValue" ||
                           kind == "kvlistValue" || kind == "bytesValue";
        if (!known) continue;
        out.resize(start);
        set = true;
        if (kind == "stringValue" || kind == "bytesValue") {
          quoted(text(kind, inner));
        } else if (kind == "boolValue") {
          out += flag(kind, inner) ? "true" : "false";
        } else if (kind == "intValue") {
          out += std::to_string(whole<std::int64_t>(kind, inner));
        } else if (kind == "doubleValue") {
          attribute_text::append_double(out, number(kind, inner));
        } else {
          append_list(out, kind, inner, depth + 1, kind == "kvlistValue");
        }
      }
    }
    if (!set && nested) out += "null";
  }

  void append_list(std::string& out, std::string_view name, element value, int depth, bool map) {
    if (depth > attribute_text::depth_max) {
      out += "null";
      return;
    }
    path_.push_back({name});
    out += map ? '{' : '[';
    bool first = true;
    for (const auto& [key, field] : object(value)) {
      if (key != "values") continue;
      each(key, field, [&](element e) {
        if (!first) out += ',';
        first = false;
        if (!map) {
          append_value(out, e, depth, true);
          return;
        }
        std::string_view inner_key;
        std::optional<element> inner;
        for (const auto& [part, content] : object(e)) {
          if (part == "key") inner_key = text(part, content);
          if (part == "value") inner = content;
        }
        attribute_text::append_quoted(out, inner_key);
        out += ':';
        if (inner) {
          append_value(out, *inner, depth, true);
        } else {
          out += "null";
        }
      });
    }
    out += map ? '}' : ']';
    path_.pop_back();
  }

  OtlpMapper& mapper_;
  std::vector<Step> path_;
  OtlpTexts texts_;
  OtlpTexts resource_texts_;
  std::vector<OtlpAttribute> attributes_;
  std::vector<std::uint64_t> counts_;
  std::vector<double> bounds_;
  std::vector<ExponentialBucket> positive_, negative_;
  std::vector<OtlpQuantile> quantiles_;
};

}  // namespace

Result<Otlp> otlp_json(std::vector<char> body, const OtlpRules& rules, const Limits& limits) {
  const std::size_t size = body.size();
  body.resize(size + simdjson::SIMDJSON_PADDING);
  simdjson::dom::parser parser;
  element root;
  if (const auto fault = parser.parse(body.data(), size, false).get(root))
    return Error{"body", std::string("not JSON: ") + simdjson::error_message(fault)};
  OtlpMapper mapper(rules, limits);
  try {
    Reader(mapper).request(root);
  } catch (const Fault& fault) {
    return Error{fault.where, fault.what};
  }
  return mapper.finish();
}

}  // namespace muster::decode
