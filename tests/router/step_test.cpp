#include "router/step.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "router/labels.hpp"

using namespace muster;
using namespace muster::router;
using namespace std::chrono_literals;

namespace {

constexpr Timestamp start = from_seconds(1'795'000'000);

RouteSpec route(std::string receiver, std::string_view matchers = "") {
  RouteSpec r;
  r.receiver = std::move(receiver);
  r.matchers = parse_matchers(matchers).value().list;
  return r;
}

// Group wait 30 s, interval 5 m, repeat 4 h: Alertmanager's defaults, as in the stories of its users.
Settings settings_for(RouteSpec root) {
  Settings s;
  s.routes = compile(root).value();
  s.external_url = "http://m";
  s.receivers = {
      {"hook", {{"webhook", "webhook:1"}}}, {"pager", {{"webhook", "webhook:2"}}}, {"none", {}}};
  s.config_hash = "one";
  return s;
}

struct Told {
  std::int64_t at = 0;  // seconds since start
  std::string receiver, reason, kind;
  friend bool operator==(const Told&, const Told&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Told& t) {
    return out << t.at << ' ' << t.receiver << ' ' << t.reason << ' ' << t.kind;
  }
};
using Story = std::vector<Told>;

// A router at virtual time. Memory goes through its bytes at each step, as it does in the database.
struct World {
  Settings settings = settings_for(route("hook"));
  std::string memory = to_json(Memory{});
  Timestamp now = start;
  std::optional<Timestamp> deadline;
  std::vector<Notice> notices;
  std::vector<Decision> decisions;
  std::map<std::string, std::uint64_t> sequences;
  std::set<std::string> keys;
  bool delivering = true;

  void step_now(std::vector<RouterEvent> events) {
    Step s = step(parse_memory(memory).value(), events, now, settings);
    memory = to_json(s.memory);
    REQUIRE(to_json(parse_memory(memory).value()) == memory);
    deadline = s.next_deadline;
    std::move(s.decisions.begin(), s.decisions.end(), std::back_inserter(decisions));
    std::vector<RouterEvent> answers;
    for (Notice& n : s.notices) {
      REQUIRE(keys.insert(n.key).second);
      answers.push_back(Delivered{n.key, n.group, n.incident, n.receiver, n.target, delivering,
                                  delivering ? "" : "404"});
      notices.push_back(std::move(n));
    }
    if (!answers.empty()) step_now(answers);
  }

  // Lets time pass, stepping exactly when the router asked for it.
  void until(double seconds) {
    const Timestamp end = start + Duration(static_cast<std::int64_t>(seconds * 1e6));
    while (deadline && *deadline <= end) {
      now = std::max(now, *deadline);
      step_now({DeadlineReached{}});
    }
    now = end;
  }
  void at(double seconds, RouterEvent event) {
    until(seconds);
    step_now({std::move(event)});
  }

  Finding finding(std::string id, Finding::What what, double seconds,
                  Incident::Severity severity = Incident::Severity::warning) {
    Finding f;
    f.what = what;
    f.sequence = ++sequences[id];
    f.at = start + Duration(static_cast<std::int64_t>(seconds * 1e6));
    Incident& i = f.incident;
    i.id = std::move(id);
    i.paged = true;
    i.severity = severity;
    i.started_at = i.opened_at = f.at;
    i.cause = "src-08";
    i.cause_kind = "source";
    i.team = "data";
    i.title = "src-08 is late";
    i.why = "31 of 72 models moved";
    i.suspects = {{"src-08", "source", .97}};
    i.models = {"m1", "m2"};
    if (what == Finding::What::resolved) i.state = Incident::State::resolved;
    if (what == Finding::What::merged) i.state = Incident::State::merged;
    return f;
  }
  void opens(std::string id, double s) { at(s, finding(std::move(id), Finding::What::opened, s)); }
  void resolves(std::string id, double s) {
    at(s, finding(std::move(id), Finding::What::resolved, s));
  }
  void reopens(std::string id, double s) {
    at(s, finding(std::move(id), Finding::What::reopened, s));
  }

  Story story() const {
    Story out;
    for (const Notice& n : notices)
      out.push_back({(n.at - start) / 1s, n.receiver, n.reason, std::string(to_word(n.kind))});
    return out;
  }
  bool decided(Reason reason, std::string_view subject = {}) const {
    return std::any_of(decisions.begin(), decisions.end(), [&](const Decision& d) {
      return d.reason == reason && (subject.empty() || d.subject == subject);
    });
  }
  // Statuses of the alerts in a notice, e.g. {"firing","resolved"}, sorted.
  static std::multiset<std::string> statuses(const Notice& n) {
    std::multiset<std::string> out;
    const auto body = boost::json::parse(n.body);
    for (const auto& a : body.at("alerts").as_array()) out.emplace(a.at("status").as_string());
    return out;
  }
};

}  // namespace

// Seconds in these stories follow from group wait 30 s, interval 300 s, repeat 14400 s, by hand.

TEST_CASE("an incident is told once, after the group's wait, and once more when it is over") {
  World w;
  w.opens("INC-1", 0);
  w.until(29);
  CHECK(w.notices.empty());
  w.until(300);
  w.resolves("INC-1", 310);
  w.until(20'000);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "all_resolved", "resolved"}});
  CHECK_FALSE(w.deadline);  // nothing is left to wait for
  const Memory m = parse_memory(w.memory).value();
  CHECK((m.alerts.empty() && m.groups.empty()));

  const auto body = boost::json::parse(w.notices[0].body);
  CHECK(body.at("groupKey") == R"({}:{incident="INC-1"})");
  CHECK(body.at("alerts").at(0).at("labels") ==
        boost::json::parse(
            R"({"alertname":"Incident","incident":"INC-1","cause":"src-08","cause_kind":"source",
                               "team":"data","severity":"warning"})"));
  CHECK(body.at("alerts").at(0).at("annotations").at("suspects") == "src-08 97%");
  CHECK(body.at("alerts").at(0).at("generatorURL") == "http://m/incidents/INC-1");
  CHECK(w.notices[0].incident == "INC-1");
  CHECK(w.notices[0].text ==
        "[FIRING] INC-1 src-08 is late (warning, cause src-08) http://m/incidents/INC-1");
}

TEST_CASE("an incident over before its first notice is never told") {
  World w;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 20);
  w.until(20'000);
  CHECK(w.notices.empty());
  CHECK(w.decided(Reason::resolved_never_told, "INC-1"));
}

TEST_CASE("fire, resolve and fire again between two ticks says nothing until the repeat") {
  World w;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 60);
  w.reopens("INC-1", 90);
  w.until(16'000);
  // 30 + 14400 is a tick: 30 + 48 * 300.
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {14'430, "hook", "repeat_elapsed", "notice"}});
  CHECK(boost::json::parse(w.notices[1].body).at("alerts").at(0).at("startsAt") ==
        "2026-11-18T11:08:10Z");  // 90 s in
}

TEST_CASE("an incident that reopens later is told anew, under the labels it had") {
  World w;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 60);
  Finding again = w.finding("INC-1", Finding::What::reopened, 1000);
  again.incident.cause = "src-09";
  w.at(1000, again);
  w.until(1030);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "all_resolved", "resolved"},
                           {1030, "hook", "first_notification", "notice"}});
  CHECK(boost::json::parse(w.notices[2].body).at("alerts").at(0).at("labels").at("cause") ==
        "src-08");
  CHECK(w.notices[2].sequence == 3);
}

