#include "collector/decode/influx.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "schema/mapping.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::decode;

namespace {

constexpr Timestamp now{1'700'000'000'000'000};

using Samples = std::map<std::string, std::pair<double, std::int64_t>>;  // value, microseconds
Samples samples(const Decoded& decoded) {
  Samples out;
  for (const RawSeries& series : decoded.batch.series) {
    const auto identity = decoded.batch.identify(series.labels, Mapping());
    INFO((identity ? "" : identity.error().what));
    REQUIRE(identity);
    const Point& point = decoded.batch.points[series.first];
    out[identity->model + " " + identity->metric] = {point.value, point.ts.us};
  }
  return out;
}
Decoded read(std::string_view body, std::int64_t unit_ns = 1, std::string_view database = {}) {
  return influx_lines(body, {unit_ns, now, database});
}
std::string fault(std::string_view line) {
  const Decoded decoded = read(line);
  CHECK(decoded.batch.points.empty());
  return decoded.rejected.empty() ? "" : decoded.rejected[0].what;
}

}  // namespace

// By hand from the pages "Line protocol" of InfluxDB 1.8 and 2.

TEST_CASE("influx: a field is a series, with the tags as labels") {
  const Decoded decoded = read(
      "weather,location=us-midwest,model=m temperature=82,humidity=71i,wet=t,name=\"a, b=c \\\" "
      "d\" 1465839830100400200\n"
      "weather temperature=82 1465839830100400200\n"
      "w v=1\r\n");
  CHECK(decoded.rejected.empty());
  CHECK(samples(decoded) ==
        Samples{{"m weather_temperature{location=\"us-midwest\"}", {82, 1465839830100400}},
                {"m weather_humidity{location=\"us-midwest\"}", {71, 1465839830100400}},
                {"m weather_wet{location=\"us-midwest\"}", {1, 1465839830100400}},
                {"unknown weather_temperature", {82, 1465839830100400}},
                {"unknown w_v", {1, now.us}}});
  CHECK(decoded.skipped.texts == 1);
  CHECK(decoded.lines == 3);
}

TEST_CASE("influx: escapes, comments, blank lines and texts over several lines") {
  const Decoded decoded = read(
      "# a comment\n\n  \n"
      "wea\\,th\\ er,lo\\=cation=us\\,mid\\ west\\= temp\\=erature=1,other=2\n"
      "a,path=C:\\dir v=3\n"
      "log text=\"one\ntwo=\\\"three\\\\\"\n"
      "last,t=\"quoted\" v=4\n");
  CHECK(decoded.rejected.empty());
  CHECK(samples(decoded) ==
        Samples{{"unknown wea,th er_temp=erature{lo=cation=\"us,mid west=\"}", {1, now.us}},
                {"unknown wea,th er_other{lo=cation=\"us,mid west=\"}", {2, now.us}},
                {"unknown a_v{path=\"C:\\\\dir\"}", {3, now.us}},
                {"unknown last_v{t=\"\\\"quoted\\\"\"}", {4, now.us}}});
  CHECK(decoded.skipped.texts == 1);
  CHECK(decoded.lines == 8);
}

TEST_CASE("influx: values of each kind") {
  const auto value = [](std::string_view word) {
    const Decoded decoded = read("a v=" + std::string(word));
    INFO(word);
    REQUIRE(decoded.batch.points.size() == 1);
    return decoded.batch.points[0].value;
  };
  CHECK(value("1") == 1);
  CHECK(value("-1.5e3") == -1500);
  CHECK(value("+2.") == 2);
  CHECK(value("12i") == 12);
  CHECK(value("-9223372036854775808i") == -9223372036854775808.);
  CHECK(value("18446744073709551615u") == 18446744073709551615.);
  for (const auto* yes : {"t", "T", "true", "True", "TRUE"}) CHECK(value(yes) == 1);
  for (const auto* no : {"f", "F", "false", "False", "FALSE"}) CHECK(value(no) == 0);
  for (const auto* bad : {"a v=",
                          "a v=1x",
                          "a v=1.5i",
                          "a v=-1u",
                          "a v=NaN",
                          "a v=inf",
                          "a v=9223372036854775808i",
                          "a v=\"x",
                          "a v=\"x\"y",
                          "a v=tRUE",
                          "a",
                          "a ",
                          "a,t v=1",
                          "a,t= v=1",
                          "a,=x v=1",
                          ",t=x v=1",
                          "a v",
                          "a v=1,",
                          "a v=1 x",
                          "a v=1 1.5",
                          "a v=1 2 3",
                          "a v=1 99999999999999999999",
                          "a,t=x=y v=1",
                          "a,__name__=x v=1",
                          "a,__type__=x v=1"}) {
    INFO(bad);
    CHECK_FALSE(fault(bad).empty());
  }
}

TEST_CASE("influx: bad lines are named, and the others kept") {
  const Decoded decoded = read("a v=1\nb v=x\nc text=\"one\ntwo\",v=3\nd v=\ne v=5");
  CHECK(samples(decoded).size() == 3);
  REQUIRE(decoded.rejected.size() == 2);
  CHECK(decoded.rejected[0].line == 2);
  CHECK(decoded.rejected[1].line == 5);
  CHECK(decoded.rejected_count == 2);
  Limits limits;
  limits.line_bytes_max = 20;
  limits.samples_max = 2;
  const Decoded few = influx_lines("a v=1\nb v=\"" + std::string(100, 'x') + "\"\nc v=1\nd v=1\n",
                                   {1, now, {}}, limits);
  CHECK(few.batch.points.size() == 2);
  REQUIRE(few.rejected.size() == 2);
  CHECK(few.rejected[0].line == 2);
  CHECK(few.rejected[1].what == "more than 2 samples in a request");
}

TEST_CASE("influx: precision and the database's name") {
  const auto time = [](std::string_view precision, std::string_view word) {
    const Decoded decoded = read("a v=1 " + std::string(word), influx_unit_ns(precision).value());
    return decoded.batch.points.at(0).ts.us;
  };
  CHECK(time("", "1000") == 1);
  CHECK(time("ns", "1999") == 1);
  CHECK(time("ns", "-1") == -1);  // to the past
  CHECK(time("us", "5") == 5);
  CHECK(time("u", "5") == 5);
  CHECK(time("ms", "5") == 5000);
  CHECK(time("s", "5") == 5'000'000);
  CHECK(time("m", "5") == 300'000'000);
  CHECK(time("h", "1") == 3'600'000'000);
  CHECK_FALSE(influx_unit_ns("d"));
  CHECK(samples(read("a v=1", 1, "prod")).begin()->first == "unknown a_v{db=\"prod\"}");
  CHECK(samples(read("a,db=own v=1", 1, "prod")).begin()->first == "unknown a_v{db=\"own\"}");
}

TEST_CASE("influx: any bytes neither throw nor take long") {
  fuzz::Plan plan;
  plan.corpus = {
      "weather,location=us temperature=82,humidity=71i,wet=t,n=\"a \\\" d\" 1465839830100400200\n",
      "a\\,b,c\\=d=e\\ f g=1u\n# x\n\nh i=\"\n\",j=2 3\n"};
  plan.words = {"\"", "\\", "=", ",", " ", "\n", "=\"", "999999999999999999999"};
  const fuzz::Outcome outcome = fuzz::run(plan, [](std::string_view bytes) {
    const Decoded decoded = read(bytes);
    for (const RawSeries& series : decoded.batch.series)
      (void)decoded.batch.identify(series.labels, Mapping());
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
  // Nothing is read twice: ten times as long takes about ten times as long, not a hundred.
  std::string lines;
  while (lines.size() < (4u << 20)) lines += "a b=\"\\\"\nc,d=\"e f=\"\n";
  (void)read(lines);
}
