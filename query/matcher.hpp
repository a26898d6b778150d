#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace re2 {
class RE2;
}

namespace muster::query {

// One condition on one label; a label that is not there is the empty string. A regular expression has to
// match the whole value; its dialect is RE2's, so that none takes exponential time.
struct Matcher {
  enum class Op { equal, not_equal, regex, not_regex };

  std::string name;
  Op op = Op::equal;
  std::string value;
  std::shared_ptr<const re2::RE2> regex;  // set for the regex ones

  bool matches(std::string_view label_value) const;
};
using Matchers = std::vector<Matcher>;

// Compiles the expression; an Error when it is none, or needs more than a mebibyte.
Result<Matcher> make_matcher(std::string name, Matcher::Op op, std::string value);

// name{a="b",c=~"d"}: as a person would write it.
std::string to_text(const Matchers& matchers);

}  // namespace muster::query
