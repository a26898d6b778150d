#include "app/demo_routes.hpp"

#include <boost/json.hpp>

namespace muster::app {
namespace {

namespace asio = boost::asio;

std::string known_kinds() {
  std::string all;
  for (const simulator::FaultKind kind : simulator::fault_kinds) {
    if (!all.empty()) all += ", ";
    all += simulator::to_word(kind);
  }
  return all;
}

http::Response answer_fault(DemoControl& control, std::string_view body) {
  boost::system::error_code failed;
  const boost::json::value parsed = boost::json::parse(body, failed);
  const boost::json::value* word =
      !failed && parsed.is_object() ? parsed.get_object().if_contains("kind") : nullptr;
  if (!word || !word->is_string()) {
    return http::error(400, "bad_request", {"body", "must be a JSON object with a string `kind`"},
                       "kinds: " + known_kinds());
  }
  const auto kind = simulator::fault_kind(std::string_view(word->get_string()));
  if (!kind) {
    return http::error(400, "unknown_kind", {"body.kind", "is no kind of fault"},
                       "kinds: " + known_kinds());
  }
  if (const Result<void> taken = control.trigger(*kind); !taken) {
    return http::error(409, "busy", taken.error());
  }
  return http::json(
      boost::json::serialize(boost::json::object{{"kind", simulator::to_word(*kind)}}), 202);
}

}  // namespace

http::Handler get_demo(const DemoControl& control) {
  return [&control](http::Request) -> asio::awaitable<http::Response> {
    co_return http::json(control.to_json());
  };
}

http::Handler get_demo_truth(const DemoControl& control) {
  return [&control](http::Request) -> asio::awaitable<http::Response> {
    co_return http::json(control.truth());
  };
}

http::Handler post_demo_fault(DemoControl& control) {
  return [&control](http::Request request) -> asio::awaitable<http::Response> {
    co_return answer_fault(control, request.body_text());
  };
}

}  // namespace muster::app
