#include "collector/decode/ndjson.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

#include <simdjson.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/hash.hpp"
#include "collector/decode/text.hpp"

// Two readers of one language. The plain one takes the lines that senders write: the known keys,
// ASCII strings without escapes. It gives up on everything else, and then simdjson's reader, which
// validates all of JSON, takes the line or says what is wrong with it. A test holds the two against
// each other.
namespace muster::decode {
namespace {

constexpr std::uint64_t alias_seed = 2;

std::uint64_t alias_of(std::string_view model, std::string_view metric, std::string_view labels) {
  const std::uint64_t a = hash64(model, alias_seed);
  return hash64(labels, hash64(metric, a));
}

struct Line {
  std::int64_t millis = 0;
  double value = 0;
  std::uint64_t alias = 0;
};

// Powers of ten that a double holds exactly: a whole number below 2^53 times or over one of them is
// rounded once, so the result is the nearest double (Clinger 1990, the fast path).
constexpr std::array<double, 23> exact_powers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

class PlainReader {
 public:
  explicit PlainReader(std::string_view line) : at_(line.data()), end_(at_ + line.size()) {}

  // Nothing when the line is not of the plain kind, be it good or bad.
  std::optional<Line> read() {
    Line line;
    std::string_view model, metric, labels;
    enum : unsigned { ts_key = 1, model_key = 2, metric_key = 4, value_key = 8, labels_key = 16 };
    unsigned seen = 0;

    if (!take('{')) return {};
    do {
      std::string_view key;
      if (!string(key) || !take(':')) return {};
      unsigned which = 0;
      bool good = false;
      if (key == "ts") {
        which = ts_key;
        good = integer(line.millis);
      } else if (key == "model") {
        which = model_key;
        good = string(model) && !model.empty() && model.size() <= value_bytes_max;
      } else if (key == "metric") {
        which = metric_key;
        good = string(metric) && !metric.empty() && metric.size() <= value_bytes_max;
      } else if (key == "value") {
        which = value_key;
        good = number_or_null(line.value);
      } else if (key == "labels") {
        which = labels_key;
        good = object(labels);
      }
      if (!good || (seen & which) != 0) return {};
      seen |= which;
    } while (take(','));
    constexpr unsigned needed = ts_key | model_key | metric_key | value_key;
    if (!take('}') || (seen & needed) != needed) return {};
    spaces();
    if (at_ != end_) return {};
    line.alias = alias_of(model, metric, labels);
    return line;
  }

 private:
  void spaces() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  bool take(char c) {
    if (at_ != end_ && *at_ == c) return ++at_, true;
    spaces();
    if (at_ != end_ && *at_ == c) return ++at_, true;
    return false;
  }

