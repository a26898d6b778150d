#include "collector/scrape/scraper.hpp"

#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "collector/decode/exposition.hpp"
#include "http/server.hpp"
#include "schema/mapping.hpp"

using namespace muster;
using namespace muster::scrape;
using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

Timestamp wall() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

struct Stored1 {
  double value = 0;
  Timestamp ts;
};

// A small server with pages that a test sets, a scraper, and a store that says what it got: all on one thread.
struct Farm {
  using Page = std::function<asio::awaitable<http::Response>(http::Request)>;

  explicit Farm(bool with_workers = false) {
    http::Routes routes;
    routes.add(http::Method::get, "/*",
               [this](http::Request request) -> asio::awaitable<http::Response> {
                 requests.push_back(request);
                 const auto found = pages.find(request.path);
                 if (found == pages.end()) {
                   http::Response missing;
                   missing.status = 404;
                   co_return missing;
                 }
                 const Page page = found->second;
                 co_return co_await page(std::move(request));
               });
    http::Settings settings;
    settings.port = 0;
    server.emplace(io, settings, std::move(routes));
    REQUIRE(server->listen());
    asio::co_spawn(io, server->run(), asio::detached);
    if (with_workers) workers.emplace(1);
  }

  ~Farm() {
    if (scraper) scraper->stop();
    server->stop(0ms);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!(ended || !scraper) && std::chrono::steady_clock::now() < until) io.run_one_for(20ms);
    CHECK((ended || !scraper));
    io.run_for(200ms);
    scraper.reset();
    if (workers) workers->join();
  }

  std::string address() { return "127.0.0.1:" + std::to_string(server->port()); }

  Job job(std::string path = "/metrics") {
    Job j;
    j.name = "test";
    j.interval = 60ms;
    j.timeout = 50ms;
    j.metrics_path = std::move(path);
    j.static_groups = {{{address()}, {{"instance", "i"}}}};
    return j;
  }

  void start(Settings settings, DnsServer name_server = {}) {
    settings.file_poll = 20ms;
    Scraper::Outside outside;
    outside.sink = [this](SampleBatch batch) -> asio::awaitable<Stored> {
      Stored stored;
      ++offered;
      if (busy) {
        stored.state = Stored::State::busy;
        co_return stored;
      }
      for (const RawSeries& series : batch.series) {
        const auto identity = batch.identify(series.labels, Mapping());
        REQUIRE(identity);
        const Point& point = batch.points[series.first];
        store[identity->model + " " + identity->metric].push_back({point.value, point.ts});
        ++stored.accepted;
      }
      co_return stored;
    };
    if (workers) outside.workers = workers->get_executor();
    outside.clock = wall;
    outside.name_server = std::move(name_server);
    scraper.emplace(io, std::move(settings), std::move(outside));
    asio::co_spawn(io, scraper->run(), [this](std::exception_ptr fault) {
      CHECK_FALSE(fault);
      ended = true;
    });
  }
  void start(Job j) {
    Settings settings;
    settings.jobs = {std::move(j)};
    start(std::move(settings));
  }

  void text(std::string path, std::string body, std::string type = "text/plain; version=0.0.4",
            int status = 200) {
    pages[path] = [body, type, status](http::Request) -> asio::awaitable<http::Response> {
      http::Response response;
      response.status = status;
      response.content_type = type;
      response.body = body;
      co_return response;
    };
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
  bool has(const std::string& series) { return store.contains(series) && !store[series].empty(); }
  double last(const std::string& series) { return has(series) ? store[series].back().value : -1; }
  bool ended_series(const std::string& series) {
    return has(series) && is_stale(store[series].back().value);
  }
  JobCounters counters() {
    const auto found = scraper->counters().find("test");
    return found == scraper->counters().end() ? JobCounters() : found->second;
  }
  json::value targets(std::string query = "") {
    http::Request request;
    request.query = std::move(query);
    return json::parse(scraper->targets(request).body);
  }
  std::string last_error() {
    const json::value answer = targets();
    std::string errors;
    for (const json::value& target : answer.at("data").at("activeTargets").as_array())
      errors += target.at("lastError").as_string();
    return errors;
  }

  asio::io_context io;
  std::optional<asio::thread_pool> workers;
  std::optional<http::Server> server;
  std::optional<Scraper> scraper;
  bool ended = false;
  std::map<std::string, Page> pages;
  std::vector<http::Request> requests;
  std::map<std::string, std::vector<Stored1>> store;
  bool busy = false;
  std::size_t offered = 0;
};

