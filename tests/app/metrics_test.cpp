#include "app/metrics.hpp"

#include "app/storage_keeper.hpp"

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

TEST_CASE("/metrics tells what becomes of samples") {
  app::StorageKeeper::Counters counters;
  counters.samples = 1200;
  counters.expired = 3;
  counters.given_up = 2;
  counters.last_error = "no";
  counters.over_bound = true;
  const auto text = [&] {
    app::MetricsPage page;
    app::add_storage(page, counters);
    return page.text();
  };
  const auto has = [&](const char* line) { return text().find(line) != std::string::npos; };
  CHECK(has("\nmuster_storage_compacted_samples_total 1200\n"));
  CHECK(has("\nmuster_storage_samples_dropped_total{reason=\"beyond_retention\"} 3\n"));
  CHECK(has("\nmuster_storage_partitions_dropped_total{reason=\"disk_max\"} 2\n"));
  CHECK(has("\nmuster_storage_failing 1\n"));
  CHECK(has("\nmuster_storage_over_bound 1\n"));
  // Not looked at yet, so nothing is said about it.
  CHECK(!has("muster_storage_log_hours_behind"));
  counters.looked_at = from_seconds(1);
  counters.use.log_hours_behind = 4;
  counters.use.tables = {{"blocks", 77, 1, 5, from_seconds(60)}};
  CHECK(has("\nmuster_storage_log_hours_behind 4\n"));
  CHECK(has("\nmuster_storage_bytes{kind=\"blocks\"} 77\n"));
  CHECK(has("\nmuster_storage_oldest_seconds{kind=\"blocks\"} 60\n"));
}
