#include "dashboards/routes.hpp"

#include <catch2/catch.hpp>

#include "tests/dashboards/fixture.hpp"

using namespace muster;
using namespace muster::dashboards;
using namespace muster::dashboards::test;
using http::Method;

namespace {

struct House {
  boost::asio::io_context io;
  Live live{io.get_executor()};
  Memory store;
  http::Routes routes;

  House() {
    add_routes(routes, live, store);
    for (const char* id : {"INC-0001", "INC-0002", "INC-0003"}) {
      store.records[id].incident = incident(id, Incident::State::open, minute(5));
    }
    store.records["INC-0002"].incident.state = Incident::State::resolved;
    store.records["INC-0002"].deliveries = {
        {minute(6), "feeds", "webhook", "failed", "connection refused"}};
    Incidents open{store.records["INC-0001"].incident};
    live.publish(std::make_shared<FleetView>(small_fleet()), std::make_shared<Incidents>(open));
    settle(io);
  }
  http::Response get(std::string_view target, http::Headers headers = {}) {
    return ask(io, routes, Method::get, target, {}, std::move(headers));
  }
  http::Response post(std::string_view target, std::string_view body) {
    return ask(io, routes, Method::post, target, body);
  }
};

std::string_view header(const http::Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return {};
}

std::string where(const http::Response& response) {
  return std::string(parsed(response.body).at("error").at("where").text());
}

}  // namespace

TEST_CASE("a fleet that has not changed is not sent again") {
  House house;
  const http::Response first = house.get("/api/v1/fleet");
  CHECK(first.status == 200);
  const std::string etag(header(first, "ETag"));
  const http::Response again = house.get("/api/v1/fleet", {{"If-None-Match", etag}});
  CHECK(again.status == 304);
  CHECK(again.body.empty());
  // Another part is another answer.
  CHECK(house.get("/api/v1/fleet?parts=heat", {{"If-None-Match", etag}}).status == 200);
  CHECK(house.get("/api/v1/fleet?parts=core", {{"If-None-Match", etag}}).status == 200);
  house.live.publish(std::make_shared<FleetView>(small_fleet()), std::make_shared<Incidents>());
  settle(house.io);
  CHECK(house.get("/api/v1/fleet", {{"If-None-Match", etag}}).status == 200);
}

TEST_CASE("an unknown part is refused with what there is") {
  House house;
  const http::Response answer = house.get("/api/v1/fleet?parts=core,cells");
  CHECK(answer.status == 400);
  CHECK(where(answer) == "query, parts");
}

TEST_CASE("the stream starts from the version that the reader names") {
  House house;
  const std::string version = house.live.now()->version();
  http::Response fresh = house.get("/api/v1/stream?since=0.0");
  CHECK(data_of(*next(house.io, fresh), "tick").at("full") ==
        false);  // 0.0 is the empty fleet of the start
  http::Response back = house.get("/api/v1/stream?since=elsewhere", {{"Last-Event-ID", version}});
  house.live.tell("INC-0001", "updated");
  settle(house.io);
  // It is up to date, so the first thing it hears is the news.
  CHECK(next(house.io, back)->starts_with("event: incident"));
}

TEST_CASE("incidents are listed by state, in pages") {
  House house;
  const auto first = parsed(house.get("/api/v1/incidents?state=open&limit=1").body);
  REQUIRE(first.at("incidents").size() == 1);
  CHECK(first.at("incidents").at(0).at("id") == "INC-0003");
  const std::string after(first.at("next").text());
  const auto second = parsed(house.get("/api/v1/incidents?state=open&limit=1&after=" + after).body);
  CHECK(second.at("incidents").at(0).at("id") == "INC-0001");
  CHECK(second.at("next").is_null());
  CHECK(house.store.queries.front().limit == 1);
}

TEST_CASE("a bad list request says which word is wrong") {
  House house;
  CHECK(where(house.get("/api/v1/incidents?state=closed")) == "query, state");
  for (const char* limit : {"0", "201", "-1", "ten", "5x", "99999999999999999999", ""}) {
    const http::Response answer = house.get("/api/v1/incidents?limit=" + std::string(limit));
    CHECK(answer.status == 400);
    CHECK(where(answer) == "query, limit");
  }
  CHECK(house.store.queries.empty());
}

