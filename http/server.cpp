#include "http/server.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <exception>
#include <unordered_set>
#include <vector>

#include "base/log.hpp"
#include "http/deadline.hpp"
#include "http/gzip.hpp"
#include "http/text.hpp"

namespace muster::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

// Errors come back as values: on a network they are no exception.
constexpr auto plainly = asio::as_tuple(asio::use_awaitable);

// What is read at once of a body, and of what a refused sender still sends.
constexpr std::size_t piece = 64u << 10;
// How long a refused sender may go on sending. It needs this to read the answer: a socket closed
// over unread bytes resets the connection, and the answer with it.
constexpr milliseconds linger_time{2000};
// How long a handler may take to end after it was cancelled.
constexpr milliseconds cancel_time{5000};
// Connections over connections_max that are told so at one time; more are closed without a word.
constexpr std::size_t turning_away_max = 64;

using Parser = bhttp::request_parser<bhttp::vector_body<char>>;

std::optional<Method> method_of(bhttp::verb verb) {
  switch (verb) {
    case bhttp::verb::get:
      return Method::get;
    case bhttp::verb::head:
      return Method::head;
    case bhttp::verb::post:
      return Method::post;
    case bhttp::verb::put:
      return Method::put;
    case bhttp::verb::patch:
      return Method::patch;
    case bhttp::verb::delete_:
      return Method::del;
    case bhttp::verb::options:
      return Method::options;
    default:
      return std::nullopt;
  }
}

std::string megabytes(std::size_t bytes) {
  return bytes < (1u << 20) ? std::to_string(bytes) + " bytes"
                            : std::to_string(bytes >> 20) + " MiB";
}

// Whether the headers say that a page of another site makes the browser send this. On loopback
// there are no tokens, so any page that the user looks at could otherwise write.
bool from_another_site(const bhttp::fields& fields) {
  const auto site = fields["Sec-Fetch-Site"];
  if (!site.empty()) return site == "cross-site" || site == "same-site";
  const auto origin = fields[bhttp::field::origin];
  if (origin.empty()) return false;
  const std::size_t scheme = origin.find("://");
  if (scheme == origin.npos) return true;  // "null": a sandboxed page or a file
  return !beast::iequals(origin.substr(scheme + 3), fields[bhttp::field::host]);
}

bool worth_packing(std::string_view content_type) {
  for (const std::string_view packs : {"text/", "json", "javascript", "xml", "svg"}) {
    if (content_type.find(packs) != content_type.npos) return true;
  }
  return false;
}

// A header value must stay on its line, whatever a handler put in.
std::string on_one_line(std::string_view value) {
  std::string out(value);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t') c = ' ';
  }
  return out;
}

// Whether the other side has sent its last byte. A client that closes only its sending half is rare, and one
// that does so while it waits for a long answer rarer still.
bool closed_by_peer(tcp::socket& socket) {
  char byte = 0;
  const auto n = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

struct Session {
  enum class Phase { idle, reading, handling, streaming };

  explicit Session(tcp::socket s)
      : socket(std::move(s)), deadline(socket.get_executor(), [this] {
          error_code ignored;
          socket.cancel(ignored);
        }) {}

  tcp::socket socket;
  Deadline deadline;
  beast::flat_buffer buffer;
  asio::cancellation_signal cancel;
  Phase phase = Phase::idle;
  bool cancelled = false;  // by stop(), after the grace
  bool turned_away = false;
  std::size_t held = 0;  // bytes of State::bodies that are ours
  std::string peer;
};

// What the next step of a connection is.
enum class Next { request, close, linger };

// The path and the query; a proxy may send them with the host in front.
std::string_view target_of(const Parser& parser) {
  const auto& head = parser.get();
  std::string_view target(head.target().data(), head.target().size());
  if (!target.starts_with('/')) {
    const std::size_t host = target.find("://");
    const std::size_t path = host == target.npos ? host : target.find('/', host + 3);
    target = path == target.npos ? std::string_view("/") : target.substr(path);
  }
  return target.substr(0, target.find('#'));
}

}  // namespace

