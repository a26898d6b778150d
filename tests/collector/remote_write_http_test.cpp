// Each awkward request that senders make, over a real connection to the real endpoint, and what it must hear:
// docs/senders.md, "What a 2xx means".

#include <bit>
#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>

#include "collector/collector.hpp"
#include "schema/store/registry.hpp"
#include "tests/decode/requests.hpp"
#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::test;
using muster_oracle::WriteRequest;

namespace {

constexpr std::int64_t now_ms = 1'700'000'000'000;
constexpr std::int64_t day_ms = 86'400'000;

// The endpoint before a real registry, without a database.
class Endpoint {
 public:
  Endpoint() {
    http::Routes routes;
    collector::add_routes(routes, collector::sink_to([this](SampleBatch batch, auto done) {
                            Stored stored;
                            if (busy) {
                              stored.state = Stored::State::busy;
                            } else {
                              stored = registry.gather(batch, from_millis(now_ms));
                            }
                            done(stored);
                          }),
                          {}, counters);
    running.emplace(std::move(routes));
  }
  http::test::Wire::Answer post(const std::string& body, const std::string& headers) {
    http::test::Wire wire(running->server.port());
    return wire.ask(http::test::post("/api/v1/write", body, headers));
  }
  // Samples on disk since the last call.
  std::size_t stored() {
    std::size_t n = 0;
    running->on_io([&] {
      for (const store::Piece& piece : registry.take()) n += piece.rows.values.size();
    });
    return n;
  }

  store::Registry registry{store::Registry::Settings{}};
  collector::CountersPtr counters = std::make_shared<collector::Counters>();
  bool busy = false;
  std::optional<http::test::Running> running;
};

const std::string v1 =
    "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
    "X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: Prometheus/2.42.0\r\n";
const std::string v2 =
    "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\n"
    "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 2.0.0\r\n"
    "User-Agent: Prometheus/3.0.0\r\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != text.npos);
  return text.replace(at, from.size(), to);
}

const LabelList usual = {{"__name__", "drift"}, {"job", "j"}, {"model", "ranker"}};
const LabelList good = {{"__name__", "good"}, {"job", "j"}};

struct Sample {
  std::int64_t ms = now_ms;
  double value = 1;
};

std::string sent(const LabelList& labels, std::vector<Sample> samples, bool with_good = false) {
  WriteRequest request;
  auto& series = add_series(request, labels);
  for (const Sample& sample : samples) add_sample(series, sample.ms, sample.value);
  if (with_good) add_sample(add_series(request, good), now_ms, 1);
  return body_of(request);
}

// A request, in the order in which they come, and its answer.
struct Row {
  const char* what;
  std::string body;
  int status;
  std::size_t stored;
  std::string says = "";  // in the answer; empty for an answer without a body
  std::string headers = v1;
};

void check(const std::vector<Row>& rows) {
  Endpoint endpoint;
  for (const Row& row : rows) {
    INFO(row.what);
    const auto answer = endpoint.post(row.body, row.headers);
    CHECK(answer.status == row.status);
    CHECK(endpoint.stored() == row.stored);
    if (row.says.empty()) {
      CHECK(answer.body.empty());
    } else {
      CHECK_THAT(answer.body, Catch::Contains(row.says));
    }
  }
}

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

}  // namespace