  // To the first byte that ends or complicates a string: a quote, a backslash, a control character,
  // or one outside ASCII.
  void to_string_end() {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(0x20);
    while (end_ - at_ >= 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at_));
      // As signed bytes, whatever is not ASCII is below a blank, like the control characters.
      const __m128i stop =
          _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                       _mm_cmplt_epi8(bytes, blank));
      const auto mask = static_cast<unsigned>(_mm_movemask_epi8(stop));
      if (mask != 0) {
        at_ += std::countr_zero(mask);
        return;
      }
      at_ += 16;
    }
#endif
    while (at_ != end_ && *at_ != '"' && *at_ != '\\' && static_cast<signed char>(*at_) >= 0x20)
      ++at_;
  }

  bool string(std::string_view& text) {
    if (!take('"')) return false;
    const char* const first = at_;
    to_string_end();
    if (at_ == end_ || *at_ != '"') return false;
    text = {first, static_cast<std::size_t>(at_ - first)};
    ++at_;
    return true;
  }

  bool object(std::string_view& text) {
    if (!take('{')) return false;
    const char* const first = at_ - 1;
    if (!take('}')) {
      std::string_view part;
      std::size_t count = 0;
      do {
        if (++count > labels_max) return false;
        if (!string(part) || part.size() > name_bytes_max || !take(':')) return false;
        if (!string(part) || part.size() > value_bytes_max) return false;
      } while (take(','));
      if (!take('}')) return false;
    }
    text = {first, static_cast<std::size_t>(at_ - first)};
    return true;
  }

  static bool digit(char c) {
    return static_cast<unsigned char>(c - '0') < 10;
  }

  bool integer(std::int64_t& number) {
    spaces();
    const bool negative = at_ != end_ && *at_ == '-';
    if (negative) ++at_;
    const char* const first = at_;
    std::int64_t n = 0;
    while (at_ != end_ && digit(*at_)) {
      if (at_ - first == 18) return false;
      n = n * 10 + (*at_++ - '0');
    }
    if (at_ == first || (*first == '0' && at_ - first > 1)) return false;
    number = negative ? -n : n;
    return number <= millis_max && number >= -millis_max;
  }

  bool number_or_null(double& value) {
    spaces();
    if (end_ - at_ >= 4 && std::memcmp(at_, "null", 4) == 0) {
      at_ += 4;
      value = null_value();
      return true;
    }
    const char* const first = at_;
    const bool negative = at_ != end_ && *at_ == '-';
    if (negative) ++at_;
    const char* const whole = at_;
    std::uint64_t mantissa = 0;
    int digits = 0;
    int exponent = 0;
    const auto run = [&] {
      const char* const start = at_;
      while (at_ != end_ && digit(*at_)) {
        mantissa = mantissa * 10 + static_cast<unsigned>(*at_++ - '0');  // unused when too long
        ++digits;
      }
      return static_cast<int>(at_ - start);
    };
    const int before = run();
    if (before == 0 || (*whole == '0' && before > 1)) return false;
    if (at_ != end_ && *at_ == '.') {
      ++at_;
      const int after = run();
      if (after == 0) return false;
      exponent = -after;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      const bool down = at_ != end_ && *at_ == '-';
      if (at_ != end_ && (*at_ == '-' || *at_ == '+')) ++at_;
      const char* const start = at_;
      int e = 0;
      while (at_ != end_ && digit(*at_)) {
        if (at_ - start == 4) return false;
        e = e * 10 + (*at_++ - '0');
      }
      if (at_ == start) return false;
      exponent += down ? -e : e;
    }
    if (digits <= 18 && mantissa <= (1ULL << 53) && exponent >= -22 && exponent <= 22) {
      value = static_cast<double>(mantissa);
      value = exponent < 0 ? value / exact_powers[-exponent] : value * exact_powers[exponent];
      if (negative) value = -value;
      return true;
    }
    const auto [end, fault] = std::from_chars(first, at_, value);
    return fault == std::errc() && end == at_ && std::isfinite(value);
  }

  const char* at_;
  const char* const end_;
};

// The whole of JSON, by simdjson. One for a request: it owns buffers.
class FullReader {
 public:
  struct Sample {
    Line line;
    SeriesIdentity identity;
  };

  Result<Sample> read(std::string_view line) {
    simdjson::dom::element root;
    buffer_.assign(line);
    buffer_.resize(line.size() + simdjson::SIMDJSON_PADDING);
    if (const auto fault = parser_.parse(buffer_.data(), line.size(), false).get(root))
      return Error{"line", std::string("not JSON: ") + simdjson::error_message(fault)};
    simdjson::dom::object object;
    if (root.get(object) != simdjson::SUCCESS) return Error{"line", "not a JSON object"};

    Sample sample;
    std::optional<simdjson::dom::element> ts, model, metric, value, labels;
    for (const auto field : object) {
      std::optional<simdjson::dom::element>* const place = field.key == "ts"       ? &ts
                                                           : field.key == "model"  ? &model
                                                           : field.key == "metric" ? &metric
                                                           : field.key == "value"  ? &value
                                                           : field.key == "labels" ? &labels
                                                                                   : nullptr;
      if (place == nullptr) continue;
      if (*place) return Error{"line", "key \"" + std::string(field.key) + "\" is repeated"};
      *place = field.value;
    }

    if (!ts) return Error{"line", "\"ts\" is missing"};
    if (ts->get(sample.line.millis) != simdjson::SUCCESS)
      return Error{"line", "\"ts\" is not an integer (milliseconds since 1970-01-01 UTC)"};
    if (sample.line.millis > millis_max || sample.line.millis < -millis_max)
      return Error{"line", "\"ts\" is out of range (milliseconds since 1970-01-01 UTC)"};
    if (auto bad = text(model, "model", sample.identity.model)) return *bad;
    if (auto bad = text(metric, "metric", sample.identity.metric)) return *bad;
    if (!value)
      return Error{"line", "\"value\" is missing; null says that it could not be computed"};
    if (value->is_null()) {
      sample.line.value = null_value();
    } else if (value->get(sample.line.value) != simdjson::SUCCESS) {
      return Error{"line", "\"value\" is neither a number nor null"};
    } else if (!std::isfinite(sample.line.value)) {
      return Error{"line", "\"value\" is not finite"};
    }

    std::string label_text;
    if (labels && !labels->is_null()) {
      simdjson::dom::object entries;
      if (labels->get(entries) != simdjson::SUCCESS)
        return Error{"line", "\"labels\" is not an object"};
      std::size_t count = 0;
      for (const auto entry : entries) {
        if (++count > labels_max)
          return Error{"line", "more than " + std::to_string(labels_max) + " labels"};
        std::string_view label;
        if (entry.value.get(label) != simdjson::SUCCESS)
          return Error{"line", "label \"" + printable(entry.key, 64) + "\" is not a string"};
        if (entry.key.size() > name_bytes_max || label.size() > value_bytes_max)
          return Error{"line", "label \"" + printable(entry.key, 64) + "\" is longer than " +
                                   std::to_string(name_bytes_max) + " (name) or " +
                                   std::to_string(value_bytes_max) + " (value) bytes"};
        if (!is_storable(label) || !is_storable(entry.key))
          return Error{"line", "a label with NUL in it"};
        ModelAttributes& attributes = sample.identity.attributes;
        if (entry.key == "version") attributes.version = label;
        if (entry.key == "region") attributes.region = label;
        if (entry.key == "family") attributes.family = label;
        if (entry.key == "team") attributes.team = label;
        if (entry.key == "environment") attributes.environment = label;
      }
      label_text = simdjson::minify(entries);
    }
    sample.line.alias = alias_of(sample.identity.model, sample.identity.metric, label_text);
    return sample;
  }

