#include <catch2/catch.hpp>
#include <string>

#include "query/engine.hpp"
#include "query/expression.hpp"
#include "query/functions.hpp"
#include "query/number.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::query;

namespace {

// The tree in parentheses, so that precedence can be read.
std::string shown(const Expression& e) {
  switch (e.is) {
    case Expression::Is::number: {
      std::string out;
      append_value(out, e.number);
      return out;
    }
    case Expression::Is::text: return '\'' + e.text + '\'';
    case Expression::Is::selector: return e.matchers.empty() ? "{}" : e.matchers.front().value;
    case Expression::Is::subquery: return shown(*e.operands[0]) + "[:]";
    case Expression::Is::negative: return "(-" + shown(*e.operands[0]) + ')';
    case Expression::Is::binary:
      return '(' + shown(*e.operands[0]) + ' ' + std::string(to_word(e.op)) + ' ' + shown(*e.operands[1]) + ')';
    case Expression::Is::aggregate: return std::string(to_word(e.aggregation)) + shown(*e.operands[0]);
    case Expression::Is::call: {
      std::string out(e.function->name);
      for (const auto& operand : e.operands) out += ' ' + shown(*operand);
      return out;
    }
  }
  return "";
}

std::string tree(const std::string& text) {
  const Result<ExpressionPtr> e = parse(text);
  return e ? shown(**e) : "refused: " + e.error().what;
}

std::string why(const std::string& text) {
  const Result<ExpressionPtr> e = parse(text);
  return e ? "" : e.error().what;
}

}  // namespace

TEST_CASE("operators bind as Prometheus says") {
  CHECK(tree("1 + 2 * 3 ^ 2 ^ 2") == "(1 + (2 * (3 ^ (2 ^ 2))))");
  CHECK(tree("-2 ^ 2") == "(-(2 ^ 2))");
  CHECK(tree("-a * b") == "((-a) * b)");
  CHECK(tree("2 ^ -a") == "(2 ^ (-a))");
  CHECK(tree("a or b and c unless d") == "(a or ((b and c) unless d))");
  CHECK(tree("a > b + 1") == "(a > (b + 1))");
  CHECK(tree("a - b - c") == "((a - b) - c)");
  CHECK(tree("a % 2 atan2 3") == "((a % 2) atan2 3)");
  CHECK(tree("(a + b) * c # and that is all") == "((a + b) * c)");
}

