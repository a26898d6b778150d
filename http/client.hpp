#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "http/message.hpp"

namespace muster::http {

struct ClientSettings {
  // PEM file of the authorities to trust; empty: the system's.
  std::string ca_file;
  // Whether certificates and host names are checked. For pages of numbers on somebody's own network alone.
  bool verify = true;
  // Webhooks answer with a few words; a longer answer is somebody else's service.
  std::size_t answer_max = 1u << 20;
  // As the server's own, for the same reason.
  std::size_t header_max = 16u << 10;
  // Connections kept for the next request, over all hosts. A fleet of receivers is larger than this only in
  // number of hosts that are called once an hour, for which a kept connection gains nothing.
  std::size_t kept_max = 16;
};

struct Outgoing {
  Method method = Method::post;
  std::string url;  // http:// or https://, no user and password in it
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
  // For all of it: name, connection, handshake, request and answer.
  std::chrono::milliseconds deadline = std::chrono::seconds(10);
  // Whether the receiver takes it twice without harm. Then a kept connection that turns out to be closed is
  // replaced once, unseen; GET, HEAD, PUT and DELETE are so by definition.
  bool repeatable = false;
};

// An HTTP/1.1 client that keeps connections. Certificates and host names are checked, unless the settings say
// otherwise. It follows no
// redirect: a receiver that moved is a change of configuration, and secrets must not follow it elsewhere.
//
// For the I/O thread alone; it must outlive the requests it sends.
class Client {
 public:
  explicit Client(boost::asio::io_context& io, ClientSettings settings = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // The answer, whatever its status, or why there is none. The Error names the scheme, host and port only,
  // as the rest of a webhook's URL is often its secret.
  boost::asio::awaitable<Result<Response>> send(Outgoing request);

  // Ends what is being sent now, as if each request's deadline had come.
  void cancel();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Whether a URL can be sent to at all; for whoever reads a configuration.
Result<void> check_url(std::string_view url);

}  // namespace muster::http
