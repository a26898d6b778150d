#include "router/labels.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include <openssl/sha.h>

namespace muster::router {
namespace {

constexpr char digits[] = "0123456789abcdef";

void append_hex(std::string& out, std::uint32_t value, int width) {
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += digits[(value >> shift) & 15];
}

}  // namespace

Labels canonical(Labels labels) {
  std::stable_sort(labels.begin(), labels.end(),
                   [](const Label& a, const Label& b) { return a.name < b.name; });
  Labels out;
  for (Label& label : labels) {
    if (!out.empty() && out.back().name == label.name) out.pop_back();
    out.push_back(std::move(label));
  }
  std::erase_if(out, [](const Label& l) { return l.value.empty(); });
  return out;
}

void set_label(Labels& labels, std::string_view name, std::string_view value) {
  const auto at = std::lower_bound(labels.begin(), labels.end(), name,
                                   [](const Label& l, std::string_view n) { return l.name < n; });
  const bool there = at != labels.end() && at->name == name;
  if (value.empty()) {
    if (there) labels.erase(at);
  } else if (there) {
    at->value = value;
  } else {
    labels.insert(at, Label{std::string(name), std::string(value)});
  }
}

std::string fingerprint(const Labels& labels) {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto add = [&hash](unsigned char byte) {
    hash ^= byte;
    hash *= 1099511628211ULL;
  };
  for (const Label& label : labels) {
    for (const char c : label.name) add(static_cast<unsigned char>(c));
    add(0xff);
    for (const char c : label.value) add(static_cast<unsigned char>(c));
    add(0xff);
  }
  std::string out;
  append_hex(out, static_cast<std::uint32_t>(hash >> 32), 8);
  append_hex(out, static_cast<std::uint32_t>(hash), 8);
  return out;
}

std::string identity(const Labels& labels) {
  std::string out;
  for (const Label& label : labels) {
    if (!out.empty()) out += ',';
    out += quote(label.name) + '=' + quote(label.value);
  }
  return out;
}

std::string to_text(const Labels& labels) {
  std::string out = "{";
  for (const Label& label : labels) {
    if (out.size() > 1) out += ", ";
    out += label.name + '=' + quote(label.value);
  }
  return out + '}';
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  std::string out;
  for (const unsigned char byte : digest) append_hex(out, byte, 2);
  return out;
}

}  // namespace muster::router
