#pragma once

#include <cstdint>
#include <string_view>

namespace muster {

// XXH3, 64 bits: the same on every machine and in every version of muster, as stored ids depend on it.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);

// hash64 without its top bit, so that it fits a signed bigint.
std::int64_t hash63(std::string_view bytes);

}  // namespace muster
