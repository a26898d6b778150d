#include "collector/decode/native_histogram.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "collector/decode/label_fields.hpp"
#include "collector/decode/remote_write.hpp"
#include "tests/decode/requests.hpp"

using namespace muster;
using namespace muster::test;
using decode::Decoded;
using muster_oracle::Histogram;
using muster_oracle::WriteRequest;

namespace {

const LabelList usual = {{"__name__", "latency"}, {"job", "j"}, {"model", "ranker"}, {"zone", "a"}};

Decoded read(const Histogram& histogram, const LabelList& labels = usual) {
  WriteRequest request;
  *add_series(request, labels).add_histograms() = histogram;
  auto decoded = decode::remote_write(body_of(request));
  REQUIRE(decoded);
  return std::move(*decoded);
}

// "latency_bucket{le=\"1\",zone=\"a\"}" and the like to the value.
std::map<std::string, double> values(const Decoded& decoded) {
  std::map<std::string, double> out;
  for (const RawSeries& series : decoded.batch.series) {
    const auto identity = decoded.batch.identify(series.labels, Mapping());
    REQUIRE(identity);
    CHECK(identity->model == "ranker");
    REQUIRE(series.count == 1);
    out[identity->metric] = decoded.batch.points[series.first].value;
  }
  return out;
}

std::string refusal(const Histogram& histogram) {
  const Decoded decoded = read(histogram);
  CHECK(decoded.batch.series.empty());
  CHECK(decoded.batch.points.empty());
  CHECK(decoded.histograms.empty());
  CHECK(decoded.histograms_sent == 1);
  REQUIRE(decoded.rejected.size() == 1);
  CHECK_THAT(decoded.rejected[0].series, Catch::Contains(R"(__name__="latency")"));
  return decoded.rejected[0].what;
}

}  // namespace

