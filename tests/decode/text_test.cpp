#include "collector/decode/text.hpp"

#include <catch2/catch.hpp>
#include <charconv>
#include <limits>
#include <random>

using namespace muster;

TEST_CASE("numbers are written as Prometheus writes them") {
  const auto written = [](double number) {
    std::string text;
    decode::append_number(text, number);
    return text;
  };
  // The left column from `le` labels and values that Prometheus 2.42 shows on its own /metrics or gives back
  // for them, as Go's strconv.FormatFloat(x, 'g', -1, 64).
  const std::pair<const char*, double> cases[] = {
      {"0.005", 0.005},     {"1", 1},           {"10", 10},         {"0", 0},
      {"-0", -0.0},         {"2.5", 2.5},       {"999999", 999999}, {"1e+06", 1e6},
      {"1.5e+06", 1.5e6},   {"0.0001", 0.0001}, {"1e-05", 0.00001}, {"-0.25", -0.25},
      {"123456.5", 123456.5}, {"5e-324", 5e-324}, {"1e+100", 1e100},
      {"1.7976931348623157e+308", 1.7976931348623157e308}};
  for (const auto& [text, number] : cases) CHECK(written(number) == text);
  CHECK(written(std::numeric_limits<double>::infinity()) == "+Inf");
  CHECK(written(-std::numeric_limits<double>::infinity()) == "-Inf");
  CHECK(written(std::numeric_limits<double>::quiet_NaN()) == "NaN");
}

TEST_CASE("a number that was written is read back as itself") {
  std::mt19937_64 random(5);
  for (int i = 0; i < 20'000; ++i) {
    const double number = std::bit_cast<double>(random());
    if (number != number) continue;
    std::string text;
    decode::append_number(text, number);
    if (text.find("Inf") != text.npos) continue;
    double back = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), back);
    REQUIRE(fault == std::errc{});
    REQUIRE(end == text.data() + text.size());
    REQUIRE(back == number);
  }
}
