#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "schema/time.hpp"

namespace muster::query {

// A value as Prometheus prints it in JSON: the shortest decimal that reads back to the same bits, without an
// exponent from 1e-6 up to 1e21; NaN, +Inf, -Inf.
void append_value(std::string& out, double value);
// Never with an exponent: the value of a label made by count_values.
void append_fixed(std::string& out, double value);
// Unix seconds, with three decimals where there are milliseconds.
void append_seconds(std::string& out, Timestamp at);

// 5m, 1h30m, 100ms; units y w d h m s ms, each once, larger first. Nothing else; no sign.
std::optional<Duration> parse_duration(std::string_view text);
// 12, 1.5e3, 0x1f, Inf, NaN, with a sign.
std::optional<double> parse_number(std::string_view text);

}  // namespace muster::query
