#include "app/api.hpp"

#include <boost/json.hpp>
#include <utility>

#include "schema/store/connection.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

// More in one request is a mistake, or an import that should be cut.
constexpr std::size_t events_max = 10'000;

// The topology as it stands, of the I/O thread.
struct Catalog {
  Desk& desk;
  Pipeline& pipeline;
  std::shared_ptr<const Topology> topology;
};

http::Response away(const std::exception& fault) {
  return http::try_later(503, 2, std::string("the database does not answer: ") + fault.what());
}

asio::awaitable<http::Response> put_topology(std::shared_ptr<Catalog> catalog, http::Request request) {
  Result<Topology> topology = parse_topology(request.body_text());
  if (!topology) {
    co_return http::error(400, "bad_topology", topology.error(),
                          "the format is muster-topology/1; nothing of this request was applied");
  }
  json::array warnings;
  for (const std::string& warning : topology->warnings) warnings.emplace_back(warning);
  std::int64_t version = 0;
  try {
    version = co_await catalog->desk.save_topology(*topology);
  } catch (const store::Unavailable& fault) {
    co_return away(fault);
  }
  json::object answer{{"version", version},
                      {"models", topology->models.size()},
                      {"dependencies", topology->dependencies.size()},
                      {"edges", topology->edges.size()},
                      {"warnings", std::move(warnings)}};
  catalog->topology = std::make_shared<const Topology>(*topology);
  catalog->pipeline.apply(std::move(*topology));
  co_return http::json(json::serialize(answer));
}

asio::awaitable<http::Response> get_topology(std::shared_ptr<Catalog> catalog, http::Request) {
  co_return http::json(to_json(*catalog->topology));
}

// One object, or an array of them. All are taken or none.
Result<std::vector<Event>> parse_events(std::string_view text) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(text, failed);
  if (failed) return Error{"body", "not JSON: " + failed.message()};
  std::vector<Event> events;
  const auto take = [&](const json::value& one, const std::string& where) -> Result<void> {
    Result<Event> event = parse_event(json::serialize(one));
    if (!event) return Error{where + event.error().where, event.error().what};
    events.push_back(std::move(*event));
    return {};
  };
  if (!parsed.is_array()) {
    if (Result<void> taken = take(parsed, ""); !taken) return taken.error();
    return events;
  }
  const json::array& list = parsed.get_array();
  if (list.size() > events_max) {
    return Error{"body", "more than " + std::to_string(events_max) + " events; send them in pieces"};
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (Result<void> taken = take(list[i], "[" + std::to_string(i) + "]."); !taken) return taken.error();
  }
  return events;
}

asio::awaitable<http::Response> post_events(std::shared_ptr<Catalog> catalog, http::Request request) {
  Result<std::vector<Event>> events = parse_events(request.body_text());
  if (!events) {
    co_return http::error(400, "bad_event", events.error(),
                          R"(e.g. {"ts":1740960000000,"kind":"deploy","subject":"model:churn-eu","title":"v8"})");
  }
  const std::size_t given = events->size();
  std::size_t fresh = 0;
  try {
    fresh = co_await catalog->desk.add_events(*events);
  } catch (const store::Unavailable& fault) {
    co_return away(fault);
  }
  catalog->pipeline.apply(std::move(*events));
  const json::object answer{{"accepted", fresh}, {"duplicates", given - fresh}};
  co_return http::json(json::serialize(answer));
}

}  // namespace

void add_catalog_routes(http::Routes& routes, Desk& desk, Pipeline& pipeline,
                        std::shared_ptr<const Topology> current) {
  const auto catalog = std::make_shared<Catalog>(Catalog{desk, pipeline, std::move(current)});
  const auto with = [&](auto handler) {
    return [catalog, handler](http::Request request) { return handler(catalog, std::move(request)); };
  };
  routes.add(http::Method::put, "/api/v1/topology", with(put_topology));
  routes.add(http::Method::get, "/api/v1/topology", with(get_topology));
  routes.add(http::Method::post, "/api/v1/events", with(post_events));
}

}  // namespace muster::app
