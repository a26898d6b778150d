#include <algorithm>
#include <string>
#include <utility>

#include "dashboards/routes.hpp"

namespace muster::dashboards {
namespace asio = boost::asio;

namespace {

asio::awaitable<http::Response> read_fleet(Live& live, http::Request request) {
  Parts parts;
  if (const auto asked = request.parameter("parts")) {
    parts = {false, false};
    std::string_view rest = *asked;
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(part.size() + 1, rest.size()));
      if (part == "core") {
        parts.core = true;
      } else if (part == "heat") {
        parts.heat = true;
      } else {
        const Error fault{"query, parts", "unknown part '" + std::string(part) + "'"};
        co_return http::error(400, "bad_parameter", fault,
                              "parts are core and heat, joined by a comma");
      }
    }
  }
  const std::string etag =
      "\"" + live.now()->version() + (parts.core ? "c" : "") + (parts.heat ? "h" : "") + "\"";
  const bool same = request.header("If-None-Match") == etag;
  http::Response response = http::json(same ? std::string() : live.fleet(parts), same ? 304 : 200);
  response.headers = {{"ETag", etag}, {"Cache-Control", "no-cache"}};
  co_return response;
}

asio::awaitable<http::Response> read_stream(Live& live, http::Request request) {
  // A browser that connects again says what it has in this header; the first time the page does, in `since`.
  std::string version(request.header("Last-Event-ID"));
  if (version.empty()) version = request.parameter("since").value_or("");
  co_return live.stream(version);
}

}  // namespace

void add_fleet(http::Routes& routes, Live& live) {
  routes.add(http::Method::get, "/api/v1/fleet",
             [&live](http::Request request) { return read_fleet(live, std::move(request)); });
  routes.add(http::Method::get, "/api/v1/stream",
             [&live](http::Request request) { return read_stream(live, std::move(request)); });
}

void add_routes(http::Routes& routes, Live& live, IncidentStore& store) {
  add_fleet(routes, live);
  add_incidents(routes, live, store);
  add_pages(routes);
}

}  // namespace muster::dashboards
