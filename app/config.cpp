#include "app/config.hpp"

#include <absl/time/time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>

#include "app/config_mapping.hpp"
#include "app/config_otlp.hpp"
#include "app/config_scrape.hpp"
#include "app/yaml_reader.hpp"
#include "base/hash.hpp"
#include "http/client.hpp"
#include "router/labels.hpp"

namespace muster::app {
namespace {


// A config is written by hand; a larger file is another file.
constexpr std::size_t file_bytes_max = 4 << 20;
// Aliases of YAML can fold a tree into itself. Nobody reads a tree deeper or wider than this.
constexpr int route_depth_max = 32;
constexpr int routes_max = 10'000;

// What receivers there may be in an Alertmanager config, beside those we know.
constexpr std::array other_receivers{
    "email_configs",      "slack_configs",      "pagerduty_configs",  "opsgenie_configs",
    "msteams_configs",    "msteamsv2_configs",  "telegram_configs",   "discord_configs",
    "sns_configs",        "mattermost_configs", "rocketchat_configs", "webex_configs",
    "pushover_configs",   "victorops_configs",  "wechat_configs",     "jira_configs",
    "incidentio_configs", "command_configs"};

// Settings of receivers that are not there; a pasted config may have them.
constexpr std::array other_globals{"smtp_from",
                                   "smtp_smarthost",
                                   "smtp_hello",
                                   "smtp_auth_username",
                                   "smtp_auth_password",
                                   "smtp_auth_password_file",
                                   "smtp_auth_secret",
                                   "smtp_auth_secret_file",
                                   "smtp_auth_identity",
                                   "smtp_require_tls",
                                   "smtp_tls_config",
                                   "smtp_force_implicit_tls",
                                   "slack_api_url",
                                   "slack_api_url_file",
                                   "slack_app_token",
                                   "slack_app_token_file",
                                   "slack_app_url",
                                   "pagerduty_url",
                                   "opsgenie_api_url",
                                   "opsgenie_api_key",
                                   "opsgenie_api_key_file",
                                   "telegram_api_url",
                                   "telegram_bot_token",
                                   "telegram_bot_token_file",
                                   "victorops_api_url",
                                   "victorops_api_key",
                                   "victorops_api_key_file",
                                   "wechat_api_url",
                                   "wechat_api_secret",
                                   "wechat_api_secret_file",
                                   "wechat_api_corp_id",
                                   "webex_api_url",
                                   "jira_api_url",
                                   "rocketchat_api_url",
                                   "rocketchat_token",
                                   "rocketchat_token_file",
                                   "rocketchat_token_id",
                                   "rocketchat_token_id_file",
                                   "mattermost_webhook_url",
                                   "mattermost_webhook_url_file"};

struct HttpConfig {
  std::string authorization_type = "Bearer";
  channels::Secret credentials;
  std::string username;
  channels::Secret password;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string ca_file;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), problems_(path) { config_.channels = {}; }

  Result<Config> read(const YAML::Node& root) {
    {
      Section top(problems_, root, "the config");
      read_global(top);
      scrape_.read_jobs(top);
      read_intervals(top);
      read_receivers(top);
      read_inhibit_rules(top);
      read_route(top);
      read_own(top);
      if (const auto templates = top.take("templates"))
        problems_.warn(*templates,
                       "templates: nothing uses them yet; webhooks get the payload itself");
      top.not_yet("tracing", "leave it out");
      top.not_yet("event_recorder", "the decision log has what it would record; leave it out");
      for (const auto* key : {"escalation_policies", "schedules"})
        top.not_yet(key, "this version has no such part; leave it out");
    }
    if (problems_.any()) return Error{path_, problems_.text()};
    config_.warnings = problems_.warnings();
    // Groups are built anew when this changes, so it covers what they are built from and nothing else.
    if (root.IsMap() && root["route"])
      config_.router.config_hash =
          std::to_string(hash64(YAML::Dump(root["route"]) + YAML::Dump(root["receivers"])));
    return std::move(config_);
  }

 private:
  void read_global(Section& top) {
    const auto node = top.take("global");
    if (!node) return;
    Section global(problems_, *node, "global");
    global.duration("resolve_timeout", config_.resolve_timeout);
    scrape_.read_global(global);
    if (const auto http = global.take("http_config")) http_ = read_http(*http);
    for (const auto* key : other_globals)
      global.ignored(key, "no receiver of this version uses it");
  }