TEST_CASE("repeats come on the beat, rounded up to the group's interval") {
  RouteSpec r = route("hook");
  r.repeat_interval = 9min;
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.until(30 + 40 * 600);
  // Ticks each 300 s; the first that is at least 540 s after the last notice: each 600 s, forty times.
  REQUIRE(w.notices.size() == 41);
  for (std::size_t i = 0; i < w.notices.size(); ++i)
    CHECK((w.notices[i].at - start) / 1s == 30 + static_cast<std::int64_t>(i) * 600);
}

TEST_CASE("a step that comes late does not shift the beat") {
  RouteSpec r = route("hook");
  r.repeat_interval = 10min;
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.now = start + Duration(33s);
  w.step_now({});  // 3 s after the deadline
  CHECK(w.deadline == start + Duration(330s));
  w.until(630);
  CHECK(w.story() == Story{{33, "hook", "first_notification", "notice"},
                           {630, "hook", "repeat_elapsed", "notice"}});
  w.now = start + Duration(10'000s);  // whole ticks missed: one flush, and on from there
  w.step_now({});
  CHECK(w.notices.size() == 3);
  CHECK(w.deadline == start + Duration(10'300s));
}

TEST_CASE("an incident that began long before does not wait for its group") {
  World w;
  Finding f = w.finding("INC-1", Finding::What::opened, 0);
  f.incident.started_at = start - Duration(40min);
  w.at(0, f);
  CHECK(w.story() == Story{{0, "hook", "first_notification", "notice"}});
  CHECK(w.decided(Reason::flushed_old_alert, "INC-1"));
}

TEST_CASE("two incidents never share a notice, whatever the route groups by") {
  RouteSpec r = route("hook");
  r.group_by = {"team"};
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.opens("INC-2", 1);
  w.until(31);
  REQUIRE(w.notices.size() == 2);
  CHECK(w.notices[0].group == R"({}:{incident="INC-1", team="data"})");
  CHECK(w.notices[1].group == R"({}:{incident="INC-2", team="data"})");
  CHECK(w.notices[0].key != w.notices[1].key);
}

TEST_CASE("an incident that is not paged wakes nobody, and may be paged later") {
  World w;
  Finding f = w.finding("INC-1", Finding::What::opened, 0);
  f.incident.paged = false;
  w.at(0, f);
  f = w.finding("INC-1", Finding::What::updated, 60);
  f.incident.paged = false;
  w.at(60, f);
  w.until(1000);
  CHECK(w.notices.empty());
  CHECK(w.decided(Reason::not_paged, "INC-1"));
  w.at(1000, w.finding("INC-1", Finding::What::updated, 1000));
  w.until(1030);
  CHECK(w.story() == Story{{1030, "hook", "first_notification", "notice"}});
}

TEST_CASE("attached models and new numbers wake nobody again") {
  World w;
  w.opens("INC-1", 0);
  for (int t = 60; t < 3000; t += 60) w.at(t, w.finding("INC-1", Finding::What::attached, t));
  CHECK(w.notices.size() == 1);
}

TEST_CASE("a finding that comes twice is one finding") {
  World w;
  const Finding f = w.finding("INC-1", Finding::What::opened, 0);
  w.at(0, f);
  w.resolves("INC-1", 400);
  w.until(800);
  w.at(900, f);  // a replay after a crash of its sender
  w.until(5000);
  CHECK(w.notices.size() == 2);
  CHECK(w.decided(Reason::already_seen, "INC-1"));
}

TEST_CASE("a merged incident ends for those who were told of it") {
  World w;
  w.opens("INC-1", 0);
  Finding f = w.finding("INC-1", Finding::What::merged, 100);
  f.incident.merged_into = "INC-0";
  w.at(100, f);
  w.until(400);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "all_resolved", "resolved"}});
  CHECK(boost::json::parse(w.notices[1].body).at("commonAnnotations").at("merged_into") == "INC-0");
}

