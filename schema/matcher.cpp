#include "schema/matcher.hpp"

#include <algorithm>
#include <cassert>
#include <optional>
#include <tuple>

#include <re2/re2.h>

#include "schema/text.hpp"

namespace muster {
namespace {

// A pattern that needs more is refused: a route's expression is a few names, and a compiled one stays in
// memory as long as the config.
constexpr std::int64_t regex_bytes_max = 1 << 20;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

bool classic_name_char(char c, bool first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
         (!first && c >= '0' && c <= '9');
}

// The operator at the front of `s`; takes it off.
std::optional<Matcher::Op> take_op(std::string_view& s) {
  const auto take = [&s](std::string_view op) {
    if (s.substr(0, op.size()) != op) return false;
    s.remove_prefix(op.size());
    return true;
  };
  if (take("=~")) return Matcher::Op::regex;
  if (take("!~")) return Matcher::Op::not_regex;
  if (take("!=")) return Matcher::Op::not_equal;
  if (take("=")) return Matcher::Op::equal;
  return std::nullopt;
}

Error bad(std::string_view text, std::string what) {
  return {"matcher " + quote(text), std::move(what)};
}

// The classic grammar. It was written as a splitter and a regular expression, and its sloppiness is kept:
// configs depend on it.
Result<Matcher> classic_one(std::string_view whole) {
  std::string_view s = trimmed(whole);
  std::size_t n = 0;
  while (n < s.size() && classic_name_char(s[n], n == 0)) ++n;
  const std::string name(s.substr(0, n));
  s = trimmed(s.substr(n));
  const auto op = take_op(s);
  if (name.empty() || !op)
    return bad(whole, "is not NAME=VALUE, with one of = != =~ !~ in the middle");
  s = trimmed(s);
  if (!is_utf8(s)) return bad(whole, "the value is not UTF-8");

  bool quoted = !s.empty() && s.front() == '"';
  if (quoted) s.remove_prefix(1);
  std::string value;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && i + 1 < s.size()) {
      const char next = s[++i];
      if (next == 'n') {
        value += '\n';
      } else {
        // An escape that means nothing is two characters.
        if (next != '"' && next != '\\') value += '\\';
        value += next;
      }
    } else if (s[i] == '"') {
      if (!quoted || i + 1 < s.size()) return bad(whole, "has a double quote inside; write \\\"");
      quoted = false;
    } else {
      value += s[i];
    }
  }
  if (quoted) return bad(whole, "lacks the closing double quote");
  return make_matcher(name, *op, std::move(value));
}

Result<std::vector<Matcher>> classic(std::string_view text) {
  std::string_view s = text;
  if (!s.empty() && s.front() == '{') s.remove_prefix(1);
  if (!s.empty() && s.back() == '}') s.remove_suffix(1);

  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  bool inside = false, escaped = false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == ',' && !inside) {
      parts.push_back(s.substr(begin, i - begin));
      begin = i + 1;
      continue;
    }
    if (s[i] == '"') {
      if (!escaped) inside = !inside;
      escaped = false;
    } else {
      escaped = s[i] == '\\' && !escaped;
    }
  }
  if (!trimmed(s.substr(begin)).empty()) parts.push_back(s.substr(begin));

  std::vector<Matcher> list;
  for (const std::string_view part : parts) {
    auto one = classic_one(part);
    if (!one) return one.error();
    list.push_back(std::move(*one));
  }
  return list;
}

// The UTF-8 grammar.
class Utf8Parser {
 public:
  explicit Utf8Parser(std::string_view text) : whole_(text), left_(text) {}

  Result<std::vector<Matcher>> parse() {
    std::vector<Matcher> list;
    const bool braces = take('{');
    skip();
    while (!left_.empty() && left_.front() != '}') {
      auto one = matcher();
      if (!one) return one.error();
      list.push_back(std::move(*one));
      if (!take(',')) break;
      skip();
    }
    if (braces && !take('}')) return bad(whole_, "lacks the closing brace");
    skip();
    if (!left_.empty())
      return bad(whole_, "has " + quote(left_.substr(0, 20)) + " left over; separate with commas");
    return list;
  }

