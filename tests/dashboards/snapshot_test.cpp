#include "dashboards/snapshot.hpp"

#include <catch2/catch.hpp>

#include "tests/dashboards/fixture.hpp"

using namespace muster;
using namespace muster::dashboards;
using namespace muster::dashboards::test;

namespace {

Snapshot snapshot_of(FleetView fleet, std::uint64_t number = 1) {
  Snapshot s;
  s.number = number;
  s.fleet = std::make_shared<FleetView>(std::move(fleet));
  return s;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("base64 pads as RFC 4648 section 10 says") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foobar") == "Zm9vYmFy");
}

TEST_CASE("the fleet says what it covers, and its strip is bytes in the models' order") {
  const auto json = parsed(fleet_json(snapshot_of(small_fleet()), {}));
  CHECK(json.at("at") == 1740961800000);
  CHECK(json.at("version") == "1740961800000.1");
  CHECK(json.at("tick_seconds") == 60.0);
  const Json coverage = json.at("coverage");
  CHECK(coverage.at("models") == 3);
  CHECK(coverage.at("reporting") == 2);  // b is silent
  CHECK(coverage.at("learning") == 1);
  CHECK(coverage.at("silent") == 1);
  CHECK(json.at("models").ids() == Ids{"a", "b", "c"});
  const Json heat = json.at("heat");
  CHECK(heat.at("models").ids() == Ids{"a", "b", "c"});
  CHECK(heat.at("ticks").size() == 3);
  // 0 1 2 10 11 12 20 21 22, by `printf '\x00\x01\x02\x0a\x0b\x0c\x14\x15\x16' | base64`
  CHECK(heat.at("scores") == "AAECCgsMFBUW");
}

TEST_CASE("parts leave out what is not asked for") {
  const Snapshot now = snapshot_of(small_fleet());
  const auto core = parsed(fleet_json(now, {true, false}));
  CHECK(core.contains("models"));
  CHECK_FALSE(core.contains("heat"));
  const auto heat = parsed(fleet_json(now, {false, true}));
  CHECK(heat.contains("heat"));
  CHECK_FALSE(heat.contains("models"));
  CHECK(heat.at("version") == core.at("version"));
}

TEST_CASE("a fleet without samples is an answer too") {
  const auto json = parsed(fleet_json(Snapshot{}, {}));
  CHECK(json.at("models").empty());
  CHECK(json.at("at") == 0);
  CHECK(json.at("heat").at("scores") == "");
}

TEST_CASE(
    "open incidents come paged first, then strongest; closed ones for a day; each with what people "
    "did") {
  Snapshot now = snapshot_of(small_fleet());
  auto incidents = std::make_shared<Incidents>();
  Incident weak = incident("INC-0001", Incident::State::open, minute(5));
  weak.score = 20;
  Incident strong = incident("INC-0002", Incident::State::open, minute(6));
  Incident paged = incident("INC-0003", Incident::State::open, minute(7));
  paged.paged = true;
  paged.score = 60;
  Incident closed = incident("INC-0004", Incident::State::resolved, minute(8));
  Incident old = incident("INC-0005", Incident::State::resolved,
                          minute(30 - 1440 - 10));  // closed 24 h 5 min ago
  *incidents = {weak, strong, paged, closed, old};
  now.incidents = incidents;
  now.attentions["INC-0003"] = {minute(9), "feeds on-call"};

  const auto json = parsed(fleet_json(now, {}));
  CHECK(json.at("incidents").ids() == Ids{"INC-0003", "INC-0002", "INC-0001"});
  CHECK(json.at("recent_incidents").ids() == Ids{"INC-0004"});
  const Json first = json.at("incidents").at(0);
  CHECK(first.at("acked_at") == to_millis(minute(9)));
  CHECK(first.at("acked_by") == "feeds on-call");
  CHECK(json.at("incidents").at(1).at("acked_at").is_null());
}

TEST_CASE("a tick brings what differs, and no more") {
  const Snapshot before = snapshot_of(small_fleet(), 1);
  FleetView fleet = small_fleet();
  fleet.at = minute(31);
  fleet.models[1].state = ModelView::State::failing;                  // b changes
  fleet.models.erase(fleet.models.begin());                           // a goes
  fleet.models.push_back(model("d", ModelView::State::learning, 0));  // d comes
  fleet.heat.assign(9, 1);
  fleet.recent_events.insert(fleet.recent_events.begin(),
                             {minute(31), std::nullopt, "retrain", "model:b", "v2"});
  const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
  CHECK(tick.at("full") == false);
  CHECK(tick.at("models").ids() == Ids{"b", "d"});
  CHECK(tick.at("removed").ids() == Ids{"a"});
  REQUIRE(tick.at("events").size() == 1);
  CHECK(tick.at("events").at(0).at("title") == "v2");
  CHECK_FALSE(tick.contains("dependencies"));
  CHECK_FALSE(tick.contains("column"));
  CHECK(tick.contains("heat"));  // other models: the rows are not those of before
}

TEST_CASE("an unknown reader gets everything") {
  const auto tick = parsed(tick_json(nullptr, snapshot_of(small_fleet(), 7)));
  CHECK(tick.at("full") == true);
  CHECK(tick.at("models").ids() == Ids{"a", "b", "c"});
  CHECK(tick.contains("heat"));
  CHECK(tick.contains("dependencies"));
}

TEST_CASE("the strip comes as its newest column when that says it all") {
  const Snapshot before = snapshot_of(small_fleet(), 1);
  FleetView fleet = small_fleet();

  SECTION("nothing changed: nothing is sent") {
    const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
    CHECK_FALSE(tick.contains("column"));
    CHECK_FALSE(tick.contains("heat"));
  }
  SECTION("the newest column grew in place") {
    fleet.heat[8] = 99;  // row 2, column 2
    const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
    CHECK(tick.at("column_at") == to_millis(minute(30)));
    CHECK(tick.at("column") == base64("\x02\x0c\x63"));
    CHECK_FALSE(tick.contains("heat"));
  }
  SECTION("one column came and the oldest went") {
    fleet.heat_ticks = {minute(20), minute(30), minute(40)};
    fleet.heat = {1, 2, 70, 11, 12, 71, 21, 22, 72};
    const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
    CHECK(tick.at("column_at") == to_millis(minute(40)));
    CHECK(tick.at("column") == base64("FGH"));  // 70 71 72
  }
  SECTION("one column came and none went") {
    fleet.heat_ticks.push_back(minute(40));
    fleet.heat = {0, 1, 2, 70, 10, 11, 12, 71, 20, 21, 22, 72};
    CHECK(parsed(tick_json(&before, snapshot_of(fleet, 2))).at("column") == base64("FGH"));
  }
  SECTION("an older column changed as well: the strip is sent whole") {
    fleet.heat[0] = 50;
    fleet.heat[8] = 99;
    const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
    CHECK_FALSE(tick.contains("column"));
    CHECK(tick.contains("heat"));
  }
  SECTION("two columns came: the strip is sent whole") {
    fleet.heat_ticks = {minute(30), minute(40), minute(50)};
    const auto tick = parsed(tick_json(&before, snapshot_of(fleet, 2)));
    CHECK(tick.contains("heat"));
  }
}
