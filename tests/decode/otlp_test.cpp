#include "collector/decode/otlp.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <sstream>

#include "collector/decode/label_fields.hpp"
#include "collector/decode/text.hpp"
#include "schema/mapping.hpp"
#include "tests/decode/otlp_requests.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::test;
using decode::Otlp;
using decode::otlp_protobuf;
using otlp_oracle::ExportMetricsServiceRequest;

namespace Catch {
template <>
struct StringMaker<Told> {
  static std::string convert(const Told& told) {
    std::ostringstream out;
    for (const auto& [name, value] : told.labels) out << name << '=' << value << ' ';
    out << told.value() << " @" << told.ms << " start " << told.start_ms << " line " << told.line;
    return out.str();
  }
};
}  // namespace Catch

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr auto cumulative = otlp_oracle::AGGREGATION_TEMPORALITY_CUMULATIVE;
constexpr auto delta = otlp_oracle::AGGREGATION_TEMPORALITY_DELTA;

// What both forms of a request give; that they give the same is checked on the way.
Otlp read(const ExportMetricsServiceRequest& request, const decode::OtlpRules& rules = {}) {
  auto otlp = otlp_protobuf(request.SerializeAsString(), rules);
  REQUIRE(otlp);
  const std::string text = json_of(request);
  const auto json = read_json(text, rules);
  if (!json) FAIL(json.error().where << ": " << json.error().what << "\n" << text);
  REQUIRE(told(*json) == told(*otlp));
  CHECK(json->data_points == otlp->data_points);
  CHECK(json->decoded.rejected_count == otlp->decoded.rejected_count);
  CHECK(json->decoded.skipped.exemplars == otlp->decoded.skipped.exemplars);
  CHECK(json->deltas.size() == otlp->deltas.size());
  REQUIRE(json->decoded.rejected.size() == otlp->decoded.rejected.size());
  for (std::size_t i = 0; i < json->decoded.rejected.size(); ++i) {
    CHECK(json->decoded.rejected[i].what == otlp->decoded.rejected[i].what);
    CHECK(json->decoded.rejected[i].line == otlp->decoded.rejected[i].line);
  }
  return std::move(*otlp);
}

google::protobuf::UnknownFieldSet& unknown(google::protobuf::Message& message) {
  return *message.GetReflection()->MutableUnknownFields(&message);
}

using LabelMap = std::map<std::string, std::string>;

// The one sample of a request of one gauge with these attributes.
Told one_gauge(const Pairs& attributes, const Pairs& resource = {},
               decode::OtlpRules rules = {.target_info = false}) {
  OneMetric one("m", "", resource);
  at(*one.metric.mutable_gauge()->add_data_points(), attributes).set_as_double(1);
  const auto all = told(read(one.request, rules));
  REQUIRE(all.size() == 1);
  return all[0];
}

LabelMap gauge_labels(LabelMap more) {
  more.emplace("__name__", "m");
  more.emplace("__type__", "gauge");
  return more;
}

std::string only_fault(const Otlp& otlp) {
  CHECK(told(otlp).empty());
  CHECK(otlp.decoded.rejected_count == 1);
  REQUIRE(otlp.decoded.rejected.size() == 1);
  return otlp.decoded.rejected[0].what;
}

}  // namespace

TEST_CASE("otlp: a gauge is a sample, to the millisecond") {
  OneMetric one("model.drift", "1");
  at(*one.metric.mutable_gauge()->add_data_points(), {{"feature", "age"}}, 5).set_as_double(0.25);
  at(*one.metric.mutable_gauge()->add_data_points(), {{"feature", "sex"}}).set_as_int(-7);
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 2);
  CHECK(all[0].labels == LabelMap{{"__name__", "model_drift_ratio"},
                                  {"__type__", "gauge"},
                                  {"__unit__", "ratio"},
                                  {"feature", "age"}});
  CHECK(all[0].value() == 0.25);
  CHECK(all[0].ms == otlp_ms);
  CHECK(all[0].start_ms == 0);
  CHECK(all[1].value() == -7);
  CHECK(all[1].line == 1);
}

TEST_CASE("otlp: a monotonic cumulative sum is a counter with its start") {
  OneMetric one("jobs", "{job}");
  auto& sum = *one.metric.mutable_sum();
  sum.set_is_monotonic(true);
  sum.set_aggregation_temporality(cumulative);
  at(*sum.add_data_points(), {}, otlp_ns - 60'000'000'000).set_as_int(9'007'199'254'740'993);
  at(*sum.add_data_points(), {{"a", "b"}}, otlp_ns).set_as_double(3);  // a start that says nothing
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 2);
  CHECK(all[0].labels == LabelMap{{"__name__", "jobs_total"}, {"__type__", "counter"}});
  CHECK(all[0].value() == 9'007'199'254'740'992);  // 2^53 + 1 is no double
  CHECK(all[0].start_ms == otlp_ms - 60'000);
  CHECK(all[1].start_ms == 0);

  sum.set_is_monotonic(false);
  const auto level = told(read(one.request));
  CHECK(level[0].labels == LabelMap{{"__name__", "jobs"}, {"__type__", "gauge"}});
  CHECK(level[0].start_ms == 0);
}

TEST_CASE("otlp: delta sums are stored as sent, and tell the time they cover") {
  OneMetric one("jobs", "");
  auto& sum = *one.metric.mutable_sum();
  sum.set_is_monotonic(true);
  sum.set_aggregation_temporality(delta);
  at(*sum.add_data_points(), {{"n", "1"}}, otlp_ns - 10).set_as_int(4);
  at(*sum.add_data_points(), {{"n", "2"}}).set_as_int(5);  // no start, no span
  const Otlp otlp = read(one.request);
  const auto all = told(otlp);
  REQUIRE(all.size() == 2);
  CHECK(all[0].labels == LabelMap{{"__name__", "jobs_total"},
                                  {"__type__", "counter"},
                                  {"__temporality__", "delta"},
                                  {"n", "1"}});
  CHECK(all[0].start_ms == 0);
  REQUIRE(otlp.deltas.size() == 1);
  CHECK(otlp.deltas[0].alias == otlp.decoded.batch.series[0].alias);
  CHECK(otlp.deltas[0].start_ns == otlp_ns - 10);
  CHECK(otlp.deltas[0].end_ns == otlp_ns);
  const auto identity = otlp.decoded.batch.identify(otlp.decoded.batch.series[0].labels, Mapping());
  REQUIRE(identity);
  CHECK(identity->kind == Kind::delta);
}

TEST_CASE("otlp: a histogram is count, sum and cumulative buckets") {
  OneMetric one("latency", "ms");
  auto& histogram = *one.metric.mutable_histogram();
  histogram.set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.add_data_points(), {{"route", "/"}}, otlp_ns - 2'000'000);
  point.set_count(10);
  point.set_sum(123.5);
  point.set_min(1);
  point.set_max(5000);
  for (const std::uint64_t n : {1, 2, 3, 4}) point.add_bucket_counts(n);
  for (const double bound : {0.5, 1000.0, 1e6}) point.add_explicit_bounds(bound);
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 6);
  const LabelMap base = {{"__type__", "histogram"}, {"route", "/"}};
  const auto labels = [&](const char* name, LabelMap more) {
    more.insert(base.begin(), base.end());
    more.emplace("__name__", name);
    return more;
  };
  CHECK(all[0].labels == labels("latency_milliseconds_count", {}));
  CHECK(all[0].value() == 10);
  CHECK(all[1].labels == labels("latency_milliseconds_sum", {{"__unit__", "milliseconds"}}));
  CHECK(all[1].value() == 123.5);
  const std::pair<const char*, double> buckets[] = {
      {"0.5", 1}, {"1000", 3}, {"1e+06", 6}, {"+Inf", 10}};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(all[2 + i].labels == labels("latency_milliseconds_bucket", {{"le", buckets[i].first}}));
    CHECK(all[2 + i].value() == buckets[i].second);
  }
  for (const Told& one_sample : all) {
    CHECK(one_sample.start_ms == otlp_ms - 2);
    CHECK(one_sample.line == 0);
    CHECK(one_sample.ms == otlp_ms);
  }
}

