#include "http/client.hpp"

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <list>
#include <optional>
#include <vector>

#include "http/deadline.hpp"
#include "http/routes.hpp"
#include "http/text.hpp"

namespace muster::http {
namespace {

namespace asio = boost::asio;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto plainly = asio::as_tuple(asio::use_awaitable);

// Names with more addresses than this are load balancers; the rest of the list would use up the deadline.
constexpr std::size_t addresses_max = 8;

struct Target {
  bool tls = false;
  std::string host;  // an IPv6 address without its brackets
  std::string port;
  std::string path;         // with the query
  std::string host_header;  // as in the URL
  std::string origin;       // scheme://host:port
};

Result<Target> target_of(std::string_view url) {
  const auto parsed = boost::urls::parse_uri(url);
  if (!parsed) return Error{"url", "not a URL: write http://host:port/path or https://host/path"};
  const boost::urls::url_view& view = *parsed;
  Target target;
  if (view.scheme_id() == boost::urls::scheme::https) {
    target.tls = true;
  } else if (view.scheme_id() != boost::urls::scheme::http) {
    return Error{"url", "must begin with http:// or https://"};
  }
  if (view.has_userinfo()) {
    return Error{"url", "must not hold a user and password: send them in an Authorization header"};
  }
  target.host = view.host_address();
  if (target.host.empty()) return Error{"url", "has no host"};
  target.port = view.port().empty() ? (target.tls ? "443" : "80") : std::string(view.port());
  unsigned port = 0;
  const char* end = target.port.data() + target.port.size();
  const auto read = std::from_chars(target.port.data(), end, port);
  if (read.ec != std::errc() || read.ptr != end || port == 0 || port > 65535) {
    return Error{"url", "the port must be 1 to 65535"};
  }
  target.host_header = view.encoded_host_and_port();
  target.path = view.encoded_path().empty() ? "/" : std::string(view.encoded_path());
  if (view.has_query()) target.path += "?" + std::string(view.encoded_query());
  target.origin =
      std::string(view.scheme()) + "://" + std::string(view.encoded_host()) + ":" + target.port;
  return target;
}

// A name being looked up. getaddrinfo cannot be interrupted, so the one who waits may leave before it ends:
// what it gives is then nobody's.
struct Lookup {
  explicit Lookup(asio::io_context& io)
      : resolver(io), done(io, asio::steady_timer::time_point::max()) {}
  tcp::resolver resolver;
  asio::steady_timer done;  // never fires by itself
  bool finished = false;
  error_code failed;
  std::vector<tcp::endpoint> endpoints;
};

struct Connection {
  explicit Connection(asio::io_context& io) : socket(io) {}
  tcp::socket socket;
  std::optional<asio::ssl::stream<tcp::socket&>> tls;
  boost::beast::flat_buffer buffer;
  std::string origin;

