#include "app/config.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "router/labels.hpp"
#include "schema/duration.hpp"

using namespace muster;
using namespace muster::app;
using namespace std::chrono_literals;

namespace {

const std::string examples = std::string(MUSTER_SOURCE_DIR) + "/examples/";

std::string faults(std::string_view yaml) {
  const auto config = parse_config(yaml, "m.yaml");
  return config ? "" : config.error().what;
}
Config good(std::string_view yaml) {
  auto config = parse_config(yaml, "m.yaml");
  INFO((config ? "" : config.error().what));
  REQUIRE(config);
  return std::move(*config);
}
std::vector<std::string> receivers(const Config& config, Labels labels) {
  std::vector<std::string> out;
  for (const auto i : router::match(config.router.routes, router::canonical(std::move(labels))))
    out.push_back(config.router.routes[i].receiver);
  return out;
}

constexpr std::string_view minimal = R"(
route: {receiver: a}
receivers:
  - name: a
    webhook_configs: [{url: 'http://127.0.0.1:1/'}]
)";

}  // namespace

TEST_CASE("durations are Prometheus's words") {
  CHECK(parse_duration("5m").value() == Duration(5min));
  CHECK(parse_duration("1h30m").value() == Duration(90min));
  CHECK(parse_duration("1y2w3d4h5m6s7ms").value() ==
        Duration(365 * 24h + 14 * 24h + 72h + 4h + 5min + 6s + 7ms));
  CHECK(parse_duration("0s").value() == Duration(0));
  CHECK(parse_duration("0").value() == Duration(0));
  // Refused by Alertmanager too.
  for (const auto* text :
       {"1.5h", "30", "30m1h", "-1s", "", "s", "1m1m", "5 m", "99999999999y", "+1s"})
    CHECK_FALSE(parse_duration(text));
}

TEST_CASE("the examples load") {
  const auto own = load_config(examples + "muster.yaml");
  INFO((own ? "" : own.error().what));
  REQUIRE(own);
  CHECK(own->warnings.empty());
  CHECK(own->router.external_url == "https://muster.example.org");
  CHECK(own->storage.life.retention.raw == Duration(30 * 24h));
  CHECK(own->aggregator.limits.size() == 2);
  CHECK(own->channels.webhooks.at(0).url.file == examples + "secrets/on-call-url");
  using R = std::vector<std::string>;
  CHECK(receivers(*own, {{"team", "data-platform"}, {"severity", "critical"}}) ==
        R{"data-platform"});
  CHECK(receivers(*own, {{"team", "data-platform"}, {"severity", "warning"}}) ==
        R{"data-platform", "on-call"});
  CHECK(receivers(*own, {{"severity", "critical"}}) == R{"on-call"});

  const auto pasted = load_config(examples + "alertmanager-style.yaml");
  INFO((pasted ? "" : pasted.error().what));
  REQUIRE(pasted);
  CHECK(pasted->warnings.empty());
  CHECK(receivers(*pasted, {{"team", "data"}, {"severity", "critical"}}) == R{"pager", "data"});
  CHECK(receivers(*pasted, {{"team", "database"}}) == R{"default"});
  CHECK(pasted->channels.webhooks.at(0).username == "muster");
  CHECK(pasted->router.receivers.at(2).integrations.at(0).max_alerts == 20);
}

TEST_CASE("an empty file is a log, and so is none") {
  for (const Config& config : {good(""), good("{}"), Config{}}) {
    REQUIRE(config.router.routes.size() == 1);
    REQUIRE(config.router.receivers.size() == 1);
    CHECK(config.router.receivers[0].integrations.at(0).channel == "log");
    REQUIRE(config.channels.logs.size() == 1);
    CHECK(config.channels.logs[0].target == config.router.receivers[0].integrations[0].target);
  }
}

