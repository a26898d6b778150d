#include "query/api/runner.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <thread>

#include "schema/store/connection.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace muster::query;
using namespace std::chrono_literals;

namespace {

namespace asio = boost::asio;

struct Asked {
  Result<http::Response> answer = Error{"test", "nothing came"};
  double seconds = 0;
};

Asked ask(Runner& runner, std::function<bool()> gone, std::chrono::milliseconds timeout, Runner::Job job) {
  asio::io_context io;
  Asked asked;
  const auto began = std::chrono::steady_clock::now();
  auto one = [&]() -> asio::awaitable<void> { asked.answer = co_await runner.run(std::move(gone), timeout, std::move(job)); };
  asio::co_spawn(io, one(), [](std::exception_ptr fault) {
    if (fault) std::rethrow_exception(fault);
  });
  io.run();
  asked.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return asked;
}

// Holds its transaction open and then waits for a lock that the test has: as long as it is not cancelled.
Result<http::Response> stuck(Context& context) {
  context.history.begin();
  (void)context.history.compacted_until();
  const store::SlotRef nobody{0, SetId{1}, 0};
  (void)context.history.samples({&nobody, 1}, from_seconds(1), from_seconds(2));
  return http::no_content();
}

}  // namespace

TEST_CASE("a query that waits for the database is ended by its time, and by its asker's leaving") {
  const std::string dsn = test::Postgres::shared().fresh_database();
  store::Connection other(dsn, {});
  query::Settings settings;
  settings.dsn = dsn;
  settings.workers = 1;
  Catalogue catalogue;
  Runner runner(settings, catalogue);
  CHECK(ask(runner, {}, 10s, stuck).answer);  // nothing is in the way yet

  other.run("BEGIN; LOCK TABLE sample_block IN ACCESS EXCLUSIVE MODE");
  const Asked late = ask(runner, {}, 300ms, stuck);
  REQUIRE(!late.answer);
  CHECK(late.answer.error().where == "timeout");
  // A long way from the 150 s of the statement, however busy the machine.
  CHECK(late.seconds < 20);
  const auto soon = std::chrono::steady_clock::now() + 200ms;
  const Asked left = ask(runner, [soon] { return std::chrono::steady_clock::now() > soon; }, 60s, stuck);
  REQUIRE(!left.answer);
  CHECK(left.answer.error().where == "canceled");
  CHECK(left.seconds < 20);
  other.run("ROLLBACK");
  CHECK(ask(runner, {}, 10s, stuck).answer);
  CHECK(runner.counters().timeouts == 1);
  CHECK(runner.counters().canceled == 1);
  CHECK(runner.counters().waiting == 0);
}

TEST_CASE("more queries than may wait are sent away at once") {
  query::Settings settings;
  settings.dsn = test::Postgres::shared().fresh_database();
  settings.workers = 1;
  settings.waiting_max = 2;
  Catalogue catalogue;
  Runner runner(settings, catalogue);
  asio::io_context io;
  std::vector<std::string> ends;
  for (int i = 0; i < 4; ++i) {
    auto one = [&]() -> asio::awaitable<void> {
      Runner::Job job = [](Context&) -> Result<http::Response> {
        std::this_thread::sleep_for(50ms);
        return http::no_content();
      };
      const Result<http::Response> answer = co_await runner.run({}, 10s, std::move(job));
      ends.push_back(answer ? "answered" : answer.error().where);
    };
    asio::co_spawn(io, one, [](std::exception_ptr fault) {
      if (fault) std::rethrow_exception(fault);
    });
  }
  io.run();
  std::sort(ends.begin(), ends.end());
  CHECK(ends == std::vector<std::string>{"answered", "answered", "unavailable", "unavailable"});
  CHECK(runner.counters().refused == 2);
}

TEST_CASE("a database that is away is said to be, and found again") {
  query::Settings settings;
  settings.dsn = "host=/nonexistent dbname=none";
  Catalogue catalogue;
  Runner runner(settings, catalogue);
  const Asked away = ask(runner, {}, 10s, stuck);
  REQUIRE(!away.answer);
  CHECK(away.answer.error().where == "unavailable");
}
