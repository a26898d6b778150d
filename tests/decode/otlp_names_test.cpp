#include "collector/decode/otlp_names.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using decode::OtlpData;

TEST_CASE("a metric gets the name that Prometheus gives it") {
  struct Case {
    const char* name;
    const char* unit;
    OtlpData data;
    bool monotonic;
    const char* expected;
  };
  // The OpenTelemetry specification's page on Prometheus compatibility, and what Prometheus's translator of OTLP
  // does where that says nothing: repeated underscores, units with a slash, units of no table.
  const Case cases[] = {
      {"http.server.duration", "ms", OtlpData::histogram, false,
       "http_server_duration_milliseconds"},
      {"http.server.request.duration", "s", OtlpData::histogram, false,
       "http_server_request_duration_seconds"},
      {"system.io", "By", OtlpData::sum, true, "system_io_bytes_total"},
      {"system.memory.usage", "By", OtlpData::sum, false, "system_memory_usage_bytes"},
      {"system.memory.usage_bytes", "By", OtlpData::gauge, false, "system_memory_usage_bytes"},
      {"system.cpu.utilization", "1", OtlpData::gauge, false, "system_cpu_utilization_ratio"},
      {"cpu.ratio.used", "1", OtlpData::gauge, false, "cpu_used_ratio"},
      {"jobs.done", "1", OtlpData::sum, true, "jobs_done_total"},
      {"jobs.done", "{job}", OtlpData::sum, true, "jobs_done_total"},
      {"requests_total", "", OtlpData::sum, true, "requests_total"},
      {"total.requests", "", OtlpData::sum, true, "requests_total"},
      {"queue.depth", "{item}", OtlpData::sum, false, "queue_depth"},
      {"network.speed", "By/s", OtlpData::gauge, false, "network_speed_bytes_per_second"},
      {"rate", "{request}/s", OtlpData::gauge, false, "rate_per_second"},
      {"rate.per.second", "/s", OtlpData::gauge, false, "rate_per_second"},
      {"disk.seeks", "1/min", OtlpData::gauge, false, "disk_seeks_per_minute"},
      {"battery", "%", OtlpData::gauge, false, "battery_percent"},
      {"oven", "Cel", OtlpData::gauge, false, "oven_celsius"},
      {"clock", "Hz", OtlpData::gauge, false, "clock_hertz"},
      {"storage", "KiBy", OtlpData::gauge, false, "storage_kibibytes"},
      {"spin", "rpm", OtlpData::gauge, false, "spin_rpm"},
      {"spin", " rpm ", OtlpData::gauge, false, "spin_rpm"},
      {"money", "$", OtlpData::gauge, false, "money"},
      {"a..b--c__d", "", OtlpData::gauge, false, "a_b_c_d"},
      {".leading.and.trailing.", "", OtlpData::gauge, false, "leading_and_trailing"},
      {"3d.models", "", OtlpData::gauge, false, "_3d_models"},
      {"job:rate5m", "", OtlpData::gauge, false, "job:rate5m"},
      {"größe", "", OtlpData::gauge, false, "gr_e"},
      {"latency.seconds", "s", OtlpData::summary, false, "latency_seconds"},
      {"", "s", OtlpData::gauge, false, ""},
      {"...", "", OtlpData::gauge, false, ""},
  };
  for (const Case& one : cases) {
    INFO(one.name << " " << one.unit);
    CHECK(decode::prometheus_name(one.name, one.unit, one.data, one.monotonic) == one.expected);
  }
}

TEST_CASE("a unit of UCUM gets Prometheus's word") {
  const std::pair<const char*, const char*> cases[] = {
      {"s", "seconds"}, {"ms", "milliseconds"}, {"us", "microseconds"}, {"ns", "nanoseconds"},
      {"min", "minutes"}, {"h", "hours"}, {"d", "days"}, {"By", "bytes"}, {"1", ""},
      {"{packets}", ""}, {"By/s", "bytes_per_second"}, {"{a}/h", "per_hour"}, {"m/s", "meters_per_second"},
      {"", ""}, {"/", ""}, {"mg", "mg"}};
  for (const auto& [ucum, word] : cases) {
    INFO(ucum);
    CHECK(decode::prometheus_unit(ucum) == word);
  }
}

TEST_CASE("an attribute's key becomes a label's name") {
  const std::pair<const char*, const char*> cases[] = {
      {"http.method", "http_method"}, {"a-b c", "a_b_c"},   {"plain_1", "plain_1"},
      {"1st", "key_1st"},             {"_hidden", "key_hidden"}, {"__kept", "__kept"},
      {".dot", "key_dot"},            {"größe", "gr__e"},   {"a.b", "a_b"},
      {"", ""},                       {"日本", "__"}};
  std::string out;
  for (const auto& [key, name] : cases) {
    decode::prometheus_label(key, out);
    INFO(key);
    CHECK(out == name);
    CHECK(decode::is_prometheus_label(key) == (!out.empty() && out == key));
  }
}
