#include "router/interval.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::router;
using namespace std::chrono_literals;

namespace {

Timestamp utc(int year, unsigned month, unsigned day, int hour = 0, int minute = 0) {
  using namespace std::chrono;
  const sys_days date = std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day);
  return {duration_cast<Duration>(date.time_since_epoch() + hours(hour) + minutes(minute)).count()};
}

// Summer time of 2026 in Berlin: 29 March 01:00Z to 25 October 01:00Z.
const Zone berlin{
    "Europe/Berlin",
    {{utc(2025, 10, 26, 1), 1h}, {utc(2026, 3, 29, 1), 2h}, {utc(2026, 10, 25, 1), 1h}}};

TimeInterval office() {
  TimeInterval::Window w;
  w.minutes = {{9 * 60, 17 * 60}};
  w.zone = berlin;
  return {"office", {w}};
}

}  // namespace

TEST_CASE("an interval follows the wall clock over both changes") {
  // 09:00-17:00 in Berlin: 07:00Z to 15:00Z in summer, 08:00Z to 16:00Z in winter.
  CHECK_FALSE(office().contains(utc(2026, 3, 29, 6, 59)));
  CHECK(office().contains(utc(2026, 3, 29, 7)));
  CHECK(office().contains(utc(2026, 3, 29, 14, 59)));
  CHECK_FALSE(office().contains(utc(2026, 3, 29, 15)));
  CHECK_FALSE(office().contains(utc(2026, 10, 25, 7, 59)));
  CHECK(office().contains(utc(2026, 10, 25, 8)));
  CHECK_FALSE(office().contains(utc(2026, 10, 25, 16)));
}

TEST_CASE("an hour that a clock change skips never is, and one it repeats is twice") {
  TimeInterval night = office();
  night.windows[0].minutes = {{120, 180}};
  int minutes = 0;
  for (Timestamp t = utc(2026, 3, 28, 23); t < utc(2026, 3, 29, 22); t = t + Duration(1min))
    minutes += night.contains(t);
  CHECK(minutes == 0);
  minutes = 0;
  for (Timestamp t = utc(2026, 10, 24, 22); t < utc(2026, 10, 25, 23); t = t + Duration(1min))
    minutes += night.contains(t);
  CHECK(minutes == 120);
}

TEST_CASE("days of the month count from both ends, by the calendar") {
  TimeInterval last;
  last.windows.emplace_back();
  last.windows[0].days_of_month = {{-1, -1}};
  last.windows[0].zone = berlin;
  CHECK(last.contains(utc(2026, 3, 31, 0)));
  CHECK(last.contains(utc(2026, 3, 30, 22)));  // midnight in Berlin
  CHECK_FALSE(last.contains(utc(2026, 3, 30, 21, 59)));
  last.windows[0].days_of_month = {{30, 31}};
  CHECK_FALSE(last.contains(utc(2026, 2, 28, 12)));
  CHECK(last.contains(utc(2026, 4, 30, 12)));
}

TEST_CASE("fields are combined with and, ranges and windows with or") {
  TimeInterval t;
  CHECK_FALSE(t.contains(utc(2026, 1, 1)));
  t.windows.emplace_back();
  CHECK(t.contains(utc(2026, 1, 1)));  // an empty window is always
  t.windows[0].weekdays = {{1, 1}, {4, 4}};
  t.windows[0].months = {{1, 1}};
  CHECK(t.contains(utc(2026, 1, 1)));        // a Thursday in January
  CHECK_FALSE(t.contains(utc(2026, 2, 5)));  // a Thursday in February
  CHECK_FALSE(t.contains(utc(2026, 1, 2)));
  t.windows.push_back({});
  t.windows[1].years = {{2027, 2028}};
  CHECK(t.contains(utc(2028, 7, 7)));
  t.windows[1].minutes.emplace();  // times: [] never is
  CHECK_FALSE(t.contains(utc(2028, 7, 7)));
}
