// What it costs to read a request, in CPU of one thread and without anything behind it:
//
//   bench_decode [--points 2000] [--attributes 6] [--repeats 7]
//
// OTLP requests are as the SDKs make them: a resource with eight attributes, one scope, metrics of some points each.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <protozero/pbf_writer.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/clocks.hpp"
#include "collector/decode/otlp.hpp"

using namespace muster;
using bench::thread_cpu;

namespace {

struct Options {
  int points = 2000;
  int attributes = 6;
  int repeats = 7;
};

constexpr std::uint64_t time_ns = 1'700'000'000'000'000'000;

const std::vector<std::pair<std::string, std::string>> resource = {
    {"service.name", "ranker"},       {"service.namespace", "shop"},
    {"service.instance.id", "9a1b"},  {"service.version", "1.27.3"},
    {"model.name", "churn-eu"},       {"cloud.region", "eu-west-1"},
    {"host.name", "ip-10-0-31-77"},   {"telemetry.sdk.language", "python"}};

// Names as the semantic conventions have them, and values of usual length.
std::vector<std::pair<std::string, std::string>> attributes_of(int point, int n) {
  static const char* const keys[] = {"http.request.method", "http.route", "http.response.status_code",
                                     "network.protocol.version", "server.address", "error.type"};
  std::vector<std::pair<std::string, std::string>> out;
  for (int i = 0; i < n; ++i)
    out.emplace_back(i < 6 ? keys[i] : "attribute." + std::to_string(i),
                     "value-" + std::to_string(i) + "-" + std::to_string(point % 1000));
  return out;
}

template <class Pairs>
void add_attributes(protozero::pbf_writer& into, std::uint32_t field, const Pairs& pairs) {
  for (const auto& [key, value] : pairs) {
    protozero::pbf_writer pair(into, field);
    pair.add_string(1, key);
    protozero::pbf_writer any(pair, 2);
    any.add_string(1, value);
  }
}

enum class Data { number, histogram, exponential };

std::string protobuf(const Options& options, Data kind, int points_a_metric) {
  std::string body;
  protozero::pbf_writer request(body);
  protozero::pbf_writer resource_metrics(request, 1);
  {
    protozero::pbf_writer who(resource_metrics, 1);
    add_attributes(who, 1, resource);
  }
  protozero::pbf_writer scope(resource_metrics, 2);
  for (int made = 0; made < options.points; made += points_a_metric) {
    protozero::pbf_writer metric(scope, 2);
    metric.add_string(1, "http.server.request.duration." + std::to_string(made));
    metric.add_string(3, "s");
    protozero::pbf_writer data(metric, kind == Data::number ? 7 : kind == Data::histogram ? 9 : 10);
    for (int p = 0; p < points_a_metric; ++p) {
      protozero::pbf_writer point(data, 1);
      point.add_fixed64(2, time_ns - 60'000'000'000);
      point.add_fixed64(3, time_ns);
      const auto pairs = attributes_of(made + p, options.attributes);
      if (kind == Data::number) {
        point.add_double(4, made + p + 0.5);
        add_attributes(point, 7, pairs);
      } else if (kind == Data::histogram) {
        std::vector<double> bounds = {.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10};
        std::vector<std::uint64_t> counts(bounds.size() + 1, 7);
        point.add_fixed64(4, 7 * counts.size());
        point.add_double(5, 12.5);
        point.add_packed_fixed64(6, counts.begin(), counts.end());
        point.add_packed_double(7, bounds.begin(), bounds.end());
        add_attributes(point, 9, pairs);
      } else {
        const std::vector<std::uint64_t> counts(160, 7);
        add_attributes(point, 1, pairs);
        point.add_fixed64(4, 7 * counts.size());
        point.add_double(5, 12.5);
        point.add_sint32(6, 4);
        protozero::pbf_writer positive(point, 8);
        positive.add_sint32(1, -120);
        positive.add_packed_uint64(2, counts.begin(), counts.end());
      }
    }
    // Behind the points, as serializers write it.
    data.add_enum(2, 2);
    if (kind == Data::number) data.add_bool(3, true);
  }
  return body;
}

std::string json_attributes(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::string out = "[";
  for (const auto& [key, value] : pairs)
    out += (out.size() > 1 ? "," : "") + ("{\"key\":\"" + key + "\",\"value\":{\"stringValue\":\"" + value + "\"}}");
  return out + "]";
}

std::string json(const Options& options, int points_a_metric) {
  std::string out = R"({"resourceMetrics":[{"resource":{"attributes":)" + json_attributes(resource) +
                    R"(},"scopeMetrics":[{"scope":{"name":"meter"},"metrics":[)";
  for (int made = 0; made < options.points; made += points_a_metric) {
    if (made > 0) out += ',';
    out += R"({"name":"http.server.request.duration.)" + std::to_string(made) +
           R"(","unit":"s","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[)";
    for (int p = 0; p < points_a_metric; ++p) {
      if (p > 0) out += ',';
      out += R"({"attributes":)" + json_attributes(attributes_of(made + p, options.attributes)) +
             R"(,"startTimeUnixNano":"1699999940000000000","timeUnixNano":"1700000000000000000","asDouble":)" +
             std::to_string(made + p) + ".5}";
    }
    out += "]}}";
  }
  return out + "]}]}]}";
}

template <class Read>
void measure(const Options& options, const char* name, const std::string& body, Read read) {
  std::vector<double> rates;
  std::size_t samples = 0;
  // The first one warms the caches.
  for (int repeat = 0; repeat <= options.repeats; ++repeat) {
    constexpr int rounds = 40;
    std::vector<std::vector<char>> bodies(rounds, {body.begin(), body.end()});
    const double start = thread_cpu();
    for (std::vector<char>& one : bodies) {
      const auto otlp = read(std::move(one));
      if (!otlp) throw std::runtime_error(otlp.error().what);
      samples = otlp->decoded.batch.points.size();
      if (otlp->data_points != static_cast<std::uint32_t>(options.points))
        throw std::runtime_error("points are missing");
    }
    if (repeat > 0) rates.push_back(rounds * options.points / (thread_cpu() - start));
  }
  std::nth_element(rates.begin(), rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2), rates.end());
  const double rate = rates[rates.size() / 2];
  fmt::print("{:<34} {:>6.2f} M points {:>6.2f} M samples {:>6.0f} MB a CPU second, {:>4} bytes a point\n", name,
             rate / 1e6, rate * static_cast<double>(samples) / options.points / 1e6,
             rate * static_cast<double>(body.size()) / options.points / 1e6,
             body.size() / static_cast<std::size_t>(options.points));
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("What it costs to read a request, in CPU of one thread");
  app.add_option("--points", options.points, "of one request");
  app.add_option("--attributes", options.attributes, "of one point");
  app.add_option("--repeats", options.repeats, "the median of so many is told");
  CLI11_PARSE(app, argc, argv);

  const auto as_protobuf = [](std::vector<char> body) { return decode::otlp_protobuf(body); };
  const auto as_json = [](std::vector<char> body) { return decode::otlp_json(std::move(body)); };
  fmt::print("{} points of {} attributes a request\n", options.points, options.attributes);
  measure(options, "OTLP numbers, 100 a metric", protobuf(options, Data::number, 100), as_protobuf);
  measure(options, "OTLP numbers, 1 a metric", protobuf(options, Data::number, 1), as_protobuf);
  measure(options, "OTLP histograms of 15 buckets", protobuf(options, Data::histogram, 10), as_protobuf);
  measure(options, "OTLP exponential, 160 buckets", protobuf(options, Data::exponential, 10), as_protobuf);
  measure(options, "OTLP numbers in JSON", json(options, 100), as_json);
  return 0;
} catch (const std::exception& fault) {
  fmt::print(stderr, "bench_decode: {}\n", fault.what());
  return 1;
}
