#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "app/demo_driver.hpp"
#include "app/demo_routes.hpp"
#include "http/server.hpp"
#include "schema/topology.hpp"

using namespace muster;
using namespace muster::app;
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

// A muster that remembers what it is sent, on a loopback port of its own.
class FakeMuster {
 public:
  struct Seen {
    std::string path;
    std::string body;
  };

  FakeMuster() {
    http::Routes routes;
    const auto take = [this](http::Request request) -> asio::awaitable<http::Response> {
      co_return answer(request);
    };
    routes.add(http::Method::put, "/api/v1/topology", take);
    routes.add(http::Method::post, "/api/v1/samples", take);
    routes.add(http::Method::post, "/api/v1/events", take);
    http::Settings settings;
    settings.port = 0;
    server_.emplace(io_, settings, std::move(routes));
    REQUIRE(server_->listen());
    url = "http://127.0.0.1:" + std::to_string(server_->port());
    asio::co_spawn(io_, server_->run(), asio::detached);
    thread_ = std::thread([this] { io_.run(); });
  }
  ~FakeMuster() {
    server_->stop(std::chrono::seconds(1));
    thread_.join();
  }

  // Waits until `enough` of what was seen; false after 20 s.
  bool wait_for(const std::function<bool(const std::vector<Seen>&)>& enough) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return enough(seen_); });
  }
  std::vector<Seen> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  void refuse(int status, int times) {
    const std::lock_guard lock(mutex_);
    refuse_status_ = status;
    refuse_times_ = times;
  }

  std::string url;

 private:
  http::Response answer(const http::Request& request) {
    const std::lock_guard lock(mutex_);
    if (request.path == "/api/v1/samples" && refuse_times_ > 0) {
      --refuse_times_;
      return http::error(refuse_status_, "no", {"test", "on purpose"});
    }
    seen_.push_back({request.path, std::string(request.body_text())});
    changed_.notify_all();
    return http::json(R"({"accepted":1,"duplicates":0,"late":0,"rejected":[]})");
  }

  asio::io_context io_;
  std::optional<http::Server> server_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Seen> seen_;
  int refuse_status_ = 0;
  int refuse_times_ = 0;
};

// A driver on a thread of its own.
class Running {
 public:
  Running(const FakeMuster& muster, const DemoSettings& settings, DemoControl& control)
      : driver_(settings, control) {
    thread_ = std::thread([this, url = muster.url] { code_ = driver_.run(url); });
  }
  ~Running() { stop(); }
  int stop() {
    driver_.stop();
    return join();
  }
  int join() {
    if (thread_.joinable()) thread_.join();
    return code_;
  }

 private:
  DemoDriver driver_;
  std::thread thread_;
  int code_ = -1;
};

// One day of history of a small fleet, then as fast as it goes.
DemoSettings quick() {
  DemoSettings settings;
  settings.models = 60;
  settings.history_days = 1;
  settings.ticks_per_second = 1000;
  return settings;
}

struct Lines {
  std::size_t count = 0;
  std::int64_t first_ts = INT64_MAX, last_ts = 0;
  std::set<std::string> models;
};
Lines lines_of(const std::vector<FakeMuster::Seen>& seen) {
  Lines all;
  for (const auto& one : seen) {
    if (one.path != "/api/v1/samples") continue;
    std::istringstream lines(one.body);
    for (std::string line; std::getline(lines, line); ++all.count) {
      const json::object o = json::parse(line).as_object();
      all.first_ts = std::min(all.first_ts, o.at("ts").as_int64());
      all.last_ts = std::max(all.last_ts, o.at("ts").as_int64());
      all.models.emplace(o.at("model").as_string());
    }
  }
  return all;
}
std::size_t posts(const std::vector<FakeMuster::Seen>& seen) {
  return static_cast<std::size_t>(
      std::count_if(seen.begin(), seen.end(), [](auto& s) { return s.path == "/api/v1/samples"; }));
}

constexpr std::size_t history_posts = 144 / 18;  // a day of ticks, 18 in a request

}  // namespace

