#pragma once

#include <string>
#include <string_view>

// Text that came from outside.
namespace muster::decode {

// UTF-8, and without the NUL that PostgreSQL cannot keep in a text.
bool is_storable(std::string_view text);

// At most `bytes_max` of it, with bytes that do not belong in a message written as \xNN.
std::string printable(std::string_view text, std::size_t bytes_max = 200);

// A number as Prometheus writes it in texts and in `le` and `quantile`: the fewest digits that give it back,
// with an exponent below 1e-4 and from 1e6 on, NaN, +Inf and -Inf: 0.25, 1e-05, 999999, 1e+06.
void append_number(std::string& out, double number);

}  // namespace muster::decode