TEST_CASE("a native histogram becomes the classic series that its sender could have sent") {
  Histogram histogram;
  fill_integers(histogram, 1'700'000'000'123);
  const Decoded decoded = read(histogram);
  const auto got = values(decoded);
  CHECK(got.at(R"(latency_count{job="j",zone="a"})") == 7);
  CHECK(got.at(R"(latency_sum{job="j",zone="a"})") == 18.4);
  // By hand: what is at or below each end of the buckets above.
  const std::pair<const char*, double> ends[] = {{"0.001", 2}, {"0.5", 2}, {"1", 3},  {"2", 5},
                                                 {"4", 5},     {"8", 6},   {"16", 7}, {"+Inf", 7}};
  for (const auto& [le, count] : ends)
    CHECK(got.at("latency_bucket{job=\"j\",le=\"" + std::string(le) + "\",zone=\"a\"}") == count);
  for (const Point& point : decoded.batch.points) CHECK(point.ts.us == 1'700'000'000'123'000);
  REQUIRE(decoded.histograms.size() == 1);
  CHECK(decoded.histograms[0].count == decoded.batch.points.size());

  // The alias is that of a sender who writes the classic series.
  WriteRequest classic;
  add_sample(add_series(classic, {{"__name__", "latency_bucket"},
                                  {"job", "j"},
                                  {"le", "16"},
                                  {"model", "ranker"},
                                  {"zone", "a"}}),
             1000, 7);
  const auto plain = decode::remote_write(body_of(classic));
  REQUIRE(plain);
  const auto same = [&](const RawSeries& series) {
    return series.alias == plain->batch.series[0].alias;
  };
  CHECK(std::count_if(decoded.batch.series.begin(), decoded.batch.series.end(), same) == 1);
  for (const RawSeries& series : decoded.batch.series) {
    const auto identity = decoded.batch.identify(series.labels, Mapping());
    CHECK(identity->kind ==
          (identity->metric.starts_with("latency_bucket") ? Kind::bucket : Kind::counter));
  }
}

TEST_CASE("float counts, negative buckets and a gauge histogram are read") {
  Histogram histogram;
  histogram.set_count_float(6.5);
  histogram.set_sum(-3);
  histogram.set_schema(0);
  histogram.set_zero_threshold(0.25);
  histogram.set_zero_count_float(1);
  auto& below = *histogram.add_negative_spans();
  below.set_offset(1);  // [-2, -1)
  below.set_length(2);  // [-4, -2)
  histogram.add_negative_counts(2);
  histogram.add_negative_counts(0.5);
  histogram.add_positive_spans()->set_length(1);  // (0.5, 1]
  histogram.add_positive_counts(3);
  histogram.set_reset_hint(3);
  histogram.set_timestamp(1000);
  const Decoded decoded = read(histogram);
  const auto got = values(decoded);
  const auto at = [&](const char* le) {
    return got.at("latency_bucket{job=\"j\",le=\"" + std::string(le) + "\",zone=\"a\"}");
  };
  CHECK(at("-4") == 0);
  CHECK(at("-2") == 0.5);
  CHECK(at("-1") == 2.5);
  CHECK(at("0.25") == 3.5);
  CHECK(at("1") == 6.5);
  CHECK(at("+Inf") == 6.5);
  for (const RawSeries& series : decoded.batch.series) {
    const auto identity = decoded.batch.identify(series.labels, Mapping());
    if (identity->metric.starts_with("latency_count")) CHECK(identity->kind == Kind::gauge);
  }
}

TEST_CASE("custom buckets keep their ends") {
  Histogram histogram;
  histogram.set_count_int(9);
  histogram.set_sum(12);
  histogram.set_schema(-53);
  for (const double le : {0.005, 0.01, 2.5}) histogram.add_custom_values(le);
  auto& span = *histogram.add_positive_spans();
  span.set_offset(1);
  span.set_length(3);  // (0.005, 0.01], (0.01, 2.5], (2.5, +Inf]
  for (const int delta : {4, -3, 3}) histogram.add_positive_deltas(delta);  // 4, 1, 4
  histogram.set_timestamp(1000);
  const auto got = values(read(histogram));
  const std::pair<const char*, double> ends[] = {
      {"0.005", 0}, {"0.01", 4}, {"2.5", 5}, {"+Inf", 9}};
  for (const auto& [le, count] : ends)
    CHECK(got.at("latency_bucket{job=\"j\",le=\"" + std::string(le) + "\",zone=\"a\"}") == count);
  CHECK(got.size() == 6);
}

TEST_CASE("a stale histogram ends its count, its sum and its last bucket, bit by bit") {
  Histogram histogram;
  histogram.set_sum(std::bit_cast<double>(stale_bits));
  histogram.set_timestamp(1000);
  const auto got = values(read(histogram));
  CHECK(got.size() == 3);
  for (const auto& [name, value] : got) CHECK(is_stale(value));
}

TEST_CASE("histograms that contradict themselves are left out with the reason, all others kept") {
  const auto with = [](auto change) {
    Histogram histogram;
    fill_integers(histogram, 1000);
    change(histogram);
    return refusal(histogram);
  };
  CHECK_THAT(with([](Histogram& h) { h.set_schema(9); }), Catch::Contains("schema 9 is not known"));
  CHECK_THAT(with([](Histogram& h) { h.set_schema(-5); }), Catch::Contains("schema"));
  CHECK_THAT(with([](Histogram& h) { h.add_positive_deltas(1); }),
             Catch::Contains("spans name 4 buckets, and 5 are there"));
  CHECK_THAT(with([](Histogram& h) { h.set_positive_deltas(1, -5); }), Catch::Contains("negative"));
  CHECK_THAT(with([](Histogram& h) { h.add_positive_counts(1); }),
             Catch::Contains("integer and float"));
  CHECK_THAT(with([](Histogram& h) { h.set_count_int(6); }), Catch::Contains("count"));
  CHECK_THAT(with([](Histogram& h) { h.mutable_positive_spans(0)->set_offset(2'147'483'647); }),
             Catch::Contains("32 bits"));
  CHECK_THAT(with([](Histogram& h) { h.mutable_positive_spans(0)->set_length(4'000'000'000u); }),
             Catch::Contains("spans"));
  CHECK_THAT(with([](Histogram& h) { h.set_timestamp(std::numeric_limits<std::int64_t>::max()); }),
             Catch::Contains("timestamp"));
  CHECK_THAT(with([](Histogram& h) { h.set_zero_threshold(-1); }), Catch::Contains("threshold"));
  CHECK_THAT(with([](Histogram& h) {
               for (int i = 0; i < 20'001; ++i) h.add_positive_deltas(0);
             }),
             Catch::Contains("more than 20000"));
  const auto custom = [](auto change) {
    Histogram histogram;
    histogram.set_schema(-53);
    histogram.set_count_int(1);
    histogram.add_custom_values(1);
    histogram.add_positive_spans()->set_length(1);
    histogram.add_positive_deltas(1);
    change(histogram);
    return refusal(histogram);
  };
  CHECK_THAT(custom([](Histogram& h) { h.add_custom_values(1); }), Catch::Contains("ascend"));
  CHECK_THAT(custom([](Histogram& h) { h.mutable_positive_spans(0)->set_offset(2); }),
             Catch::Contains("bucket 2 of 2"));
  CHECK_THAT(custom([](Histogram& h) { h.set_zero_count_int(1); }), Catch::Contains("zero bucket"));
  CHECK_THAT(custom([](Histogram& h) { h.set_count_int(0); }), Catch::Contains("less than"));

  // A good one beside it, in the same series and in another.
  WriteRequest request;
  auto& series = add_series(request, usual);
  fill_integers(*series.add_histograms(), 1000);
  series.mutable_histograms(0)->set_schema(99);
  fill_integers(*series.add_histograms(), 2000);
  add_sample(add_series(request, {{"__name__", "up"}, {"job", "j"}}), 1000, 1);
  const auto decoded = decode::remote_write(body_of(request));
  REQUIRE(decoded);
  CHECK(decoded->rejected_count == 1);
  CHECK(decoded->histograms.size() == 1);
  CHECK(decoded->histograms_sent == 2);
  CHECK(decoded->batch.points.back().value == 1);
  CHECK(decode::show_label_fields(decoded->batch.series.back().labels) ==
        R"({__name__="up",job="j"})");
}

TEST_CASE("random native histograms count at each boundary what lies at or below it") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<int>(random() % n); };
  for (int round = 0; round < 300; ++round) {
    Histogram histogram;
    const int schema = below(13) - 4;
    const bool floats = below(2) == 0;
    histogram.set_schema(schema);
    histogram.set_timestamp(1000);
    const double factor = std::exp2(std::exp2(-schema));
    // The upper end of each bucket, and how many are in it; of both signs.
    std::vector<std::pair<double, double>> buckets;
    double total = 0;
    for (const bool positive : {true, false}) {
      std::int64_t index = below(40) - 20, before = 0;
      for (int s = below(4); s > 0; --s) {
        auto& span = *(positive ? histogram.add_positive_spans() : histogram.add_negative_spans());
        const bool first =
            (positive ? histogram.positive_spans_size() : histogram.negative_spans_size()) == 1;
        const int gap = first ? static_cast<int>(index) : below(6);
        if (!first) index += gap;
        span.set_offset(gap);
        const int length = 1 + below(5);
        span.set_length(static_cast<std::uint32_t>(length));
        for (int k = 0; k < length; ++k, ++index) {
          const std::int64_t count = below(100);
          if (floats) {
            (positive ? histogram.mutable_positive_counts() : histogram.mutable_negative_counts())
                ->Add(static_cast<double>(count) / 4);
          } else {
            (positive ? histogram.mutable_positive_deltas() : histogram.mutable_negative_deltas())
                ->Add(count - before);
          }
          before = count;
          const double n = floats ? static_cast<double>(count) / 4 : static_cast<double>(count);
          total += n;
          const double end = std::pow(factor, static_cast<double>(positive ? index : index - 1));
          buckets.emplace_back(positive ? end : -end, n);
        }
      }
    }
    const int zero = below(5);
    total += zero;
    buckets.emplace_back(1e-200, zero);
    histogram.set_zero_threshold(1e-200);
    if (floats) {
      histogram.set_count_float(total);
      histogram.set_zero_count_float(zero);
    } else {
      histogram.set_count_int(static_cast<std::uint64_t>(total));
      histogram.set_zero_count_int(static_cast<std::uint64_t>(zero));
    }

    // The oracle reads the bytes back, so that both start from the same.
    Histogram read_back;
    REQUIRE(read_back.ParseFromString(histogram.SerializeAsString()));
    const Decoded decoded = read(read_back);
    REQUIRE(decoded.histograms.size() == 1);
    const auto got = values(decoded);
    CHECK(got.at(R"(latency_count{job="j",zone="a"})") == total);
    std::size_t boundaries = 0;
    for (const auto& [metric, value] : got) {
      const std::size_t from = metric.find("le=\"");
      if (from == metric.npos) continue;
      ++boundaries;
      const std::string le = metric.substr(from + 4, metric.find('"', from + 4) - from - 4);
      const double end = le == "+Inf" ? HUGE_VAL : std::stod(le);
      double expected = 0;
      // A boundary is computed here as a power and there as a product: equal to a few units in the last place.
      for (const auto& [upper, n] : buckets)
        if (upper <= end + std::abs(end) * 1e-9) expected += n;
      CHECK(value == Approx(expected));
    }
    CHECK(boundaries <= decode::classic_buckets_max);
  }
}
