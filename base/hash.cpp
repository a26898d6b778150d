#include "base/hash.hpp"

#include <xxhash.h>

namespace muster {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::int64_t hash63(std::string_view bytes) {
  return static_cast<std::int64_t>(hash64(bytes) & 0x7fff'ffff'ffff'ffffULL);
}

}  // namespace muster
