#pragma once

#include <string>
#include <string_view>

// OpenTelemetry's names in Prometheus's alphabet, by the rules that Prometheus's own OTLP endpoint follows:
// https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
namespace muster::decode {

// What a metric holds; as Metric.data of OTLP.
enum class OtlpData { gauge, sum, histogram, exponential_histogram, summary };

// A unit of UCUM in Prometheus's words: "ms" is milliseconds, "By/s" bytes_per_second, "1" and "{requests}"
// nothing. What is in no table keeps its letters and digits.
std::string prometheus_unit(std::string_view ucum);

// The metric's name: parts joined by single underscores, the unit behind it when the name does not say it
// already, _total for a counter, _ratio for a gauge of unit 1:
//
//   http.server.duration, ms, histogram    http_server_duration_milliseconds
//   system.cpu.utilization, 1, gauge       system_cpu_utilization_ratio
//   jobs.done, {job}, monotonic sum        jobs_done_total
//
// returns  nothing when the name has no letter and no digit
std::string prometheus_name(std::string_view name, std::string_view ucum, OtlpData data,
                            bool monotonic);

// An attribute's key as a label's name: other characters become _, a digit in front gets "key_" before it, a
// single underscore "key". `out` is overwritten.
void prometheus_label(std::string_view key, std::string& out);

// Whether prometheus_label would give the key as it is.
bool is_prometheus_label(std::string_view key);

}  // namespace muster::decode
