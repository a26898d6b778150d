#include "router/payload.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "router/labels.hpp"

using namespace muster;
using namespace muster::router;

namespace {

Alert alert(Labels labels, Labels annotations = {}) {
  Alert a;
  a.labels = std::move(labels);
  a.annotations = std::move(annotations);
  a.fingerprint = fingerprint(a.labels);
  a.starts_at = {1'795'000'000'250'000};  // date -u -d @1795000000: 2026-11-18T11:06:40Z
  a.generator_url = "http://m/incidents/INC-1";
  return a;
}

}  // namespace

TEST_CASE("times are written as Go writes them") {
  CHECK(rfc3339({0}) == "1970-01-01T00:00:00Z");
  CHECK(rfc3339({-1}) == "1969-12-31T23:59:59.999999Z");
  CHECK(rfc3339({1'795'000'000'250'000}) == "2026-11-18T11:06:40.25Z");
}

TEST_CASE("the payload is version 4, field by field") {
  Alert fires = alert({{"alertname", "Incident"}, {"incident", "INC-1"}, {"severity", "warning"}},
                      {{"title", "feed is late"}, {"why", "31 of 72"}});
  Alert over = alert({{"alertname", "Incident"}, {"incident", "INC-1"}, {"severity", "critical"}},
                     {{"title", "feed is late"}, {"why", "40 of 72"}});
  over.ends_at = Timestamp{1'795'000'060'000'000};
  Message m;
  m.receiver = "a.b";
  m.alerts = {&fires, &over};
  m.now = {1'795'000'100'000'000};
  m.group_labels = {{"incident", "INC-1"}};
  m.group_key = "{}:{incident=\"INC-1\"}";
  m.external_url = "http://m";

  CHECK(boost::json::parse(webhook_payload(m)) ==
        boost::json::parse(R"({
    "receiver":"a\\.b","status":"firing","version":"4","groupKey":"{}:{incident=\"INC-1\"}","truncatedAlerts":0,
    "externalURL":"http://m","groupLabels":{"incident":"INC-1"},
    "commonLabels":{"alertname":"Incident","incident":"INC-1"},"commonAnnotations":{"title":"feed is late"},
    "alerts":[
     {"status":"resolved","labels":{"alertname":"Incident","incident":"INC-1","severity":"critical"},
      "annotations":{"title":"feed is late","why":"40 of 72"},"startsAt":"2026-11-18T11:06:40.25Z",
      "endsAt":"2026-11-18T11:07:40Z","generatorURL":"http://m/incidents/INC-1","fingerprint":")" +
                           over.fingerprint + R"("},
     {"status":"firing","labels":{"alertname":"Incident","incident":"INC-1","severity":"warning"},
      "annotations":{"title":"feed is late","why":"31 of 72"},"startsAt":"2026-11-18T11:06:40.25Z",
      "endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://m/incidents/INC-1","fingerprint":")" +
                           fires.fingerprint + R"("}]})"));
  CHECK(text_line(m, 10) ==
        "[FIRING] INC-1 feed is late (warning) http://m/incidents/INC-1; over: INC-1 feed is late "
        "(critical) "
        "http://m/incidents/INC-1");
}

TEST_CASE("max_alerts cuts the list and counts the rest") {
  // Alertmanager's order: job, instance (missing last), then fewer labels, then by value.
  const Alert a = alert({{"alertname", "x"}, {"job", "b"}});
  const Alert b = alert({{"alertname", "x"}, {"instance", "1"}, {"job", "a"}});
  const Alert c = alert({{"alertname", "x"}, {"job", "a"}});
  const Alert d = alert({{"alertname", "w"}, {"zone", "1"}});
  const Alert e = alert({{"alertname", "z"}});
  Message m;
  m.alerts = {&d, &e, &a, &c, &b};
  const auto order = [&m] {
    std::vector<std::string> out;
    const auto parsed = boost::json::parse(webhook_payload(m));
    for (const auto& x : parsed.at("alerts").as_array())
      out.emplace_back(x.at("fingerprint").as_string());
    return out;
  };
  using F = std::vector<std::string>;
  CHECK(order() == F{b.fingerprint, c.fingerprint, a.fingerprint, e.fingerprint, d.fingerprint});
  m.max_alerts = 2;
  CHECK(order() == F{b.fingerprint, c.fingerprint});
  CHECK(boost::json::parse(webhook_payload(m)).at("truncatedAlerts").as_int64() == 3);
  CHECK(text_line(m, 2).find("; and 3 more") != std::string::npos);
}
