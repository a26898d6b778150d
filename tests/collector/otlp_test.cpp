#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "tests/collector/bench.hpp"
#include "tests/decode/otlp_requests.hpp"

using namespace muster;
using namespace muster::test;
using otlp_oracle::ExportMetricsServiceRequest;
using otlp_oracle::ExportMetricsServiceResponse;

namespace {

constexpr std::uint64_t now_ns = std::uint64_t{now_ms} * 1'000'000;
const http::Headers as_protobuf = {{"Content-Type", "application/x-protobuf"}};
const http::Headers as_json = {{"Content-Type", "application/json; charset=utf-8"}};

// Three gauges, of which the second is a day ahead and the third has no value.
ExportMetricsServiceRequest one_of_three() {
  OneMetric one("drift", "", {{"service.name", "ranker"}});
  auto& gauge = *one.metric.mutable_gauge();
  at(*gauge.add_data_points(), {{"n", "1"}}, 0, now_ns).set_as_double(1);
  at(*gauge.add_data_points(), {{"n", "2"}}, 0, now_ns + 86'400'000'000'000).set_as_double(1);
  at(*gauge.add_data_points(), {{"n", "3"}}, 0, now_ns);
  return one.request;
}

ExportMetricsServiceRequest good() {
  OneMetric one("drift", "", {{"service.name", "ranker"}});
  at(*one.metric.mutable_gauge()->add_data_points(), {}, 0, now_ns).set_as_double(1);
  return one.request;
}

http::Headers with(http::Headers headers, const char* name, const char* value) {
  headers.emplace_back(name, value);
  return headers;
}

std::string header(const http::Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return {};
}

// google.rpc.Status in the form of the answer.
otlp_oracle::Status status_of(const http::Response& response) {
  otlp_oracle::Status status;
  if (response.content_type == "application/json") {
    const auto json = boost::json::parse(response.body).as_object();
    status.set_code(static_cast<int>(json.at("code").as_int64()));
    status.set_message(json.at("message").as_string().c_str());
  } else {
    CHECK(response.content_type == "application/x-protobuf");
    REQUIRE(status.ParseFromString(response.body));
  }
  CHECK_FALSE(status.message().empty());
  return status;
}

}  // namespace

TEST_CASE("otlp: success is 200 with nothing in it, in the form of the request") {
  Bench bench;
  const http::Response protobuf = bench.post("/v1/metrics", good().SerializeAsString(), as_protobuf);
  CHECK(protobuf.status == 200);
  CHECK(protobuf.content_type == "application/x-protobuf");
  CHECK(protobuf.body.empty());
  // The same again in the other form is the same.
  const http::Response json = bench.post("/v1/metrics", json_of(good()), as_json);
  CHECK(json.status == 200);
  CHECK(json.content_type == "application/json");
  CHECK(json.body == "{}");
  CHECK(bench.stored_samples() == 1);
  CHECK(bench.counters->otlp.data_points == 2);
  CHECK(bench.counters->otlp.rejected == 0);

  CHECK(bench.post("/v1/metrics", "", as_protobuf).status == 200);
  CHECK(bench.post("/v1/metrics", "{}", as_json).body == "{}");
  CHECK(bench.submitted == 2);
}

TEST_CASE("otlp: what was not taken is told with numbers, metrics and attributes") {
  Bench bench;
  const http::Response protobuf = bench.post("/v1/metrics", one_of_three().SerializeAsString(), as_protobuf);
  CHECK(protobuf.status == 200);
  ExportMetricsServiceResponse answer;
  REQUIRE(answer.ParseFromString(protobuf.body));
  CHECK(answer.partial_success().rejected_data_points() == 2);
  CHECK_THAT(answer.partial_success().error_message(),
             Catch::StartsWith("2 of 3 data points were not taken: metric drift {n=\"3\"}: it has no value; series ") &&
                 Catch::Contains("n=\"2\"") && Catch::Contains("ahead of this server's clock"));
  const http::Response json = bench.post("/v1/metrics", json_of(one_of_three()), as_json);
  CHECK(json.status == 200);
  const auto partial = boost::json::parse(json.body).at("partialSuccess").as_object();
  CHECK(partial.at("rejectedDataPoints").as_string() == "2");
  CHECK(partial.at("errorMessage").as_string() == answer.partial_success().error_message().c_str());
  CHECK(bench.stored_samples() == 1);
  CHECK(bench.counters->otlp.data_points == 6);
  CHECK(bench.counters->otlp.rejected == 4);
}

