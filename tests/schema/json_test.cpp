#include <catch2/catch.hpp>

#include "schema/incident.hpp"
#include "schema/series.hpp"

using namespace muster;

TEST_CASE("a finding comes back from JSON as it went") {
  Finding f;
  f.what = Finding::What::attached;
  f.sequence = 7;
  f.at = from_millis(1740960000000);
  Incident& i = f.incident;
  i.id = "INC-0007";
  i.severity = Incident::Severity::critical;
  i.paged = true;
  i.opened_at = i.started_at = i.updated_at = f.at;
  i.cause = "src-08";
  i.suspects = {{"src-08", "source", .97, 12.5, 31, 72, .88, "all \"four\" families moved"}};
  i.affected = {{"m1", "null_rate", 4.5, f.at, {f.at}, {std::nullopt}, {0.25}, {0.5}}, {"m2", "psi", -2, f.at, {}, {}, {}, {}}};
  i.models = {"m1", "m2"};
  i.timeline = {{f.at, 41000, 31}};
  i.events = {{f.at, f.at, "deploy", "model:m1", "v8"}};

  const auto back = parse_finding(to_json(f));
  REQUIRE(back);
  CHECK(to_json(*back) == to_json(f));
  CHECK(back->incident.affected[0].value[0] == std::nullopt);
  CHECK(back->incident.suspects[0].why == "all \"four\" families moved");
  CHECK_FALSE(back->incident.resolved_at);
}

TEST_CASE("what is not a finding is refused in words") {
  CHECK_FALSE(parse_finding("[]"));
  CHECK_FALSE(parse_finding(R"({"what":"eaten","sequence":1,"at":0,"incident":{}})"));
  CHECK(parse_event(R"({"ts":1,"kind":"","subject":"fleet","title":"t"})").error().where == "event.kind");
  CHECK(parse_event(R"({"ts":1,"kind":"deploy","title":"t"})").error().what == "\"subject\" is missing");
  CHECK(parse_event(R"({"ts":"now","kind":"deploy","subject":"fleet","title":"t"})").error().what ==
        "\"ts\" must be whole unix milliseconds");
  CHECK(parse_event(R"({"ts":1,"kind":2,"subject":"fleet","title":"t"})").error().what ==
        "\"kind\" must be a string");
  CHECK(parse_event(R"({"ts":1,"kind":"deploy","subject":{"model":"m"},"title":"t"})")->subject == "model:m");
  CHECK(parse_event(R"({"ts":5,"until":1,"kind":"holiday","subject":"fleet","title":"t"})").error().where ==
        "event.until");
}

TEST_CASE("ids of series and sets depend on every part") {
  CHECK(series_id("a", "bc") != series_id("ab", "c"));
  SeriesSet set{{}, "m", {}, {{series_id("m", "x"), "x", Kind::gauge}}};
  const SetId plain = set_id(set);
  set.attributes.version = "v2";
  CHECK(set_id(set) != plain);
  CHECK(static_cast<std::int64_t>(plain) >= 0);
  CHECK((is_null(null_value()) && !is_stale(null_value())));
}
