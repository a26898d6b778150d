#include "simulator/score.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::simulator;

namespace {

constexpr Timestamp hour(int h) {
  return from_seconds(h * 3600);
}

Truth fault(std::uint32_t id, std::string cause, std::vector<std::string> models, int from,
            int until) {
  return {id, "upstream_break", std::move(cause), std::move(models),
          {}, hour(from),       hour(until),      1};
}

const ScoreSettings two_weeks{hour(0), hour(336)};

}  // namespace

TEST_CASE("a page about the cause, in time, finds the fault") {
  const std::vector truth{fault(1, "src-a", {"m1", "m2", "m3"}, 10, 20)};
  const std::vector claims{Claim{"I1", hour(12), {"src-a", "src-b"}, {"m1", "m2"}}};
  const std::vector pages{Page{hour(12), "I1"}};
  const Score s = score(truth, claims, pages, nullptr, two_weeks);
  CHECK(s.found == 1);
  CHECK(s.faults == 1);
  CHECK(*s.delay_median == std::chrono::hours(2));
  CHECK(s.false_pages == 0);
  CHECK(s.top1 == 1);
  CHECK(s.top3 == 1);
  CHECK(s.fragmentation == 1);
  CHECK(s.pages_per_incident == 1);
  CHECK(s.weeks == 2);
  // None in two weeks: 3.689 / 2.
  CHECK(s.false_high == Approx(1.8444).margin(1e-3));
}

TEST_CASE("an incident without a page finds nothing") {
  const std::vector truth{fault(1, "src-a", {"m1"}, 10, 20)};
  const std::vector claims{Claim{"I1", hour(12), {"src-a"}, {"m1"}}};
  const Score s = score(truth, claims, {}, nullptr, two_weeks);
  CHECK(s.found == 0);
  CHECK(s.pages == 0);
  CHECK(!s.delay_median);
}

TEST_CASE("pages outside of every fault's time or models are false") {
  const std::vector truth{fault(1, "src-a", {"m1", "m2"}, 10, 20)};
  const std::vector claims{
      Claim{"early", hour(9), {"src-a"}, {"m1", "m2"}},
      Claim{"after", hour(26), {"src-a"}, {"m1", "m2"}},  // end + 6 h of grace is 26, not included
      Claim{"recovery", hour(25), {"src-b"}, {"m1", "m2"}},  // in grace: by its models
      Claim{"elsewhere", hour(12), {"src-b"}, {"m7", "m8"}},
  };
  const std::vector pages{Page{hour(9), "early"}, Page{hour(26), "after"},
                          Page{hour(25), "recovery"}, Page{hour(12), "elsewhere"},
                          Page{hour(13), "of no incident"}};
  const Score s = score(truth, claims, pages, nullptr, two_weeks);
  CHECK(s.pages == 5);
  CHECK(s.false_pages == 4);
  CHECK(s.false_claims ==
        std::vector<std::string>{"early", "elsewhere", "of no incident", "after"});
  CHECK(s.false_per_week == 2);
  CHECK(s.found == 1);
  CHECK(s.top1 == 0);
  CHECK(*s.delay_median == std::chrono::hours(15));
}

TEST_CASE("half of the smaller set of models is enough, less is not") {
  const std::vector truth{
      fault(1, "src-a", {"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"}, 10, 20)};
  const auto found = [&](std::vector<std::string> models, std::vector<std::string> suspects) {
    const std::vector claims{Claim{"I", hour(11), std::move(suspects), std::move(models)}};
    return score(truth, claims, std::vector{Page{hour(11), "I"}}, nullptr, two_weeks).found == 1;
  };
  CHECK(found({"m1", "m2", "x1", "x2"}, {"src-b"}));
  CHECK(!found({"m1", "x1", "x2"}, {"src-b"}));
  CHECK(!found({}, {"src-b"}));
  // The cause by name, whatever the models.
  CHECK(found({"x1"}, {"src-a"}));
  CHECK(!found({"x1"}, {"src-b", "src-a"}));
}

