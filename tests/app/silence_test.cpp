#include "app/silence.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace std::chrono_literals;

TEST_CASE("a fleet of which nobody is heard says so after three ticks, and five minutes at least") {
  FleetView view;
  view.at = from_seconds(1'763'950'200);
  view.tick = 1min;
  CHECK_FALSE(app::fleet_silence(view, 24h));  // a new muster has heard nobody yet, and says that elsewhere
  view.models.emplace_back();
  CHECK_FALSE(app::fleet_silence(view, 5min));
  REQUIRE(app::fleet_silence(view, 5min + 1s));
  CHECK(app::fleet_silence(view, 6min)->kind == "no_data");
  CHECK(app::fleet_silence(view, 6min)->since == view.at);
  view.tick = 1h;
  CHECK_FALSE(app::fleet_silence(view, 3h));
  CHECK(app::fleet_silence(view, 3h + 1s));
}
