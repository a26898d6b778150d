#include "app/mapping_preview.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::app;
namespace json = boost::json;

namespace {

json::array previewed(std::string_view body, const Mapping& mapping = {}) {
  const auto answer = preview_mapping(body, mapping);
  INFO((answer ? "" : answer.error().what));
  REQUIRE(answer);
  return json::parse(*answer).at("series").as_array();
}

std::string because(const json::value& series, std::string_view field) {
  for (const json::value& b : series.at("because").as_array())
    if (b.at("field").as_string() == field) return std::string(b.at("name").as_string());
  return {};
}

}  // namespace

TEST_CASE("a preview takes selectors, objects and rules to try") {
  const auto series = previewed(R"j({"series":["x_total{job=\"api\",app=\"a\"}",
      {"labels":{"__name__":"y_seconds","model":"m","source":"crm"}}, {"__name__":"z","job":"api","app":"b"}, 7],
      "mapping":{"rules":[{"name":"mine","match":"{job=\"api\"}","model":"${app}","direction":"down"}]}})j");
  REQUIRE(series.size() == 4);
  CHECK(series[0].at("model").as_string() == "a");
  CHECK(series[0].at("metric").as_string() == R"(x_total{job="api"})");
  CHECK(series[0].at("kind").as_string() == "counter");
  CHECK(series[0].at("direction").as_string() == "down");
  CHECK(because(series[0], "model") == "mine");
  CHECK(because(series[0], "kind") == "counter by its ending");
  CHECK(series[1].at("model").as_string() == "m");
  CHECK(series[1].at("unit").as_string() == "seconds");
  CHECK(series[1].at("uses").as_array().at(0).at("dependency").as_string() == "crm");
  CHECK(series[2].at("model").as_string() == "b");
  CHECK(series[3].at("error").at("what").as_string().find("object of labels") != std::string::npos);
}

TEST_CASE("a preview reads a pasted exposition with its types and units") {
  const auto series = previewed(
      "# HELP rq of a server\n# TYPE rq counter\nrq{model=\"a}\\\"b\",pod=\"p\"} 17 1700000000\n\n"
      "# TYPE lat histogram\n# UNIT lat seconds\nlat_bucket{model=\"m\",le=\"0.1\"} 4\nlat_sum{model=\"m\"} 3\n"
      "plain 1\n");
  REQUIRE(series.size() == 4);
  CHECK(series[0].at("model").as_string() == "a}\"b");
  CHECK(series[0].at("kind").as_string() == "counter");
  CHECK(because(series[0], "kind") == "said to be a counter");
  CHECK(series[1].at("kind").as_string() == "bucket");
  CHECK(series[1].at("unit").as_string() == "seconds");
  CHECK(series[2].at("kind").as_string() == "counter");
  CHECK(series[3].at("model").as_string() == "unknown");
}

TEST_CASE("a preview refuses label sets as the collector would, one by one") {
  const auto series = previewed(R"j(["up{a=\"\"}", "up{a=\"1\",a=\"2\"}", "up{a=~\"x\"}", "up{"])j");
  REQUIRE(series.size() == 4);
  for (const json::value& one : series) CHECK(one.as_object().contains("error"));
  CHECK(series[1].at("error").at("what").as_string() == R"(label "a" is repeated)");
  CHECK_FALSE(preview_mapping("", {}));
  CHECK_FALSE(preview_mapping(R"({"mapping":[]})", {}));
  CHECK_FALSE(preview_mapping(R"({"series":[],"mapping":{"rules":[{"modell":"x"}]}})", {}));
}

TEST_CASE("an explanation is a field a line with its rule") {
  const auto text = explain_mapping(R"(rq_total{job="api",instance="h:1"})", {});
  REQUIRE(text);
  CHECK(text->find("model        api/h:1\n             because of rule ") != std::string::npos);
  CHECK(text->find("(job and instance): labels \"job\", \"instance\" say it") != std::string::npos);
  CHECK(text->find("kind         counter\n") != std::string::npos);
}
