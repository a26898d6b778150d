#include <catch2/catch.hpp>

#include "schema/mapping.hpp"

using namespace muster;

TEST_CASE("a label that names a model wins over job and instance, which stay in the metric") {
  const LabelView labels[] = {{"__name__", "latency_seconds"},
                              {"instance", "h1:80"},
                              {"job", "api"},
                              {"model", "ranker"},
                              {"region", "eu"},
                              {"version", "v7"}};
  const SeriesIdentity identity = Mapping().identify(labels);
  CHECK(identity.model == "ranker");
  CHECK(identity.metric == R"(latency_seconds{instance="h1:80",job="api"})");
  CHECK(identity.attributes == ModelAttributes{"v7", "eu", "", ""});
  CHECK(identity.kind == Kind::gauge);
}

TEST_CASE("of several labels that could name the model the first of the rule is taken") {
  const LabelView labels[] = {{"deployment", "d"}, {"model_id", "i"}, {"model_name", "n"}};
  CHECK(Mapping().identify(labels).model == "n");
  CHECK(Mapping().identify(labels).metric == R"({deployment="d",model_id="i"})");
}

TEST_CASE("without a model's name job and instance make one, or the one that is there") {
  const LabelView both[] = {{"__name__", "up"}, {"instance", "h:1"}, {"job", "node"}};
  CHECK(Mapping().identify(both).model == "node/h:1");
  CHECK(Mapping().identify(both).metric == "up");
  const LabelView job[] = {{"__name__", "up"}, {"job", "node"}};
  CHECK(Mapping().identify(job).model == "node");
  const LabelView instance[] = {{"__name__", "up"}, {"instance", "h:1"}};
  CHECK(Mapping().identify(instance).model == "h:1");
  const LabelView neither[] = {{"__name__", "up"}};
  CHECK(Mapping().identify(neither).model == "unknown");
  CHECK_THAT(Mapping().explain(neither), Catch::Contains("rule 3"));
  CHECK_THAT(Mapping().explain(job), Catch::Contains("rule 2"));
}

TEST_CASE("version is taken before model_version, and the one left stays in the metric") {
  const LabelView labels[] = {
      {"__name__", "m"}, {"model", "a"}, {"model_version", "2"}, {"version", "1"}};
  CHECK(Mapping().identify(labels).attributes.version == "1");
  CHECK(Mapping().identify(labels).metric == R"(m{model_version="2"})");
}

TEST_CASE("the end of a name says what its numbers are") {
  CHECK(kind_of("requests_total") == Kind::counter);
  CHECK(kind_of("latency_count") == Kind::counter);
  CHECK(kind_of("latency_sum") == Kind::counter);
  CHECK(kind_of("latency_bucket") == Kind::bucket);
  CHECK(kind_of("drift_score") == Kind::gauge);
  CHECK(kind_of("total") == Kind::gauge);
}

TEST_CASE("values in a metric are escaped, so that no two label sets fall together") {
  const LabelView one[] = {{"__name__", "m"}, {"a", "x\",b=\"y"}, {"job", "j"}};
  const LabelView two[] = {{"__name__", "m"}, {"a", "x"}, {"b", "y"}, {"job", "j"}};
  CHECK(Mapping().identify(one).metric == R"(m{a="x\",b=\"y"})");
  CHECK(Mapping().identify(one).metric != Mapping().identify(two).metric);
}
