#include "collector/decode/exposition.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/hash.hpp"
#include "collector/decode/decoded.hpp"
#include "collector/decode/relabel.hpp"
#include "collector/decode/text.hpp"
#include "schema/time.hpp"

namespace muster::decode {
namespace {

// Prometheus's NaN that is no stale marker; a page cannot say which one it means.
constexpr std::uint64_t nan_bits = 0x7ff8'0000'0000'0001ULL;

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  return text;
}

// Up to the first blank; the rest begins with it.
std::string_view take_word(std::string_view& text) {
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

bool same_word(std::string_view a, std::string_view small) {
  return a.size() == small.size() &&
         std::equal(a.begin(), a.end(), small.begin(), [](char x, char y) {
           return x == y || (x >= 'A' && x <= 'Z' && x + ('a' - 'A') == y);
         });
}

// A number as Go's ParseFloat reads it, without its hexadecimal and underscored forms; what is too large for a
// double is refused, what is too small is 0.
std::optional<double> number(std::string_view text) {
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty()) return {};
  const char first = digits.front();
  if ((first < '0' || first > '9') && first != '.') {
    if (same_word(digits, "nan") && digits.size() == text.size())
      return std::bit_cast<double>(nan_bits);
    if (!same_word(digits, "inf") && !same_word(digits, "infinity")) return {};
    return negative ? -HUGE_VAL : HUGE_VAL;
  }
  double value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, failed] = std::from_chars(digits.data(), end, value);
  if (stop != end) return {};
  if (failed == std::errc::result_out_of_range) {
    // Both ends of the range are said in one way.
    value = std::strtod(std::string(digits).c_str(), nullptr);
    if (std::isinf(value)) return {};
  } else if (failed != std::errc()) {
    return {};
  }
  return negative ? -value : value;
}

// Seconds to milliseconds, rounded to the nearest.
std::optional<std::int64_t> millis_of_seconds(std::string_view text) {
  const std::optional<double> seconds = number(text);
  if (!seconds || !std::isfinite(*seconds)) return {};
  if (std::abs(*seconds) > static_cast<double>(millis_max / 1000)) return {};
  return std::llround(*seconds * 1000);
}

std::optional<std::int64_t> whole_millis(std::string_view text) {
  std::int64_t millis = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, millis);
  if (failed != std::errc() || stop != end || millis > millis_max || millis < -millis_max)
    return {};
  return millis;
}

// Behind the closing quote of the text that begins at `at` (behind the opening one); npos when there is none.
std::size_t behind_quote(std::string_view text, std::size_t at) {
  while (true) {
    at = text.find_first_of("\"\\", at);
    if (at == text.npos) return text.npos;
    if (text[at] == '"') return at + 1;
    at += 2;
    if (at > text.size()) return text.npos;
  }
}

// Where the series of a line ends when quoted text may hold anything: behind its closing brace, or behind its
// name when it has none.
std::size_t series_end(std::string_view line) {
  std::size_t at = line.find_first_of("{\"# \t");
  while (at != line.npos && is_blank(line[at])) {
    const std::size_t next = line.find_first_not_of(" \t", at);
    if (next == line.npos || line[next] != '{') return at;
    at = next;
  }
  if (at == line.npos || line[at] != '{') return std::min(at, line.size());
  while (true) {
    at = line.find_first_of("}\"", at + 1);
    if (at == line.npos) return line.npos;
    if (line[at] == '}') return at + 1;
    at = behind_quote(line, at + 1);
    if (at == line.npos) return line.npos;
    --at;  // on the quote, which the next search leaves behind
  }
}

// Reads a name with its labels, from its first byte to its last.
class SeriesReader {
 public:
  SeriesReader(std::string_view text, ExpositionFormat format)
      : text_(text), strict_(format == ExpositionFormat::openmetrics) {}

  Result<Labels> read(bool named) {
    blanks();
    if (named) {
      const std::string_view name = bare_name(true);
      if (!name.empty()) labels_.push_back({"__name__", std::string(name)});
      blanks();
    }
    if (!at_end() && text_[at_] == '{') {
      ++at_;
      if (auto bad = braces(named)) return *bad;
    }
    blanks();
    if (!at_end()) return Error{"", "unexpected " + shown_rest() + " behind the series"};
    if (named && !has_name()) return Error{"", "a sample without a metric name"};
    std::stable_sort(labels_.begin(), labels_.end(),
                     [](const Label& a, const Label& b) { return a.name < b.name; });
    for (std::size_t i = 1; i < labels_.size(); ++i)
      if (labels_[i].name == labels_[i - 1].name)
        return Error{"", "label \"" + printable(labels_[i].name) + "\" is repeated"};
    return std::move(labels_);
  }

