#include "app/metrics.hpp"

#include <catch2/catch.hpp>

using namespace muster;

TEST_CASE("/metrics is exposition text with one head a family") {
  app::MetricsPage page;
  page.counter("muster_x_total", "What it counts", 3, {{"reason", "a \"quoted\" one"}});
  page.counter("muster_x_total", "What it counts", 4, {{"reason", "b"}});
  page.gauge("muster_y", "What it is", 0.5);
  // By hand, after the text format 0.0.4: HELP, TYPE, then the samples; quotes in labels are escaped.
  CHECK(page.text() ==
        "# HELP muster_x_total What it counts\n"
        "# TYPE muster_x_total counter\n"
        "muster_x_total{reason=\"a \\\"quoted\\\" one\"} 3\n"
        "muster_x_total{reason=\"b\"} 4\n"
        "# HELP muster_y What it is\n"
        "# TYPE muster_y gauge\n"
        "muster_y 0.5\n");
}

TEST_CASE("the process tells of itself") {
  app::MetricsPage page;
  app::add_process(page);
  const std::string text = page.text();
  for (const char* name : {"\nprocess_cpu_seconds_total ", "\nprocess_resident_memory_bytes ", "\nprocess_open_fds "}) {
    CHECK(text.find(name) != text.npos);
  }
}
