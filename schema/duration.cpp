#include "schema/duration.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace muster {

Result<Duration> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t millis;
  };
  static constexpr std::array units{Unit{"y", 365LL * 86'400'000},
                                    Unit{"w", 7LL * 86'400'000},
                                    Unit{"d", 86'400'000},
                                    Unit{"h", 3'600'000},
                                    Unit{"m", 60'000},
                                    Unit{"s", 1'000},
                                    Unit{"ms", 1}};
  // Ten thousand years, far from an overflow.
  constexpr std::int64_t millis_most = 10'000LL * 365 * 86'400'000;
  const Error fault{"duration", "'" + std::string(text) +
                                    "' is no duration; write it like 30s, 5m or 1h30m, largest "
                                    "unit first"};
  if (text == "0") return Duration::zero();
  if (text.empty()) return fault;
  std::int64_t total = 0;
  std::size_t next = 0;  // the first unit that may still come
  while (!text.empty()) {
    std::int64_t count = 0;
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (wrong != std::errc{} || text.front() < '0' || text.front() > '9') return fault;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::size_t letters = std::min(text.find_first_of("0123456789"), text.size());
    const auto unit =
        std::find_if(units.begin() + static_cast<std::ptrdiff_t>(next), units.end(),
                     [&](const Unit& u) { return u.name == text.substr(0, letters); });
    if (unit == units.end()) return fault;
    next = static_cast<std::size_t>(unit - units.begin()) + 1;
    text.remove_prefix(letters);
    if (count > (millis_most - total) / unit->millis) return fault;
    total += count * unit->millis;
  }
  return Duration(std::chrono::milliseconds(total));
}

std::string to_text(Duration duration) {
  struct Unit {
    std::string_view name;
    std::int64_t millis;
    bool exact;  // only when nothing is left of it
  };
  static constexpr std::array units{Unit{"y", 365LL * 86'400'000, true},
                                    Unit{"w", 7LL * 86'400'000, true},
                                    Unit{"d", 86'400'000, true},
                                    Unit{"h", 3'600'000, false},
                                    Unit{"m", 60'000, false},
                                    Unit{"s", 1'000, false},
                                    Unit{"ms", 1, false}};
  std::int64_t left = duration.count() / 1000;
  if (left <= 0) return "0s";
  std::string out;
  for (const Unit& unit : units) {
    if (unit.exact && left % unit.millis != 0) continue;
    if (const std::int64_t n = left / unit.millis; n > 0) {
      out += std::to_string(n) + std::string(unit.name);
      left -= n * unit.millis;
    }
  }
  return out;
}

}  // namespace muster