TEST_CASE("two pages for one fault are one find in two fragments") {
  const std::vector truth{fault(1, "src-a", {"m1", "m2", "m3"}, 10, 20)};
  const std::vector claims{Claim{"I1", hour(11), {"src-b", "src-c", "src-a"}, {"m1"}},
                           Claim{"I2", hour(12), {"src-a"}, {"m2"}}};
  const std::vector pages{Page{hour(11), "I1"}, Page{hour(12), "I2"}, Page{hour(15), "I2"}};
  const Score s = score(truth, claims, pages, nullptr, two_weeks);
  CHECK(s.found == 1);
  CHECK(s.pages_per_incident == 3);
  CHECK(s.fragmentation == 2);
  // The cause is judged by the first page: third of its suspects.
  CHECK(s.top1 == 0);
  CHECK(s.top3 == 1);
  CHECK(s.fates[0].rank == 3);
  CHECK(s.fates[0].claims == std::vector<std::string>{"I1", "I2"});
}

TEST_CASE("of two faults at once a page belongs to the one it fits") {
  const std::vector truth{fault(1, "src-a", {"m1", "m2", "m3", "m4"}, 10, 20),
                          fault(2, "src-b", {"m4", "m5"}, 10, 20)};
  const std::vector claims{Claim{"I1", hour(11), {"src-a"}, {"m1", "m2", "m4"}},
                           Claim{"I2", hour(13), {"src-b"}, {"m4", "m5"}}};
  const std::vector pages{Page{hour(11), "I1"}, Page{hour(13), "I2"}};
  const Score s = score(truth, claims, pages, nullptr, two_weeks);
  CHECK(s.found == 2);
  CHECK(s.fates[0].claims == std::vector<std::string>{"I1"});
  CHECK(s.fates[1].claims == std::vector<std::string>{"I2"});
  CHECK(*s.delay_median == std::chrono::hours(1));
  CHECK(*s.delay_p90 == std::chrono::hours(3));
  // One page that covers both finds the one it fits best, and the other is missed.
  const std::vector one{Claim{"I", hour(11), {"src-a"}, {"m1", "m2", "m3", "m4", "m5"}}};
  const Score covered = score(truth, one, std::vector{Page{hour(11), "I"}}, nullptr, two_weeks);
  CHECK(covered.found == 1);
  CHECK(covered.fates[0].delay);
}

TEST_CASE("while the detector learns nothing counts") {
  const std::vector truth{fault(1, "src-a", {"m1"}, 10, 120), fault(2, "src-b", {"m2"}, 130, 140)};
  const std::vector claims{Claim{"I1", hour(11), {"src-a"}, {"m1"}},
                           Claim{"I2", hour(12), {"src-c"}, {"m9"}},
                           Claim{"I3", hour(110), {"src-a"}, {"m1"}}};
  const std::vector pages{Page{hour(11), "I1"}, Page{hour(12), "I2"}, Page{hour(110), "I3"}};
  const Score s = score(truth, claims, pages, nullptr, {hour(100), hour(436)});
  CHECK(s.faults == 1);
  CHECK(s.found == 0);
  CHECK(s.pages == 0);  // I3 is about a fault that began before: neither found nor false
  CHECK(s.false_pages == 0);
}

TEST_CASE("dependencies that cannot be told apart are one cause") {
  const auto topology = parse_topology(
      R"({"format":"muster-topology/1","models":[{"id":"m1"},{"id":"m2"},{"id":"m3"}],
    "dependencies":[{"id":"pipe","kind":"feature_pipeline"},{"id":"src","kind":"source"},{"id":"other","kind":"source"}],
    "edges":[{"from":"m1","to":"pipe"},{"from":"m2","to":"pipe"},{"from":"pipe","to":"src"},{"from":"m3","to":"other"}]})");
  REQUIRE(topology);
  const std::vector truth{fault(1, "src", {"m1", "m2"}, 10, 20)};
  const std::vector claims{Claim{"I1", hour(11), {"pipe"}, {"m1", "m2"}}};
  const std::vector pages{Page{hour(11), "I1"}};
  CHECK(score(truth, claims, pages, &*topology, two_weeks).top1 == 1);
  CHECK(score(truth, claims, pages, nullptr, two_weeks).top1 == 0);
}

