#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace muster::http {

enum class Method { get, head, post, put, patch, del, options };

using Headers = std::vector<std::pair<std::string, std::string>>;

// A request, read whole and within the limits of server.hpp.
struct Request {
  Method method = Method::get;
  std::string path;   // percent-decoded, without the query
  std::string query;  // raw, without '?'
  Headers headers;
  std::vector<char> body;
  std::string peer;        // the sender's address, without its port
  Headers path_arguments;  // what stood for {id} and the like in the route's pattern
  // Whether the sender has closed its side meanwhile, so that nobody waits for the answer. For handlers that
  // take long, on the I/O thread, until they have answered. Empty when nobody can know.
  std::function<bool()> gone;

  std::string_view body_text() const { return {body.data(), body.size()}; }
  std::string_view header(std::string_view name) const;    // any case; empty when absent
  std::string_view argument(std::string_view name) const;  // from path_arguments; empty when absent
  std::optional<std::string> parameter(std::string_view name) const;  // of the query, decoded
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;

  // When set, the answer is a stream without a length (server-sent events): `body` first, then each
  // text that this gives, until it gives nothing. It is destroyed when the reader goes away.
  std::function<boost::asio::awaitable<std::optional<std::string>>()> stream;
};

// A handler runs on the I/O thread and must not block it.
using Handler = std::function<boost::asio::awaitable<Response>(Request)>;

// {"error":{"code","where","what","fix"}}; `code` is a word for machines, `fix` may be empty.
Response error(int status, std::string_view code, const Error& fault, std::string_view fix = {});
Response json(std::string body, int status = 200);
Response no_content();                                              // 204
Response try_later(int status, int seconds, std::string_view why);  // 429 or 503 with Retry-After

}  // namespace muster::http
