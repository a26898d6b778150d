#include "query/matcher.hpp"

#include <cassert>
#include <utility>

#include <re2/re2.h>

namespace muster::query {
namespace {

// A compiled expression lives as long as its query; a list of a thousand names stays far below.
constexpr std::int64_t regex_bytes_max = 1 << 20;

std::string_view to_word(Matcher::Op op) {
  switch (op) {
    case Matcher::Op::equal: return "=";
    case Matcher::Op::not_equal: return "!=";
    case Matcher::Op::regex: return "=~";
    case Matcher::Op::not_regex: return "!~";
  }
  return "";
}

}  // namespace

bool Matcher::matches(std::string_view label_value) const {
  switch (op) {
    case Op::equal: return label_value == value;
    case Op::not_equal: return label_value != value;
    case Op::regex: return assert(regex), re2::RE2::FullMatch(label_value, *regex);
    case Op::not_regex: return assert(regex), !re2::RE2::FullMatch(label_value, *regex);
  }
  return false;
}

Result<Matcher> make_matcher(std::string name, Matcher::Op op, std::string value) {
  Matcher matcher{std::move(name), op, std::move(value), nullptr};
  if (op == Matcher::Op::regex || op == Matcher::Op::not_regex) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(regex_bytes_max);
    auto regex = std::make_shared<const re2::RE2>("(?:" + matcher.value + ")", options);
    if (!regex->ok())
      return Error{"bad_data", "the matcher of \"" + matcher.name +
                                   "\" is not a regular expression: " + regex->error()};
    matcher.regex = std::move(regex);
  }
  return matcher;
}

std::string to_text(const Matchers& matchers) {
  std::string out, inside;
  for (const Matcher& m : matchers) {
    if (m.name == "__name__" && m.op == Matcher::Op::equal && out.empty()) {
      out = m.value;
      continue;
    }
    if (!inside.empty()) inside += ',';
    inside += m.name;
    inside += to_word(m.op);
    inside += '"';
    for (const char c : m.value) {
      if (c == '"' || c == '\\') inside += '\\';
      if (c == '\n') {
        inside += "\\n";
      } else {
        inside += c;
      }
    }
    inside += '"';
  }
  if (inside.empty()) return out.empty() ? "{}" : out;
  return out + '{' + inside + '}';
}

}  // namespace muster::query