TEST_CASE("otlp: a histogram without a sum or without buckets gives none") {
  OneMetric one("h", "");
  one.metric.mutable_histogram()->set_aggregation_temporality(delta);
  at(*one.metric.mutable_histogram()->add_data_points(), {}, otlp_ns - 5).set_count(3);
  const Otlp otlp = read(one.request);
  const auto all = told(otlp);
  REQUIRE(all.size() == 2);
  CHECK(all[0].labels == LabelMap{{"__name__", "h_count"},
                                  {"__type__", "histogram"},
                                  {"__temporality__", "delta"}});
  CHECK(all[1].labels.at("le") == "+Inf");
  CHECK(all[1].value() == 3);
  CHECK(all[1].start_ms == 0);
  CHECK(otlp.deltas.size() == 1);
  const auto& batch = otlp.decoded.batch;
  CHECK(batch.identify(batch.series[0].labels, Mapping())->kind == Kind::delta);
  CHECK(batch.identify(batch.series[1].labels, Mapping())->kind == Kind::delta_bucket);
}

TEST_CASE("otlp: an exponential histogram is the same with its own boundaries") {
  // By hand, as in exponential_test.cpp: scale 0, bucket 0 is (1, 2], bucket 2 is (4, 8].
  OneMetric one("h", "s");
  auto& histogram = *one.metric.mutable_exponential_histogram();
  histogram.set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.add_data_points(), {}, otlp_ns - 2'000'000);
  point.set_count(6);
  point.set_sum(20);
  point.set_zero_count(1);
  point.mutable_positive()->set_offset(0);
  for (const std::uint64_t n : {3, 0, 2}) point.mutable_positive()->add_bucket_counts(n);
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 9);
  CHECK(all[0].labels.at("__name__") == "h_seconds_count");
  CHECK(all[1].labels.at("__name__") == "h_seconds_sum");
  const std::pair<const char*, double> buckets[] = {{"0", 1}, {"1", 1},  {"2", 4},   {"4", 4},
                                                    {"8", 6}, {"16", 6}, {"+Inf", 6}};
  for (std::size_t i = 0; i < 7; ++i) {
    CHECK(all[2 + i].labels.at("le") == buckets[i].first);
    CHECK(all[2 + i].value() == buckets[i].second);
    CHECK(all[2 + i].start_ms == otlp_ms - 2);
  }

  point.set_count(5);  // its buckets hold six
  CHECK_THAT(only_fault(read(one.request)), Catch::Contains("more than its count"));
}

TEST_CASE("otlp: a summary is its quantiles, sum and count") {
  OneMetric one("rpc", "s");
  auto& point = at(*one.metric.mutable_summary()->add_data_points(), {}, otlp_ns - 2'000'000);
  point.set_count(4);
  point.set_sum(1.5);
  for (const auto& [quantile, value] : {std::pair{0.5, 0.25}, {0.99, 1.0}, {1.0, 1.0}}) {
    auto& added = *point.add_quantile_values();
    added.set_quantile(quantile);
    added.set_value(value);
  }
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 5);
  CHECK(all[0].labels == LabelMap{{"__name__", "rpc_seconds_count"}, {"__type__", "summary"}});
  CHECK(all[0].start_ms == otlp_ms - 2);
  CHECK(all[1].labels.at("__name__") == "rpc_seconds_sum");
  CHECK(all[1].value() == 1.5);
  CHECK(all[2].labels == LabelMap{{"__name__", "rpc_seconds"},
                                  {"__type__", "summary"},
                                  {"__unit__", "seconds"},
                                  {"quantile", "0.5"}});
  CHECK(all[2].start_ms == 0);
  CHECK(all[3].labels.at("quantile") == "0.99");
  CHECK(all[4].labels.at("quantile") == "1");

  point.mutable_quantile_values(0)->set_quantile(1.5);
  CHECK_THAT(only_fault(read(one.request)), Catch::Contains("quantile"));
}

TEST_CASE("otlp: no recorded value is a stale marker, bit by bit") {
  OneMetric one("m", "");
  auto& gauge = at(*one.metric.mutable_gauge()->add_data_points());
  gauge.set_flags(1);
  gauge.set_as_double(5);  // means nothing then
  const auto number = told(read(one.request));
  REQUIRE(number.size() == 1);
  CHECK(number[0].bits == stale_bits);
  gauge.set_flags(2);  // another flag, of which nothing is known
  CHECK(told(read(one.request))[0].value() == 5);

  OneMetric other("h", "");
  auto& histogram = *other.metric.mutable_histogram();
  histogram.set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.add_data_points());
  point.set_flags(1);
  point.add_explicit_bounds(1);
  const auto all = told(read(other.request));
  REQUIRE(all.size() == 4);  // count, sum, le 1 and infinity
  for (const Told& sample : all) CHECK(sample.bits == stale_bits);

  OneMetric third("e", "");
  third.metric.mutable_exponential_histogram()->set_aggregation_temporality(delta);
  at(*third.metric.mutable_exponential_histogram()->add_data_points(), {}, 5).set_flags(1);
  const Otlp otlp = read(third.request);
  CHECK(told(otlp).size() == 3);
  CHECK(otlp.deltas.empty());
}

