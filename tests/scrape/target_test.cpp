#include "collector/scrape/target.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "collector/scrape/target_groups.hpp"
#include "schema/duration.hpp"

using namespace muster;
using namespace muster::scrape;
using namespace std::chrono_literals;
using decode::RelabelRule;

namespace {

Job job() {
  Job j;
  j.name = "models";
  return j;
}
Target made(const Job& j, Labels labels) {
  const auto target = make_target(j, std::move(labels));
  INFO((target ? "" : target.error().where + ": " + target.error().what));
  REQUIRE(target);
  REQUIRE(*target);
  return **target;
}
std::string refused(const Job& j, Labels labels) {
  const auto target = make_target(j, std::move(labels));
  return target ? "" : target.error().what;
}
RelabelRule rule(std::vector<std::string> source, std::string regex, std::string target,
                 std::string replacement = "$1",
                 RelabelRule::Action action = RelabelRule::Action::replace) {
  RelabelRule r;
  r.source_labels = std::move(source);
  r.regex = std::move(regex);
  r.target_label = std::move(target);
  r.replacement = std::move(replacement);
  r.action = action;
  return decode::checked(std::move(r)).value();
}

}  // namespace

// By hand from Prometheus's documentation: scrape_config, relabel_config.

TEST_CASE("a target has its job and its address, and the labels of its group") {
  const Target t =
      made(job(), {{"__address__", "host-1:9100"}, {"__meta_zone", "eu"}, {"team", "data"}});
  CHECK(t.labels == Labels{{"instance", "host-1:9100"}, {"job", "models"}, {"team", "data"}});
  CHECK(t.url == "http://host-1:9100/metrics");
  CHECK(t.interval == Duration(1min));
  CHECK(t.timeout == Duration(10s));
  CHECK(t.discovered == Labels{{"__address__", "host-1:9100"},
                               {"__meta_zone", "eu"},
                               {"__metrics_path__", "/metrics"},
                               {"__scheme__", "http"},
                               {"__scrape_interval__", "1m"},
                               {"__scrape_timeout__", "10s"},
                               {"job", "models"},
                               {"team", "data"}});
  // A group may name another job and instance.
  CHECK(made(job(), {{"__address__", "h"}, {"instance", "i"}, {"job", "other"}}).labels ==
        Labels{{"instance", "i"}, {"job", "other"}});
}

TEST_CASE("relabel_configs see and change where a target is and how it is asked") {
  Job j = job();
  j.params = {{"module", {"http 2xx", "second"}}, {"x", {"1"}}};
  // The blackbox exporter's well-known rules.
  j.relabel = {rule({"__address__"}, "(.*)", "__param_target"),
               rule({"__param_target"}, "(.*)", "instance"),
               rule({}, "(.*)", "__address__", "exporter:9115"),
               rule({}, "(.*)", "__metrics_path__", "/probe"),
               rule({}, "(.*)", "__scheme__", "https"),
               rule({}, "(.*)", "__scrape_interval__", "15s"),
               rule({}, "(.*)", "__scrape_timeout__", "5s"),
               rule({}, "(.*)", "__tmp", "x"),
               rule({"__param_module"}, "(.*)", "module")};
  const Target t = made(j, {{"__address__", "https://example.org/a?b=c"}});
  CHECK(t.url ==
        "https://exporter:9115/"
        "probe?module=http%202xx&module=second&target=https%3A%2F%2Fexample.org%2Fa%3Fb%3Dc&x=1");
  CHECK(t.labels == Labels{{"instance", "https://example.org/a?b=c"},
                           {"job", "models"},
                           {"module", "http 2xx"}});
  CHECK(t.interval == Duration(15s));
  CHECK(t.timeout == Duration(5s));

  j = job();
  j.relabel = {rule({"__meta_zone"}, "eu", "", "$1", RelabelRule::Action::keep)};
  const auto dropped = make_target(j, {{"__address__", "h:1"}, {"__meta_zone", "us"}});
  REQUIRE(dropped);
  CHECK_FALSE(*dropped);
}

