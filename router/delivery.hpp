#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "schema/time.hpp"

namespace muster::router {

// What became of one attempt to deliver a notice.
struct Answer {
  enum class Outcome {
    sent,   // done
    retry,  // the same again, later
    dead,   // it will never be taken as it is; a person has to look
  };
  Outcome outcome = Outcome::retry;
  int status = 0;                       // HTTP; 0: there was no answer
  std::string what;                     // one line for the log and the page; empty when all is well
  std::optional<Duration> retry_after;  // the receiver's own wish
};

// What an HTTP status of a receiver means: 2xx is done; 408, 425, 429 and 5xx come again; a redirect or any
// other 4xx would be the same tomorrow.
Answer::Outcome outcome_of(int status);

// A Retry-After header: seconds, or an HTTP date after `now`. Nothing when it is neither.
std::optional<Duration> parse_retry_after(std::string_view text, Timestamp now);

struct BackOff {
  Duration first =
      std::chrono::milliseconds(500);  // a restart of a receiver behind a proxy is over by then
  double growth = 1.5;                 // ten attempts in the first minute
  Duration longest = std::chrono::seconds(60);  // whoever comes back is told within a minute
  // A receiver may ask for more than `longest`, and is believed that far: a day's ban is a matter for people.
  Duration retry_after_max = std::chrono::hours(1);
};

// When to try again after `attempts` failed ones (at least 1), or nothing when that lies beyond
// `expires_at`: then the notice is given up. The wait is first * growth^(attempts-1), half as much or half as
// much again, so that many notices to one receiver do not come back together; the same for the same key and
// attempt. A Retry-After is kept to, and never undercut.
std::optional<Timestamp> next_attempt(std::string_view key, std::uint32_t attempts,
                                      const Answer& answer, Timestamp now, Timestamp expires_at,
                                      const BackOff& settings = {});

}  // namespace muster::router