TEST_CASE("otlp: infinities and NaN are values") {
  OneMetric one("m", "");
  for (const double value : {inf, -inf, std::numeric_limits<double>::quiet_NaN(), 5e-324, 1e308})
    at(*one.metric.mutable_gauge()->add_data_points()).set_as_double(value);
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 5);
  CHECK(all[0].value() == inf);
  CHECK(all[1].value() == -inf);
  CHECK(std::isnan(all[2].value()));
  CHECK(all[3].value() == 5e-324);
}

TEST_CASE("otlp: who sends is the job and the instance") {
  CHECK(one_gauge({}, {{"service.name", "ranker"}}).labels == gauge_labels({{"job", "ranker"}}));
  CHECK(one_gauge({{"x", "y"}}, {{"service.name", "ranker"},
                                 {"service.namespace", "shop"},
                                 {"service.instance.id", "host-1"}})
            .labels ==
        gauge_labels({{"job", "shop/ranker"}, {"instance", "host-1"}, {"x", "y"}}));
  // Whatever the point says of them, as Prometheus has it.
  CHECK(one_gauge({{"job", "mine"}}, {{"service.name", "ranker"}}).labels ==
        gauge_labels({{"job", "ranker"}}));
  CHECK(one_gauge({{"job", "mine"}}).labels == gauge_labels({{"job", "mine"}}));
}

TEST_CASE("otlp: attributes that say which model it is become labels of every series") {
  CHECK(one_gauge({}, {{"model.name", "churn"},
                       {"service.version", "1.2"},
                       {"deployment.environment", "old"},
                       {"deployment.environment.name", "production"},
                       {"cloud.region", "eu-1"},
                       {"team", "growth"},
                       {"host.name", "box"}})
            .labels == gauge_labels({{"model_name", "churn"},
                                     {"version", "1.2"},
                                     {"environment", "production"},
                                     {"region", "eu-1"},
                                     {"team", "growth"}}));
  // A model's version before its service's, and the point's own attribute before both.
  CHECK(one_gauge({}, {{"service.version", "1"}, {"model.version", "7"}}).labels ==
        gauge_labels({{"version", "7"}}));
  CHECK(one_gauge({{"version", "9"}}, {{"service.version", "1"}}).labels ==
        gauge_labels({{"version", "9"}}));
  const decode::OtlpRules rules = {.promote = {{"host.name", "host"}}, .target_info = false};
  CHECK(one_gauge({}, {{"service.version", "1"}, {"host.name", "box"}}, rules).labels ==
        gauge_labels({{"host", "box"}}));
}

