#include <algorithm>
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
  CHECK(identity.kind == Kind::duration);
  CHECK(identity.unit == Unit::seconds);
  CHECK(identity.direction == Direction::up);
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
}

TEST_CASE("version is taken before model_version, and the one left stays in the metric") {
  const LabelView labels[] = {
      {"__name__", "m"}, {"model", "a"}, {"model_version", "2"}, {"version", "1"}};
  CHECK(Mapping().identify(labels).attributes.version == "1");
  CHECK(Mapping().identify(labels).metric == R"(m{model_version="2"})");
}

TEST_CASE("values in a metric are escaped, so that no two label sets fall together") {
  const LabelView one[] = {{"__name__", "m"}, {"a", "x\",b=\"y"}, {"job", "j"}};
  const LabelView two[] = {{"__name__", "m"}, {"a", "x"}, {"b", "y"}, {"job", "j"}};
  CHECK(Mapping().identify(one).metric == R"(m{a="x\",b=\"y"})");
  CHECK(Mapping().identify(one).metric != Mapping().identify(two).metric);
}

namespace {

// {name="value",…} as labels; the texts live as long as `matchers`.
struct Labelled {
  std::vector<Matcher> matchers;
  std::vector<LabelView> labels;
  explicit Labelled(const std::string& text) {
    auto parsed = parse_matchers(text, Grammar::utf8);
    REQUIRE(parsed);
    matchers = std::move(parsed->list);
    for (const Matcher& m : matchers) labels.push_back({m.name, m.value});
    std::sort(labels.begin(), labels.end(),
              [](const LabelView& a, const LabelView& b) { return a.name < b.name; });
  }
};

SeriesIdentity identified(const std::string& text, const Mapping& mapping = {}) {
  return mapping.identify(Labelled(text).labels);
}

MappingRule rule(const std::string& match) {
  MappingRule r;
  r.name = "mine";
  if (!match.empty()) r.match = parse_matchers(match, Grammar::utf8).value().list;
  return r;
}

Mapping with(std::vector<MappingRule> rules) { return Mapping::make(std::move(rules)).value(); }

}  // namespace

// Label sets as the servers named in the comments export them, by their documentation.
TEST_CASE("senders in the wild get a model, a version and a kind") {
  struct Row {
    const char* labels;
    const char* model;
    const char* version;
    const char* metric;
    Kind kind;
    Unit unit;
    Direction direction;
  };
  const Row row = GENERATE(values<Row>({
      // Triton: counters without an ending
      {R"({__name__="nv_inference_request_success",model="densenet",version="1",gpu_uuid="g"})", "densenet", "1",
       R"(nv_inference_request_success{gpu_uuid="g"})", Kind::counter, Unit::none, Direction::down},
      {R"({__name__="nv_inference_queue_duration_us",model="densenet",version="1"})", "densenet", "1",
       "nv_inference_queue_duration_us", Kind::counter, Unit::microseconds, Direction::up},
      {R"({__name__="nv_gpu_power_usage",instance="h:8002",job="triton"})", "triton/h:8002", "", "nv_gpu_power_usage",
       Kind::gauge, Unit::watts, Direction::both},
      // Seldon Core 1: the node's name alone is not unique
      {R"({__name__="seldon_api_executor_client_requests_seconds_bucket",deployment_name="iris",model_name="classifier",model_version="3",le="0.1"})",
       "iris/classifier", "3", R"(seldon_api_executor_client_requests_seconds_bucket{le="0.1"})", Kind::bucket,
       Unit::seconds, Direction::both},
      // Seldon Core 2
      {R"({__name__="seldon_model_infer_total",model="iris",server="mlserver"})", "iris", "",
       R"(seldon_model_infer_total{server="mlserver"})", Kind::counter, Unit::none, Direction::both},
      // KServe
      {R"({__name__="request_predict_seconds_sum",model_name="churn",pod="p-1"})", "churn", "",
       R"(request_predict_seconds_sum{pod="p-1"})", Kind::counter, Unit::seconds, Direction::both},
      {R"({__name__="revision_app_request_count",configuration_name="churn-predictor",revision_name="churn-predictor-00007"})",
       "churn-predictor", "churn-predictor-00007", "revision_app_request_count", Kind::counter, Unit::none,
       Direction::both},
      {R"({__name__="container_memory_bytes",serving_kserve_io_inferenceservice="churn",pod="p"})", "churn", "",
       R"(container_memory_bytes{pod="p"})", Kind::gauge, Unit::bytes, Direction::both},
      // TorchServe
      {R"({__name__="ts_inference_latency_microseconds",model_name="resnet",model_version="2.0",hostname="h"})",
       "resnet", "2.0", R"(ts_inference_latency_microseconds{hostname="h"})", Kind::counter, Unit::microseconds,
       Direction::up},
      // TensorFlow Serving
      {R"({__name__=":tensorflow:serving:request_count",model_name="m",status="OK"})", "m", "",
       R"(:tensorflow:serving:request_count{status="OK"})", Kind::counter, Unit::none, Direction::both},
      // vLLM
      {R"({__name__="vllm:num_requests_waiting",engine="0",model_name="llama"})", "llama", "",
       R"(vllm:num_requests_waiting{engine="0"})", Kind::gauge, Unit::none, Direction::up},
      {R"({__name__="vllm:prompt_tokens_total",model_name="llama"})", "llama", "", "vllm:prompt_tokens_total",
       Kind::counter, Unit::none, Direction::both},
      // BentoML
      {R"({__name__="bentoml_service_request_duration_seconds_count",service_name="fraud",service_version="a1",endpoint="/predict"})",
       "fraud", "a1", R"(bentoml_service_request_duration_seconds_count{endpoint="/predict"})", Kind::counter,
       Unit::none, Direction::both},
      // MLflow's registry, as exporters label it
      {R"({__name__="null_rate",registered_model_name="churn",model_version="12"})", "churn", "12", "null_rate",
       Kind::gauge, Unit::none, Direction::up},
      // OpenTelemetry, resource attributes as labels, type and unit as the protocol says them
      {R"({__name__="gen_ai_client_token_usage",gen_ai_request_model="gpt",deployment_environment="prod",__type__="counter"})",
       "gpt", "", "gen_ai_client_token_usage", Kind::counter, Unit::none, Direction::both},
      {R"({__name__="queue_length",service_name="ranker",service_version="9",__type__="gauge",__unit__="By"})", "ranker",
       "9", "queue_length", Kind::gauge, Unit::bytes, Direction::up},
      // Kubernetes
      {R"({__name__="auc",app_kubernetes_io_name="ranker",app_kubernetes_io_version="v2"})", "ranker", "v2", "auc",
       Kind::gauge, Unit::none, Direction::down},
  }));
  const SeriesIdentity got = identified(row.labels);
  INFO(row.labels);
  CHECK(got.model == row.model);
  CHECK(got.attributes.version == row.version);
  CHECK(got.metric == row.metric);
  CHECK(to_word(got.kind) == to_word(row.kind));
  CHECK(to_word(got.unit) == to_word(row.unit));
  CHECK(to_word(got.direction) == to_word(row.direction));
}