 private:
  void skip() {
    while (!left_.empty() && (is_space(left_.front()) || left_.front() == '\v'))
      left_.remove_prefix(1);
  }
  bool take(char c) {
    skip();
    if (left_.empty() || left_.front() != c) return false;
    left_.remove_prefix(1);
    return true;
  }

  Result<Matcher> matcher() {
    auto name = word("a label name");
    if (!name) return name.error();
    if (name->empty()) return bad(whole_, "has an empty label name");
    skip();
    const auto op = take_op(left_);
    if (!op) return bad(whole_, "needs one of = != =~ !~ after " + quote(*name));
    auto value = word("a value");
    if (!value) return value.error();
    return make_matcher(std::move(*name), *op, std::move(*value));
  }

  Result<std::string> word(const char* what) {
    skip();
    if (!left_.empty() && left_.front() == '"') return quoted();
    static constexpr std::string_view reserved = "{}!=~,\\\"'` \t\n\r\f\v";
    std::size_t n = 0;
    while (n < left_.size() && reserved.find(left_[n]) == reserved.npos) ++n;
    if (n == 0) return bad(whole_, std::string("needs ") + what + "; put it into double quotes");
    std::string out(left_.substr(0, n));
    left_.remove_prefix(n);
    if (!is_utf8(out)) return bad(whole_, "is not UTF-8");
    return out;
  }

  // A Go string literal.
  Result<std::string> quoted() {
    std::string out;
    std::size_t i = 1;
    for (;;) {
      if (i >= left_.size()) return bad(whole_, "lacks the closing double quote");
      const char c = left_[i++];
      if (c == '"') break;
      if (c == '\n') return bad(whole_, "has a line break inside quotes; write \\n");
      if (c != '\\') {
        out += c;
        continue;
      }
      if (i >= left_.size()) return bad(whole_, "ends in a backslash");
      const char e = left_[i++];
      static constexpr std::string_view from = "abfnrtv\\\"", to = "\a\b\f\n\r\t\v\\\"";
      if (const auto simple = from.find(e); simple != from.npos) {
        out += to[simple];
        continue;
      }
      const int base = e >= '0' && e <= '7' ? 8 : 16;
      std::size_t width = e == 'x' ? 2 : e == 'u' ? 4 : e == 'U' ? 8 : 0;
      if (base == 8) width = 3, --i;
      if (width == 0)
        return bad(whole_, std::string("has the escape \\") + e + ", which Go does not know");
      std::uint64_t value = 0;
      for (std::size_t k = 0; k < width; ++k, ++i) {
        const int digit = i < left_.size() ? digit_of(left_[i]) : -1;
        if (digit < 0 || digit >= base) return bad(whole_, "has a cut escape");
        value = value * static_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(digit);
      }
      if (e == 'u' || e == 'U') {
        if (value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
          return bad(whole_, "names no code point");
        append_utf8(out, static_cast<char32_t>(value));
      } else {
        if (value > 0xff) return bad(whole_, "has an octal escape over \\377");
        out += static_cast<char>(value);
      }
    }
    left_.remove_prefix(i);
    if (!is_utf8(out)) return bad(whole_, "is not UTF-8");
    return out;
  }

  static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  std::string_view whole_;
  std::string_view left_;
};

bool same(const std::vector<Matcher>& a, const std::vector<Matcher>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Matcher& x, const Matcher& y) {
    return x.name == y.name && x.op == y.op && x.value == y.value;
  });
}

// A form that both grammars read alike.
std::string suggestion(const std::vector<Matcher>& list) {
  std::string out;
  for (const Matcher& m : list) {
    if (!out.empty()) out += ", ";
    out += m.name + std::string(to_word(m.op)) + quote(m.value);
  }
  return out;
}

}  // namespace

std::string_view value_of(const Labels& labels, std::string_view name) {
  for (const Label& label : labels) {
    if (label.name == name) return label.value;
  }
  return {};
}

