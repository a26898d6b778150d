#include <algorithm>
#include <cmath>
#include <cstdio>

#include "aggregator/engine.hpp"

// The sentences of a page: subject, what, since when, how many.
namespace muster::aggregator {
namespace {

std::string percent(double share) {
  return std::to_string(std::lround(100 * share)) + " %";
}

// "and" only before the last.
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i)
    out += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return out;
}

std::vector<std::string> twins_of(const Incident& i) {
  std::vector<std::string> out = {i.cause};
  for (std::size_t s = 1; s < i.suspects.size(); ++s)
    if (i.suspects[s].score == i.suspects.front().score && i.suspects[s].kind != "model")
      out.push_back(i.suspects[s].id);
  return out;
}

std::string what_of(const Engine& e, const Case& c, bool many) {
  const Scale& scale = *e.scales[c.scale];
  const std::string has = many ? "have" : "has";
  if (c.hit_event) {
    switch (c.hit_channel) {
      case flat_event:
        return many ? "repeat the same values" : "repeats the same values";
      case null_event:
        return many ? "send null values" : "sends null values";
      default:
        return has + " gone silent";
    }
  }
  const std::string& metric = scale.channels[c.hit_channel].name;
  return has + " shifted, " + metric + (c.down ? " down" : " up");
}

}  // namespace

std::string clock_of(Timestamp t) {
  const std::int64_t minutes = ((t.us / 60'000'000) % 1440 + 1440) % 1440;
  char text[8];
  std::snprintf(text, sizeof text, "%02d:%02d", static_cast<int>(minutes / 60),
                static_cast<int>(minutes % 60));
  return text;
}

std::string grouped(double number) {
  // Evidence is an order of magnitude: two figures are honest.
  double rounded = std::max(1.0, number);
  if (rounded >= 100) {
    const double unit = std::pow(10.0, std::floor(std::log10(rounded)) - 1);
    rounded = std::round(rounded / unit) * unit;
  }
  if (rounded >= 1e15) return "over 10^15";
  std::string digits = std::to_string(std::llround(rounded));
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), "\u2009");
  return digits;
}

std::string title_of(const Engine& e, const Case& c) {
  const Incident& i = c.incident;
  const std::string since = " since " + clock_of(i.started_at);
  const std::string moved = std::to_string(i.moved);
  if (i.cause_kind == "model") return i.cause.substr(6) + " " + what_of(e, c, false) + since;
  if (i.cause == "unknown")
    return "No known dependency explains it: " + moved + " of " + std::to_string(i.members) +
           " models " + what_of(e, c, i.moved != 1) + since;
  const std::string name =
      i.cause_kind == "family" ? "family " + i.cause.substr(7) : listed(twins_of(i));
  const bool many_names = twins_of(i).size() > 1;
  return name + ": " + moved + " of " + (many_names ? "their " : "its ") +
         std::to_string(i.members) + " models " + what_of(e, c, i.moved != 1) + since;
}

std::string why_of(const Engine& e, const Case& c) {
  const Incident& i = c.incident;
  const Scale& scale = *e.scales[c.scale];
  const std::string channel = scale.channel_name(
      c.hit_event ? static_cast<std::uint32_t>(scale.channels.size()) + c.hit_channel
                  : c.hit_channel);
  char chance[32];
  std::snprintf(chance, sizeof chance, "%.1f", i.expected_by_chance);
  std::string out;
  if (i.cause_kind == "model") {
    out = i.cause.substr(6) + " moved in " + channel + " since " + clock_of(i.started_at) + ".";
  } else {
    const std::string whom = i.cause == "unknown"       ? " models"
                             : i.cause_kind == "family" ? " models of " + i.cause.substr(7)
                                                        : " models that use " + listed(twins_of(i));
    out = std::to_string(i.moved) + " of " + std::to_string(i.members) + whom + " moved in " +
          channel + " since " + clock_of(i.started_at) + "; " + chance + " expected by chance.";
  }
  if (!i.suspects.empty()) {
    out += " " + i.suspects[0].id + " " + percent(i.suspects[0].posterior);
    if (i.suspects.size() > 1)
      out += ", next " + i.suspects[1].id + " " + percent(i.suspects[1].posterior);
    out += "; explains " + percent(i.explained) + " of the excess.";
  }
  out += " Evidence " + grouped(i.evidence) + " : 1, needs " + grouped(i.needed) + " : 1.";
  return out;
}

std::string first_look_of(const Engine& e, const Case& c) {
  const Incident& i = c.incident;
  std::string out;
  const std::string name = listed(twins_of(i));
  if (i.cause_kind == "model") {
    const std::string id = i.cause.substr(6);
    const auto at = e.model_index.find(id);
    const std::string version = at == e.model_index.end() ? "" : e.words[e.models[*at].version];
    out = "Look first at the inputs of " + id + " and its last deploy" +
          (version.empty() ? "" : " (" + version + ")") + ". No shared dependency explains it.";
  } else if (i.cause == "unknown") {
    out =
        "Look first at what the affected models share that the topology does not say. Do not blame "
        "one dependency.";
  } else if (i.cause_kind == "family") {
    out =
        "Look first at what the family shares: training data, code, thresholds. Its dependencies "
        "are calm elsewhere.";
  } else {
    out = i.cause_kind == "source"
              ? "Look first at the freshness, volume and schema of " + name + "."
          : i.cause_kind == "feature_pipeline"
              ? "Look first at the last run and the last deploy of " + name + "."
          : i.cause_kind == "package"
              ? "Look first at which version of " + name + " the affected models run."
          : i.cause_kind == "region" ? "Look first at the serving and network of " + name + "."
                                     : "Look first at " + name + ".";
    out += " Nothing suggests that the models themselves are at fault; do not roll them back.";
  }
  if (!i.events.empty()) {
    const Event& event = i.events.front();
    const std::int64_t minutes = (i.started_at - event.ts).count() / 60'000'000;
    if (minutes >= 0)
      out += " It began " + std::to_string(minutes) + " min after: " + event.title + " (" +
             event.kind + ", " + event.subject + ").";
  }
  return out;
}

bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace muster::aggregator
