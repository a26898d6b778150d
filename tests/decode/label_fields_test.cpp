#include "collector/decode/label_fields.hpp"

#include <catch2/catch.hpp>

namespace muster::decode {
namespace {

std::string_view view(const std::vector<char>& bytes) { return {bytes.data(), bytes.size()}; }

TEST_CASE("a label field is what protobuf makes of it") {
  std::vector<char> bytes;
  append_label_field(bytes, "job", "a");
  // By hand: field 1 of 8 bytes; in it field 1 of 3 bytes, field 2 of 1 byte.
  CHECK(view(bytes) == std::string_view("\x0a\x08\x0a\x03job\x12\x01" "a", 10));

  // Values of 128 bytes and more take two bytes of length.
  const std::string value(200, 'v');
  bytes.clear();
  append_label_field(bytes, "model", "m");
  append_label_field(bytes, "long", value);
  const auto identity = label_fields_identity(view(bytes), {});
  REQUIRE(identity);
  CHECK(identity->model == "m");
  CHECK(identity->metric == "{long=\"" + value + "\"}");
}

TEST_CASE("a batch is written series by series, and a series without points is left out") {
  LabelFieldsWriter writer;
  writer.begin(1, 5'000);
  writer.label("__name__", "requests_total");
  writer.label("model", "m");
  writer.point({from_millis(10'000), 1});
  writer.point({from_millis(20'000), 2});
  writer.begin(2);
  writer.label("__name__", "empty");
  writer.begin(3);
  writer.label("__name__", "dropped");
  writer.point({from_millis(10'000), 4});
  writer.drop();
  writer.begin(4);
  writer.label("__name__", "psi");
  writer.point({from_millis(10'000), 3});
  const SampleBatch batch = writer.finish();

  REQUIRE(batch.series.size() == 2);
  CHECK(batch.series[0].line == 1);
  CHECK(batch.series[0].start_ms == 5'000);
  CHECK(batch.series[0].count == 2);
  CHECK(batch.series[1].line == 4);
  CHECK(batch.series[1].first == 2);
  CHECK(batch.series[1].alias == alias_of(batch.series[1].labels));
  CHECK(batch.series[0].alias != batch.series[1].alias);
  REQUIRE(batch.points.size() == 3);
  CHECK(batch.points[2].value == 3);
  const auto identity = batch.identify(batch.series[1].labels, {});
  REQUIRE(identity);
  CHECK(identity->metric == "psi");
  CHECK(writer.series() == 0);
}

TEST_CASE("what a protocol knows of a series decides its kind and stays out of its name") {
  std::vector<char> bytes;
  append_label_field(bytes, "__name__", "queue_length");
  append_label_field(bytes, temporality_label, "delta");
  append_label_field(bytes, type_label, "counter");
  append_label_field(bytes, unit_label, "bytes");
  const auto identity = label_fields_identity(view(bytes), {});
  REQUIRE(identity);
  CHECK(identity->metric == "queue_length");
  CHECK(identity->kind == Kind::delta);
  CHECK(identity->unit == Unit::bytes);
}

}  // namespace
}  // namespace muster::decode