std::string_view to_word(Matcher::Op op) {
  switch (op) {
    case Matcher::Op::equal:
      return "=";
    case Matcher::Op::not_equal:
      return "!=";
    case Matcher::Op::regex:
      return "=~";
    case Matcher::Op::not_regex:
      return "!~";
  }
  return "";
}

std::string to_text(const Matcher& m) {
  std::string out = m.name + std::string(to_word(m.op)) + '"';
  for (const char c : m.value) {
    if (c == '\n') {
      out += "\\n";
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

std::string to_text(const std::vector<Matcher>& matchers) {
  std::string out = "{";
  for (const Matcher& m : matchers) {
    if (out.size() > 1) out += ',';
    out += to_text(m);
  }
  return out + '}';
}

bool Matcher::matches(std::string_view label_value) const {
  switch (op) {
    case Op::equal:
      return label_value == value;
    case Op::not_equal:
      return label_value != value;
    case Op::regex:
      return assert(regex), RE2::FullMatch(label_value, *regex);
    case Op::not_regex:
      return assert(regex), !RE2::FullMatch(label_value, *regex);
  }
  return false;
}

bool Matcher::matches(const Labels& labels) const {
  return matches(value_of(labels, name));
}

const Matcher* first_failing(const std::vector<Matcher>& matchers, const Labels& labels) {
  for (const Matcher& m : matchers) {
    if (!m.matches(labels)) return &m;
  }
  return nullptr;
}

bool matches(const std::vector<Matcher>& matchers, const Labels& labels) {
  return first_failing(matchers, labels) == nullptr;
}

Result<Matcher> make_matcher(std::string name, Matcher::Op op, std::string value) {
  if (name.empty()) return Error{"matcher", "has an empty label name"};
  Matcher m{std::move(name), op, std::move(value), nullptr};
  if (op == Matcher::Op::regex || op == Matcher::Op::not_regex) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(regex_bytes_max);
    auto regex = std::make_shared<const RE2>("(?:" + m.value + ")", options);
    if (!regex->ok()) return bad(to_text(m), "is not a regular expression: " + regex->error());
    m.regex = std::move(regex);
  }
  return m;
}

void sort_matchers(std::vector<Matcher>& matchers) {
  std::stable_sort(matchers.begin(), matchers.end(), [](const Matcher& a, const Matcher& b) {
    return std::tie(a.name, a.value, a.op) < std::tie(b.name, b.value, b.op);
  });
}

Result<Matchers> parse_matchers(std::string_view text, Grammar grammar) {
  if (grammar == Grammar::classic) {
    auto list = classic(text);
    if (!list) return list.error();
    return Matchers{std::move(*list), {}};
  }
  auto modern = Utf8Parser(text).parse();
  if (grammar == Grammar::utf8) {
    if (!modern) return modern.error();
    return Matchers{std::move(*modern), {}};
  }
  auto old = classic(text);
  if (!old && !modern) return modern.error();
  if (!old) return Matchers{std::move(*modern), {}};
  if (modern && same(*modern, *old)) return Matchers{std::move(*old), {}};
  Matchers out{std::move(*old), {}};
  out.warning = std::string(modern ? "reads differently in the two grammars of matchers"
                                   : "is read by the classic grammar of matchers only") +
                "; write " + suggestion(out.list);
  return out;
}

Result<std::vector<Matcher>> parse_series_selector(std::string_view text) {
  std::string_view s = trimmed(text);
  std::size_t n = 0;
  while (n < s.size() && classic_name_char(s[n], n == 0)) ++n;
  const std::string name(s.substr(0, n));
  const std::string_view rest = trimmed(s.substr(n));
  if (name.empty() && rest.empty()) return bad(text, R"(is empty; write {} for all, or {job="api"})");
  if (!rest.empty() && rest.front() != '{')
    return bad(text, R"(is no selector; write NAME, NAME{label="value"} or {label="value"})");
  std::vector<Matcher> list;
  if (!rest.empty()) {
    auto parsed = Utf8Parser(rest).parse();
    if (!parsed) return parsed.error();
    list = std::move(*parsed);
  }
  if (!name.empty()) list.insert(list.begin(), {"__name__", Matcher::Op::equal, name, nullptr});
  return list;
}

}  // namespace muster