 private:
  bool at_end() const { return at_ == text_.size(); }
  void blanks() {
    while (!strict_ && !at_end() && is_blank(text_[at_])) ++at_;
  }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string shown_rest() const {
    return at_end() ? "end of the line" : "'" + printable(text_.substr(at_), 20) + "'";
  }
  bool has_name() const {
    return std::any_of(labels_.begin(), labels_.end(),
                       [](const Label& label) { return label.name == "__name__"; });
  }

  std::string_view bare_name(bool colons) {
    std::size_t end = at_;
    while (end < text_.size()) {
      const char c = text_[end];
      const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                        (colons && c == ':') || (end > at_ && c >= '0' && c <= '9');
      if (!fits) break;
      ++end;
    }
    const std::string_view name = text_.substr(at_, end - at_);
    at_ = end;
    return name;
  }

  // A text in quotes with \\, \" and \n undone; any other escape stays as it stands, as in Prometheus.
  std::optional<Error> quoted(std::string& out) {
    const std::size_t end = behind_quote(text_, at_ + 1);
    if (end == text_.npos) return Error{"", "a quote that is not closed"};
    std::string_view inside = text_.substr(at_ + 1, end - at_ - 2);
    at_ = end;
    if (!is_storable(inside))
      return Error{"", "'" + printable(inside, 60) + "' is not UTF-8 text without NUL"};
    out.clear();
    while (true) {
      const std::size_t slash = inside.find('\\');
      out += inside.substr(0, slash);
      if (slash == inside.npos) return {};
      const char next = inside[slash + 1];
      if (next == 'n') {
        out += '\n';
      } else {
        if (next != '\\' && next != '"') out += '\\';
        out += next;
      }
      inside.remove_prefix(slash + 2);
    }
  }

  std::optional<Error> braces(bool named) {
    std::string text;
    while (true) {
      blanks();
      if (take('}')) return {};
      std::string name;
      bool in_quotes = false;
      if (!at_end() && text_[at_] == '"') {
        in_quotes = true;
        if (auto bad = quoted(name)) return bad;
        if (name.empty()) return Error{"", "an empty name in quotes"};
      } else {
        name = bare_name(false);
        if (name.empty()) return Error{"", "a label name is expected, and not " + shown_rest()};
      }
      blanks();
      if (take('=')) {
        blanks();
        if (at_end() || text_[at_] != '"')
          return Error{"", "label " + printable(name, 60) +
                               ": a value in quotes is expected, and not " + shown_rest()};
        if (auto bad = quoted(text)) return bad;
        labels_.push_back({std::move(name), text});
      } else if (in_quotes && named && !has_name()) {
        labels_.push_back({"__name__", std::move(name)});
      } else {
        return Error{"",
                     "label " + printable(name, 60) + ": '=' is expected, and not " + shown_rest()};
      }
      if (labels_.size() > labels_max + 1)
        return Error{"", "more than " + std::to_string(labels_max) + " labels"};
      blanks();
      if (take(',')) continue;
      if (at_end() || text_[at_] != '}')
        return Error{"", "',' or '}' is expected, and not " + shown_rest()};
    }
  }

  std::string_view text_;
  bool strict_;
  std::size_t at_ = 0;
  Labels labels_;
};

constexpr std::array<std::string_view, 8> type_words = {
    "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"};

// What may follow a family's name in the name of one of its samples.
bool is_suffix(std::string_view suffix, FamilyType type, ExpositionFormat format) {
  if (suffix.empty()) return true;
  const bool openmetrics = format == ExpositionFormat::openmetrics;
  switch (type) {
    case FamilyType::histogram:
      return suffix == "_bucket" || suffix == "_count" || suffix == "_sum" ||
             (openmetrics && suffix == "_created");
    case FamilyType::summary:
      return suffix == "_count" || suffix == "_sum" || (openmetrics && suffix == "_created");
    case FamilyType::counter:
      return openmetrics && (suffix == "_total" || suffix == "_created");
    case FamilyType::gaugehistogram:
      return openmetrics && (suffix == "_bucket" || suffix == "_gcount" || suffix == "_gsum");
    case FamilyType::info:
      return openmetrics && suffix == "_info";
    default:
      return false;
  }
}

}  // namespace

std::string_view to_word(FamilyType type) {
  return type_words[static_cast<std::size_t>(type)];
}

Result<ExpositionFormat> exposition_format(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  type = without_blanks(type);
  while (!type.empty() && is_blank(type.back())) type.remove_suffix(1);
  if (type.empty() || same_word(type, "text/plain")) return ExpositionFormat::text;
  if (same_word(type, "application/openmetrics-text")) return ExpositionFormat::openmetrics;
  return Error{"Content-Type",
               "'" + printable(content_type, 100) +
                   "' is neither text/plain nor application/openmetrics-text; does the "
                   "URL give metrics? fallback_scrape_protocol takes it all the same"};
}