  // Whether a kept connection is still good: the peer has not closed it, and has not said what nobody asked.
  bool usable() {
    char byte;
    const ssize_t n = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    return n > 0 && tls.has_value();  // TLS sends tickets after the handshake
  }
};

// What a request is doing, for the words of its error.
struct Attempt {
  std::string_view doing = "looking up the name";
  std::shared_ptr<Lookup> lookup;
  std::unique_ptr<Connection> connection;
  bool reused = false;
  bool answered = false;  // a byte of the answer came
  error_code failed;
  std::string reason;  // when it says more than `failed`
};

bhttp::verb verb_of(Method method) {
  return bhttp::string_to_verb(to_word(method));
}

bool repeatable_method(Method method) {
  return method != Method::post && method != Method::patch;
}

std::string reason_of(const Attempt& attempt, const Target& target,
                      const ClientSettings& settings) {
  const error_code why = attempt.failed;
  if (!attempt.reason.empty()) return attempt.reason;
  if (why == asio::error::connection_refused)
    return "connection refused: nothing listens on port " + target.port;
  if (why == asio::error::host_not_found || why == asio::error::host_not_found_try_again ||
      why == asio::error::no_data) {
    return "no address for the name " + target.host + " (DNS): " + why.message();
  }
  if (why == bhttp::error::body_limit) {
    return "answer over " + std::to_string(settings.answer_max) + " bytes (answer_max)";
  }
  if (why == bhttp::error::header_limit || why == bhttp::error::buffer_overflow) {
    return "headers of the answer over " + std::to_string(settings.header_max) +
           " bytes (header_max)";
  }
  if (why == bhttp::error::end_of_stream || why == bhttp::error::partial_message ||
      why == asio::error::eof || why == asio::error::connection_reset ||
      why == asio::error::broken_pipe || why == asio::ssl::error::stream_truncated) {
    return "connection closed before the answer was complete";
  }
  if (why.category() == make_error_code(bhttp::error::bad_version).category()) {
    return "the answer is no HTTP: " + why.message();
  }
  return std::string(attempt.doing) + " failed: " + why.message();
}

template <class Stream>
asio::awaitable<std::optional<Response>> exchange(Stream& stream, Attempt& attempt,
                                                  const bhttp::request<bhttp::string_body>& message,
                                                  const ClientSettings& settings, bool& keep) {
  attempt.doing = "sending";
  bhttp::request_serializer<bhttp::string_body> serializer(message);
  {
    const auto [failed, n] = co_await bhttp::async_write(stream, serializer, plainly);
    // A server that refuses early answers and stops reading; its answer is worth more than our broken pipe.
    if (failed && failed != asio::error::broken_pipe && failed != asio::error::connection_reset) {
      attempt.failed = failed;
      co_return std::nullopt;
    }
  }
  attempt.doing = "waiting for the answer";
  std::optional<bhttp::response_parser<bhttp::string_body>> parser;
  do {  // 1xx answers come before the real one; the deadline bounds their number
    parser.emplace();
    parser->header_limit(static_cast<std::uint32_t>(settings.header_max));
    parser->body_limit(settings.answer_max);
    if (message.method() == bhttp::verb::head) parser->skip(true);
    const auto [failed, n] =
        co_await bhttp::async_read(stream, attempt.connection->buffer, *parser, plainly);
    attempt.answered = attempt.answered || n > 0;
    if (failed) {
      attempt.failed = failed;
      co_return std::nullopt;
    }
  } while (parser->get().result_int() / 100 == 1);

  bhttp::response<bhttp::string_body> got = parser->release();
  keep = got.keep_alive();
  Response response;
  response.status = static_cast<int>(got.result_int());
  response.content_type = std::string(got[bhttp::field::content_type]);
  for (const auto& field : got) response.headers.emplace_back(field.name_string(), field.value());
  response.body = std::move(got.body());
  co_return response;
}

}  // namespace

struct Client::State {
  State(asio::io_context& context, ClientSettings s)
      : io(context), settings(std::move(s)), tls(asio::ssl::context::tls_client) {
    tls.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                    asio::ssl::context::no_tlsv1_1);
    if (settings.ca_file.empty()) {
      tls.set_default_verify_paths();
    } else {
      tls.load_verify_file(settings.ca_file);
    }
    tls.set_verify_mode(settings.verify ? asio::ssl::verify_peer : asio::ssl::verify_none);
  }

  asio::io_context& io;
  ClientSettings settings;
  asio::ssl::context tls;
  std::list<std::unique_ptr<Connection>> kept;  // oldest first
  std::list<Deadline*> running;

  std::unique_ptr<Connection> take(const std::string& origin);
  void keep(std::unique_ptr<Connection> connection);
  asio::awaitable<bool> look_up(Attempt& attempt, const Target& target);
  asio::awaitable<bool> connect(Attempt& attempt, const Target& target);
  asio::awaitable<std::optional<Response>> attempt_once(
      Attempt& attempt, const Target& target, const bhttp::request<bhttp::string_body>& message);
};

std::unique_ptr<Connection> Client::State::take(const std::string& origin) {
  for (auto it = kept.begin(); it != kept.end();) {
    if ((*it)->origin != origin) {
      ++it;
      continue;
    }
    std::unique_ptr<Connection> connection = std::move(*it);
    it = kept.erase(it);
    if (connection->usable()) return connection;
  }
  return nullptr;
}

void Client::State::keep(std::unique_ptr<Connection> connection) {
  if (settings.kept_max == 0) return;
  if (kept.size() >= settings.kept_max) kept.pop_front();
  kept.push_back(std::move(connection));
}

asio::awaitable<bool> Client::State::look_up(Attempt& attempt, const Target& target) {
  attempt.lookup = std::make_shared<Lookup>(io);
  const std::shared_ptr<Lookup> lookup = attempt.lookup;
  error_code no_address;
  const asio::ip::address literal = asio::ip::make_address(target.host, no_address);
  if (!no_address) {
    lookup->endpoints = {
        tcp::endpoint(literal, static_cast<std::uint16_t>(std::stoul(target.port)))};
    co_return true;
  }
  lookup->resolver.async_resolve(
      target.host, target.port, tcp::resolver::numeric_service,
      [lookup](error_code failed, const tcp::resolver::results_type& found) {
        lookup->failed = failed;
        for (const auto& entry : found) {
          if (lookup->endpoints.size() == addresses_max) break;
          lookup->endpoints.push_back(entry.endpoint());
        }
        lookup->finished = true;
        lookup->done.cancel();
      });
  co_await lookup->done.async_wait(plainly);  // until it is found, or the deadline cancels the wait
  attempt.failed = lookup->finished ? lookup->failed : error_code(asio::error::timed_out);
  co_return !attempt.failed;
}