TEST_CASE("selectors, ranges, offsets and durations") {
  const Result<ExpressionPtr> e = parse(R"(rate(http:x{a="1",b!='2',c=~`\d+`,d!~"e|f",} [1h30m] offset -1d2h @ 12.5))");
  REQUIRE(e);
  const Expression& s = *(*e)->operands[0];
  REQUIRE(s.matchers.size() == 5);
  CHECK(s.matchers[0].value == "http:x");
  CHECK(s.matchers[2].op == Matcher::Op::not_equal);
  CHECK(s.matchers[3].matches("12"));
  CHECK(!s.matchers[3].matches("12a"));
  CHECK(s.matchers[4].matches("ef"));
  CHECK(s.range == std::chrono::minutes(90));
  CHECK(s.offset == -std::chrono::hours(26));
  CHECK(s.at.time == from_millis(12'500));
  CHECK(parse_duration("1y2w3d4h5m6s7ms").value().count() ==
        ((365 + 14 + 3) * 86'400LL + 4 * 3600 + 5 * 60 + 6) * 1'000'000 + 7'000);
  for (const char* bad : {"", "5", "m", "5m1h", "1m1m", "1.5h", "-1m", "99999999999999999999s", "300000y"})
    CHECK(!parse_duration(bad));
  CHECK(parse_number("0x1F") == 31.0);
  CHECK(parse_number("-.5e1") == -5.0);
  for (const char* bad : {"", "e5", "0x", "1_000", "1e", "--1", "nano"}) CHECK(!parse_number(bad));
}

TEST_CASE("strings have the escapes of Go") {
  CHECK(tree(R"("a\n\x41\u00e9\101")") == "'a\nA\xc3\xa9"
                                          "A'");
  CHECK(tree("`a\\n`") == "'a\\n'");
  CHECK(why(R"("a)").find("closing quote") != std::string::npos);
  CHECK(why(R"("\q")").find("escape") != std::string::npos);
  CHECK(why(R"("\ud800")") != "");
}

TEST_CASE("a refusal names the character and what was wanted") {
  CHECK(why("rate(x)") == "character 7: argument 1 of rate must be a range vector, not a instant vector; write [5m] behind it");
  CHECK(why("sum(x") == "character 6: \")\" is wanted, not end of the query");
  CHECK(why("foo(x)").find("no function \"foo\"") != std::string::npos);
  CHECK(why("1 > 2").find("bool") != std::string::npos);
  CHECK(why("{}").find("empty string") != std::string::npos);
  CHECK(why(R"({a=~".*"})").find("empty string") != std::string::npos);
  CHECK(why("x and 1") != "");
  CHECK(why("x[5m] + 1") != "");
  CHECK(why("x offset 5m offset 5m") != "");
  CHECK(why("x[5m") != "");
  CHECK(why("x + on(a) group_left(a) y") != "");
  CHECK(why("topk(x, y)") != "");
  CHECK(why("x{a=\"1\"} y") != "");
  CHECK(why(std::string(query_bytes_max + 1, '1')) != "");
  CHECK(why(std::string(100'000, '(').substr(0, query_bytes_max)).find("nested") != std::string::npos);
  std::string chain = "1";
  for (int i = 0; i < 10'000; ++i) chain += "+1";
  CHECK(why(chain).find("in a row") != std::string::npos);
  CHECK(why("----1") == "");
  CHECK(why(std::string(60'000, '-') + "1") != "");
}

TEST_CASE("a selector alone, and muster's word for the name") {
  const Result<Selector> selector = query::parse_selector(R"({model="m",metric=~"null_.*"})", true);
  REQUIRE(selector);
  CHECK((*selector)[1].name == "__name__");
  CHECK(query::parse_selector("up{a=\"b\"}"));
  CHECK(!query::parse_selector("up + 1"));
  CHECK(!query::parse_selector(""));
  CHECK(!query::parse_selector("{}"));
}

TEST_CASE("no text makes the parser, or what it parsed, do what it must not") {
  fuzz::Plan plan;
  plan.corpus = {
      R"(sum by (a, b) (rate(x{c="d",e!~"f.*"}[5m] offset 1m)) / on (a) group_left (g) topk(3, y) > bool 2)",
      R"(histogram_quantile(0.9, sum without (le) (increase(z_bucket[1h] @ end()))) or -vector(1) ^ 2)",
      R"q(label_replace(x, "a", "$1-${b}", "c", "(?P<b>.*)") and max_over_time(rate(x[1m])[10m:30s]))q",
      R"({__name__=~"a|b"} unless count_values("v", x) % 0x1f # comment)",
      "quantile_over_time(0.5, x[1d2h3m]) * scalar(time()) atan2 clamp(x, 1, 2) or absent(x{a=\"b\"})"};
  plan.words = {"rate(", "[5m]", "[5m:1s]", " offset ", " @ ", "start()", "{a=~\"", "by (", "bool", "group_left", "and", "\\", "1e999", "Inf", ")))", "(((", "--"};
  // What parses is evaluated too, over two series that are not friendly.
  const Samples samples = [] {
    Samples s;
    s.series = {{{{"__name__", "x"}, {"a", "1"}, {"le", "1"}}, Kind::counter, 0, 3}, {{{"__name__", "y"}, {"a", "1"}, {"le", "+Inf"}}, Kind::delta, 3, 3}};
    s.at = {1'000'000, 61'000'000, 61'000'001, 0, 1, 59'000'000};
    s.values = {1, std::bit_cast<double>(stale_bits), -1e308, 1e308, 0, std::bit_cast<double>(0x7ff8000000000001ULL)};
    return s;
  }();
  std::size_t parsed = 0, evaluated = 0;
  const fuzz::Outcome outcome = fuzz::run(plan, [&](std::string_view text) {
    const Result<ExpressionPtr> e = parse(text);
    if (!e) return;
    ++parsed;
    Limits limits;
    limits.samples_max = 10'000;
    const Steps steps{from_seconds(50), std::chrono::seconds(7), (*e)->type == Type::range ? 1U : 3U};
    std::vector<Loaded> loaded(selections(**e, steps, limits).size());
    for (Loaded& l : loaded) l.samples = samples;
    const Stop stop;
    const Result<Value> value = evaluate(**e, steps, loaded, limits, stop);
    if (!value) return;
    ++evaluated;
    const Columns& c = value->columns;
    if (c.values.size() != c.size() * c.steps || c.present.size() != c.values.size()) throw std::logic_error("ragged columns");
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
  // The corpus parses, and mutations of it often.
  CHECK(parsed > 100);
  CHECK(evaluated > 50);
}