  void read_secret(Section& section, const std::string& key, channels::Secret& into) {
    section.text(key, into.value);
    section.text(key + "_file", into.file);
    if (!into.value.empty() && !into.file.empty())
      section.fault(key, "both " + key + " and " + key + "_file are set; keep one of the two");
    into.file = absolute(into.file);
  }

  // Paths in the file are relative to the file, as in Prometheus.
  std::string absolute(const std::string& file) const {
    const std::size_t slash = path_.rfind('/');
    if (file.empty() || file.front() == '/' || slash == std::string::npos) return file;
    return path_.substr(0, slash + 1) + file;
  }

  HttpConfig read_http(const YAML::Node& node) {
    HttpConfig out;
    Section http(problems_, node, "http_config");
    int ways = 0;
    if (const auto basic = http.take("basic_auth")) {
      ++ways;
      Section section(problems_, *basic, "basic_auth");
      section.text("username", out.username);
      read_secret(section, "password", out.password);
      section.not_yet("username_file", "write the username into the config");
      if (out.username.empty()) section.fault("basic_auth needs a username");
    }
    if (const auto authorization = http.take("authorization")) {
      ++ways;
      Section section(problems_, *authorization, "authorization");
      section.text("type", out.authorization_type);
      read_secret(section, "credentials", out.credentials);
      if (out.credentials.empty())
        section.fault("authorization needs credentials or credentials_file");
      if (out.authorization_type == "Basic") section.fault("type", "for Basic use basic_auth");
    }
    if (http.has("bearer_token") || http.has("bearer_token_file")) {
      ++ways;
      read_secret(http, "bearer_token", out.credentials);
    } else {
      http.take("bearer_token");
      http.take("bearer_token_file");
    }
    if (ways > 1)
      http.fault("http_config has several of basic_auth, authorization and bearer_token; keep one");
    if (const auto tls = http.take("tls_config")) {
      Section section(problems_, *tls, "tls_config");
      section.text("ca_file", out.ca_file);
      out.ca_file = absolute(out.ca_file);
      bool insecure = false;
      section.flag("insecure_skip_verify", insecure);
      if (insecure)
        section.fault("insecure_skip_verify",
                      "certificates are always checked; name the authority in ca_file");
      for (const auto* key : {"cert_file", "key_file", "server_name", "min_version", "max_version",
                              "ca", "cert", "key"})
        section.not_yet(key, "there is ca_file");
    }
    if (const auto headers = http.take("http_headers")) {
      if (!headers->IsMap()) {
        problems_.fault(*headers, "http_headers has to be a mapping of names to values");
      } else {
        for (const auto& pair : *headers) {
          const auto name = scalar(problems_, pair.first, "a header's name");
          Section section(problems_, pair.second, "http_headers");
          std::vector<std::string> values;
          section.texts("values", values);
          section.texts("secrets", values);
          section.not_yet("files", "use authorization with credentials_file");
          if (name && values.size() != 1)
            section.fault("a header needs one value, in `values` or `secrets`");
          for (const std::string& value : values) {
            if (value.find_first_of("\r\n") != std::string::npos)
              section.fault("a header has to stay on one line");
            if (name) out.headers.emplace_back(*name, value);
          }
        }
      }
    }
    bool ignored = true;
    http.flag("enable_http2", ignored);
    if (const auto follow = http.take("follow_redirects");
        follow && follow->IsScalar() && follow->Scalar() == "true")
      problems_.warn(
          *follow,
          "follow_redirects: redirects are not followed, so that secrets stay where they belong");
    for (const auto* key :
         {"proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header", "oauth2"})
      http.not_yet(
          key,
          "there is basic_auth, authorization, bearer_token, tls_config.ca_file and http_headers");
    return out;
  }

  // Receivers.

  void read_receivers(Section& top) {
    for (const YAML::Node& node : top.list("receivers")) {
      Section section(problems_, node, "receiver");
      router::Receiver receiver;
      section.text("name", receiver.name);
      if (receiver.name.empty()) {
        section.fault("a receiver needs a name");
      } else if (!receiver_names_.insert(receiver.name).second) {
        section.fault("name", "there is a receiver '" + receiver.name + "' already");
      }
      for (const YAML::Node& entry : section.list("webhook_configs")) read_webhook(entry, receiver);
      for (const YAML::Node& entry : section.list("log_configs")) read_log(entry, receiver);
      for (const auto* key : other_receivers)
        section.not_yet(key,
                        "there is webhook_configs and log_configs; most services take a webhook");
      for (const auto* key : {"labels", "fallback", "storm"}) section.not_yet(key, "leave it out");
      own_receivers_.push_back(std::move(receiver));
    }
  }

