#include "collector/decode/remote_read.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

#include "collector/decode/remote_write.hpp"
#include "collector/decode/snappy_block.hpp"
#include "tests/decode/requests.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::test;
using muster_oracle::WriteRequest;

namespace {

WriteRequest parsed(const std::string& bytes) {
  WriteRequest request;
  REQUIRE(request.ParseFromString(bytes));
  return request;
}

}  // namespace

TEST_CASE("a remote read request has its times and matchers under the protocol's field numbers") {
  const auto matchers = parse_series_selector(R"(drift{job!="a",model=~"m.*",zone!~"b|c"})");
  REQUIRE(matchers);
  const std::string block = decode::remote_read_request(1000, 2000, *matchers);
  const auto bytes = decode::undo_snappy(block, 1000);
  REQUIRE(bytes);
  // ReadRequest{queries=1{start=1, end=2, matchers=3{type=1, name=2, value=3}}}, by hand for the first part.
  const std::string text(bytes->data(), bytes->size());
  CHECK(text.substr(2, 6) == std::string("\x08\xe8\x07\x10\xd0\x0f", 6));
  CHECK(text.find(std::string("\x08\x01\x12\x03job\x1a\x01") + "a") != text.npos);     // not equal
  CHECK(text.find(std::string("\x08\x02\x12\x05model\x1a\x03m.*")) != text.npos);      // regex
  CHECK(text.find(std::string("\x08\x03\x12\x04zone\x1a\x03") + "b|c") != text.npos);  // not regex
  CHECK(text.find(std::string("\x12\x08__name__\x1a\x05") + "drift") != text.npos);
}

TEST_CASE("the series of a read response are a write request") {
  WriteRequest series;
  add_sample(add_series(series, {{"__name__", "up"}, {"job", "j"}}), 1000, 1);
  add_sample(add_series(series, {{"__name__", "up"}, {"job", "k"}}), 1000, 0);
  WriteRequest more;
  add_sample(add_series(more, {{"__name__", "down"}}), 3000, 2);
  // ReadResponse{results=1 QueryResult{timeseries=1}}
  std::string response;
  for (const WriteRequest* part : {&series, &more}) {
    const std::string bytes = part->SerializeAsString();
    response += '\x0a';
    response += static_cast<char>(bytes.size());
    response += bytes;
  }
  const auto samples = decode::remote_read_samples(snapped(response), 1000);
  REQUIRE(samples);
  CHECK(*samples == series.SerializeAsString() + more.SerializeAsString());
  CHECK(decode::size_of_write_request(*samples).series == 3);
  CHECK(decode::size_of_write_request(*samples).samples == 3);
  CHECK_FALSE(decode::remote_read_samples(snapped(response), 20));
  CHECK_FALSE(decode::remote_read_samples(std::string_view("no snappy"), 1000));
  CHECK_FALSE(decode::remote_read_samples(snapped("\x0a\x7f"), 1000));
}

TEST_CASE("exported lines of VictoriaMetrics become a write request, value by value") {
  const auto samples = decode::victoria_samples(
      R"({"metric":{"job":"j","__name__":"age","model":"m\"1"},"values":[1,2.5,null,"Infinity","-Infinity","NaN"],)"
      R"("timestamps":[1000,2000,3000,4000,5000,6000]})"
      "\n\n"
      R"({"metric":{"__name__":"up"},"values":[0],"timestamps":[7]})");
  REQUIRE(samples);
  const WriteRequest request = parsed(*samples);
  REQUIRE(request.timeseries_size() == 2);
  const auto& age = request.timeseries(0);
  REQUIRE(age.labels_size() == 3);
  CHECK(age.labels(0).name() == "__name__");  // sorted, as its sender's labels would be
  CHECK(age.labels(2).value() == "m\"1");
  REQUIRE(age.samples_size() == 6);
  CHECK(age.samples(1).value() == 2.5);
  CHECK(age.samples(1).timestamp() == 2000);
  CHECK(std::isnan(age.samples(2).value()));
  CHECK(age.samples(3).value() == HUGE_VAL);
  CHECK(age.samples(4).value() == -HUGE_VAL);
  CHECK(std::isnan(age.samples(5).value()));
  CHECK(request.timeseries(1).samples(0).timestamp() == 7);
  CHECK(decode::remote_write(snapped(*samples)));
}

TEST_CASE("exported lines that contradict themselves are refused by their number") {
  const auto refused = [](const std::string& line) {
    const auto samples = decode::victoria_samples(R"({"metric":{},"values":[],"timestamps":[]})"
                                                  "\n" +
                                                  line);
    REQUIRE_FALSE(samples);
    CHECK(samples.error().where == "line 2");
    return samples.error().what;
  };
  refused("not json");
  CHECK_THAT(refused(R"({"metric":{},"values":[1],"timestamps":[]})"),
             Catch::Contains("1 values and 0"));
  CHECK_THAT(refused(R"({"metric":{"a":1},"values":[],"timestamps":[]})"),
             Catch::Contains("not a text"));
  CHECK_THAT(refused(R"({"values":[],"timestamps":[]})"), Catch::Contains("metric"));
  CHECK_THAT(refused(R"({"metric":{},"values":["x"],"timestamps":[1]})"),
             Catch::Contains("no number"));
  CHECK_THAT(refused(R"({"metric":{},"values":[1],"timestamps":[1.5]})"),
             Catch::Contains("timestamp"));
}

TEST_CASE("damaged answers of a source are refused or read") {
  WriteRequest series;
  for (int i = 0; i < 4; ++i)
    add_sample(add_series(series, {{"__name__", "m" + std::to_string(i)}, {"job", "j"}}), 1000 + i,
               i);
  const std::string bytes = series.SerializeAsString();
  std::string response = "\x0a";
  response += static_cast<char>(bytes.size() & 0x7f);
  response += bytes;
  const std::string line =
      R"({"metric":{"job":"j","__name__":"age"},"values":[1,"NaN",null],"timestamps":[1,2,3]})";
  const auto damaged = fuzz::run(
      {.corpus = {response, line}, .words = {"\x0a", "null", "[", "\"", "}"}},
      [](std::string_view damage) {
        const auto read = decode::remote_read_samples(snapped(std::string(damage)), 1 << 20);
        if (read) decode::size_of_write_request(*read);
        if (const auto made = decode::victoria_samples(damage))
          REQUIRE(WriteRequest().ParseFromString(*made));
      });
  INFO(damaged.summary);
  CHECK(damaged.failure.empty());
}