TEST_CASE("the demo sends the topology, its history, and then lives") {
  FakeMuster muster;
  DemoControl control;
  {
    Running demo(muster, quick(), control);
    REQUIRE(muster.wait_for([](auto& seen) { return posts(seen) > history_posts + 30; }));
    CHECK(demo.stop() == 0);
  }
  const auto seen = muster.seen();
  REQUIRE(seen.front().path == "/api/v1/topology");
  const auto topology = parse_topology(seen.front().body);
  REQUIRE(topology);
  CHECK(topology->models.size() == 60);

  const Lines lines = lines_of(seen);
  CHECK(lines.models.size() == 60);
  // 144 ticks, 60 models, 6 metrics; a fifth of the models reports less often, and some reports are missing.
  const Lines history = lines_of({seen.begin(), seen.begin() + 1 + history_posts});
  CHECK(history.count > 144 * 60 * 6 * 0.7);
  CHECK(history.count < 144 * 60 * 6);
  // Whole days before our clock, so that there is room; in order but for late reports.
  const std::int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  CHECK(lines.first_ts % 86'400'000 == 0);
  CHECK(lines.last_ts < now);
  CHECK(now - lines.first_ts > 365LL * 86'400'000);
  std::int64_t last = 0;
  for (const auto& one : seen) {
    if (one.path != "/api/v1/samples") continue;
    const Lines of_this = lines_of({one});
    CHECK(of_this.last_ts > last - 600'000 * 40);
    last = of_this.last_ts;
  }
}

TEST_CASE("a muster that is busy gets the same again, and one that refuses ends the demo") {
  FakeMuster muster;
  DemoControl control;
  SECTION("503") {
    muster.refuse(503, 3);
    Running demo(muster, quick(), control);
    REQUIRE(muster.wait_for([](auto& seen) { return posts(seen) > history_posts; }));
    CHECK(demo.stop() == 0);
    // Nothing is lost: the first post that got through is the first of the history.
    CHECK(lines_of({muster.seen().at(1)}).first_ts == lines_of(muster.seen()).first_ts);
  }
  SECTION("400") {
    muster.refuse(400, 1000);
    Running demo(muster, quick(), control);
    CHECK(demo.join() == 1);
  }
}

TEST_CASE("a stopped demo goes on where it stood") {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("muster_demo_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  FakeMuster muster;
  DemoSettings settings = quick();
  settings.state_file = (folder / "demo.json").string();
  DemoControl control;
  {
    Running demo(muster, settings, control);
    REQUIRE(muster.wait_for([](auto& seen) { return posts(seen) > history_posts + 25; }));
    demo.stop();
  }
  const auto before = muster.seen();
  {
    settings.seed = 99;  // does not matter any more
    Running demo(muster, settings, control);
    REQUIRE(muster.wait_for([&](auto& seen) { return posts(seen) > posts(before) + 25; }));
    demo.stop();
  }
  const auto all = muster.seen();
  const std::vector<FakeMuster::Seen> second(
      all.begin() + static_cast<std::ptrdiff_t>(before.size()), all.end());
  CHECK(second.front().path == "/api/v1/topology");
  CHECK(second.front().body == before.front().body);  // the same fleet
  const Lines then = lines_of(before), now = lines_of(second);
  CHECK(now.first_ts > then.first_ts + 144 * 600'000);  // no history again
  CHECK(now.last_ts > then.last_ts);
  std::filesystem::remove_all(folder);
}

TEST_CASE("what the page breaks is broken, and what is broken is told") {
  FakeMuster muster;
  DemoControl control;
  const auto refused = control.trigger(simulator::FaultKind::stale_feed);
  CHECK(!refused);  // not before it lives

  DemoSettings settings = quick();
  settings.faults.gap_min = settings.faults.gap_max = 100'000;
  settings.ticks_per_second = 50;
  Running demo(muster, settings, control);
  REQUIRE(muster.wait_for([](auto& seen) { return posts(seen) > history_posts + 2; }));
  REQUIRE(control.trigger(simulator::FaultKind::stale_feed));
  const std::size_t at = posts(muster.seen());
  REQUIRE(muster.wait_for([&](auto& seen) { return posts(seen) > at + 2; }));

  const json::object told = json::parse(control.to_json()).as_object();
  CHECK(told.at("seed").to_number<std::uint64_t>() == settings.seed);
  CHECK(told.at("running").as_bool());
  CHECK(told.at("faults").as_array().size() == simulator::fault_kinds.size());
  REQUIRE(told.at("active").as_array().size() == 1);
  const json::object& active = told.at("active").as_array()[0].as_object();
  CHECK(active.at("kind").as_string() == "stale_feed");
  CHECK(active.at("since").to_number<std::int64_t>() > 0);
  const auto truth = simulator::parse_truth(control.truth());
  REQUIRE(truth);
  REQUIRE(truth->size() == 1);
  CHECK(truth->front().root_cause == active.at("target").as_string());
  CHECK(truth->front().models.size() == active.at("models").to_number<std::size_t>());

  // No third one while two are at work.
  REQUIRE(control.trigger(simulator::FaultKind::single_model));
  CHECK(!control.trigger(simulator::FaultKind::single_model));
}

TEST_CASE("the demo's endpoints answer what pages send") {
  DemoControl control;
  control.begin(3);
  control.set_running(true);
  const http::Handler handler = post_demo_fault(control);
  const auto post = [&](std::string_view body) {
    http::Request request;
    request.body.assign(body.begin(), body.end());
    http::Response response;
    asio::io_context io;
    asio::co_spawn(io, handler(std::move(request)),
                   [&](std::exception_ptr, http::Response r) { response = std::move(r); });
    io.run();
    return response;
  };
  CHECK(post(R"({"kind":"stale_feed"})").status == 202);
  CHECK(post(R"({"kind":"gremlins"})").status == 400);
  CHECK(post(R"({"kind":"gremlins"})").body.find("region_outage") != std::string::npos);
  CHECK(post("{}").status == 400);
  CHECK(post("no").status == 400);
  CHECK(post(R"({"kind":"stale_feed"})").status == 202);
  CHECK(post(R"({"kind":"stale_feed"})").status == 409);
  CHECK(control.take_triggered().size() == 2);
}
