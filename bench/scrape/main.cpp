// What a sample of a page costs when the page comes again and again, as pages do: from the bytes of an answer to
// rows that are ready to be written. CPU of this thread, no database, no network.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <string>

#include "collector/decode/page_memory.hpp"
#include "schema/store/registry.hpp"

using namespace muster;

namespace {

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Families of a counter, a gauge and a histogram of ten buckets, with five labels a line: some 130 bytes.
std::string page_of(std::size_t series, std::uint64_t seed, bool openmetrics) {
  std::mt19937_64 random(seed);
  std::string page;
  std::size_t made = 0;
  const auto line = [&](const std::string& name, const std::string& more, double value) {
    char number[40];
    std::snprintf(number, sizeof number, "%.6g", value);
    page += name + "{route=\"/api/v1/predict/" + std::to_string(made / 40) +
            "\",method=\"POST\",status=\"200\",handler=\"predict\",shard=\"" +
            std::to_string(made % 40) + '"' + more + "} " + number + '\n';
    ++made;
  };
  const auto value = [&] { return static_cast<double>(random() % 1'000'000) / 64; };
  for (std::size_t family = 0; made < series; ++family) {
    const std::string name = "model_server_metric_" + std::to_string(family);
    const std::size_t until = std::min(series, made + 200);
    switch (family % 3) {
      case 0:
        page += "# TYPE " + name + (openmetrics ? "" : "_total") + " counter\n";
        while (made < until) line(name + "_total", "", value());
        break;
      case 1:
        page += "# TYPE " + name + " gauge\n";
        while (made < until) line(name, "", value());
        break;
      default:
        page += "# TYPE " + name + "_seconds histogram\n";
        while (made < until)
          line(name + "_seconds_bucket", ",le=\"" + std::to_string(made % 10) + ".5\"", value());
    }
  }
  if (openmetrics) page += "# EOF\n";
  return page;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t series = 10'000;
  std::size_t scrapes = 200;
  bool relabel = false;
  CLI::App app("What a sample of a scraped page costs, CPU without database and network");
  app.add_option("--series", series, "lines on the page")->capture_default_str();
  app.add_option("--scrapes", scrapes, "how often it comes")->capture_default_str();
  app.add_flag("--relabel", relabel, "with three metric_relabel_configs");
  CLI11_PARSE(app, argc, argv);

  std::printf("%-12s %-28s %14s %14s\n", "format", "", "samples/CPU-s", "ns a sample");
  for (const bool openmetrics : {false, true}) {
    const auto format =
        openmetrics ? decode::ExpositionFormat::openmetrics : decode::ExpositionFormat::text;
    // Values change from page to page, and so does their length.
    std::vector<std::string> pages;
    for (std::uint64_t seed = 1; seed <= 8; ++seed)
      pages.push_back(page_of(series, seed, openmetrics));

    decode::PageRules rules;
    rules.target = {{"instance", "10.0.0.7:8080"}, {"job", "model-server"}};
    if (relabel) {
      for (const char* name : {"route", "handler", "shard"}) {
        decode::RelabelRule rule;
        rule.source_labels = {name};
        rule.regex = "/?(.*)";
        rule.target_label = std::string("short_") + name;
        rules.metric_relabel.push_back(decode::checked(rule).value());
      }
    }
    decode::PageMemory memory(std::make_shared<const decode::PageRules>(rules));
    store::Registry registry({});
    double reading = 0, handing = 0, gathering = 0, first = 0;
    std::uint64_t samples = 0;
    for (std::size_t n = 0; n <= scrapes; ++n) {
      const Timestamp at = from_millis(1'700'000'000'000 + static_cast<std::int64_t>(n) * 15'000);
      const double a = cpu_seconds();
      auto page = memory.read(pages[n % pages.size()], format, at);
      if (!page) {
        std::fprintf(stderr, "%s: %s\n", page.error().where.c_str(), page.error().what.c_str());
        return 1;
      }
      const double b = cpu_seconds();
      const SampleBatch batch = memory.batch_of(*page);
      memory.delivered();
      const double c = cpu_seconds();
      const Stored stored = registry.gather(batch, at);
      (void)registry.take();
      const double d = cpu_seconds();
      if (stored.accepted != series) {
        std::fprintf(stderr, "%llu samples were stored\n",
                     static_cast<unsigned long long>(stored.accepted));
        return 1;
      }
      if (n == 0) {
        first = d - a;
        continue;
      }
      reading += b - a, handing += c - b, gathering += d - c;
      samples += stored.accepted;
    }
    const auto row = [&](const char* what, double seconds, double count) {
      std::printf("%-12s %-28s %14.0f %14.1f\n", openmetrics ? "OpenMetrics" : "text", what,
                  count / seconds, seconds / count * 1e9);
    };
    const auto count = static_cast<double>(samples);
    row("reading the page", reading, count);
    row("a batch of it", handing, count);
    row("look-up and rows", gathering, count);
    row("all", reading + handing + gathering, count);
    row("the first page", first, static_cast<double>(series));
    std::printf("%-12s page %.0f bytes a line, memory %.0f bytes a series\n", "",
                static_cast<double>(pages[0].size()) / static_cast<double>(series),
                static_cast<double>(memory.bytes()) / static_cast<double>(series));
  }
}