TEST_CASE("otlp: attributes whose names meet are joined in the order of their keys") {
  CHECK(one_gauge({{"a_b", "3"}, {"a.b", "2"}, {"a-b", "1"}, {"c", "x"}}).labels ==
        gauge_labels({{"a_b", "1;2;3"}, {"c", "x"}}));
  CHECK(one_gauge({{"__name__", "evil"}, {"__type__", "evil"}, {"__temporality__", "delta"}}).labels ==
        gauge_labels({}));
  CHECK(one_gauge({{"le", "1"}, {"quantile", "1"}}).labels ==
        gauge_labels({{"le", "1"}, {"quantile", "1"}}));
  CHECK(one_gauge({{"empty", ""}, {"1x", "y"}}).labels == gauge_labels({{"key_1x", "y"}}));
  CHECK(one_gauge({{std::string(200, 'n'), std::string(20'000, 'v')}, {"b", std::string(200, 'v')}}).labels ==
        gauge_labels({{std::string(200, 'n'), std::string(20'000, 'v')}, {"b", std::string(200, 'v')}}));

  OneMetric one("h", "");
  one.metric.mutable_histogram()->set_aggregation_temporality(cumulative);
  at(*one.metric.mutable_histogram()->add_data_points(), {{"le", "evil"}, {"k", "v"}});
  const auto all = told(read(one.request));
  CHECK(all[0].labels.count("le") == 0);
  CHECK(all[1].labels.at("le") == "+Inf");
  CHECK(all[1].labels.at("k") == "v");
}

TEST_CASE("otlp: values that are no strings become text") {
  OneMetric one("m", "");
  auto& point = at(*one.metric.mutable_gauge()->add_data_points());
  point.set_as_double(1);
  const auto value = [&](const char* key) -> otlp_oracle::AnyValue& {
    auto& attribute = *point.add_attributes();
    attribute.set_key(key);
    return *attribute.mutable_value();
  };
  value("bool").set_bool_value(true);
  value("int").set_int_value(-9'223'372'036'854'775'807 - 1);
  value("double").set_double_value(0.5);
  value("large").set_double_value(1e21);
  value("million").set_double_value(1e6);
  value("nan").set_double_value(std::numeric_limits<double>::quiet_NaN());
  value("bytes").set_bytes_value(std::string("\x00\x01\xff\x10", 4));
  value("unset");
  auto& list = *value("list").mutable_array_value();
  list.add_values()->set_string_value("a\"b\n");
  list.add_values()->set_int_value(7);
  list.add_values()->set_bool_value(false);
  list.add_values();
  auto& pair = *list.add_values()->mutable_kvlist_value()->add_values();
  pair.set_key("k");
  pair.mutable_value()->set_bytes_value("Ma");
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 1);
  CHECK(all[0].labels == gauge_labels({{"bool", "true"},
                                       {"int", "-9223372036854775808"},
                                       {"double", "0.5"},
                                       {"large", "1e+21"},
                                       {"million", "1000000"},
                                       {"nan", "NaN"},
                                       {"bytes", "AAH/EA=="},
                                       {"list", R"(["a\"b\u000a",7,false,null,{"k":"TWE="}])"}}));
}

TEST_CASE("otlp: values nested without end are cut off") {
  OneMetric one("m", "");
  auto& point = at(*one.metric.mutable_gauge()->add_data_points());
  point.set_as_double(1);
  auto& attribute = *point.add_attributes();
  attribute.set_key("deep");
  otlp_oracle::AnyValue* inner = attribute.mutable_value();
  for (int i = 0; i < 30; ++i) inner = inner->mutable_array_value()->add_values();
  inner->set_int_value(1);
  const std::string cut = std::string(16, '[') + "null" + std::string(16, ']');
  const auto otlp = otlp_protobuf(one.request.SerializeAsString());
  REQUIRE(otlp);
  CHECK(told(*otlp).at(0).labels.at("deep") == cut);
  // libprotobuf does not write JSON this deep.
  std::string text = R"({"intValue":1})";
  for (int i = 0; i < 30; ++i) text = R"({"arrayValue":{"values":[)" + text + "]}}";
  const auto json = read_json(
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{
          "timeUnixNano":5000000,"asInt":1,"attributes":[{"key":"deep","value":)" +
      text + "}]}]}}]}]}]}");
  REQUIRE(json);
  CHECK(told(*json).at(0).labels.at("deep") == cut);

  // 10,000 deep, which libprotobuf does not write either: tags and lengths from the inside out, and the messages
  // around it get them as unknown fields of the right numbers.
  std::string value;
  for (int i = 0; i < 10'000; ++i) {
    for (const char tag : {'\x0a', '\x2a'}) {
      std::string head(1, tag);
      std::size_t n = value.size();
      for (; n >= 0x80; n >>= 7) head += static_cast<char>((n & 0x7f) | 0x80);
      value.insert(0, head + static_cast<char>(n));
    }
  }
  otlp_oracle::KeyValue pair;
  pair.set_key("deep");
  otlp_oracle::NumberDataPoint outer;
  outer.set_time_unix_nano(otlp_ns);
  outer.set_as_double(1);
  unknown(pair).AddLengthDelimited(2, value);
  unknown(outer).AddLengthDelimited(7, pair.SerializeAsString());
  otlp_oracle::Gauge gauge;
  unknown(gauge).AddLengthDelimited(1, outer.SerializeAsString());
  otlp_oracle::Metric metric;
  metric.set_name("m");
  unknown(metric).AddLengthDelimited(5, gauge.SerializeAsString());
  otlp_oracle::ScopeMetrics scope;
  unknown(scope).AddLengthDelimited(2, metric.SerializeAsString());
  otlp_oracle::ResourceMetrics resource;
  unknown(resource).AddLengthDelimited(2, scope.SerializeAsString());
  ExportMetricsServiceRequest request;
  unknown(request).AddLengthDelimited(1, resource.SerializeAsString());
  const auto deep = otlp_protobuf(request.SerializeAsString());
  REQUIRE(deep);
  CHECK(told(*deep).at(0).labels.at("deep") == cut);
  CHECK_FALSE(read_json(std::string(100'000, '[')));
}

TEST_CASE("otlp: a resource's other attributes stand in target_info, at its newest point") {
  OneMetric one("m", "", {{"service.name", "ranker"},
                          {"service.instance.id", "i"},
                          {"service.version", "1.2"},
                          {"host.name", "box"},
                          {"os.type", "linux"},
                          {"os_type", "unix"},
                          {"process.command_line", std::string(3000, 'x')}});
  auto& gauge = *one.metric.mutable_gauge();
  at(*gauge.add_data_points(), {{"n", "1"}}, 0, otlp_ns + 5'000'000).set_as_double(1);
  at(*gauge.add_data_points(), {{"n", "2"}}).set_as_double(1);
  const auto all = told(read(one.request));
  REQUIRE(all.size() == 3);
  CHECK(all[2].labels == LabelMap{{"__name__", "target_info"},
                                  {"__type__", "info"},
                                  {"job", "ranker"},
                                  {"instance", "i"},
                                  {"version", "1.2"},
                                  {"host_name", "box"},
                                  {"os_type", "linux;unix"}});
  CHECK(all[2].value() == 1);
  CHECK(all[2].ms == otlp_ms + 5);
  CHECK(all[2].line == Otlp::no_data_point);

  // Nothing to say, nobody to say it of, nothing to say it at, or not wanted.
  CHECK(told(read(one.request, {.target_info = false})).size() == 2);
  OneMetric bare("m", "", {{"service.name", "ranker"}});
  at(*bare.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  CHECK(told(read(bare.request)).size() == 1);
  OneMetric nobody("m", "", {{"host.name", "box"}});
  at(*nobody.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  CHECK(told(read(nobody.request)).size() == 1);
  gauge.clear_data_points();
  CHECK(told(read(one.request)).empty());

  // More than a label set holds: the first ones.
  OneMetric wide("m", "", {{"service.name", "ranker"}});
  for (int i = 0; i < 100; ++i)
    add_attributes(*wide.resource.mutable_resource(), {{"k" + std::to_string(i), "v"}});
  at(*wide.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  CHECK(told(read(wide.request)).at(1).labels.size() == decode::labels_max);
}

TEST_CASE("otlp: the scope is told only when it is asked for") {
  OneMetric one("m", "");
  one.scope.mutable_scope()->set_name("lib");
  one.scope.mutable_scope()->set_version("3");
  at(*one.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  CHECK(told(read(one.request))[0].labels == gauge_labels({}));
  CHECK(told(read(one.request, {.scope_labels = true}))[0].labels ==
        gauge_labels({{"otel_scope_name", "lib"}, {"otel_scope_version", "3"}}));
}

TEST_CASE("otlp: points that cannot be taken are told with metric and attributes, the others kept") {
  OneMetric one("m", "");
  auto& gauge = *one.metric.mutable_gauge();
  at(*gauge.add_data_points(), {{"k", "1"}}, 0, 0).set_as_double(1);
  at(*gauge.add_data_points(), {{"k", "2"}});
  at(*gauge.add_data_points(), {{"k", "3"}, {"", "x"}}).set_as_double(1);
  at(*gauge.add_data_points(), {{"k", "4"}}).set_as_double(1);
  auto& many = at(*gauge.add_data_points());
  many.set_as_double(1);
  for (int i = 0; i < 65; ++i) add_attributes(many, {{"a" + std::to_string(i), "v"}});
  const Otlp otlp = read(one.request);
  CHECK(otlp.data_points == 5);
  CHECK(otlp.decoded.rejected_count == 4);
  REQUIRE(otlp.decoded.rejected.size() == 4);
  CHECK(otlp.decoded.rejected[0].what ==
        R"(metric m {k="1"}: it has no time (time_unix_nano))");
  CHECK(otlp.decoded.rejected[0].line == 0);
  CHECK(otlp.decoded.rejected[1].what == R"(metric m {k="2"}: it has no value)");
  CHECK_THAT(otlp.decoded.rejected[2].what, Catch::Contains("no key"));
  CHECK_THAT(otlp.decoded.rejected[3].what, Catch::Contains("64 attributes"));
  REQUIRE(told(otlp).size() == 1);
  CHECK(told(otlp)[0].line == 3);

  OneMetric nameless("..", "");
  at(*nameless.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  CHECK_THAT(only_fault(read(nameless.request)), Catch::Contains("name"));

  OneMetric unsaid("s", "");
  at(*unsaid.metric.mutable_sum()->add_data_points()).set_as_double(1);
  CHECK_THAT(only_fault(read(unsaid.request)), Catch::Contains("temporality"));

  OneMetric histogram("h", "");
  histogram.metric.mutable_histogram()->set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.metric.mutable_histogram()->add_data_points());
  const auto fault = [&](std::vector<std::uint64_t> counts, std::vector<double> bounds) {
    *point.mutable_bucket_counts() = {counts.begin(), counts.end()};
    *point.mutable_explicit_bounds() = {bounds.begin(), bounds.end()};
    point.set_count(5);
    return only_fault(read(histogram.request));
  };
  CHECK_THAT(fault({1, 2}, {1, 2}), Catch::Contains("one bucket more"));
  CHECK_THAT(fault({1, 2, 1}, {2, 1}), Catch::Contains("ascend"));
  CHECK_THAT(fault({1, 2, 1}, {1, 1}), Catch::Contains("ascend"));
  CHECK_THAT(fault({1, 2}, {std::numeric_limits<double>::quiet_NaN()}), Catch::Contains("ascend"));
  CHECK_THAT(fault({3, 3}, {1}), Catch::Contains("more than its count"));
}

TEST_CASE("otlp: samples that were not taken are counted as the data points they belong to") {
  OneMetric one("h", "", {{"service.name", "ranker"}, {"host.name", "box"}});
  one.metric.mutable_histogram()->set_aggregation_temporality(cumulative);
  at(*one.metric.mutable_histogram()->add_data_points(), {{"n", "1"}});
  at(*one.metric.mutable_histogram()->add_data_points(), {{"n", "2"}});
  const Otlp otlp = read(one.request);
  REQUIRE(told(otlp).size() == 5);  // count and infinity of each, target_info
  const std::vector<std::uint32_t> none, first = {0, 1}, both = {1, 2}, all = {0, 1, 2, 3, 4},
                                         info = {4};
  CHECK(otlp.data_points_of(none) == 0);
  CHECK(otlp.data_points_of(first) == 1);
  CHECK(otlp.data_points_of(both) == 2);
  CHECK(otlp.data_points_of(all) == 2);
  CHECK(otlp.data_points_of(info) == 0);
}

TEST_CASE("otlp: a metric's own words are told") {
  OneMetric one("latency", "ms");
  one.metric.set_description("how long");
  at(*one.metric.mutable_gauge()->add_data_points()).set_as_double(1);
  auto& other = *one.scope.add_metrics();
  other.set_name("jobs");
  other.mutable_sum()->set_is_monotonic(true);
  const Otlp otlp = read(one.request);
  const auto& families = otlp.decoded.families;
  REQUIRE(families.size() == 2);
  CHECK(families[0].name == "latency_milliseconds");
  CHECK(families[0].type == "gauge");
  CHECK(families[0].unit == "milliseconds");
  CHECK(families[0].help == "how long");
  CHECK(families[1].name == "jobs_total");
  CHECK(families[1].type == "counter");
  CHECK(families[1].unit.empty());
  const auto json = read_json(json_of(one.request));
  REQUIRE(json->decoded.families.size() == 2);
  CHECK(json->decoded.families[0].help == "how long");
}

TEST_CASE("otlp: exemplars are counted") {
  OneMetric one("m", "");
  auto& point = at(*one.metric.mutable_gauge()->add_data_points());
  point.set_as_double(1);
  point.add_exemplars()->set_trace_id("0123456789abcdef");
  point.add_exemplars()->set_as_double(3);
  CHECK(read(one.request).decoded.skipped.exemplars == 2);
}

TEST_CASE("otlp: a series has the same alias in every request, and its labels make a model") {
  OneMetric one("drift", "", {{"service.name", "ranker"}, {"model.id", "churn-eu"}, {"service.version", "v7"}});
  at(*one.metric.mutable_gauge()->add_data_points(), {{"feature", "age"}}).set_as_double(1);
  const Otlp first = read(one.request), second = read(one.request);
  CHECK(first.decoded.batch.series[0].alias == second.decoded.batch.series[0].alias);
  CHECK(first.decoded.batch.series[0].alias ==
        decode::alias_of(first.decoded.batch.series[0].labels));
  const auto identity =
      first.decoded.batch.identify(first.decoded.batch.series[0].labels, Mapping());
  REQUIRE(identity);
  CHECK(identity->model == "churn-eu");
  CHECK(identity->attributes.version == "v7");
  CHECK(identity->metric == R"(drift{feature="age",job="ranker"})");
}

TEST_CASE("otlp: empty requests of all kinds are good") {
  for (const char* bytes : {"", "\x0a\x00", "\x0a\x02\x12\x00"}) {
    const std::string body(bytes, bytes[0] == 0 ? 0 : bytes[1] + 2);
    const auto otlp = otlp_protobuf(body);
    REQUIRE(otlp);
    CHECK(otlp->data_points == 0);
  }
  for (const char* text :
       {"{}", R"({"resourceMetrics":[]})", R"({"resourceMetrics":null})",
        R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{}}]}]}]})"}) {
    const auto otlp = read_json(text);
    REQUIRE(otlp);
    CHECK(otlp->data_points == 0);
  }
}

TEST_CASE("otlp json: keys in any order, unknown keys, integers as numbers or strings") {
  const auto otlp = read_json(R"({"unknown":{"a":[1,{}]},"resourceMetrics":[{
    "scopeMetrics":[{"metrics":[
      {"sum":{"dataPoints":[{"asInt":"5","timeUnixNano":1700000000123456789,"zzz":null,
                             "startTimeUnixNano":"1700000000000000000",
                             "attributes":[{"value":{"intValue":7},"key":"k"}]},
                            {"asDouble":"NaN","timeUnixNano":"1700000000123456789","asInt":null},
                            {"asDouble":7,"timeUnixNano":1.7e18}],
              "isMonotonic":true,"aggregationTemporality":2},
       "unit":"s","name":"n"}]}],
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"x\u00e9"}}]}}]})");
  REQUIRE_FALSE(otlp);  // 1.7e18 may be many integers
  CHECK(otlp.error().where == "resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[2].timeUnixNano");

  const auto good = read_json(R"({"resourceMetrics":[{
    "scopeMetrics":[{"metrics":[
      {"sum":{"dataPoints":[{"asInt":"5","timeUnixNano":1700000000123456789,"zzz":null,
                             "startTimeUnixNano":"1700000000000000000",
                             "attributes":[{"value":{"intValue":7},"key":"k"}]}],
              "isMonotonic":true,"aggregationTemporality":2},
       "unit":"s","name":"n"}]}],
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"x\u00e9"}}]}}]})");
  REQUIRE(good);
  const auto all = told(*good);
  REQUIRE(all.size() == 1);
  CHECK(all[0].labels == LabelMap{{"__name__", "n_seconds_total"},
                                  {"__type__", "counter"},
                                  {"__unit__", "seconds"},
                                  {"job", "x\u00e9"},
                                  {"k", "7"}});
  CHECK(all[0].ms == otlp_ms);
  CHECK(all[0].start_ms == 1'700'000'000'000);
  CHECK(all[0].value() == 5);
}

