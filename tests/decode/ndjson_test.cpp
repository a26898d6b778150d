#include "collector/decode/ndjson.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <string>

#include "collector/decode/text.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using decode::Decoded;

namespace {

Decoded read(const std::string& text, const decode::Limits& limits = {}, std::uint32_t first = 1) {
  return decode::ndjson({text.begin(), text.end()}, limits, first);
}

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

// The example of the format's description.
const std::string example =
    R"({"ts":1740960000000,"model":"churn-eu","metric":"psi_drift","value":0.041,"labels":{"version":"v7"}}
{"ts":1740960000000,"model":"churn-eu","metric":"null_rate","value":0.0062,"labels":{"version":"v7"}}
{"ts":1740960000000,"model":"churn-us","metric":"psi_drift","value":0.037,"labels":{"version":"v7"}}
{"ts":1740960600000,"model":"churn-eu","metric":"psi_drift","value":0.044,"labels":{"version":"v8"}}
{"ts":1740960600000,"model":"churn-us","metric":"psi_drift","value":null,"labels":{"version":"v7"}}
{"ts":1740960000000,"model":"churn-us","metric":"null_rate","value":0.0058}
)";

std::string line_with(const std::string& value) {
  return R"({"ts":1,"model":"m","metric":"x","value":)" + value + "}";
}

// The same line with a key that only the full reader skips, so that it is read by the other of the two.
std::string for_full_reader(const std::string& line) {
  return "{\"unknown\":[1,{}]," + line.substr(1);
}

}  // namespace