struct Server::State : std::enable_shared_from_this<Server::State> {
  State(asio::io_context& context, Settings s, Routes r)
      : io(context),
        settings(std::move(s)),
        routes(std::move(r)),
        acceptor(context),
        ended(context),
        closing(context) {}

  asio::io_context& io;
  Settings settings;
  Routes routes;
  tcp::acceptor acceptor;
  std::uint16_t port = 0;
  Counters counters;
  std::size_t bodies = 0;
  bool stopping = false;
  bool given_up = false;
  std::unordered_set<std::shared_ptr<Session>> sessions;
  asio::steady_timer ended;    // never fires by itself: cancelled when a session ends
  asio::steady_timer closing;  // the grace of stop()

  void start(tcp::socket socket);
  void stop(milliseconds grace);
  asio::awaitable<void> serve(std::shared_ptr<Session> session);
  asio::awaitable<Next> exchange(Session& session);
  asio::awaitable<Next> refuse(Session& session, Response response, unsigned version, bool head);
  asio::awaitable<Next> refuse_unread(Session& session, error_code why, const Parser& parser);
  Response in_form(Response refusal, const Parser& parser) const;
  asio::awaitable<Response> answer(const Handler& handler, Request request, const Session& session);
  asio::awaitable<bool> write(Session& session, Response response, const bhttp::fields& asked,
                              unsigned version, bool head, bool keep_alive);
  asio::awaitable<void> write_stream(Session& session, const Response& response, unsigned version);
  asio::awaitable<bool> pump(Session& session, const Response& response, bool chunked);
  asio::awaitable<void> watch(Session& session);
  asio::awaitable<void> linger(Session& session);
  Response unknown(std::string_view path) const;
};

void Server::State::start(tcp::socket socket) {
  if (sessions.size() >= settings.connections_max + turning_away_max) {
    ++counters.turned_away;
    return;  // the socket closes
  }
  auto session = std::make_shared<Session>(std::move(socket));
  error_code ignored;
  const tcp::endpoint peer = session->socket.remote_endpoint(ignored);
  session->peer = peer.address().to_string();
  session->socket.set_option(tcp::no_delay(true), ignored);
  session->turned_away = sessions.size() >= settings.connections_max;
  sessions.insert(session);
  counters.connections = sessions.size();

  auto when_done = [self = shared_from_this(), session](std::exception_ptr failed) {
    if (failed && !session->cancelled) {
      try {
        std::rethrow_exception(failed);
      } catch (const std::exception& e) {
        log::error("http.session_failed", {{"peer", session->peer}, {"reason", e.what()}});
      }
    }
    self->bodies -= session->held;
    self->sessions.erase(session);
    self->counters.connections = self->sessions.size();
    if (self->sessions.empty()) self->ended.cancel();
  };
  asio::co_spawn(io, serve(session),
                 asio::bind_cancellation_slot(session->cancel.slot(), std::move(when_done)));
}

void Server::State::stop(milliseconds grace) {
  if (stopping) return;
  stopping = true;
  error_code ignored;
  acceptor.close(ignored);
  ended.cancel();  // run() may be pausing between two accepts
  for (const auto& session : sessions) {
    if (session->phase == Session::Phase::idle || session->phase == Session::Phase::streaming) {
      session->socket.cancel(ignored);
    }
  }
  closing.expires_after(grace);
  closing.async_wait([self = shared_from_this()](error_code stopped) {
    if (stopped) return;
    for (const auto& session : std::vector(self->sessions.begin(), self->sessions.end())) {
      session->cancelled = true;
      session->cancel.emit(asio::cancellation_type::terminal);
    }
    self->closing.expires_after(cancel_time);
    self->closing.async_wait([self](error_code done) {
      if (done) return;
      self->given_up = true;
      self->ended.cancel();
    });
  });
}

