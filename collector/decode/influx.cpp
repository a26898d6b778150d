#include "collector/decode/influx.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "collector/decode/label_fields.hpp"
#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

constexpr std::int64_t microsecond_ns = 1000;

struct Tag {
  std::string name;
  std::string value;
};

// Reads one line from its first byte. A text in quotes may hold line ends, so where the line ends shows as it is
// read.
class LineReader {
 public:
  explicit LineReader(std::string_view line) : text_(line) {}

  // Up to the first of `ends` that no backslash stands before; a backslash goes away before what it guards.
  // `guards` are the characters that need one.
  std::string word(std::string_view ends, std::string_view guards) {
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '\\' && at_ + 1 < text_.size() && guards.find(text_[at_ + 1]) != guards.npos) {
        out += text_[at_ + 1];
        at_ += 2;
        continue;
      }
      if (c == '\n' || ends.find(c) != ends.npos) break;
      out += c;
      ++at_;
    }
    return out;
  }
  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  // A text in quotes, from its opening one; false when it does not end.
  bool skip_text() {
    const std::size_t first = at_++;
    while (at_ < text_.size()) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        at_ += 2;
        continue;
      }
      if (text_[at_++] == '"') return true;
    }
    at_ = first;
    return false;
  }
  std::string_view plain(std::string_view ends) {
    const std::size_t end = std::min(text_.find_first_of(ends, at_), text_.size());
    const std::string_view out = text_.substr(at_, end - at_);
    at_ = end;
    return out;
  }
  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool at_end() const { return at_ == text_.size() || text_[at_] == '\n'; }
  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  std::size_t at() const { return at_; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

template <class Number>
std::optional<Number> whole(std::string_view text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, number);
  if (failed != std::errc() || stop != end) return {};
  return number;
}

std::optional<double> field_value(std::string_view text) {
  if (text.empty()) return {};
  for (const std::string_view word : {"t", "T", "true", "True", "TRUE"})
    if (text == word) return 1;
  for (const std::string_view word : {"f", "F", "false", "False", "FALSE"})
    if (text == word) return 0;
  const char last = text.back();
  const std::string_view number = text.substr(0, text.size() - 1);
  if (last == 'i') {
    const auto value = whole<std::int64_t>(number);
    return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
  }
  if (last == 'u') {
    const auto value = whole<std::uint64_t>(number);
    return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
  }
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc() || stop != end || !std::isfinite(value)) return {};
  return value;
}

std::string quoted(std::string_view text) {
  return '\'' + printable(text, 60) + '\'';
}

class Lines {
 public:
  Lines(const InfluxRequest& request, const Limits& limits, Decoded& out)
      : request_(request), limits_(limits), out_(out) {}

  void read(std::string_view body) {
    std::uint32_t number = 1;
    while (!body.empty()) {
      LineReader reader(body.substr(0, limits_.line_bytes_max));
      reader.blanks();
      std::string fault;
      if (!reader.at_end() && reader.next() != '#') fault = line(reader, number);
      std::size_t end = reader.at();
      if (end >= limits_.line_bytes_max && end < body.size())
        fault = "longer than " + std::to_string(limits_.line_bytes_max) + " bytes";
      if (!fault.empty()) out_.reject(number, std::move(fault));
      end = std::min(body.find('\n', end), body.size());
      number += static_cast<std::uint32_t>(std::count(
                    body.begin(), body.begin() + static_cast<std::ptrdiff_t>(end), '\n')) +
                1;
      body.remove_prefix(std::min(end + 1, body.size()));
    }
    out_.lines = number - 1;
  }
  void finish() { out_.batch = writer_.finish(); }

 private:
  struct Field {
    std::string name;
    double value = 0;
  };

