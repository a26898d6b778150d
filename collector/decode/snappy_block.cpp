#include "collector/decode/snappy_block.hpp"

#include <string>

#include <snappy.h>

namespace muster::decode {

Result<std::vector<char>> undo_snappy(std::span<const char> block, std::size_t bytes_max,
                                      std::size_t spare) {
  std::size_t size = 0;
  if (block.empty() || !snappy::GetUncompressedLength(block.data(), block.size(), &size))
    return Error{"body",
                 "not a snappy block; remote write wants the block format, not the framed one"};
  if (size > bytes_max)
    return Error{"body", "claims " + std::to_string(size) + " bytes decompressed, at most " +
                             std::to_string(bytes_max) + " are taken; lower max_samples_per_send"};
  // Three bytes of a snappy block give 64 at most, so a claim beyond that is false: nothing is allocated.
  if (size / 22 > block.size()) return Error{"body", "snappy: its claimed size cannot be true"};
  std::vector<char> bytes(size + spare);
  if (!snappy::RawUncompress(block.data(), block.size(), bytes.data()))
    return Error{"body", "snappy: the block is damaged or cut short"};
  return bytes;
}

}  // namespace muster::decode
