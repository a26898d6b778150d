#include <array>
#include <cassert>
#include <string>

#include "schema/mapping.hpp"

// What label sets look like in the wild, as rules. Each one is a fact about a sender or a habit of naming, and
// has a test. First come senders that need a word of their own, then labels by name, then the ends and the words
// of metric names.
namespace muster {
namespace {

struct Row {
  const char* name;
  const char* match;
  const char* field;
  const char* says;
};

constexpr std::array rows{
    // -- whose it is --
    // Seldon Core 1: model_name is a node of the deployment's graph, unique only inside it.
    Row{"seldon", R"re({__name__=~"seldon_.*"})re", "model", "${deployment_name}/${model_name}"},
    Row{"seldon", R"re({__name__=~"seldon_.*"})re", "version", "${model_version|predictor_version}"},
    // BentoML calls a packed model a service; TorchServe, Triton, vLLM and TensorFlow Serving say model or model_name.
    Row{"bentoml", R"re({__name__=~"bentoml_.*"})re", "model", "${service_name}"},
    Row{"bentoml", R"re({__name__=~"bentoml_.*"})re", "version", "${service_version}"},
    // KServe on Knative: a revision is a version of an inference service.
    Row{"knative", R"re({__name__=~"revision_.*"})re", "model", "${configuration_name|service_name}"},
    Row{"knative", R"re({__name__=~"revision_.*"})re", "version", "${revision_name}"},
    Row{"model label", "", "model", "${model|model_name|model_id|deployment}"},
    // MLflow's registry, OpenTelemetry's generative AI, KServe's pods, Seldon, cloud endpoints.
    Row{"serving label", "", "model",
        "${registered_model_name|mlflow_model_name|gen_ai_request_model|gen_ai_response_model|"
        "serving_kserve_io_inferenceservice|label_serving_kserve_io_inferenceservice|inferenceservice|"
        "deployment_name|endpoint_name|served_model_name}"},
    Row{"kubernetes label", "", "model",
        "${app_kubernetes_io_name|label_app_kubernetes_io_name|k8s_deployment_name}"},
    Row{"job and instance", "", "model", "${job}/${instance}"},
    Row{"job", "", "model", "${job}"},
    Row{"service", "", "model", "${service_name|service}"},
    Row{"instance", "", "model", "${instance}"},
    Row{"nameless", "", "model", "unknown"},
    Row{"version label", "", "version",
        "${version|model_version|service_version|app_kubernetes_io_version|revision_name}"},
    Row{"environment label", "", "environment",
        "${environment|env|deployment_environment_name|deployment_environment}"},
    Row{"region label", "", "region", "${region|cloud_region|topology_kubernetes_io_region}"},
    Row{"family label", "", "family", "${family|model_family}"},
    Row{"team label", "", "team", "${team|owner}"},
    Row{"source label", "", "uses source", "${source}"},
    Row{"feature pipeline label", "", "uses feature_pipeline", "${feature_pipeline}"},
    Row{"metric name", "", "metric", "${__name__}"},

    // -- what its numbers are --
    Row{"bucket", R"re({__name__=~".*_bucket",le!="",__type__!~"gauge|gaugehistogram"})re", "kind", "bucket"},
    Row{"said to be a counter", R"re({__type__="counter"})re", "kind", "counter"},
    Row{"ratio by its ending",
        R"re({__name__=~".*_(ratio|fraction|share|auc|accuracy|precision|recall|f1)"})re", "kind", "ratio"},
    // Triton, TorchServe and TensorFlow Serving have counters that no ending tells.
    Row{"triton counter",
        R"re({__name__=~"nv_inference_(request_success|request_failure|count|exec_count|.*_duration_us)|nv_energy_consumption",__type__!="gauge"})re",
        "kind", "counter"},
    Row{"torchserve counter",
        R"re({__name__=~"ts_(inference|queue)_latency_microseconds",__type__!="gauge"})re", "kind", "counter"},
    Row{"tensorflow serving counter",
        R"re({__name__=~":tensorflow:(serving:request_count|core:graph_runs|core:graph_run_time_usecs)"})re", "kind",
        "counter"},
    Row{"duration by its ending",
        R"re({__name__=~".*_(seconds|milliseconds|microseconds|nanoseconds|ms|us|ns|usecs|minutes|hours)"})re", "kind",
        "duration"},
    Row{"said to be a gauge", R"re({__type__=~"gauge|gaugehistogram|info|stateset"})re", "kind", "gauge"},
    Row{"counter by its ending", R"re({__name__=~".*_(total|count|sum)"})re", "kind", "counter"},

    // -- what it counts. The unit of a bucket is that of its bounds; a count of observations has none --
    Row{"said unit", "", "unit", "${__unit__}"},
    Row{"seconds", R"re({__name__=~".*_(seconds|secs)(_total|_sum|_bucket|_max|_min|_avg|_mean|_p[0-9]+)?"})re", "unit",
        "seconds"},
    Row{"milliseconds",
        R"re({__name__=~".*_(milliseconds|millis|msecs|ms)(_total|_sum|_bucket|_max|_min|_avg|_mean|_p[0-9]+)?"})re",
        "unit", "milliseconds"},
    Row{"microseconds", R"re({__name__=~".*_(microseconds|usecs|us)(_total|_sum|_bucket)?"})re", "unit", "microseconds"},
    Row{"nanoseconds", R"re({__name__=~".*_(nanoseconds|nanos|ns)(_total|_sum|_bucket)?"})re", "unit", "nanoseconds"},
    Row{"minutes", R"re({__name__=~".*_minutes(_total|_sum)?"})re", "unit", "minutes"},
    Row{"hours", R"re({__name__=~".*_hours(_total|_sum)?"})re", "unit", "hours"},
    Row{"days", R"re({__name__=~".*_days"})re", "unit", "days"},
    Row{"bytes", R"re({__name__=~".*_bytes(_total|_sum|_bucket)?"})re", "unit", "bytes"},
    Row{"ratio", R"re({__name__=~".*_(ratio|fraction|share)"})re", "unit", "ratio"},
    Row{"percent", R"re({__name__=~".*_(percent|percentage|pct)"})re", "unit", "percent"},
    Row{"celsius", R"re({__name__=~".*_celsius"})re", "unit", "celsius"},
    Row{"joules", R"re({__name__=~".*_joules(_total)?|nv_energy_consumption"})re", "unit", "joules"},
    Row{"watts", R"re({__name__=~".*_watts|nv_gpu_power_(usage|limit)"})re", "unit", "watts"},

    // -- where harm lies: words between the underscores of a name --
    // How many were timed says nothing of how long they took.
    Row{"count of timings",
        R"re({__name__=~".*_(seconds|milliseconds|microseconds|nanoseconds|ms|us|bytes|latency|duration|size)_count"})re",
        "direction", "both"},
    Row{"up is bad",
        R"re({__name__=~"(.*[_:])?(errors?|failures?|failed|fail|faults?|exceptions?|timeouts?|rejected|rejections?|refused|dropped|drops?|lost|latency|duration|delay|lag|wait|waiting|age|stale|staleness|drift|psi|divergence|wasserstein|distance|nulls?|missing|nan|nans|skew|outliers?|anomaly|anomalies|invalid|violations?|loss|logloss|brier|mae|mse|rmse|mape|retries|retry|queue|queued|pending|backlog|throttled|evictions?|oom|restarts|unavailable)([_:].*)?"})re",
        "direction", "up"},
    Row{"freshness as an age", R"re({__name__=~".*freshness.*_(seconds|milliseconds|minutes|hours|days)"})re", "direction",
        "up"},
    Row{"down is bad",
        R"re({__name__=~"(.*[_:])?(accuracy|auc|auroc|auprc|roc|f1|precision|recall|r2|ndcg|mrr|map|ap|gini|kappa|success|successful|succeeded|availability|available|up|uptime|healthy|ready|throughput|rows|coverage|completeness|freshness|hit|hits|confidence)([_:].*)?"})re",
        "direction", "down"},
};

std::vector<MappingRule> read_rows() {
  std::vector<MappingRule> rules;
  for (const Row& row : rows) {
    MappingRule rule;
    rule.name = row.name;
    rule.built_in = true;
    if (*row.match != '\0') {
      auto matchers = parse_matchers(row.match, Grammar::utf8);
      assert(matchers);
      rule.match = std::move(matchers->list);
    }
    const std::string field = row.field, says = row.says;
    if (field == "model") rule.model = says;
    if (field == "version") rule.version = says;
    if (field == "environment") rule.environment = says;
    if (field == "region") rule.region = says;
    if (field == "family") rule.family = says;
    if (field == "team") rule.team = says;
    if (field == "metric") rule.metric = says;
    if (field == "unit") rule.unit = says;
    if (field == "kind") rule.kind = kind_from(says);
    if (field == "direction") rule.direction = direction_from(says);
    if (field.starts_with("uses ")) rule.uses.push_back({field.substr(5), says});
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace

const std::vector<MappingRule>& built_in_rules() {
  static const std::vector<MappingRule> rules = read_rows();
  return rules;
}

}  // namespace muster
