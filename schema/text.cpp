#include "schema/text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace muster {
namespace {

constexpr char digits[] = "0123456789abcdef";

void append_hex(std::string& out, std::uint32_t value, int width) {
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += digits[(value >> shift) & 15];
}

// What Go's %q leaves as it is. The ranges are the control, format, separator, private and unassigned
// blocks that occur in practice, not the whole Unicode table: a rarer one is shown instead of escaped.
bool printable(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr std::array hidden{
      Range{0x00, 0x1f},       Range{0x7f, 0xa0},     Range{0xad, 0xad},
      Range{0x061c, 0x061c},   Range{0x1680, 0x1680}, Range{0x180e, 0x180e},
      Range{0x2000, 0x200f},   Range{0x2028, 0x202f}, Range{0x205f, 0x206f},
      Range{0x3000, 0x3000},   Range{0xd800, 0xf8ff}, Range{0xfeff, 0xfeff},
      Range{0xfff0, 0xfffb},   Range{0xfffe, 0xffff}, Range{0xe0000, 0xe007f},
      Range{0xf0000, 0x10ffff}};
  return std::none_of(hidden.begin(), hidden.end(),
                      [c](const Range& r) { return c >= r.first && c <= r.last; });
}

}  // namespace

CodePoint code_point(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const std::uint32_t b = byte(0);
  if (at >= text.size()) return {};
  if (b < 0x80) return {1, b};
  if (b >= 0xc2 && b < 0xe0 && tail(1)) return {2, (b & 0x1f) << 6 | (byte(1) & 0x3f)};
  if (b >= 0xe0 && b < 0xf0 && tail(1) && tail(2)) {
    const char32_t c = (b & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    if (c >= 0x800 && (c < 0xd800 || c > 0xdfff)) return {3, c};
  }
  if (b >= 0xf0 && b < 0xf5 && tail(1) && tail(2) && tail(3)) {
    const char32_t c =
        (b & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    if (c >= 0x10000 && c <= 0x10ffff) return {4, c};
  }
  return {};
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point(text, at);
    if (c.bytes == 0) return false;
    at += c.bytes;
  }
  return true;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point(text, at);
    if (c.bytes == 0) {
      out += "\\x";
      append_hex(out, static_cast<unsigned char>(text[at]), 2);
      ++at;
      continue;
    }
    switch (c.value) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\a':
        out += "\\a";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\v':
        out += "\\v";
        break;
      default:
        if (printable(c.value)) {
          out += text.substr(at, c.bytes);
        } else if (c.value < 0x20 || c.value == 0x7f) {
          out += "\\x";
          append_hex(out, c.value, 2);
        } else if (c.value < 0x10000) {
          out += "\\u";
          append_hex(out, c.value, 4);
        } else {
          out += "\\U";
          append_hex(out, c.value, 8);
        }
    }
    at += c.bytes;
  }
  return out + '"';
}

}  // namespace muster
