#include <catch2/catch.hpp>

#include "dashboards/assets.hpp"
#include "dashboards/routes.hpp"
#include "tests/dashboards/fixture.hpp"
#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::dashboards;
using muster::dashboards::test::minute;
using muster::http::test::get;
using muster::http::test::Running;
using muster::http::test::Wire;

namespace {

http::Routes pages() {
  http::Routes routes;
  add_pages(routes);
  return routes;
}

}  // namespace

TEST_CASE(
    "every path that is a page gets the document, under a policy that lets nothing in from "
    "outside") {
  Running server(pages());
  Wire wire(server.server.port());
  for (const char* path : {"/", "/incidents", "/incidents/INC-0001"}) {
    const auto answer = wire.ask(get(path));
    CHECK(answer.status == 200);
    CHECK(answer.header("Content-Type") == "text/html; charset=utf-8");
    CHECK(answer.header("Content-Security-Policy")
              .starts_with(
                  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"));
    CHECK(answer.header("Cache-Control") == "no-cache");
    CHECK(answer.body.starts_with("<!doctype html>"));
  }
  CHECK(wire.ask(get("/nowhere")).status == 404);
}

TEST_CASE("a file whose name holds its hash is kept for ever, others are asked for again") {
  Running server(pages());
  Wire wire(server.server.port());
  for (const Asset& asset : assets()) {
    INFO(asset.path);
    if (asset.path == "/index.html") continue;
    const auto answer = wire.ask(get(asset.path));
    CHECK(answer.status == 200);
    CHECK(answer.body == asset.body);
    CHECK((answer.header("Cache-Control").find("immutable") != std::string::npos) ==
          asset.path.starts_with("/assets/"));
    const std::string etag = "If-None-Match: " + answer.header("ETag") + "\r\n";
    const auto again = wire.ask(get(asset.path, etag));
    CHECK(again.status == 304);
    CHECK(again.body.empty());
  }
}

TEST_CASE("a browser that takes gzip gets what was packed when muster was built") {
  Running server(pages());
  Wire wire(server.server.port());
  for (const Asset& asset : assets()) {
    if (asset.gzipped.empty()) continue;
    INFO(asset.path);
    const auto answer =
        wire.ask(get(asset.path == "/index.html" ? "/" : asset.path, "Accept-Encoding: gzip\r\n"));
    CHECK(answer.header("Content-Encoding") == "gzip");
    CHECK(answer.body == asset.gzipped);
  }
}

TEST_CASE("an event stream reaches a reader over a socket while ticks are published") {
  boost::asio::io_context* io = nullptr;
  std::unique_ptr<Live> live;
  http::Routes routes;
  routes.add(http::Method::get, "/api/v1/stream",
             [&live](http::Request) -> boost::asio::awaitable<http::Response> {
               co_return live->stream("");
             });
  Running server(std::move(routes));
  io = &server.io;
  live = std::make_unique<Live>(io->get_executor());
  live->publish(std::make_shared<FleetView>(muster::dashboards::test::small_fleet()),
                std::make_shared<Incidents>());
  {
    Wire wire(server.server.port());
    wire.send(get("/api/v1/stream"));
    CHECK(wire.read_until("\r\n\r\n").find("text/event-stream") != std::string::npos);
    CHECK(wire.read_until("event: tick").find("retry: 2000") != std::string::npos);
    wire.read_until("\n\n");
    FleetView later = muster::dashboards::test::small_fleet();
    later.at = minute(31);
    live->publish(std::make_shared<FleetView>(later), std::make_shared<Incidents>());
    const std::string at = "\"at\":" + std::to_string(to_millis(minute(31)));
    CHECK(wire.read_until(at).find("event: tick") != std::string::npos);
  }
  CHECK(server.until([](const http::Counters& c) { return c.streams == 0; }));
  server.on_io([&] { CHECK(live->streams() == 0); });
}
