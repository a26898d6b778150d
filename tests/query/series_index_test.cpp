#include "query/series_index.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::query;

namespace {

SeriesSet set_of(std::int64_t id, const std::string& model, const std::string& version, const std::vector<std::string>& metrics) {
  SeriesSet set;
  set.id = SetId{id};
  set.model = model;
  set.attributes.version = version;
  for (const std::string& metric : metrics) set.series.push_back({series_id(model, metric), metric, Kind::gauge});
  return set;
}

Matcher matcher(const std::string& name, Matcher::Op op, const std::string& value) { return *make_matcher(name, op, value); }

using Op = Matcher::Op;

}  // namespace

TEST_CASE("a metric is taken apart as it was put together") {
  const ParsedMetric m = parse_metric(R"(x{a="b \"q\" \\ c",d="e
f"})");
  CHECK(m.name == "x");
  CHECK(m.labels == Labels{{"a", R"(b "q" \ c)"}, {"d", "e\nf"}});
  CHECK(parse_metric(R"(x{a="1\n2"})").labels == Labels{{"a", "1\n2"}});
  // What has another form is a name.
  for (const char* other : {"", "x", "x{", "x{}", R"(x{a="b)", R"(x{a="b"} )", R"(x{a="b"c="d"})", R"(x{="b"})", R"(x{a="b\"})"})
    CHECK(parse_metric(other).name == other);
}

TEST_CASE("a series under two versions is two, and a set that grew adds only what is new") {
  SeriesIndex index;
  index.add(set_of(1, "m", "1", {"a", R"(b{k="v"})"}));
  index.add(set_of(1, "m", "1", {"never", "looked at"}));
  index.add(set_of(2, "m", "1", {"a", R"(b{k="v"})", "c"}));
  index.add(set_of(3, "m", "2", {"a"}));
  CHECK(index.size() == 4);
  CHECK(index.slots(SetId{2})[0] == index.slots(SetId{1})[0]);
  CHECK(index.slots(SetId{3})[0] != index.slots(SetId{1})[0]);
  CHECK(index.sets_of("m") == std::vector<SetId>{SetId{1}, SetId{2}, SetId{3}});
  CHECK(index.labels(1) == Labels{{"__name__", "b"}, {"k", "v"}, {"model", "m"}, {"version", "1"}});
  CHECK(index.names() == std::vector<std::string>{"__name__", "k", "model", "version"});
  CHECK(index.values("version") == std::vector<std::string>{"1", "2"});
  CHECK(index.slots(SetId{9}).empty());
}

TEST_CASE("a label of the metric does not hide one of the model") {
  SeriesIndex index;
  index.add(set_of(1, "m", "1", {R"(a{model="other",version="9"})"}));
  CHECK(index.labels(0) == Labels{{"__name__", "a"}, {"exported_model", "other"}, {"exported_version", "9"}, {"model", "m"}, {"version", "1"}});
}

TEST_CASE("select agrees with asking each series") {
  // Some 600 series with labels that are there or not, and selectors of up to three random matchers.
  SeriesIndex index;
  std::mt19937 random(7);
  for (int m = 0; m < 30; ++m) {
    std::vector<std::string> metrics;
    for (int k = 0; k < 20; ++k) {
      std::string metric = "metric_" + std::to_string(k % 7);
      metric += k % 3 == 0 ? "" : "{a=\"" + std::to_string(random() % 4) + "\",b=\"" + std::to_string(k) + "\"}";
      metrics.push_back(metric);
    }
    std::sort(metrics.begin(), metrics.end());
    metrics.erase(std::unique(metrics.begin(), metrics.end()), metrics.end());
    index.add(set_of(m + 1, "model-" + std::to_string(m), m % 2 ? "v1" : "", metrics));
  }
  REQUIRE(index.size() > 300);
  const std::vector<std::string> names = {"__name__", "a", "b", "model", "version", "nobody"};
  const std::vector<std::string> values = {"", "metric_3", "metric_[12]", "1", "[0-2]", ".*", ".+", "model-1.*", "v1", "v1|", "x"};
  std::size_t found = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    Selector selector;
    for (unsigned n = random() % 3 + 1; n > 0; --n)
      selector.push_back(matcher(names[random() % names.size()], static_cast<Op>(random() % 4), values[random() % values.size()]));
    std::vector<SeriesNumber> expected;
    for (SeriesNumber s = 0; s < index.size(); ++s) {
      const Labels labels = index.labels(s);
      if (std::all_of(selector.begin(), selector.end(), [&](const Matcher& m) { return m.matches(value_of(labels, m.name)); }))
        expected.push_back(s);
    }
    found += expected.size();
    INFO(to_text(selector));
    REQUIRE(index.select(selector, 1'000'000) == expected);
    if (expected.size() > 3) REQUIRE(index.select(selector, 2).size() == 3);
  }
  CHECK(found > 10'000);  // the trials are not all empty
}

TEST_CASE("a hundred thousand series take less than 150 bytes each") {
  SeriesIndex index;
  for (int m = 0; m < 5000; ++m) {
    std::vector<std::string> metrics;
    for (int k = 0; k < 20; ++k) metrics.push_back("metric_" + std::to_string(k) + R"({job="serving",zone="z)" + std::to_string(m % 3) + "\"}");
    SeriesSet set = set_of(m + 1, "model-" + std::to_string(m), "v" + std::to_string(m % 9), metrics);
    set.attributes.region = "eu";
    set.attributes.team = "team-" + std::to_string(m % 17);
    index.add(set);
  }
  CHECK(index.size() == 100'000);
  INFO(index.bytes() / index.size());
  CHECK(index.bytes() / index.size() < 150);
}

TEST_CASE("no metric breaks what takes it apart") {
  fuzz::Plan plan;
  plan.corpus = {R"(x{a="b",c="d\"e\\f\ng"})", "x", R"({a=""})"};
  plan.words = {"=\"", "\"}", "\",", "\\", "{"};
  const fuzz::Outcome outcome = fuzz::run(plan, [](std::string_view text) {
    const ParsedMetric m = parse_metric(text);
    for (const Label& label : m.labels)
      if (label.name.empty()) throw std::logic_error("a label without a name");
    SeriesIndex index;
    index.add(set_of(1, "m", "", {std::string(text)}));
    (void)index.labels(0);
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
}