  // A target is known by where it is, so that another order in the file announces nothing anew. Two equal ones
  // are told apart by their order.
  std::string unique(std::string target) {
    const int n = ++targets_[target];
    if (n > 1) target += '#' + std::to_string(n);
    return target;
  }

  void read_webhook(const YAML::Node& node, router::Receiver& receiver) {
    Section section(problems_, node, "webhook_configs");
    router::Integration integration;
    integration.channel = "webhook";
    channels::WebhookSettings webhook;
    read_secret(section, "url", webhook.url);
    if (webhook.url.empty()) section.fault("a webhook needs url or url_file");
    if (!webhook.url.value.empty()) {
      if (const Result<void> usable = http::check_url(webhook.url.value); !usable)
        section.fault("url", "the URL cannot be sent to: " + usable.error().what);
    }
    section.flag("send_resolved", integration.send_resolved);
    section.whole("max_alerts", integration.max_alerts, 0, 1'000'000);
    section.flag("repeat_when_acked", integration.repeat_when_acked);
    Duration timeout = webhook.timeout;
    section.duration("timeout", timeout);
    if (timeout > Duration::zero() && timeout <= std::chrono::minutes(1)) {
      webhook.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
    } else if (timeout > Duration::zero()) {
      section.fault("timeout", "a minute is the most a receiver is waited for");
    }
    const auto own = section.take("http_config");
    const HttpConfig http = own ? read_http(*own) : http_;
    webhook.authorization_type = http.authorization_type;
    webhook.credentials = http.credentials;
    webhook.username = http.username;
    webhook.password = http.password;
    webhook.headers = http.headers;
    webhook.ca_file = http.ca_file;
    section.not_yet("payload", "the body is Alertmanager's payload, version 4");
    // A hash, as a webhook's URL is often its secret.
    const std::string where =
        webhook.url.file.empty() ? webhook.url.value : "file:" + webhook.url.file;
    integration.target = webhook.target =
        unique("webhook:" + router::sha256_hex(receiver.name + '\n' + where).substr(0, 16));
    receiver.integrations.push_back(std::move(integration));
    config_.channels.webhooks.push_back(std::move(webhook));
  }

  void read_log(const YAML::Node& node, router::Receiver& receiver) {
    Section section(problems_, node, "log_configs");
    router::Integration integration;
    integration.channel = "log";
    section.flag("send_resolved", integration.send_resolved);
    section.flag("repeat_when_acked", integration.repeat_when_acked);
    integration.target = unique("log:" + receiver.name);
    config_.channels.logs.push_back({integration.target});
    receiver.integrations.push_back(std::move(integration));
  }

  // Matchers, in their three spellings.

  void read_matchers(Section& section, const std::string& prefix, std::vector<Matcher>& into) {
    const std::string list = prefix.empty() ? "matchers" : prefix + "_matchers";
    for (const YAML::Node& entry : section.list(list)) {
      const auto text = scalar(problems_, entry, "a matcher");
      if (!text) continue;
      auto parsed = parse_matchers(*text);
      if (!parsed) {
        problems_.fault(entry, parsed.error().where + ' ' + parsed.error().what);
        continue;
      }
      if (!parsed->warning.empty()) problems_.warn(entry, "the matcher " + parsed->warning);
      std::move(parsed->list.begin(), parsed->list.end(), std::back_inserter(into));
    }
    for (const bool regex : {false, true}) {
      const std::string key = (prefix.empty() ? "match" : prefix + "_match") + (regex ? "_re" : "");
      const auto node = section.take(key);
      if (!node) continue;
      if (!node->IsMap()) {
        problems_.fault(*node, key + " has to be a mapping of labels to values; `" + list +
                                   "` is the newer way");
        continue;
      }
      for (const auto& pair : *node) {
        const auto name = scalar(problems_, pair.first, "a label");
        const auto value = scalar(problems_, pair.second, "a value");
        if (!name || !value) continue;
        auto made =
            make_matcher(*name, regex ? Matcher::Op::regex : Matcher::Op::equal, *value);
        if (made) {
          into.push_back(std::move(*made));
        } else {
          problems_.fault(pair.second, made.error().where + ' ' + made.error().what);
        }
      }
    }
  }

