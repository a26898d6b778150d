#include "collector/collector.hpp"

#include <algorithm>
#include <bit>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <limits>
#include <optional>
#include <thread>

#include "tests/collector/bench.hpp"
#include "tests/decode/requests.hpp"

using namespace muster;
using namespace muster::test;
using muster_oracle::WriteRequest;

namespace {

const LabelList usual = {{"__name__", "drift"}, {"job", "j"}, {"model", "ranker"}};

WriteRequest one_sample(const LabelList& labels, std::int64_t ms = now_ms, double value = 1) {
  WriteRequest request;
  add_sample(add_series(request, labels), ms, value);
  return request;
}

}  // namespace

TEST_CASE("remote write: the same request again is 204 and stored once") {
  Bench bench;
  const WriteRequest request = one_sample(usual);
  const http::Response first = bench.write(request);
  CHECK(first.status == 204);
  CHECK(first.body.empty());
  CHECK(bench.write(request).status == 204);
  CHECK(bench.stored_samples() == 1);
  CHECK(bench.sender().accepted == 1);
  CHECK(bench.sender().duplicates == 1);
}

TEST_CASE("remote write: the same time with another value is 204, and the first wins") {
  Bench bench;
  CHECK(bench.write(one_sample(usual, now_ms, 1)).status == 204);
  CHECK(bench.write(one_sample(usual, now_ms, 2)).status == 204);
  const auto pieces = bench.registry.take();
  CHECK(pieces[0].rows.values == std::vector<double>{1});
}

