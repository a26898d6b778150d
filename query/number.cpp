#include "query/number.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace muster::query {
namespace {

constexpr std::int64_t microseconds_max = std::numeric_limits<std::int64_t>::max() / 4;

bool special(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    return false;
  }
  return true;
}

}  // namespace

void append_fixed(std::string& out, double value) {
  if (special(out, value)) return;
  char room[32];
  const auto [end, fault] = std::to_chars(room, room + sizeof room, value, std::chars_format::scientific);
  (void)fault;  // 32 bytes hold every double
  std::string_view text(room, static_cast<std::size_t>(end - room));
  if (text.front() == '-') {
    out += '-';
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  int exponent = 0;
  const std::size_t sign = text[e + 1] == '+' ? 1 : 0;  // which from_chars does not take
  std::from_chars(text.data() + e + 1 + sign, end, exponent);
  std::string digits;
  for (const char c : text.substr(0, e))
    if (c != '.') digits += c;
  if (exponent < 0) {
    out += "0.";
    out.append(static_cast<std::size_t>(-exponent - 1), '0');
    out += digits;
    return;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) {
    out += digits;
    out.append(whole - digits.size(), '0');
  } else {
    out.append(digits, 0, whole);
    out += '.';
    out.append(digits, whole);
  }
}

void append_value(std::string& out, double value) {
  if (special(out, value)) return;
  const double size = std::abs(value);
  if (size == 0 || (size >= 1e-6 && size < 1e21)) return append_fixed(out, value);
  char room[32];
  const auto [end, fault] = std::to_chars(room, room + sizeof room, value, std::chars_format::scientific);
  (void)fault;
  out.append(room, end);
}

void append_seconds(std::string& out, Timestamp at) {
  std::int64_t ms = to_millis(at);
  if (ms < 0) {
    out += '-';
    ms = -ms;
  }
  out += std::to_string(ms / 1000);
  if (ms % 1000 != 0) {
    const std::string part = std::to_string(ms % 1000 + 1000);
    out += '.';
    out += std::string_view(part).substr(1);
  }
}

std::optional<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t us;
  };
  static constexpr std::int64_t second = 1'000'000;
  static constexpr Unit units[] = {{"y", 365 * 86'400 * second}, {"w", 7 * 86'400 * second},
                                   {"d", 86'400 * second},       {"h", 3'600 * second},
                                   {"m", 60 * second},           {"s", second},
                                   {"ms", 1'000}};
  if (text.empty()) return std::nullopt;
  std::int64_t sum = 0;
  std::size_t next = 0;
  while (!text.empty()) {
    std::int64_t n = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (fault != std::errc() || n < 0 || end == text.data()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    std::size_t letters = 0;
    while (letters < text.size() && (text[letters] < '0' || text[letters] > '9')) ++letters;
    const std::string_view name = text.substr(0, letters);
    std::size_t u = next;
    while (u < std::size(units) && units[u].name != name) ++u;
    if (u == std::size(units) || n > microseconds_max / units[u].us) return std::nullopt;
    sum += n * units[u].us;
    if (sum > microseconds_max) return std::nullopt;
    next = u + 1;
    text.remove_prefix(letters);
  }
  return Duration(sum);
}

std::optional<double> parse_number(std::string_view text) {
  double sign = 1;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    sign = text.front() == '-' ? -1 : 1;
    text.remove_prefix(1);
  }
  const auto is = [&](std::string_view word) {
    if (text.size() != word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i)
      if ((text[i] | 0x20) != word[i]) return false;
    return true;
  };
  if (is("inf")) return sign * std::numeric_limits<double>::infinity();
  if (is("nan")) return std::numeric_limits<double>::quiet_NaN();
  if (text.empty() || (text.front() != '.' && (text.front() < '0' || text.front() > '9')))
    return std::nullopt;
  if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
    std::uint64_t whole = 0;
    const auto [end, fault] = std::from_chars(text.data() + 2, text.data() + text.size(), whole, 16);
    if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return sign * static_cast<double>(whole);
  }
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  // Too large or too small for a double: infinity or nought, as strtod has it.
  if (fault == std::errc::result_out_of_range) return sign * std::strtod(std::string(text).c_str(), nullptr);
  if (fault != std::errc()) return std::nullopt;
  return sign * value;
}

}  // namespace muster::query