TEST_CASE("every fault is told at once, with line, column and remedy") {
  const std::string all = faults(R"(budjet: {pages_per_week: 1}
route:
  reciever: on-call
  receiver: on-cal
  group_wait: 1.5h
  group_by: [a, a]
receivers:
  - name: on-call
    webhook_configs:
      - url: ftp://x
        max_alerts: many
    email_configs: [{to: a@b}]
  - name: on-call
collector:
  future_max_seconds: -1
)");
  CHECK(all.find("m.yaml:1:1: unknown key 'budjet' in the config; did you mean 'budget'?") !=
        all.npos);
  CHECK(all.find("m.yaml:3:3: unknown key 'reciever' in route; did you mean 'receiver'?") !=
        all.npos);
  CHECK(all.find("m.yaml:4:13: there is no receiver 'on-cal'; did you mean 'on-call'?") !=
        all.npos);
  CHECK(all.find("m.yaml:5:15: group_wait: '1.5h' is no duration") != all.npos);
  CHECK(all.find("m.yaml:6:13: route.group_by: names a label twice") != all.npos);
  CHECK(all.find("m.yaml:10:14: the URL cannot be sent to") != all.npos);
  CHECK(all.find("m.yaml:11:21: max_alerts has to be a whole number from 0 to 1000000") !=
        all.npos);
  CHECK(
      all.find(
          "m.yaml:12:5: not supported: email_configs; there is webhook_configs and log_configs") !=
      all.npos);
  CHECK(all.find("m.yaml:13:11: there is a receiver 'on-call' already") != all.npos);
  CHECK(all.find("m.yaml:15:23: future_max_seconds has to be a number from 0") != all.npos);
  CHECK(std::count(all.begin(), all.end(), '\n') == 9);
}

TEST_CASE("what Alertmanager refuses is refused") {
  const auto with = [](std::string_view route) {
    return faults("receivers: [{name: a}]\nroute:\n  receiver: a\n" + std::string(route));
  };
  CHECK(with("").empty());
  CHECK(with("  matchers: ['a=b']\n").find("the root takes every alert") != std::string::npos);
  CHECK(with("  continue: true\n").find("no sibling") != std::string::npos);
  CHECK(with("  group_interval: 0s\n")
            .find("m.yaml:4:19: route.group_interval: must be more than 0") != std::string::npos);
  CHECK(with("  repeat_interval: 0s\n").find("more than 0") != std::string::npos);
  CHECK(with("  group_wait: 0s\n").empty());
  CHECK(with("  group_by: ['...', a]\n").find("keep one of the two") != std::string::npos);
  CHECK(with("  group_by: a\n").find("m.yaml:4:13: group_by has to be a list") !=
        std::string::npos);
  CHECK(with("  routes: [{matchers: 'a=b'}]\n").find("matchers has to be a list") !=
        std::string::npos);
  CHECK(with("  routes: [{matchers: ['a=~\"(\"']}]\n").find("regular expression") !=
        std::string::npos);
  CHECK(with("  routes: [{match_re: {a: '('}}]\n").find("regular expression") != std::string::npos);
  CHECK(with("  routes: [null]\n").find("routes has an empty entry") != std::string::npos);
  CHECK(with("  routes: [{mute_time_intervals: [night]}]\n").find("no time interval 'night'") !=
        std::string::npos);
  CHECK(with("  group_wait: 1s\n  group_wait: 2s\n")
            .find("m.yaml:5:3: 'group_wait' stands twice, first in line 4") != std::string::npos);
  CHECK(faults("receivers: [{name: a}]").find("route: {receiver: a}") != std::string::npos);
  CHECK(faults("route: {}").find("the root needs a receiver") != std::string::npos);
  CHECK(faults("route: {receiver: a}").find("add it to `receivers`") != std::string::npos);
  CHECK(faults("[1, 2]").find("has to be a mapping") != std::string::npos);
  CHECK(faults("a: [1,\nb: }").find("m.yaml:2:4: this is not YAML") != std::string::npos);
  CHECK(faults("route: &r {receiver: a, routes: [*r]}\nreceivers: [{name: a}]")
            .find("deeper than 32") != std::string::npos);
}

