#include "query/engine.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "query/functions.hpp"
#include "query/number.hpp"

using namespace muster;
using namespace muster::query;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

struct Given {
  Labels labels;
  std::vector<std::pair<std::int64_t, double>> points;  // seconds
  Kind kind = Kind::gauge;
};

Samples samples_of(const std::vector<Given>& given) {
  Samples out;
  for (const Given& g : given) {
    out.series.push_back({g.labels, g.kind, out.at.size(), g.points.size()});
    for (const auto& [seconds, value] : g.points) {
      out.at.push_back(seconds * 1'000'000);
      out.values.push_back(value);
    }
  }
  return out;
}

// Every selector of the query gets the same series.
Result<Value> ask(const std::string& text, const std::vector<Given>& given, Steps steps, Limits limits = {},
                  Stop::Why why = Stop::Why::no) {
  Result<ExpressionPtr> e = parse(text);
  if (!e) return e.error();
  std::vector<Loaded> loaded(selections(**e, steps, limits).size());
  for (Loaded& l : loaded) l.samples = samples_of(given);
  Stop stop;
  stop.why = why;
  return evaluate(**e, steps, loaded, limits, stop);
}

Steps at(std::int64_t seconds) { return {from_seconds(seconds), Duration(1), 1}; }

// The one value of an instant; its absence is told from a value by the optional.
std::optional<double> one(const std::string& text, const std::vector<Given>& given, std::int64_t seconds) {
  const Result<Value> value = ask(text, given, at(seconds));
  if (!value) FAIL(text << ": " << value.error().what);
  if (value->columns.size() == 0) return std::nullopt;
  REQUIRE(value->columns.size() == 1);
  REQUIRE(value->columns.present[0]);
  return value->columns.values[0];
}

std::string shown(double value) {
  std::string out;
  append_value(out, value);
  return out;
}

const Labels x{{"__name__", "x"}};

}  // namespace

TEST_CASE("an instant looks back five minutes, the far end excluded, and stops at a stale marker") {
  const std::vector<Given> given{{x, {{1000, 7}}}};
  CHECK(one("x", given, 999) == std::nullopt);
  CHECK(one("x", given, 1000) == 7.0);
  CHECK(one("x", given, 1299) == 7.0);
  CHECK(one("x", given, 1300) == std::nullopt);
  const std::vector<Given> stale{{x, {{1000, 7}, {1010, std::bit_cast<double>(stale_bits)}, {1020, 8}}}};
  CHECK(one("x", stale, 1009) == 7.0);
  CHECK(one("x", stale, 1015) == std::nullopt);
  CHECK(one("x", stale, 1020) == 8.0);
  CHECK(one("x offset 5s", stale, 1014) == 7.0);
  CHECK(one("x @ 1020", stale, 5000) == 8.0);
}

TEST_CASE("rate is stretched to the ends of its window as far as the series is likely to reach") {
  // By hand. Samples every 15 s from 1005 to 1050, window [1000, 1060]: the ends are 5 and 10 s away, nearer
  // than 1.1 intervals, so the increase 3 over 45 s is stretched to the whole 60 s: 3 * 60/45 / 60.
  const std::vector<Given> given{{x, {{1005, 11}, {1020, 12}, {1035, 13}, {1050, 14}}, Kind::counter}};
  CHECK(one("rate(x[1m])", given, 1060).value() == Approx(3.0 * 60 / 45 / 60));
  CHECK(one("increase(x[1m])", given, 1060).value() == Approx(4.0));
  // Window [1000, 1090]: the last sample is 40 s from the end, more than 16.5 s, so half an interval is
  // added there: 45 + 5 + 7.5 s.
  CHECK(one("increase(x[90s])", given, 1090).value() == Approx(3.0 * 57.5 / 45));
  // It began at 1 and grows by 3 in 45 s: it was 0 fifteen seconds before the first sample, which is nearer
  // than the window's start, 20 s away, and than 1.1 intervals.
  const std::vector<Given> young{{x, {{1020, 1}, {1035, 2}, {1050, 3}, {1065, 4}}, Kind::counter}};
  CHECK(one("increase(x[65s])", young, 1065).value() == Approx(3.0 * (45 + 15) / 45));
  CHECK(one("rate(x[10s])", given, 1050) == std::nullopt);  // one sample is no rate
}

