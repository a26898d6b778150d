#include "collector/decode/remote_write_2.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <limits>
#include <random>

#include "collector/decode/label_fields.hpp"
#include "collector/decode/remote_write.hpp"
#include "collector/decode/text.hpp"
#include "tests/decode/requests.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::test;
using decode::Decoded;
using decode::remote_write_2;

namespace {

std::uint64_t bits(double value) {
  return std::bit_cast<std::uint64_t>(value);
}

const LabelList usual = {{"__name__", "drift"}, {"job", "j"}, {"model", "ranker"}};

// The alias that remote write 1.0 gives these labels.
std::uint64_t alias_in_1(const LabelList& labels) {
  muster_oracle::WriteRequest request;
  add_sample(add_series(request, labels), 1000, 1);
  const auto decoded = decode::remote_write(body_of(request));
  REQUIRE(decoded);
  return decoded->batch.series.at(0).alias;
}

}  // namespace

TEST_CASE("2.0: a request gives each series its points, bit by bit, and the alias it has in 1.0") {
  const LabelList long_labels = {{"__name__", "drift"},
                                 {"model", std::string(100, 'm')},
                                 {std::string(150, 'n'), std::string(2000, 'v')}};
  Request2 request;
  auto& one = request.add(usual);
  add_sample(one, 1'700'000'000'123, 0.25);
  add_sample(one, 1'700'000'015'123, std::numeric_limits<double>::infinity());
  auto& two = request.add(long_labels);
  add_sample(two, -5, std::bit_cast<double>(stale_bits));
  request.message.set_unknown_number(7);
  two.set_unknown_text("later versions know more");

  const auto decoded = remote_write_2(request.body());
  REQUIRE(decoded);
  const SampleBatch& batch = decoded->batch;
  REQUIRE(batch.series.size() == 2);
  REQUIRE(batch.points.size() == 3);
  CHECK(decoded->samples_sent == 3);
  CHECK(batch.points[0].ts.us == 1'700'000'000'123'000);
  CHECK(batch.points[0].value == 0.25);
  CHECK(batch.points[1].value == std::numeric_limits<double>::infinity());
  CHECK(is_stale(batch.points[2].value));
  CHECK(batch.series[0].alias == alias_in_1(usual));
  CHECK(batch.series[1].alias == alias_in_1(long_labels));
  const auto identity = batch.identify(batch.series[0].labels, Mapping());
  REQUIRE(identity);
  CHECK(identity->model == "ranker");
  CHECK(identity->metric == R"(drift{job="j"})");
}

TEST_CASE("2.0: what metadata says of type and unit reaches the series, and not its alias") {
  Request2 request;
  auto& series = request.add(usual);
  add_sample(series, 1000, 1);
  auto& metadata = *series.mutable_metadata();
  metadata.set_type(1);
  metadata.set_unit_ref(request.symbol("seconds"));
  metadata.set_help_ref(request.symbol("how far"));
  // A second one of the family says nothing new, and one without type nothing at all.
  auto& again = request.add({{"__name__", "drift"}, {"model", "other"}});
  add_sample(again, 1000, 1);
  *again.mutable_metadata() = metadata;
  auto& silent = request.add({{"__name__", "silent"}});
  add_sample(silent, 1000, 1);
  silent.mutable_metadata();
  // Prometheus can send both as labels: then they are not said twice.
  auto& labelled = request.add({{"__name__", "both"}, {"__type__", "gauge"}, {"model", "m"}});
  add_sample(labelled, 1000, 1);
  labelled.mutable_metadata()->set_type(2);

  const auto decoded = remote_write_2(request.body());
  REQUIRE(decoded);
  const SampleBatch& batch = decoded->batch;
  CHECK(batch.series[0].alias == alias_in_1(usual));
  const auto identity = batch.identify(batch.series[0].labels, Mapping());
  REQUIRE(identity);
  CHECK(identity->kind == Kind::counter);  // by its name a gauge
  CHECK(identity->unit == Unit::seconds);
  CHECK(identity->metric == R"(drift{job="j"})");
  CHECK(batch.identify(batch.series[3].labels, Mapping()));
  REQUIRE(decoded->families.size() == 2);
  CHECK(decoded->families[0].name == "drift");
  CHECK(decoded->families[0].type == "counter");
  CHECK(decoded->families[0].unit == "seconds");
  CHECK(decoded->families[0].help == "how far");
  CHECK(decoded->families[1].name == "both");
}

TEST_CASE("2.0: a start belongs to the samples that name it") {
  Request2 request;
  auto& series = request.add(usual);
  add_sample(series, 2000, 1, 500);
  add_sample(series, 3000, 2, 500);
  add_sample(series, 4000, 1, 3500);  // it was reset
  auto& draft = request.add({{"__name__", "old"}});
  draft.set_created_timestamp(700);
  add_sample(draft, 2000, 1);
  const auto decoded = remote_write_2(request.body());
  REQUIRE(decoded);
  const auto& all = decoded->batch.series;
  REQUIRE(all.size() == 3);
  CHECK(all[0].start_ms == 500);
  CHECK(all[0].count == 2);
  CHECK(all[1].start_ms == 3500);
  CHECK(all[1].first == 2);
  CHECK(all[1].alias == all[0].alias);
  CHECK(all[1].labels == all[0].labels);
  CHECK(all[1].line == 0);
  CHECK(all[2].start_ms == 700);
}

TEST_CASE("2.0: a native histogram counts once, and exemplars are counted") {
  Request2 request;
  auto& series = request.add(usual);
  fill_integers(*series.add_histograms(), 1000);
  series.mutable_histograms(0)->set_start_timestamp(400);
  series.add_exemplars()->set_value(1);
  series.mutable_metadata()->set_type(3);
  const auto decoded = remote_write_2(request.body());
  REQUIRE(decoded);
  CHECK(decoded->histograms_sent == 1);
  CHECK(decoded->samples_sent == 0);
  CHECK(decoded->skipped.exemplars == 1);
  REQUIRE(decoded->histograms.size() == 1);
  CHECK(decoded->histograms[0].count == decoded->batch.points.size());
  const LabelList count = {{"__name__", "drift_count"}, {"job", "j"}, {"model", "ranker"}};
  CHECK(std::any_of(decoded->batch.series.begin(), decoded->batch.series.end(),
                    [alias = alias_in_1(count)](const RawSeries& s) { return s.alias == alias; }));
  for (const RawSeries& s : decoded->batch.series) CHECK(s.start_ms == 400);
}

TEST_CASE("2.0: references that point nowhere leave their series out, and no other") {
  Request2 request;
  add_sample(request.add(usual), 1000, 1);
  auto& nowhere = request.add(usual);
  nowhere.add_labels_refs(99);
  nowhere.add_labels_refs(0);
  add_sample(nowhere, 1000, 1);
  add_sample(nowhere, 2000, 1);
  auto& odd = request.add(usual);
  odd.add_labels_refs(1);
  add_sample(odd, 1000, 1);
  LabelList many;
  for (int i = 0; i < 65; ++i) many.emplace_back("l" + std::to_string(i), "v");
  add_sample(request.add(many), 1000, 1);
  auto& unit = request.add(usual);
  unit.mutable_metadata()->set_unit_ref(1000);
  add_sample(unit, 1000, 1);
  auto& time = request.add(usual);
  add_sample(time, std::numeric_limits<std::int64_t>::max(), 1);
  add_sample(time, 3000, 1);
  const auto decoded = remote_write_2(request.body());
  REQUIRE(decoded);
  CHECK(decoded->batch.series.size() == 2);
  CHECK(decoded->batch.points.size() == 2);
  CHECK(decoded->samples_sent == 8);
  CHECK(decoded->rejected_count == 6);
  REQUIRE(decoded->rejected.size() == 5);
  CHECK_THAT(decoded->rejected[0].what, Catch::Contains("reference 99 of 73 symbols"));
  CHECK(decoded->rejected[0].line == 1);
  CHECK_THAT(decoded->rejected[1].what, Catch::Contains("no pairs"));
  CHECK_THAT(decoded->rejected[2].what, Catch::Contains("labels: 65"));
  CHECK_THAT(decoded->rejected[3].what, Catch::Contains("metadata"));
  CHECK_THAT(decoded->rejected[4].what, Catch::Contains("timestamp"));
  CHECK(decoded->rejected[4].series == R"({__name__="drift",job="j",model="ranker"})");
}

TEST_CASE("2.0: bodies that are no such request, and those over a limit, are refused") {
  Request2 request;
  for (int i = 0; i < 5; ++i) {
    auto& series = request.add({{"__name__", "m" + std::to_string(i)}});
    add_sample(series, 1000, i);
    add_sample(series, 2000, i);
  }
  const std::string body = request.body();
  CHECK(remote_write_2(body, {.series_max = 5, .samples_max = 10}));
  CHECK_FALSE(remote_write_2(body, {.series_max = 4}));
  CHECK_FALSE(remote_write_2(body, {.samples_max = 9}));
  CHECK_FALSE(remote_write_2(body, {.symbols_max = 6}));
  CHECK(remote_write_2(body, {.symbols_max = 7}));
  CHECK_FALSE(remote_write_2(body, {.decoded_bytes_max = 20}));
  CHECK_FALSE(remote_write_2(body, {.built_bytes_max = 70}));  // 5 series of 16 bytes of labels
  CHECK_FALSE(remote_write_2({}));
  CHECK_FALSE(remote_write_2(std::string_view(body).substr(0, body.size() / 2)));
  CHECK_FALSE(remote_write_2(snapped("this is text, not a message")));

  Request2 no_empty;
  no_empty.message.clear_symbols();
  no_empty.message.add_symbols("x");
  const auto refused = remote_write_2(no_empty.body());
  REQUIRE_FALSE(refused);
  CHECK_THAT(refused.error().what, Catch::Contains("empty text"));
  CHECK(remote_write_2(snapped("")));  // nothing at all is well

  // Read as the other version each would be empty, and a 2xx a loss.
  muster_oracle::WriteRequest old;
  add_sample(add_series(old, usual), 1000, 1);
  const auto first = remote_write_2(body_of(old));
  REQUIRE_FALSE(first);
  CHECK(first.error().where == decode::wrong_version);
  const auto second = decode::remote_write(body);
  REQUIRE_FALSE(second);
  CHECK(second.error().where == decode::wrong_version);
}

TEST_CASE("2.0: a small request cannot make labels without end") {
  // 64 references to one long text in each series: 130 bytes there, 70,000 here.
  Request2 request;
  const LabelList labels(32, {std::string(250, 'n'), std::string(2000, 'v')});
  for (int i = 0; i < 2000; ++i) add_sample(request.add(labels), 1000, 1);
  const std::string body = request.body();
  CHECK(body.size() < 500'000);
  const auto decoded = remote_write_2(body);
  REQUIRE_FALSE(decoded);
  CHECK_THAT(decoded.error().what, Catch::Contains("labels"));
}

TEST_CASE("2.0: random requests are read as libprotobuf reads them, and as 1.0 reads the same") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  for (int round = 0; round < 300; ++round) {
    Request2 request;
    muster_oracle::WriteRequest same;
    for (auto s = below(20); s-- > 0;) {
      LabelList labels;
      for (auto n = below(6); n-- > 0;)
        labels.emplace_back("n" + std::to_string(below(9)),
                            std::string(1 + below(199), static_cast<char>('a' + below(26))));
      auto& series = request.add(labels);
      auto& series_1 = add_series(same, labels);
      for (auto n = below(5); n-- > 0;) {
        const auto millis = static_cast<std::int64_t>(random()) >> below(63);
        const auto value = std::bit_cast<double>(random());
        add_sample(series, millis, value, below(3) == 0 ? static_cast<std::int64_t>(below(3)) : 0);
        add_sample(series_1, millis, value);
      }
      for (auto n = below(3); n-- > 0;) series.add_exemplars()->set_timestamp(1);
      if (below(3) == 0) series.set_unknown_text("x");
      if (below(3) == 0) series.mutable_metadata()->set_type(static_cast<int>(below(9)));
      if (below(9) == 0) fill_integers(*series.add_histograms(), 1000);
    }
    // Protobuf allows the table behind what refers to it, and packed numbers to be written one by one.
    std::string bytes = request.message.SerializeAsString();
    if (below(2) == 0) {
      muster_oracle::v2::Request table = request.message;
      table.clear_timeseries();
      muster_oracle::v2::Request rest = request.message;
      rest.clear_symbols();
      bytes = rest.SerializeAsString() + table.SerializeAsString();
    }
    muster_oracle::v2::Request oracle;
    REQUIRE(oracle.ParseFromString(bytes));
    const auto decoded = remote_write_2(snapped(bytes));
    REQUIRE(decoded);
    const SampleBatch& batch = decoded->batch;
    const auto decoded_1 = decode::remote_write(body_of(same));
    REQUIRE(decoded_1);

    std::uint64_t samples = 0, histograms = 0, exemplars = 0;
    std::size_t at = 0;
    for (int s = 0; s < oracle.timeseries_size(); ++s) {
      const auto& theirs = oracle.timeseries(s);
      samples += static_cast<std::uint64_t>(theirs.samples_size());
      histograms += static_cast<std::uint64_t>(theirs.histograms_size());
      exemplars += static_cast<std::uint64_t>(theirs.exemplars_size());
      for (const auto& sample : theirs.samples()) {
        if (sample.timestamp() > millis_max || sample.timestamp() < -millis_max) continue;
        // The series of this point: the one whose range holds it.
        while (at < batch.series.size() && (batch.series[at].line < static_cast<std::uint32_t>(s) ||
                                            batch.series[at].count == 0))
          ++at;
        REQUIRE(at < batch.series.size());
        const RawSeries& ours = batch.series[at];
        REQUIRE(ours.line == static_cast<std::uint32_t>(s));
        REQUIRE(ours.start_ms == sample.start_timestamp());
        break;
      }
    }
    CHECK(decoded->samples_sent == samples);
    CHECK(decoded->histograms_sent == histograms);
    CHECK(decoded->skipped.exemplars == exemplars);

    // Without its histograms it is what 1.0 reads: the same points, aliases and labels in the same order.
    std::vector<std::pair<std::uint64_t, std::pair<std::int64_t, std::uint64_t>>> ours, theirs;
    std::vector<bool> of_histogram(batch.points.size());
    for (const auto& histogram : decoded->histograms)
      for (std::uint32_t k = 0; k < histogram.count; ++k) of_histogram[histogram.first + k] = true;
    for (const RawSeries& series : batch.series)
      for (std::uint32_t p = series.first; p < series.first + series.count; ++p)
        if (!of_histogram[p])
          ours.push_back({series.alias, {batch.points[p].ts.us, bits(batch.points[p].value)}});
    for (const RawSeries& series : decoded_1->batch.series)
      for (std::uint32_t p = series.first; p < series.first + series.count; ++p) {
        const Point& point = decoded_1->batch.points[p];
        theirs.push_back({series.alias, {point.ts.us, bits(point.value)}});
      }
    CHECK(ours == theirs);
    CHECK(decoded->rejected_count - decoded_1->rejected_count ==
          decoded->histograms_sent - decoded->histograms.size());
  }
}

namespace {

void check_promises(const Decoded& decoded) {
  std::size_t points = 0;
  for (const RawSeries& series : decoded.batch.series) {
    REQUIRE(series.first == points);
    points += series.count;
    REQUIRE(series.labels.data() >= decoded.batch.bytes.data());
    REQUIRE(series.labels.data() + series.labels.size() <=
            decoded.batch.bytes.data() + decoded.batch.bytes.size());
    if (const auto identity = decoded.batch.identify(series.labels, Mapping())) {
      REQUIRE(decode::is_storable(identity->model));
      REQUIRE(decode::is_storable(identity->metric));
    }
  }
  REQUIRE(points == decoded.batch.points.size());
  std::size_t before = 0;
  for (const Decoded::Histogram& histogram : decoded.histograms) {
    REQUIRE(histogram.first >= before);
    before = histogram.first + histogram.count;
    REQUIRE(before <= points);
  }
  REQUIRE(decoded.samples_sent + decoded.histograms_sent >=
          decoded.rejected_count + decoded.histograms.size());
}

}  // namespace

TEST_CASE("2.0: damaged requests are refused or read, and never read beyond their bytes") {
  Request2 request;
  for (int i = 0; i < 4; ++i) {
    auto& series = request.add({{"__name__", "metric_" + std::to_string(i)},
                                {"instance", "host:9100"},
                                {"model", "model-" + std::to_string(i % 3)}});
    add_sample(series, 1'700'000'000'000 + i, i * 0.5, i % 2);
    series.add_exemplars()->set_value(1);
    series.mutable_metadata()->set_type(i);
    if (i % 2 == 1) fill_integers(*series.add_histograms(), 1000);
  }
  const std::string plain = request.message.SerializeAsString();
  muster_oracle::WriteRequest first;
  fill_integers(*add_series(first, usual).add_histograms(), 1000);
  int read = 0;
  const auto damaged = fuzz::run(
      {.corpus = {plain, first.SerializeAsString()},
       .words = {std::string("\x0a\x02\x01\x02"), "\x22", "\x2a", "\x5a\x04", "\x62", "\x7f"}},
      [&](std::string_view bytes) {
        if (const auto decoded = remote_write_2(snapped(std::string(bytes)))) {
          ++read;
          check_promises(*decoded);
        }
        if (const auto decoded = decode::remote_write(snapped(std::string(bytes))))
          check_promises(*decoded);
      });
  INFO(damaged.summary);
  CHECK(damaged.failure.empty());
  CHECK(read > 100);  // a damage that always stops at the first check would test nothing
}
