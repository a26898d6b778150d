#pragma once

#include <string>
#include <string_view>

// Text that came from outside.
namespace muster::decode {

// UTF-8, and without the NUL that PostgreSQL cannot keep in a text.
bool is_storable(std::string_view text);

// At most `bytes_max` of it, with bytes that do not belong in a message written as \xNN.
std::string printable(std::string_view text, std::size_t bytes_max = 200);

}  // namespace muster::decode
