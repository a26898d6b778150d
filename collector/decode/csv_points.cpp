#include "collector/decode/csv_points.hpp"

#include <charconv>
#include <cmath>

#include "base/hash.hpp"

namespace muster::decode {
namespace {

constexpr std::uint64_t alias_seed = 3;
constexpr std::int64_t seconds_below = 100'000'000'000;  // as milliseconds: March 1973

bool digit(char c) {
  return (c >= '0' && c <= '9') || c == '-';
}

}  // namespace

Result<SeriesIdentity> csv_identity(std::string_view series, const Mapping&) {
  const std::size_t bar = series.rfind('|');
  SeriesIdentity out;
  out.model = series.substr(0, bar);
  out.metric = bar == std::string_view::npos ? "value" : series.substr(bar + 1);
  if (out.model.empty() || out.metric.empty())
    return Error{"series \"" + std::string(series) + "\"", "must be model|metric, both not empty"};
  return out;
}

Decoded csv_points(std::vector<char> body, std::uint32_t first_line) {
  Decoded out;
  out.batch.bytes = std::move(body);
  out.batch.identify = csv_identity;
  const std::string_view all(out.batch.bytes.data(), out.batch.bytes.size());
  std::uint32_t line_number = first_line;
  for (std::size_t at = 0; at < all.size(); ++line_number) {
    std::size_t end = all.find('\n', at);
    if (end == std::string_view::npos) end = all.size();
    std::string_view line = all.substr(at, end - at);
    at = end + 1;
    ++out.lines;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    if (line_number == 1 && !digit(line.front())) continue;

    const std::size_t comma = line.find(',');
    const std::size_t last = line.rfind(',');
    if (comma == std::string_view::npos || comma == last) {
      out.reject(line_number, "must be ts,series,value");
      continue;
    }
    std::int64_t ts = 0;
    const auto [rest, fault] = std::from_chars(line.data(), line.data() + comma, ts);
    // A whole number written as 1393603200.0 is one too.
    bool whole = fault == std::errc();
    for (const char* c = rest; whole && c != line.data() + comma; ++c)
      whole = *c == '0' || (*c == '.' && c == rest);
    if (!whole || ts > millis_max || ts < -millis_max) {
      out.reject(line_number, "ts must be whole unix seconds or milliseconds");
      continue;
    }
    if (ts < seconds_below && ts > -seconds_below) ts *= 1000;
    const std::string_view series = line.substr(comma + 1, last - comma - 1);
    const std::string_view text = line.substr(last + 1);
    double value = null_value();
    if (!text.empty() && text != "null") {
      const auto [stop, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (wrong != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) {
        out.reject(line_number, "value must be a finite number, null or empty");
        continue;
      }
    }
    if (series.empty()) {
      out.reject(line_number, "series must not be empty");
      continue;
    }
    out.batch.series.push_back({.labels = series,
                                .alias = hash64(series, alias_seed),
                                .first = static_cast<std::uint32_t>(out.batch.points.size()),
                                .count = 1,
                                .line = line_number});
    out.batch.points.push_back({from_millis(ts), value});
  }
  return out;
}

}  // namespace muster::decode
