#include "app/ingest_page.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <limits>

using namespace muster;
using store::Registry;

TEST_CASE("the ingest page says who sends, what was not taken and where series come from") {
  store::IngestReport report;
  report.series = 90;
  report.models = 4;
  report.senders.push_back({{"10.0.0.7 vmagent", 500, 81, 12}, 7, 70});
  report.labels = {{"pod", 80, 41'000}, {"zone", 80, 3}};
  report.metrics = {{"requests", 60}};
  Registry::Drop& ahead = report.drops[static_cast<std::size_t>(Registry::Reason::ahead)];
  ahead.samples = 3;
  ahead.examples.push_back({from_millis(1000), "10.0.0.7 vmagent", "model m, metric x",
                            from_millis(99'000), std::numeric_limits<double>::quiet_NaN()});
  collector::Counters senders;
  senders.senders["10.0.0.7 vmagent"].requests = 5;
  senders.senders["10.0.0.8 curl"].refused = 2;

  const auto page = boost::json::parse(
      app::ingest_json(report, senders, {1000, 200, 30, 4}, {.series_max = 100, .sender_series_max = 100}));
  CHECK(page.at("series").to_number<int>() == 90);
  REQUIRE(page.at("senders").as_array().size() == 2);
  const auto& first = page.at("senders").at(0);
  CHECK(first.at("sender").as_string() == "10.0.0.7 vmagent");
  CHECK(first.at("requests").to_number<int>() == 5);
  CHECK(first.at("new_series").to_number<int>() == 81);
  CHECK(first.at("active_series").to_number<int>() == 12);
  CHECK(first.at("queue_samples").to_number<int>() == 7);
  CHECK(page.at("senders").at(1).at("unreadable_requests").to_number<int>() == 2);

  REQUIRE(page.at("drops").as_array().size() == 1);  // those that did not happen are left out
  const auto& drop = page.at("drops").at(0);
  CHECK(drop.at("reason").as_string() == "ahead_of_clock");
  CHECK(drop.at("samples").to_number<int>() == 3);
  CHECK(drop.at("examples").at(0).at("ts").to_number<int>() == 99'000);
  CHECK(drop.at("examples").at(0).at("value").is_null());
  CHECK(page.at("labels").at(0).at("values").to_number<int>() == 41'000);
  CHECK(page.at("memory").at("registry_bytes").to_number<int>() == 200);

  // 41,000 values are too many for a label; 90 of 100 and 81 of 100 are beyond four fifths.
  const auto& advice = page.at("advice").as_array();
  REQUIRE(advice.size() == 3);
  CHECK_THAT(std::string(advice[0].as_string()), Catch::Contains("label \"pod\" has about 41,000 values"));
  CHECK_THAT(std::string(advice[1].as_string()), Catch::Contains("series_max"));
  CHECK_THAT(std::string(advice[2].as_string()), Catch::Contains("10.0.0.7 vmagent"));
}
