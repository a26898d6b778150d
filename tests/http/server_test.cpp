#include "http/server.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>

#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::http;
using namespace muster::http::test;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != text.npos;
}

// Says what came in: the method is in the status line's stead, as tests look at the body.
Handler echo() {
  return [](Request request) -> asio::awaitable<Response> {
    Response response = json(std::string(request.body_text()));
    response.headers = {
        {"X-Path", request.path}, {"X-Query", request.query}, {"X-Peer", request.peer}};
    co_return response;
  };
}

// A door that tests open: handlers wait at it.
struct Gate {
  explicit Gate(asio::io_context& io) : timer(io, asio::steady_timer::time_point::max()) {}
  asio::awaitable<void> passed() {
    if (open) co_return;
    ++waiting;
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  asio::steady_timer timer;
  int waiting = 0;
  bool open = false;
};

Routes echo_only() {
  Routes routes;
  routes.add(Method::post, "/echo", echo());
  routes.add(Method::get, "/echo", echo());
  routes.add(Method::get, "/items/{id}", echo());
  return routes;
}

}  // namespace

TEST_CASE("a request reaches its handler with path, query, headers, body and peer") {
  Running running(echo_only());
  Wire wire(running.server.port());
  const auto answer = wire.ask(post("/echo?a=1&b=%20", "hello"));
  CHECK(answer.status == 200);
  CHECK(answer.body == "hello");
  CHECK(answer.header("X-Path") == "/echo");
  CHECK(answer.header("X-Query") == "a=1&b=%20");
  CHECK(answer.header("X-Peer") == "127.0.0.1");
  CHECK(answer.header("Content-Type") == "application/json");
  CHECK(answer.header("X-Content-Type-Options") == "nosniff");
  CHECK(answer.header("Referrer-Policy") == "no-referrer");
  CHECK(answer.header("Cache-Control") == "no-store");

  // A proxy may put the whole address in the request line.
  CHECK(wire.ask(get("http://muster.test/echo?x")).header("X-Query") == "x");
}

TEST_CASE("a connection is kept for the next request, and closed when the peer asks for it") {
  Running running(echo_only());
  Wire wire(running.server.port());
  for (int i = 0; i < 3; ++i)
    CHECK(wire.ask(post("/echo", std::to_string(i))).body == std::to_string(i));
  CHECK(running.counters().connections == 1);
  CHECK(wire.ask(get("/echo", "Connection: close\r\n")).header("Connection") == "close");
  CHECK(wire.closed());

  Wire old(running.server.port());
  CHECK(old.ask("GET /echo HTTP/1.0\r\n\r\n").status == 200);
  CHECK(old.closed());
}

TEST_CASE("pipelined requests are answered in order") {
  Running running(echo_only());
  Wire wire(running.server.port());
  wire.send(post("/echo", "one") + post("/echo", "two") + get("/echo") + post("/echo", "four"));
  CHECK(wire.answer().body == "one");
  CHECK(wire.answer().body == "two");
  CHECK(wire.answer().body.empty());
  CHECK(wire.answer().body == "four");
}