TEST_CASE("what a protocol knows goes before what a name looks like") {
  CHECK(identified(R"({__name__="a_total",__type__="gauge"})").kind == Kind::gauge);
  CHECK(identified(R"({__name__="a",__type__="counter"})").kind == Kind::counter);
  CHECK(identified(R"({__name__="a",__type__="counter",__temporality__="delta"})").kind == Kind::delta);
  CHECK(identified(R"({__name__="a_bucket",le="1",__type__="histogram",__temporality__="delta"})").kind ==
        Kind::delta_bucket);
  CHECK(identified(R"({__name__="a_bucket",le="1",__type__="gaugehistogram"})").kind == Kind::gauge);
  CHECK(identified(R"({__name__="a_ratio",__type__="gauge"})").kind == Kind::ratio);
  CHECK(identified(R"({__name__="a_bucket"})").kind == Kind::gauge);  // without le it is none
  CHECK(identified(R"({__name__="a_seconds",__unit__="milliseconds"})").unit == Unit::milliseconds);
  CHECK(identified(R"({__name__="a",job="j",__type__="gauge",__unit__="{request}"})").metric == "a");
}

TEST_CASE("where harm lies follows the words of a name, not pieces of words") {
  CHECK(identified(R"({__name__="request_errors_total"})").direction == Direction::up);
  CHECK(identified(R"({__name__="psi_drift"})").direction == Direction::up);
  CHECK(identified(R"({__name__="page_views"})").direction == Direction::both);  // not "age"
  CHECK(identified(R"({__name__="feature_age_seconds"})").direction == Direction::up);
  CHECK(identified(R"({__name__="freshness_score"})").direction == Direction::down);
  CHECK(identified(R"({__name__="feed_freshness_seconds"})").direction == Direction::up);
  CHECK(identified(R"({__name__="rows"})").direction == Direction::down);
  CHECK(identified(R"({__name__="latency_seconds_count"})").direction == Direction::both);
  CHECK(identified(R"({__name__="temperature_celsius"})").direction == Direction::both);
}

