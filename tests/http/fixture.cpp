#include "tests/http/fixture.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <stdexcept>

#include "http/text.hpp"

namespace muster::http::test {
namespace asio = boost::asio;

namespace {

Settings free_port(Settings settings) {
  settings.port = 0;
  return settings;
}

}  // namespace

Running::Running(Routes routes, Settings settings)
    : server(io, free_port(std::move(settings)), std::move(routes)), ended_(done_.get_future()) {
  const Result<void> listening = server.listen();
  if (!listening) throw std::runtime_error(listening.error().where + ": " + listening.error().what);
  asio::co_spawn(io, server.run(), [this](std::exception_ptr failed) {
    if (failed) {
      done_.set_exception(failed);
    } else {
      done_.set_value();
    }
  });
  thread_ = std::thread([this] { io.run(); });
}

Running::~Running() {
  finish();
}

void Running::finish() {
  if (!thread_.joinable()) return;
  server.stop(std::chrono::milliseconds(100));
  thread_.join();
}

void Running::on_io(std::function<void()> what) {
  std::promise<void> done;
  asio::post(io, [&] {
    what();
    done.set_value();
  });
  done.get_future().get();
}

Counters Running::counters() {
  Counters copy;
  on_io([&] { copy = server.counters(); });
  return copy;
}

bool Running::until(std::function<bool(const Counters&)> wanted) {
  // The counters are not events; asking again is cheap and the bound is only for a failing test.
  const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!wanted(counters())) {
    if (std::chrono::steady_clock::now() > last) return false;
    std::this_thread::yield();
  }
  return true;
}

bool Running::ended() {
  if (ended_.wait_for(std::chrono::seconds(10)) != std::future_status::ready) return false;
  ended_.get();
  return true;
}

Wire::Wire(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{10, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    throw std::runtime_error("cannot connect");
  }
}

Wire::~Wire() {
  ::close(fd_);
}

void Wire::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

void Wire::end_of_sending() {
  ::shutdown(fd_, SHUT_WR);
}

bool Wire::more() {
  char bytes[16384];
  const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
  if (n < 0 && errno == EAGAIN) throw std::runtime_error("nothing came for ten seconds");
  if (n <= 0) return false;
  kept_.append(bytes, static_cast<std::size_t>(n));
  return true;
}

std::string Wire::read_until(std::string_view mark) {
  std::size_t at = 0;
  while ((at = kept_.find(mark)) == std::string::npos) {
    if (!more()) return std::exchange(kept_, {});
  }
  std::string out = kept_.substr(0, at + mark.size());
  kept_.erase(0, out.size());
  return out;
}

std::string Wire::read_all() {
  while (more()) {
  }
  return std::exchange(kept_, {});
}

Wire::Answer Wire::answer() {
  Answer answer;
  answer.head = read_until("\r\n\r\n");
  if (answer.head.size() < 12) return answer;
  answer.status = std::stoi(answer.head.substr(9, 3));
  const std::string length = answer.header("Content-Length");
  const std::size_t size = length.empty() ? 0 : std::stoul(length);
  while (kept_.size() < size && more()) {
  }
  answer.body = kept_.substr(0, size);
  kept_.erase(0, answer.body.size());
  return answer;
}

bool Wire::closed() {
  return read_all().empty();
}

std::string Wire::Answer::header(std::string_view name) const {
  std::size_t line = head.find("\r\n");
  while (line != std::string::npos && line + 2 < head.size()) {
    line += 2;
    const std::size_t end = head.find("\r\n", line);
    const std::size_t colon = head.find(':', line);
    if (colon < end && same_name(std::string_view(head).substr(line, colon - line), name)) {
      return head.substr(colon + 2, end - colon - 2);
    }
    line = end;
  }
  return {};
}

std::string get(std::string_view path, std::string_view headers) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: muster.test\r\n" + std::string(headers) +
         "\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view headers) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: muster.test\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(headers) + "\r\n" + std::string(body);
}

Handler answering(std::string body) {
  return [body](Request) -> asio::awaitable<Response> { co_return json(body); };
}

}  // namespace muster::http::test
