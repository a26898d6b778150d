#include "schema/store/control.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/postgres.hpp"

using namespace muster;
using store::Acted;
using store::Action;
using store::Changes;
using store::Connection;
using store::Control;

namespace {

constexpr Timestamp start = from_seconds(1'740'960'000);  // 2025-03-03 00:00:00 UTC

Timestamp at(int minutes) {
  return start + std::chrono::minutes(minutes);
}

Finding finding(const std::string& id, std::uint64_t sequence, Finding::What what,
                const std::string& title = "src-08 moved") {
  Finding f;
  f.what = what;
  f.sequence = sequence;
  f.at = at(static_cast<int>(sequence));
  Incident& i = f.incident;
  i.id = id;
  i.state = what == Finding::What::resolved ? Incident::State::resolved : Incident::State::open;
  if (what == Finding::What::resolved) i.resolved_at = f.at;
  i.severity = Incident::Severity::critical;
  i.paged = true;
  i.opened_at = at(std::stoi(id.substr(4)));
  i.started_at = i.opened_at;
  i.updated_at = f.at;
  i.cause = "src-08";
  i.cause_kind = "source";
  i.team = "data";
  i.title = title;
  i.score = 100;
  i.evidence = 41000.25;
  i.suspects = {{"src-08", "source", .97, 12.5, 31, 72, .88, "all families moved"}};
  i.affected = {{"m1", "null_rate", 4.5, f.at, {f.at}, {std::nullopt}, {0.25}, {0.5}}};
  i.models = {"m1", "m2"};
  i.metrics = {"null_rate"};
  i.timeline = {{f.at, 41000, 31}};
  return f;
}

Notice notice(const std::string& key, std::uint64_t sequence,
              const std::string& incident = "INC-0001") {
  Notice n;
  n.key = key;
  n.group = "{}:{incident=\"" + incident + "\"}";
  n.incident = incident;
  n.receiver = "data-platform";
  n.channel = "webhook";
  n.target = "hook-1";
  n.sequence = sequence;
  n.reason = "first_notification";
  n.at = at(1);
  n.not_before = at(2);
  n.expires_at = at(600);
  n.body = R"({"z": 1, "a":"ü"})";
  n.text = "src-08 moved";
  return n;
}

struct Fresh {
  std::string dsn = test::Postgres::shared().fresh_database();
  Control control{dsn};
  std::int64_t count(const std::string& from) {
    return std::stoll(
        std::string(Connection(dsn, {}).run("SELECT count(*) FROM " + from).at(0, 0)));
  }
};

}  // namespace

TEST_CASE_METHOD(Fresh, "a collector gets an id that no other has") {
  const auto one = control.new_collector("a"), two = control.new_collector("a");
  CHECK(one >= 1);
  CHECK(two > one);
}

TEST_CASE_METHOD(Fresh, "the newest topology comes back, and an equal one is no new version") {
  CHECK_FALSE(control.load_topology());
  const auto small = parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m1"}]})");
  const auto large = parse_topology(
      R"({"format":"muster-topology/1","models":[{"id":"m1","region":"eu","interval_s":600}],
          "dependencies":[{"id":"s","kind":"source"}],"edges":[{"from":"m1","to":"s"}]})");
  REQUIRE((small && large));
  const auto first = control.save_topology(*small, at(0));
  const auto second = control.save_topology(*large, at(1));
  CHECK(second > first);
  CHECK(control.save_topology(*large, at(2)) == second);
  const auto back = control.load_topology();
  REQUIRE(back);
  CHECK(back->version == second);
  CHECK(back->applied_at == at(1));
  CHECK(to_json(back->topology) == to_json(*large));
}

TEST_CASE_METHOD(Fresh, "an event sent twice is one") {
  const std::vector<Event> events{{at(10), std::nullopt, "deploy", "model:m1", "v8"},
                                  {at(0), at(120), "holiday", "fleet", "a quiet day"}};
  CHECK(control.add_events(events) == 2);
  CHECK(control.add_events(events) == 0);
  CHECK(control.events(at(0), at(60)).size() == 2);
  const auto later = control.events(at(60), at(90));  // the holiday lasts until 120
  REQUIRE(later.size() == 1);
  CHECK(to_json(later[0]) == to_json(events[1]));
  CHECK(control.events(at(121), at(900)).empty());
}