TEST_CASE("a rise in severity is news, and what it replaced ends without a word") {
  World w;
  w.opens("INC-1", 0);
  w.at(60, w.finding("INC-1", Finding::What::updated, 60, Incident::Severity::critical));
  w.at(120, w.finding("INC-1", Finding::What::updated, 120, Incident::Severity::info));  // no fall
  w.until(400);
  w.resolves("INC-1", 400);
  w.until(700);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "new_alerts", "notice"},
                           {630, "hook", "all_resolved", "resolved"}});
  CHECK(World::statuses(w.notices[1]) == std::multiset<std::string>{"firing"});
  CHECK(World::statuses(w.notices[2]) == std::multiset<std::string>{"resolved"});
  CHECK(w.notices[1].text.find("critical") != std::string::npos);
}

TEST_CASE(
    "a rise in severity that goes to another receiver leaves the first one informed of the end") {
  RouteSpec r = route("hook");
  r.routes = {route("pager", "severity=\"critical\"")};
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.at(60, w.finding("INC-1", Finding::What::updated, 60, Incident::Severity::critical));
  w.until(15'000);  // the repeat of the first is held: the second tells it better
  w.resolves("INC-1", 15'000);
  w.until(15'400);
  Story at_pager, at_hook;
  for (const Told& t : w.story()) (t.receiver == "hook" ? at_hook : at_pager).push_back(t);
  CHECK(at_hook == Story{{30, "hook", "first_notification", "notice"},
                         {15'030, "hook", "all_resolved", "resolved"}});
  CHECK(at_pager == Story{{90, "pager", "first_notification", "notice"},
                          {14'490, "pager", "repeat_elapsed", "notice"},
                          {15'090, "pager", "all_resolved", "resolved"}});
  const Memory m = parse_memory(w.memory).value();
  CHECK((m.alerts.empty() && m.groups.empty()));
}

TEST_CASE("an ack holds repeats, never news, until it runs out") {
  RouteSpec r = route("hook");
  r.repeat_interval = 5min;
  World w;
  w.settings = settings_for(r);
  w.settings.receivers[0].integrations.push_back({"webhook", "webhook:machine", true, 0, true});
  w.opens("INC-1", 0);
  w.at(40, PersonActed{PersonActed::What::ack, "INC-1", "ada", start + Duration(1000s)});
  w.until(1000);
  const auto told = [&w](std::string_view target) {
    std::vector<std::int64_t> out;
    for (const Notice& n : w.notices) {
      if (n.target == target) out.push_back((n.at - start) / 1s);
    }
    return out;
  };
  using T = std::vector<std::int64_t>;
  CHECK(told("webhook:1") == T{30});
  CHECK(told("webhook:machine") == T{30, 330, 630, 930});
  CHECK(w.decided(Reason::acked, "INC-1"));
  w.until(1300);
  CHECK(told("webhook:1") == T{30, 1230});
  CHECK(w.decided(Reason::ack_expired, "INC-1"));

  w.at(1300, PersonActed{PersonActed::What::ack, "INC-1", "ada", {}});
  w.at(1310, w.finding("INC-1", Finding::What::updated, 1310, Incident::Severity::critical));
  w.until(2500);
  CHECK(told("webhook:1") ==
        T{30, 1230, 1530, 1830, 2130, 2430});  // worse than what was acknowledged
}

TEST_CASE("an ack that comes before the first notice holds it not") {
  World w;
  w.opens("INC-1", 0);
  w.at(10, PersonActed{PersonActed::What::ack, "INC-1", "ada", {}});
  w.until(20'000);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"}});
  w.at(20'000, PersonActed{PersonActed::What::unack, "INC-1", "ada", {}});
  w.until(20'300);
  CHECK(w.story().back() == Told{20'130, "hook", "repeat_elapsed", "notice"});  // 30 + 67 * 300
}

TEST_CASE("what a person resolved stays quiet until it is news") {
  World w;
  w.opens("INC-1", 0);
  w.at(60, PersonActed{PersonActed::What::resolve, "INC-1", "ada", {}});
  w.at(100, w.finding("INC-1", Finding::What::updated, 100));
  w.until(400);
  w.at(400, w.finding("INC-1", Finding::What::attached, 400));
  w.until(5000);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "all_resolved", "resolved"}});
  w.at(5000, w.finding("INC-1", Finding::What::updated, 5000, Incident::Severity::critical));
  w.until(5030);
  CHECK(w.notices.size() == 3);
  w.at(5040, PersonActed{PersonActed::What::ack, "INC-9", "ada", {}});
  CHECK(w.decided(Reason::unknown_incident, "INC-9"));
}

TEST_CASE("send_resolved false hears of beginnings only, and of each") {
  World w;
  w.settings.receivers[0].integrations[0].send_resolved = false;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 60);
  w.reopens("INC-1", 400);
  w.until(430);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {430, "hook", "first_notification", "notice"}});
  CHECK(w.decided(Reason::resolved_not_sent, "INC-1"));
}

TEST_CASE("the end of what never arrived is not told") {
  World w;
  w.delivering = false;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 60);
  w.until(1000);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"}});
  CHECK(w.decided(Reason::dead, "INC-1"));
}

TEST_CASE("whoever heard the beginning is told the end, though a notice in between was lost") {
  World w;
  w.opens("INC-1", 0);
  w.until(1000);
  w.delivering = false;
  w.until(15'000);  // the repeat of 14430 is given up
  w.delivering = true;
  w.resolves("INC-1", 15'000);
  w.until(16'000);
  CHECK(w.story().back() == Told{15'030, "hook", "all_resolved", "resolved"});
}

TEST_CASE("a step done again after a crash gives the same bytes and keys") {
  World w;
  w.opens("INC-1", 0);
  w.until(29);
  const Memory before = parse_memory(w.memory).value();
  const Step once = step(before, {}, start + Duration(30s), w.settings);
  const Step twice = step(before, {}, start + Duration(30s), w.settings);
  // Found dead before its commit, done again a little later: another time, the same notice.
  const Step later = step(before, {}, start + Duration(34s), w.settings);
  REQUIRE(once.notices.size() == 1);
  CHECK(once.notices == twice.notices);
  CHECK(to_json(once.memory) == to_json(twice.memory));
  CHECK(later.notices.at(0).key == once.notices[0].key);
  // Committed, and nothing else happened: the notice is not decided a second time.
  CHECK(step(once.memory, {}, start + Duration(34s), w.settings).notices.empty());
  CHECK(step(once.memory, {}, start + Duration(330s), w.settings).notices.empty());
}

TEST_CASE("a restart with the same config sends nothing, and a reload repeats nothing") {
  World w;
  w.opens("INC-1", 0);
  w.until(40);
  w.step_now({});
  CHECK(w.deadline == start + Duration(330s));
  w.settings.config_hash = "two";
  w.at(60, DeadlineReached{});
  CHECK(w.decided(Reason::config_changed));
  CHECK(w.deadline == start + Duration(360s));  // flushed at the reload, as the alert is old
  w.opens("INC-2", 70);
  w.at(80, ConfigLoaded{});
  CHECK(w.notices.size() == 1);
  w.until(110);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {110, "hook", "first_notification", "notice"}});
  // Other groups mean another key: who is concerned is told once under it.
  RouteSpec r = route("hook");
  r.group_by = {"team"};
  w.settings = settings_for(r);
  w.settings.config_hash = "three";
  w.at(200, DeadlineReached{});
  w.until(3000);
  CHECK(w.notices.size() == 4);
}

TEST_CASE("two routes with the same group key tell a receiver once") {
  RouteSpec r = route("hook");
  r.routes = {route("hook", "team=\"data\""), route("hook", "team=\"data\"")};
  r.routes[0].continues = true;
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.until(30);
  CHECK(w.notices.size() == 1);
}

TEST_CASE("a silence stops the beginning and not the end") {
  World w;
  w.opens("INC-1", 0);
  w.until(40);
  Silence s{"s1",  parse_matchers("team=data").value().list,
            start, start + Duration(10'000s),
            "ada", "known"};
  w.at(60, SilenceSet{s});
  w.opens("INC-2", 61);
  w.resolves("INC-1", 90);
  w.until(400);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "all_resolved", "resolved"}});
  CHECK(w.decided(Reason::silenced, "INC-2"));
  w.at(500, SilenceExpired{"s1"});
  w.until(800);
  CHECK(w.story().back() ==
        Told{691, "hook", "first_notification", "notice"});  // its tick: 61 + 30 + 2 * 300
}

TEST_CASE("a firing source mutes its target, and not what matches both sides") {
  World w;
  InhibitRule rule;
  rule.source = parse_matchers("severity=critical").value().list;
  rule.target = parse_matchers("severity=~\"warning|critical\"").value().list;
  rule.equal = {"team", "cluster"};
  w.settings.inhibit_rules = {rule};
  w.until(0);
  w.step_now({w.finding("INC-1", Finding::What::opened, 0),
              w.finding("INC-2", Finding::What::opened, 0, Incident::Severity::critical),
              w.finding("INC-3", Finding::What::opened, 0, Incident::Severity::critical)});
  w.until(40);
  REQUIRE(w.notices.size() == 2);
  CHECK((w.notices[0].incident == "INC-2" && w.notices[1].incident == "INC-3"));
  CHECK(w.decided(Reason::inhibited, "INC-1"));
  w.resolves("INC-2", 50);
  w.resolves("INC-3", 50);
  w.until(330);
  CHECK(w.notices.size() == 5);
  const auto told = std::find_if(w.notices.begin(), w.notices.end(),
                                 [](const Notice& n) { return n.incident == "INC-1"; });
  REQUIRE(told != w.notices.end());
  CHECK(told->at == start + Duration(330s));
}

TEST_CASE("a muted route holds beginnings and ends until the interval is over") {
  RouteSpec r = route("hook");
  r.routes = {route("", "team=data")};
  r.routes[0].receiver.reset();
  r.routes[0].mute_time_intervals = {"noon"};
  World w;
  w.settings = settings_for(r);
  TimeInterval noon{"noon", {{}}};
  noon.windows[0].minutes = {
      {11 * 60 + 10, 11 * 60 + 20}};  // the stories start at 11:06:40Z: seconds 200 to 800
  w.settings.intervals = {noon};
  w.opens("INC-1", 0);
  w.opens("INC-2", 250);
  w.resolves("INC-1", 260);
  w.until(799);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"}});
  w.until(2000);
  // Ticks of INC-1: 330, 630, 930. Of INC-2: 280, 580, 880.
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {880, "hook", "first_notification", "notice"},
                           {930, "hook", "all_resolved", "resolved"}});
  CHECK(w.decided(Reason::muted_interval, "INC-1"));
  r.routes[0].mute_time_intervals.clear();
  r.routes[0].active_time_intervals = {"noon"};
  World other;
  other.settings = settings_for(r);
  other.settings.intervals = {noon};
  other.opens("INC-1", 0);
  other.until(400);
  CHECK(other.story() == Story{{330, "hook", "first_notification", "notice"}});
  CHECK(other.decided(Reason::outside_active_interval, "INC-1"));
}

TEST_CASE("a receiver without integrations and a router that is full say so") {
  World w;
  w.settings = settings_for(route("none"));
  w.opens("INC-1", 0);
  w.until(30);
  CHECK(w.decided(Reason::receiver_empty, "INC-1"));
  w.settings.alerts_max = 1;
  w.opens("INC-2", 40);
  CHECK(w.decided(Reason::limit_reached, "INC-2"));
}

TEST_CASE("without a config what pages is a line of the log, at once") {
  World w;
  w.settings = default_settings();
  w.opens("INC-1", 0);
  REQUIRE(w.notices.size() == 1);
  CHECK(w.notices[0].channel == "log");
  CHECK(w.notices[0].at == start);
}

TEST_CASE("what is over and old is forgotten") {
  World w;
  w.opens("INC-1", 0);
  w.resolves("INC-1", 60);
  w.until(6 * 86'400);
  w.step_now({});
  const Memory m = parse_memory(w.memory).value();
  CHECK((m.incidents.empty() && m.entries.empty() && m.alerts.empty()));
}

TEST_CASE("alerts that share a group are told together, and their ends too") {
  // Three alerts of no incident in one group, as other senders' alerts will be.
  Memory m;
  m.config_hash = "one";
  Group g;
  g.key = "{}:{}";
  g.deadline = start + Duration(30s);
  const auto put = [&](std::string value, std::optional<Timestamp> ends) {
    Alert a;
    a.labels = {{"a", std::move(value)}};
    a.fingerprint = fingerprint(a.labels);
    a.starts_at = start;
    a.ends_at = ends;
    const std::string id = identity(a.labels);
    g.alerts.insert(id);
    m.alerts[id] = std::move(a);
  };
  put("1", start + Duration(60s));
  put("2", start + Duration(400s));
  put("3", start + Duration(10s));  // over before anybody was told: no part of any notice
  m.groups[{0, ""}] = g;
  World w;
  w.memory = to_json(m);
  w.step_now({});
  w.until(1000);
  CHECK(w.story() == Story{{30, "hook", "first_notification", "notice"},
                           {330, "hook", "some_resolved", "notice"},
                           {630, "hook", "all_resolved", "resolved"}});
  CHECK(World::statuses(w.notices[0]) == std::multiset<std::string>{"firing", "firing"});
  CHECK(World::statuses(w.notices[1]) == std::multiset<std::string>{"firing", "resolved"});
  CHECK(World::statuses(w.notices[2]) == std::multiset<std::string>{"resolved"});
}

TEST_CASE("one life of an incident leaves its reasons behind") {
  RouteSpec r = route("hook");
  r.routes = {route("pager", "severity=critical")};
  World w;
  w.settings = settings_for(r);
  w.opens("INC-1", 0);
  w.until(700);
  for (const Reason reason :
       {Reason::routed_default, Reason::group_by_forced, Reason::waiting_group, Reason::flushed,
        Reason::sent, Reason::unchanged})
    CHECK(w.decided(reason, "INC-1"));
  w.at(700, w.finding("INC-1", Finding::What::updated, 700, Incident::Severity::critical));
  w.at(800, PersonActed{PersonActed::What::resolve, "INC-1", "ada", {}});
  w.until(1500);
  w.reopens("INC-1", 1500);
  w.resolves("INC-1", 1600);
  w.at(1600, w.finding("INC-2", Finding::What::opened, 1600));
  w.at(1700, w.finding("INC-2", Finding::What::merged, 1700));
  for (const Reason reason :
       {Reason::matched_route, Reason::severity_rose, Reason::resolved_by_person, Reason::reopened,
        Reason::resolved_explicit})
    CHECK(w.decided(reason, "INC-1"));
  CHECK(w.decided(Reason::superseded));
  CHECK(w.decided(Reason::merged, "INC-2"));
}

TEST_CASE("memory that is not ours is refused") {
  CHECK_FALSE(parse_memory(""));
  CHECK_FALSE(parse_memory("{}"));
  CHECK(parse_memory(R"({"version":2})").error().what.find("version 2") != std::string::npos);
  World w;
  w.opens("INC-1", 0);
  std::string torn = w.memory;
  const auto at = torn.find("\"alerts\":{");
  REQUIRE(at != torn.npos);
  const auto end = torn.find("},\"incidents\"");
  torn.replace(at, end - at, "\"alerts\":{");
  CHECK(parse_memory(torn).error().what.find("not there") != std::string::npos);
}

TEST_CASE("each reason has its own word and a sentence for people") {
  std::set<std::string_view> words;
  for (std::size_t i = 0; i < reasons_count; ++i) {
    const auto reason = static_cast<Reason>(i);
    CHECK_FALSE(to_word(reason).empty());
    CHECK(sentence(reason).ends_with('.'));
    CHECK(reason_of(to_word(reason)) == reason);
    words.insert(to_word(reason));
  }
  CHECK(words.size() == reasons_count);
}