  // What is wrong with it; then nothing of it is kept.
  std::string line(LineReader& reader, std::uint32_t number) {
    const std::string measurement = reader.word(", ", ", \\");
    if (measurement.empty())
      return "no measurement: a line is MEASUREMENT,TAG=VALUE FIELD=VALUE TIME";
    std::vector<Tag> tags;
    while (reader.take(',')) {
      Tag tag;
      tag.name = reader.word(",= ", ",= \\");
      if (!reader.take('=')) return "tag " + quoted(tag.name) + " has no value";
      tag.value = reader.word(",= ", ",= \\");
      if (reader.next() == '=')
        return "tag " + quoted(tag.name) + ": '=' in its value needs a backslash";
      if (tag.name.empty()) return "a tag without a name";
      if (tag.value.empty()) return "tag " + quoted(tag.name) + " has no value";
      if (tag.name.starts_with("__"))
        return "tag " + quoted(tag.name) + ": names that begin with __ are reserved";
      tags.push_back(std::move(tag));
      if (tags.size() > labels_max) return "more than " + std::to_string(labels_max) + " tags";
    }
    if (!reader.take(' ')) return "no fields";
    reader.blanks();

    std::vector<Field> fields;
    std::uint64_t texts = 0;
    do {
      Field field;
      field.name = reader.word(",= ", ",= \\");
      if (field.name.empty())
        return fields.empty() && texts == 0 ? "no fields" : "a field without a name";
      if (!reader.take('=')) return "field " + quoted(field.name) + " has no value";
      if (reader.next() == '"') {
        if (!reader.skip_text())
          return "field " + quoted(field.name) + ": a quote that is not closed";
        ++texts;
        if (reader.next() != ',' && reader.next() != ' ' && reader.next() != '\r' &&
            !reader.at_end())
          return "field " + quoted(field.name) + ": something behind its text";
        continue;
      }
      const std::string_view word = reader.plain(", \r\n");
      const std::optional<double> value = field_value(word);
      if (!value)
        return "field " + quoted(field.name) + ": " + quoted(word) +
               " is no number, truth value or text in quotes";
      field.value = *value;
      fields.push_back(std::move(field));
    } while (reader.take(','));

    Timestamp ts = request_.now;
    reader.blanks();
    if (!reader.at_end()) {
      const std::string_view word = reader.plain(" \r\n");
      const std::optional<std::int64_t> time = whole<std::int64_t>(word);
      reader.blanks();
      if (!time || !reader.at_end())
        return quoted(word) + " is no time: a whole number is wanted, and nothing behind it";
      std::int64_t us = 0;
      if (request_.unit_ns >= microsecond_ns) {
        if (__builtin_mul_overflow(*time, request_.unit_ns / microsecond_ns, &us))
          return "time " + std::string(word) + " is out of range; is `precision` right?";
      } else {
        // Rounded to the past, as all times are.
        us = *time / microsecond_ns - (*time % microsecond_ns < 0 ? 1 : 0);
      }
      ts.us = us;
    }
    if (writer_.points() + fields.size() > limits_.samples_max)
      return "more than " + std::to_string(limits_.samples_max) + " samples in a request";

    const bool named =
        std::any_of(tags.begin(), tags.end(), [](const Tag& t) { return t.name == "db"; });
    if (!request_.database.empty() && !named)
      tags.push_back({"db", std::string(request_.database)});
    tags.push_back({"__name__", {}});
    std::sort(tags.begin(), tags.end(), [](const Tag& a, const Tag& b) { return a.name < b.name; });
    for (const Field& field : fields) {
      writer_.begin(number);
      for (const Tag& tag : tags)
        writer_.label(tag.name,
                      tag.name == "__name__" ? measurement + '_' + field.name : tag.value);
      writer_.point({ts, field.value});
    }
    out_.skipped.texts += texts;
    return {};
  }

  const InfluxRequest& request_;
  const Limits& limits_;
  Decoded& out_;
  LabelFieldsWriter writer_;
};

}  // namespace

Result<std::int64_t> influx_unit_ns(std::string_view precision) {
  struct Unit {
    std::string_view name;
    std::int64_t ns;
  };
  static constexpr Unit units[] = {{"", 1},
                                   {"n", 1},
                                   {"ns", 1},
                                   {"u", 1'000},
                                   {"us", 1'000},
                                   {"µ", 1'000},
                                   {"ms", 1'000'000},
                                   {"s", 1'000'000'000},
                                   {"m", 60'000'000'000},
                                   {"h", 3'600'000'000'000}};
  for (const Unit& unit : units)
    if (unit.name == precision) return unit.ns;
  return Error{"precision", quoted(precision) + " is none of ns, us, ms, s, m and h"};
}

Decoded influx_lines(std::string_view body, const InfluxRequest& request, const Limits& limits) {
  Decoded out;
  Lines lines(request, limits, out);
  lines.read(body);
  lines.finish();
  return out;
}

}  // namespace muster::decode
