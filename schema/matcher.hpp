#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/series.hpp"

namespace re2 {
class RE2;
}

namespace muster {

// The value of `name`, or "" when it is missing: the two are the same to every matcher.
std::string_view value_of(const Labels& labels, std::string_view name);

// One condition on one label. A missing label is the empty string. A regular expression has to match the
// whole value; its dialect is RE2's, so that no pattern can take exponential time.
struct Matcher {
  enum class Op { equal, not_equal, regex, not_regex };

  std::string name;
  Op op = Op::equal;
  std::string value;
  std::shared_ptr<const re2::RE2> regex;  // set for the regex ones

  bool matches(std::string_view label_value) const;
  bool matches(const Labels& labels) const;
};

std::string_view to_word(Matcher::Op op);
// a="b": as group keys have it.
std::string to_text(const Matcher& matcher);
std::string to_text(const std::vector<Matcher>& matchers);  // {a="b",c=~"d|e"}

// All hold; an empty list matches everything.
bool matches(const std::vector<Matcher>& matchers, const Labels& labels);
// The first that does not hold; null when all do.
const Matcher* first_failing(const std::vector<Matcher>& matchers, const Labels& labels);

// Checks the name and compiles the expression.
Result<Matcher> make_matcher(std::string name, Matcher::Op op, std::string value);

// By name, value, operator: the order in group keys.
void sort_matchers(std::vector<Matcher>& matchers);

// Which of Alertmanager's two grammars reads a list of matchers.
enum class Grammar {
  both,     // either one; where both read it and differ, classic wins
  classic,  // up to 0.26: classic names, anything up to the next comma is the value
  utf8,     // since 0.27: any UTF-8 name, Go strings, no loose ends
};

struct Matchers {
  std::vector<Matcher> list;
  std::string warning;  // how to write it so that both grammars agree; empty when they do
};

// Reads `a="b", c=~"d|e"`, with or without braces.
Result<Matchers> parse_matchers(std::string_view text, Grammar grammar = Grammar::both);

// A series selector as Prometheus writes it: `up`, `up{job="api"}` or `{job=~"a|b"}`. The name becomes a condition
// on `__name__`.
Result<std::vector<Matcher>> parse_series_selector(std::string_view text);

}  // namespace muster