TEST_CASE_METHOD(Fresh,
                 "a snapshot comes back to the byte, and the one before when it is damaged") {
  CHECK_FALSE(control.load_snapshot());
  std::string state(9'000'000, '\0');  // three parts
  for (std::size_t i = 0; i < state.size(); ++i)
    state[i] = static_cast<char>(i * 2654435761U >> 13);
  for (int i = 1; i <= 3; ++i) {
    state[0] = static_cast<char>(i);
    control.save_snapshot({at(i), {{0, 1, i}, {0, 2, 7}}, state});
  }
  const auto back = control.load_snapshot();
  REQUIRE(back);
  CHECK(back->at_tick == at(3));
  CHECK(back->positions == LogPositions{{0, 1, 3}, {0, 2, 7}});
  CHECK(back->state == state);
  CHECK(count("aggregator_snapshot") == 2);
  CHECK_FALSE(control.load_snapshot("another"));

  Connection(dsn, {}).run(
      "DELETE FROM aggregator_state WHERE part = 2 AND slot = (SELECT slot FROM "
      "aggregator_snapshot "
      "ORDER BY sequence DESC LIMIT 1)");
  CHECK(control.load_snapshot()->at_tick == at(2));
  control.save_snapshot({at(4), {}, ""});
  CHECK(control.load_snapshot()->state.empty());
}

TEST_CASE_METHOD(Fresh, "a finding that comes again changes nothing") {
  const std::vector findings{finding("INC-0001", 1, Finding::What::opened),
                             finding("INC-0001", 2, Finding::What::attached)};
  Changes changes;
  changes.findings = findings;
  changes.notices = {notice("k1", 1)};
  CHECK(control.fresh_findings(findings).size() == 2);
  const auto first = control.apply(changes);
  CHECK(first.fresh == std::vector{true, true});
  CHECK(first.notices == 1);
  const auto again = control.apply(changes);
  CHECK(again.fresh == std::vector{false, false});
  CHECK(again.notices == 0);
  CHECK(control.fresh_findings(findings).empty());
  CHECK(count("incident") == 1);
  CHECK(count("incident_finding") == 2);
  CHECK(count("outbox") == 1);

  const auto detail = control.incident("INC-0001");
  REQUIRE(detail);
  CHECK(to_json(detail->row.incident) == to_json(findings[1].incident));
  CHECK(detail->row.sequence == 2);
  CHECK(detail->findings.size() == 2);

  // A replay of the older one does not take the incident back.
  const std::vector older{finding("INC-0001", 1, Finding::What::opened, "old title")};
  Changes late;
  late.findings = older;
  control.apply(late);
  CHECK(control.incident("INC-0001")->row.incident.title == "src-08 moved");
}

TEST_CASE_METHOD(Fresh, "a change is applied whole or not at all") {
  const std::vector findings{finding("INC-0001", 1, Finding::What::opened)};
  Changes changes;
  changes.findings = findings;
  changes.memory = store::RouterMemory{1, "remembered"};
  changes.notices = {notice("k1", 1)};
  // A try of a notice that does not exist is our mistake, and comes last.
  changes.deliveries = {{.outbox_id = 12345, .at = at(3)}};
  CHECK_THROWS_AS(control.apply(changes), store::Rejected);
  for (const char* table :
       {"incident", "incident_finding", "outbox", "router_memory", "delivery_try"}) {
    INFO(table);
    CHECK(count(table) == 0);
  }
  changes.deliveries.clear();
  CHECK(control.apply(changes).notices == 1);
}

TEST_CASE_METHOD(
    Fresh,
    "a step whose answer was lost is known when it comes again; two routers are not let in") {
  CHECK(control.load_memory().version == 0);
  Changes changes;
  changes.memory = store::RouterMemory{1, std::string("a\0b", 3)};
  changes.decisions = {{at(1),
                        "dedup",
                        "incident",
                        "INC-0001",
                        "data-platform",
                        "hook-1",
                        "kept",
                        "first_notification",
                        {{"alerts", "1"}}}};
  CHECK_FALSE(control.apply(changes).repeated);
  CHECK(control.apply(changes).repeated);
  CHECK(count("decision") == 1);
  CHECK(control.load_memory().bytes == std::string("a\0b", 3));

  changes.memory = store::RouterMemory{1, "of another"};
  CHECK_THROWS_AS(control.apply(changes), store::Rejected);
  changes.memory = store::RouterMemory{3, "skipped one"};
  CHECK_THROWS_AS(control.apply(changes), store::Rejected);
  changes.memory = store::RouterMemory{2, "next"};
  CHECK_FALSE(control.apply(changes).repeated);
  CHECK(control.load_memory().version == 2);
}