TEST_CASE("a counter that falls has been reset: what it shows after is its increase") {
  // 10 12 | 1 4: 2 + 1 + 3 over 30 s, window of 30 s that begins and ends at samples.
  const std::vector<Given> given{{x, {{1000, 10}, {1010, 12}, {1020, 1}, {1030, 4}}, Kind::counter}};
  CHECK(one("increase(x[30s])", given, 1030).value() == Approx(6));
  CHECK(one("resets(x[30s])", given, 1030) == 1.0);
  CHECK(one("irate(x[30s])", given, 1020).value() == Approx(0.1));  // 1 after the reset, in 10 s
  CHECK(one("delta(x[30s])", given, 1030).value() == Approx(-6));
}

TEST_CASE("the increases of a delta series add up over (start, end] and are not extrapolated") {
  const std::vector<Given> given{{x, {{1000, 5}, {1010, 2}, {1020, 0}, {1030, 4}}, Kind::delta}};
  // Not the 5, which is the increase until 1000.
  CHECK(one("increase(x[30s])", given, 1030) == 6.0);
  CHECK(one("rate(x[30s])", given, 1030).value() == Approx(6.0 / 30));
  CHECK(one("increase(x[30s])", given, 1060) == std::nullopt);
  CHECK(one("irate(x[30s])", given, 1030).value() == Approx(0.4));
  const std::vector<Given> alone{{x, {{1000, 5}}, Kind::delta}};
  CHECK(one("increase(x[30s])", alone, 1010) == 5.0);
}

TEST_CASE("quantile interpolates between order statistics") {
  std::vector<double> v{4, 1, 3, 2};
  CHECK(quantile(0.5, v) == 2.5);
  CHECK(quantile(1, v) == 4);
  CHECK(quantile(-0.1, v) == -inf);
  CHECK(quantile(1.1, v) == inf);
  CHECK(std::isnan(quantile(0.5, {})));
  CHECK(std::isnan(quantile(std::nan(""), v)));
}

TEST_CASE("a histogram's quantile lies on a line inside its bucket") {
  // 10 observations: 2 up to 0.1, 6 up to 0.5, all up to 1. The 5th is the 3rd of 4 in (0.1, 0.5].
  const std::vector<Bucket> buckets{{inf, 10}, {0.1, 2}, {0.5, 6}, {1, 10}};
  CHECK(histogram_quantile(0.5, buckets) == Approx(0.1 + 0.4 * 3 / 4));
  CHECK(histogram_quantile(0.1, buckets) == Approx(0.05));
  CHECK(histogram_quantile(1, buckets) == Approx(1));
  // Above the last finite bound nothing is known but that.
  CHECK(histogram_quantile(0.99, {{1, 1}, {inf, 10}}) == 1);
  CHECK(std::isnan(histogram_quantile(0.5, {{1, 1}, {2, 10}})));  // no +Inf
  CHECK(std::isnan(histogram_quantile(0.5, {{1, 0}, {inf, 0}})));
  // A count that sinks is a race of the scrape and taken as the one before.
  CHECK(histogram_quantile(0.5, {{1, 6}, {2, 5}, {inf, 10}}) == Approx(5.0 / 6));
}

TEST_CASE("vectors are matched by all labels but the name, or by those that are said") {
  const std::vector<Given> given{{{{"__name__", "x"}, {"a", "1"}, {"b", "1"}}, {{1000, 6}}},
                                 {{{"__name__", "x"}, {"a", "2"}, {"b", "2"}}, {{1000, 10}}}};
  const Result<Value> twice = ask("x + x", given, at(1000));
  REQUIRE(twice);
  REQUIRE(twice->columns.size() == 2);
  CHECK(twice->columns.labels[0] == Labels{{"a", "1"}, {"b", "1"}});
  CHECK(twice->columns.values == std::vector<double>{12, 20});
  const Result<Value> on = ask("x - on (a) x", given, at(1000));
  REQUIRE(on);
  CHECK(on->columns.labels[1] == Labels{{"a", "2"}});
  const Result<Value> filtered = ask("x > 7", given, at(1000));
  REQUIRE(filtered);
  REQUIRE(filtered->columns.size() == 1);
  CHECK(filtered->columns.labels[0].front().value == "x");  // a filter keeps the name
  const Result<Value> share = ask("x / on () group_left sum(x)", given, at(1000));
  REQUIRE(share);
  CHECK(share->columns.values[0] == Approx(6.0 / 16));
  const Result<Value> many = ask("x * on () x", given, at(1000));
  REQUIRE(!many);
  CHECK(many.error().where == "execution");
  CHECK(many.error().what.find("many-to-many") != std::string::npos);
}

