#include "collector/decode/remote_write.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "collector/decode/text.hpp"
#include "tests/decode/requests.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::test;
using decode::Decoded;
using decode::remote_write;
using muster_oracle::WriteRequest;

namespace {

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

const LabelList usual = {{"__name__", "drift"}, {"job", "j"}, {"model", "ranker"}};

Result<SeriesIdentity> identity_of(const LabelList& labels) {
  WriteRequest request;
  add_sample(add_series(request, labels), 1'700'000'000'000, 1);
  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  REQUIRE(decoded->batch.series.size() == 1);
  return decoded->batch.identify(decoded->batch.series[0].labels, {});
}

}  // namespace

TEST_CASE("a request gives each series its points, bit by bit") {
  WriteRequest request;
  auto& one = add_series(request, usual);
  add_sample(one, 1'700'000'000'123, 0.25);
  add_sample(one, 1'700'000'015'123, std::numeric_limits<double>::infinity());
  auto& two = add_series(request, {{"__name__", "up"}, {"job", "j"}});
  add_sample(two, -5, std::bit_cast<double>(stale_bits));
  add_sample(two, 0, std::bit_cast<double>(0x7ff8'0000'0000'0001ULL));

  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  const SampleBatch& batch = decoded->batch;
  REQUIRE(batch.series.size() == 2);
  REQUIRE(batch.points.size() == 4);
  CHECK(batch.series[1].first == 2);
  CHECK(batch.series[1].count == 2);
  CHECK(batch.points[0].ts.us == 1'700'000'000'123'000);
  CHECK(batch.points[0].value == 0.25);
  CHECK(batch.points[1].value == std::numeric_limits<double>::infinity());
  CHECK(batch.points[2].ts.us == -5000);
  CHECK(is_stale(batch.points[2].value));
  CHECK(bits(batch.points[3].value) == 0x7ff8'0000'0000'0001ULL);
  const auto identity = batch.identify(batch.series[0].labels, {});
  REQUIRE(identity);
  CHECK(identity->model == "ranker");
  CHECK(identity->metric == R"(drift{job="j"})");
}

TEST_CASE("the same label set has the same alias in every request, another one another") {
  WriteRequest request;
  for (int i = 0; i < 2; ++i) add_sample(add_series(request, usual), 1000, i);
  add_sample(add_series(request, {{"__name__", "drift"}, {"job", "k"}}), 1000, 3);
  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  CHECK(decoded->batch.series[0].alias == decoded->batch.series[1].alias);
  CHECK(decoded->batch.series[0].alias != decoded->batch.series[2].alias);
}

TEST_CASE(
    "metadata is read, exemplars are skipped and counted, a native histogram counts once, and an empty request "
    "is good") {
  const auto empty = remote_write(body_of(WriteRequest()));
  REQUIRE(empty);
  CHECK(empty->batch.series.empty());

  WriteRequest request;
  auto& family = *request.add_metadata();
  family.set_metric_family_name("drift");
  family.set_type(1);
  family.set_help("what it is");
  family.set_unit("seconds");
  request.set_unknown_number(7);
  auto& series = add_series(request, usual);
  series.add_exemplars()->set_value(3);
  series.add_exemplars();
  series.set_unknown_text("later versions know more");
  add_sample(series, 1000, 1);
  add_series(request, usual).add_histograms()->set_count_int(5);
  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  REQUIRE(decoded->families.size() == 1);
  CHECK(decoded->families[0].name == "drift");
  CHECK(decoded->families[0].type == "counter");
  CHECK(decoded->families[0].help == "what it is");
  CHECK(decoded->families[0].unit == "seconds");
  CHECK(decoded->skipped.exemplars == 2);
  CHECK(decoded->histograms_sent == 1);
  CHECK(decoded->samples_sent == 1);
  REQUIRE(decoded->histograms.size() == 1);
  CHECK(decoded->histograms[0].first == 1);
  CHECK(decoded->batch.points.size() == 1 + decoded->histograms[0].count);
}

TEST_CASE("bodies that are no remote write request are refused with a reason") {
  WriteRequest request;
  for (int i = 0; i < 50; ++i) add_sample(add_series(request, usual), 1000 + i, i);
  const std::string body = body_of(request);

  CHECK_FALSE(remote_write({}));
  CHECK_FALSE(remote_write(request.SerializeAsString()));
  CHECK_FALSE(remote_write(std::string_view(body).substr(0, body.size() / 2)));
  CHECK_FALSE(remote_write(std::string_view("{\"json\": true}")));
  const auto not_protobuf = remote_write(snapped("this is text, not a message"));
  REQUIRE_FALSE(not_protobuf);
  CHECK_THAT(not_protobuf.error().what, Catch::Contains("WriteRequest"));

  // 0xffffffff bytes claimed by a body of ten; and a claim under the limit that ten bytes cannot fill.
  const auto huge = remote_write(std::string_view("\xff\xff\xff\xff\x0f\x00\x00\x00\x00\x00", 10));
  REQUIRE_FALSE(huge);
  CHECK_THAT(huge.error().what, Catch::Contains("claims 4294967295 bytes"));
  const auto lie = remote_write(std::string_view("\x80\x80\x80\x0f\x00\x00\x00\x00\x00\x00", 10));
  REQUIRE_FALSE(lie);
  CHECK_THAT(lie.error().what, Catch::Contains("cannot be true"));
}

TEST_CASE("the limits of a request are kept") {
  WriteRequest request;
  for (int i = 0; i < 5; ++i) {
    auto& series = add_series(request, {{"__name__", "m" + std::to_string(i)}});
    add_sample(series, 1000, i);
    add_sample(series, 2000, i);
  }
  const std::string body = body_of(request);
  CHECK(remote_write(body, {.series_max = 5, .samples_max = 10}));
  CHECK_FALSE(remote_write(body, {.series_max = 4}));
  CHECK_FALSE(remote_write(body, {.samples_max = 9}));
  CHECK_FALSE(remote_write(body, {.decoded_bytes_max = request.ByteSizeLong() - 1}));

  // 65 labels: only that series is left out.
  auto& wide = add_series(request, {});
  for (int i = 0; i < 65; ++i) {
    auto& label = *wide.add_labels();
    label.set_name("l" + std::to_string(i));
    label.set_value("v");
  }
  add_sample(wide, 1000, 1);
  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  CHECK(decoded->batch.series.size() == 5);
  CHECK(decoded->batch.points.size() == 10);
  REQUIRE(decoded->rejected.size() == 1);
  CHECK(decoded->rejected[0].line == 5);
}

TEST_CASE("a time that does not fit is left out, and the rest of its series kept") {
  WriteRequest request;
  auto& series = add_series(request, usual);
  add_sample(series, std::numeric_limits<std::int64_t>::max(), 1);
  add_sample(series, 1000, 2);
  add_sample(series, std::numeric_limits<std::int64_t>::min(), 3);
  const auto decoded = remote_write(body_of(request));
  REQUIRE(decoded);
  CHECK(decoded->rejected_count == 2);
  REQUIRE(decoded->batch.points.size() == 1);
  CHECK(decoded->batch.points[0].value == 2);
}

TEST_CASE("label sets that break the rules are refused with the label set in the message") {
  const auto refused = [](const LabelList& labels, const char* why) {
    const auto identity = identity_of(labels);
    REQUIRE_FALSE(identity);
    CHECK_THAT(identity.error().what, Catch::Contains(why));
    return identity.error().where;
  };
  CHECK_THAT(refused({{"__name__", "m"}, {"a", "1"}, {"a", "2"}}, "\"a\" is repeated"),
             Catch::Contains(R"({__name__="m",a="1",a="2"})"));
  refused({{"__name__", "m"}, {"", "1"}}, "empty label name");
  refused({{"__name__", "m"}, {"a", ""}}, "is empty");
  refused({}, "without labels");
  refused({{"__name__", "m"}, {"a", "x\xff"}}, "UTF-8");
  refused({{"__name__", "m"}, {"a", std::string("x\0y", 3)}}, "NUL");
  refused({{"__name__", "m"}, {std::string(257, 'a'), "x"}}, "longer");
  refused({{"__name__", "m"}, {"a", std::string(2049, 'a')}}, "longer");
  CHECK(identity_of({{"__name__", "m"}, {std::string(256, 'a'), std::string(2048, 'b')}}));
}

TEST_CASE("unsorted labels are the same series as sorted ones") {
  const auto sorted = identity_of({{"__name__", "m"}, {"a", "1"}, {"b", "2"}, {"job", "j"}});
  const auto unsorted = identity_of({{"job", "j"}, {"b", "2"}, {"__name__", "m"}, {"a", "1"}});
  REQUIRE(sorted);
  REQUIRE(unsorted);
  CHECK(sorted->metric == unsorted->metric);
  CHECK(sorted->model == unsorted->model);
}

TEST_CASE("label fields that another field splits are brought together") {
  // Protobuf allows fields in any order; two halves of one series' message merge into one.
  const auto half = [](const LabelList& labels, int value) {
    WriteRequest request;
    add_sample(add_series(request, labels), 1000 + value, value);
    return request.timeseries(0).SerializeAsString();
  };
  std::string series;
  for (int i = 0; i < 4; ++i) series += half({{"l" + std::to_string(i), "v"}}, i);
  std::string request;
  for (int copy = 0; copy < 3; ++copy) {
    request += '\x0a';
    request += static_cast<char>(series.size());
    request += series;
  }
  const auto decoded = remote_write(snapped(request));
  REQUIRE(decoded);
  REQUIRE(decoded->batch.series.size() == 3);
  REQUIRE(decoded->batch.points.size() == 12);
  for (const RawSeries& raw : decoded->batch.series) {
    CHECK(raw.alias == decoded->batch.series[0].alias);
    const auto identity = decoded->batch.identify(raw.labels, {});
    REQUIRE(identity);
    CHECK(identity->metric == R"({l0="v",l1="v",l2="v",l3="v"})");
  }
}

TEST_CASE("random requests are read as libprotobuf reads them") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  for (int round = 0; round < 300; ++round) {
    WriteRequest request;
    for (auto s = below(20); s-- > 0;) {
      auto& series = *request.add_timeseries();
      for (auto n = below(6); n-- > 0;) {
        auto& label = *series.add_labels();
        label.set_name("n" + std::to_string(below(9)));
        label.set_value(std::string(below(200), static_cast<char>('a' + below(26))));
      }
      for (auto n = below(5); n-- > 0;)
        add_sample(series, static_cast<std::int64_t>(random()) >> below(63),
                   std::bit_cast<double>(random()));
      for (auto n = below(3); n-- > 0;) series.add_exemplars()->set_timestamp(1);
      if (below(3) == 0) series.set_unknown_text("x");
    }
    for (auto n = below(3); n-- > 0;) request.add_metadata()->set_type(1);

    // The oracle reads the bytes back, so that both start from the same.
    WriteRequest oracle;
    REQUIRE(oracle.ParseFromString(request.SerializeAsString()));
    const auto decoded = remote_write(body_of(request));
    REQUIRE(decoded);
    const SampleBatch& batch = decoded->batch;

    std::size_t at = 0;
    std::uint64_t rejected = 0;
    for (int s = 0; s < oracle.timeseries_size(); ++s) {
      const auto& theirs = oracle.timeseries(s);
      std::vector<Point> points;
      for (const auto& sample : theirs.samples()) {
        if (sample.timestamp() > millis_max || sample.timestamp() < -millis_max) {
          ++rejected;
          continue;
        }
        points.push_back({from_millis(sample.timestamp()), sample.value()});
      }
      if (points.empty()) continue;
      REQUIRE(at < batch.series.size());
      const RawSeries& ours = batch.series[at++];
      REQUIRE(ours.line == static_cast<std::uint32_t>(s));
      REQUIRE(ours.count == points.size());
      for (std::size_t p = 0; p < points.size(); ++p) {
        REQUIRE(batch.points[ours.first + p].ts == points[p].ts);
        REQUIRE(bits(batch.points[ours.first + p].value) == bits(points[p].value));
      }
      // The label fields alone are a series message again.
      muster_oracle::TimeSeries labels;
      REQUIRE(labels.ParseFromArray(ours.labels.data(), static_cast<int>(ours.labels.size())));
      REQUIRE(labels.labels_size() == theirs.labels_size());
      for (int l = 0; l < labels.labels_size(); ++l) {
        REQUIRE(labels.labels(l).name() == theirs.labels(l).name());
        REQUIRE(labels.labels(l).value() == theirs.labels(l).value());
      }
    }
    CHECK(at == batch.series.size());
    CHECK(rejected == decoded->rejected_count);
    CHECK(decoded->families.size() == static_cast<std::size_t>(oracle.metadata_size()));
  }
}

namespace {

// What a decoded request promises, whatever its bytes were.
void check_promises(const Decoded& decoded) {
  std::size_t points = 0;
  for (const RawSeries& series : decoded.batch.series) {
    REQUIRE(series.first == points);
    points += series.count;
    if (const auto identity = decoded.batch.identify(series.labels, {})) {
      REQUIRE_FALSE(identity->model.empty());
      REQUIRE_FALSE(identity->metric.empty());
      REQUIRE(decode::is_storable(identity->model));
      REQUIRE(decode::is_storable(identity->metric));
    }
  }
  REQUIRE(points == decoded.batch.points.size());
}

}  // namespace

TEST_CASE("damaged requests are refused or read, and never read beyond their bytes") {
  WriteRequest request;
  for (int i = 0; i < 4; ++i) {
    auto& series = add_series(request, {{"__name__", "metric_" + std::to_string(i)},
                                        {"instance", "host:9100"},
                                        {"model", "model-" + std::to_string(i % 3)}});
    add_sample(series, 1'700'000'000'000 + i, i * 0.5);
    series.add_exemplars()->set_value(1);
  }
  const std::string plain = request.SerializeAsString();
  int read = 0;
  const auto below =
      fuzz::run({.corpus = {plain, ""}, .words = {"\x0a", "\x12", "\x0a\x03\x0a\x01", "\x7f"}},
                [&](std::string_view bytes) {
                  const auto decoded = remote_write(snapped(std::string(bytes)));
                  if (!decoded) return;
                  ++read;
                  check_promises(*decoded);
                });
  INFO(below.summary);
  CHECK(below.failure.empty());
  CHECK(read > 100);  // a damage that always stops at the first check would test nothing

  const auto above = fuzz::run({.corpus = {snapped(plain)}, .words = {"\xff", "\xfe", "\x01"}},
                               [](std::string_view bytes) {
                                 if (const auto decoded = remote_write(bytes))
                                   check_promises(*decoded);
                               });
  INFO(above.summary);
  CHECK(above.failure.empty());
}