ExpositionParser::ExpositionParser(std::string_view page, ExpositionFormat format)
    : rest_(page), format_(format) {}

bool ExpositionParser::fail(std::string what) {
  fault_ = Error{"line " + std::to_string(line_), std::move(what)};
  return false;
}

bool ExpositionParser::next(ExpositionSample& sample) {
  while (!rest_.empty()) {
    ++line_;
    const void* const end = std::memchr(rest_.data(), '\n', rest_.size());
    const std::size_t length =
        end == nullptr ? rest_.size()
                       : static_cast<std::size_t>(static_cast<const char*>(end) - rest_.data());
    std::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(end == nullptr ? length : length + 1);

    if (format_ == ExpositionFormat::openmetrics) {
      if (ended_) return fail("there is something behind # EOF");
      if (end == nullptr && text != "# EOF") return fail("the page is cut short: no # EOF");
      if (text.empty()) return fail("an empty line, which OpenMetrics does not allow");
    } else {
      text = without_blanks(text);
      if (text.empty()) continue;
    }
    if (text.front() != '#') return sample_line(text, sample);
    if (!comment(text)) return false;
  }
  if (format_ == ExpositionFormat::openmetrics && !ended_ && !fault_)
    return fail("the page is cut short: no # EOF");
  return false;
}

bool ExpositionParser::comment(std::string_view text) {
  const bool strict = format_ == ExpositionFormat::openmetrics;
  if (strict && text == "# EOF") return ended_ = true;
  std::string_view rest = text.substr(1);
  const auto to_next = [&] {
    if (!strict) {
      rest = without_blanks(rest);
    } else if (rest.starts_with(' ')) {
      rest.remove_prefix(1);
    }
  };
  to_next();
  const bool apart = rest.size() < text.size() - 1;  // "#TYPE" is a mere comment
  const std::string_view keyword = apart ? take_word(rest) : std::string_view();
  const bool type = keyword == "TYPE", unit = keyword == "UNIT" && strict, help = keyword == "HELP";
  if (!type && !unit && !help) {
    if (!strict) return true;
    return fail("'" + printable(text, 40) + "' is none of # HELP, # TYPE, # UNIT and # EOF");
  }

  to_next();
  std::string_view name;
  std::string unescaped;
  if (rest.starts_with('"')) {
    const std::size_t end = behind_quote(rest, 1);
    if (end == rest.npos) return fail("a quote that is not closed");
    name = rest.substr(1, end - 2);
    if (!is_storable(name) || name.empty()) return fail("the metric's name is not UTF-8 text");
    rest.remove_prefix(end);
  } else {
    name = take_word(rest);
    if (!is_metric_name(name))
      return fail(std::string(keyword) + ": '" + printable(name, 60) + "' is no metric name");
  }
  to_next();
  if (help) return true;

  if (type) {
    while (!strict && !rest.empty() && is_blank(rest.back())) rest.remove_suffix(1);
    FamilyType found = FamilyType::unknown;
    const auto* const known = std::find(type_words.begin(), type_words.end(), rest);
    const std::size_t index = static_cast<std::size_t>(known - type_words.begin());
    // Text 0.0.4 has five of them, and calls the unknown one untyped.
    const bool plain = index == 1 || index == 2 || index == 3 || index == 5;
    if (known != type_words.end() && (strict || plain)) {
      found = static_cast<FamilyType>(index);
    } else if (strict || rest != "untyped") {
      return fail("'" + printable(rest, 40) + "' is no type of metric '" + printable(name, 60) +
                  "'");
    }
    family_named(name).type = found;
  } else {
    const bool fits = rest.empty() || (name.size() > rest.size() + 1 && name.ends_with(rest) &&
                                       name[name.size() - rest.size() - 1] == '_');
    if (!fits)
      return fail("unit '" + printable(rest, 40) + "' is not the end of the name '" +
                  printable(name, 60) + "'");
    family_named(name).unit = rest;
  }
  Family& family = families_[name];
  family.hash = hash64(family.unit) * 0x9e37'79b9'7f4a'7c15ULL +
                (static_cast<std::uint64_t>(family.type) << 32) + family.name.size();
  current_ = family;
  return true;
}

ExpositionParser::Family& ExpositionParser::family_named(std::string_view name) {
  Family& family = families_[name];
  family.name = name;
  return family;
}