TEST_CASE("otlp json: what is wrong is told with its place") {
  const auto fault = [](const std::string& point) {
    const auto otlp = read_json(
        R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{"dataPoints":[)" +
        point + "]}}]}]}]}");
    REQUIRE_FALSE(otlp);
    return otlp.error().where + ": " + otlp.error().what;
  };
  const std::string place = "resourceMetrics[0].scopeMetrics[0].metrics[0].sum";
  CHECK(fault("5") == place + ".dataPoints[0]: an object is wanted");
  CHECK_THAT(fault(R"({"asInt":1.5})"), Catch::Contains("dataPoints[0].asInt: an integer"));
  CHECK_THAT(fault(R"({"asInt":"9223372036854775808"})"), Catch::Contains("an integer"));
  CHECK_THAT(fault(R"({"asInt":"5 "})"), Catch::Contains("an integer"));
  CHECK_THAT(fault(R"({"timeUnixNano":-1})"), Catch::Contains("an integer"));
  CHECK_THAT(fault(R"({"flags":4294967296})"), Catch::Contains("flags: an integer of 32 bits"));
  CHECK_THAT(fault(R"({"asDouble":"nan"})"), Catch::Contains("a number is wanted"));
  CHECK_THAT(fault(R"({"attributes":{}})"), Catch::Contains("attributes: an array"));
  CHECK_THAT(fault(R"({"attributes":[{"key":1}]})"), Catch::Contains("attributes[0].key: a string"));
  CHECK_THAT(fault(R"({"attributes":[{"key":"k","value":"v"}]})"),
             Catch::Contains("attributes[0].value: an object"));

  const auto enumerated = read_json(
      R"({"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","sum":{
          "aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}]}]}]})");
  REQUIRE_FALSE(enumerated);
  CHECK(enumerated.error().where == place + ".aggregationTemporality");
  CHECK_THAT(enumerated.error().what, Catch::Contains("1 for delta, 2 for cumulative"));

  for (const char* text : {"", "nonsense", "[]", "{", R"({"resourceMetrics":{}})", "{}{}", "\xff"})
    CHECK_FALSE(read_json(text));
}

TEST_CASE("otlp: a request cut anywhere is refused or read, and a wrong wire type is another field") {
  OneMetric one("latency", "ms", {{"service.name", "x"}, {"host.name", "box"}});
  auto& histogram = *one.metric.mutable_histogram();
  histogram.set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.add_data_points(), {{"route", "/"}}, 5);
  point.set_count(10);
  point.set_sum(123.5);
  for (const std::uint64_t n : {1, 2, 3, 4}) point.add_bucket_counts(n);
  for (const double bound : {0.5, 1000.0, 1e6}) point.add_explicit_bounds(bound);
  const std::string bytes = one.request.SerializeAsString();
  for (std::size_t n = 1; n < bytes.size(); ++n) CHECK_FALSE(otlp_protobuf(bytes.substr(0, n)));
  const std::string text = json_of(one.request);
  for (std::size_t n = 1; n < text.size(); ++n) CHECK_FALSE(read_json(text.substr(0, n)));

  // Field 3 as a varint is not the time, so there is none.
  otlp_oracle::NumberDataPoint number;
  number.set_as_double(1);
  unknown(number).AddVarint(3, otlp_ns);
  ExportMetricsServiceRequest wrong;
  auto& metric = *wrong.add_resource_metrics()->add_scope_metrics()->add_metrics();
  metric.set_name("m");
  unknown(*metric.mutable_gauge()).AddLengthDelimited(1, number.SerializeAsString());
  const auto otlp = otlp_protobuf(wrong.SerializeAsString());
  REQUIRE(otlp);
  CHECK_THAT(only_fault(*otlp), Catch::Contains("no time"));

  // Arrays that are not packed, and one that is cut short.
  otlp_oracle::HistogramDataPoint plain;
  plain.set_time_unix_nano(otlp_ns);
  plain.set_count(3);
  for (const std::uint64_t n : {1, 2}) unknown(plain).AddFixed64(6, n);
  unknown(plain).AddFixed64(7, std::bit_cast<std::uint64_t>(0.5));
  const auto with = [&](const std::string& of_point) {
    ExportMetricsServiceRequest request;
    auto& other = *request.add_resource_metrics()->add_scope_metrics()->add_metrics();
    other.set_name("h");
    other.mutable_histogram()->set_aggregation_temporality(cumulative);
    unknown(*other.mutable_histogram()).AddLengthDelimited(1, of_point);
    return otlp_protobuf(request.SerializeAsString());
  };
  const auto unpacked = with(plain.SerializeAsString());
  REQUIRE(unpacked);
  REQUIRE(told(*unpacked).size() == 3);
  CHECK(told(*unpacked)[1].labels.at("le") == "0.5");
  CHECK(told(*unpacked)[1].value() == 1);
  unknown(plain).AddLengthDelimited(6, "seven..");
  CHECK_FALSE(with(plain.SerializeAsString()));
}