std::filesystem::path temporary() {
  std::string pattern = (std::filesystem::temp_directory_path() / "muster-scrape-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  return pattern;
}
void write(const std::filesystem::path& file, const std::string& text) {
  // By rename, as whoever writes such files does.
  const std::filesystem::path part = file.string() + ".part";
  std::ofstream(part) << text;
  std::filesystem::rename(part, file);
}

}  // namespace

TEST_CASE("a target's pages are stored, with what the scrape says of itself") {
  Farm farm;
  farm.text("/metrics", "# TYPE a counter\na{x=\"1\"} 7\nb 8 1600000000000\n");
  Job job = farm.job();
  job.params = {{"collect", {"a b"}}};
  job.http.username = "user";
  job.http.password.value = "pass";
  job.http.headers = {{"X-Extra", "yes"}};
  farm.start(job);
  REQUIRE(farm.until([&] { return farm.store["test/i a{x=\"1\"}"].size() >= 3; }));
  CHECK(farm.last("test/i a{x=\"1\"}") == 7);
  CHECK(farm.store["test/i b"].back().ts == from_millis(1600000000000));
  CHECK(farm.last("test/i up") == 1);
  CHECK(farm.last("test/i scrape_samples_scraped") == 2);
  CHECK(farm.last("test/i scrape_samples_post_metric_relabeling") == 2);
  CHECK(farm.store["test/i scrape_series_added"][0].value == 2);
  CHECK(farm.last("test/i scrape_series_added") == 0);
  CHECK(farm.last("test/i scrape_duration_seconds") > 0);
  CHECK(farm.last("test/i scrape_duration_seconds") < 5);
  // All of one scrape stand at its start, in whole milliseconds, an interval from the one before it.
  CHECK(farm.store["test/i up"][0].ts == farm.store["test/i a{x=\"1\"}"][0].ts);
  for (const Stored1& one : farm.store["test/i up"]) CHECK(one.ts.us % 1000 == 0);
  CHECK(std::abs((wall() - farm.store["test/i up"].back().ts).count()) < 5'000'000);

  const http::Request& request = farm.requests.at(0);
  CHECK(request.query == "collect=a%20b");
  CHECK(request.header("accept").starts_with("application/openmetrics-text;version=1.0.0"));
  CHECK(request.header("accept-encoding") == "gzip");
  CHECK(request.header("x-prometheus-scrape-timeout-seconds") == "0.05");
  CHECK(request.header("authorization") == "Basic dXNlcjpwYXNz");  // printf user:pass | base64
  CHECK(request.header("x-extra") == "yes");

  const json::value answer = farm.targets();
  CHECK(answer.at("status") == "success");
  const json::value& target = answer.at("data").at("activeTargets").as_array().at(0);
  CHECK(target.at("health") == "up");
  CHECK(target.at("lastError") == "");
  CHECK(target.at("scrapePool") == "test");
  CHECK(target.at("scrapeUrl").as_string() ==
        "http://" + farm.address() + "/metrics?collect=a%20b");
  CHECK(target.at("labels") == json::value{{"instance", "i"}, {"job", "test"}});
  CHECK(target.at("discoveredLabels").at("__address__").as_string() == farm.address());
  CHECK(target.at("scrapeInterval") == "60ms");
  CHECK(target.at("lastScrape").as_string().starts_with("20"));
  CHECK(farm.targets("state=dropped").at("data").at("activeTargets").as_array().empty());
  CHECK(farm.targets("scrapePool=other").at("data").at("activeTargets").as_array().empty());
}

TEST_CASE("a series that is gone ends, and all end when the target does") {
  Farm farm;
  farm.text("/metrics", "a 1\nb 2\n");
  farm.start(farm.job());
  REQUIRE(farm.until([&] { return farm.has("test/i b"); }));
  farm.text("/metrics", "a 3\n");
  REQUIRE(farm.until([&] { return farm.ended_series("test/i b"); }));
  CHECK(farm.last("test/i a") == 3);
  const std::size_t markers = farm.store["test/i b"].size();

  farm.text("/metrics", "gone", "text/plain", 500);
  REQUIRE(farm.until([&] { return farm.last("test/i up") == 0; }));
  CHECK(farm.ended_series("test/i a"));
  CHECK(farm.last("test/i scrape_samples_scraped") == 0);
  CHECK(farm.last_error().find("answered HTTP status 500") != std::string::npos);
  const std::size_t a = farm.store["test/i a"].size();
  const std::size_t downs = farm.store["test/i up"].size();
  REQUIRE(farm.until([&] { return farm.store["test/i up"].size() >= downs + 2; }));
  // Once each, not at every failure.
  CHECK(farm.store["test/i a"].size() == a);
  CHECK(farm.store["test/i b"].size() == markers);

  farm.text("/metrics", "a 5\n");
  REQUIRE(farm.until([&] { return farm.last("test/i a") == 5; }));
  CHECK(farm.last("test/i up") == 1);
}

