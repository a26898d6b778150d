#include "schema/matcher.hpp"

#include <catch2/catch.hpp>

using namespace muster;

namespace {

// Matchers in the text of group keys, or why there are none.
std::string read(std::string_view text, Grammar grammar) {
  const auto parsed = parse_matchers(text, grammar);
  return parsed ? to_text(parsed->list) : "refused";
}
std::string classic(std::string_view text) {
  return read(text, Grammar::classic);
}
std::string utf8(std::string_view text) {
  return read(text, Grammar::utf8);
}

bool holds(std::string_view matcher, const Labels& labels) {
  return matches(parse_matchers(matcher).value().list, labels);
}

}  // namespace

// The verdicts below were seen on Alertmanager's parsers (0.25 and the one since 0.27).

TEST_CASE("the classic grammar takes what configs of old have") {
  CHECK(classic("foo=bar") == R"({foo="bar"})");
  CHECK(classic(" foo =~ \"a|b\" ") == R"({foo=~"a|b"})");
  CHECK(classic("{a=b") == R"({a="b"})");
  CHECK(classic("{a=b, c!=\"d,e\",}") == R"({a="b",c!="d,e"})");
  CHECK(classic("foo=") == R"({foo=""})");
  CHECK(classic("foo==bar") == R"({foo="=bar"})");
  CHECK(classic("foo=bar baz") == R"({foo="bar baz"})");
  CHECK(classic(R"(foo="a\"b\\c\nd\e")") == R"({foo="a\"b\\c\nd\\e"})");
  CHECK(classic("foo=~[a-z]{2}") == R"({foo=~"[a-z]{2"})");  // the last brace is eaten
  CHECK(classic("") == "{}");
}

TEST_CASE("the classic grammar refuses what it always refused") {
  for (const auto* text :
       {"foo", "a=~x,y", ",a=b", "a=b,,c=d", "a=b\"c", "a=\"b", "a=\"b\"c\"", "1a=b", "föö=x"})
    CHECK(classic(text) == "refused");
}

TEST_CASE("the UTF-8 grammar takes any name and wants no loose ends") {
  CHECK(utf8(R"("foo bar"="x")") == R"({foo bar="x"})");
  CHECK(utf8("föö=x") == R"({föö="x"})");
  CHECK(utf8("1foo=x, foo-bar!~y") == R"({1foo="x",foo-bar!~"y"})");
  CHECK(utf8(R"(a="\xf0\x9f\x99\x82\t\u2603\101")") == "{a=\"🙂\t☃A\"}");
  CHECK(utf8("{}") == "{}");
  CHECK(utf8("{a=b,}") == R"({a="b"})");
  for (const auto* text :
       {"foo=", "foo=\"\\d\"", "foo=\\d", "foo==bar", "foo='x'", "foo=a b", "foo=~[a-z]{2}", "{,}",
        "{a=b", "a=b}", "\"\"=x", "a=\"\\ud800\"", "a=\"\\xff\""})
    CHECK(utf8(text) == "refused");
}

TEST_CASE("where the two grammars differ classic wins and says so") {
  const auto same = parse_matchers("foo=\"bar\"");
  CHECK(same.value().warning.empty());
  const auto differs = parse_matchers(R"(foo="a\tb")");
  CHECK(to_text(differs.value().list) == R"({foo="a\\tb"})");
  CHECK(differs->warning.find(R"(write foo="a\\tb")") != std::string::npos);
  const auto only_classic = parse_matchers("foo=a b");
  CHECK(to_text(only_classic.value().list) == R"({foo="a b"})");
  CHECK(only_classic->warning.find("classic grammar") != std::string::npos);
  CHECK(to_text(parse_matchers("föö=x").value().list) == R"({föö="x"})");
  CHECK(parse_matchers("a=~\"(\"").error().what.find("regular expression") != std::string::npos);
}

TEST_CASE("a missing label is the empty string") {
  CHECK(holds("foo!=bar", {}));
  CHECK(holds(R"(foo="")", {}));
  CHECK(holds(R"(foo!~".+")", {}));
  CHECK(holds(R"(foo=~".*")", {}));
  CHECK_FALSE(holds(R"(foo!="")", {}));
  CHECK_FALSE(holds(R"(z!~"5|")", {}));
}

TEST_CASE("an expression matches the whole value, and a dot no line break") {
  CHECK(holds(R"(a=~"fr.*")", {{"a", "fraud"}}));
  CHECK_FALSE(holds(R"(a=~"rau")", {{"a", "fraud"}}));
  CHECK(holds(R"(a=~"x|y")", {{"a", "y"}}));
  CHECK_FALSE(holds(R"(a=~"x|y")", {{"a", "xy"}}));
  CHECK_FALSE(holds(R"(a=~"a.b")", {{"a", "a\nb"}}));
}

TEST_CASE("a selector is a name, matchers in braces, or both") {
  const auto read_one = [](std::string_view text) {
    const auto parsed = parse_series_selector(text);
    return parsed ? to_text(*parsed) : "refused";
  };
  CHECK(read_one("up") == R"({__name__="up"})");
  CHECK(read_one(R"( vllm:x { a = "b", c!~"d.*" } )") == R"({__name__="vllm:x",a="b",c!~"d.*"})");
  CHECK(read_one(R"({a="b"})") == R"({a="b"})");
  CHECK(read_one("{}") == "{}");
  for (const char* wrong : {"", "up job", "1up", "a=b", R"(up{a="b")", R"({a=~"("})", "up{}}"})
    CHECK(read_one(wrong) == "refused");
}
