#include "dashboards/live.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/dashboards/fixture.hpp"

using namespace muster;
using namespace muster::dashboards;
using namespace muster::dashboards::test;
namespace asio = boost::asio;

namespace {

std::shared_ptr<const FleetView> fleet_at(int n) {
  FleetView fleet = small_fleet();
  fleet.at = minute(n);
  fleet.models[0].score = static_cast<std::uint8_t>(n);
  return std::make_shared<FleetView>(std::move(fleet));
}

std::shared_ptr<const Incidents> one_incident() {
  Incidents list;
  list.push_back(incident("INC-0001", Incident::State::open, minute(5)));
  return std::make_shared<Incidents>(std::move(list));
}

Settings quick() {
  Settings s;
  s.heartbeat = std::chrono::milliseconds(50);
  s.tick_gap = std::chrono::milliseconds(0);
  return s;
}

}  // namespace

TEST_CASE("a stream brings the whole fleet to a stranger and only changes to a regular") {
  asio::io_context io;
  Live live(io.get_executor(), quick());
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream("");
  CHECK(stream.content_type == "text/event-stream");
  CHECK(stream.body == "retry: 2000\n\n");
  const auto first = next(io, stream);
  REQUIRE(first);
  CHECK(first->find("id: " + live.now()->version() + "\n") != first->npos);
  CHECK(data_of(*first, "tick").at("full") == true);

  live.publish(fleet_at(31), one_incident());
  settle(io);
  const auto second = next(io, stream);
  const auto tick = data_of(*second, "tick");
  CHECK(tick.at("full") == false);
  REQUIRE(tick.at("models").size() == 1);
  CHECK(tick.at("models").at(0).at("score") == 31);
}

TEST_CASE("a reader that comes back goes on where it was, as long as that is remembered") {
  asio::io_context io;
  Settings settings = quick();
  settings.versions_max = 2;
  Live live(io.get_executor(), settings);
  live.publish(fleet_at(30), one_incident());
  settle(io);
  const std::string had = live.now()->version();
  live.publish(fleet_at(31), one_incident());
  settle(io);
  http::Response regular = live.stream(had);
  CHECK(data_of(*next(io, regular), "tick").at("full") == false);
  live.publish(fleet_at(32), one_incident());
  settle(io);
  http::Response late = live.stream(had);  // two versions are kept, and this is the third last
  CHECK(data_of(*next(io, late), "tick").at("full") == true);
}

TEST_CASE("a slow reader skips to the newest version") {
  asio::io_context io;
  Live live(io.get_executor(), quick());
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream(live.now()->version());
  for (int n = 31; n <= 35; ++n) live.publish(fleet_at(n), one_incident());
  settle(io);
  const auto text = next(io, stream);
  CHECK(data_of(*text, "tick").at("at") == to_millis(minute(35)));
  CHECK(text->find("event: tick", text->find("event: tick") + 1) == text->npos);
}

TEST_CASE("ticks that come fast are joined") {
  asio::io_context io;
  Settings settings = quick();
  settings.heartbeat = std::chrono::seconds(30);
  settings.tick_gap = std::chrono::milliseconds(40);
  Live live(io.get_executor(), settings);
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream("");
  REQUIRE(next(io, stream));
  const auto from = std::chrono::steady_clock::now();
  live.publish(fleet_at(31), one_incident());
  CHECK(data_of(*next(io, stream), "tick").at("at") == to_millis(minute(31)));
  // A timer is never early, so this cannot fail on a slow machine.
  CHECK(std::chrono::steady_clock::now() - from >= std::chrono::milliseconds(30));
}

TEST_CASE("what people did shows at once, and stays through the next tick") {
  asio::io_context io;
  Live live(io.get_executor(), quick());
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream(live.now()->version());
  live.attend("INC-0001", {minute(31), "feeds on-call"});
  live.tell("INC-0001", "acknowledged");
  settle(io);
  const auto text = next(io, stream);
  CHECK(data_of(*text, "incident").at("what") == "acknowledged");
  const auto tick = data_of(*text, "tick");
  CHECK(tick.at("models").empty());
  CHECK(tick.at("incidents").at(0).at("acked_by") == "feeds on-call");
  live.publish(fleet_at(32), one_incident());
  settle(io);
  CHECK(live.now()->attentions.at("INC-0001").acked_by == "feeds on-call");
}

TEST_CASE("an acknowledgement that is known before its incident is shown with it") {
  asio::io_context io;
  Live live(io.get_executor(), quick());
  live.attend("INC-0001", {minute(2), "feeds on-call"});
  live.publish(fleet_at(30), one_incident());
  settle(io);
  CHECK(live.now()->attentions.at("INC-0001").acked_at == minute(2));
}

TEST_CASE("a quiet stream shows that it lives, wakes for news, and ends when all ends") {
  asio::io_context io;
  Live live(io.get_executor(), quick());
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream(live.now()->version());
  CHECK(*next(io, stream) == "event: beat\ndata: {}\n\n");

  // Woken while it waits, from another thread.
  std::thread aggregator([&] { live.publish(fleet_at(31), one_incident()); });
  std::optional<std::string> text;
  do {
    text = next(io, stream);
  } while (text && text->find("event: beat") == 0);
  aggregator.join();
  CHECK(data_of(*text, "tick").at("at") == to_millis(minute(31)));

  live.stop();
  settle(io);
  CHECK_FALSE(next(io, stream));
  CHECK(live.stream("").status == 503);
}

TEST_CASE("streams are bounded, and a reader that goes away makes room") {
  asio::io_context io;
  Settings settings = quick();
  settings.streams_max = 2;
  Live live(io.get_executor(), settings);
  http::Response a = live.stream("");
  {
    http::Response b = live.stream("");
    CHECK(live.streams() == 2);
    const http::Response c = live.stream("");
    CHECK(c.status == 503);
    CHECK_FALSE(c.stream);
  }
  CHECK(live.streams() == 1);
  CHECK(live.stream("").status == 200);
}

TEST_CASE("news and acknowledgements that nobody asks for do not pile up") {
  asio::io_context io;
  Settings settings = quick();
  settings.news_max = 3;
  settings.attentions_max = 10;
  Live live(io.get_executor(), settings);
  live.publish(fleet_at(30), one_incident());
  settle(io);
  http::Response stream = live.stream(live.now()->version());
  for (int n = 0; n < 100; ++n) {
    live.tell("INC-" + std::to_string(n), "updated");
    live.attend("INC-" + std::to_string(n), {});
  }
  settle(io);
  const auto text = next(io, stream);
  CHECK(text->find("INC-96") == text->npos);
  CHECK(text->find("INC-97") != text->npos);
  live.publish(fleet_at(31), one_incident());
  settle(io);
  CHECK(live.now()->attentions.empty());
}