void ExpositionParser::classify(std::string_view name, ExpositionSample& sample) {
  const auto belongs = [&](const Family& family) {
    return !family.name.empty() && name.starts_with(family.name) &&
           is_suffix(name.substr(family.name.size()), family.type, format_);
  };
  const Family* family = nullptr;
  if (belongs(current_)) {
    family = &current_;
  } else if (!families_.empty()) {
    // Out of the usual order: by the whole name, or by it without its last part.
    auto found = families_.find(name);
    if (found == families_.end()) found = families_.find(name.substr(0, name.rfind('_')));
    if (found != families_.end() && belongs(found->second)) family = &found->second;
  }
  sample.type = FamilyType::unknown;
  sample.unit = {};
  sample.family_name = {};
  sample.family = 0;
  sample.created = false;
  if (family == nullptr) return;
  sample.type = family->type;
  sample.unit = family->unit;
  sample.family_name = family->name;
  sample.family = family->hash;
  sample.created = format_ == ExpositionFormat::openmetrics &&
                   name.size() == family->name.size() + 8 && name.ends_with("_created");
}

bool ExpositionParser::sample_line(std::string_view text, ExpositionSample& sample) {
  const bool strict = format_ == ExpositionFormat::openmetrics;
  // Neither a value nor a time holds a brace, so the last one of the line ends the labels; an exemplar has
  // braces of its own, and begins with a '#'.
  std::size_t end = 0;
  if (strict && std::memchr(text.data(), '#', text.size()) != nullptr) {
    end = series_end(text);
    if (end == text.npos) return fail("braces or a quote that are not closed");
  } else if (const void* const brace = memrchr(text.data(), '}', text.size()); brace != nullptr) {
    end = static_cast<std::size_t>(static_cast<const char*>(brace) - text.data()) + 1;
  } else {
    end = std::min(text.find_first_of(" \t"), text.size());
    if (text.find('{') != text.npos) return fail("a brace that is not closed");
  }
  sample.series = text.substr(0, end);
  sample.line = line_;

  // The name, for its family; in quotes it is the first thing in the braces.
  std::size_t name_end = 0;
  while (name_end < end && text[name_end] != '{' && !is_blank(text[name_end])) ++name_end;
  std::string_view name = text.substr(0, name_end);
  if (name.empty() && text.starts_with("{\"")) {
    const std::size_t behind = behind_quote(sample.series, 2);
    if (behind != text.npos) name = text.substr(2, behind - 3);
  }
  classify(name, sample);

  std::string_view rest = text.substr(end);
  const auto to_next = [&] {
    if (!strict) {
      rest = without_blanks(rest);
    } else if (rest.starts_with(' ')) {
      rest.remove_prefix(1);
    }
  };
  to_next();
  const std::string_view value = take_word(rest);
  const std::optional<double> read = number(value);
  if (!read) {
    if (value.empty()) return fail("'" + printable(text, 80) + "' has no value");
    return fail("'" + printable(value, 40) + "' is no number that fits a double");
  }
  sample.value = *read;
  sample.millis.reset();
  if (rest.empty()) return true;

  to_next();
  if (rest.empty()) return strict ? fail("a blank at the end of the line") : true;
  if (!rest.starts_with('#')) {
    const std::string_view time = take_word(rest);
    sample.millis = strict ? millis_of_seconds(time) : whole_millis(time);
    if (!sample.millis)
      return fail("'" + printable(time, 40) + "' is no time in " +
                  (strict ? "seconds" : "whole milliseconds"));
    to_next();
    if (rest.empty()) return true;
  }
  if (strict && rest.starts_with("# ")) return exemplar(rest.substr(2));
  return fail("'" + printable(rest, 40) + "' behind the " + (sample.millis ? "time" : "value"));
}

bool ExpositionParser::exemplar(std::string_view text) {
  const std::size_t end = text.starts_with('{') ? series_end(text) : text.npos;
  if (end == text.npos) return fail("an exemplar needs labels in braces");
  if (auto labels = SeriesReader(text.substr(0, end), format_).read(false); !labels)
    return fail("exemplar: " + labels.error().what);
  std::string_view rest = text.substr(end);
  const auto word = [&] {
    if (rest.starts_with(' ')) rest.remove_prefix(1);
    return take_word(rest);
  };
  if (const std::string_view value = word(); !number(value))
    return fail("exemplar: '" + printable(value, 40) + "' is no number");
  if (!rest.empty()) {
    if (const std::string_view time = word(); !millis_of_seconds(time))
      return fail("exemplar: '" + printable(time, 40) + "' is no time in seconds");
  }
  if (!rest.empty()) return fail("'" + printable(rest, 40) + "' behind the exemplar");
  ++exemplars_;
  return true;
}

Result<Labels> exposition_labels(std::string_view series, ExpositionFormat format) {
  return SeriesReader(series, format).read(true);
}

}  // namespace muster::decode