TEST_CASE("otlp: a histogram that is not taken is one data point, however many samples it has") {
  Bench bench;
  OneMetric one("latency", "s", {{"service.name", "ranker"}});
  auto& histogram = *one.metric.mutable_histogram();
  histogram.set_aggregation_temporality(otlp_oracle::AGGREGATION_TEMPORALITY_CUMULATIVE);
  for (int i = 0; i < 3; ++i) {
    auto& point = at(*histogram.add_data_points(), {{"n", std::to_string(i)}}, 0,
                     i == 0 ? now_ns : std::uint64_t{1'000'000'000});  // two of 1970
    for (int b = 0; b < 60; ++b) point.add_explicit_bounds(b);
    for (int b = 0; b <= 60; ++b) point.add_bucket_counts(1);
    point.set_count(61);
  }
  const http::Response response = bench.post("/v1/metrics", one.request.SerializeAsString(), as_protobuf);
  ExportMetricsServiceResponse answer;
  REQUIRE(answer.ParseFromString(response.body));
  CHECK(answer.partial_success().rejected_data_points() == 2);
  CHECK(bench.stored_samples() == 62);
}

TEST_CASE("otlp: labels that cannot be kept are told with their series") {
  Bench bench;
  OneMetric one("drift", "", {{"service.name", "ranker"}});
  auto& gauge = *one.metric.mutable_gauge();
  at(*gauge.add_data_points(), {{"long", std::string(3000, 'x')}}, 0, now_ns).set_as_double(1);
  at(*gauge.add_data_points(), {{"good", "x"}}, 0, now_ns).set_as_double(1);
  ExportMetricsServiceResponse answer;
  REQUIRE(answer.ParseFromString(bench.post("/v1/metrics", one.request.SerializeAsString(), as_protobuf).body));
  CHECK(answer.partial_success().rejected_data_points() == 1);
  CHECK_THAT(answer.partial_success().error_message(), Catch::Contains("longer than"));
  CHECK(bench.stored_samples() == 1);
}

TEST_CASE("otlp: a target_info that is not taken is a warning") {
  // The registry has room for one series.
  Bench bench;
  bench.registry = store::Registry(store::Registry::Settings{.series_max = 1});
  OneMetric one("drift", "", {{"service.name", "ranker"}, {"host.name", "box"}});
  at(*one.metric.mutable_gauge()->add_data_points(), {}, 0, now_ns).set_as_double(1);
  const auto json = boost::json::parse(bench.post("/v1/metrics", json_of(one.request), as_json).body);
  const auto& partial = json.at("partialSuccess").as_object();
  CHECK_FALSE(partial.contains("rejectedDataPoints"));
  CHECK_THAT(std::string(partial.at("errorMessage").as_string()),
             Catch::StartsWith("target_info was not taken: ") && Catch::Contains("limit of 1 series"));
}

TEST_CASE("otlp: gzip and deflate are taken, other encodings and types are 415") {
  Bench bench;
  const std::string body = good().SerializeAsString();
  CHECK(bench.post("/v1/metrics", gzipped(body), with(as_protobuf, "Content-Encoding", "gzip")).status == 200);
  CHECK(bench.post("/v1/metrics", gzipped(json_of(good())), with(as_json, "content-encoding", "GZIP")).status == 200);
  CHECK(bench.post("/v1/metrics", body, with(as_protobuf, "Content-Encoding", "identity")).status == 200);
  CHECK(bench.stored_samples() == 1);

  const http::Response zstd = bench.post("/v1/metrics", body, with(as_protobuf, "Content-Encoding", "zstd"));
  CHECK(zstd.status == 415);
  CHECK_THAT(status_of(zstd).message(), Catch::Contains("zstd"));
  CHECK(status_of(zstd).code() == 3);
  const http::Response text = bench.post("/v1/metrics", body, {{"Content-Type", "text/plain"}});
  CHECK(text.status == 415);
  CHECK_THAT(status_of(text).message(), Catch::Contains("text/plain"));
  CHECK(bench.post("/v1/metrics", body, {}).status == 415);
  CHECK(bench.counters->senders.at("127.0.0.1").refused == 3);
}

TEST_CASE("otlp: what cannot be read is 400, what is too large 413, as Status in both forms") {
  Bench bench;
  bench.settings.limits.decoded_bytes_max = 10'000;
  for (const http::Headers& headers : {as_protobuf, as_json}) {
    const http::Response broken = bench.post("/v1/metrics", "\x0a\xff", headers);
    CHECK(broken.status == 400);
    CHECK(status_of(broken).code() == 3);
    CHECK(bench.post("/v1/metrics", "plain", with(headers, "Content-Encoding", "gzip")).status == 400);
    CHECK(bench.post("/v1/metrics", "", with(headers, "Content-Encoding", "gzip")).status == 400);
    const http::Response bomb = bench.post("/v1/metrics", gzipped(std::string(1'000'000, ' ')),
                                           with(headers, "Content-Encoding", "gzip"));
    CHECK(bomb.status == 413);
    CHECK(status_of(bomb).code() == 8);
    CHECK(bench.post("/v1/metrics", std::string(10'001, ' '), headers).status == 413);
  }
  bench.settings.limits = {.series_max = 1};
  ExportMetricsServiceRequest two = one_of_three();
  two.mutable_resource_metrics(0)->mutable_scope_metrics(0)->mutable_metrics(0)->mutable_gauge()->mutable_data_points(2)->set_as_int(1);
  const http::Response large = bench.post("/v1/metrics", two.SerializeAsString(), as_protobuf);
  CHECK(large.status == 413);
  CHECK_THAT(status_of(large).message(), Catch::Contains("in parts"));
  CHECK(bench.submitted == 0);
}

TEST_CASE("otlp: when it should come again it is 503 or 429 with Retry-After and a Status") {
  Bench bench;
  for (const auto& [state, status, code] :
       {std::tuple{Stored::State::busy, 503, 14}, {Stored::State::throttled, 429, 8}}) {
    bench.state = state;
    for (const http::Headers& headers : {as_protobuf, as_json}) {
      const bool json = headers[0].second != "application/x-protobuf";
      const http::Response response =
          bench.post("/v1/metrics", json ? json_of(good()) : good().SerializeAsString(), headers);
      CHECK(response.status == status);
      CHECK(header(response, "Retry-After") == "2");
      CHECK(status_of(response).code() == code);
    }
  }
  CHECK(bench.counters->otlp.data_points == 0);
}

TEST_CASE("otlp: gaps of delta streams are counted once what was sent is stored") {
  Bench bench;
  const http::Handler handler =
      collector::receive_otlp(bench.sink(), bench.settings, bench.counters, bench.metadata);
  const auto sent = [&](std::uint64_t from, std::uint64_t to) {
    OneMetric one("jobs", "", {{"service.name", "ranker"}});
    one.metric.mutable_sum()->set_aggregation_temporality(otlp_oracle::AGGREGATION_TEMPORALITY_DELTA);
    one.metric.mutable_sum()->set_is_monotonic(true);
    at(*one.metric.mutable_sum()->add_data_points(), {}, now_ns + from * 1'000'000, now_ns + to * 1'000'000).set_as_int(3);
    return bench.ask(handler, "/v1/metrics", one.request.SerializeAsString(), as_protobuf).status;
  };
  CHECK(sent(0, 10) == 200);
  bench.state = Stored::State::busy;
  CHECK(sent(15, 20) == 503);
  CHECK(bench.counters->otlp.deltas.gaps == 0);
  bench.state.reset();
  CHECK(sent(15, 20) == 200);
  CHECK(bench.counters->otlp.deltas.gaps == 1);
  CHECK(sent(15, 20) == 200);
  CHECK(sent(19, 30) == 200);
  CHECK(bench.counters->otlp.deltas.gaps == 1);
  CHECK(bench.counters->otlp.deltas.overlaps == 1);
  CHECK(bench.stored_samples() == 3);
}

TEST_CASE("otlp: large bodies are decoded by the workers with the same answer") {
  Bench bench;
  asio::thread_pool workers(1);
  bench.settings.workers = workers.get_executor();
  bench.settings.offload_bytes_min = 1;
  CHECK(bench.post("/v1/metrics", gzipped(good().SerializeAsString()), with(as_protobuf, "Content-Encoding", "gzip")).status == 200);
  CHECK(bench.post("/v1/metrics", "broken", as_json).status == 400);
  CHECK(bench.stored_samples() == 1);
  workers.join();
}

TEST_CASE("otlp: the server's own refusals are a Status too") {
  http::Response refusal = http::error(413, "body_too_large", Error{"body", "over 32 MiB"}, "");
  refusal.headers.emplace_back("X", "y");
  for (const char* type : {"application/x-protobuf", "application/json", "text/odd"}) {
    const http::Response response = collector::otlp_failure(refusal, type);
    CHECK(response.status == 413);
    CHECK(status_of(response).message() == "over 32 MiB");
    CHECK(header(response, "X") == "y");
  }
}

TEST_CASE("otlp: what metrics say of themselves is kept, and the sender's exemplars are counted") {
  Bench bench;
  OneMetric one("latency", "ms");
  one.metric.set_description("how long");
  auto& point = at(*one.metric.mutable_gauge()->add_data_points(), {}, 0, now_ns);
  point.set_as_double(1);
  point.add_exemplars();
  bench.post("/v1/metrics", one.request.SerializeAsString(), as_protobuf);
  const auto facts = bench.metadata->facts("latency_milliseconds");
  REQUIRE(facts);
  CHECK(facts->type == "gauge");
  CHECK(bench.counters->senders.at("127.0.0.1").exemplars == 1);
}