TEST_CASE(
    "an unknown path is 404 with a hint, a wrong method 405 with Allow, and the connection goes "
    "on") {
  Running running(echo_only());
  Wire wire(running.server.port());
  const auto unknown = wire.ask(get("/ecko"));
  CHECK(unknown.status == 404);
  CHECK(says(unknown.body, R"("code":"unknown_path")"));
  CHECK(says(unknown.body, "did you mean /echo?"));

  const auto wrong = wire.ask("DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(wrong.status == 405);
  CHECK(wrong.header("Allow") == "POST, GET, HEAD");
  CHECK(says(wrong.body, R"("code":"method_not_allowed")"));

  CHECK(wire.ask("OPTIONS /echo HTTP/1.1\r\nHost: x\r\n\r\n").status == 204);

  Wire other(running.server.port());
  CHECK(other.ask("PROPFIND /echo HTTP/1.1\r\nHost: x\r\n\r\n").status == 501);
  CHECK(other.ask(get("/items/%zz")).status == 400);
  CHECK(other.ask("GET /echo HTTP/1.1\r\n\r\n").status == 400);  // no Host
  CHECK(other.ask(get("/echo")).status == 200);
}

TEST_CASE("HEAD is answered as GET without the body") {
  Routes routes;
  routes.add(Method::get, "/page", answering("0123456789"));
  Running running(std::move(routes));
  Wire wire(running.server.port());
  wire.send("HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n" + get("/page"));
  const std::string head = wire.read_until("\r\n\r\n");
  CHECK(says(head, "200"));
  CHECK(says(head, "Content-Length: 10"));
  // Had a body followed, the next answer would not begin here.
  CHECK(wire.answer().body == "0123456789");
}

TEST_CASE("a body over the limit is 413, whether its length is announced or not") {
  Settings settings;
  settings.body_max = 1000;
  Running running(echo_only(), settings);
  {
    Wire wire(running.server.port());
    CHECK(wire.ask(post("/echo", std::string(1000, 'x'))).status == 200);
    const auto answer = wire.ask(post("/echo", std::string(1001, 'x')));
    CHECK(answer.status == 413);
    CHECK(says(answer.body, "over 1000 bytes"));
    CHECK(answer.header("Connection") == "close");
    CHECK(wire.closed());
  }
  {
    Wire wire(running.server.port());
    wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 3; ++i) wire.send("190\r\n" + std::string(0x190, 'x') + "\r\n");  // 3 x 400
    CHECK(wire.answer().status == 413);
  }
  CHECK(running.counters().refused == 2);
  CHECK(running.counters().body_bytes == 1000);
}