TEST_CASE("a stream gives one sample a line, with whose it is") {
  const Decoded decoded = read(example);
  CHECK(decoded.rejected_count == 0);
  CHECK(decoded.lines == 6);
  REQUIRE(decoded.batch.series.size() == 6);
  REQUIRE(decoded.batch.points.size() == 6);
  CHECK(decoded.batch.points[0].ts.us == 1'740'960'000'000'000);
  CHECK(decoded.batch.points[0].value == 0.041);
  CHECK(is_null(decoded.batch.points[4].value));
  CHECK(decoded.batch.series[5].line == 6);
  const auto identity = decoded.batch.identify(decoded.batch.series[3].labels, {});
  REQUIRE(identity);
  CHECK(identity->model == "churn-eu");
  CHECK(identity->metric == "psi_drift");
  CHECK(identity->attributes.version == "v8");
  CHECK(identity->kind == Kind::gauge);
}

TEST_CASE("the alias is of model, metric and labels, not of time and value") {
  const Decoded decoded = read(
      R"({"ts":1,"model":"m","metric":"x","value":1}
{"ts":2,"model":"m","metric":"x","value":2}
{"value":3,"metric":"x","ts":3,"model":"m"}
{"ts":1,"model":"mx","metric":"x","value":1}
{"ts":1,"model":"m","metric":"xx","value":1}
{"ts":1,"model":"m","metric":"x","value":1,"labels":{"version":"v1"}})");
  REQUIRE(decoded.batch.series.size() == 6);
  const auto alias = [&](int i) { return decoded.batch.series[i].alias; };
  CHECK(alias(0) == alias(1));
  CHECK(alias(0) == alias(2));
  CHECK(alias(0) != alias(3));
  CHECK(alias(0) != alias(4));
  CHECK(alias(3) != alias(4));
  CHECK(alias(0) != alias(5));
}

TEST_CASE("bad lines are named with their number and reason, and all others kept") {
  const std::string text = "\xef\xbb\xbf" + line_with("1") +
                           "\r\n" +                         // 1: a byte order mark and CRLF
                           "\n" +                           // 2: blank
                           line_with("NaN") + "\n" +        // 3
                           line_with("Infinity") + "\n" +   // 4
                           line_with("1e999") + "\n" +      // 5
                           "{\"ts\":1,\"model\":\"m\"\n" +  // 6
                           "[1]\n" +                        // 7
                           R"({"model":"m","metric":"x","value":1})"
                           "\n" +  // 8
                           R"({"ts":1,"metric":"x","value":1})"
                           "\n" +  // 9
                           R"({"ts":1,"model":"","metric":"x","value":1})"
                           "\n" +  // 10
                           R"({"ts":1.5,"model":"m","metric":"x","value":1})"
                           "\n" +  // 11
                           R"({"ts":1,"model":"m","metric":"x"})"
                           "\n" +  // 12
                           R"({"ts":1,"model":"m","metric":"x","value":"1"})"
                           "\n" +  // 13
                           R"({"ts":1,"ts":2,"model":"m","metric":"x","value":1})"
                           "\n" +  // 14
                           R"({"ts":1,"model":"m","metric":"x","value":1,"labels":{"a":1}})"
                           "\n" +  // 15
                           R"({"ts":1,"model":"m\u0000","metric":"x","value":1})"
                           "\n" +                                                            // 16
                           "{\"ts\":1,\"model\":\"\xff\",\"metric\":\"x\",\"value\":1}\n" +  // 17
                           R"({"ts":9223372036854775807,"model":"m","metric":"x","value":1})"
                           "\n" +  // 18
                           line_with("01") +
                           "\n" + line_with("1.") + "\n" +  // 19, 20
                           line_with("1") + " x\n" +        // 21
                           line_with("2");                  // 22: no line end
  const Decoded decoded = read(text);
  CHECK(decoded.lines == 22);
  REQUIRE(decoded.batch.points.size() == 2);
  CHECK(decoded.batch.series[0].line == 1);
  CHECK(decoded.batch.series[1].line == 22);
  REQUIRE(decoded.rejected_count == 19);
  for (std::uint32_t i = 0; i < 19; ++i) {
    CHECK(decoded.rejected[i].line == i + 3);
    CHECK_FALSE(decoded.rejected[i].what.empty());
  }
  const auto what = [&](std::uint32_t line) { return decoded.rejected[line - 3].what; };
  CHECK_THAT(what(8), Catch::Contains("\"ts\" is missing"));
  CHECK_THAT(what(10), Catch::Contains("\"model\" is empty"));
  CHECK_THAT(what(12), Catch::Contains("\"value\" is missing"));
  CHECK_THAT(what(14), Catch::Contains("repeated"));
  CHECK_THAT(what(15), Catch::Contains("label \"a\""));
  CHECK_THAT(what(16), Catch::Contains("NUL"));
}

TEST_CASE("unknown keys, spaces, escapes and any order of keys are read") {
  const Decoded decoded = read(
      R"( { "labels" : { "version" : "v1" , "other" : "x" } , "extra" : {"a":[1,2,{"b":null}]} , "value" : -1.5e-3 , "metric" : "x\u0041" , "model" : "mörk" , "ts" : -7 } )");
  REQUIRE(decoded.rejected_count == 0);
  REQUIRE(decoded.batch.points.size() == 1);
  CHECK(decoded.batch.points[0].ts.us == -7000);
  CHECK(decoded.batch.points[0].value == -0.0015);
  const auto identity = decoded.batch.identify(decoded.batch.series[0].labels, {});
  REQUIRE(identity);
  CHECK(identity->model == "mörk");
  CHECK(identity->metric == "xA");
  CHECK(identity->attributes.version == "v1");
}

TEST_CASE("limits: long lines and samples over the bound are rejected, not the request") {
  const std::string line = line_with("1") + "\n";
  const Decoded few = read(line + line + line, {.samples_max = 2});
  CHECK(few.batch.points.size() == 2);
  CHECK(few.rejected_count == 1);
  const Decoded shortened =
      read(line + line_with("1" + std::string(100, '0')) + "\n" + line, {.line_bytes_max = 80});
  CHECK(shortened.batch.points.size() == 2);
  REQUIRE(shortened.rejected.size() == 1);
  CHECK(shortened.rejected[0].line == 2);

  std::string bad;
  for (int i = 0; i < 500; ++i) bad += "x\n";
  const Decoded all_bad = read(bad);
  CHECK(all_bad.rejected.size() == 100);
  CHECK(all_bad.rejected_count == 500);
}

TEST_CASE("a stream in chunks keeps its line numbers") {
  const std::string text = example + "bad\n" + example;
  const Decoded whole = read(text);
  for (std::size_t size : {120, 200, 333}) {
    std::uint32_t line = 1;
    std::string rest;
    std::size_t points = 0;
    std::uint32_t bad_line = 0;
    for (std::size_t at = 0; at < text.size(); at += size) {
      rest += text.substr(at, size);
      const std::size_t n = decode::whole_lines(rest);
      const Decoded part = read(rest.substr(0, n), {}, line);
      rest.erase(0, n);
      line += part.lines;
      points += part.batch.points.size();
      if (part.rejected_count > 0) bad_line = part.rejected[0].line;
    }
    CHECK(rest.empty());
    CHECK(points == whole.batch.points.size());
    CHECK(bad_line == 7);
    CHECK(line == whole.lines + 1);
  }
  CHECK(decode::whole_lines("no end") == 0);
  CHECK(decode::whole_lines("a\nb") == 2);
}

TEST_CASE("numbers are the nearest doubles, as strtod reads them") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto check = [](const std::string& text) {
    const Decoded decoded = read(line_with(text));
    INFO(text);
    REQUIRE(decoded.batch.points.size() == 1);
    REQUIRE(bits(decoded.batch.points[0].value) == bits(std::strtod(text.c_str(), nullptr)));
  };
  // The edges of the exact path: 2^53, ten to the 22nd, 18 digits; and of doubles.
  for (const char* text : {"0",
                           "-0",
                           "0.0",
                           "-0.0",
                           "1",
                           "9007199254740992",
                           "9007199254740993",
                           "9007199254740991e22",
                           "1e22",
                           "1e23",
                           "1e-22",
                           "1e-23",
                           "123456789012345678",
                           "1234567890123456789",
                           "0.000000000000000000000001",
                           "4.9e-324",
                           "2.2250738585072014e-308",
                           "1.7976931348623157e308",
                           "0.1",
                           "0.0363681",
                           "8.41e21",
                           "9.5e-7",
                           "1E+5",
                           "100000000000000000000000000000000000000"})
    check(text);
  char text[64];
  for (int i = 0; i < 20'000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    std::snprintf(text, sizeof text, "%.17g", value);
    check(text);
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(random() % 12),
                  static_cast<double>(random() % 100'000'000) / 1000.0);
    check(text);
  }
}

