// Serves the pages with an invented fleet of 60 models that closes a tick each half second, for the browser
// checks in tests/web: what the pages get here is what the C++ side writes. Prints its address and ends when
// its standard input does.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "dashboards/routes.hpp"
#include "http/server.hpp"
#include "tests/dashboards/fixture.hpp"

using namespace muster;
using namespace muster::dashboards;
using muster::dashboards::test::incident;
using muster::dashboards::test::minute;

namespace {

constexpr int models = 60;
constexpr std::size_t columns = 144;

FleetView fleet_at(int tick) {
  FleetView fleet;
  fleet.at = minute(10 * tick);
  fleet.tick = std::chrono::minutes(10);
  fleet.learning = false;
  fleet.series = 5 * models;
  fleet.samples = 300'000;
  fleet.ledger = {1, minute(10 * tick - 20 * 1440), 2.9, 1};
  for (int m = 0; m < models; ++m) {
    char id[16];
    std::snprintf(id, sizeof id, "mdl-%04d", m);
    const bool hit = m % 6 == 0;
    ModelView view = test::model(id, hit ? ModelView::State::failing : ModelView::State::ok,
                                 static_cast<std::uint8_t>((hit ? 70 : 5) + (tick * 7 + m) % 10));
    view.family = "family-" + std::to_string(m % 5);
    view.team = "team-" + std::to_string(m % 3);
    view.region = m % 2 ? "eu" : "us";
    if (hit) {
      view.incident = "INC-0001";
      view.caption = "null_rate +4.1 sigma since 00:10";
      view.worst_sigma = 4.1;
      view.trend = -1;
    }
    fleet.models.push_back(std::move(view));
  }
  for (std::size_t t = 0; t < columns; ++t) {
    fleet.heat_ticks.push_back(minute(10 * (tick - static_cast<int>(columns - 1 - t))));
  }
  for (int m = 0; m < models; ++m) {
    for (std::size_t t = 0; t < columns; ++t) {
      const int at = tick - static_cast<int>(columns - 1 - t);
      const bool hit = m % 6 == 0 && at > 0;
      fleet.heat.push_back(static_cast<std::uint8_t>((hit ? 70 : 5) + (at * 7 + m + 7000) % 10));
    }
  }
  fleet.recent_events = {{minute(-30), std::nullopt, "deploy", "dependency:pipe-1", "pipe-1 v88"}};
  fleet.static_findings = {{"no_data", "mdl-0001", "", minute(-60), "no samples for 90 min"}};
  return fleet;
}

Incident incident_at(int tick) {
  Incident i = incident("INC-0001", Incident::State::open, minute(20));
  i.started_at = minute(10);
  i.updated_at = minute(10 * tick);
  i.paged = true;
  i.severity = Incident::Severity::critical;
  i.cause = "src-1";
  i.cause_kind = "source";
  i.team = "feeds";
  i.title = "src-1: 10 of its 24 models have shifted, null_rate up since 00:10";
  i.why = "10 of 24 models that use src-1 moved; 1.2 expected by chance.";
  i.first_look = "Look first at the freshness, volume and schema of src-1.";
  i.score = 100;
  i.evidence = 41000;
  i.needed = 18000;
  i.moved = 10;
  i.members = 24;
  i.expected_by_chance = 1.2;
  i.explained = .88;
  i.suspects = {
      {"src-1", "source", .94, 12.5, 10, 24, .88, "all families that use it moved"},
      {"unknown", "unknown", .06, 9.1, 10, 60, .88, "a set this regular is rarely chance"}};
  for (int m = 0; m < models; m += 6) {
    char id[16];
    std::snprintf(id, sizeof id, "mdl-%04d", m);
    AffectedSeries a{id, "null_rate", 4.1 + .1 * m, minute(10), {}, {}, {}, {}};
    for (int t = -60; t <= tick; ++t) {
      a.ts.push_back(minute(10 * t));
      const double usual = .02 + .002 * std::sin(t / 9.);
      if (t == -20) {
        a.value.emplace_back(std::nullopt);
      } else {
        a.value.emplace_back(usual + (t > 0 ? .02 : 0));
      }
      a.low.push_back(usual - .004);
      a.high.push_back(usual + .004);
    }
    i.models.push_back(a.model);
    i.affected.push_back(std::move(a));
  }
  i.metrics = {"null_rate"};
  for (int t = -20; t <= tick; ++t) {
    i.timeline.push_back(
        {minute(10 * t), t > 0 ? std::min(41000., std::pow(10., 1.6 * t)) : 1.2, t > 0 ? 10u : 1u});
  }
  i.events = {{minute(-30), std::nullopt, "deploy", "dependency:pipe-1", "pipe-1 v88"}};
  return i;
}

}  // namespace

int main() {
  boost::asio::io_context io;
  Live live(io.get_executor());
  test::Memory store;
  const auto publish = [&](int tick) {
    auto incidents = std::make_shared<Incidents>();
    incidents->push_back(incident_at(tick));
    live.publish(std::make_shared<FleetView>(fleet_at(tick)), std::move(incidents));
  };
  IncidentRecord& record = store.records["INC-0001"];
  record.incident = incident_at(8);
  record.deliveries = {{minute(21), "feeds", "webhook", "sent", "200"}};

  http::Routes routes;
  add_routes(routes, live, store);
  http::Settings settings;
  settings.port = 0;
  http::Server server(io, settings, std::move(routes));
  if (const Result<void> listening = server.listen(); !listening) {
    std::fprintf(stderr, "%s\n", listening.error().what.c_str());
    return 1;
  }
  boost::asio::co_spawn(io, server.run(), boost::asio::detached);
  publish(8);

  std::mutex mutex;
  std::condition_variable ended;
  bool end = false;
  std::thread clock([&] {
    std::unique_lock lock(mutex);
    for (int tick = 9; !ended.wait_for(lock, std::chrono::milliseconds(500), [&] { return end; });
         ++tick)
      publish(tick);
  });
  std::thread reader([&] {
    while (std::getchar() != EOF) {
    }
    {
      const std::scoped_lock lock(mutex);
      end = true;
    }
    ended.notify_one();
    live.stop();
    server.stop(std::chrono::milliseconds(100));
  });
  std::printf("%s\n", server.url().c_str());
  std::fflush(stdout);
  io.run();
  clock.join();
  reader.join();
}