TEST_CASE("a path's senders read the server's own refusals in their form") {
  Settings settings;
  settings.body_max = 1000;
  Routes routes = echo_only();
  routes.refuse_as("/echo", [](const Response& refusal, std::string_view type) {
    Response out;
    out.status = refusal.status;
    out.content_type = type;
    out.body = "mine: " + refusal.body;
    return out;
  });
  Running running(std::move(routes), settings);
  for (const bool chunked : {false, true}) {
    Wire wire(running.server.port());
    const std::string head = "POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/odd\r\n";
    if (chunked) {
      wire.send(head + "Transfer-Encoding: chunked\r\n\r\n");
      for (int i = 0; i < 3; ++i) wire.send("190\r\n" + std::string(0x190, 'x') + "\r\n");
    } else {
      wire.send(head + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x'));
    }
    const auto answer = wire.answer();
    CHECK(answer.status == 413);
    CHECK(answer.header("Content-Type") == "application/odd");
    CHECK(says(answer.body, "mine: {"));
  }
  Wire wire(running.server.port());
  CHECK_FALSE(says(wire.ask(post("/nowhere", "x")).body, "mine"));
}

TEST_CASE("a sender that goes on sending still reads why it was refused") {
  // More than the buffers of both sockets hold, so the sender is in the midst of sending when it is
  // refused.
  Settings settings;
  settings.body_max = 16u << 20;
  Running running(echo_only(), settings);
  Wire wire(running.server.port());
  wire.send(post("/echo", std::string((16u << 20) + 1, 'x')));
  CHECK(wire.answer().status == 413);
}

TEST_CASE("headers over the limit are 431") {
  Settings settings;
  settings.header_max = 2000;
  Running running(echo_only(), settings);
  Wire wire(running.server.port());
  CHECK(wire.ask(get("/echo", "X-Some: " + std::string(1500, 'x') + "\r\n")).status == 200);
  const auto answer = wire.ask(get("/echo", "X-Some: " + std::string(3000, 'x') + "\r\n"));
  CHECK(answer.status == 431);
  CHECK(says(answer.body, "headers_too_large"));
  CHECK(wire.closed());
}

TEST_CASE("bodies over the memory for all of them are told to come later") {
  Settings settings;
  settings.bodies_max = 100'000;
  Running running(echo_only(), settings);
  Wire small(running.server.port());
  CHECK(small.ask(post("/echo", std::string(90'000, 'x'))).status == 200);
  Wire large(running.server.port());
  const auto answer = large.ask(post("/echo", std::string(110'000, 'x')));
  CHECK(answer.status == 503);
  CHECK(answer.header("Retry-After") == "1");
  // What was held is given back.
  CHECK(small.ask(post("/echo", std::string(90'000, 'x'))).status == 200);
}

TEST_CASE("chunked bodies are put together") {
  Running running(echo_only());
  Wire wire(running.server.port());
  wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  wire.send("7;ext=1\r\n, world\r\n0\r\nTrailer: x\r\n\r\n");
  CHECK(wire.answer().body == "hello, world");
  CHECK(wire.ask(post("/echo", "next")).body == "next");
}

TEST_CASE("a sender that asks first is told to go on, or refused before it sends") {
  Settings settings;
  settings.body_max = 10;
  Running running(echo_only(), settings);
  {
    Wire wire(running.server.port());
    wire.send(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    CHECK(wire.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(wire.ask("body").body == "body");
  }
  for (const std::string_view refused :
       {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: tea\r\n\r\n"}) {
    Wire wire(running.server.port());
    const int status = wire.ask(refused).status;
    CHECK((status == 413 || status == 404 || status == 417));
    wire.end_of_sending();
    CHECK(wire.closed());
  }
}

TEST_CASE("a cut-off body is 400 when the peer still listens, and harms nobody when it does not") {
  Running running(echo_only());
  {
    Wire wire(running.server.port());
    wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this");
    wire.end_of_sending();
    const auto answer = wire.answer();
    CHECK(answer.status == 400);
    CHECK(says(answer.body, "ended before it was complete"));
  }
  {
    Wire wire(running.server.port());
    wire.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this");
  }
  CHECK(running.until([](const Counters& c) { return c.connections == 0; }));
  Wire wire(running.server.port());
  CHECK(wire.ask(get("/echo")).status == 200);
}

TEST_CASE("what is no HTTP is 400") {
  Running running(echo_only());
  for (const std::string_view bytes :
       {"\x16\x03\x01\x02\x01 a TLS hello\r\n\r\n", "GET\r\n\r\n", "GET /echo HTTP/9.9\r\n\r\n",
        "GET /echo HTTP/1.1\r\nNo colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    Wire wire(running.server.port());
    INFO(bytes);
    CHECK(wire.ask(bytes).status == 400);
    wire.end_of_sending();
    CHECK(wire.closed());
  }
}

TEST_CASE("a slow sender is 408, an idle connection is closed without a word") {
  Settings settings;
  settings.read_timeout = 100ms;
  settings.idle_timeout = 100ms;
  Running running(echo_only(), settings);
  {
    Wire wire(running.server.port());
    const auto answer = wire.ask("GET /echo HT");
    CHECK(answer.status == 408);
    CHECK(says(answer.body, R"("where":"headers")"));
  }
  {
    Wire wire(running.server.port());
    const auto answer = wire.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    CHECK(answer.status == 408);
    CHECK(says(answer.body, R"("where":"body")"));
  }
  {
    Wire wire(running.server.port());
    CHECK(wire.ask(get("/echo")).status == 200);
    CHECK(wire.read_all().empty());
  }
}

TEST_CASE("a handler that throws is a 500, and the connection goes on") {
  Routes routes = echo_only();
  routes.add(Method::get, "/throws", [](Request) -> asio::awaitable<Response> {
    throw std::runtime_error("secret detail");
    co_return Response{};
  });
  routes.add(Method::get, "/throws-at-once", [](Request) -> asio::awaitable<Response> { throw 7; });
  Running running(std::move(routes));
  Wire wire(running.server.port());
  for (const std::string_view path : {"/throws", "/throws-at-once"}) {
    const auto answer = wire.ask(get(path));
    CHECK(answer.status == 500);
    CHECK(says(answer.body, R"("code":"internal")"));
    CHECK(!says(answer.body, "secret"));
  }
  CHECK(wire.ask(get("/echo")).status == 200);
  CHECK(running.counters().failed == 2);
}

TEST_CASE("connections over the limit are told so, and there is room again when others end") {
  Settings settings;
  settings.connections_max = 2;
  Running running(echo_only(), settings);
  auto first = std::make_unique<Wire>(running.server.port());
  Wire second(running.server.port());
  CHECK(first->ask(get("/echo")).status == 200);
  CHECK(second.ask(get("/echo")).status == 200);
  {
    Wire third(running.server.port());
    const auto answer = third.answer();
    CHECK(answer.status == 503);
    CHECK(answer.header("Retry-After") == "5");
    CHECK(third.closed());
  }
  CHECK(running.counters().turned_away == 1);
  first.reset();
  CHECK(running.until([](const Counters& c) { return c.connections == 1; }));
  Wire fourth(running.server.port());
  CHECK(fourth.ask(get("/echo")).status == 200);
}

TEST_CASE(
    "a write that a browser sends for another site is refused, a sender's and our own page's are "
    "not") {
  Running running(echo_only());
  Wire wire(running.server.port());
  CHECK(wire.ask(post("/echo", "", "Sec-Fetch-Site: cross-site\r\n")).status == 403);
  CHECK(wire.ask(post("/echo", "", "Sec-Fetch-Site: same-site\r\n")).status == 403);
  CHECK(wire.ask(post("/echo", "", "Origin: http://evil.example\r\n")).status == 403);
  CHECK(wire.ask(post("/echo", "", "Origin: null\r\n")).status == 403);
  CHECK(wire.ask(post("/echo", "", "Origin: http://muster.test\r\n")).status == 200);
  CHECK(wire.ask(post("/echo", "", "Sec-Fetch-Site: same-origin\r\n")).status == 200);
  CHECK(wire.ask(post("/echo", "", "Sec-Fetch-Site: none\r\n")).status == 200);
  CHECK(wire.ask(post("/echo", "")).status == 200);
  CHECK(wire.ask(get("/echo", "Sec-Fetch-Site: cross-site\r\n")).status == 200);
}

TEST_CASE("long answers are packed for those who take gzip") {
  Routes routes;
  routes.add(Method::get, "/long", answering(std::string(5000, 'x')));
  routes.add(Method::get, "/short", answering("x"));
  routes.add(Method::get, "/image", [](Request) -> asio::awaitable<Response> {
    Response response = json(std::string(5000, 'x'));
    response.content_type = "image/png";
    co_return response;
  });
  routes.add(Method::get, "/packed", [](Request) -> asio::awaitable<Response> {
    Response response = json(std::string(5000, 'x'));
    response.headers = {{"content-encoding", "gzip"}, {"cache-control", "max-age=60"}};
    co_return response;
  });
  Running running(std::move(routes));
  Wire wire(running.server.port());
  const auto packed = wire.ask(get("/long", "Accept-Encoding: br, gzip\r\n"));
  CHECK(packed.header("Content-Encoding") == "gzip");
  CHECK(packed.header("Vary") == "Accept-Encoding");
  CHECK(packed.body.size() < 200);
  CHECK(packed.body.substr(0, 2) == "\x1f\x8b");
  CHECK(wire.ask(get("/long")).body.size() == 5000);
  CHECK(wire.ask(get("/short", "Accept-Encoding: gzip\r\n")).body == "x");
  CHECK(wire.ask(get("/image", "Accept-Encoding: gzip\r\n")).body.size() == 5000);
  const auto by_hand = wire.ask(get("/packed", "Accept-Encoding: gzip\r\n"));
  CHECK(by_hand.body.size() == 5000);
  CHECK(by_hand.header("Cache-Control") == "max-age=60");
  CHECK(!says(by_hand.head, "no-store"));
}

TEST_CASE("a header value that a handler got from outside stays on its line") {
  Routes routes;
  routes.add(Method::get, "/split", [](Request request) -> asio::awaitable<Response> {
    Response response = json("{}");
    response.headers.emplace_back("X-Back", *request.parameter("v"));
    co_return response;
  });
  Running running(std::move(routes));
  Wire wire(running.server.port());
  const auto answer = wire.ask(get("/split?v=a%0d%0aSet-Cookie:%20b"));
  CHECK(answer.header("X-Back") == "a  Set-Cookie: b");
  CHECK(answer.header("Set-Cookie").empty());
}

namespace {

// A source of events that the test feeds, and whose end it can see.
struct Source {
  explicit Source(asio::io_context& io) : wake(io, asio::steady_timer::time_point::max()) {}
  asio::steady_timer wake;
  std::vector<std::string> texts;
  bool over = false;
  bool waiting = false;
};

Routes streaming(const std::shared_ptr<std::unique_ptr<Source>>& source) {
  Routes routes;
  routes.add(Method::get, "/stream", [source](Request) -> asio::awaitable<Response> {
    Response response;
    response.content_type = "text/event-stream";
    response.body = "retry: 1000\n\n";
    // Held by the stream alone: it goes when the stream is destroyed.
    auto alive = std::make_shared<int>(1);
    response.stream = [source, alive]() -> asio::awaitable<std::optional<std::string>> {
      Source& from = **source;
      while (from.texts.empty() && !from.over) {
        from.waiting = true;
        const auto [aborted] = co_await from.wake.async_wait(asio::as_tuple(asio::use_awaitable));
        (void)aborted;  // woken by the test, or cancelled: the state below tells
        from.waiting = false;
        const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return std::nullopt;
      }
      if (from.texts.empty()) co_return std::nullopt;
      std::string text = std::move(from.texts.front());
      from.texts.erase(from.texts.begin());
      co_return text;
    };
    co_return response;
  });
  return routes;
}

}  // namespace

TEST_CASE("a stream passes events on as they come and ends when its source does") {
  const auto source = std::make_shared<std::unique_ptr<Source>>();
  Running running(streaming(source));
  running.on_io([&] { *source = std::make_unique<Source>(running.io); });
  {
    Wire wire(running.server.port());
    wire.send(get("/stream"));
    const std::string head = wire.read_until("\r\n\r\n");
    CHECK(says(head, "200 OK"));
    CHECK(says(head, "Content-Type: text/event-stream"));
    CHECK(says(head, "Transfer-Encoding: chunked"));
    CHECK(wire.read_until("\n\n\r\n") == "d\r\nretry: 1000\n\n\r\n");
    for (const std::string text : {"data: 1\n\n", "data: 2\n\n"}) {
      running.on_io([&] {
        (*source)->texts.push_back(text);
        (*source)->wake.cancel();
      });
      CHECK(wire.read_until("\n\n\r\n") == "9\r\n" + text + "\r\n");
    }
    CHECK(running.counters().streams == 1);
    running.on_io([&] {
      (*source)->over = true;
      (*source)->wake.cancel();
    });
    CHECK(wire.read_all() == "0\r\n\r\n");
  }
  CHECK(running.until([](const Counters& c) { return c.streams == 0 && c.connections == 0; }));

  // HTTP/1.0 knows no chunks.
  running.on_io([&] {
    (*source)->over = true;
    (*source)->texts = {"data: 3\n\n"};
  });
  Wire old(running.server.port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  CHECK(says(old.read_until("\r\n\r\n"), "Connection: close") == false);  // 1.0 closes anyway
  CHECK(old.read_all() == "retry: 1000\n\ndata: 3\n\n");
  running.on_io([&] { source->reset(); });
}

TEST_CASE("a stream is given up when its reader goes away") {
  const auto source = std::make_shared<std::unique_ptr<Source>>();
  Running running(streaming(source));
  running.on_io([&] { *source = std::make_unique<Source>(running.io); });
  {
    Wire wire(running.server.port());
    wire.send(get("/stream"));
    wire.read_until("\n\n\r\n");
    CHECK(running.counters().streams == 1);
  }
  // No event comes: the server notices by itself.
  CHECK(running.until([](const Counters& c) { return c.streams == 0 && c.connections == 0; }));
  running.on_io([&] {
    CHECK(!(*source)->waiting);
    source->reset();
  });
}

TEST_CASE("a reader that does not read is cut off at the write deadline") {
  Routes routes;
  routes.add(Method::get, "/flood", [](Request) -> asio::awaitable<Response> {
    Response response;
    response.stream = []() -> asio::awaitable<std::optional<std::string>> {
      co_return std::string(1u << 20, 'x');
    };
    co_return response;
  });
  Settings settings;
  settings.write_timeout = 200ms;
  Running running(std::move(routes), settings);
  Wire wire(running.server.port());
  wire.send(get("/flood"));
  wire.read_until("\r\n\r\n");
  CHECK(running.until([](const Counters& c) { return c.connections == 0; }));
}

TEST_CASE("streams have a limit of their own") {
  const auto source = std::make_shared<std::unique_ptr<Source>>();
  Settings settings;
  settings.streams_max = 1;
  Running running(streaming(source), settings);
  running.on_io([&] { *source = std::make_unique<Source>(running.io); });
  {
    Wire first(running.server.port());
    first.send(get("/stream"));
    first.read_until("\n\n\r\n");
    Wire second(running.server.port());
    CHECK(second.ask(get("/stream")).status == 503);
  }
  CHECK(running.until([](const Counters& c) { return c.connections == 0; }));
  running.on_io([&] { source->reset(); });
}

TEST_CASE("stop lets a running request finish and closes idle connections and streams") {
  const auto source = std::make_shared<std::unique_ptr<Source>>();
  const auto gate = std::make_shared<std::unique_ptr<Gate>>();
  Routes routes = streaming(source);
  routes.add(Method::get, "/slow", [gate](Request) -> asio::awaitable<Response> {
    co_await (*gate)->passed();
    co_return json("finished");
  });
  Running running(std::move(routes));
  running.on_io([&] {
    *source = std::make_unique<Source>(running.io);
    *gate = std::make_unique<Gate>(running.io);
  });
  Wire idle(running.server.port());
  CHECK(idle.ask(get("/nothing")).status == 404);
  Wire stream(running.server.port());
  stream.send(get("/stream"));
  stream.read_until("\n\n\r\n");
  Wire busy(running.server.port());
  busy.send(get("/slow"));
  CHECK(running.until([](const Counters& c) { return c.requests == 2; }));

  running.stop(10s);
  CHECK(idle.closed());
  CHECK(stream.read_all() == "0\r\n\r\n");  // a clean end
  CHECK_THROWS(Wire(running.server.port()));
  running.on_io([&] { (*gate)->timer.cancel(); });
  const auto answer = busy.answer();
  CHECK(answer.body == "finished");
  CHECK(answer.header("Connection") == "close");
  CHECK(running.ended());
  running.finish();
  source->reset();
  gate->reset();
}

TEST_CASE("stop cancels what does not finish within the grace") {
  Routes routes;
  const auto gate = std::make_shared<std::unique_ptr<Gate>>();
  routes.add(Method::get, "/slow", [gate](Request) -> asio::awaitable<Response> {
    co_await (*gate)->passed();
    co_return json("finished");
  });
  Running running(std::move(routes));
  running.on_io([&] { *gate = std::make_unique<Gate>(running.io); });
  Wire busy(running.server.port());
  busy.send(get("/slow"));
  Wire half(running.server.port());
  half.send("GET /slow HT");
  CHECK(running.until([](const Counters& c) { return c.requests == 1 && c.connections == 2; }));
  running.stop(50ms);
  CHECK(running.ended());
  CHECK(busy.read_all().empty());
  CHECK(half.read_all().empty());
  running.finish();
  gate->reset();
}

TEST_CASE("listening says what is wrong with an address") {
  asio::io_context io;
  const auto reason = [&](Settings settings) {
    Server server(io, settings, Routes());
    const Result<void> result = server.listen();
    return result ? std::string("listens") : result.error().where + ": " + result.error().what;
  };
  CHECK(says(reason({.address = "0.0.0.0", .port = 0}),
             "listen 0.0.0.0:0: others could reach this address"));
  CHECK(says(reason({.address = "::", .port = 0}), "behind_proxy"));
  CHECK(says(reason({.address = "muster.test", .port = 0}), "not an IP address"));
  CHECK(reason({.address = "localhost", .port = 0}) == "listens");
  // An address of documentation that no machine has: past the refusal, the system says no.
  CHECK(says(reason({.address = "192.0.2.1", .port = 0}), "others could reach"));
  CHECK(says(reason({.address = "192.0.2.1", .port = 0, .behind_proxy = true}), "Cannot assign"));

  Server first(io, {.port = 0}, Routes());
  REQUIRE(first.listen());
  CHECK(first.url() == "http://127.0.0.1:" + std::to_string(first.port()));
  CHECK(says(reason({.port = first.port()}), "another process has this port"));
}