TEST_CASE_METHOD(Fresh, "a notice waits until it is due, is tried, and is sent once") {
  Changes changes;
  changes.notices = {notice("k1", 1), notice("k1", 1)};
  CHECK(control.apply(changes).notices == 1);
  CHECK(control.due_outbox(at(1)).empty());
  CHECK(control.next_due() == at(2));
  auto due = control.due_outbox(at(2));
  REQUIRE(due.size() == 1);
  CHECK(due[0].notice == notice("k1", 1));  // to the byte
  CHECK(due[0].tries == 0);

  store::Delivery failed{due[0].id, 1, at(2), false, "503 Service Unavailable", at(5)};
  control.record(failed);
  control.record(failed);  // its answer was lost
  CHECK(control.due_outbox(at(4)).empty());
  due = control.due_outbox(at(5));
  REQUIRE(due.size() == 1);
  CHECK(due[0].tries == 1);
  CHECK(due[0].last_answer == "503 Service Unavailable");
  CHECK(control.outbox_depth().due == 1);
  CHECK(control.outbox_depth().oldest == at(1));
  CHECK(control.pages_sent(at(0)) == 0);

  control.record({due[0].id, 2, at(5), false, "503 Service Unavailable", at(9)});
  control.record(failed);  // once more, out of turn
  CHECK(control.next_due() == at(9));
  control.record({due[0].id, 3, at(9), true, "200 OK", {}});
  control.record({due[0].id, 4, at(10), false, "a late failure does not undo it", {}});
  CHECK(control.due_outbox(at(100)).empty());
  CHECK(control.outbox_depth().due == 0);
  CHECK(control.pages_sent(at(0)) == 1);
  CHECK(control.pages_sent(at(2)) == 0);

  Changes other;
  other.notices = {notice("k2", 1, "INC-0002")};
  control.apply(other);
  const auto second = control.due_outbox(at(2));
  REQUIRE(second.size() == 1);
  control.record({second[0].id, 1, at(2), false, "404 Not Found", {}});  // given up
  CHECK(control.outbox_depth().failed == 1);
  CHECK_FALSE(control.next_due());
  control.prune(at(50));
  CHECK(count("outbox") == 0);
  CHECK(count("delivery_try") == 0);
}

TEST_CASE_METHOD(
    Fresh,
    "a newer notice of a group takes the place of those that still wait for the same target") {
  Changes changes;
  Notice elsewhere = notice("other", 1);
  elsewhere.target = "hook-2";
  changes.notices = {notice("k1", 1), elsewhere};
  control.apply(changes);
  changes.notices = {notice("k2", 2)};
  control.apply(changes);
  const auto due = control.due_outbox(at(2));
  REQUIRE(due.size() == 2);
  std::vector<std::string> keys{due[0].notice.key, due[1].notice.key};
  std::sort(keys.begin(), keys.end());
  CHECK(keys == std::vector<std::string>{"k2", "other"});
  CHECK(count("outbox WHERE state = 'superseded'") == 1);
}

TEST_CASE_METHOD(Fresh, "what people did survives what the aggregator says") {
  const std::vector opened{finding("INC-0001", 1, Finding::What::opened)};
  Changes changes;
  changes.findings = opened;
  control.apply(changes);

  CHECK(control.act({Action::What::ack, "INC-0001", at(3), "ada", "", {}}) == Acted::done);
  CHECK(control.act({Action::What::ack, "INC-0001", at(4), "bob", "", {}}) == Acted::already);
  CHECK(control.act({Action::What::ack, "INC-0404", at(4), "bob", "", {}}) == Acted::unknown);
  CHECK(control.act({Action::What::snooze, "INC-0001", at(4), "ada", "", at(64)}) == Acted::done);
  CHECK(control.act({Action::What::assign, "INC-0001", at(4), "ada", "bob", {}}) == Acted::done);
  CHECK(control.act({Action::What::note,
                     "INC-0001",
                     at(5),
                     "bob",
                     std::string("looks like \xff\0!", 14),
                     {}}) == Acted::done);

  const std::vector updated{finding("INC-0001", 2, Finding::What::updated, "worse")};
  changes.findings = updated;
  changes.notices = {notice("k1", 1)};
  control.apply(changes);
  const auto detail = control.incident("INC-0001");
  REQUIRE(detail);
  CHECK(detail->row.incident.title == "worse");
  CHECK(detail->row.acked_by == "ada");
  CHECK(detail->row.acked_at == at(3));
  CHECK(detail->row.snoozed_until == at(64));
  CHECK(detail->row.assigned_to == "bob");
  REQUIRE(detail->actions.size() == 4);
  CHECK(detail->actions[3].note == "looks like \xef\xbf\xbd\xef\xbf\xbd!");
  CHECK(detail->notices.size() == 1);

  CHECK(control.act({Action::What::unack, "INC-0001", at(6), "ada", "", {}}) == Acted::done);
  CHECK(control.incident("INC-0001")->row.acked_by.empty());

  // Closed by hand, until the aggregator reopens it.
  CHECK(control.act({Action::What::resolve, "INC-0001", at(7), "ada", "fixed", {}}) == Acted::done);
  CHECK(control.act({Action::What::resolve, "INC-0001", at(8), "bob", "", {}}) == Acted::already);
  CHECK(control.incident("INC-0001")->row.closed_by_person);
  const std::vector later{finding("INC-0001", 3, Finding::What::updated)};
  changes.findings = later;
  control.apply(changes);
  CHECK(control.incident("INC-0001")->row.closed_by_person);
  const std::vector reopened{finding("INC-0001", 4, Finding::What::reopened)};
  changes.findings = reopened;
  control.apply(changes);
  CHECK_FALSE(control.incident("INC-0001")->row.closed_by_person);
  CHECK(control.act({Action::What::resolve, "INC-0001", at(9), "bob", "", {}}) == Acted::done);
}

