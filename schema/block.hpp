#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/time.hpp"

// Columns of numbers over shared times, in few bytes: how samples lie on disk once their hour is over. Every
// value comes back with its 64 bits, whatever NaN it is, and a hole comes back as a hole.
//
// A block is two strings. The head has the times and where each column stands; the body has the columns. So
// one column of a block is read from its head and its own bytes, wherever the rest may be:
//
//   Result<BlockHead> head = BlockHead::read(row.head);
//   const BlockHead::Range range = head->range(slot);          // what to ask the database for
//   read_column(*head, bytes_of_range, column);                // column.values[i] is at head->ts[i]
//
// A column becomes integers (decimals scaled by a power of ten; else the bits of the doubles without what
// they all end in), the integers become differences of order 0, 1 or 2 from what is usual, and those are
// Rice-coded in chunks of 128. Values that are no decimals of that scale, nulls among them, are listed apart.
// docs/storage.md gives the format to the bit. Encoded blocks are stored: never change what a byte means.
//
// source  Rice, Some Practical Universal Noiseless Coding Techniques (1979)
namespace muster {

struct BlockLimits {
  // A day of samples a minute is 1,440; what is longer is cut. Bounds what a damaged head can ask for.
  static constexpr std::size_t rows_max = 8'192;
  // A set has 192 series; a rollup five numbers for each of 192.
  static constexpr std::size_t columns_max = 1'024;
};

// One column beside the times of its block.
struct BlockColumn {
  std::vector<double> values;          // one a time; 0 where there is none
  std::vector<std::uint64_t> present;  // bit i % 64 of word i / 64; empty: every time has a value
  std::size_t count = 0;               // values that are there

  bool has(std::size_t i) const {
    return count > 0 && (present.empty() || (present[i / 64] >> (i % 64) & 1) != 0);
  }
};

struct Block {
  std::string head;
  std::string body;
};

// Times ascend strictly; every column has as many values as there are times, and `count` is right. Asserts
// both and the limits; one time and one column are the least.
Block encode_block(std::span<const Timestamp> ts, std::span<const BlockColumn> columns);

// The digits behind the point that nearly all values of a column have (0 to 18), if they are decimals.
std::optional<unsigned> decimal_digits(const BlockColumn& column);

class BlockHead {
 public:
  // Of bytes from a database: never reads beyond them, and refuses what is no head.
  static Result<BlockHead> read(std::string_view head);

  struct Range {
    std::uint32_t from = 0;  // in the body
    std::uint32_t size = 0;  // 0: the column has no value at all
  };

  std::vector<Timestamp> ts;

  std::size_t columns() const { return ends_.size(); }
  // column < columns()
  Range range(std::size_t column) const {
    const std::uint32_t from = column == 0 ? 0 : ends_[column - 1];
    return {from, ends_[column] - from};
  }
  // Whether a column has a value at every time, without looking into it.
  bool full(std::size_t column) const { return full_[column]; }
  std::size_t body_size() const { return ends_.empty() ? 0 : ends_.back(); }

 private:
  std::vector<std::uint32_t> ends_;
  std::vector<bool> full_;
};

// Decodes a column from its own bytes (body.substr(range.from, range.size)) into `out`, whose memory is used
// again. An error when they are not a column of this block; never reads beyond them.
Result<void> read_column(const BlockHead& head, std::string_view bytes, BlockColumn& out);

}  // namespace muster