TEST_CASE("two series that become one are joined where they do not meet, and refused where they do") {
  const std::vector<Given> given{{{{"__name__", "x"}, {"v", "1"}}, {{1000, 1}, {1010, std::bit_cast<double>(stale_bits)}}},
                                 {{{"__name__", "x"}, {"v", "2"}}, {{1010, 2}}}};
  const Result<Value> joined = ask(R"(label_replace(x, "v", "", "v", ".*"))", given, {from_seconds(1000), std::chrono::seconds(10), 2});
  REQUIRE(joined);
  REQUIRE(joined->columns.size() == 1);
  CHECK(joined->columns.values == std::vector<double>{1, 2});
  const std::vector<Given> both{{{{"__name__", "x"}, {"v", "1"}}, {{1000, 1}}}, {{{"__name__", "x"}, {"v", "2"}}, {{1000, 2}}}};
  CHECK(!ask(R"(label_replace(x, "v", "", "v", ".*"))", both, at(1000)));
}

TEST_CASE("a query that is too large, or is told to stop, ends with the reason") {
  const std::vector<Given> given{{x, {{1000, 1}}}};
  Limits small;
  small.samples_max = 10;
  const Result<Value> large = ask("x", given, {from_seconds(1000), std::chrono::seconds(1), 11}, small);
  REQUIRE(!large);
  CHECK(large.error().where == "execution");
  CHECK(ask("x", given, {from_seconds(1000), std::chrono::seconds(1), 10}, small));
  const Result<Value> canceled = ask("x", given, at(1000), {}, Stop::Why::canceled);
  REQUIRE(!canceled);
  CHECK(canceled.error().where == "canceled");
  const Result<Value> late = ask("x", given, at(1000), {}, Stop::Why::timeout);
  REQUIRE(!late);
  CHECK(late.error().where == "timeout");
}

TEST_CASE("a selection says which time is looked at") {
  const auto wants = [](const std::string& text, Steps steps) {
    const Result<ExpressionPtr> e = parse(text);
    REQUIRE(e);
    return selections(**e, steps, {});
  };
  const Steps steps{from_seconds(1000), std::chrono::seconds(10), 7};  // to 1060
  const auto instant = wants("x", steps);
  CHECK(instant[0].from.us == 700'000'001);
  CHECK(instant[0].to == from_seconds(1060));
  CHECK(!instant[0].newest_only);
  CHECK(wants("x", at(1000))[0].newest_only);
  const auto ranges = wants("rate(x[1m] offset 5s) + avg_over_time(y[2m])", steps);
  CHECK(ranges[0].from == from_seconds(935));
  CHECK(ranges[0].to == from_seconds(1055));
  CHECK(!ranges[0].windows);  // a rate needs the samples
  REQUIRE(ranges[1].windows);
  CHECK(ranges[1].windows->last() == from_seconds(1060));
  // Inside a subquery: from the first multiple of 30 s that lies in [820, 1060] on, looking back.
  const auto inner = wants("max_over_time(x[3m:30s])", steps);
  CHECK(inner[0].from.us == (840 - 300) * 1'000'000 + 1);
  CHECK(inner[0].to == from_seconds(1050));
}

TEST_CASE("numbers are printed as Prometheus prints them") {
  // From Prometheus 2.42, asked for vector(…) of each.
  CHECK(shown(0) == "0");
  CHECK(shown(-0.0) == "-0");
  CHECK(shown(1.5) == "1.5");
  CHECK(shown(1e20) == "100000000000000000000");
  CHECK(shown(1.25e22) == "1.25e+22");
  CHECK(shown(1.5e-9) == "1.5e-09");
  CHECK(shown(0.000001) == "0.000001");
  CHECK(shown(12345678901234567890.0) == "12345678901234567000");
  CHECK(shown(0.1 + 0.2) == "0.30000000000000004");
  CHECK(shown(inf) == "+Inf");
  CHECK(shown(-inf) == "-Inf");
  CHECK(shown(std::nan("")) == "NaN");
  std::string seconds;
  append_seconds(seconds, from_millis(1'795'538'425'059));
  append_seconds(seconds += ' ', from_millis(1'795'538'425'000));
  CHECK(seconds == "1795538425.059 1795538425");
}
