#include "collector/decode/text.hpp"

#include <simdjson.h>

#include <charconv>
#include <cmath>

namespace muster::decode {

bool is_storable(std::string_view text) {
  return text.find('\0') == text.npos && simdjson::validate_utf8(text.data(), text.size());
}

std::string printable(std::string_view text, std::size_t bytes_max) {
  const bool cut = text.size() > bytes_max;
  if (cut) text = text.substr(0, bytes_max);
  // A cut inside a character would make the rest look broken: step back to the start of one.
  while (cut && !text.empty() && (static_cast<unsigned char>(text.back()) & 0x80) != 0)
    text.remove_suffix(1);
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());

  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  if (cut) out += "…";
  return out;
}

void append_number(std::string& out, double number) {
  if (std::isnan(number)) {
    out += "NaN";
    return;
  }
  if (std::isinf(number)) {
    out += number > 0 ? "+Inf" : "-Inf";
    return;
  }
  const double size = std::abs(number);
  const bool fixed = size == 0 || (size >= 1e-4 && size < 1e6);
  char text[32];  // a sign, 17 digits, a point and an exponent at most
  const auto [end, fault] =
      std::to_chars(text, text + sizeof text, number,
                    fixed ? std::chars_format::fixed : std::chars_format::scientific);
  out.append(text, end);
}

}  // namespace muster::decode
