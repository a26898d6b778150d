#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace muster::http {

// Whether two header names are the same one: ASCII case does not matter.
bool same_name(std::string_view a, std::string_view b);

// `text` with %41 turned into A; nothing when an escape is malformed. In a query '+' is a space
// too.
std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space);

}  // namespace muster::http
