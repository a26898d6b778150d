#include "query/api/parameters.hpp"

#include <charconv>
#include <cmath>

#include "http/text.hpp"
#include "query/number.hpp"

namespace muster::query {
namespace {

// Beyond year 9999 nothing was measured, and sums of times still fit.
constexpr double seconds_max = 253'402'300'799.0;

Error bad(std::string_view name, std::string what) {
  return {"bad_data", "invalid parameter \"" + std::string(name) + "\": " + std::move(what)};
}

}  // namespace

Result<Parameters> Parameters::of(std::string_view query, std::string_view form) {
  Parameters out;
  for (std::string_view rest : {query, form}) {
    while (!rest.empty()) {
      const std::string_view pair = rest.substr(0, rest.find('&'));
      rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
      if (pair.empty()) continue;
      const std::size_t equals = std::min(pair.find('='), pair.size());
      const auto name = http::percent_decoded(pair.substr(0, equals), true);
      const auto value = http::percent_decoded(pair.substr(std::min(equals + 1, pair.size())), true);
      if (!name || !value)
        return Error{"bad_data", "the parameter " + std::string(pair.substr(0, 60)) + " has a malformed escape"};
      out.pairs_.emplace_back(*name, *value);
    }
  }
  return out;
}

Result<Parameters> Parameters::of(const http::Request& request) {
  const bool form = request.header("Content-Type").substr(0, 33) == "application/x-www-form-urlencoded";
  return of(request.query, form ? request.body_text() : std::string_view());
}

std::optional<std::string_view> Parameters::find(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return std::nullopt;
}

std::vector<std::string_view> Parameters::all(std::string_view name) const {
  std::vector<std::string_view> out;
  for (const auto& [key, value] : pairs_)
    if (key == name) out.emplace_back(value);
  return out;
}

bool Parameters::flag(std::string_view name) const {
  const std::string_view value = text(name);
  return value == "true" || value == "1";
}

Result<Timestamp> Parameters::time(std::string_view name, std::optional<Timestamp> otherwise) const {
  const auto value = find(name);
  if (!value || value->empty()) {
    if (otherwise) return *otherwise;
    return bad(name, "is wanted: unix seconds or 2026-11-24T16:00:00Z");
  }
  if (const auto seconds = parse_number(*value)) {
    if (std::abs(*seconds) <= seconds_max) return from_millis(std::llround(*seconds * 1e3));
  } else if (const auto at = parse_rfc3339(*value)) {
    return *at;
  }
  return bad(name, "cannot parse \"" + std::string(value->substr(0, 60)) + "\" to a valid timestamp");
}

Result<Duration> Parameters::duration(std::string_view name, std::optional<Duration> otherwise) const {
  const auto value = find(name);
  if (!value || value->empty()) {
    if (otherwise) return *otherwise;
    return bad(name, "is wanted: seconds, or 5m");
  }
  if (const auto seconds = parse_number(*value)) {
    if (std::abs(*seconds) <= seconds_max) return Duration(std::llround(*seconds * 1e6));
  } else if (const auto length = parse_duration(*value)) {
    return *length;
  }
  return bad(name, "cannot parse \"" + std::string(value->substr(0, 60)) + "\" to a valid duration");
}

Result<std::size_t> Parameters::number(std::string_view name, std::size_t otherwise, std::size_t most) const {
  const auto value = find(name);
  if (!value || value->empty()) return otherwise;
  std::size_t n = 0;
  const auto [end, fault] = std::from_chars(value->data(), value->data() + value->size(), n);
  if (fault != std::errc() || end != value->data() + value->size() || n < 1 || n > most)
    return bad(name, "must be a whole number from 1 to " + std::to_string(most));
  return n;
}

std::optional<Timestamp> parse_rfc3339(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&](std::size_t n) -> std::optional<int> {
    int value = 0;
    for (std::size_t i = 0; i < n; ++i, ++at) {
      if (at >= text.size() || text[at] < '0' || text[at] > '9') return std::nullopt;
      value = value * 10 + (text[at] - '0');
    }
    return value;
  };
  const auto is = [&](std::string_view any) {
    if (at >= text.size() || any.find(text[at]) == any.npos) return false;
    ++at;
    return true;
  };
  const auto year = digits(4);
  if (!year || !is("-")) return std::nullopt;
  const auto month = digits(2);
  if (!month || !is("-")) return std::nullopt;
  const auto day = digits(2);
  if (!day || !is("Tt ")) return std::nullopt;
  const auto hour = digits(2);
  if (!hour || !is(":")) return std::nullopt;
  const auto minute = digits(2);
  if (!minute || !is(":")) return std::nullopt;
  const auto second = digits(2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  std::int64_t us = 0;
  if (is(".")) {
    std::int64_t unit = 100'000;
    const std::size_t first = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10) us += (text[at] - '0') * unit;
    if (at == first) return std::nullopt;
  }
  std::int64_t offset = 0;
  if (!is("Zz")) {
    if (at >= text.size() || (text[at] != '+' && text[at] != '-')) return std::nullopt;
    const int sign = text[at++] == '-' ? -1 : 1;
    const auto hours = digits(2);
    if (!hours || !is(":")) return std::nullopt;
    const auto minutes = digits(2);
    if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
    offset = sign * (*hours * 3600 + *minutes * 60);
  }
  if (at != text.size()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86'400 + *hour * 3600 + *minute * 60 + *second - offset;
  return Timestamp{seconds * 1'000'000 + us};
}

}  // namespace muster::query