  void read_inhibit_rules(Section& top) {
    for (const YAML::Node& node : top.list("inhibit_rules")) {
      Section section(problems_, node, "inhibit rule");
      router::InhibitRule rule;
      section.text("name", rule.name);
      read_matchers(section, "source", rule.source);
      read_matchers(section, "target", rule.target);
      section.texts("equal", rule.equal);
      section.not_yet("map", "there is `equal`");
      if (rule.source.empty() && rule.target.empty())
        problems_.warn(node, "this inhibit rule has no matchers, and so mutes nothing");
      config_.router.inhibit_rules.push_back(std::move(rule));
    }
  }

  // Routes.

  void read_route(Section& top) {
    const auto node = top.take("route");
    if (!node) {
      if (!own_receivers_.empty())
        top.fault("receivers",
                  "there are receivers and no route to them; add\n    route: {receiver: " +
                      own_receivers_.front().name + "}");
      // Nothing is written about telling anybody: everything that pages is a line of the log.
      if (own_receivers_.empty()) config_.channels.logs.push_back({"log"});
      return;
    }
    const router::RouteSpec spec = read_spec(*node, "route", 0);
    config_.router.receivers = own_receivers_;
    auto tree = router::compile(spec);
    if (tree) {
      config_.router.routes = std::move(*tree);
      return;
    }
    const auto at = marks_.find(tree.error().where);
    problems_.fault(at == marks_.end() ? *node : at->second,
                    tree.error().where + ": " + tree.error().what);
  }

  router::RouteSpec read_spec(const YAML::Node& node, const std::string& where, int depth) {
    router::RouteSpec spec;
    if (depth > route_depth_max || ++routes_ > routes_max) {
      problems_.fault(node, "the route tree is deeper than " + std::to_string(route_depth_max) +
                                " or larger than " + std::to_string(routes_max) + " nodes");
      return spec;
    }
    Section section(problems_, node, "route");
    std::string receiver;
    section.text("receiver", receiver);
    if (!receiver.empty()) {
      spec.receiver = receiver;
      if (!receiver_names_.contains(receiver)) {
        std::string what = "there is no receiver '" + receiver + "'";
        const std::string near = router_nearest(
            receiver, std::vector<std::string>(receiver_names_.begin(), receiver_names_.end()));
        section.fault("receiver", what + near);
      }
    }
    read_matchers(section, "", spec.matchers);
    if (section.has("group_by")) {
      std::vector<std::string> by;
      section.texts("group_by", by);
      spec.group_by = std::move(by);
    }
    for (const auto& [key, into] : {std::pair{"group_wait", &spec.group_wait},
                                    std::pair{"group_interval", &spec.group_interval},
                                    std::pair{"repeat_interval", &spec.repeat_interval}}) {
      section.duration(key, *into);
      if (const auto value = section.take(key)) marks_.emplace(where + '.' + key, *value);
    }
    if (const auto value = section.take("group_by")) marks_.emplace(where + ".group_by", *value);
    if (spec.repeat_interval && spec.group_interval &&
        *spec.repeat_interval < *spec.group_interval) {
      problems_.warn(
          *section.take("repeat_interval"),
          "repeat_interval is shorter than group_interval, so repeats come each group_interval");
    }
    section.flag("continue", spec.continues);
    read_interval_names(section, "mute_time_intervals", spec.mute_time_intervals);
    read_interval_names(section, "active_time_intervals", spec.active_time_intervals);
    for (const auto* key : {"labels", "escalation_policy", "urgency", "team", "join",
                            "repeat_schedule", "alert_order"})
      section.not_yet(key, "leave it out");
    std::size_t index = 0;
    for (const YAML::Node& child : section.list("routes"))
      spec.routes.push_back(
          read_spec(child, where + ".routes[" + std::to_string(index++) + ']', depth + 1));
    return spec;
  }

  static std::string router_nearest(const std::string& word,
                                    const std::vector<std::string>& among) {
    const std::string near = nearest(word, among);
    if (!near.empty()) return "; did you mean '" + near + "'?";
    return among.empty() ? "; add it to `receivers`" : "";
  }

