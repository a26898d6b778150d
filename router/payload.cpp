#include "router/payload.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cassert>
#include <chrono>
#include <cstdio>
#include <tuple>

#include "router/labels.hpp"

namespace muster::router {
namespace {

namespace json = boost::json;

// An alert that fires has no end; Go's zero time says so on the wire.
constexpr std::string_view no_end = "0001-01-01T00:00:00Z";

json::object json_of(const Labels& labels) {
  json::object out;
  for (const Label& l : labels) out[l.name] = l.value;
  return out;
}

// Fewer labels first, then by name and value: Alertmanager's order of label sets. Both are sorted by name.
bool before(const Labels& a, const Labels& b) {
  if (a.size() != b.size()) return a.size() < b.size();
  for (std::size_t i = 0; i < a.size(); ++i) {
    // The smaller name is missing on the other side, and what is missing comes first.
    if (a[i].name != b[i].name) return b[i].name < a[i].name;
    if (a[i].value != b[i].value) return a[i].value < b[i].value;
  }
  return false;
}

bool before(const Alert* a, const Alert* b) {
  for (const std::string_view name : {"job", "instance"}) {
    const std::string_view x = value_of(a->labels, name);
    const std::string_view y = value_of(b->labels, name);
    if (x.empty() && y.empty()) continue;
    if (x.empty() || y.empty()) return !x.empty();
    if (x != y) return x < y;
  }
  return before(a->labels, b->labels);
}

// What all of them have in common.
Labels common(const std::vector<const Alert*>& alerts, const Labels Alert::*part) {
  Labels out = alerts.front()->*part;
  for (const Alert* a : alerts) {
    std::erase_if(out, [&](const Label& l) { return value_of(a->*part, l.name) != l.value; });
  }
  return out;
}

bool firing(const Message& m) {
  return std::any_of(m.alerts.begin(), m.alerts.end(),
                     [&m](const Alert* a) { return !a->resolved(m.now); });
}

}  // namespace

std::string rfc3339(Timestamp t) {
  const std::chrono::sys_time<Duration> instant{Duration(t.us)};
  const auto day = std::chrono::floor<std::chrono::days>(instant);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss<Duration> time{instant - day};
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02ld:%02ld:%02ld",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<long>(time.hours().count()),
                static_cast<long>(time.minutes().count()),
                static_cast<long>(time.seconds().count()));
  std::string out = text;
  if (const auto micros = time.subseconds().count(); micros != 0) {
    std::snprintf(text, sizeof text, ".%06ld", static_cast<long>(micros));
    out += text;
    out.erase(out.find_last_not_of('0') + 1);
  }
  return out + 'Z';
}

std::string quote_meta(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\.+*?()|[]{}^$").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string webhook_payload(const Message& m) {
  assert(!m.alerts.empty());
  std::vector<const Alert*> listed = m.alerts;
  std::sort(listed.begin(), listed.end(),
            [](const Alert* a, const Alert* b) { return before(a, b); });
  std::uint64_t truncated = 0;
  if (m.max_alerts > 0 && listed.size() > m.max_alerts) {
    truncated = listed.size() - m.max_alerts;
    listed.resize(m.max_alerts);
  }

  json::array alerts;
  bool fires = false;
  for (const Alert* a : listed) {
    const bool over = a->resolved(m.now);
    fires = fires || !over;
    alerts.push_back({{"status", over ? "resolved" : "firing"},
                      {"labels", json_of(a->labels)},
                      {"annotations", json_of(a->annotations)},
                      {"startsAt", rfc3339(a->starts_at)},
                      {"endsAt", over ? rfc3339(*a->ends_at) : std::string(no_end)},
                      {"generatorURL", a->generator_url},
                      {"fingerprint", a->fingerprint}});
  }
  const json::object out{{"receiver", quote_meta(m.receiver)},
                         {"status", fires ? "firing" : "resolved"},
                         {"alerts", std::move(alerts)},
                         {"groupLabels", json_of(m.group_labels)},
                         {"commonLabels", json_of(common(listed, &Alert::labels))},
                         {"commonAnnotations", json_of(common(listed, &Alert::annotations))},
                         {"externalURL", m.external_url},
                         {"version", "4"},
                         {"groupKey", m.group_key},
                         {"truncatedAlerts", truncated}};
  return json::serialize(out);
}

std::string text_line(const Message& m, std::size_t alerts_max) {
  assert(!m.alerts.empty());
  // For people: what fires before what is over, the worst first, then the oldest.
  std::vector<const Alert*> listed = m.alerts;
  std::stable_sort(listed.begin(), listed.end(), [&m](const Alert* a, const Alert* b) {
    const auto rank = [&m](const Alert* x) {
      return std::tuple(x->resolved(m.now), -static_cast<int>(x->severity), x->starts_at);
    };
    return rank(a) < rank(b);
  });
  std::string out = firing(m) ? "[FIRING] " : "[RESOLVED] ";
  for (std::size_t i = 0; i < listed.size() && i < alerts_max; ++i) {
    const Alert& a = *listed[i];
    if (i > 0) out += "; ";
    if (firing(m) && a.resolved(m.now)) out += "over: ";
    const std::string_view title = value_of(a.annotations, "title");
    const std::string_view incident = value_of(a.labels, "incident");
    if (title.empty()) {
      out += to_text(a.labels);
      continue;
    }
    if (!incident.empty()) out += std::string(incident) + ' ';
    out += title;
    const std::string_view severity = value_of(a.labels, "severity");
    const std::string_view cause = value_of(a.labels, "cause");
    out += " (" + std::string(severity);
    if (!cause.empty()) out += ", cause " + std::string(cause);
    out += ')';
    if (!a.generator_url.empty()) out += ' ' + a.generator_url;
  }
  if (listed.size() > alerts_max)
    out += "; and " + std::to_string(listed.size() - alerts_max) + " more";
  return out;
}

}  // namespace muster::router