TEST_CASE("remote write: ten seconds older than the newest is 204 and stored") {
  Bench bench;
  CHECK(bench.write(one_sample(usual, now_ms)).status == 204);
  CHECK(bench.write(one_sample(usual, now_ms - 10'000)).status == 204);
  CHECK(bench.stored_samples() == 2);
}

TEST_CASE(
    "remote write: 1970, a negative time and a day ahead are 400 with the reason, and block "
    "nobody") {
  Bench bench;
  for (const std::int64_t ms : {std::int64_t{1'000}, std::int64_t{-1}, now_ms + 86'400'000}) {
    WriteRequest request = one_sample(usual, ms);
    add_sample(add_series(request, {{"__name__", "good"}, {"at", std::to_string(ms)}}), now_ms, 1);
    const http::Response answer = bench.write(request);
    CHECK(answer.status == 400);
    CHECK_THAT(answer.body,
               Catch::Contains("timestamp") && Catch::Contains("1 sample not taken, 1 sample stored.") &&
                   Catch::Contains(R"(Series 0 {__name__="drift",job="j",model="ranker"}: )"));
  }
  CHECK(bench.stored_samples() == 3);
  CHECK(bench.write(one_sample(usual)).status == 204);
}

TEST_CASE(
    "remote write: broken label sets are 400 with the set, the good series beside them stored") {
  const std::pair<LabelList, const char*> cases[] = {
      {{{"__name__", "m"}, {"a", "1"}, {"a", "2"}}, "repeated"},
      {{{"__name__", "m"}, {"", "1"}}, "empty label name"},
      {{}, "without labels"},
      {{{"__name__", "m"}, {"a", "\xff"}}, "UTF-8"},
  };
  for (const auto& [labels, why] : cases) {
    Bench bench;
    WriteRequest request = one_sample(labels);
    add_sample(add_series(request, usual), now_ms, 1);
    const http::Response answer = bench.write(request);
    CHECK(answer.status == 400);
    CHECK_THAT(answer.body, Catch::Contains(why) && Catch::Contains("Series 0 {"));
    CHECK(bench.stored_samples() == 1);
    CHECK(bench.sender().rejected == 1);
  }
}

TEST_CASE(
    "remote write: infinities, stale markers, exemplars, metadata and nothing at all are 204") {
  Bench bench;
  CHECK(bench.write(one_sample(usual, now_ms, std::numeric_limits<double>::infinity())).status ==
        204);
  CHECK(
      bench.write(one_sample(usual, now_ms + 1, -std::numeric_limits<double>::infinity())).status ==
      204);
  CHECK(bench.write(one_sample(usual, now_ms + 2, std::bit_cast<double>(stale_bits))).status ==
        204);
  WriteRequest request = one_sample(usual, now_ms + 3);
  request.mutable_timeseries(0)->add_exemplars()->set_value(1);
  request.mutable_timeseries(0)->set_unknown_text("x");
  CHECK(bench.write(request).status == 204);
  WriteRequest metadata;
  auto& family = *metadata.add_metadata();
  family.set_metric_family_name("drift");
  family.set_type(2);
  family.set_help("how far");
  CHECK(bench.write(metadata).status == 204);
  CHECK(bench.write(WriteRequest()).status == 204);
  CHECK(bench.submitted == 4);
  CHECK(bench.stored_samples() == 4);
  CHECK(bench.sender().exemplars == 1);
  CHECK(bench.metadata->families() == 1);
  CHECK(bench.metadata->facts("drift")->type == "gauge");
}

TEST_CASE("remote write: no snappy, cut short, empty body and a false size are 400") {
  Bench bench;
  const WriteRequest request = one_sample(usual);
  CHECK(bench.write(request.SerializeAsString()).status == 400);
  const std::string body = body_of(request);
  CHECK(bench.write(body.substr(0, body.size() - 3)).status == 400);
  CHECK(bench.write("").status == 400);
  CHECK(bench.write(std::string_view("\xff\xff\xff\xff\x0f", 5)).status == 400);
  CHECK(bench.submitted == 0);
  CHECK(bench.sender().refused == 4);
}

TEST_CASE("remote write: other types and encodings are 400 in 1.x and 415 in 2.0") {
  Bench bench;
  const std::string body = body_of(one_sample(usual));
  const auto status = [&](http::Headers headers) {
    return bench.post("/api/v1/write", body, headers).status;
  };
  const std::pair<std::string, std::string> v1 = {"X-Prometheus-Remote-Write-Version", "0.1.0"};
  const std::pair<std::string, std::string> v2 = {"X-Prometheus-Remote-Write-Version", "2.0.0"};
  CHECK(status({v1, {"Content-Type", "application/json"}}) == 400);
  CHECK(status({v2, {"Content-Type", "application/json"}}) == 415);
  CHECK(status({v1, {"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "gzip"}}) ==
        400);
  CHECK(status({v2, {"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "gzip"}}) ==
        415);
  CHECK(status({v2, {"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request"}}) ==
        415);
  CHECK(status({v2, {"Content-Encoding", "snappy"}}) == 415);
  // Decoded as the other version a body is an empty request.
  CHECK(status({v2, {"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"}}) ==
        415);
  CHECK(status({v1,
                {"Content-Type",
                 "application/x-protobuf; proto=\"io.prometheus.write.v2.Request\""}}) == 415);
  CHECK(bench.write(snapped(std::string("\x22\x00\x2a\x00", 4))).status == 415);
  CHECK(bench.submitted == 0);
  CHECK(status({v1,
                {"Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest"},
                {"Content-Encoding", "snappy"}}) == 204);
  CHECK(status({{"content-type", "Application/X-Protobuf"}}) == 204);
}

TEST_CASE("a sender over its share is told so in a way that makes it come again") {
  Bench bench;
  bench.state = Stored::State::throttled;
  const http::Response lines =
      bench.samples(R"({"ts":1700000000000,"model":"m","metric":"x","value":1})");
  CHECK(lines.status == 429);
  CHECK_THAT(lines.body, Catch::Contains("sender_queue_share"));
  const auto wait = std::find_if(lines.headers.begin(), lines.headers.end(),
                                 [](const auto& h) { return h.first == "Retry-After"; });
  REQUIRE(wait != lines.headers.end());
  CHECK(wait->second == "2");
  // Prometheus drops what is answered with 429, and repeats what is answered with 503.
  CHECK(bench.write(one_sample(usual)).status == 503);
  CHECK(bench.sender().throttled == 1);
  CHECK(bench.sender().busy == 0);
  CHECK(bench.sender().accepted == 0);
}

TEST_CASE("a sink that is busy is 503 with Retry-After, and nothing is counted as stored") {
  Bench bench;
  bench.state = Stored::State::busy;
  for (int i = 0; i < 2; ++i) {
    const http::Response answer =
        i == 0 ? bench.write(one_sample(usual))
               : bench.samples(R"({"ts":1700000000000,"model":"m","metric":"x","value":1})");
    CHECK(answer.status == 503);
    bool retry_after = false;
    for (const auto& [name, value] : answer.headers)
      retry_after = retry_after || name == "Retry-After";
    CHECK(retry_after);
  }
  CHECK(bench.sender().busy == 1);
  CHECK(bench.sender().accepted == 0);
}

TEST_CASE("samples: the answer counts what was taken and names bad lines in order") {
  Bench bench;
  const http::Response answer = bench.samples(
      R"({"ts":1700000000000,"model":"m","metric":"x","value":1}
{"ts":1700000000000,"model":"m","metric":"x","value":1}
{"ts":1,"model":"m","metric":"x","value":1}
not json
{"ts":1600000000000,"model":"m","metric":"x","value":null}
)");
  CHECK(answer.status == 200);
  const auto json = boost::json::parse(answer.body).as_object();
  CHECK(json.at("accepted").as_int64() == 2);
  CHECK(json.at("duplicates").as_int64() == 1);
  CHECK(json.at("late").as_int64() == 1);
  CHECK(json.at("rejected_count").as_int64() == 2);
  const auto& rejected = json.at("rejected").as_array();
  REQUIRE(rejected.size() == 2);
  CHECK(rejected[0].at("line").as_int64() == 3);
  CHECK_THAT(std::string(rejected[0].at("what").as_string()),
             Catch::Contains("before the year 2000"));
  CHECK(rejected[1].at("line").as_int64() == 4);
  CHECK_THAT(std::string(rejected[1].at("what").as_string()), Catch::Contains("JSON"));
}

TEST_CASE("samples: when no line can be taken it is 400, and an empty body is fine") {
  Bench bench;
  CHECK(bench.samples("nonsense\nmore\n").status == 400);
  CHECK(bench.samples("").status == 200);
  CHECK(bench.submitted == 0);
}

TEST_CASE("samples: gzip is taken, also in several members; damaged or too large is refused") {
  Bench bench;
  const auto line = [](int i) {
    return R"({"ts":170000000000)" + std::to_string(i) +
           R"(,"model":"m","metric":"x","value":1})"
           "\n";
  };
  CHECK(bench.samples(gzipped(line(1)) + gzipped(line(2)), {{"Content-Encoding", "gzip"}}).status ==
        200);
  CHECK(bench.stored_samples() == 2);
  std::string damaged = gzipped(line(3));
  damaged.resize(damaged.size() - 10);
  CHECK(bench.samples(damaged, {{"Content-Encoding", "gzip"}}).status == 400);
  CHECK(bench.samples("plain", {{"Content-Encoding", "gzip"}}).status == 400);
  CHECK(bench.samples("x", {{"Content-Encoding", "br"}}).status == 415);
  bench.settings.limits.decoded_bytes_max = 1000;
  // A megabyte of blanks is a kilobyte of gzip.
  CHECK(
      bench.samples(gzipped(std::string(1'000'000, ' ')), {{"Content-Encoding", "gzip"}}).status ==
      413);
  CHECK(bench.samples(gzipped(line(4)), {{"Content-Encoding", "gzip"}}).status == 200);
}

TEST_CASE("large bodies are decoded by the workers with the same answer") {
  Bench bench;
  asio::thread_pool workers(1);
  bench.settings.workers = workers.get_executor();
  bench.settings.offload_bytes_min = 1;
  CHECK(bench.write(one_sample(usual)).status == 204);
  CHECK(bench.write("broken").status == 400);
  CHECK(bench.samples(R"({"ts":1700000000000,"model":"m","metric":"x","value":1})").status == 200);
  CHECK(bench.stored_samples() == 2);
  workers.join();
}

TEST_CASE("senders beyond the bound are counted together") {
  Bench bench;
  bench.settings.senders_max = 2;
  for (int i = 0; i < 5; ++i)
    bench.post("/api/v1/samples", "", {{"User-Agent", "agent-" + std::to_string(i)}});
  CHECK(bench.counters->senders.size() == 3);
  CHECK(bench.counters->senders.at("others").requests == 3);
}