TEST_CASE("what cannot be scraped is refused with the reason") {
  CHECK(refused(job(), {{"team", "x"}}).find("no __address__") != std::string::npos);
  CHECK(refused(job(), {{"__address__", "http://h:1"}}).find("no HOST:PORT") != std::string::npos);
  CHECK(refused(job(), {{"__address__", "h"}, {"__scheme__", "ftp"}})
            .find("neither http nor https") != std::string::npos);
  CHECK(refused(job(), {{"__address__", "h"}, {"__metrics_path__", "x"}})
            .find("does not begin with /") != std::string::npos);
  CHECK(refused(job(), {{"__address__", "h"}, {"__scrape_interval__", "x"}}).find("no duration") !=
        std::string::npos);
  CHECK(refused(job(), {{"__address__", "h"}, {"__scrape_interval__", "0s"}}).find("no duration") !=
        std::string::npos);
  CHECK(refused(job(), {{"__address__", "h"}, {"__scrape_interval__", "5s"}})
            .find("longer than its interval") != std::string::npos);
}

TEST_CASE("a target is due once an interval, at its own time") {
  const Duration interval = 15s;
  Timestamp t{1'700'000'000'123'456};
  const Timestamp first = next_due(t, interval, 7'000'000);
  CHECK(first > t);
  CHECK(first - t <= interval);
  // By hand: 1,700,000,000 s is 5 s after a multiple of 15 s; offset 7 s within it.
  CHECK(first.us == 1'700'000'002'000'000);
  CHECK(next_due(first, interval, 7'000'000) - first == interval);
  CHECK(next_due(first - Duration(1), interval, 7'000'000) == first);
  std::set<std::int64_t> times;
  for (std::uint64_t hash = 0; hash < 100; ++hash)
    times.insert(next_due(t, interval, hash * 0x9e37'79b9'7f4a'7c15ULL).us);
  CHECK(times.size() == 100);
}

TEST_CASE("lists of targets as JSON and YAML say the same, or what is wrong") {
  for (const bool yaml : {false, true}) {
    const auto read = [&](std::string_view text) {
      return yaml ? groups_of_yaml(text) : groups_of_json(text);
    };
    const auto groups = read(
        R"([{"targets": ["a:1", "b:2"], "labels": {"env": "prod", "x": "y"}}, {"targets": []}])");
    REQUIRE(groups);
    REQUIRE(groups->size() == 2);
    CHECK((*groups)[0].targets == std::vector<std::string>{"a:1", "b:2"});
    CHECK((*groups)[0].labels == Labels{{"env", "prod"}, {"x", "y"}});
    for (const auto* bad :
         {"{", R"({"targets": []})", R"(["a:1"])", R"([{"target": ["a:1"]}])",
          R"([{"targets": "a:1"}])", R"([{"targets": ["http://a:1/x"]}])", R"([{"targets": [""]}])",
          R"([{"targets": [], "labels": ["x"]}])", R"([{"targets": [], "labels": {"a-b": "x"}}])",
          R"([{"targets": [["a"]]}])"}) {
      INFO(bad);
      CHECK_FALSE(read(bad));
    }
  }
  CHECK(groups_of_yaml("").value().empty());
  CHECK(groups_of_yaml("- targets: [a:1]\n  labels: {n: 5}\n").value()[0].labels ==
        Labels{{"n", "5"}});
  CHECK(groups_of_json(R"([{"targets": ["a:1"]}, {"targets": [7]}])").error().where == "entry 2");
}

TEST_CASE("a duration is written as Prometheus writes it") {
  CHECK(to_text(Duration(0)) == "0s");
  CHECK(to_text(Duration(90s)) == "1m30s");
  CHECK(to_text(Duration(1min)) == "1m");
  CHECK(to_text(Duration(1500ms)) == "1s500ms");
  CHECK(to_text(Duration(24h)) == "1d");
  CHECK(to_text(Duration(36h)) == "36h");
  CHECK(to_text(Duration(14 * 24h)) == "2w");
  for (const auto* text : {"15s", "1h5m", "250ms", "1y", "3d"})
    CHECK(to_text(parse_duration(text).value()) == text);
}
