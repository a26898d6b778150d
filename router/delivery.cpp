#include "router/delivery.hpp"

#include <absl/time/time.h>
#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>

#include "base/hash.hpp"

namespace muster::router {

Answer::Outcome outcome_of(int status) {
  if (status >= 200 && status < 300) return Answer::Outcome::sent;
  if (status >= 500 || status == 408 || status == 425 || status == 429)
    return Answer::Outcome::retry;
  return Answer::Outcome::dead;
}

std::optional<Duration> parse_retry_after(std::string_view text, Timestamp now) {
  // More than a year is a mistake of the sender, and would overflow further on.
  constexpr std::int64_t seconds_max = 366LL * 86'400;
  std::int64_t seconds = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (fault == std::errc{} && end == text.data() + text.size()) {
    if (seconds < 0) return std::nullopt;
    return std::chrono::seconds(std::min(seconds, seconds_max));
  }
  absl::Time date;
  std::string ignored;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", std::string(text), &date, &ignored))
    return std::nullopt;
  const Timestamp until = from_seconds(absl::ToUnixSeconds(date));
  return std::clamp<Duration>(until - now, Duration::zero(), std::chrono::seconds(seconds_max));
}

std::optional<Timestamp> next_attempt(std::string_view key, std::uint32_t attempts,
                                      const Answer& answer, Timestamp now, Timestamp expires_at,
                                      const BackOff& settings) {
  assert(attempts >= 1);
  const double longest = static_cast<double>(settings.longest.count());
  const double wait = std::min(longest, static_cast<double>(settings.first.count()) *
                                            std::pow(settings.growth, std::min(attempts - 1, 64u)));
  // 53 bits of the hash: a number in [0, 1).
  const double share = static_cast<double>(hash64(key, attempts) >> 11) * 0x1p-53;
  Duration pause(std::llround(std::min(longest, wait * (.5 + share))));
  if (answer.retry_after)
    pause = std::max(pause, std::min(*answer.retry_after, settings.retry_after_max));
  const Timestamp at = now + pause;
  if (at > expires_at) return std::nullopt;
  return at;
}

}  // namespace muster::router
