#include <cassert>
#include <string>
#include <utility>

#include "dashboards/assets.hpp"
#include "dashboards/routes.hpp"
#include "http/gzip.hpp"

namespace muster::dashboards {
namespace asio = boost::asio;

namespace {

asio::awaitable<http::Response> answer(const Asset& asset, http::Request request) {
  http::Response response;
  response.content_type = std::string(asset.content_type);
  response.headers = {
      {"ETag", std::string(asset.etag)},
      {"Cache-Control", asset.immutable ? "public, max-age=31536000, immutable" : "no-cache"},
      {"Vary", "Accept-Encoding"},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "same-origin"},
      // Everything comes from this binary. Inline styles are what charts set their sizes with.
      {"Content-Security-Policy",
       "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
       "frame-ancestors 'none'; "
       "base-uri 'none'; form-action 'self'"}};
  if (request.header("If-None-Match") == asset.etag) {
    response.status = 304;
    co_return response;
  }
  if (!asset.gzipped.empty() && http::accepts_gzip(request.header("Accept-Encoding"))) {
    response.headers.emplace_back("Content-Encoding", "gzip");
    response.body = std::string(asset.gzipped);
  } else {
    response.body = std::string(asset.body);
  }
  co_return response;
}

}  // namespace

// The pages find their way by the path, so each path that is a page gets the same document.
void add_pages(http::Routes& routes) {
  const Asset* index = nullptr;
  for (const Asset& asset : assets()) {
    if (asset.path == "/index.html") {
      index = &asset;
      continue;
    }
    routes.add(http::Method::get, asset.path,
               [&asset](http::Request request) { return answer(asset, std::move(request)); });
  }
  assert(index);
  for (const std::string_view page : {"/", "/incidents", "/incidents/{id}"}) {
    routes.add(http::Method::get, page,
               [index](http::Request request) { return answer(*index, std::move(request)); });
  }
}

}  // namespace muster::dashboards
