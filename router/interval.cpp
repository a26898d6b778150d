#include "router/interval.hpp"

#include <algorithm>
#include <chrono>

namespace muster::router {
namespace {

bool any(const std::optional<std::vector<TimeInterval::Range>>& ranges, int value) {
  if (!ranges) return true;
  return std::any_of(ranges->begin(), ranges->end(), [value](const TimeInterval::Range& r) {
    return value >= r.first && value <= r.last;
  });
}

bool any_day(const std::optional<std::vector<TimeInterval::Range>>& ranges, int day,
             int days_in_month) {
  if (!ranges) return true;
  const auto real = [days_in_month](int d) { return d < 0 ? days_in_month + 1 + d : d; };
  return std::any_of(ranges->begin(), ranges->end(), [&](const TimeInterval::Range& r) {
    const int first = real(r.first);
    const int last =
        std::min(real(r.last), days_in_month);  // a month without a 31st ends before it
    return first <= days_in_month && day >= first && day <= last;
  });
}

bool holds(const TimeInterval::Window& w, Timestamp t) {
  const std::chrono::sys_time<Duration> local{Duration(t.us) + w.zone.ahead(t)};
  const auto day = std::chrono::floor<std::chrono::days>(local);
  const std::chrono::year_month_day date{day};
  const std::chrono::year_month_day_last month_end{date.year() / date.month() / std::chrono::last};

  if (w.minutes) {
    const auto minute = std::chrono::duration_cast<std::chrono::minutes>(local - day).count();
    const bool inside = std::any_of(
        w.minutes->begin(), w.minutes->end(),
        [minute](const TimeInterval::Range& r) { return minute >= r.first && minute < r.last; });
    if (!inside) return false;
  }
  return any(w.weekdays, static_cast<int>(std::chrono::weekday{day}.c_encoding())) &&
         any_day(w.days_of_month, static_cast<int>(static_cast<unsigned>(date.day())),
                 static_cast<int>(static_cast<unsigned>(month_end.day()))) &&
         any(w.months, static_cast<int>(static_cast<unsigned>(date.month()))) &&
         any(w.years, static_cast<int>(date.year()));
}

}  // namespace

Duration Zone::ahead(Timestamp t) const {
  const auto next = std::upper_bound(changes.begin(), changes.end(), t,
                                     [](Timestamp at, const Change& c) { return at < c.from; });
  if (changes.empty()) return Duration::zero();
  return next == changes.begin() ? changes.front().ahead : std::prev(next)->ahead;
}

bool TimeInterval::contains(Timestamp t) const {
  return std::any_of(windows.begin(), windows.end(), [t](const Window& w) { return holds(w, t); });
}

}  // namespace muster::router