TEST_CASE("otlp: the limits of a request are kept") {
  OneMetric one("m", "");
  for (int i = 0; i < 5; ++i)
    at(*one.metric.mutable_gauge()->add_data_points(), {{"n", std::to_string(i)}}).set_as_double(i);
  const std::string body = one.request.SerializeAsString();
  CHECK(otlp_protobuf(body, {}, {.series_max = 5, .samples_max = 5}));
  for (const decode::Limits limits :
       {decode::Limits{.series_max = 4}, decode::Limits{.samples_max = 4}, decode::Limits{.decoded_bytes_max = 40}}) {
    const auto otlp = otlp_protobuf(body, {}, limits);
    REQUIRE_FALSE(otlp);
    CHECK(otlp.error().where == decode::over_limit);
    const auto json = read_json(json_of(one.request), {}, limits);
    REQUIRE_FALSE(json);
    CHECK(json.error().where == decode::over_limit);
  }

  // A resource of 60 kB, once, with 20,000 points of 12 bytes each: a gigabyte of labels.
  ExportMetricsServiceRequest wide;
  auto& resource = *wide.add_resource_metrics();
  add_attributes(*resource.mutable_resource(), {{"team", std::string(60'000, 't')}});
  auto& gauge = *resource.add_scope_metrics()->add_metrics();
  gauge.set_name("m");
  for (int i = 0; i < 20'000; ++i) at(*gauge.mutable_gauge()->add_data_points()).set_as_double(1);
  const auto large = otlp_protobuf(wide.SerializeAsString());
  REQUIRE_FALSE(large);
  CHECK(large.error().where == decode::over_limit);

  // A million buckets of one byte each.
  OneMetric histogram("h", "");
  histogram.metric.mutable_exponential_histogram()->set_aggregation_temporality(cumulative);
  auto& point = at(*histogram.metric.mutable_exponential_histogram()->add_data_points());
  point.set_count(1'000'000);
  for (int i = 0; i < 1'000'000; ++i) point.mutable_positive()->add_bucket_counts(1);
  const auto buckets = otlp_protobuf(histogram.request.SerializeAsString());
  REQUIRE(buckets);
  CHECK_THAT(only_fault(*buckets), Catch::Contains("20000 buckets"));
  point.mutable_positive()->clear_bucket_counts();
  point.mutable_positive()->set_offset(2'147'483'647);
  for (int i = 0; i < 2; ++i) point.mutable_positive()->add_bucket_counts(1);
  CHECK(only_fault(read(histogram.request)).size() > 0);

  // More attributes than anything has.
  ExportMetricsServiceRequest described;
  for (int i = 0; i < 1001; ++i)
    add_attributes(*described.add_resource_metrics()->mutable_resource(), {{"k", "v"}});
  CHECK(otlp_protobuf(described.SerializeAsString()));
  for (int i = 0; i < 1001; ++i)
    add_attributes(*described.mutable_resource_metrics(0)->mutable_resource(), {{"k", "v"}});
  CHECK_FALSE(otlp_protobuf(described.SerializeAsString()));
  CHECK_FALSE(read_json(json_of(described)));
}

namespace {

// Requests of every kind, with names that meet, empty texts and odd numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed) : random_(seed) {}

  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  ExportMetricsServiceRequest request() {
    ExportMetricsServiceRequest out;
    for (auto r = below(4); r-- > 0;) {
      auto& resource = *out.add_resource_metrics();
      if (below(4) > 0) attributes(*resource.mutable_resource(), 6);
      for (auto s = below(3); s-- > 0;) {
        auto& scope = *resource.add_scope_metrics();
        scope.mutable_scope()->set_name(text());
        scope.mutable_scope()->set_version(text());
        for (auto m = below(5); m-- > 0;) metric(*scope.add_metrics());
      }
    }
    return out;
  }

 private:
  std::string text() {
    static const std::vector<std::string> texts = {
        "",       "a",     "a.b",          "a_b",         "job",      "instance",        "le",
        "quantile", "model", "service.name", "service.version", "host.name", "__name__", "__type__",
        "1st",    "größe", "x y",          "_u",          "team",     "service.instance.id"};
    return texts[below(texts.size())];
  }
  double number() {
    switch (below(8)) {
      case 0:
        return inf;
      case 1:
        return std::numeric_limits<double>::quiet_NaN();
      case 2:
        return static_cast<double>(below(100));
      default: {
        // JSON has no sign of zero, and no payload of a NaN.
        const double any = std::bit_cast<double>(random_());
        return std::isnan(any) || any == 0 ? 0.1 : any;
      }
    }
  }
  void value(otlp_oracle::AnyValue& out, int depth) {
    switch (below(depth > 3 ? 6 : 8)) {
      case 0:
        out.set_bool_value(below(2) == 0);
        break;
      case 1:
        out.set_int_value(static_cast<std::int64_t>(random_()));
        break;
      case 2:
        out.set_double_value(number());
        break;
      case 3:
        out.set_bytes_value(std::string(below(7), static_cast<char>(below(256))));
        break;
      case 4:
      case 5:
        out.set_string_value(text());
        break;
      case 6:
        for (auto n = below(3); n-- > 0;) value(*out.mutable_array_value()->add_values(), depth + 1);
        break;
      default:
        for (auto n = below(3); n-- > 0;) {
          auto& pair = *out.mutable_kvlist_value()->add_values();
          pair.set_key(text());
          if (below(4) > 0) value(*pair.mutable_value(), depth + 1);
        }
    }
  }
  template <class Message>
  void attributes(Message& out, std::uint64_t most) {
    for (auto n = below(most); n-- > 0;) {
      auto& attribute = *out.add_attributes();
      attribute.set_key(text());
      if (below(8) > 0) value(*attribute.mutable_value(), 0);
    }
  }
  template <class Point>
  void point(Point& out) {
    attributes(out, 6);
    if (below(10) > 0) out.set_time_unix_nano(random_() >> below(40));
    if (below(2) > 0) out.set_start_time_unix_nano(random_() >> below(40));
    if (below(8) == 0) out.set_flags(static_cast<std::uint32_t>(below(4)));
  }
  template <class Point>
  void exemplars(Point& out) {
    for (auto n = below(3); n-- > 0;) out.add_exemplars()->set_trace_id("0123456789abcdef");
  }
  void metric(otlp_oracle::Metric& out) {
    out.set_name(below(10) == 0 ? text() : "metric." + text());
    if (below(2) == 0) out.set_description(text());
    static const char* const units[] = {"", "1", "s", "ms", "By/s", "{x}", "odd unit"};
    out.set_unit(units[below(7)]);
    const auto temporality = static_cast<otlp_oracle::AggregationTemporality>(below(4));
    switch (below(6)) {
      case 0:
        for (auto n = below(4); n-- > 0;) numbers(*out.mutable_gauge()->add_data_points());
        break;
      case 1:
        out.mutable_sum()->set_is_monotonic(below(2) == 0);
        out.mutable_sum()->set_aggregation_temporality(temporality);
        for (auto n = below(4); n-- > 0;) numbers(*out.mutable_sum()->add_data_points());
        break;
      case 2: {
        auto& histogram = *out.mutable_histogram();
        histogram.set_aggregation_temporality(temporality);
        for (auto n = below(3); n-- > 0;) {
          auto& one = *histogram.add_data_points();
          point(one);
          exemplars(one);
          const auto bounds = below(5);
          std::uint64_t count = 0;
          for (std::uint64_t b = 0; b < bounds; ++b) one.add_explicit_bounds(static_cast<double>(b) * 2.5 - 1);
          for (std::uint64_t b = 0; b <= bounds && below(20) > 0; ++b) {
            one.add_bucket_counts(below(1000));
            count += one.bucket_counts(static_cast<int>(b));
          }
          one.set_count(count + (below(5) == 0 ? 1 : 0));
          if (below(2) == 0) one.set_sum(number());
          if (below(2) == 0) one.set_min(number());
        }
        break;
      }
      case 3: {
        auto& histogram = *out.mutable_exponential_histogram();
        histogram.set_aggregation_temporality(temporality);
        for (auto n = below(3); n-- > 0;) {
          auto& one = *histogram.add_data_points();
          point(one);
          exemplars(one);
          one.set_scale(static_cast<std::int32_t>(below(25)) - 10);
          std::uint64_t count = below(3);
          one.set_zero_count(count);
          if (below(3) == 0) one.set_zero_threshold(0.001);
          for (auto* side : {one.mutable_positive(), one.mutable_negative()}) {
            side->set_offset(static_cast<std::int32_t>(below(200)) - 100);
            for (auto b = below(20); b-- > 0;) {
              side->add_bucket_counts(below(4));
              count += side->bucket_counts(side->bucket_counts_size() - 1);
            }
          }
          one.set_count(count);
          if (below(2) == 0) one.set_sum(number());
        }
        break;
      }
      case 4:
        for (auto n = below(3); n-- > 0;) {
          auto& one = *out.mutable_summary()->add_data_points();
          point(one);
          one.set_count(random_());
          one.set_sum(number());
          for (auto q = below(4); q-- > 0;) {
            auto& quantile = *one.add_quantile_values();
            quantile.set_quantile(static_cast<double>(below(11)) / 10);
            quantile.set_value(number());
          }
        }
        break;
      default:
        break;  // nothing in it
    }
  }
  void numbers(otlp_oracle::NumberDataPoint& out) {
    point(out);
    exemplars(out);
    if (const auto kind = below(10); kind < 5) {
      out.set_as_double(number());
    } else if (kind < 9) {
      out.set_as_int(static_cast<std::int64_t>(random_()) >> below(60));
    }
  }

  std::mt19937_64 random_;
};

// What libprotobuf reads of the number points: value, time and start, in order.
std::vector<std::array<std::uint64_t, 3>> numbers_of(const ExportMetricsServiceRequest& request) {
  std::vector<std::array<std::uint64_t, 3>> out;
  const auto take = [&](const otlp_oracle::NumberDataPoint& point, bool counts) {
    const bool recorded = (point.flags() & 1) == 0;
    if (point.time_unix_nano() == 0) return;
    for (const auto& attribute : point.attributes())
      if (attribute.key().empty()) return;
    if (recorded && point.value_case() == otlp_oracle::NumberDataPoint::VALUE_NOT_SET) return;
    const double value = point.value_case() == otlp_oracle::NumberDataPoint::kAsInt
                             ? static_cast<double>(point.as_int())
                             : point.as_double();
    const std::uint64_t ms = point.time_unix_nano() / 1'000'000;
    const std::uint64_t start = point.start_time_unix_nano() / 1'000'000;
    out.push_back({recorded ? std::bit_cast<std::uint64_t>(value) : stale_bits, ms,
                   counts && start < ms ? start : 0});
  };
  for (const auto& resource : request.resource_metrics())
    for (const auto& scope : resource.scope_metrics())
      for (const auto& metric : scope.metrics()) {
        if (metric.name().find_first_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos)
          continue;
        for (const auto& point : metric.gauge().data_points()) take(point, false);
        const auto temporality = metric.sum().aggregation_temporality();
        if (temporality != cumulative && temporality != delta) continue;
        for (const auto& point : metric.sum().data_points())
          take(point, metric.sum().is_monotonic() && temporality == cumulative);
      }
  return out;
}

}  // namespace

TEST_CASE("otlp: random requests are read as libprotobuf reads them, in both forms") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  Random random(seed);
  std::size_t samples = 0, rejected = 0;
  for (int round = 0; round < 400; ++round) {
    const ExportMetricsServiceRequest request = random.request();
    // The oracle reads the bytes back, so that both start from the same.
    ExportMetricsServiceRequest oracle;
    REQUIRE(oracle.ParseFromString(request.SerializeAsString()));
    const Otlp otlp = read(oracle, {.scope_labels = random.below(2) == 0});
    std::vector<std::array<std::uint64_t, 3>> ours;
    for (const Told& one : told(otlp)) {
      const std::string& type = one.labels.at("__type__");
      if (type == "gauge" || type == "counter")
        ours.push_back({one.bits, static_cast<std::uint64_t>(one.ms),
                        static_cast<std::uint64_t>(one.start_ms)});
    }
    REQUIRE(ours == numbers_of(oracle));
    samples += told(otlp).size();
    rejected += otlp.decoded.rejected_count;
  }
  CHECK(samples > 1000);
  CHECK(rejected > 50);
}

namespace {

// What a decoded request promises, whatever its bytes were.
void check_promises(const Otlp& otlp) {
  std::size_t points = 0;
  for (const RawSeries& series : otlp.decoded.batch.series) {
    REQUIRE(series.first == points);
    REQUIRE(series.count == 1);
    points += series.count;
    REQUIRE((series.line < otlp.data_points || series.line == Otlp::no_data_point));
    if (const auto identity = otlp.decoded.batch.identify(series.labels, Mapping())) {
      REQUIRE_FALSE(identity->metric.empty());
      REQUIRE(decode::is_storable(identity->model));
      REQUIRE(decode::is_storable(identity->metric));
    }
  }
  REQUIRE(points == otlp.decoded.batch.points.size());
  REQUIRE(otlp.decoded.rejected_count <= otlp.data_points);
  for (const Rejected& one : otlp.decoded.rejected) REQUIRE(decode::is_storable(one.what));
}

}  // namespace

TEST_CASE("otlp: damaged requests are refused or read, and never read beyond their bytes") {
  // Requests of a few hundred bytes with something of everything.
  Random random(7);
  std::vector<std::string> protobuf, json;
  while (protobuf.size() < 12) {
    const auto request = random.request();
    const std::string bytes = request.SerializeAsString();
    if (bytes.size() < 100 || bytes.size() > 1500) continue;
    protobuf.push_back(bytes);
    json.push_back(json_of(request));
  }
  int read_count = 0;
  const auto below = fuzz::run(
      {.corpus = protobuf, .words = {"\x0a", "\x12", "\x3a\x00", "\x0a\x03\x0a\x01", "\x7f", "\xff\xff\xff\x7f"}},
      [&](std::string_view bytes) {
        const auto otlp = otlp_protobuf(bytes);
        if (!otlp) return;
        ++read_count;
        check_promises(*otlp);
      });
  INFO(below.summary);
  CHECK(below.failure.empty());
  CHECK(read_count > 100);  // a damage that always stops at the first check would test nothing

  int json_count = 0;
  const auto above = fuzz::run(
      {.corpus = json,
       .words = {"null", "\"NaN\"", "1e999", "-1", "{}", "[]", "\"", "18446744073709551616", "\\u0000", "true"}},
      [&](std::string_view bytes) {
        const auto otlp = read_json(bytes);
        if (!otlp) return;
        ++json_count;
        check_promises(*otlp);
      });
  INFO(above.summary);
  CHECK(above.failure.empty());
  CHECK(json_count > 100);
}
