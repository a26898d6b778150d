#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.hpp"

namespace muster::decode {

// What a snappy block holds: at most `bytes_max` bytes, of which no more are allocated than the block can fill.
//
// spare  zeroes behind them, for whoever copies texts in steps of a fixed size
Result<std::vector<char>> undo_snappy(std::span<const char> block, std::size_t bytes_max,
                                      std::size_t spare = 0);

}  // namespace muster::decode
