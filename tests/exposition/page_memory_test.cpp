#include "collector/decode/page_memory.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <map>

using namespace muster;
using namespace muster::decode;

namespace {

constexpr auto text = ExpositionFormat::text;
constexpr auto open = ExpositionFormat::openmetrics;
constexpr Timestamp at{1'700'000'000'000'000};

// What would be stored: "model metric" and its value, "stale" for a marker.
std::map<std::string, std::string> stored(const SampleBatch& batch) {
  std::map<std::string, std::string> out;
  for (const RawSeries& series : batch.series) {
    const auto identity = batch.identify(series.labels, Mapping());
    INFO((identity ? "" : identity.error().where + ": " + identity.error().what));
    REQUIRE(identity);
    const double value = batch.points[series.first].value;
    const auto [where, fresh] =
        out.try_emplace(identity->model + " " + identity->metric,
                        is_stale(value) ? "stale" : std::to_string(static_cast<int>(value)));
    CHECK(fresh);
  }
  return out;
}
using Map = std::map<std::string, std::string>;

PageRules rules() {
  return {.target = {{"instance", "i"}, {"job", "j"}}};
}
std::shared_ptr<const PageRules> shared(PageRules r) {
  return std::make_shared<const PageRules>(std::move(r));
}

struct Target {
  explicit Target(PageRules r = rules()) : memory(shared(std::move(r))) {}
  PageMemory memory;
  Page last;

  Map read(std::string_view page, ExpositionFormat format = text, Timestamp when = at) {
    auto got = memory.read(page, format, when);
    INFO((got ? "" : got.error().where + ": " + got.error().what));
    REQUIRE(got);
    last = std::move(*got);
    Map map = stored(memory.batch_of(last));
    memory.delivered();
    return map;
  }
  std::string fault(std::string_view page) {
    const auto got = memory.read(page, text, at);
    return got ? "" : got.error().where + ": " + got.error().what;
  }
};

RelabelRule checked_rule(RelabelRule rule) {
  return checked(std::move(rule)).value();
}

}  // namespace

TEST_CASE(
    "a page's samples get the target's labels, and conflicting ones are kept under another name") {
  Target target;
  CHECK(target.read("a 1\nb{job=\"x\"} 2\nc{job=\"x\",exported_job=\"y\",instance=\"\"} 3\n") ==
        Map{{"j/i a", "1"},
            {"j/i b{exported_job=\"x\"}", "2"},
            {"j/i c{exported_exported_job=\"x\",exported_job=\"y\"}", "3"}});
  CHECK(target.last.scraped == 3);
  CHECK(target.last.kept == 3);
  CHECK(target.last.added == 3);
}

TEST_CASE("with honor_labels the page's labels win, empty ones too") {
  PageRules r = rules();
  r.honor_labels = true;
  Target target(r);
  // An empty label says that the target's is not wanted.
  CHECK(target.read("a 1\na{job=\"x\"} 2\na{instance=\"\"} 3\n") ==
        Map{{"j/i a", "1"}, {"x/i a", "2"}, {"j a", "3"}});
}

TEST_CASE("metric_relabel_configs drop and change series; external labels come last") {
  PageRules r = rules();
  r.metric_relabel.push_back(checked_rule(
      {.source_labels = {"__name__"}, .regex = "go_.*", .action = RelabelRule::Action::drop}));
  r.metric_relabel.push_back(checked_rule({.source_labels = {"__name__"},
                                           .target_label = "__name__",
                                           .regex = "old_(.*)",
                                           .replacement = "new_$1"}));
  r.metric_relabel.push_back(
      checked_rule({.source_labels = {"cluster"}, .target_label = "seen", .regex = "(.+)"}));
  r.external = {{"cluster", "eu"}};
  Target target(r);
  CHECK(target.read("go_x 1\nold_y 2\nz{cluster=\"us\"} 3\n") ==
        Map{{"j/i new_y{cluster=\"eu\"}", "2"}, {"j/i z{cluster=\"us\",seen=\"us\"}", "3"}});
  CHECK(target.last.scraped == 3);
  CHECK(target.last.kept == 2);
  // A name that is taken away leaves no series.
  r.metric_relabel = {
      checked_rule({.regex = "__name__", .action = RelabelRule::Action::labeldrop})};
  CHECK(Target(r).fault("a 1\n").starts_with("line 1: metric_relabel_configs left no metric name"));
}

TEST_CASE("a page like the one before is the same, and adds nothing") {
  Target target;
  const std::string page = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n";
  const Map first = target.read(page);
  CHECK(target.last.added == 2);
  const std::size_t lines = target.memory.lines();
  CHECK(target.read(page) == first);
  CHECK(target.last.added == 0);
  CHECK(target.memory.lines() == lines);
  // In other words, its labels in another order: the same series, and no marker beside its sample.
  CHECK(target.read("# TYPE a counter\na{x=\"1\" } 5\na{ x=\"2\"} 6\n") ==
        Map{{"j/i a{x=\"1\"}", "5"}, {"j/i a{x=\"2\"}", "6"}});
}

TEST_CASE("type and unit travel with the series and are no part of the metric") {
  Target target;
  const auto kinds = [&](std::string_view page, ExpositionFormat format) {
    auto got = target.memory.read(page, format, at);
    REQUIRE(got);
    std::map<std::string, std::pair<Kind, Unit>> out;
    const SampleBatch batch = target.memory.batch_of(*got);
    for (const RawSeries& series : batch.series) {
      const auto identity = batch.identify(series.labels, Mapping());
      REQUIRE(identity);
      out[identity->metric] = {identity->kind, identity->unit};
    }
    return out;
  };
  auto found =
      kinds("# TYPE a counter\na 1\n# TYPE b_total gauge\nb_total 2\nc_total 3\nd 4\n", text);
  CHECK(found["a"].first == Kind::counter);
  CHECK(found["b_total"].first == Kind::gauge);
  CHECK(found["c_total"].first == Kind::counter);
  CHECK(found["d"].first == Kind::gauge);
  // Another type for the same line counts from then on.
  CHECK(kinds("# TYPE a gauge\na 1\n", text)["a"].first == Kind::gauge);
  found =
      kinds("# TYPE t_seconds counter\n# UNIT t_seconds seconds\nt_seconds_total 1\n# EOF\n", open);
  CHECK(found["t_seconds_total"] == std::pair{Kind::counter, Unit::seconds});
  // What a page says under the reserved names is not believed.
  CHECK(kinds("e{__type__=\"counter\",__unit__=\"bytes\",__temporality__=\"delta\"} 1\n",
              text)["e"] == std::pair{Kind::gauge, Unit::none});
}

TEST_CASE("a series that is gone gets one stale marker, once it is stored") {
  Target target;
  target.read("a 1\nb 2\n");
  // The page that lacks b could not be handed over: nothing has changed.
  REQUIRE(target.memory.read("a 1\n", text, at));
  CHECK(target.read("a 3\n") == Map{{"j/i a", "3"}, {"j/i b", "stale"}});
  CHECK(target.last.stale == 1);
  CHECK(target.read("a 4\n") == Map{{"j/i a", "4"}});
  CHECK(target.read("a 4\nb 5\n") == Map{{"j/i a", "4"}, {"j/i b", "5"}});
  CHECK(target.last.added == 1);
  // A failed scrape ends all, a second one nothing more; then they live again.
  Page failed = target.memory.failed(at);
  CHECK(stored(target.memory.batch_of(failed)) == Map{{"j/i a", "stale"}, {"j/i b", "stale"}});
  target.memory.delivered();
  CHECK(target.memory.failed(at).series.empty());
  target.memory.delivered();
  CHECK(target.read("a 4\nb 5\n") == Map{{"j/i a", "4"}, {"j/i b", "5"}});
}

TEST_CASE("a sample with a time of its own keeps it, and its end is not marked") {
  Target target;
  target.read("a 1 1699999999000\nb 2\n");
  CHECK(target.last.points[0].ts == from_millis(1699999999000));
  CHECK(target.last.points[1].ts == at);
  CHECK(target.read("") == Map{{"j/i b", "stale"}});
  PageRules r = rules();
  r.honor_timestamps = false;
  Target own(r);
  own.read("a 1 1699999999000\n");
  CHECK(own.last.points[0].ts == at);
  CHECK(own.read("") == Map{{"j/i a", "stale"}});
}

TEST_CASE("what a scrape says of itself stands under the target's labels and outlives failures") {
  Target target;
  auto page = target.memory.read("a 1\n", text, at);
  REQUIRE(page);
  const std::vector<ReportSample> up{{"up", 1}};
  target.memory.report(*page, up, at);
  CHECK(stored(target.memory.batch_of(*page)) == Map{{"j/i a", "1"}, {"j/i up", "1"}});
  target.memory.delivered();
  Page failed = target.memory.failed(at);
  const std::vector<ReportSample> down{{"up", 0}};
  target.memory.report(failed, down, at);
  CHECK(stored(target.memory.batch_of(failed)) == Map{{"j/i a", "stale"}, {"j/i up", "0"}});
  target.memory.delivered();
  const Page ended = target.memory.ended(at);
  CHECK(stored(target.memory.batch_of(ended)) == Map{{"j/i up", "stale"}});
}

TEST_CASE("_created is the start of its family's series and no series") {
  Target target;
  // By hand: 1520430000.123 s is 1520430000123 ms.
  const std::string page =
      "# TYPE c counter\nc_total{x=\"1\",y=\"2\"} 5\nc_created{y=\"2\",x=\"1\"} "
      "1520430000.123\nc_total{x=\"2\",y=\"2\"} 6\n"
      "# TYPE h histogram\nh_created{x=\"1\"} 7\nh_bucket{le=\"+Inf\",x=\"1\"} 1\nh_count{x=\"1\"} "
      "1\nh_sum{x=\"1\"} 2\n"
      "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_count 3\ns_created 9\n"
      "# TYPE g_created gauge\ng_created 4\n# EOF\n";
  for (int i = 0; i < 2; ++i) {
    target.read(page, open);
    std::map<std::string, std::int64_t> starts;
    const SampleBatch batch = target.memory.batch_of(target.last);
    for (const RawSeries& series : batch.series)
      starts[batch.identify(series.labels, Mapping())->metric] = series.start_ms;
    CHECK(starts == std::map<std::string, std::int64_t>{{"c_total{x=\"1\",y=\"2\"}", 1520430000123},
                                                        {"c_total{x=\"2\",y=\"2\"}", 0},
                                                        {"h_bucket{le=\"+Inf\",x=\"1\"}", 7000},
                                                        {"h_count{x=\"1\"}", 7000},
                                                        {"h_sum{x=\"1\"}", 7000},
                                                        {"s{quantile=\"0.5\"}", 0},
                                                        {"s_count", 9000},
                                                        {"g_created", 0}});
    CHECK(target.last.scraped == 8);
  }
}

TEST_CASE("limits refuse the page as a whole, and what lived goes on living") {
  PageRules r = rules();
  r.sample_limit = 2;
  r.label_limit = 4;
  r.label_name_length_limit = 10;
  r.label_value_length_limit = 12;
  Target target(r);
  CHECK(target.read("a 1\nb 2\n").size() == 2);
  CHECK(target.fault("a 1\nb 2\nc 3\n") ==
        "page: sample_limit: more than 2 samples after metric_relabel_configs");
  CHECK(target.fault("a{x=\"1\",y=\"2\"} 1\n")
            .starts_with("line 1: label_limit: 5 labels, at most 4"));
  CHECK(target.fault("a{a_long_name=\"1\"} 1\n").starts_with("line 1: label_name_length_limit"));
  CHECK(target.fault("b 1\na{x=\"a long value, it is\"} 1\n")
            .starts_with("line 2: label_value_length_limit"));
  CHECK(target.fault("a 1\nb\n").starts_with("line 2: "));
  CHECK(target.read("a 1\n") == Map{{"j/i a", "1"}, {"j/i b", "stale"}});
  Limits few;
  few.samples_max = 1;
  CHECK(target.memory.read("a 1\nb 2\n", text, at, few).error().what == "more than 1 samples");
}

TEST_CASE("other rules read the page anew, and end what they drop") {
  Target target;
  target.read("a 1\nb 2\n");
  PageRules r = rules();
  r.metric_relabel.push_back(checked_rule(
      {.source_labels = {"__name__"}, .regex = "a", .action = RelabelRule::Action::drop}));
  target.memory.set_rules(shared(r));
  CHECK(target.read("a 1\nb 2\n") == Map{{"j/i a", "stale"}, {"j/i b", "2"}});
  target.memory.set_rules(shared(rules()));
  CHECK(target.read("a 1\nb 2\n") == Map{{"j/i a", "1"}, {"j/i b", "2"}});
}

TEST_CASE("lines that never come again are forgotten") {
  Target target;
  for (int page = 0; page < 50; ++page) {
    std::string lines = "steady 1\n";
    for (int i = 0; i < 500; ++i) lines += "id{v=\"" + std::to_string(page * 500 + i) + "\"} 1\n";
    const Map map = target.read(lines);
    CHECK(map.size() == (page == 0 ? 501u : 1001u));  // and a marker for each of the page before
    CHECK(map.at("j/i steady") == "1");
    // A page, the one before that still lives, and as many that are not forgotten yet, at most.
    CHECK(target.memory.lines() <= 501 * 4 + 1024);
  }
}
