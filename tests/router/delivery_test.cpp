#include "router/delivery.hpp"

#include <catch2/catch.hpp>
#include <cmath>

using namespace muster;
using namespace muster::router;
using namespace std::chrono_literals;

namespace {
constexpr Timestamp now = from_seconds(1'795'000'000);  // Wed, 18 Nov 2026 11:06:40 GMT
constexpr Timestamp far = now + Duration(24h);
}  // namespace

TEST_CASE("an answer says whether it is worth to come again") {
  for (const int status : {200, 202, 204}) CHECK(outcome_of(status) == Answer::Outcome::sent);
  for (const int status : {408, 425, 429, 500, 502, 503, 504})
    CHECK(outcome_of(status) == Answer::Outcome::retry);
  for (const int status : {301, 400, 401, 403, 404, 410, 413})
    CHECK(outcome_of(status) == Answer::Outcome::dead);
}

TEST_CASE("Retry-After is seconds or a date") {
  CHECK(parse_retry_after("120", now) == Duration(120s));
  CHECK(parse_retry_after("Wed, 18 Nov 2026 11:07:10 GMT", now) == Duration(30s));
  CHECK(parse_retry_after("Wed, 18 Nov 2026 11:00:00 GMT", now) == Duration(0));
  CHECK(parse_retry_after("99999999999", now) == Duration(366 * 24h));
  for (const auto* text : {"", "soon", "-1", "1.5", "99999999999999999999"})
    CHECK_FALSE(parse_retry_after(text, now));
}

TEST_CASE("waits grow, differ between notices, and end at a minute") {
  for (std::uint32_t attempt = 1; attempt < 200; ++attempt) {
    // By hand: 0.5 s * 1.5^(n-1), half or half as much again, at most 60 s.
    const double middle = .5 * std::pow(1.5, attempt - 1);
    const auto at = next_attempt("k", attempt, {}, now, far);
    REQUIRE(at);
    const double wait = std::chrono::duration<double>(*at - now).count();
    CHECK(wait >= std::min(30., middle / 2) - 1e-6);
    CHECK(wait <= std::min(60., middle * 1.5) + 1e-6);
    CHECK(next_attempt("k", attempt, {}, now, far) == at);
  }
  CHECK(next_attempt("a", 5, {}, now, far) != next_attempt("b", 5, {}, now, far));
}

TEST_CASE("a receiver's own wish is kept to, within reason") {
  Answer answer;
  answer.retry_after = 120s;
  CHECK(next_attempt("k", 1, answer, now, far) == now + Duration(120s));
  answer.retry_after = 0s;
  CHECK(*next_attempt("k", 1, answer, now, far) > now);
  answer.retry_after = 100h;
  CHECK(next_attempt("k", 1, answer, now, far) == now + Duration(1h));
}

TEST_CASE("what cannot be tried before it expires is given up") {
  CHECK(next_attempt("k", 1, {}, now, now + Duration(750ms)));
  CHECK_FALSE(
      next_attempt("k", 1, {}, now, now + Duration(200ms)));  // the shortest first wait is 250 ms
}