TEST_CASE_METHOD(Fresh, "incidents come page by page, newest first, and as filtered") {
  std::vector<Finding> findings;
  for (int i = 1; i <= 7; ++i) {
    findings.push_back(finding("INC-000" + std::to_string(i), 1,
                               i == 3 ? Finding::What::resolved : Finding::What::opened));
  }
  findings[4].incident.models = {"only-5"};
  findings[4].incident.team = "ml";
  Changes changes;
  changes.findings = findings;
  control.apply(changes);

  std::vector<std::string> ids;
  store::IncidentFilter filter;
  filter.limit = 3;
  int pages = 0;
  do {
    const auto page = control.incidents(filter);
    for (const auto& row : page.rows) ids.push_back(row.incident.id);
    filter.cursor = page.next;
    ++pages;
  } while (!filter.cursor.empty());
  CHECK(ids == std::vector<std::string>{"INC-0007", "INC-0006", "INC-0005", "INC-0004", "INC-0003",
                                        "INC-0002", "INC-0001"});
  CHECK(pages == 3);

  const auto count_of = [&](auto set) {
    store::IncidentFilter f;
    set(f);
    return control.incidents(f).rows.size();
  };
  CHECK(count_of([](auto& f) { f.state = Incident::State::resolved; }) == 1);
  CHECK(count_of([](auto& f) { f.state = Incident::State::open; }) == 6);
  CHECK(count_of([](auto& f) { f.severity = Incident::Severity::info; }) == 0);
  CHECK(count_of([](auto& f) { f.model = "only-5"; }) == 1);
  CHECK(count_of([](auto& f) { f.model = "m1"; }) == 6);
  CHECK(count_of([](auto& f) { f.team = "ml"; }) == 1);
  CHECK(count_of([](auto& f) { f.cause = "src-08"; }) == 7);
  CHECK(count_of([](auto& f) { f.since = at(2), f.until = at(4); }) == 2);
  CHECK(control.incidents({}).rows[0].incident.suspects.size() == 1);
  CHECK(control.incidents({}).rows[0].incident.affected.empty());
}

TEST_CASE_METHOD(Fresh,
                 "a name that PostgreSQL cannot hold does not keep an incident from being stored") {
  auto odd = finding("INC-0001", 1, Finding::What::opened,
                     std::string("zero \0, broken \xc3( and a \\u0000 in words", 39));
  odd.incident.models = {std::string("m\0x", 3), "\xed\xa0\x80"};
  const std::vector findings{odd};
  Changes changes;
  changes.findings = findings;
  CHECK(control.apply(changes).fresh == std::vector{true});
  const auto back = control.incident("INC-0001");
  REQUIRE(back);
  CHECK(back->row.incident.title ==
        "zero \xef\xbf\xbd, broken \xef\xbf\xbd( and a \\u0000 in words");
  CHECK(back->row.incident.models[0] == "m\xef\xbf\xbdx");
}

TEST_CASE_METHOD(Fresh, "the views of incidents and notices answer") {
  const std::vector findings{finding("INC-0001", 1, Finding::What::opened)};
  Changes changes;
  changes.findings = findings;
  changes.notices = {notice("k1", 1)};
  control.apply(changes);
  Connection sql(dsn, {});
  const auto incident = sql.run(
      "SELECT id, state, severity, cause, title, moved, merged_into, closed_by_person FROM "
      "v_incident");
  REQUIRE(incident.size() == 1);
  CHECK(incident.at(0, 0) == "INC-0001");
  CHECK(incident.null(0, 6));
  CHECK(incident.at(0, 7) == "f");
  const auto outbox = sql.run("SELECT id, incident_id, kind, state, text FROM v_outbox");
  REQUIRE(outbox.size() == 1);
  CHECK(outbox.at(0, 4) == "src-08 moved");
}

TEST_CASE_METHOD(Fresh, "control goes on after its connection was cut") {
  control.new_collector("a");
  Connection(dsn, {}).run(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'muster "
      "control' "
      "AND datname = current_database()");
  try {
    control.new_collector("b");  // libpq may or may not see at once that the other side is gone
  } catch (const store::Unavailable&) {
  }
  CHECK(control.new_collector("c") > 1);
  CHECK_THROWS_AS(Control("host=/nowhere").new_collector("x"), store::Unavailable);
}