 private:
  static std::optional<Error> text(const std::optional<simdjson::dom::element>& element,
                                   const char* key, std::string& out) {
    const auto named = [key](const char* fault) { return '"' + std::string(key) + "\" " + fault; };
    if (!element) return Error{"line", named("is missing")};
    std::string_view view;
    if (element->get(view) != simdjson::SUCCESS) return Error{"line", named("is not a string")};
    if (view.empty()) return Error{"line", named("is empty")};
    if (view.size() > value_bytes_max)
      return Error{"line", named("is longer than ") + std::to_string(value_bytes_max) + " bytes"};
    if (!is_storable(view)) return Error{"line", named("has a NUL in it")};
    out = view;
    return {};
  }

  simdjson::dom::parser parser_;
  std::string buffer_;
};

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == line.npos;
}

}  // namespace

std::size_t whole_lines(std::string_view chunk) {
  const std::size_t end = chunk.rfind('\n');
  return end == chunk.npos ? 0 : end + 1;
}

Decoded ndjson(std::vector<char> body, const Limits& limits, std::uint32_t first_line) {
  Decoded out;
  out.batch.bytes = std::move(body);
  out.batch.identify = ndjson_identity;
  // A usual line has 120 to 180 bytes.
  out.batch.series.reserve(out.batch.bytes.size() / 120 + 1);
  out.batch.points.reserve(out.batch.bytes.size() / 120 + 1);

  std::string_view rest(out.batch.bytes.data(), out.batch.bytes.size());
  if (first_line == 1 && rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);

  std::optional<FullReader> full;
  std::uint32_t number = first_line;
  for (; !rest.empty(); ++number) {
    const void* const end = std::memchr(rest.data(), '\n', rest.size());
    const std::size_t length =
        end == nullptr ? rest.size()
                       : static_cast<std::size_t>(static_cast<const char*>(end) - rest.data());
    const std::string_view text = rest.substr(0, length);
    rest.remove_prefix(end == nullptr ? length : length + 1);

    if (text.size() > limits.line_bytes_max) {
      out.reject(number, "longer than " + std::to_string(limits.line_bytes_max) + " bytes");
      continue;
    }
    std::optional<Line> line = PlainReader(text).read();
    if (!line) {
      if (blank(text)) continue;
      if (!full) full.emplace();
      auto sample = full->read(text);
      if (!sample) {
        out.reject(number, sample.error().what);
        continue;
      }
      line = sample->line;
    }
    if (out.batch.points.size() == limits.samples_max) {
      out.reject(number,
                 "more than " + std::to_string(limits.samples_max) + " samples in a request");
      continue;
    }
    const auto index = static_cast<std::uint32_t>(out.batch.points.size());
    out.batch.points.push_back({from_millis(line->millis), line->value});
    out.batch.series.push_back({text, line->alias, index, 1, number});
  }
  out.lines = number - first_line;
  return out;
}

Result<SeriesIdentity> ndjson_identity(std::string_view line, const Mapping& mapping) {
  FullReader reader;
  auto sample = reader.read(line);
  if (!sample) return sample.error();
  mapping.describe(sample->identity);
  return std::move(sample->identity);
}

}  // namespace muster::decode
