#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>

#include "collector/collector.hpp"
#include "collector/statsd.hpp"
#include "http/gzip.hpp"
#include "schema/mapping.hpp"

using namespace muster;
using namespace std::chrono_literals;
namespace asio = boost::asio;

namespace {

// The endpoints before a store that says what it got.
struct Bench {
  asio::io_context io;
  bool busy = false;
  std::size_t offered = 0;
  std::map<std::string, double> store;
  collector::CountersPtr counters = std::make_shared<collector::Counters>();

  collector::Sink sink() {
    return [this](SampleBatch batch) -> asio::awaitable<Stored> {
      Stored stored;
      ++offered;
      if (busy) {
        stored.state = Stored::State::busy;
        co_return stored;
      }
      for (const RawSeries& series : batch.series) {
        const auto identity = batch.identify(series.labels, Mapping());
        if (!identity) {
          stored.rejected.push_back({series.line, identity.error().what});
          ++stored.rejected_count;
          continue;
        }
        store[identity->model + " " + identity->metric] += batch.points[series.first].value;
        ++stored.accepted;
      }
      co_return stored;
    };
  }

  http::Response send(http::Method method, const char* path, std::string query,
                      std::string_view body, http::Headers headers = {}) {
    http::Routes routes;
    collector::add_routes(routes, sink(), {}, counters);
    const auto match = routes.find(method, path);
    REQUIRE(match.handler != nullptr);
    http::Request request;
    request.method = method;
    request.path = path;
    request.query = std::move(query);
    request.headers = std::move(headers);
    request.body.assign(body.begin(), body.end());
    request.peer = "127.0.0.1";
    auto answer = asio::co_spawn(io, (*match.handler)(std::move(request)), asio::use_future);
    io.restart();
    io.run();
    return answer.get();
  }
  http::Response write(std::string_view body, std::string query = {}, http::Headers headers = {}) {
    return send(http::Method::post, "/write", std::move(query), body, std::move(headers));
  }

  // Runs until it holds, ten seconds at most.
  bool until(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.run_one_for(5ms);
    }
    return true;
  }
};

}  // namespace

TEST_CASE("influx over HTTP: 204 when all is stored, 400 with the lines when not") {
  Bench bench;
  CHECK(bench.write("a,model=m v=1,w=2i 1700000000000000000\n").status == 204);
  CHECK(bench
            .send(http::Method::post, "/api/v2/write", "org=o&bucket=prod&precision=s",
                  "b v=3 1700000000")
            .status == 204);
  CHECK(bench.store ==
        std::map<std::string, double>{{"m a_v", 1}, {"m a_w", 2}, {"unknown b_v{db=\"prod\"}", 3}});
  CHECK(bench.send(http::Method::get, "/ping", "", "").status == 204);
  CHECK(bench.write("").status == 204);

  const http::Response partial =
      bench.write("c v=1\nd v=x\ne,t=\xff v=1\nf v=2,s=\"text\"\n", "db=x");
  CHECK(partial.status == 400);
  const auto answer = boost::json::parse(partial.body);
  CHECK(answer.at("code") == "invalid");
  CHECK(answer.at("line") == 2);
  const std::string what(answer.at("message").as_string());
  INFO(what);
  CHECK(
      what.starts_with("partial write: 2 lines or samples were not taken, the other 2 samples are "
                       "stored. Line 2: "));
  CHECK(what.find("Line 3: ") != std::string::npos);
  CHECK(answer.at("error") == answer.at("message"));
  CHECK(bench.store.contains("unknown c_v{db=\"x\"}"));
  CHECK(bench.counters->senders.at("127.0.0.1").texts == 1);
  CHECK(bench.counters->senders.at("127.0.0.1").rejected == 2);
}

TEST_CASE("influx over HTTP: gzip, a bad precision, and a busy store") {
  Bench bench;
  CHECK(bench.write(http::gzip("a v=1\n", 6), "", {{"Content-Encoding", "gzip"}}).status == 204);
  CHECK(bench.store.size() == 1);
  CHECK(bench.write("damaged", "", {{"Content-Encoding", "gzip"}}).status == 400);
  CHECK(bench.write("x", "", {{"Content-Encoding", "br"}}).status == 415);
  CHECK(bench.write("a v=1", "precision=fortnight").status == 400);
  bench.busy = true;
  CHECK(bench.write("a v=1").status == 503);
}

TEST_CASE("statsd over UDP: what came is stored at each flush, and the rest when it stops") {
  Bench bench;
  collector::Statsd::Settings settings;
  settings.port = 0;
  settings.flush = 100ms;
  collector::Statsd statsd(bench.io, settings, bench.sink(), [] { return Timestamp{1}; });
  REQUIRE(statsd.listen());
  bool ended = false;
  asio::co_spawn(bench.io, statsd.run(), [&](std::exception_ptr fault) {
    CHECK_FALSE(fault);
    ended = true;
  });
  asio::ip::udp::socket socket(bench.io, asio::ip::udp::v4());
  const asio::ip::udp::endpoint to(asio::ip::make_address("127.0.0.1"), statsd.port());
  const auto send = [&](std::string_view text) { socket.send_to(asio::buffer(text), to); };
  for (int i = 0; i < 1000; ++i) send("hits:1|c|#model:m");
  send("g:5|g\nbroken\n");
  // Loopback loses nothing as long as the buffer has room: all thousand are there, in however many flushes.
  REQUIRE(
      bench.until([&] { return bench.store["m hits"] == 1000 && bench.store["unknown g"] == 5; }));
  CHECK(statsd.counters().datagrams == 1001);
  CHECK(statsd.counters().lines.rejected == 1);
  CHECK(statsd.counters().keys == 2);

  bench.busy = true;
  send("hits:1|c|#model:m");
  REQUIRE(bench.until([&] { return statsd.counters().dropped == 1; }));
  bench.busy = false;
  send("hits:7|c|#model:m");
  REQUIRE(bench.until([&] { return statsd.counters().datagrams == 1003; }));
  statsd.stop();
  REQUIRE(bench.until([&] { return ended; }));
  CHECK(bench.store["m hits"] == 1007);

  collector::Statsd::Settings wrong;
  wrong.address = "localhost";
  collector::Statsd nowhere(bench.io, wrong, bench.sink(), [] { return Timestamp{1}; });
  CHECK(nowhere.listen().error().what.find("no IP address") != std::string::npos);
}
