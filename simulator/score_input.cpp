#include <boost/json.hpp>
#include <chrono>
#include <cstdio>

#include "simulator/score.hpp"

namespace muster::simulator {
namespace {

namespace json = boost::json;

// 2026-11-23T14:20:00Z, with or without a fraction, or "+00:00" for the Z.
std::optional<Timestamp> time_of_text(const std::string& text) {
  int year, month, day, hour, minute, read = 0;
  double second;
  if (std::sscanf(text.c_str(), "%d-%d-%d%*1[Tt ]%d:%d:%lf%n", &year, &month, &day, &hour, &minute,
                  &second, &read) != 6) {
    return std::nullopt;
  }
  const std::string zone = text.substr(static_cast<std::size_t>(read));
  if (zone != "Z" && zone != "z" && zone != "+00:00") return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return Timestamp{((days * 24 + hour) * 60 + minute) * 60'000'000 +
                   static_cast<std::int64_t>(second * 1e6)};
}

std::optional<Timestamp> time_under(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  if (!v) return std::nullopt;
  if (v->is_string()) return time_of_text(std::string(v->get_string()));
  if (!v->is_number()) return std::nullopt;
  const double number = v->to_number<double>();
  // Seconds reach 10^11 in the year 5138; milliseconds did in 1973.
  return Timestamp{static_cast<std::int64_t>(number < 1e11 ? number * 1e6 : number * 1e3)};
}

std::string text_under(const json::object& o, std::string_view key) {
  const json::value* v = o.if_contains(key);
  if (!v) return {};
  if (v->is_string()) return std::string(v->get_string());
  return v->is_int64() ? std::to_string(v->get_int64()) : std::string();
}

// The objects of a JSON array, or of NDJSON lines.
Result<json::array> objects(std::string_view text, std::string_view what) {
  json::array all;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return all;
  boost::system::error_code failed;
  if (text[first] == '[') {
    json::value parsed = json::parse(text, failed);
    if (failed) return Error{std::string(what), "not JSON: " + failed.message()};
    all = std::move(parsed.get_array());
  } else {
    for (std::size_t line = 1; !text.empty(); ++line) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      const std::string_view one = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (one.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      all.push_back(json::parse(one, failed));
      if (failed)
        return Error{std::string(what) + ", line " + std::to_string(line),
                     "not JSON: " + failed.message()};
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is_object())
      return Error{std::string(what) + "[" + std::to_string(i) + "]", "must be an object"};
  }
  return all;
}

}  // namespace

Result<std::vector<Claim>> parse_claims(std::string_view text) {
  const Result<json::array> all = objects(text, "incidents");
  if (!all) return all.error();
  std::vector<Claim> claims;
  for (const json::value& entry : *all) {
    const json::object& o = entry.get_object();
    const std::string where = "incidents[" + std::to_string(claims.size()) + "]";
    Claim claim;
    claim.id = text_under(o, "id");
    if (claim.id.empty()) return Error{where + ".id", "must be a non-empty string"};
    const auto opened = time_under(o, "opened_at");
    if (!opened)
      return Error{where + ".opened_at",
                   "must be unix milliseconds, unix seconds or ISO 8601 with Z"};
    claim.opened_at = *opened;
    if (const json::value* suspects = o.if_contains("suspects"); suspects && suspects->is_array()) {
      for (const json::value& suspect : suspects->get_array()) {
        if (suspect.is_string()) claim.suspects.emplace_back(suspect.get_string());
        if (!suspect.is_object()) continue;
        std::string id = text_under(suspect.get_object(), "dependency");
        if (id.empty()) id = text_under(suspect.get_object(), "id");
        claim.suspects.push_back(std::move(id));
      }
    }
    if (const json::value* models = o.if_contains("models"); models && models->is_array()) {
      for (const json::value& model : models->get_array()) {
        if (model.is_string()) claim.models.emplace_back(model.get_string());
      }
    }
    claims.push_back(std::move(claim));
  }
  return claims;
}

Result<std::vector<Page>> parse_pages(std::string_view text) {
  const Result<json::array> all = objects(text, "pages");
  if (!all) return all.error();
  std::vector<Page> pages;
  for (const json::value& entry : *all) {
    const json::object& o = entry.get_object();
    const std::string where = "pages[" + std::to_string(pages.size()) + "]";
    const auto ts = time_under(o, "ts");
    if (!ts)
      return Error{where + ".ts", "must be unix milliseconds, unix seconds or ISO 8601 with Z"};
    pages.push_back({*ts, text_under(o, "incident_id")});
    if (pages.back().incident_id.empty())
      return Error{where + ".incident_id", "must be a non-empty string"};
  }
  return pages;
}

}  // namespace muster::simulator
