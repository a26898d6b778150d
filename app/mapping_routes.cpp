#include "app/mapping_routes.hpp"

#include <utility>

#include "app/mapping_preview.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;

asio::awaitable<http::Response> get_mapping(MappingPtr mapping) {
  co_return http::json(mapping_json(*mapping));
}

asio::awaitable<http::Response> post_preview(MappingPtr mapping, http::Request request) {
  Result<std::string> answer = preview_mapping(request.body_text(), *mapping);
  if (!answer)
    co_return http::error(400, "bad_preview", answer.error(),
                          R"(e.g. {"series":["up{job=\"api\"}"],"mapping":{"rules":[{"model":"${job}"}]}})");
  co_return http::json(std::move(*answer));
}

}  // namespace

void add_mapping_routes(http::Routes& routes, std::function<MappingPtr()> current) {
  routes.add(http::Method::get, "/api/v1/mapping", [current](http::Request) { return get_mapping(current()); });
  routes.add(http::Method::post, "/api/v1/mapping/preview",
             [current](http::Request request) { return post_preview(current(), std::move(request)); });
}

}  // namespace muster::app