TEST_CASE("matchers in any of their three spellings, and a warning where grammars differ") {
  const Config config = good(R"(
receivers: [{name: a}, {name: b}, {name: c}]
route:
  receiver: a
  routes:
    - {matchers: ['x="1", y=~"2|3"', 'z!=4'], receiver: b}
    - {match: {x: 5}, match_re: {y: "6.*"}, receiver: c}
    - {matchers: ['x=a b'], receiver: c}
)");
  using R = std::vector<std::string>;
  CHECK(receivers(config, {{"x", "1"}, {"y", "3"}}) == R{"b"});
  CHECK(receivers(config, {{"x", "1"}, {"y", "3"}, {"z", "4"}}) == R{"a"});
  CHECK(receivers(config, {{"x", "5"}, {"y", "67"}}) == R{"c"});
  CHECK(receivers(config, {{"x", "a b"}}) == R{"c"});
  REQUIRE(config.warnings.size() == 1);
  CHECK(config.warnings[0].find("m.yaml:8:") == 0);
}

TEST_CASE("what loads and has no effect is warned about") {
  const Config config = good(std::string(minimal) +
                             "templates: ['*.tmpl']\nglobal: {smtp_from: a@b}\n"
                             "inhibit_rules: [{}]\n");
  REQUIRE(config.warnings.size() == 3);
}

TEST_CASE("who may be told how: http_config of a receiver or of all") {
  const Config config = good(R"(
global:
  http_config: {bearer_token: t0}
route: {receiver: a}
receivers:
  - name: a
    webhook_configs:
      - url: http://h/1
      - url: http://h/1
      - url: http://h/2
        http_config:
          authorization: {type: Token, credentials_file: /s/t}
          tls_config: {ca_file: ca.pem}
          http_headers: {X-A: {values: [b]}}
)");
  const auto& hooks = config.channels.webhooks;
  REQUIRE(hooks.size() == 3);
  CHECK(hooks[0].credentials.value == "t0");
  CHECK(hooks[2].credentials.file == "/s/t");
  CHECK(hooks[2].authorization_type == "Token");
  CHECK(hooks[2].ca_file == "ca.pem");  // the file has no folder of its own in this test
  CHECK(hooks[2].headers.at(0) == std::pair<std::string, std::string>{"X-A", "b"});
  CHECK(hooks[0].target != hooks[1].target);
  CHECK(hooks[1].target != hooks[2].target);
  CHECK(hooks[0].target.find("h/1") == std::string::npos);  // a URL is often a secret

  const auto http = [](std::string_view text) {
    return faults(
        "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'http://h', "
        "http_config: " +
        std::string(text) + "}]}]");
  };
  CHECK(http("{bearer_token: a, basic_auth: {username: b}}").find("keep one") != std::string::npos);
  CHECK(http("{bearer_token: a, bearer_token_file: b}").find("keep one of the two") !=
        std::string::npos);
  CHECK(http("{tls_config: {insecure_skip_verify: true}}").find("always checked") !=
        std::string::npos);
  CHECK(http("{proxy_url: 'http://p'}").find("not supported: proxy_url") != std::string::npos);
  CHECK(http("{oauth2: {}}").find("not supported: oauth2") != std::string::npos);
  CHECK(faults("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{}]}]")
            .find("needs url or url_file") != std::string::npos);
}

TEST_CASE(
    "reordering receivers' integrations keeps who they are, and what is not routing keeps groups") {
  const auto targets = [](const Config& c) {
    std::set<std::string> out;
    for (const auto& i : c.router.receivers.at(0).integrations) out.insert(i.target);
    return out;
  };
  const auto with = [](std::string_view hooks, std::string_view more = "") {
    return good("route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [" +
                std::string(hooks) + "]}]\n" + std::string(more));
  };
  const Config one = with("{url: 'http://h/1'}, {url: 'http://h/2'}");
  const Config other = with("{url: 'http://h/2'}, {url: 'http://h/1'}");
  CHECK(targets(one) == targets(other));
  CHECK(one.router.config_hash ==
        with("{url: 'http://h/1'}, {url: 'http://h/2'}", "budget: {pages_per_week: 2}")
            .router.config_hash);
  CHECK(one.router.config_hash != with("{url: 'http://h/1'}").router.config_hash);
}