TEST_CASE("remote write over HTTP: repeated, older and changed samples are taken") {
  check({
      {"a first request", sent(usual, {{now_ms, 1}}), 204, 1},
      {"the same again is there already", sent(usual, {{now_ms, 1}}), 204, 0},
      {"another value for the same time: the first counts", sent(usual, {{now_ms, 2}}), 204, 0},
      {"ten seconds older than the newest", sent(usual, {{now_ms - 10'000}}), 204, 1},
      {"an hour older: kept, though too late for a decision", sent(usual, {{now_ms - 3'600'000}}),
       204, 1},
  });
}

TEST_CASE(
    "remote write over HTTP: times out of bounds are 400, name the series and hold nobody up") {
  const std::string set = R"(Series 0 {__name__="drift",job="j",model="ranker"}: timestamp )";
  check({
      {"1970", sent(usual, {{1'000}}, true), 400, 1, set + "1000 ms lies before the year 2000"},
      {"a negative time", sent(usual, {{-5}}), 400, 0, set + "-5 ms"},
      {"a day ahead, the good series beside it",
       sent(usual, {{now_ms + day_ms}, {now_ms + 1}}, true), 400, 1,
       set + "1700086400000 ms lies more than 600 s ahead"},
      {"nine minutes ahead is within the bound", sent(usual, {{now_ms + 540'000}}), 204, 1},
      {"a time that no clock has",
       sent(usual, {{std::numeric_limits<std::int64_t>::max()}, {now_ms + 2}}), 400, 1,
       "1 sample not taken, 1 sample stored."},
      {"later samples of all", sent(usual, {{now_ms + 3}}, true), 204, 1},
  });
}

TEST_CASE("remote write over HTTP: label sets that break the rules are 400, the good ones kept") {
  LabelList wide;
  for (int i = 0; i < 65; ++i) wide.emplace_back("l" + std::to_string(i), "v");
  check({
      {"a repeated name", sent({{"__name__", "m"}, {"a", "1"}, {"a", "2"}}, {{}}, true), 400, 1,
       R"(Series 0 {__name__="m",a="1",a="2"}: label "a" is repeated)"},
      {"an empty name", sent({{"__name__", "m"}, {"", "1"}}, {{}}), 400, 0, "empty label name"},
      {"an empty value", sent({{"__name__", "m"}, {"a", ""}}, {{}}), 400, 0,
       R"(label "a" is empty)"},
      {"no labels", sent({}, {{}}), 400, 0, "Series 0 {}: a series without labels"},
      {"a value that is not UTF-8", sent({{"__name__", "m"}, {"a", "\xff"}}, {{}}), 400, 0,
       R"({__name__="m",a="\xff"})"},
      {"a name that is not UTF-8", sent({{"__name__", "m"}, {"\xc3(", "1"}}, {{}}), 400, 0,
       "UTF-8"},
      {"a value with a NUL", sent({{"__name__", "m"}, {"a", std::string(1, '\0')}}, {{}}), 400, 0,
       "without NUL"},
      {"65 labels", sent(wide, {{}, {now_ms + 1}}), 400, 0,
       "2 samples not taken, 0 samples stored."},
      {"a name of 257 bytes", sent({{"__name__", "m"}, {std::string(257, 'n'), "1"}}, {{}}), 400, 0,
       "longer than 256"},
      {"a value of 2049 bytes", sent({{"__name__", "m"}, {"a", std::string(2049, 'v')}}, {{}}), 400,
       0, "2048"},
      {"unsorted labels are a label set too",
       sent({{"job", "j"}, {"__name__", "unsorted"}, {"a", "1"}}, {{}}), 204, 1},
  });
}

TEST_CASE("remote write over HTTP: the first five faults are told, each series once") {
  WriteRequest request;
  for (int i = 0; i < 9; ++i) {
    auto& series = add_series(request, {{"__name__", "m" + std::to_string(i)}, {"a", ""}});
    for (int k = 0; k < 30; ++k) add_sample(series, now_ms + k, 1);
  }
  Endpoint endpoint;
  const auto answer = endpoint.post(body_of(request), v1);
  CHECK(answer.status == 400);
  CHECK_THAT(answer.body, Catch::StartsWith("270 samples not taken, 0 samples stored."));
  for (int i = 0; i < 9; ++i)
    CHECK((answer.body.find("Series " + std::to_string(i) + " {") != std::string::npos) == (i < 4));
  // The store tells the first hundred faults, which are of the first four series.
  CHECK(answer.body.size() < 1000);
}

TEST_CASE("remote write over HTTP: what is not a plain sample is taken") {
  WriteRequest metadata;
  auto& family = *metadata.add_metadata();
  family.set_metric_family_name("drift");
  family.set_type(2);
  WriteRequest more;
  auto& series = add_series(more, usual);
  add_sample(series, now_ms + 4, 1);
  series.add_exemplars()->set_value(3);
  series.set_unknown_text("later versions know more");
  more.set_unknown_number(7);
  WriteRequest native;
  fill_integers(*add_series(native, usual).add_histograms(), now_ms);
  check({
      {"infinity", sent(usual, {{now_ms, std::numeric_limits<double>::infinity()}}), 204, 1},
      {"minus infinity", sent(usual, {{now_ms + 1, -std::numeric_limits<double>::infinity()}}), 204,
       1},
      {"a stale marker", sent(usual, {{now_ms + 2, std::bit_cast<double>(stale_bits)}}), 204, 1},
      {"not a number", sent(usual, {{now_ms + 3, std::numeric_limits<double>::quiet_NaN()}}), 204,
       1},
      {"an exemplar and unknown fields", body_of(more), 204, 1},
      {"metadata only", body_of(metadata), 204, 0},
      {"an empty request", body_of(WriteRequest()), 204, 0},
      {"a native histogram: eleven ends, count and sum", body_of(native), 204, 13},
      {"the same native histogram again", body_of(native), 204, 0},
  });
}

TEST_CASE("remote write over HTTP: bodies that cannot be read are 400") {
  WriteRequest request;
  for (int i = 0; i < 20; ++i) add_sample(add_series(request, usual), now_ms + i, i);
  const std::string whole = body_of(request);
  check({
      {"no snappy", request.SerializeAsString(), 400, 0, "snappy"},
      {"cut short", whole.substr(0, whole.size() - 3), 400, 0, "snappy"},
      {"an empty body", "", 400, 0, "not a snappy block"},
      {"4 GiB claimed", bytes({0xff, 0xff, 0xff, 0xff, 0x0f}), 400, 0, "claims 4294967295 bytes"},
      {"snappy of what is no message", snapped("neither one nor the other"), 400, 0,
       "not a protobuf WriteRequest"},
      {"snappy's framed format", bytes({0xff, 0x06, 0, 0, 's', 'N', 'a', 'P', 'p', 'Y'}), 400, 0,
       "snappy"},
  });
}

TEST_CASE("remote write over HTTP: other types and encodings are 400 for 1.x and 415 for 2.0") {
  const std::string body = sent(usual, {{}});
  Request2 second;
  add_sample(second.add(good), now_ms, 1);
  const std::string type = "application/x-protobuf";
  const std::string type_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
  check({
      {"gzip, 1.x", body, 400, 0, "gzip is not snappy", replaced(v1, "snappy", "gzip")},
      {"gzip, 2.0", body, 415, 0, "gzip is not snappy", replaced(v2, "snappy", "gzip")},
      {"JSON, 1.x", "{}", 400, 0, "application/json is not",
       replaced(v1, type, "application/json")},
      {"JSON, 2.0", "{}", 415, 0, "application/json is not",
       replaced(v2, type_2, "application/json")},
      {"a message nobody knows", body, 415, 0, "is not known",
       replaced(v2, "write.v2.Request", "write.v9.Request")},
      {"2.0 and no type", body, 415, 0, "without a Content-Type",
       replaced(v2, "Content-Type: " + type_2 + "\r\n", "")},
      {"a 2.0 body said to be 1.0 would be read as empty", second.body(), 415, 0, "Content-Type",
       v1},
      {"a 1.0 body said to be 2.0 as well", body, 415, 0, "Content-Type", v2},
      {"2.0's version with 1.0's message", body, 204, 1, "",
       replaced(v2, type_2, "application/x-protobuf;proto=prometheus.WriteRequest")},
      {"2.0", second.body(), 204, 1, "", v2},
  });
}

TEST_CASE("remote write over HTTP: a store that is away is 503 and the same request comes again") {
  Endpoint endpoint;
  endpoint.busy = true;
  for (const std::string& headers : {v1, v2}) {
    Request2 second;
    add_sample(second.add(usual), now_ms, 1);
    const auto answer = endpoint.post(headers == v1 ? sent(usual, {{}}) : second.body(), headers);
    CHECK(answer.status == 503);
    CHECK_FALSE(answer.header("Retry-After").empty());
    // Of a 5xx its sender assumes nothing.
    CHECK(answer.header("X-Prometheus-Remote-Write-Samples-Written").empty());
  }
}

TEST_CASE(
    "remote write 2.0 over HTTP: the Written headers count what is on disk, whatever the status") {
  Endpoint endpoint;
  const auto expect = [&](const Request2& request, int status, const char* samples,
                          const char* histograms) {
    const auto answer = endpoint.post(request.body(), v2);
    CHECK(answer.status == status);
    CHECK(answer.header("X-Prometheus-Remote-Write-Samples-Written") == samples);
    CHECK(answer.header("X-Prometheus-Remote-Write-Histograms-Written") == histograms);
    // They are not kept, so they are not said to be.
    CHECK(answer.header("X-Prometheus-Remote-Write-Exemplars-Written") == "0");
    return answer.body;
  };
  Request2 all;
  auto& series = all.add(usual);
  for (int i = 0; i < 3; ++i) add_sample(series, now_ms + i, i, 1);
  series.add_exemplars()->set_value(1);
  add_sample(all.add(good), now_ms, 1);
  auto& native = all.add({{"__name__", "latency"}, {"job", "j"}});
  fill_integers(*native.add_histograms(), now_ms);
  fill_integers(*native.add_histograms(), now_ms + 1);
  CHECK(expect(all, 204, "4", "2").empty());
  CHECK(expect(all, 204, "4", "2").empty());  // they are there
  CHECK(endpoint.stored() == 4 + 2 * 13);

  Request2 part;
  auto& mixed = part.add(usual);
  add_sample(mixed, 5, 1);  // 1970
  add_sample(mixed, now_ms + 10, 1);
  auto& natives = part.add({{"__name__", "latency"}, {"job", "j"}});
  fill_integers(*natives.add_histograms(), now_ms + 2);
  fill_integers(*natives.add_histograms(), now_ms + 86'400'000);  // each of its series is refused
  fill_integers(*natives.add_histograms(), now_ms + 3);
  natives.mutable_histograms(2)->set_schema(99);
  auto& broken = part.add({{"__name__", "m"}, {"a", "\xff"}});
  add_sample(broken, now_ms, 1);
  add_sample(broken, now_ms + 1, 1);
  const std::string body = expect(part, 400, "1", "1");
  CHECK_THAT(body, Catch::StartsWith(
                       "3 samples and 2 histograms not taken, 1 sample and 1 histogram stored."));
  CHECK_THAT(body,
             Catch::Contains(R"(Series 1 {__name__="latency",job="j"}: schema 99 is not known)"));
  CHECK_THAT(body, Catch::Contains("UTF-8"));

  Request2 nothing;
  CHECK(expect(nothing, 204, "0", "0").empty());
  const auto unreadable = endpoint.post("no snappy", v2);
  CHECK(unreadable.status == 400);
  CHECK(unreadable.header("X-Prometheus-Remote-Write-Samples-Written") == "0");
  // 1.0 knows no such headers.
  CHECK(endpoint.post(sent(usual, {{}}), v1)
            .header("X-Prometheus-Remote-Write-Samples-Written")
            .empty());
  CHECK(endpoint.counters->senders.at("127.0.0.1 Prometheus/3.0.0").exemplars == 2);
  CHECK(endpoint.counters->senders.at("127.0.0.1 Prometheus/3.0.0").histograms == 7);
}