TEST_CASE("the interval is Garwood's") {
  // Tables of the exact Poisson interval (chi-square quantiles): 0, 1, 13, 20.
  CHECK(poisson_interval(0).low == 0);
  CHECK(poisson_interval(0).high == Approx(3.6889).margin(1e-3));
  CHECK(poisson_interval(1).low == Approx(0.0253).margin(1e-3));
  CHECK(poisson_interval(1).high == Approx(5.5716).margin(1e-3));
  CHECK(poisson_interval(13).low == Approx(6.9220).margin(1e-3));
  CHECK(poisson_interval(13).high == Approx(22.2304).margin(1e-3));
  CHECK(poisson_interval(20).low == Approx(12.2165).margin(1e-3));
  CHECK(poisson_interval(20).high == Approx(30.8884).margin(1e-3));
}

TEST_CASE("runs pool: counts add and delays mix") {
  const std::vector truth{fault(1, "src-a", {"m1"}, 10, 20)};
  const auto run = [&](int at) {
    const std::vector claims{Claim{"I", hour(at), {"src-a"}, {"m1"}},
                             Claim{"F", hour(100), {"x"}, {"y"}}};
    return score(truth, claims, std::vector{Page{hour(at), "I"}, Page{hour(100), "F"}}, nullptr,
                 two_weeks);
  };
  const std::vector scores{run(11), run(13), run(16), run(300)};
  const Score all = pooled(scores);
  CHECK(all.faults == 4);
  CHECK(all.found == 3);
  CHECK(all.weeks == 8);
  CHECK(all.false_pages == 5);
  CHECK(*all.delay_median == std::chrono::hours(3));
  CHECK(*all.delay_p90 == std::chrono::hours(6));
}

TEST_CASE("openings that may wake someone are claims with a page") {
  Finding opened;
  opened.at = hour(5);
  opened.incident.id = "INC-0001";
  opened.incident.opened_at = hour(5);
  opened.incident.paged = true;
  opened.incident.models = {"m1", "m2"};
  opened.incident.suspects = {Suspect{"src-a"}, Suspect{"src-b"}};
  Finding updated = opened;
  updated.what = Finding::What::updated;
  updated.at = hour(6);
  updated.incident.suspects = {Suspect{"src-c"}};
  Finding again = opened;
  again.what = Finding::What::reopened;
  again.at = hour(9);
  Finding shown = opened;
  shown.incident.id = "INC-0002";
  shown.incident.paged = false;
  const Claims all = claims_of(std::vector{opened, updated, again, shown});
  REQUIRE(all.claims.size() == 1);
  CHECK(all.claims[0].suspects == std::vector<std::string>{"src-a", "src-b"});
  REQUIRE(all.pages.size() == 2);
  CHECK(all.pages[1].ts == hour(9));
}

TEST_CASE("incidents and pages are read in every form the format allows") {
  const auto array =
      parse_claims(R"([{"id":"I1","opened_at":1740960000000,"resolved_at":null,"score":97,
    "suspects":[{"dependency":"src-a","score":3.2},{"dependency":"unknown","score":1}],"models":["m1"],"metrics":["x"]}])");
  REQUIRE(array);
  CHECK(array->front().opened_at == from_millis(1740960000000));
  CHECK(array->front().suspects == std::vector<std::string>{"src-a", "unknown"});
  CHECK(array->front().models == std::vector<std::string>{"m1"});

  const auto lines = parse_claims(
      "{\"id\":7,\"opened_at\":1740960000,\"suspects\":[\"src-a\"]}\n\n"
      "{\"id\":\"I2\",\"opened_at\":\"2025-03-03T00:00:00Z\"}\n");
  REQUIRE(lines);
  REQUIRE(lines->size() == 2);
  CHECK((*lines)[0].id == "7");
  CHECK((*lines)[0].opened_at == from_millis(1740960000000));
  CHECK((*lines)[1].opened_at == from_millis(1740960000000));

  const auto pages = parse_pages(R"([{"ts":"2025-03-03T00:10:00.5+00:00","incident_id":"I1"}])");
  REQUIRE(pages);
  CHECK(pages->front().ts == from_millis(1740960600500));
  CHECK(parse_pages("")->empty());

  CHECK(parse_claims("[{\"id\":\"x\"}]").error().where == "incidents[0].opened_at");
  CHECK(parse_claims("{\"id\":\"x\",\"opened_at\":1}\n{oops").error().where == "incidents, line 2");
  CHECK(parse_pages("[{\"ts\":\"2025-13-03T00:10:00Z\",\"incident_id\":\"I1\"}]").error().where ==
        "pages[0].ts");
  CHECK(parse_pages("[3]").error().where == "pages[0]");
}