asio::awaitable<void> Server::State::serve(std::shared_ptr<Session> session) {
  if (session->turned_away) {
    ++counters.turned_away;
    Response busy = try_later(503, 5, "too many connections are open (connections_max)");
    const Next next = co_await refuse(*session, std::move(busy), 11, false);
    if (next == Next::linger) co_await linger(*session);
    co_return;
  }
  for (;;) {
    const Next next = co_await exchange(*session);
    bodies -= std::exchange(session->held, 0);
    if (next == Next::request) continue;
    if (next == Next::linger) co_await linger(*session);
    co_return;
  }
}

// A refusal of a request whose headers were read, as the senders of its path want it.
Response Server::State::in_form(Response refusal, const Parser& parser) const {
  const std::string_view target = target_of(parser);
  const Refusal* form = routes.refusal(target.substr(0, target.find('?')));
  if (form == nullptr) return refusal;
  const auto type = parser.get()[bhttp::field::content_type];
  return (*form)(refusal, {type.data(), type.size()});
}

// One request and its answer.
asio::awaitable<Next> Server::State::exchange(Session& session) {
  if (session.buffer.size() == 0) {
    if (stopping) co_return Next::close;
    session.phase = Session::Phase::idle;
    session.deadline.arm(settings.idle_timeout);
    const asio::mutable_buffer space = session.buffer.prepare(4096);
    const auto [gone, n] = co_await session.socket.async_read_some(space, plainly);
    if (gone) co_return Next::close;
    session.buffer.commit(n);
  }
  session.phase = Session::Phase::reading;
  session.deadline.arm(settings.read_timeout);

  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(settings.header_max));
  parser.body_limit(settings.body_max);
  {
    const auto [bad, n] =
        co_await bhttp::async_read_header(session.socket, session.buffer, parser, plainly);
    if (bad) {
      const Next next = co_await refuse_unread(session, bad, parser);
      co_return next;
    }
  }

  const auto& head = parser.get();
  const unsigned version = head.version();
  const std::optional<Method> method = method_of(head.method());
  const bool is_head = method == Method::head;

  const std::string_view target = target_of(parser);
  const std::string_view path = target.substr(0, target.find('?'));

  std::optional<Response> refusal;
  Routes::Match match;
  if (!method) {
    refusal = error(501, "unknown_method", Error{"request line", "the method is not known here"});
  } else if (version >= 11 && head.count(bhttp::field::host) != 1) {
    refusal = error(400, "bad_request", Error{"header Host", "HTTP/1.1 needs it exactly once"});
  } else {
    match = routes.find(*method, path);
    if (match.malformed) {
      refusal = error(400, "bad_request",
                      Error{"path", "a % must be followed by two hexadecimal digits"});
    } else if (!match.handler && match.allow.empty()) {
      refusal = unknown(path);
    } else if (!match.handler && *method == Method::options) {
      refusal = no_content();
      refusal->headers.emplace_back("Allow", match.allow);
    } else if (!match.handler) {
      refusal = error(405, "method_not_allowed",
                      Error{std::string(path), "does not take " + std::string(to_word(*method))},
                      "use " + match.allow);
      refusal->headers.emplace_back("Allow", match.allow);
    } else if (*method != Method::get && !is_head && from_another_site(head)) {
      refusal = error(403, "cross_site",
                      Error{"header Origin", "a page of another site may not write here"},
                      "open muster's own pages; a proxy in front must pass the Host header on");
    } else if (const auto expect = head[bhttp::field::expect];
               !expect.empty() && !beast::iequals(expect, "100-continue")) {
      refusal =
          error(417, "unknown_expectation", Error{"header Expect", "only 100-continue is known"});
    }
  }
  if (refusal) {
    // Without a body the connection can go on; with one it is not worth reading.
    if (parser.is_done() && !parser.chunked()) {
      ++counters.refused;
      const bool keep = head.keep_alive() && !stopping;
      const bool sent = co_await write(session, std::move(*refusal), head, version, is_head, keep);
      co_return sent&& keep ? Next::request : Next::close;
    }
    const Next next = co_await refuse(session, std::move(*refusal), version, is_head);
    co_return next;
  }

  if (!parser.is_done()) {
    if (!head[bhttp::field::expect].empty() && session.buffer.size() == 0 && version >= 11) {
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      const asio::const_buffer words = asio::buffer(go_on);
      const auto [failed, n] = co_await asio::async_write(session.socket, words, plainly);
      if (failed) co_return Next::close;
    }
    if (parser.chunked() || parser.content_length().value_or(0) > 4096)
      session.buffer.reserve(piece);
  }
  while (!parser.is_done()) {
    const auto [bad, n] =
        co_await bhttp::async_read_some(session.socket, session.buffer, parser, plainly);
    if (bad) {
      const Next next = co_await refuse_unread(session, bad, parser);
      co_return next;
    }
    const std::size_t grown = parser.get().body().size() - session.held;
    session.held += grown;
    bodies += grown;
    if (bodies > settings.bodies_max) {
      Response busy = in_form(
          try_later(503, 1, "too many request bodies are in memory (bodies_max)"), parser);
      const Next next = co_await refuse(session, std::move(busy), version, is_head);
      co_return next;
    }
  }
  session.deadline.disarm();

  session.phase = Session::Phase::handling;
  ++counters.requests;
  counters.body_bytes += session.held;
  bhttp::request<bhttp::vector_body<char>> whole = parser.release();
  Request request;
  request.method = *method;
  request.path = percent_decoded(path, false).value_or(std::string(path));
  if (path.size() < target.size()) request.query = target.substr(path.size() + 1);
  request.headers.reserve(16);
  for (const auto& field : whole) request.headers.emplace_back(field.name_string(), field.value());
  request.body = std::move(whole.body());
  request.peer = session.peer;
  request.path_arguments = std::move(match.arguments);
  request.gone = [&session] { return closed_by_peer(session.socket); };

  Response response = co_await answer(*match.handler, std::move(request), session);
  if (session.cancelled) co_return Next::close;

  if (response.stream && !is_head) {
    if (counters.streams >= settings.streams_max) {
      response = try_later(503, 30, "too many event streams are open (streams_max)");
    } else {
      ++counters.streams;
      co_await write_stream(session, response, version);
      --counters.streams;
      co_return Next::close;
    }
  }
  const bool keep = whole.keep_alive() && !stopping;
  const bool sent = co_await write(session, std::move(response), whole, version, is_head, keep);
  co_return sent&& keep ? Next::request : Next::close;
}

// Runs the handler. Whatever it throws is our own fault and becomes a 500.
asio::awaitable<Response> Server::State::answer(const Handler& handler, Request request,
                                                const Session& session) {
  const std::string path = request.path;
  std::string reason;
  try {
    Response response = co_await handler(std::move(request));
    co_return response;
  } catch (const std::exception& e) {
    reason = e.what();
  } catch (...) {
    reason = "unknown exception";
  }
  if (!session.cancelled) {
    ++counters.failed;
    log::error("http.handler_failed", {{"path", path}, {"peer", session.peer}, {"reason", reason}});
  }
  co_return error(500, "internal", Error{path, "the request failed inside muster"},
                  "the log of muster has the reason at this time");
}

Response Server::State::unknown(std::string_view path) const {
  const std::string near = routes.nearest(path);
  const std::string fix = near.empty() ? "data is written to /api/v1/…, pages start at /"
                                       : "did you mean " + near + "?";
  constexpr std::size_t shown_max = 200;
  return error(404, "unknown_path",
               Error{std::string(path.substr(0, shown_max)), "there is nothing here"}, fix);
}

// Answers a request that was not read to its end; the connection cannot be used after it.
asio::awaitable<Next> Server::State::refuse(Session& session, Response response, unsigned version,
                                            bool head) {
  ++counters.refused;
  const bhttp::fields nothing_asked;
  const bool sent =
      co_await write(session, std::move(response), nothing_asked, version, head, false);
  co_return sent ? Next::linger : Next::close;
}

// Answers a request that could not be read: over a limit, too slow, cut off, or no HTTP.
asio::awaitable<Next> Server::State::refuse_unread(Session& session, error_code why,
                                                   const Parser& parser) {
  Response response;
  const bool in_body = parser.is_header_done();
  if (session.deadline.struck()) {
    response =
        error(408, "too_slow",
              Error{in_body ? "body" : "headers",
                    "not here after " + std::to_string(settings.read_timeout.count()) + " ms"},
              "send smaller requests");
  } else if (why == bhttp::error::body_limit) {
    response = error(413, "body_too_large", Error{"body", "over " + megabytes(settings.body_max)},
                     "send it in several requests");
  } else if (why == bhttp::error::header_limit || why == bhttp::error::buffer_overflow) {
    response =
        error(431, "headers_too_large", Error{"headers", "over " + megabytes(settings.header_max)},
              "send fewer or shorter headers");
  } else if (why == bhttp::error::partial_message) {
    response =
        error(400, "cut_off", Error{in_body ? "body" : "headers", "ended before it was complete"},
              "check Content-Length");
  } else if (why.category() == make_error_code(bhttp::error::bad_method).category() &&
             why != bhttp::error::end_of_stream) {
    response = error(400, "bad_request", Error{in_body ? "body" : "headers", why.message()},
                     "this port speaks HTTP/1.1 without TLS");
  } else {
    co_return Next::close;  // the peer is gone, nobody would read an answer
  }
  // A length over the limit is seen with the last header, before the headers count as done.
  if (in_body || why == bhttp::error::body_limit) response = in_form(std::move(response), parser);
  const Next next = co_await refuse(session, std::move(response), 11, false);
  co_return next;
}

// Sends an answer whole; false when the peer went away or was too slow.
asio::awaitable<bool> Server::State::write(Session& session, Response response,
                                           const bhttp::fields& asked, unsigned version, bool head,
                                           bool keep_alive) {
  bhttp::response<bhttp::string_body> message;
  message.version(version);
  message.result(static_cast<unsigned>(response.status));
  message.set("X-Content-Type-Options", "nosniff");
  message.set("Referrer-Policy", "no-referrer");
  message.set(bhttp::field::cache_control, "no-store");
  if (!response.content_type.empty()) {
    message.set(bhttp::field::content_type, on_one_line(response.content_type));
  }
  bool replaced[3] = {};
  bool packed = false;
  for (const auto& [name, value] : response.headers) {
    // A handler's word replaces the defaults above; else a name may stand twice.
    static constexpr std::string_view defaults[] = {"X-Content-Type-Options", "Referrer-Policy",
                                                    "Cache-Control"};
    for (std::size_t i = 0; i < std::size(defaults); ++i) {
      if (same_name(name, defaults[i]) && !std::exchange(replaced[i], true))
        message.erase(defaults[i]);
    }
    packed = packed || same_name(name, "Content-Encoding");
    message.insert(on_one_line(name), on_one_line(value));
  }

  const bool without_body = response.status == 204 || response.status == 304;
  if (!packed && !without_body && response.body.size() >= settings.gzip_min &&
      worth_packing(response.content_type)) {
    message.insert(bhttp::field::vary, "Accept-Encoding");
    if (accepts_gzip(asked[bhttp::field::accept_encoding])) {
      response.body = gzip(response.body, settings.gzip_level);
      message.set(bhttp::field::content_encoding, "gzip");
    }
  }
  message.keep_alive(keep_alive);
  if (!without_body) message.content_length(response.body.size());
  if (!head && !without_body) message.body() = std::move(response.body);

  session.deadline.arm(settings.write_timeout);
  bhttp::response_serializer<bhttp::string_body> serializer(message);
  bool sent = false;
  if (head || without_body) {
    const auto [failed, n] =
        co_await bhttp::async_write_header(session.socket, serializer, plainly);
    sent = !failed;
  } else {
    const auto [failed, n] = co_await bhttp::async_write(session.socket, serializer, plainly);
    sent = !failed;
  }
  session.deadline.disarm();
  co_return sent;
}

// Sends a stream until it ends, the peer goes away, is too slow, or stop() is called.
asio::awaitable<void> Server::State::write_stream(Session& session, const Response& response,
                                                  unsigned version) {
  session.phase = Session::Phase::streaming;
  if (stopping) co_return;
  const bool chunked = version >= 11;  // HTTP/1.0 reads until the connection closes
  bhttp::response<bhttp::empty_body> message;
  message.version(version);
  message.result(static_cast<unsigned>(response.status));
  message.set("X-Content-Type-Options", "nosniff");
  message.set("Referrer-Policy", "no-referrer");
  message.set(bhttp::field::cache_control, "no-store");
  message.set("X-Accel-Buffering", "no");  // proxies hold events back else
  message.set(bhttp::field::content_type, on_one_line(response.content_type));
  for (const auto& [name, value] : response.headers)
    message.set(on_one_line(name), on_one_line(value));
  message.keep_alive(false);
  message.chunked(chunked);

  session.deadline.arm(settings.write_timeout);
  bhttp::response_serializer<bhttp::empty_body> serializer(message);
  {
    const auto [failed, n] =
        co_await bhttp::async_write_header(session.socket, serializer, plainly);
    if (failed) co_return;
  }
  session.deadline.disarm();

  // Whoever ends first, the source of events or the peer, ends the other.
  using namespace asio::experimental::awaitable_operators;
  asio::awaitable<bool> source = pump(session, response, chunked);
  asio::awaitable<void> peer = watch(session);
  asio::awaitable<std::variant<bool, std::monostate>> either = std::move(source) || std::move(peer);
  const std::variant<bool, std::monostate> first = co_await std::move(either);
  const bool complete =
      first.index() == 0 ? std::get<0>(first) : stopping && !session.deadline.struck();
  if (complete && chunked) {
    session.deadline.arm(settings.write_timeout);
    const auto last = bhttp::make_chunk_last();
    const auto [failed, n] = co_await asio::async_write(session.socket, last, plainly);
    (void)failed;  // it was the last word either way
  }
  session.deadline.disarm();
}

// Passes texts from the handler's stream to the peer; true when the stream ended and all was sent.
asio::awaitable<bool> Server::State::pump(Session& session, const Response& response,
                                          bool chunked) {
  std::optional<std::string> text;
  if (!response.body.empty()) text = response.body;
  for (;;) {
    if (text && !text->empty()) {  // an empty chunk would end the stream
      session.deadline.arm(settings.write_timeout);
      bool sent = false;
      if (chunked) {
        const auto chunk = bhttp::make_chunk(asio::buffer(*text));
        const auto [failed, n] = co_await asio::async_write(session.socket, chunk, plainly);
        sent = !failed;
      } else {
        const asio::const_buffer bytes = asio::buffer(*text);
        const auto [failed, n] = co_await asio::async_write(session.socket, bytes, plainly);
        sent = !failed;
      }
      if (!sent) co_return false;
      session.deadline.disarm();
    }
    std::string reason;
    try {
      text = co_await response.stream();
    } catch (const boost::system::system_error& e) {
      if (e.code() == asio::error::operation_aborted) co_return false;  // the peer is gone
      reason = e.what();
    } catch (const std::exception& e) {
      reason = e.what();
    }
    if (!reason.empty()) {
      ++counters.failed;
      log::error("http.stream_failed", {{"peer", session.peer}, {"reason", reason}});
      co_return false;
    }
    if (!text) co_return true;
  }
}

// Ends when the peer closes. What it sends meanwhile is thrown away.
asio::awaitable<void> Server::State::watch(Session& session) {
  std::array<char, 256> rest;
  for (;;) {
    const asio::mutable_buffer space = asio::buffer(rest);
    const auto [gone, n] = co_await session.socket.async_read_some(space, plainly);
    if (gone) co_return;
  }
}

// Gives a refused sender the time to read our answer: see linger_time.
asio::awaitable<void> Server::State::linger(Session& session) {
  error_code ignored;
  session.socket.shutdown(tcp::socket::shutdown_send, ignored);
  session.deadline.arm(linger_time);
  std::vector<char> rest(piece);
  for (std::size_t read = 0; read < settings.body_max;) {
    const asio::mutable_buffer space = asio::buffer(rest);
    const auto [gone, n] = co_await session.socket.async_read_some(space, plainly);
    if (gone) break;
    read += n;
  }
  session.deadline.disarm();
}

Server::Server(asio::io_context& io, Settings settings, Routes routes)
    : state_(std::make_shared<State>(io, std::move(settings), std::move(routes))) {}

Server::~Server() {
  error_code ignored;
  state_->acceptor.close(ignored);
}

Result<void> Server::listen() {
  const Settings& settings = state_->settings;
  const std::string where = "listen " + settings.address + ":" + std::to_string(settings.port);
  error_code failed;
  const asio::ip::address address = asio::ip::make_address(
      settings.address == "localhost" ? "127.0.0.1" : settings.address, failed);
  if (failed) return Error{where, "not an IP address: write 127.0.0.1, ::1 or 0.0.0.0"};
  if (!address.is_loopback() && !settings.behind_proxy) {
    return Error{
        where,
        "others could reach this address, and neither tokens nor TLS protect it: listen on "
        "127.0.0.1, or say behind_proxy when a proxy in front does both"};
  }

  const tcp::endpoint endpoint(address, settings.port);
  tcp::acceptor& acceptor = state_->acceptor;
  acceptor.open(endpoint.protocol(), failed);
  // A restart must not wait for the connections of the process before it to be forgotten.
  if (!failed) acceptor.set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed) acceptor.bind(endpoint, failed);
  if (!failed) acceptor.listen(tcp::acceptor::max_listen_connections, failed);
  if (failed) {
    error_code ignored;
    acceptor.close(ignored);
    const bool taken = failed == asio::error::address_in_use;
    return Error{where, failed.message() +
                            (taken ? ": another process has this port, choose a free one" : "")};
  }
  state_->port = acceptor.local_endpoint().port();
  return {};
}

std::uint16_t Server::port() const {
  return state_->port;
}

std::string Server::url() const {
  const std::string& address = state_->settings.address;
  const bool v6 = address.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + address + "]" : address) + ":" + std::to_string(state_->port);
}

asio::awaitable<void> Server::run() {
  const std::shared_ptr<State> state = state_;
  bool troubled = false;
  while (!state->stopping) {
    auto [failed, socket] = co_await state->acceptor.async_accept(plainly);
    if (state->stopping) break;
    if (!failed) {
      troubled = false;
      state->start(std::move(socket));
      continue;
    }
    // Mostly: out of file descriptors. Connections that end give some back.
    if (!std::exchange(troubled, true)) {
      log::warn("http.accept_failed", {{"reason", failed.message()}});
    }
    state->ended.expires_after(milliseconds(100));
    co_await state->ended.async_wait(plainly);
  }
  while (!state->sessions.empty() && !state->given_up) {
    state->ended.expires_at(asio::steady_timer::time_point::max());
    co_await state->ended.async_wait(plainly);
  }
  state->closing.cancel();
  if (!state->sessions.empty()) {
    log::error("http.stuck", {{"sessions", state->sessions.size()}});
  }
}

void Server::stop(milliseconds grace) {
  asio::post(state_->io, [state = state_, grace] { state->stop(grace); });
}

const Counters& Server::counters() const {
  return state_->counters;
}

}  // namespace muster::http
