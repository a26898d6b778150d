#include "base/hash.hpp"

#include <xxhash.h>

namespace muster {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::int64_t hash63(std::string_view bytes) {
  return static_cast<std::int64_t>(hash64(bytes) & 0x7fff'ffff'ffff'ffffULL);
}

struct Hasher::State {
  XXH3_state_t* of = XXH3_createState();
  ~State() { XXH3_freeState(of); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(state_->of);
}
Hasher::~Hasher() = default;

void Hasher::add(std::string_view bytes) {
  XXH3_64bits_update(state_->of, bytes.data(), bytes.size());
}

std::uint64_t Hasher::hash64() const {
  return XXH3_64bits_digest(state_->of);
}

std::int64_t Hasher::hash63() const {
  return static_cast<std::int64_t>(hash64() & 0x7fff'ffff'ffff'ffffULL);
}

}  // namespace muster