TEST_CASE("a user's rule goes first, field by field") {
  MappingRule mine = rule(R"({job="api",__name__=~"rq_.*"})");
  mine.model = "${namespace}/${model|app}";
  mine.kind = Kind::counter;
  mine.unit = "ms";
  mine.uses = {{"source", "${src}"}};
  mine.drop_labels = {"src", "pod"};
  const Mapping mapping = with({mine});
  const SeriesIdentity got = identified(
      R"({__name__="rq_errors",job="api",namespace="n",app="a",src="crm",pod="p",zone="z",version="2"})", mapping);
  CHECK(got.model == "n/a");
  CHECK(got.metric == R"(rq_errors{job="api",zone="z"})");
  CHECK(got.kind == Kind::counter);
  CHECK(got.unit == Unit::milliseconds);
  CHECK(got.direction == Direction::up);       // of the built-in rules
  CHECK(got.attributes.version == "2");        // the same
  CHECK(got.uses == std::vector<Use>{{"crm", "source"}});
  // A label of the template is missing: the rule says nothing of the model.
  CHECK(identified(R"({__name__="rq_x",job="api",instance="i"})", mapping).model == "api/i");
  // The rule's matchers do not hold.
  CHECK(identified(R"({__name__="other",job="api",namespace="n",app="a"})", mapping).model == "api");
}

TEST_CASE("labels that name a dependency are edges, and stay in the metric") {
  const SeriesIdentity got =
      identified(R"({__name__="m",model="a",source="src-crm",feature_pipeline="fp-user"})");
  CHECK(got.uses == std::vector<Use>{{"src-crm", "source"}, {"fp-user", "feature_pipeline"}});
  CHECK(got.metric == R"(m{feature_pipeline="fp-user",source="src-crm"})");
}

TEST_CASE("of two rules that match the first wins, and ignore can be taken back") {
  MappingRule keep = rule(R"({__name__="up"})");
  keep.ignore = false;
  MappingRule drop = rule(R"({job="node"})");
  drop.ignore = true;
  const Mapping mapping = with({keep, drop});
  CHECK(identified(R"({__name__="load1",job="node"})", mapping).ignored);
  CHECK_FALSE(identified(R"({__name__="up",job="node"})", mapping).ignored);
  CHECK_FALSE(identified(R"({__name__="load1",job="api"})", mapping).ignored);
}

TEST_CASE("negated and plain conditions are asked as Prometheus means them") {
  MappingRule mine = rule(R"({a!="1",b=~"x|y",c!~"z.*",d=""})");
  mine.model = "hit";
  const Mapping mapping = with({mine});
  CHECK(identified(R"({a="2",b="y"})", mapping).model == "hit");
  CHECK(identified(R"({b="x",c="q"})", mapping).model == "hit");
  CHECK(identified(R"({a="1",b="x"})", mapping).model != "hit");
  CHECK(identified(R"({b="xx"})", mapping).model != "hit");  // anchored
  CHECK(identified(R"({b="x",c="zz"})", mapping).model != "hit");
  CHECK(identified(R"({b="x",d="1"})", mapping).model != "hit");
}

TEST_CASE("an explanation names the rule of each field") {
  MappingRule mine = rule(R"({job="api"})");
  mine.model = "${app}";
  const Mapping mapping = with({mine});
  const Labelled labels(R"({__name__="x_total",app="a",job="api"})");
  const Mapping::Explained got = mapping.explain(labels.labels);
  CHECK(got.identity.model == "a");
  const auto of = [&](const std::string& field) -> const Mapping::Because& {
    for (const auto& b : got.because)
      if (b.field == field) return b;
    FAIL("no " << field);
    return got.because.front();
  };
  CHECK(of("model").rule == 0);
  CHECK(of("model").why == R"(matches {job="api"}, and label "app" says it)");
  CHECK(mapping.rules()[of("kind").rule].name == "counter by its ending");
  CHECK(of("metric").why == R"(label "__name__" says it)");
}

TEST_CASE("rules that cannot be meant are refused by name and field") {
  const auto fault = [](auto change) {
    MappingRule r = rule("");
    change(r);
    const auto made = Mapping::make({r});
    REQUIRE_FALSE(made);
    return made.error().where + ": " + made.error().what;
  };
  using Catch::Contains;
  CHECK_THAT(fault([](MappingRule& r) { r.model = "$model"; }), Contains("rule 1 (mine): model: a $ begins ${LABEL}"));
  CHECK_THAT(fault([](MappingRule& r) { r.team = "${}"; }), Contains("rule 1 (mine): team: names an empty label"));
  CHECK_THAT(fault([](MappingRule& r) { r.unit = "furlongs"; }), Contains("'furlongs' is no unit"));
  CHECK_THAT(fault([](MappingRule& r) { r.model = "${a}${b}${c}${d}${e}${f}${g}${h}${i}"; }), Contains("more than 8"));
  CHECK_FALSE(Mapping::make(std::vector<MappingRule>(201)));
  std::vector<MappingRule> wide(200);
  for (int i = 0; i < 200; ++i) wide[i].model = "${a" + std::to_string(i) + "|b" + std::to_string(i) + "}";
  CHECK_THAT(Mapping::make(wide).error().what, Contains("254 labels"));
  MappingRule dollar = rule("");
  dollar.model = "$$${a}";
  CHECK(identified(R"({a="1"})", with({dollar})).model == "$1");
}
