#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace muster {

// XXH3, 64 bits: the same on every machine and in every version of muster, as stored ids depend on it.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);

// hash64 without its top bit, so that it fits a signed bigint.
std::int64_t hash63(std::string_view bytes);

// The hash of bytes that come in pieces: that of all of them as one, without a seed.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void add(std::string_view bytes);
  std::uint64_t hash64() const;
  std::int64_t hash63() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster
