#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "http/message.hpp"
#include "http/routes.hpp"

namespace muster::http {

struct Settings {
  std::string address = "127.0.0.1";
  std::uint16_t port = 9797;  // 0: any free one, see Server::port()
  // Any other address than loopback is refused without this word: it says that a proxy in front
  // does TLS and decides who may come in, as the server itself does neither.
  bool behind_proxy = false;

  // A remote-write request of Prometheus is below 1 MiB; an hour of a fleet as NDJSON is some ten.
  std::size_t body_max = 32u << 20;
  // All bodies in memory together, being read or handled: a burst of large ones must not end the
  // process.
  std::size_t bodies_max = 512u << 20;
  // Cookies of a shared domain are the largest headers there are, browsers keep them below 8 KiB.
  std::size_t header_max = 16u << 10;
  // A browser takes six, a sender a few; one costs about 10 KiB when idle.
  std::size_t connections_max = 1024;
  // Event streams stay open, so they must not use up the connections. One a page that somebody
  // looks at.
  std::size_t streams_max = 256;

  // Longer than the scrape and flush intervals of common senders, so that their connections are
  // kept.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(75);
  // From the first byte of a request to its last: a full body over a 5 Mbit/s line.
  std::chrono::milliseconds read_timeout = std::chrono::seconds(60);
  // For an answer, or for one event of a stream, to leave.
  std::chrono::milliseconds write_timeout = std::chrono::seconds(30);

  // Below this size a gzip header and the time cost more than the bytes saved: it is one packet
  // anyway.
  std::size_t gzip_min = 1024;
  // The fastest level: answers are made while the I/O thread waits.
  int gzip_level = 1;
};

// What the server saw since its start, for /metrics.
struct Counters {
  std::uint64_t requests = 0;  // read whole and handed to a handler
  std::uint64_t refused =
      0;  // answered by the server itself: limits, unknown paths, bad syntax, slowness
  std::uint64_t failed = 0;       // a handler threw
  std::uint64_t turned_away = 0;  // connections over connections_max
  std::uint64_t body_bytes = 0;
  std::size_t connections = 0;  // now
  std::size_t streams = 0;      // now
};

// An HTTP/1.1 server on one I/O thread: keep-alive, pipelining, Expect: 100-continue, chunked
// bodies, event streams. It answers unknown paths, limits and slow peers by itself with JSON errors
// (413, 431, 408, 503, …), turns a throwing handler into a 500, and refuses writes that a browser
// sends for another site.
//
//   Server server(io, settings, std::move(routes));
//   if (Result<void> r = server.listen(); !r) …
//   co_spawn(io, server.run(), …);      // until stop() and the last connection
//
// All functions are for the I/O thread, except stop().
class Server {
 public:
  Server(boost::asio::io_context& io, Settings settings, Routes routes);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes the address and port, or says why not.
  Result<void> listen();
  std::uint16_t port() const;  // the one that was taken; after listen()
  std::string url() const;     // http://127.0.0.1:9797

  // Serves until stop() was called and every connection has ended. Its owner awaits it. A handler
  // that does not end when it is cancelled is logged and given up five seconds after the grace.
  boost::asio::awaitable<void> run();

  // Stops listening, closes idle connections and streams, lets running requests finish for `grace`,
  // then cancels them. From any thread; a second call changes nothing.
  void stop(std::chrono::milliseconds grace);

  const Counters& counters() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the connections
};

}  // namespace muster::http