TEST_CASE("an incident comes with what people did and who was told") {
  House house;
  const auto json = parsed(house.get("/api/v1/incidents/INC-0002").body);
  CHECK(json.at("id") == "INC-0002");
  CHECK(json.at("acked_at").is_null());
  CHECK(json.at("notes").empty());
  const Json told = json.at("deliveries").at(0);
  CHECK(told.at("receiver") == "feeds");
  CHECK(told.at("state") == "failed");
  CHECK(told.at("answer") == "connection refused");
  CHECK(house.get("/api/v1/incidents/INC-9999").status == 404);
}

TEST_CASE("an acknowledgement is stored, shown on the fleet page, and can be taken back") {
  House house;
  const http::Response acked =
      house.post("/api/v1/incidents/INC-0001/ack", R"({"by":"feeds on-call"})");
  CHECK(acked.status == 200);
  CHECK(parsed(acked.body).at("acked_at") == to_millis(minute(31)));
  CHECK(house.store.records["INC-0001"].attention.acked_by == "feeds on-call");
  settle(house.io);
  CHECK(house.live.now()->attentions.at("INC-0001").acked_by == "feeds on-call");

  CHECK(house.post("/api/v1/incidents/INC-0001/unack", "").status == 200);
  settle(house.io);
  CHECK_FALSE(house.live.now()->attentions.at("INC-0001").acked_at);
}

TEST_CASE("notes and resolving go to the store, and open pages hear of them") {
  House house;
  http::Response stream = house.get("/api/v1/stream?since=" + house.live.now()->version());
  CHECK(house.post("/api/v1/incidents/INC-0001/note", R"({"by":"feeds","note":"backfill runs"})")
            .status == 200);
  CHECK(house.store.records["INC-0001"].notes.at(0).text == "backfill runs");
  settle(house.io);
  CHECK(data_of(*next(house.io, stream), "incident").at("what") == "noted");
  CHECK(house.post("/api/v1/incidents/INC-0001/resolve", "{}").status == 200);
  CHECK(house.store.records["INC-0001"].incident.state == Incident::State::resolved);
}

TEST_CASE("an act that cannot be is refused in words") {
  House house;
  CHECK(house.post("/api/v1/incidents/INC-9999/ack", "").status == 404);
  const http::Response late = house.post("/api/v1/incidents/INC-0002/ack", "");
  CHECK(late.status == 409);
  CHECK(late.body.find("resolved already") != late.body.npos);
}

TEST_CASE("a body that is not understood changes nothing and says what to change") {
  House house;
  const std::string long_by(65, 'x');
  const std::string long_note(4001, 'x');
  const std::pair<std::string, std::string> bodies[] = {
      {"{", "body"},
      {"[]", "body"},
      {R"({"by":7})", "body, by"},
      {R"({"by":""})", "body, by"},
      {R"({"by":")" + long_by + "\"}", "body, by"},
      {R"({"note":{}})", "body, note"},
      {R"({"note":")" + long_note + "\"}", "body, note"},
  };
  for (const auto& [body, place] : bodies) {
    const http::Response answer = house.post("/api/v1/incidents/INC-0001/ack", body);
    INFO(body.substr(0, 40));
    CHECK(answer.status == 400);
    CHECK(where(answer) == place);
  }
  CHECK(where(house.post("/api/v1/incidents/INC-0001/note", R"({"note":""})")) == "body, note");
  CHECK_FALSE(house.store.records["INC-0001"].attention.acked_at);
}

TEST_CASE("a store that is away makes the reader come back, and the fleet page goes on") {
  House house;
  house.store.away = true;
  for (const http::Response& answer :
       {house.get("/api/v1/incidents"), house.get("/api/v1/incidents/INC-0001"),
        house.post("/api/v1/incidents/INC-0001/ack", "")}) {
    CHECK(answer.status == 503);
    CHECK(header(answer, "Retry-After") == "5");
  }
  CHECK(house.get("/api/v1/fleet").status == 200);
}
