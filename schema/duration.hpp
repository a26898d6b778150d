#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "schema/time.hpp"

namespace muster {

// 1h30m, as Prometheus has it: y w d h m s ms, each once and in this order. A bare 0 is fine.
Result<Duration> parse_duration(std::string_view text);

// The same back, rounded down to the millisecond: "1m30s", "0s". As Prometheus writes it, years, weeks and days
// only where nothing is left of them.
std::string to_text(Duration duration);

}  // namespace muster