  void read_interval_names(Section& section, const std::string& key,
                           std::vector<std::string>& into) {
    for (const YAML::Node& entry : section.list(key)) {
      const auto name = scalar(problems_, entry, "a time interval's name");
      if (!name) continue;
      if (!interval_names_.contains(*name)) {
        problems_.fault(entry,
                        "there is no time interval '" + *name + "'" +
                            router_nearest(*name, std::vector<std::string>(interval_names_.begin(),
                                                                           interval_names_.end())));
      }
      into.push_back(*name);
    }
  }

  // Time intervals.

  void read_intervals(Section& top) {
    for (const auto* key : {"time_intervals", "mute_time_intervals"}) {
      for (const YAML::Node& node : top.list(key)) {
        Section section(problems_, node, "time interval");
        router::TimeInterval interval;
        section.text("name", interval.name);
        if (interval.name.empty()) {
          section.fault("a time interval needs a name");
        } else if (!interval_names_.insert(interval.name).second) {
          section.fault("name", "there is a time interval '" + interval.name + "' already");
        }
        for (const YAML::Node& window : section.list("time_intervals"))
          interval.windows.push_back(read_window(window));
        config_.router.intervals.push_back(std::move(interval));
      }
    }
  }

  using Range = router::TimeInterval::Range;

  router::TimeInterval::Window read_window(const YAML::Node& node) {
    router::TimeInterval::Window window;
    Section section(problems_, node, "time_intervals");
    if (section.has("times")) {
      window.minutes.emplace();
      for (const YAML::Node& entry : section.list("times")) {
        Section times(problems_, entry, "times");
        const int from = minute_of(times, "start_time");
        const int to = minute_of(times, "end_time");
        if (from < 0 || to < 0) continue;
        if (from >= to) {
          problems_.fault(
              entry,
              "end_time has to be after start_time; for a night write two: 22:00 to 24:00 and "
              "00:00 to 06:00");
          continue;
        }
        window.minutes->push_back({from, to});
      }
    }
    static const std::vector<std::string> weekdays{"sunday",   "monday", "tuesday", "wednesday",
                                                   "thursday", "friday", "saturday"};
    static const std::vector<std::string> months{"january",   "february", "march",    "april",
                                                 "may",       "june",     "july",     "august",
                                                 "september", "october",  "november", "december"};
    read_ranges(section, "weekdays", window.weekdays, weekdays, 0, 0, -1);
    read_ranges(section, "months", window.months, months, 1, 1, 12);
    read_ranges(section, "days_of_month", window.days_of_month, {}, 0, -31, 31);
    read_ranges(section, "years", window.years, {}, 0, 1970, 9999);
    std::string location;
    section.text("location", location);
    if (!location.empty()) {
      if (auto zone = zone_of(location)) {
        window.zone = std::move(*zone);
      } else {
        section.fault("location", "there is no time zone '" + location +
                                      "'; write it like Europe/Berlin, UTC or Local");
      }
    }
    return window;
  }

  int minute_of(Section& section, const std::string& key) {
    std::string text;
    section.text(key, text);
    const auto digit = [&text](std::size_t i) {
      return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : 100;
    };
    if (text.size() == 5 && text[2] == ':') {
      const int hour = 10 * digit(0) + digit(1), minute = 10 * digit(3) + digit(4);
      if ((hour < 24 && minute < 60) || (hour == 24 && minute == 0)) return 60 * hour + minute;
    }
    section.fault(key, key + " has to be HH:MM, from 00:00 to 24:00");
    return -1;
  }

