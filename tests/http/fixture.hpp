#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include "http/server.hpp"

namespace muster::http::test {

// A server on a free port of loopback, with its I/O thread. It is stopped and awaited at the end.
class Running {
 public:
  explicit Running(Routes routes, Settings settings = {});
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  // Runs `what` on the I/O thread and waits for it.
  void on_io(std::function<void()> what);
  Counters counters();
  // Waits until the counters are as wanted, ten seconds at most; whether they became so.
  bool until(std::function<bool(const Counters&)> wanted);
  void stop(std::chrono::milliseconds grace) { server.stop(grace); }
  // Waits for run() to end, ten seconds at most.
  bool ended();
  // Stops the server and its thread. What a test made of `io` must go between this and our end.
  void finish();

  boost::asio::io_context io;
  Server server;

 private:
  std::promise<void> done_;
  std::future<void> ended_;
  std::thread thread_;
};

// A bare TCP connection to 127.0.0.1, blocking, so that tests can send what no client would. Reads
// give up after ten seconds.
class Wire {
 public:
  explicit Wire(std::uint16_t port);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  void send(std::string_view bytes);  // as much as the peer takes
  void end_of_sending();              // half-close
  std::string read_until(
      std::string_view mark);  // up to and with it; what there is at the end of the stream
  std::string read_all();      // to the end of the stream
  // One whole answer with a Content-Length; the next one stays for the next call.
  struct Answer {
    int status = 0;
    std::string head;  // with the status line, lower case names are not made
    std::string body;
    std::string header(std::string_view name) const;
  };
  Answer answer();
  Answer ask(std::string_view request) { return send(request), answer(); }
  bool closed();  // whether the peer has ended the stream; waits for it

 private:
  bool more();  // reads some into kept_
  int fd_ = -1;
  std::string kept_;
};

// "GET /path HTTP/1.1" with a Host, ready to send.
std::string get(std::string_view path, std::string_view headers = {});
std::string post(std::string_view path, std::string_view body, std::string_view headers = {});

Handler answering(std::string body);

}  // namespace muster::http::test