TEST_CASE("time intervals are read by Alertmanager's rules") {
  const auto window = [](std::string_view text) {
    return "time_intervals: [{name: t, time_intervals: [" + std::string(text) + "]}]";
  };
  for (const auto* text :
       {"{}", "{times: []}", "{times: [{start_time: '00:00', end_time: '24:00'}]}",
        "{weekdays: ['Monday:friday', SUNDAY]}", "{months: ['january:3', 12]}",
        "{days_of_month: ['1:5', '-3:-1', '25:-1', '31']}", "{years: [2026, '2027:2030']}",
        "{location: Europe/Berlin}", "{location: UTC}", "{location: Local}"}) {
    INFO(text);
    CHECK(faults(window(text)).empty());
  }
  for (const auto* text :
       {"{times: [{start_time: '22:00', end_time: '06:00'}]}",
        "{times: [{start_time: '9:00', end_time: '10:00'}]}",
        "{times: [{start_time: '09:00', end_time: '24:01'}]}", "{weekdays: ['saturday:monday']}",
        "{weekdays: [mon]}", "{months: ['december:january']}", "{months: [13]}", "{months: [0]}",
        "{days_of_month: ['-1:5']}", "{days_of_month: ['-31:5']}", "{days_of_month: ['25:-10']}",
        "{days_of_month: [0]}", "{days_of_month: ['32']}", "{location: Mars/Base}",
        "{wekdays: [monday]}"}) {
    INFO(text);
    CHECK_FALSE(faults(window(text)).empty());
  }
}

TEST_CASE("a place's wall clock is followed into the coming decades") {
  const Config config = good(
      "time_intervals: [{name: t, time_intervals: [{times: [{start_time: '09:00', end_time: "
      "'17:00'}], location: "
      "Europe/Berlin}]}]");
  const router::TimeInterval& office = config.router.intervals.at(0);
  // date -u -d '2026-03-29 07:00' +%s and the like; 2040 has summer time on the first of July.
  CHECK(office.contains(from_seconds(1'774'767'600)));  // 2026-03-29 07:00Z, 09:00 in summer time
  CHECK_FALSE(office.contains(from_seconds(1'774'767'540)));  // a minute before
  CHECK_FALSE(
      office.contains(from_seconds(1'792'911'600)));    // 2026-10-25 07:00Z, 08:00 in winter time
  CHECK(office.contains(from_seconds(1'792'915'200)));  // 2026-10-25 08:00Z
  CHECK(office.contains(from_seconds(2'224'738'800)));  // 2040-07-01 07:00Z
  CHECK_FALSE(office.contains(from_seconds(2'224'767'600)));  // 2040-07-01 15:00Z
}

TEST_CASE("muster's own parts") {
  const Config config = good(R"(
budget: {pages_per_week: 0.5}
collector: {listen: '0.0.0.0:80', behind_proxy: true, lateness_seconds: 90, queue_bytes_max: 1048576}
storage: {control_dsn: 'dbname=x', data_dsns: ['dbname=y'], shards: 2, retention: 2w}
aggregator: {warmup_days: 7, tick_seconds: 60, workers: 2, limits: [{metric: psi, above: 0.2, below: 0}]}
web: {external_url: 'https://m.example/x/'}
access: {}
)");
  CHECK(config.budget.pages_per_week == .5);
  CHECK(config.collector.lateness == Duration(90s));
  CHECK(config.storage.life.retention.raw == Duration(14 * 24h));
  CHECK(config.storage.life.retention.minute == Duration(30 * 24h));  // as ever, since it is longer
  CHECK(config.aggregator.tick == Duration(60s));
  CHECK(config.aggregator.limits.at(0).below == 0.);
  CHECK(config.router.external_url == "https://m.example/x");
  CHECK_FALSE(faults("collector: {listen: 9797}").empty());
  CHECK_FALSE(faults("collector: {listen: 'a:99999'}").empty());
  CHECK_FALSE(faults("storage: {data_dsns: [x]}").empty());
  CHECK_FALSE(faults("storage: {control_dsn: 'dbname=x', data_dsns: ['dbname=y', 'dbname=z'], shards: 2}").empty());
  CHECK_FALSE(faults("storage: {shards: 257}").empty());
  CHECK_FALSE(faults("storage: {control_dsn: x, control_dsn_file: y}").empty());
  CHECK_FALSE(faults("aggregator: {limits: [{metric: x}]}").empty());
  CHECK_FALSE(faults("budget: {pages_per_week: .nan}").empty());
  CHECK_FALSE(faults("web: {external_url: 'muster'}").empty());
  CHECK_FALSE(faults("access: {tokens: []}").empty());
  CHECK_FALSE(load_config("/nonexistent/m.yaml"));
}

TEST_CASE("scrape_configs and global mean what they mean to Prometheus") {
  const Config config = good(R"(
global:
  scrape_interval: 15s
  external_labels: {cluster: eu, replica: a}
scrape_configs:
  - job_name: models
    static_configs:
      - targets: ['a:1', 'b:2']
        labels: {team: data}
  - job_name: all
    scrape_interval: 1m
    scrape_timeout: 30s
    metrics_path: /m
    scheme: https
    params: {module: [x, y]}
    honor_labels: true
    honor_timestamps: false
    enable_compression: false
    scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
    fallback_scrape_protocol: PrometheusText0.0.4
    body_size_limit: 10MB
    sample_limit: 1000
    label_limit: 30
    label_name_length_limit: 100
    label_value_length_limit: 200
    target_limit: 5
    authorization: {credentials_file: token}
    tls_config: {ca_file: ca.pem, insecure_skip_verify: true}
    http_headers: {X-Scope: {values: [one]}}
    file_sd_configs: [{files: ['targets/*.json', '/etc/x.yml'], refresh_interval: 1m}]
    dns_sd_configs: [{names: [a.example.org], type: A, port: 9100}, {names: [_m._tcp.example.org]}]
    http_sd_configs: [{url: 'http://127.0.0.1:1/list', basic_auth: {username: u, password: p}}]
    relabel_configs:
      - {source_labels: [__address__], regex: '(.*):\d+', target_label: host}
      - {action: labeldrop, regex: tmp_.*}
    metric_relabel_configs:
      - {source_labels: [__name__], regex: go_.*, action: Drop}
)");
  CHECK(config.warnings.empty());
  CHECK(config.scrape.external_labels == Labels{{"cluster", "eu"}, {"replica", "a"}});
  REQUIRE(config.scrape.jobs.size() == 2);
  const scrape::Job& first = config.scrape.jobs[0];
  CHECK(first.name == "models");
  CHECK(first.interval == Duration(15s));
  CHECK(first.timeout == Duration(10s));
  CHECK(first.metrics_path == "/metrics");
  CHECK(first.static_groups.at(0).targets == std::vector<std::string>{"a:1", "b:2"});
  CHECK(first.static_groups.at(0).labels == Labels{{"team", "data"}});
  const scrape::Job& all = config.scrape.jobs[1];
  CHECK(all.interval == Duration(1min));
  CHECK(all.timeout == Duration(30s));
  CHECK(all.metrics_path == "/m");
  CHECK(all.scheme == "https");
  CHECK(all.params.at(0).second == std::vector<std::string>{"x", "y"});
  CHECK(all.honor_labels);
  CHECK_FALSE(all.honor_timestamps);
  CHECK_FALSE(all.enable_compression);
  CHECK(all.accept == "text/plain;version=0.0.4;q=0.9,*/*;q=0.1");
  CHECK(all.fallback);
  CHECK(all.body_size_limit == 10u << 20);
  CHECK(all.sample_limit == 1000);
  CHECK(all.label_limit == 30);
  CHECK(all.label_name_length_limit == 100);
  CHECK(all.label_value_length_limit == 200);
  CHECK(all.target_limit == 5);
  CHECK(all.http.credentials.file == "token");  // m.yaml has no folder
  CHECK(all.http.ca_file == "ca.pem");
  CHECK(all.http.insecure_skip_verify);
  CHECK(all.http.headers.at(0).second == "one");
  CHECK(all.file_discoveries.at(0).files.at(1) == "/etc/x.yml");
  CHECK(all.file_discoveries.at(0).refresh_interval == Duration(1min));
  CHECK(all.dns_discoveries.at(0).port == 9100);
  CHECK(all.dns_discoveries.at(1).type == scrape::DnsDiscovery::Type::srv);
  CHECK(all.http_discoveries.at(0).http.password.value == "p");
  CHECK(all.relabel.size() == 2);
  CHECK(all.metric_relabel.at(0).action == decode::RelabelRule::Action::drop);

  // A job is another one when its text or that of `global` changes, and only then.
  const auto prints = [](std::string_view yaml) {
    const Config c = good(yaml);
    return std::pair{c.scrape.jobs.at(0).fingerprint, c.scrape.jobs.at(1).fingerprint};
  };
  const auto before = prints("scrape_configs: [{job_name: a}, {job_name: b}]");
  const auto after = prints("scrape_configs: [{job_name: a}, {job_name: b, honor_labels: true}]");
  CHECK(before.first == after.first);
  CHECK(before.second != after.second);
  CHECK(prints("global: {scrape_interval: 5s}\nscrape_configs: [{job_name: a}, {job_name: b}]").first != before.first);
  // An interval shorter than the usual timeout shortens it.
  CHECK(good("scrape_configs: [{job_name: a, scrape_interval: 5s}]").scrape.jobs[0].timeout == Duration(5s));
}

TEST_CASE("what is wrong with scrape_configs is said with its line and the remedy") {
  struct Case {
    const char* yaml;
    const char* said;
  };
  for (const Case& one : {
           Case{"scrape_configs:\n  - {static_configs: []}\n", "m.yaml:2:5: an entry of scrape_configs needs a job_name"},
           Case{"scrape_configs: [{job_name: a}, {job_name: a}]", "there is a job 'a' already"},
           Case{"scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]",
                "not supported: kubernetes_sd_configs; use file_sd_configs or http_sd_configs"},
           Case{"scrape_configs: [{job_name: a, scrape_intervall: 5s}]", "did you mean 'scrape_interval'?"},
           Case{"scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}]", "at most scrape_interval, which is 5s"},
           Case{"scrape_configs: [{job_name: a, scrape_interval: 0s}]", "scrape_interval has to be above 0"},
           Case{"global: {scrape_interval: 5s, scrape_timeout: 10s}", "at most scrape_interval"},
           Case{"global: {external_labels: {a-b: c}}", "'a-b' is no label name"},
           Case{"scrape_configs: [{job_name: a, metrics_path: m}]", "metrics_path has to begin with /"},
           Case{"scrape_configs: [{job_name: a, scheme: ftp}]", "scheme has to be http or https"},
           Case{"scrape_configs: [{job_name: a, static_configs: [{targets: ['http://a/x']}]}]", "the path into `metrics_path`"},
           Case{"scrape_configs: [{job_name: a, file_sd_configs: [{files: [x.txt]}]}]", "has to end in .json, .yml or .yaml"},
           Case{"scrape_configs: [{job_name: a, file_sd_configs: [{files: ['*/x.json']}]}]", "in the file's name only"},
           Case{"scrape_configs: [{job_name: a, file_sd_configs: [{}]}]", "needs `files`"},
           Case{"scrape_configs: [{job_name: a, dns_sd_configs: [{names: [x], type: A}]}]", "type A needs a port"},
           Case{"scrape_configs: [{job_name: a, dns_sd_configs: [{names: [x], type: MX}]}]", "there is SRV, A and AAAA"},
           Case{"scrape_configs: [{job_name: a, http_sd_configs: [{url: 'ftp://x'}]}]", "must begin with http"},
           Case{"scrape_configs: [{job_name: a, body_size_limit: 10XB}]", "write it like 10MB"},
           Case{"scrape_configs: [{job_name: a, scrape_protocols: [Nonsense]}]", "'Nonsense' is no protocol"},
           Case{"scrape_configs: [{job_name: a, scrape_protocols: [PrometheusProto]}]", "there has to be a text protocol"},
           Case{"scrape_configs: [{job_name: a, oauth2: {}}]", "not supported: oauth2"},
           Case{"scrape_configs: [{job_name: a, tls_config: {cert_file: x}}]", "not supported: cert_file"},
           Case{"scrape_configs: [{job_name: a, basic_auth: {username: u}, authorization: {credentials: c}}]", "keep one"},
           Case{"scrape_configs: [{job_name: a, params: {x: y}}]", "params: x has to be a list"},
           Case{"scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod, target_label: x}]}]", "needs a modulus above 0"},
           Case{"scrape_configs: [{job_name: a, relabel_configs: [{action: keepall}]}]", "'keepall' is no action; there is replace"},
           Case{"scrape_configs: [{job_name: a, relabel_configs: [{target_label: x, regex: '('}]}]", "is no regular expression"},
           Case{"scrape_config_files: [x]", "not supported: scrape_config_files"},
           Case{"scrape: {}", "unknown key 'scrape'"},
           Case{"collector: {statsd_listen: '0.0.0.0:8125'}", "StatsD asks nobody for a token"},
           Case{"collector: {statsd_flush_seconds: 0.5}", "a second is the shortest time"},
       }) {
    INFO(one.yaml);
    const std::string said = faults(one.yaml);
    INFO(said);
    CHECK(said.starts_with("m.yaml:"));
    CHECK(said.find(one.said) != std::string::npos);
  }
}

TEST_CASE("OTLP's resource attributes become the labels that the config names") {
  const Config usual = good("collector: {listen: '127.0.0.1:1'}");
  CHECK(usual.collector.otlp.promote == decode::OtlpRules::default_promotions());
  CHECK(usual.collector.otlp.target_info);
  const Config own = good(R"(
collector:
  otlp:
    target_info: false
    scope_labels: true
    promote_resource_attributes: {k8s.pod.name: pod, service.version: version}
)");
  CHECK(own.collector.otlp.promote == std::vector<decode::OtlpRules::Promotion>{
                                          {"k8s.pod.name", "pod"}, {"service.version", "version"}});
  CHECK_FALSE(own.collector.otlp.target_info);
  CHECK(own.collector.otlp.scope_labels);
  CHECK(good("collector: {otlp: {promote_resource_attributes: {}}}").collector.otlp.promote.empty());

  CHECK_THAT(faults("collector:\n  otlp:\n    promote_resource_attributes: {a: 'b.c'}"),
             Catch::Contains("m.yaml:3:") && Catch::Contains("'b.c' is no name of a label"));
  CHECK_THAT(faults("collector: {otlp: {promote_resource_attributes: {a: __name__}}}"),
             Catch::Contains("no name of a label"));
  CHECK_THAT(faults("collector: {otlp: {promote_resource_attributes: {a: job}}}"),
             Catch::Contains("service.name"));
  CHECK_THAT(faults("collector: {otlp: {promote_resource_attributes: {a: b, a: c}}}"),
             Catch::Contains("twice"));
  CHECK_THAT(faults("collector: {otlp: {promote_resource_attributes: [a]}}"),
             Catch::Contains("has to be a mapping"));
  CHECK_THAT(faults("collector: {otlp: {target_infos: true}}"), Catch::Contains("target_info"));
  std::string many = "collector: {otlp: {promote_resource_attributes: {";
  for (int i = 0; i < 33; ++i) many += "a" + std::to_string(i) + ": l" + std::to_string(i) + ", ";
  CHECK_THAT(faults(many + "}}}"), Catch::Contains("more than 32"));
}

TEST_CASE("mapping rules stand before the built-in ones") {
  const Config config = good(R"(mapping:
  rules:
    - name: seldon
      match: 'rq_total{deployment_name!=""}'
      model: '${deployment_name}/${model_name}'
      version: '${model_version}'
      environment: staging
      kind: counter
      direction: up
      unit: ms
      uses: {source: '${src}'}
      drop_labels: [pod]
    - match: '{job="node"}'
      ignore: true
)");
  const std::vector<LabelView> labels = {{"__name__", "rq_total"}, {"deployment_name", "d"}, {"model_name", "m"},
                                         {"model_version", "3"},   {"pod", "p"},             {"src", "crm"}};
  const SeriesIdentity got = config.mapping.identify(labels);
  CHECK(got.model == "d/m");
  CHECK(got.metric == R"(rq_total{src="crm"})");
  CHECK(got.attributes == ModelAttributes{"3", "", "", "", "staging"});
  CHECK(got.unit == Unit::milliseconds);
  CHECK(got.direction == Direction::up);
  CHECK(got.uses == std::vector<Use>{{"crm", "source"}});
  const std::vector<LabelView> node = {{"__name__", "load1"}, {"job", "node"}};
  CHECK(config.mapping.identify(node).ignored);
  CHECK(config.mapping.rules().front().name == "seldon");
}

TEST_CASE("a mapping rule that cannot be meant is told with its line and a remedy") {
  const std::string all = faults(R"(mapping:
  rules:
    - match: '{job='
      modell: x
    - model: '$job'
    - kind: counterr
    - direction: left
    - unit: furlongs
    - uses: [a]
    - name: nothing
)");
  INFO(all);
  CHECK(all.find("m.yaml:3:14: matcher") != all.npos);
  CHECK(all.find("m.yaml:4:7: unknown key 'modell' in a mapping rule; did you mean 'model'?") != all.npos);
  CHECK(all.find("m.yaml:5:7: model: a $ begins ${LABEL}; for the sign itself write $$") != all.npos);
  CHECK(all.find("m.yaml:6:13: kind: 'counterr' is none of gauge, counter") != all.npos);
  CHECK(all.find("m.yaml:7:18: direction: 'left' is none of up") != all.npos);
  CHECK(all.find("m.yaml:8:7: unit: 'furlongs' is no unit; one of seconds") != all.npos);
  CHECK(all.find("m.yaml:9:13: uses has to be a mapping") != all.npos);
  CHECK(faults("mapping:\n  rules:\n    - name: nothing\n").find("m.yaml:3:7: this rule says nothing") !=
        std::string::npos);
}

TEST_CASE("how long history is kept, and in how many bytes") {
  const Config config = good("storage: {retention: {raw: 3d, 1m: 2d, 5m: 1w, 1h: 1y, 1d: 5y}, disk_max: 1.5TiB, compact_after: 30m}");
  const app::StorageLife& life = config.storage.life;
  CHECK(life.retention.raw == Duration(72h));
  CHECK(life.retention.minute == Duration(48h));
  CHECK(life.retention.five_minutes == Duration(168h));
  CHECK(life.retention.hour == Duration(365 * 24h));
  CHECK(life.retention.day == Duration(5 * 365 * 24h));
  CHECK(life.disk_max == 1'649'267'441'664U);  // 1.5 * 2^40
  CHECK(life.compact_after == Duration(30min));

  const app::StorageLife part = good("storage: {retention: {5m: 10d}, disk_max: 200 GB}").storage.life;
  CHECK(part.retention.raw == store::Retention().raw);
  CHECK(part.retention.five_minutes == Duration(240h));
  CHECK(part.disk_max == 200'000'000'000U);
  CHECK(!good("storage: {}").storage.life.disk_max);
  // Rollups are kept at least as long as samples when one length is given.
  CHECK(good("storage: {retention: 1y}").storage.life.retention.minute == Duration(365 * 24h));

  CHECK_FALSE(faults("storage: {retention: 5m}").empty());
  CHECK_FALSE(faults("storage: {retention: {raw: 5m}}").empty());
  CHECK_FALSE(faults("storage: {retention: {1h: 5m}}").empty());
  CHECK_FALSE(faults("storage: {retention: {2m: 5d}}").empty());
  CHECK_FALSE(faults("storage: {disk_max: 5KB}").empty());
  CHECK_FALSE(faults("storage: {disk_max: 1MB}").empty());
  CHECK_FALSE(faults("storage: {compact_after: 10s}").empty());
}