// A new connection into `attempt`; false with attempt.failed when there is none.
asio::awaitable<bool> Client::State::connect(Attempt& attempt, const Target& target) {
  attempt.connection = std::make_unique<Connection>(io);
  Connection& connection = *attempt.connection;
  connection.origin = target.origin;

  attempt.doing = "looking up the name";
  const bool found = co_await look_up(attempt, target);
  if (!found) co_return false;

  attempt.doing = "connecting";
  attempt.failed = asio::error::host_not_found;
  for (const tcp::endpoint& endpoint : attempt.lookup->endpoints) {
    error_code ignored;
    connection.socket.close(ignored);
    const auto [failed] = co_await connection.socket.async_connect(endpoint, plainly);
    attempt.failed = failed;
    if (!failed || failed == asio::error::operation_aborted) break;
  }
  if (attempt.failed) co_return false;
  error_code ignored;
  connection.socket.set_option(tcp::no_delay(true), ignored);
  if (!target.tls) co_return true;

  attempt.doing = "the TLS handshake";
  connection.tls.emplace(connection.socket, tls);
  error_code no_address;
  asio::ip::make_address(target.host, no_address);
  if (no_address) SSL_set_tlsext_host_name(connection.tls->native_handle(), target.host.c_str());
  if (settings.verify)
    connection.tls->set_verify_callback(asio::ssl::host_name_verification(target.host));
  const auto [failed] =
      co_await connection.tls->async_handshake(asio::ssl::stream_base::client, plainly);
  attempt.failed = failed;
  if (!failed) co_return true;
  const long verdict = SSL_get_verify_result(connection.tls->native_handle());
  if (verdict != X509_V_OK) {
    attempt.reason =
        "the certificate is not trusted: " + std::string(X509_verify_cert_error_string(verdict));
  }
  co_return false;
}

asio::awaitable<std::optional<Response>> Client::State::attempt_once(
    Attempt& attempt, const Target& target, const bhttp::request<bhttp::string_body>& message) {
  if (!attempt.reused) {
    const bool connected = co_await connect(attempt, target);
    if (!connected) co_return std::nullopt;
  }
  bool again = false;
  std::optional<Response> response;
  if (attempt.connection->tls) {
    response = co_await exchange(*attempt.connection->tls, attempt, message, settings, again);
  } else {
    response = co_await exchange(attempt.connection->socket, attempt, message, settings, again);
  }
  if (response && again) keep(std::move(attempt.connection));
  co_return response;
}

Client::Client(asio::io_context& io, ClientSettings settings)
    : state_(std::make_unique<State>(io, std::move(settings))) {}

Client::~Client() = default;

asio::awaitable<Result<Response>> Client::send(Outgoing request) {
  State& state = *state_;
  Result<Target> parsed = target_of(request.url);
  if (!parsed) co_return parsed.error();
  const Target target = std::move(*parsed);

  bhttp::request<bhttp::string_body> message(verb_of(request.method), target.path, 11);
  message.set(bhttp::field::host, target.host_header);
  message.set(bhttp::field::user_agent, "muster");
  if (!request.body.empty()) message.set(bhttp::field::content_type, request.content_type);
  for (const auto& [name, value] : request.headers) {
    if ((name + value).find_first_of("\r\n") != std::string::npos) {
      const Error fault{"header " + name.substr(0, name.find_first_of("\r\n")),
                        "must stay on one line"};
      co_return fault;
    }
    message.set(name, value);
  }
  const bool has_body = request.method != Method::get && request.method != Method::head;
  message.body() = std::move(request.body);
  if (has_body || !message.body().empty()) message.content_length(message.body().size());

  auto attempt = std::make_unique<Attempt>();
  Deadline deadline(state.io.get_executor(), [&attempt] {
    error_code ignored;
    if (attempt->lookup) attempt->lookup->done.cancel();
    if (attempt->connection) attempt->connection->socket.close(ignored);
  });
  deadline.arm(request.deadline);
  const auto here = state.running.insert(state.running.end(), &deadline);

  attempt->connection = state.take(target.origin);
  attempt->reused = attempt->connection != nullptr;
  std::optional<Response> response = co_await state.attempt_once(*attempt, target, message);
  const bool again = request.repeatable || repeatable_method(request.method);
  if (!response && attempt->reused && !attempt->answered && again && !deadline.struck()) {
    attempt = std::make_unique<Attempt>();
    response = co_await state.attempt_once(*attempt, target, message);
  }
  const bool late = deadline.struck();
  deadline.disarm();
  state.running.erase(here);
  if (response) co_return std::move(*response);
  Error fault{target.origin, {}};
  if (late) {
    fault.what = "no answer within " + std::to_string(request.deadline.count()) +
                 " ms; the time ran out while " +
                 (attempt->doing == "the TLS handshake" ? "in " : "") + std::string(attempt->doing);
  } else {
    fault.what = reason_of(*attempt, target, state.settings);
  }
  co_return fault;
}

void Client::cancel() {
  for (Deadline* deadline : state_->running) deadline->arm(std::chrono::milliseconds(0));
}

Result<void> check_url(std::string_view url) {
  const Result<Target> target = target_of(url);
  if (!target) return target.error();
  return {};
}

}  // namespace muster::http
