#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace muster {

// A double-quoted Go string: what cannot be printed, and bytes that are not UTF-8, become escapes.
std::string quote(std::string_view text);

// One code point of UTF-8 at `at`: how many bytes it takes, and what it is; 0 bytes when it is not UTF-8.
struct CodePoint {
  std::size_t bytes = 0;
  char32_t value = 0;
};
CodePoint code_point(std::string_view text, std::size_t at);
bool is_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t value);

}  // namespace muster
