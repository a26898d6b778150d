#include "query/api/parameters.hpp"

#include <catch2/catch.hpp>

#include "tests/fuzz/mutate.hpp"

using namespace muster;
using namespace muster::query;

TEST_CASE("parameters come from the address and from a form") {
  const auto p = Parameters::of("query=a%2Bb&match[]=x&e", "match%5B%5D=y+z&time=5");
  REQUIRE(p);
  CHECK(p->text("query") == "a+b");
  CHECK(p->all("match[]") == std::vector<std::string_view>{"x", "y z"});
  CHECK(p->find("e") == "");
  CHECK(!p->find("f"));
  CHECK(!Parameters::of("a=%4", ""));
  http::Request request;
  request.query = "a=1";
  const std::string form = "b=2";
  request.body.assign(form.begin(), form.end());
  CHECK(!Parameters::of(request)->find("b"));
  request.headers = {{"content-type", "application/x-www-form-urlencoded; charset=utf-8"}};
  CHECK(Parameters::of(request)->text("b") == "2");
}

TEST_CASE("times are unix seconds or RFC 3339") {
  const auto p = *Parameters::of("a=1795538425.059&b=2026-11-24T16:00:00.25%2B01:00&c=1e400&d=tomorrow&e=NaN", "");
  CHECK(p.time("a", {})->us == 1'795'538'425'059'000);
  // 2026-11-24 15:00 UTC is day 20,781 since 1970: date -u -d 2026-11-24T15:00 +%s
  CHECK(p.time("b", {})->us == 1'795'532'400'250'000);
  CHECK(!p.time("c", {}));
  CHECK(!p.time("d", {}));
  CHECK(!p.time("e", {}));
  CHECK(!p.time("nothing", {}));
  CHECK(p.time("nothing", from_seconds(3))->us == 3'000'000);
  for (const char* bad : {"2026-02-30T00:00:00Z", "2026-1-1T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
                          "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Zx"})
    CHECK(!parse_rfc3339(bad));
}

TEST_CASE("durations are seconds or words, numbers are whole") {
  const auto p = *Parameters::of("a=0.5&b=1h30m&c=-3&d=x&n=5&m=0&o=5x", "");
  CHECK(p.duration("a", {})->count() == 500'000);
  CHECK(*p.duration("b", {}) == std::chrono::minutes(90));
  CHECK(p.duration("c", {})->count() == -3'000'000);
  CHECK(!p.duration("d", {}));
  CHECK(*p.number("n", 1, 10) == 5);
  CHECK(!p.number("n", 1, 4));
  CHECK(!p.number("m", 1, 10));
  CHECK(!p.number("o", 1, 10));
  CHECK(*p.number("nothing", 7, 10) == 7);
}

TEST_CASE("no address breaks what reads it") {
  fuzz::Plan plan;
  plan.corpus = {"query=rate(x%5B5m%5D)&start=1795538425&end=2026-11-24T16:00:00Z&step=15s&limit=5", "a=%&b=%zz&&=&c"};
  plan.words = {"&", "=", "%5B", "%", "9999-12-31T23:59:59.999999999+23:59", "1e308", "-0", "y"};
  const fuzz::Outcome outcome = fuzz::run(plan, [](std::string_view text) {
    const auto p = Parameters::of(text, text);
    if (!p) return;
    for (const char* name : {"start", "end", "step", "limit", "a"}) {
      (void)p->time(name, Timestamp{});
      (void)p->duration(name, Duration(1));
      (void)p->number(name, 1, 100);
    }
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
}