TEST_CASE("the plain reader and simdjson's agree on every line, good or damaged") {
  std::size_t good = 0, bad = 0;
  const auto compare = [&](std::string_view bytes) {
    std::string line(bytes);
    if (line.find('\n') != line.npos || line.empty() || line[0] != '{') return;
    const Decoded plain = read(line);
    const Decoded full = read(for_full_reader(line));
    REQUIRE(plain.batch.points.size() == full.batch.points.size());
    if (plain.batch.points.empty()) {
      ++bad;
      return;
    }
    ++good;
    REQUIRE(plain.batch.points[0].ts == full.batch.points[0].ts);
    REQUIRE(bits(plain.batch.points[0].value) == bits(full.batch.points[0].value));
    const auto a = plain.batch.identify(plain.batch.series[0].labels, {});
    const auto b = full.batch.identify(full.batch.series[0].labels, {});
    REQUIRE(a);
    REQUIRE(b);
    REQUIRE(a->model == b->model);
    REQUIRE(a->metric == b->metric);
    REQUIRE(a->attributes == b->attributes);
    REQUIRE(decode::is_storable(a->model));
  };
  const auto outcome = fuzz::run(
      {.corpus =
           {R"({"ts":17,"model":"m","metric":"x","value":0.5})",
            R"({"ts":1740960000000,"model":"mdl-0003","metric":"psi","value":-3.25e-2,"labels":{"version":"v1","a":"}"}})",
            R"({"ts":1,"model":"m","metric":"x","value":null,"labels":{}})"},
       .words = {"\"", "\\", "null", "1e5", ".5", "{}", "\"ts\":", "\"value\":1,", "\"labels\":{",
                 " ", "\xc3\xa4", "\\u0041", "0", "-", "e", ","}},
      compare);
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
  CHECK(good > 50);
  CHECK(bad > 50);
}

TEST_CASE("damaged streams lose damaged lines alone") {
  const auto outcome =
      fuzz::run({.corpus = {example}, .words = {"\n", "\r", "\"", "{", "}", "\xff"}},
                [](std::string_view bytes) {
                  const Decoded decoded = read(std::string(bytes));
                  std::uint32_t last = 0;
                  for (const RawSeries& series : decoded.batch.series) {
                    REQUIRE(series.line > last);
                    last = series.line;
                    REQUIRE(decoded.batch.identify(series.labels, {}));
                  }
                });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
}