TEST_CASE("what is no page that can be used says so, and the target is down") {
  struct Case {
    std::string name, error;
    Farm::Page page;
    std::function<void(Job&)> change = [](Job&) {};
  };
  const auto with = [](std::string body, std::string type) -> Farm::Page {
    return [body, type](http::Request) -> asio::awaitable<http::Response> {
      http::Response response;
      response.content_type = type;
      response.body = body;
      co_return response;
    };
  };
  const std::string blanks(200'000, '\n');
  const std::vector<Case> cases = {
      {"html", "is neither text/plain nor application/openmetrics-text",
       with("<html>", "text/html")},
      {"syntax", "line 2: 'x' is no number", with("a 1\nb x\n", "text/plain")},
      {"no end", "no # EOF", with("a 1\n", "application/openmetrics-text; version=1.0.0")},
      // The server packs it into some 200 bytes: the limit is on what comes out.
      {"large, packed", "over 100000 bytes after decompression (body_size_limit)",
       with(blanks, "text/plain"), [](Job& j) { j.body_size_limit = 100'000; }},
      {"large", "answer over 100000 bytes", with(blanks, "text/plain"),
       [](Job& j) { j.body_size_limit = 100'000, j.enable_compression = false; }},
      {"many", "sample_limit: more than 1 samples", with("a 1\nb 2\n", "text/plain"),
       [](Job& j) { j.sample_limit = 1; }},
      {"moved", "redirects are not followed",
       [](http::Request) -> asio::awaitable<http::Response> {
         http::Response response;
         response.status = 302;
         co_return response;
       }},
      {"hangs", "no answer within 50 ms",
       [](http::Request) -> asio::awaitable<http::Response> {
         asio::steady_timer timer(co_await asio::this_coro::executor, 30s);
         boost::system::error_code ignored;
         co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
         co_return http::Response{};
       }},
      {"secret", "cannot be read", with("a 1\n", "text/plain"),
       [](Job& j) { j.http.credentials.file = "/nonexistent/token"; }},
      {"authority", "cannot be used", with("a 1\n", "text/plain"),
       [](Job& j) { j.http.ca_file = "/nonexistent/ca"; }},
      {"targets", "target_limit: 2 targets, at most 1", with("a 1\n", "text/plain"),
       [](Job& j) {
         j.target_limit = 1, j.static_groups.push_back({{"127.0.0.1:1"}, {}});
       }},
  };
  for (const bool workers : {false, true}) {
    for (const Case& one : cases) {
      INFO(one.name);
      Farm farm(workers);
      farm.pages["/metrics"] = one.page;
      Job job = farm.job();
      one.change(job);
      farm.start(job);
      REQUIRE(farm.until([&] { return farm.last("test/i up") == 0; }));
      INFO(farm.last_error());
      CHECK(farm.last_error().find(one.error) != std::string::npos);
      CHECK(farm.counters().failed >= 1);
      CHECK_FALSE(farm.has("test/i a"));
    }
  }
}

TEST_CASE("nobody listens, and a fallback reads what says no type") {
  Farm farm;
  farm.text("/metrics", "a 1\n", "application/octet-stream");
  Job job = farm.job();
  job.fallback = decode::ExpositionFormat::text;
  Job dead = farm.job();
  dead.name = "dead";
  dead.static_groups = {{{"127.0.0.1:1"}, {{"instance", "d"}}}};
  Settings settings;
  settings.jobs = {job, dead};
  farm.start(settings);
  REQUIRE(farm.until([&] { return farm.has("test/i a") && farm.has("dead/d up"); }));
  CHECK(farm.last("dead/d up") == 0);
}

TEST_CASE("a large page is packed on its way, and read by the workers") {
  Farm farm(true);
  std::string page;
  for (int i = 0; i < 5000; ++i)
    page += "large_metric_name{series=\"" + std::to_string(i) + "\"} " + std::to_string(i) + "\n";
  farm.text("/metrics", page);
  Job job = farm.job();
  job.interval = 300ms;
  job.timeout = 300ms;
  farm.start(job);
  REQUIRE(farm.until([&] { return farm.store["test/i up"].size() >= 2; }));
  CHECK(farm.last("test/i scrape_samples_scraped") == 5000);
  CHECK(farm.last("test/i large_metric_name{series=\"4999\"}") == 4999);
  CHECK(farm.counters().lines == 5005);
  CHECK(farm.counters().bytes > 5005 * 50);
}

TEST_CASE("a busy store gets the page again, and what it never takes is counted") {
  Farm farm;
  farm.text("/metrics", "a 1\n");
  Job job = farm.job();
  job.interval = 1s;
  farm.busy = true;
  farm.start(job);
  REQUIRE(farm.until([&] { return farm.offered >= 2; }));
  farm.busy = false;
  REQUIRE(farm.until([&] { return farm.has("test/i a"); }));
  CHECK(farm.counters().retries >= 1);
  CHECK(farm.counters().dropped_pages == 0);
  CHECK(farm.counters().samples == 6);  // a and the five of the report
  // It was not scraped anew for that: its time is that of the first offer.
  CHECK(farm.requests.size() == 1);

  farm.busy = true;
  REQUIRE(farm.until([&] { return farm.counters().dropped_pages >= 1; }));
  CHECK(farm.counters().dropped_samples == 6);
  // The series that was on no stored page since is not forgotten: its end is told once the store is back.
  farm.text("/metrics", "b 1\n");
  REQUIRE(farm.until([&] { return farm.counters().dropped_pages >= 3; }));
  farm.busy = false;
  REQUIRE(farm.until([&] { return farm.has("test/i b"); }));
  CHECK(farm.ended_series("test/i a"));
}

TEST_CASE("what waits for a busy store is bounded") {
  Farm farm;
  farm.text("/metrics", "a 1\n");
  Settings settings;
  settings.jobs = {farm.job()};
  settings.jobs[0].interval = 2s;
  settings.kept_bytes_max = 10;
  farm.busy = true;
  farm.start(settings);
  REQUIRE(farm.until([&] { return farm.counters().dropped_pages == 1; }));
  CHECK(farm.offered == 1);
  CHECK(farm.counters().retries == 0);
}

TEST_CASE("other settings: what stays goes on, what is gone ends, what is new begins") {
  Farm farm;
  farm.text("/metrics", "a 1\n");
  farm.text("/other", "c 1\n");
  Job first = farm.job();
  Job second = farm.job("/other");
  second.name = "second";
  first.fingerprint = "1";
  second.fingerprint = "1";
  Settings settings;
  settings.jobs = {first, second};
  farm.start(settings);
  REQUIRE(farm.until([&] { return farm.has("test/i a") && farm.has("second/i c"); }));

  Job third = farm.job("/other");
  third.name = "third";
  settings.jobs = {first, third};
  farm.scraper->apply(settings);
  REQUIRE(farm.until([&] { return farm.ended_series("second/i c") && farm.has("third/i c"); }));
  CHECK(farm.ended_series("second/i up"));
  CHECK(farm.ended_series("second/i scrape_duration_seconds"));
  for (const Stored1& one : farm.store["test/i a"]) CHECK(one.value == 1);

  // Other rules for the same target: no series but the dropped one ends.
  decode::RelabelRule rule;
  rule.source_labels = {"__name__"};
  rule.regex = "a";
  rule.action = decode::RelabelRule::Action::drop;
  first.metric_relabel = {decode::checked(rule).value()};
  first.fingerprint = "2";
  settings.jobs = {first, third};
  farm.text("/metrics", "a 1\nd 2\n");
  farm.scraper->apply(settings);
  REQUIRE(farm.until([&] { return farm.ended_series("test/i a") && farm.has("test/i d"); }));
  for (const Stored1& one : farm.store["test/i up"]) CHECK(one.value == 1);

  // External labels are added where they are not there yet.
  settings.external_labels = {{"cluster", "eu"}};
  farm.scraper->apply(settings);
  REQUIRE(farm.until([&] { return farm.has("test/i d{cluster=\"eu\"}"); }));
}

TEST_CASE(
    "files of targets are followed; a bad one changes nothing, one that is gone ends its targets") {
  const std::filesystem::path folder = temporary();
  Farm farm;
  farm.text("/metrics", "a 1\n");
  Job job = farm.job();
  job.static_groups.clear();
  job.file_discoveries = {{{(folder / "*.json").string(), (folder / "one.yml").string()}, 1s}};
  decode::RelabelRule rule;
  rule.source_labels = {"drop"};
  rule.regex = "yes";
  rule.action = decode::RelabelRule::Action::drop;
  job.relabel = {decode::checked(rule).value()};
  farm.start(job);
  const auto entry = [&](const std::string& instance, const std::string& more = "") {
    return "[{\"targets\": [\"" + farm.address() + "\"], \"labels\": {\"instance\": \"" + instance +
           "\"" + more + "}}]";
  };
  write(folder / "a.json", entry("one"));
  REQUIRE(farm.until([&] { return farm.has("test/one a"); }));
  write(folder / "one.yml", "- targets: ['" + farm.address() + "']\n  labels: {instance: two}\n");
  REQUIRE(farm.until([&] { return farm.has("test/two a"); }));
  const json::value listed = farm.targets();
  const json::value& one = listed.at("data").at("activeTargets").as_array().at(0);
  CHECK(one.at("discoveredLabels").at("__meta_filepath").as_string() ==
        (folder / "a.json").string());

  write(folder / "a.json", "[{\"targets\": [");
  const std::size_t n = farm.store["test/one a"].size();
  REQUIRE(farm.until([&] { return farm.store["test/one a"].size() > n + 2; }));
  CHECK_FALSE(farm.ended_series("test/one a"));

  write(folder / "a.json", entry("three"));
  REQUIRE(farm.until([&] { return farm.has("test/three a") && farm.ended_series("test/one a"); }));
  CHECK(farm.ended_series("test/one up"));
  std::filesystem::remove(folder / "one.yml");
  REQUIRE(farm.until([&] { return farm.ended_series("test/two a"); }));
  write(folder / "a.json", entry("four", ", \"drop\": \"yes\""));
  REQUIRE(farm.until([&] { return farm.ended_series("test/three a"); }));
  const json::value dropped = farm.targets();
  CHECK(dropped.at("data")
            .at("droppedTargets")
            .as_array()
            .at(0)
            .at("discoveredLabels")
            .at("instance") == "four");
  CHECK(dropped.at("data").at("droppedTargetCounts").at("test") == 1);
  CHECK_FALSE(farm.has("test/four a"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("a server's list of targets is followed") {
  Farm farm;
  farm.text("/metrics", "a 1\n");
  farm.text("/list",
            "[{\"targets\": [\"" + farm.address() + "\"], \"labels\": {\"instance\": \"one\"}}]",
            "application/json");
  Job job = farm.job();
  job.static_groups.clear();
  HttpDiscovery list;
  list.url = "http://" + farm.address() + "/list";
  list.refresh_interval = 50ms;
  list.http.credentials.value = "token";
  job.http_discoveries = {list};
  farm.start(job);
  REQUIRE(farm.until([&] { return farm.has("test/one a"); }));
  CHECK(farm.requests.at(0).header("authorization") == "Bearer token");
  farm.text("/list", "no", "application/json", 500);
  const std::size_t n = farm.store["test/one a"].size();
  REQUIRE(farm.until([&] { return farm.store["test/one a"].size() > n + 2; }));
  farm.text("/list", "[]", "application/json");
  REQUIRE(farm.until([&] { return farm.ended_series("test/one a"); }));
}

namespace {

// A name server that knows one name of each kind and is asked over UDP: the header and question come back, with
// answers behind them (RFC 1035, section 4; RFC 2782 for SRV).
struct Names {
  Names(asio::io_context& io, std::uint16_t port)
      : socket(io, asio::ip::udp::endpoint(asio::ip::make_address("127.0.0.1"), 0)),
        scrape_port(port) {
    wait();
  }
  void wait() {
    socket.async_receive_from(asio::buffer(bytes), from,
                              [this](boost::system::error_code failed, std::size_t n) {
                                if (failed) return;
                                if (answering) answer(n);
                                wait();
                              });
  }
  void answer(std::size_t n) {
    std::vector<unsigned char> out(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    std::size_t at = 12;
    while (at < n && out[at] != 0) at += out[at] + 1u;
    const unsigned type = out[at + 1] * 256u + out[at + 2];
    out.resize(at + 5);  // without what came behind the question
    out[2] = 0x81, out[3] = 0x80;
    out[6] = 0, out[7] = 0, out[8] = out[9] = out[10] = out[11] = 0;
    const auto add = [&](std::initializer_list<unsigned> list) {
      for (const unsigned byte : list) out.push_back(static_cast<unsigned char>(byte));
    };
    const auto head = [&](unsigned size) { add({0xc0, 12, 0, type, 0, 1, 0, 0, 0, 5, 0, size}); };
    if (type == 1) {
      out[7] = 1;
      head(4);
      add({127, 0, 0, 1});
    } else if (type == 33) {
      out[7] = 1;
      head(7 + 10);
      add({0, 1, 0, 1, scrape_port / 256u, scrape_port % 256u, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o',
           's', 't', 0});
    } else if (type == 28) {
      out[7] = 1;
      head(16);
      add({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    }
    socket.send_to(asio::buffer(out), from);
  }
  asio::ip::udp::socket socket;
  asio::ip::udp::endpoint from;
  std::array<unsigned char, 512> bytes{};
  unsigned scrape_port;
  bool answering = true;
};

}  // namespace

TEST_CASE("names are followed: addresses, and services with their ports") {
  Farm farm;
  farm.text("/metrics", "a 1\n");
  Names names(farm.io, farm.server->port());
  const DnsServer server{"127.0.0.1", names.socket.local_endpoint().port()};
  Settings settings;
  Job job = farm.job();
  job.static_groups.clear();
  job.dns_discoveries = {
      {{"models.example.org."}, DnsDiscovery::Type::a, farm.server->port(), 50ms}};
  Job services = job;
  services.name = "services";
  services.dns_discoveries = {{{"_metrics._tcp.example.org."}, DnsDiscovery::Type::srv, 0, 50ms}};
  settings.jobs = {job, services};
  farm.start(settings, server);
  const std::string address = farm.address();
  REQUIRE(farm.until([&] { return farm.has("test/" + address + " a"); }));
  REQUIRE(farm.until([&] {
    return farm.has("services/localhost:" + std::to_string(farm.server->port()) + " up");
  }));
  const json::value answer = farm.targets("scrapePool=services");
  const json::value& labels =
      answer.at("data").at("activeTargets").as_array().at(0).at("discoveredLabels");
  CHECK(labels.at("__meta_dns_name") == "_metrics._tcp.example.org.");
  CHECK(labels.at("__meta_dns_srv_record_target") == "localhost.");
  CHECK(labels.at("__meta_dns_srv_record_port").as_string() == std::to_string(farm.server->port()));
  // A name server that is silent changes nothing.
  names.answering = false;
  const std::size_t n = farm.store["test/" + address + " a"].size();
  REQUIRE(farm.until([&] { return farm.store["test/" + address + " a"].size() > n + 5; }));
  CHECK(farm.last("test/" + address + " a") == 1);
  names.answering = true;

  const auto v6 = groups_of_dns("n", {{"n"}, DnsDiscovery::Type::aaaa, 9100, 1s}, {{"::1", 0}});
  CHECK(v6.at(0).targets.at(0) == "[::1]:9100");
}

TEST_CASE("no more pages at one time than allowed, and the others still come") {
  Farm farm;
  std::size_t now = 0, most = 0;
  farm.pages["/metrics"] = [&](http::Request) -> asio::awaitable<http::Response> {
    most = std::max(most, ++now);
    // Ten of them in two seconds: that no two overlap by themselves has the chance (1 - 10 * 0.15 / 2)^9, 4e-6.
    asio::steady_timer timer(co_await asio::this_coro::executor, 150ms);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    --now;
    http::Response response;
    response.content_type = "text/plain";
    response.body = "a 1\n";
    co_return response;
  };
  Settings settings;
  settings.at_once_max = 1;
  Job job = farm.job();
  job.interval = 2s;
  job.timeout = 2s;
  job.static_groups.clear();
  for (int i = 0; i < 10; ++i)
    job.static_groups.push_back(
        {{farm.address()}, {{"__param_x", "1"}, {"instance", std::to_string(i)}}});
  settings.jobs = {job};
  farm.start(settings);
  REQUIRE(farm.until([&] {
    for (int i = 0; i < 10; ++i)
      if (!farm.has("test/" + std::to_string(i) + " a")) return false;
    return true;
  }));
  CHECK(most == 1);
}
