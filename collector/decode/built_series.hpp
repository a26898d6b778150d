#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "schema/samples.hpp"

namespace muster::decode {

// Series whose label fields are made here, and not found in a request. Their bytes move while they grow, so each
// series is told where its labels are when all are made.
//
//   char* at = built.room(bytes);
//   at = put_label(at, "__name__", name); …      // at most `bytes`
//   built.close(batch, series, at, at);
//   …
//   built.settle(batch);
class BuiltSeries {
 public:
  // About how much there will be, so that it grows once.
  void expect(std::size_t bytes) { expected_ = bytes; }

  // Room to write so many bytes at, and spare_bytes behind them that may be overwritten. Valid until the next call.
  static constexpr std::size_t spare_bytes = 32;
  char* room(std::size_t bytes) {
    if (bytes_.size() - used_ < bytes + spare_bytes) grow(bytes);
    return bytes_.data() + used_;
  }
  // The room up to `end` holds the labels of `series`, which goes into the batch. Its alias is that of those up to
  // `alias_end`: labels reserved for us stand behind it, as they do not make another series.
  void close(SampleBatch& batch, RawSeries series, const char* alias_end, const char* end);
  // The same labels as the series closed before.
  void again(SampleBatch& batch, RawSeries series);

  std::size_t bytes() const { return used_; }
  // Brings the labels made to those of the request, if there are such, and tells all series where theirs are.
  // Gives the bytes that the batch had, when it had to get others.
  std::vector<char> settle(SampleBatch& batch);

 private:
  void grow(std::size_t bytes);

  struct Made {
    std::uint32_t series = 0;  // its index in the batch
    std::uint32_t size = 0;
    std::size_t first = 0;
  };
  std::vector<char> bytes_;
  std::size_t used_ = 0;
  std::size_t expected_ = 0;
  std::vector<Made> made_;
};

// Bytes that a label takes at most, beside its name and value.
inline constexpr std::size_t label_overhead_max = 12;

// A label field of 127 bytes at most takes a byte for each of its lengths.
inline char* put_varint(char* at, std::size_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

// Copies a text, and when it is short whatever stands behind it: most names and values are, and two moves of 16
// bytes cost less than a call. There must be BuiltSeries::spare_bytes behind both.
inline char* put_text(char* at, std::string_view text) {
  if (text.empty()) return at;  // it may stand nowhere
  if (text.size() <= 32) {
    std::memcpy(at, text.data(), 16);
    if (text.size() > 16) std::memcpy(at + 16, text.data() + 16, 16);
  } else {
    std::memcpy(at, text.data(), text.size());
  }
  return at + text.size();
}

// A label field as append_label_field (label_fields.hpp) makes it; name and value as put_text wants them.
inline char* put_label(char* at, std::string_view name, std::string_view value) {
  constexpr char name_tag = 0x0a;  // field 1, length-delimited; a label's own tag too
  constexpr char value_tag = 0x12;
  const std::size_t size = 4 + name.size() + value.size();
  if (size <= 127) {
    *at++ = name_tag;
    *at++ = static_cast<char>(size);
    *at++ = name_tag;
    *at++ = static_cast<char>(name.size());
    at = put_text(at, name);
    *at++ = value_tag;
    *at++ = static_cast<char>(value.size());
    return put_text(at, value);
  }
  const auto varint_bytes = [](std::size_t n) { return n < 0x80 ? 1u : n < 0x4000 ? 2u : 3u; };
  *at++ = name_tag;
  at = put_varint(
      at, 2 + varint_bytes(name.size()) + name.size() + varint_bytes(value.size()) + value.size());
  *at++ = name_tag;
  at = put_varint(at, name.size());
  at = put_text(at, name);
  *at++ = value_tag;
  at = put_varint(at, value.size());
  return put_text(at, value);
}

}  // namespace muster::decode