  // One end of a range: a name, counted from `first_name`, or a number from `least` to `most`.
  static std::optional<int> end_of(std::string word, const std::vector<std::string>& names,
                                   int first_name, int least, int most) {
    const auto space = [](char c) { return c == ' ' || c == '\t'; };
    while (!word.empty() && space(word.back())) word.pop_back();
    while (!word.empty() && space(word.front())) word.erase(word.begin());
    std::transform(word.begin(), word.end(), word.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const auto named = std::find(names.begin(), names.end(), word);
    if (named != names.end()) return first_name + static_cast<int>(named - names.begin());
    int value = 0;
    const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (fault != std::errc{} || end != word.data() + word.size() || value < least || value > most)
      return std::nullopt;
    return value;
  }

  void read_ranges(Section& section, const std::string& key,
                   std::optional<std::vector<Range>>& into, const std::vector<std::string>& names,
                   int first_name, int least, int most) {
    if (!section.has(key)) {
      section.take(key);
      return;
    }
    into.emplace();
    for (const YAML::Node& entry : section.list(key)) {
      const auto text = scalar(problems_, entry, "an entry of " + key);
      if (!text) continue;
      const std::size_t colon = text->find(':');
      const auto first = end_of(text->substr(0, colon), names, first_name, least, most);
      const auto last = colon == std::string::npos
                            ? first
                            : end_of(text->substr(colon + 1), names, first_name, least, most);
      if (!first || !last || (key == "days_of_month" && (*first == 0 || *last == 0))) {
        problems_.fault(entry,
                        '\'' + *text + "' is no range of " + key +
                            (names.empty() ? "" : ", e.g. '" + names[1] + ':' + names[4] + '\''));
        continue;
      }
      // Judged by the shortest month: what never is there is a slip. From the end to a day of the beginning
      // would wrap into the next month.
      const auto day = [](int d) { return d < 0 ? 28 + d : d; };
      const bool wraps = key == "days_of_month" && *first < 0 && *last > 0;
      if (wraps || day(*first) > day(*last)) {
        problems_.fault(entry, '\'' + *text + "' ends before it starts; write two ranges instead");
        continue;
      }
      into->push_back({*first, *last});
    }
  }

  static std::optional<router::Zone> zone_of(const std::string& name) {
    absl::TimeZone found = absl::UTCTimeZone();
    if (name == "Local") {
      found = absl::LocalTimeZone();
    } else if (name != "UTC" && !absl::LoadTimeZone(name, &found)) {
      return std::nullopt;
    }
    // Changes from before anything that is judged to as far as the zone's rule is worth following.
    router::Zone zone;
    zone.name = name;
    absl::Time t = absl::FromUnixSeconds(1'577'836'800);          // 2020-01-01
    const absl::Time end = absl::FromUnixSeconds(4'102'444'800);  // 2100-01-01
    const auto add = [&](absl::Time at) {
      const Timestamp from{absl::ToUnixMicros(at)};
      zone.changes.push_back({from, std::chrono::seconds(found.At(at).offset)});
    };
    add(t);
    absl::TimeZone::CivilTransition change;
    while (t < end && found.NextTransition(t, &change)) {
      // The later of the two readings, right after the change.
      t = found.At(change.to).trans;
      if (t >= end) break;
      add(t);
    }
    return zone;
  }

  // muster's own parts.

  void read_own(Section& top) {
    if (const auto node = top.take("budget")) {
      Section section(problems_, *node, "budget");
      section.number("pages_per_week", config_.budget.pages_per_week, 0.001, 10'000);
    }
    if (const auto node = top.take("collector")) {
      Section section(problems_, *node, "collector");
      Config::Collector& c = config_.collector;
      section.text("listen", c.listen);
      const std::size_t colon = c.listen.rfind(':');
      int port = -1;
      if (colon != std::string::npos) {
        const char* const end = c.listen.data() + c.listen.size();
        const auto [stop, fault] = std::from_chars(c.listen.data() + colon + 1, end, port);
        if (fault != std::errc{} || stop != end) port = -1;
      }
      if (colon == 0 || port < 0 || port > 65'535)
        section.fault("listen", "listen has to be ADDRESS:PORT, e.g. 127.0.0.1:9797");
      section.flag("behind_proxy", c.behind_proxy);
      section.text("statsd_listen", c.statsd_listen);
      const bool loopback = c.statsd_listen.starts_with("127.") || c.statsd_listen.starts_with("[::1]:");
      if (!c.statsd_listen.empty() && !loopback && !c.behind_proxy)
        section.fault("statsd_listen",
                      "StatsD asks nobody for a token: listen on 127.0.0.1:8125, or set behind_proxy: true "
                      "when the network lets in only those who may send");
      section.seconds("statsd_flush_seconds", c.statsd_flush);
      if (c.statsd_flush < std::chrono::seconds(1))
        section.fault("statsd_flush_seconds", "a second is the shortest time between flushes");
      section.seconds("lateness_seconds", c.lateness);
      section.seconds("future_max_seconds", c.future_max);
      section.whole("body_bytes_max", c.body_bytes_max, 1 << 10, 1u << 30);
      section.whole("queue_bytes_max", c.queue_bytes_max, 1 << 20, 1ULL << 40);
      section.whole("series_max", c.series_max, 1, 1'000'000'000);
      section.whole("sender_series_max", c.sender_series_max, 1, 1'000'000'000);
      section.number("sender_queue_share", c.sender_queue_share, 0.01, 0.99);
      if (const auto otlp = section.take("otlp")) read_otlp(problems_, *otlp, c.otlp);
    }
    if (const auto node = top.take("storage")) {
      Section section(problems_, *node, "storage");
      Config::Storage& s = config_.storage;
      channels::Secret dsn;
      read_secret(section, "control_dsn", dsn);
      s.control_dsn = dsn.value;
      s.control_dsn_file = dsn.file;
      section.texts("data_dsns", s.data_dsns);
      section.whole("shards", s.shards, 1, 256);
      read_storage_life(problems_, section, s.life);
      if (dsn.empty() && !s.data_dsns.empty())
        section.fault("data_dsns", "needs control_dsn or control_dsn_file too");
      if (s.data_dsns.size() > 1)
        section.fault("data_dsns", "may name one database: the aggregator reads the log from one");
    }
    if (const auto node = top.take("mapping")) config_.mapping = read_mapping(problems_, *node);
    if (const auto node = top.take("aggregator")) {
      Section section(problems_, *node, "aggregator");
      Config::Aggregator& a = config_.aggregator;
      section.number("warmup_days", a.warmup_days, 0, 365);
      section.seconds("tick_seconds", a.tick);
      if (a.tick && *a.tick < std::chrono::seconds(1))
        section.fault("tick_seconds", "a second is the shortest tick");
      section.whole("workers", a.workers, 0, 1024);
      for (const YAML::Node& entry : section.list("limits")) {
        Section limit(problems_, entry, "limits");
        Config::Limit l;
        limit.text("metric", l.metric);
        double value = 0;
        constexpr double huge = 1e300;
        if (limit.has("below")) limit.number("below", value, -huge, huge), l.below = value;
        if (limit.has("above")) limit.number("above", value, -huge, huge), l.above = value;
        limit.take("below");
        limit.take("above");
        if (l.metric.empty()) limit.fault("a limit needs a metric, e.g. null_rate or latency_*");
        if (!l.below && !l.above) limit.fault("a limit needs `below`, `above` or both");
        a.limits.push_back(std::move(l));
      }
    }
    if (const auto node = top.take("web")) {
      Section section(problems_, *node, "web");
      std::string url;
      section.text("external_url", url);
      while (!url.empty() && url.back() == '/') url.pop_back();
      if (!url.empty()) {
        if (const Result<void> usable = http::check_url(url); !usable)
          section.fault("external_url", "external_url: " + usable.error().what);
        config_.router.external_url = url;
      }
    }
    if (const auto node = top.take("access")) {
      Section section(problems_, *node, "access");
      section.not_yet("tokens",
                      "on loopback none is needed; elsewhere let a proxy ask for them, and set "
                      "collector.behind_proxy");
    }
  }

  std::string path_;
  Problems problems_;
  Config config_;
  ScrapeReader scrape_{problems_, path_, config_.scrape};
  HttpConfig http_;  // of `global`, for receivers without their own
  std::vector<router::Receiver> own_receivers_;
  std::set<std::string> receiver_names_;
  std::set<std::string> interval_names_;
  std::map<std::string, int> targets_;
  std::map<std::string, YAML::Node> marks_;  // where values of routes stand, by their path
  int routes_ = 0;
};

}  // namespace

Config::Config() {
  channels.logs.push_back({"log"});
}

Result<Config> parse_config(std::string_view text, const std::string& path) {
  YAML::Node root;
  try {
    root = YAML::Load(std::string(text));
  } catch (const YAML::ParserException& fault) {
    Problems problems(path);
    problems.fault(fault.mark, "this is not YAML: " + fault.msg);
    return Error{path, problems.text()};
  }
  try {
    return Reader(path).read(root);
  } catch (const YAML::Exception& fault) {
    Problems problems(path);
    problems.fault(fault.mark, fault.msg);
    return Error{path, problems.text()};
  }
}

Result<Config> load_config(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return Error{path, path + ": cannot be opened; does it exist, and may this user read it?"};
  std::string text(file_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (in.bad() || !in.eof()) return Error{path, path + ": cannot be read, or is larger than 4 MiB"};
  return parse_config(text, path);
}

}  // namespace muster::app
