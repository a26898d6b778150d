#include "collector/metadata.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch.hpp>

#include "collector/decode/label_fields.hpp"

using namespace muster;
using collector::Metadata;
namespace asio = boost::asio;

namespace {

http::Response get(const std::shared_ptr<Metadata>& metadata, std::string query) {
  http::Request request;
  request.query = std::move(query);
  asio::io_context io;
  auto answer =
      asio::co_spawn(io, collector::get_metadata(metadata)(std::move(request)), asio::use_future);
  io.run();
  return answer.get();
}

}  // namespace

TEST_CASE("metadata answers in the form of Prometheus") {
  const auto metadata = std::make_shared<Metadata>();
  CHECK(get(metadata, "").body == R"({"status":"success","data":{}})");
  metadata->add("up", "gauge", "", "Whether it answers\n\"ok\"");
  metadata->add("b_seconds", "histogram", "seconds", "b");
  metadata->add("b_seconds", "summary", "seconds", "b");
  metadata->add("b_seconds", "summary", "seconds", "b");
  // The form as documented by Prometheus for /api/v1/metadata.
  CHECK(get(metadata, "").body ==
        R"({"status":"success","data":{)"
        R"("b_seconds":[{"type":"histogram","help":"b","unit":"seconds"},)"
        R"({"type":"summary","help":"b","unit":"seconds"}],)"
        R"("up":[{"type":"gauge","help":"Whether it answers\n\"ok\"","unit":""}]}})");
  CHECK(get(metadata, "metric=up").body.find("b_seconds") == std::string::npos);
  CHECK(get(metadata, "metric=nothing").body == R"({"status":"success","data":{}})");
  CHECK(get(metadata, "limit=1").body.find("\"up\"") == std::string::npos);
  CHECK(get(metadata, "limit=-1").body == get(metadata, "").body);
  CHECK(get(metadata, "limit_per_metric=1").body.find("summary") == std::string::npos);
  const http::Response wrong = get(metadata, "limit=many");
  CHECK(wrong.status == 400);
  CHECK(wrong.body ==
        R"({"status":"error","errorType":"bad_data","error":"limit must be a number"})");
}

TEST_CASE("metadata keeps its bounds, and says what it left out") {
  Metadata metadata({.families_max = 2, .variants_max = 2, .text_bytes_max = 5});
  metadata.add("a", "gauge", "", "1");
  metadata.add("a", "gauge", "", "2");
  metadata.add("a", "gauge", "", "12345\xc3\xa4");  // cut before the character that does not fit
  metadata.add("b", "gauge", "", "123456789");
  metadata.add("c", "gauge", "", "");
  metadata.add("b", "counter", "", "\xff");
  metadata.add(std::string(257, 'n'), "gauge", "", "");
  CHECK(metadata.families() == 2);
  CHECK(metadata.left_out() == 3);
  std::string text;
  metadata.each([&](const std::string& family, const std::vector<Metadata::Entry>& entries) {
    for (const auto& entry : entries) text += family + ' ' + entry.type + ' ' + entry.help + ';';
    return true;
  });
  CHECK(text == "a gauge 2;a gauge 12345;b gauge 12345;");
}

TEST_CASE("the metrics of a family are known by its type") {
  Metadata metadata;
  metadata.add("h", "histogram", "seconds", "");
  metadata.add("s", "summary", "bytes", "");
  metadata.add("c", "counter", "", "");
  metadata.add("g", "gauge", "", "");
  metadata.add("g_count", "gauge", "", "");
  const auto type = [&](std::string_view name) {
    const auto facts = metadata.facts(name);
    return facts ? facts->type : "none";
  };
  CHECK(type("h_bucket") == "histogram");
  CHECK(type("h_count") == "histogram");
  CHECK(type("h_sum") == "histogram");
  CHECK(type("s") == "summary");
  CHECK(type("s_sum") == "summary");
  CHECK(type("s_bucket") == "none");
  CHECK(type("c_total") == "counter");
  CHECK(type("c_created") == "none");  // a time
  CHECK(type("g_count") == "gauge");   // a family of its own
  CHECK(type("g_sum") == "none");
  CHECK(metadata.facts("h_bucket")->unit == "seconds");
  // Said anew, as a target was replaced by another version.
  metadata.add("g", "counter", "", "");
  CHECK(type("g") == "counter");
}

TEST_CASE("a series takes its kind and unit from what was said of its family before") {
  Metadata metadata;
  metadata.add("requests", "counter", "", "");
  metadata.add("age_total", "gauge", "seconds", "");
  Mapping mapping;
  mapping.facts = [&](std::string_view name) { return metadata.facts(name); };
  const auto identity = [&](std::string_view name, std::string_view type = {}) {
    std::vector<char> fields;
    decode::append_label_field(fields, "__name__", name);
    if (!type.empty()) decode::append_label_field(fields, decode::type_label, type);
    decode::append_label_field(fields, "job", "j");
    return *decode::label_fields_identity({fields.data(), fields.size()}, mapping);
  };
  CHECK(identity("requests").kind == Kind::counter);
  CHECK(identity("requests").metric == "requests");
  CHECK(identity("age_total").kind == Kind::gauge);
  CHECK(identity("age_total").unit == Unit::seconds);
  CHECK(identity("other_total").kind == Kind::counter);      // by its name's end
  CHECK(identity("requests", "gauge").kind == Kind::gauge);  // what comes with it counts more
  mapping.facts = nullptr;
  CHECK(identity("requests").kind == Kind::gauge);
}
