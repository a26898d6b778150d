#include "router/channels/channels.hpp"

#include <unistd.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "router/channels/webhook.hpp"
#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::channels;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using router::Answer;

namespace {

// A receiver on loopback that gives the answers of a list in turn, and keeps what it was sent.
struct Receiver {
  explicit Receiver(std::vector<http::Response> list)
      : answers(std::move(list)), running(routes()) {}

  http::Routes routes() {
    http::Routes all;
    all.add(http::Method::post, "/hook",
            [this](http::Request request) -> asio::awaitable<http::Response> {
              return take(std::move(request));
            });
    all.add(http::Method::post, "/hang", [](http::Request) -> asio::awaitable<http::Response> {
      asio::steady_timer never(co_await asio::this_coro::executor, std::chrono::hours(1));
      co_await never.async_wait(asio::use_awaitable);
      co_return http::no_content();
    });
    return all;
  }
  asio::awaitable<http::Response> take(http::Request request) {
    const std::lock_guard lock(mutex);
    http::Response answer = answers.at(std::min(requests.size(), answers.size() - 1));
    requests.push_back(std::move(request));
    co_return answer;
  }
  std::string url(std::string_view path = "/hook") const {
    return running.server.url() + std::string(path);
  }

  std::mutex mutex;
  std::vector<http::Response> answers;
  std::vector<http::Request> requests;
  http::test::Running running;
};

http::Response status(int code, http::Headers headers = {}, std::string body = "") {
  http::Response r;
  r.status = code;
  r.headers = std::move(headers);
  r.body = std::move(body);
  return r;
}

Notice notice() {
  Notice n;
  n.key = "k1";
  n.receiver = "team-data";
  n.target = "webhook:1";
  n.body = R"({"version":"4"})";
  n.text = "[FIRING] something";
  return n;
}

WebhookSettings webhook(std::string url) {
  WebhookSettings w;
  w.target = "webhook:1";
  w.url.value = std::move(url);
  return w;
}

Answer deliver(Settings settings, Notice n = notice(), int times = 1) {
  asio::io_context io;
  Channels all(io, std::move(settings));
  Answer answer;
  for (int i = 0; i < times; ++i) {
    auto done = asio::co_spawn(io, all.deliver(n), asio::use_future);
    io.restart();
    io.run();
    answer = done.get();
  }
  return answer;
}

Answer deliver(WebhookSettings w, int times = 1) {
  Settings s;
  s.webhooks.push_back(std::move(w));
  return deliver(std::move(s), notice(), times);
}

// A file in a folder of its own, gone at the end.
struct SecretFile {
  explicit SecretFile(std::string_view text)
      : folder(std::filesystem::temp_directory_path() /
               ("muster-secret-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder);
    write(text);
  }
  ~SecretFile() { std::filesystem::remove_all(folder); }
  void write(std::string_view text) const { std::ofstream(path()) << text; }
  std::string path() const { return (folder / "secret").string(); }
  std::filesystem::path folder;
};

}  // namespace

TEST_CASE("a webhook is sent the body and the key of its notice") {
  Receiver receiver({status(200, {}, "ok")});
  WebhookSettings w = webhook(receiver.url());
  w.headers = {{"X-Team", "data"}};
  const Answer answer = deliver(w);
  CHECK(answer.outcome == Answer::Outcome::sent);
  CHECK((answer.status == 200 && answer.what.empty()));
  REQUIRE(receiver.requests.size() == 1);
  const http::Request& got = receiver.requests[0];
  CHECK(got.body_text() == notice().body);
  CHECK(got.header("Idempotency-Key") == "k1");
  CHECK(got.header("Content-Type") == "application/json");
  CHECK(got.header("X-Team") == "data");
  CHECK(got.header("Authorization").empty());
}

TEST_CASE("a receiver that stumbles is tried again with the same key") {
  Receiver receiver({status(500, {}, "out of\nmemory"), status(200)});
  WebhookSettings w = webhook(receiver.url());
  const Answer first = deliver(w);
  CHECK(first.outcome == Answer::Outcome::retry);
  CHECK(first.what == "status 500: out of memory");
  CHECK(deliver(w).outcome == Answer::Outcome::sent);
  REQUIRE(receiver.requests.size() == 2);
  CHECK(receiver.requests[0].header("Idempotency-Key") ==
        receiver.requests[1].header("Idempotency-Key"));
}

TEST_CASE("a receiver's Retry-After reaches the schedule") {
  Receiver receiver({status(429, {{"Retry-After", "120"}}), status(503, {{"retry-after", "7"}}),
                     status(400, {{"Retry-After", "5"}}, "bad payload")});
  WebhookSettings w = webhook(receiver.url());
  Answer answer = deliver(w);
  CHECK(answer.outcome == Answer::Outcome::retry);
  CHECK(answer.retry_after == Duration(120s));
  CHECK(deliver(w).retry_after == Duration(7s));
  answer = deliver(w);
  CHECK(answer.outcome == Answer::Outcome::dead);
  CHECK_FALSE(answer.retry_after);
  CHECK(answer.what == "status 400: bad payload");
}

TEST_CASE("a receiver that hangs is left after the timeout, one that is not there at once") {
  Receiver receiver({status(200)});
  WebhookSettings w = webhook(receiver.url("/hang"));
  w.timeout = 200ms;
  const auto begin = std::chrono::steady_clock::now();
  Answer answer = deliver(w);
  CHECK(answer.outcome == Answer::Outcome::retry);
  CHECK(answer.status == 0);
  CHECK(answer.what.find("no answer within 200 ms") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < 5s);
  receiver.running.stop(0ms);
  REQUIRE(receiver.running.ended());
  answer = deliver(webhook(receiver.url()));
  CHECK(answer.outcome == Answer::Outcome::retry);
  CHECK(answer.what.find("127.0.0.1") != std::string::npos);
}

TEST_CASE("tokens and passwords are sent, from files that may change") {
  Receiver receiver({status(200)});
  SecretFile file("s3cret\n");
  WebhookSettings w = webhook(receiver.url());
  w.credentials.file = file.path();
  deliver(w);
  file.write("n3w");
  deliver(w);
  w.credentials = {};
  w.username = "Aladdin";
  w.password.value = "open sesame";
  deliver(w);
  REQUIRE(receiver.requests.size() == 3);
  CHECK(receiver.requests[0].header("Authorization") == "Bearer s3cret");
  CHECK(receiver.requests[1].header("Authorization") == "Bearer n3w");
  // The example of RFC 7617, section 2.
  CHECK(receiver.requests[2].header("Authorization") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

TEST_CASE("a URL may stand in a file, and a file that is missing is tried again") {
  Receiver receiver({status(200)});
  SecretFile file(receiver.url() + "\n");
  WebhookSettings w = webhook("");
  w.url.file = file.path();
  CHECK(deliver(w).outcome == Answer::Outcome::sent);
  w.url.file += ".gone";
  const Answer answer = deliver(w);
  CHECK(answer.outcome == Answer::Outcome::retry);
  CHECK(answer.what.find("cannot be read") != std::string::npos);
  CHECK(receiver.requests.size() == 1);
}

TEST_CASE("the log takes everything, and an integration that is gone takes nothing") {
  Settings s;
  s.logs.push_back({"log"});
  Notice n = notice();
  CHECK(deliver(s, n).outcome == Answer::Outcome::dead);
  n.target = "log";
  CHECK(deliver(s, n).outcome == Answer::Outcome::sent);
}

TEST_CASE("base64 pads what is not a multiple of three") {
  // RFC 4648, section 10.
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foobar") == "Zm9vYmFy");
}
