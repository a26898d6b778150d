#include "schema/block.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "schema/series.hpp"

namespace muster {
namespace {

using Words = std::vector<std::uint64_t>;

// The first byte of a head, so that another form can follow one day.
constexpr char version = 1;

// How a column is written; the low three bits of its first byte.
enum class Form : std::uint8_t {
  constant_int = 0,   // one integer, as a signed varint
  constant_bits = 1,  // one double, eight bytes
  decimal = 2,        // integers that are divided by 10^scale
  bits = 3,           // the doubles' own bits, shifted right by what they all end in
  exceptions = 4,     // nothing but exceptions
};
constexpr std::uint8_t form_mask = 7, has_holes = 8, has_exceptions = 16;

// Powers of ten that a double holds exactly, as far as an integer below 2^53 may be divided by them and give
// the nearest double to the decimal.
constexpr std::array<double, 19> powers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                           1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
constexpr double exact_max = 9'007'199'254'740'992.0;  // 2^53

constexpr std::size_t chunk = 128;
constexpr std::uint8_t all_zero = 64;
// Beyond so many ones a residual is written whole; a chunk's parameter makes that rare.
constexpr unsigned ones_max = 20;

constexpr std::uint64_t zigzag(std::uint64_t v) {
  return (v << 1) ^ (v >> 63 ? ~std::uint64_t{0} : 0);
}
constexpr std::uint64_t unzigzag(std::uint64_t v) { return (v >> 1) ^ (0 - (v & 1)); }

void put_varint(std::string& out, std::uint64_t v) {
  for (; v >= 128; v >>= 7) out += static_cast<char>(v | 128);
  out += static_cast<char>(v);
}

void put_bits64(std::string& out, std::uint64_t v) {
  for (int shift = 0; shift < 64; shift += 8) out += static_cast<char>(v >> shift);
}

// Reads forward and knows its end. After a fault everything reads as zero and `good` stays false.
struct Reader {
  const char* at;
  const char* end;
  bool good = true;

  explicit Reader(std::string_view bytes) : at(bytes.data()), end(at + bytes.size()) {}
  std::size_t left() const { return static_cast<std::size_t>(end - at); }

  std::uint8_t byte() {
    if (at == end) return good = false, 0;
    return static_cast<std::uint8_t>(*at++);
  }
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t b = byte();
      v |= static_cast<std::uint64_t>(b & 127) << shift;
      if (b < 128) return v;
    }
    return good = false, 0;
  }
  std::uint64_t bits64() {
    if (left() < 8) return good = false, 0;
    std::uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 8)
      v |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(*at++)) << shift;
    return v;
  }
};

// Bits, the highest of a byte first.
class BitWriter {
 public:
  explicit BitWriter(std::string& out) : out_(out) {}

  void put(std::uint64_t value, unsigned width) {
    if (width > 32) {
      put(value >> 32, width - 32);
      width = 32;
      value &= 0xffff'ffffU;
    }
    held_ = held_ << width | value;
    count_ += width;
    while (count_ >= 8) {
      count_ -= 8;
      out_ += static_cast<char>(held_ >> count_);
    }
  }
  void flush() {
    if (count_ > 0) out_ += static_cast<char>(held_ << (8 - count_));
    count_ = 0;
  }

 private:
  std::string& out_;
  std::uint64_t held_ = 0;
  unsigned count_ = 0;
};

class BitReader {
 public:
  BitReader(const char* from, const char* end)
      : from_(from), size_(static_cast<std::size_t>(end - from)) {}

  // The next bits at the top of a word, at least 57 of them; zeros behind the end.
  std::uint64_t peek() const {
    const std::size_t byte = at_ / 8;
    std::uint64_t word = 0;
    if (byte + 8 <= size_) {
      std::memcpy(&word, from_ + byte, 8);
      word = __builtin_bswap64(word);
    } else if (byte < size_) {
      for (std::size_t i = byte; i < size_; ++i)
        word |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(from_[i])) << (56 - 8 * (i - byte));
    }
    return word << (at_ % 8);
  }
  void skip(unsigned bits) { at_ += bits; }
  std::uint64_t take(unsigned width) {
    if (width == 0) return 0;
    if (width > 32) {
      const std::uint64_t high = take(width - 32);
      return high << 32 | take(32);
    }
    const std::uint64_t v = peek() >> (64 - width);
    at_ += width;
    return v;
  }
  bool within() const { return at_ <= size_ * 8; }
  std::size_t bytes() const { return (at_ + 7) / 8; }

 private:
  const char* from_;
  std::size_t size_;
  std::size_t at_ = 0;
};

// The middle of at most 64 of them, spread over all: what is usual, whatever a few outliers say.
template <class At>
std::uint64_t usual(std::size_t n, At&& at) {
  std::array<std::int64_t, 64> some;
  const std::size_t count = std::min<std::size_t>(n, some.size());
  for (std::size_t i = 0; i < count; ++i) some[i] = static_cast<std::int64_t>(at(i * n / count));
  std::nth_element(some.begin(), some.begin() + count / 2, some.begin() + count);
  return static_cast<std::uint64_t>(some[count / 2]);
}

unsigned width_of(std::uint64_t residual) {
  return 64 - static_cast<unsigned>(std::countl_zero(zigzag(residual)));
}

// What a chunk costs in bits under parameter k, and the cheapest k.
std::uint8_t rice_parameter(const std::uint64_t* z, std::size_t n) {
  std::uint64_t any = 0;
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    any |= z[i];
    sum += static_cast<double>(z[i]);
  }
  if (any == 0) return all_zero;
  const double mean = sum / static_cast<double>(n);
  // 2^k near mean * ln 2 is best for a geometric distribution; its neighbours are tried, as most are not,
  // and the smallest for a chunk whose mean is that of one outlier.
  const int middle = mean <= 1 ? 0 : std::min(62, static_cast<int>(std::log2(mean * 0.6931)));
  const auto cost = [&](unsigned k) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t ones = z[i] >> k;
      bits += ones < ones_max ? ones + 1 + k : ones_max + 64;
    }
    return bits;
  };
  unsigned best = static_cast<unsigned>(middle);
  std::uint64_t least = cost(best);
  const auto attempt = [&](int k) {
    if (k < 0 || k > 62) return false;
    const std::uint64_t bits = cost(static_cast<unsigned>(k));
    if (bits >= least) return false;
    least = bits;
    best = static_cast<unsigned>(k);
    return true;
  };
  for (int k = middle + 1; attempt(k); ++k) {
  }
  for (int k = middle - 1; attempt(k); --k) {
  }
  if (std::uint64_t sorted[chunk]; middle > 2) {
    std::copy(z, z + n, sorted);
    std::nth_element(sorted, sorted + n / 2, sorted + n);
    const int typical = std::bit_width(sorted[n / 2]);
    if (typical < middle - 2)
      for (int k = typical - 1; k <= typical + 1; ++k) attempt(k);
  }
  return static_cast<std::uint8_t>(best);
}

// Integers, all arithmetic modulo 2^64, so that nothing can overflow. Layout: a byte with the order (low two
// bits) and whether a divisor follows (bit 2); the divisor; the first values and the usual step as signed
// varints; then the chunks, each a byte with its parameter and the bits of its residuals, whole bytes.
void put_ints(std::string& out, Words& x, bool may_divide) {
  assert(!x.empty());
  const std::size_t n = x.size();

  // What all steps are multiples of: milliseconds in microseconds, a counter of pages in bytes.
  std::uint64_t divisor = 0;
  if (may_divide) {
    for (std::size_t i = 1; i < n && divisor != 1; ++i) {
      const auto step = static_cast<std::int64_t>(x[i] - x[i - 1]);
      divisor = std::gcd(divisor, static_cast<std::uint64_t>(step < 0 ? -step : step));
    }
  }
  const std::uint64_t origin = x[0];
  const bool divided = divisor > 1;
  if (divided)
    for (std::uint64_t& v : x)
      v = static_cast<std::uint64_t>(static_cast<std::int64_t>(v - origin) / static_cast<std::int64_t>(divisor));

  const std::uint64_t level = usual(n, [&](std::size_t i) { return x[i]; });
  const std::uint64_t step = n < 2 ? 0 : usual(n - 1, [&](std::size_t i) { return x[i + 1] - x[i]; });
  std::uint64_t cost[3] = {width_of(x[0] - level), width_of(x[0]), width_of(x[0])};
  for (std::size_t i = 1; i < n; ++i) {
    cost[0] += width_of(x[i] - level);
    cost[1] += width_of(x[i] - x[i - 1] - step);
    if (i > 1) cost[2] += width_of(x[i] - 2 * x[i - 1] + x[i - 2]);
  }
  // A second difference doubles the noise, and what it saves has to be worth its first values.
  const unsigned order = n > 2 && cost[2] + 8 < std::min(cost[0], cost[1]) ? 2 : n > 1 && cost[1] < cost[0] ? 1 : 0;

  out += static_cast<char>(order | (divided ? 4 : 0));
  if (divided) {
    put_varint(out, divisor);
    put_varint(out, zigzag(origin));
  }
  std::size_t from = 0;
  if (order == 0) {
    put_varint(out, zigzag(level));
  } else {
    put_varint(out, zigzag(x[0]));
    put_varint(out, zigzag(order == 1 ? step : x[1] - x[0]));
    from = order;
  }
  std::uint64_t z[chunk];
  for (; from < n; from += chunk) {
    const std::size_t count = std::min(chunk, n - from);
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = from + k;
      z[k] = zigzag(order == 0   ? x[i] - level
                    : order == 1 ? x[i] - x[i - 1] - step
                                 : x[i] - 2 * x[i - 1] + x[i - 2]);
    }
    const std::uint8_t k = rice_parameter(z, count);
    out += static_cast<char>(k);
    if (k == all_zero) continue;
    BitWriter bits(out);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t ones = z[i] >> k;
      if (ones < ones_max) {
        bits.put((std::uint64_t{1} << (ones + 1)) - 2, static_cast<unsigned>(ones) + 1);
        bits.put(z[i] & ((std::uint64_t{1} << k) - 1), k);
      } else {
        bits.put((std::uint64_t{1} << ones_max) - 1, ones_max);
        bits.put(z[i], 64);
      }
    }
    bits.flush();
  }
}

// The residuals of one chunk.
void take_chunk(BitReader& bits, unsigned k, std::uint64_t* z, std::size_t count) {
  // The head of ones, its end and k bits fit into what one look gives.
  if (k <= 57 - ones_max - 1) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t word = bits.peek();
      const auto ones = static_cast<unsigned>(std::countl_one(word));
      if (ones < ones_max) {
        const std::uint64_t low = k == 0 ? 0 : word << (ones + 1) >> (64 - k);
        bits.skip(ones + 1 + k);
        z[i] = static_cast<std::uint64_t>(ones) << k | low;
      } else {
        bits.skip(ones_max);
        z[i] = bits.take(64);
      }
    }
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const auto ones = static_cast<unsigned>(std::countl_one(bits.peek()));
    if (ones < ones_max) {
      bits.skip(ones + 1);
      z[i] = static_cast<std::uint64_t>(ones) << k | bits.take(k);
    } else {
      bits.skip(ones_max);
      z[i] = bits.take(64);
    }
  }
}

// Fills x, whose size says how many there are.
bool take_ints(Reader& in, Words& x) {
  const std::size_t n = x.size();
  const std::uint8_t how = in.byte();
  const unsigned order = how & 3;
  if (order == 3 || how > 7 || order > n) return false;
  const bool divided = (how & 4) != 0;
  const std::uint64_t divisor = divided ? in.varint() : 1;
  const std::uint64_t origin = divided ? unzigzag(in.varint()) : 0;
  const std::uint64_t first = unzigzag(in.varint());
  const std::uint64_t step = order == 0 ? 0 : unzigzag(in.varint());

  std::size_t from = 0;
  if (order > 0) x[0] = first;
  if (order > 1) x[1] = first + step;
  for (from = order; from < n; from += chunk) {
    const std::size_t count = std::min(chunk, n - from);
    std::uint64_t* const z = x.data() + from;
    const std::uint8_t k = in.byte();
    if (!in.good || k > all_zero || k == 63) return false;
    if (k == all_zero) {
      std::fill(z, z + count, 0);
    } else {
      BitReader bits(in.at, in.end);
      take_chunk(bits, k, z, count);
      if (!bits.within()) return false;
      in.at += bits.bytes();
      for (std::size_t i = 0; i < count; ++i) z[i] = unzigzag(z[i]);
    }
  }
  if (order == 0) {
    for (std::uint64_t& v : x) v += first;
  } else if (order == 1) {
    for (std::size_t i = 1; i < n; ++i) x[i] += x[i - 1] + step;
  } else {
    std::uint64_t d = step;
    for (std::size_t i = 2; i < n; ++i) {
      d += x[i];
      x[i] = x[i - 1] + d;
    }
  }
  if (divided)
    for (std::uint64_t& v : x) v = origin + v * divisor;
  return in.good;
}

// The integer of which v is the decimal with that many digits behind the point, if v is one to the bit.
bool decimal_of(double v, unsigned scale, std::int64_t& out) {
  const double scaled = v * powers[scale];
  if (!(std::abs(scaled) < exact_max)) return false;
  const auto i = static_cast<std::int64_t>(scaled + std::copysign(0.5, scaled));
  out = i;
  return std::bit_cast<std::uint64_t>(static_cast<double>(i) / powers[scale]) == std::bit_cast<std::uint64_t>(v);
}

// A value that is neither null nor stale goes among the numbers.
bool marks(std::uint64_t bits) { return bits == null_bits || bits == stale_bits; }

constexpr unsigned no_scale = powers.size();
// How many of n values may be no decimals of the scale: each takes about ten bytes.
constexpr std::size_t misses_max(std::size_t n) { return 2 + n / 8; }

unsigned own_scale(double v, unsigned from) {
  std::int64_t ignored;
  unsigned s = from;
  while (s < powers.size() && !decimal_of(v, s, ignored)) ++s;
  if (s > from) return s;
  while (s > 0 && decimal_of(v, s - 1, ignored)) --s;
  return s;
}

// The digits behind the point that all values have but a few; no_scale: they are no decimals.
unsigned scale_of(const std::vector<double>& values) {
  unsigned scale = 0;
  std::size_t misses = 0, seen = 0;
  std::int64_t ignored;
  for (const double v : values) {
    ++seen;
    unsigned s = scale;
    while (s < powers.size() && !decimal_of(v, s, ignored)) ++s;
    if (s < powers.size()) {
      scale = s;
    } else if (!marks(std::bit_cast<std::uint64_t>(v)) && ++misses > misses_max(seen)) {
      return no_scale;
    }
  }
  constexpr unsigned usual_max = 7;
  if (scale <= usual_max) return scale;
  // So many digits may be those of a few values, which had better be exceptions: a digit costs each other
  // value 0.42 bytes, an exception costs ten.
  std::array<std::size_t, powers.size() + 1> of{};
  unsigned last = 0;
  for (const double v : values) {
    const unsigned s = own_scale(v, last);
    ++of[s];
    if (s < no_scale) last = s;
  }
  double least = std::numeric_limits<double>::infinity();
  std::size_t above = values.size();
  for (unsigned s = 0; s < powers.size(); ++s) {
    above -= of[s];
    const double cost = 0.42 * s * static_cast<double>(values.size() - above) + 10.0 * static_cast<double>(above);
    if (cost < least) {
      least = cost;
      scale = s;
    }
  }
  return scale;
}

void put_holes(std::string& out, const BlockColumn& column, std::size_t rows) {
  // Lengths of runs, of values first; or a bit a row, whichever is shorter.
  std::string runs;
  std::size_t count = 0, i = 0;
  for (bool there = true; i < rows; there = !there, ++count) {
    std::size_t n = 0;
    while (i < rows && column.has(i) == there) ++i, ++n;
    put_varint(runs, n);
  }
  const std::size_t bytes = (rows + 7) / 8;
  if (runs.size() + 2 <= bytes) {
    put_varint(out, count);
    out += runs;
    return;
  }
  put_varint(out, 0);
  for (std::size_t b = 0; b < bytes; ++b)
    out += static_cast<char>(column.present[b / 8] >> (b % 8 * 8));
}

bool take_holes(Reader& in, std::size_t rows, std::vector<std::uint64_t>& present, std::size_t& count) {
  present.assign((rows + 63) / 64, 0);
  const std::uint64_t runs = in.varint();
  if (runs == 0) {
    for (std::size_t b = 0; b < (rows + 7) / 8; ++b)
      present[b / 8] |= static_cast<std::uint64_t>(in.byte()) << (b % 8 * 8);
    if (rows % 64 != 0) present.back() &= (std::uint64_t{1} << (rows % 64)) - 1;
  } else {
    std::size_t i = 0;
    bool there = true;
    for (std::uint64_t r = 0; r < runs && in.good; ++r, there = !there) {
      const std::uint64_t n = in.varint();
      if (n > rows - i) return false;
      for (const std::size_t end = i + n; i < end; ++i)
        if (there) present[i / 64] |= std::uint64_t{1} << (i % 64);
    }
    if (i != rows) return false;
  }
  count = 0;
  for (const std::uint64_t word : present) count += static_cast<std::size_t>(std::popcount(word));
  return in.good && count > 0;
}

void put_column(std::string& out, const BlockColumn& column, std::size_t rows) {
  assert(column.values.size() == rows && column.count <= rows);
  if (column.count == 0) return;
  std::vector<double> values;
  values.reserve(column.count);
  if (column.count == rows) {
    values = column.values;
  } else {
    for (std::size_t i = 0; i < rows; ++i)
      if (column.has(i)) values.push_back(column.values[i]);
    assert(values.size() == column.count);
  }

  std::uint8_t tag = column.count == rows ? 0 : has_holes;
  const auto begin = [&](Form form) {
    out += static_cast<char>(tag | static_cast<std::uint8_t>(form));
    if ((tag & has_holes) != 0) put_holes(out, column, rows);
  };

  const auto first = std::bit_cast<std::uint64_t>(values[0]);
  if (std::all_of(values.begin(), values.end(),
                  [&](double v) { return std::bit_cast<std::uint64_t>(v) == first; })) {
    if (std::int64_t whole; decimal_of(values[0], 0, whole)) {
      begin(Form::constant_int);
      put_varint(out, zigzag(static_cast<std::uint64_t>(whole)));
    } else {
      begin(Form::constant_bits);
      put_bits64(out, first);
    }
    return;
  }

  struct Exception {
    std::size_t at;
    std::uint64_t bits;
  };
  const unsigned scale = scale_of(values);
  bool decimal = scale < no_scale;
  Words x;
  std::vector<Exception> exceptions;
  std::uint64_t ends = 0;  // bits that any of them has
  for (bool again = true; again;) {
    again = false;
    x.clear();
    x.reserve(values.size());
    exceptions.clear();
    std::size_t misses = 0;
    for (std::size_t i = 0; i < values.size() && !again; ++i) {
      const auto bits = std::bit_cast<std::uint64_t>(values[i]);
      std::int64_t whole = 0;
      if (decimal ? !decimal_of(values[i], scale, whole) : marks(bits)) {
        exceptions.push_back({i, bits});
        again = decimal && !marks(bits) && ++misses > misses_max(values.size());
      } else {
        x.push_back(decimal ? static_cast<std::uint64_t>(whole) : bits);
        ends |= bits;
      }
    }
    if (again) {
      decimal = false;
      ends = 0;
    }
  }

  if (!exceptions.empty()) tag |= has_exceptions;
  begin(x.empty() ? Form::exceptions : decimal ? Form::decimal : Form::bits);
  if (!exceptions.empty()) {
    // What they are, each kind once, then where: how many ordinary values stand between, and which kind.
    Words kinds;
    for (const Exception& e : exceptions) kinds.push_back(e.bits);
    std::sort(kinds.begin(), kinds.end());
    kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
    put_varint(out, kinds.size());
    for (const std::uint64_t bits : kinds) put_bits64(out, bits);
    put_varint(out, exceptions.size());
    std::size_t after = 0;
    for (const Exception& e : exceptions) {
      put_varint(out, e.at - after);
      after = e.at + 1;
      if (kinds.size() > 1)
        put_varint(out, static_cast<std::uint64_t>(std::lower_bound(kinds.begin(), kinds.end(), e.bits) - kinds.begin()));
    }
  }
  if (x.empty()) return;
  const auto shift = decimal ? scale : ends == 0 ? 0U : static_cast<unsigned>(std::countr_zero(ends));
  out += static_cast<char>(shift);
  if (!decimal)
    for (std::uint64_t& v : x) v >>= shift;
  put_ints(out, x, decimal);
}

Error broken(const char* what) { return {"block", what}; }

}  // namespace

Block encode_block(std::span<const Timestamp> ts, std::span<const BlockColumn> columns) {
  assert(!ts.empty() && ts.size() <= BlockLimits::rows_max);
  assert(!columns.empty() && columns.size() <= BlockLimits::columns_max);
  Block block;
  block.head += version;
  put_varint(block.head, ts.size());
  put_varint(block.head, columns.size());
  Words times;
  bool small = true;  // differences that do not overflow
  for (std::size_t i = 0; i < ts.size(); ++i) {
    assert(i == 0 || ts[i - 1] < ts[i]);
    small = small && std::abs(static_cast<double>(ts[i].us)) < 4e18;
    times.push_back(static_cast<std::uint64_t>(ts[i].us));
  }
  put_ints(block.head, times, small);
  for (const BlockColumn& column : columns) {
    const std::size_t before = block.body.size();
    put_column(block.body, column, ts.size());
    const bool full = column.count == ts.size();
    put_varint(block.head, (block.body.size() - before) << 1 | (full ? 1 : 0));
  }
  return block;
}

std::optional<unsigned> decimal_digits(const BlockColumn& column) {
  if (column.count == 0) return std::nullopt;
  unsigned scale = no_scale;
  if (column.count == column.values.size()) {
    scale = scale_of(column.values);
  } else {
    std::vector<double> values;
    values.reserve(column.count);
    for (std::size_t i = 0; i < column.values.size(); ++i)
      if (column.has(i)) values.push_back(column.values[i]);
    scale = scale_of(values);
  }
  if (scale >= no_scale) return std::nullopt;
  return scale;
}

Result<BlockHead> BlockHead::read(std::string_view bytes) {
  Reader in(bytes);
  if (in.byte() != version) return broken("the head is of a form that this version of muster does not know");
  const std::uint64_t rows = in.varint(), columns = in.varint();
  if (!in.good || rows == 0 || rows > BlockLimits::rows_max || columns == 0 || columns > BlockLimits::columns_max)
    return broken("the head claims too many rows or columns, or none");
  BlockHead head;
  Words times(rows);
  if (!take_ints(in, times)) return broken("the times cannot be read");
  head.ts.reserve(rows);
  for (const std::uint64_t us : times) {
    const Timestamp t{static_cast<std::int64_t>(us)};
    if (!head.ts.empty() && !(head.ts.back() < t)) return broken("the times do not ascend");
    head.ts.push_back(t);
  }
  head.ends_.reserve(columns);
  std::uint64_t end = 0;
  for (std::uint64_t c = 0; c < columns; ++c) {
    const std::uint64_t sized = in.varint(), size = sized >> 1;
    end += size;
    if (!in.good || size > std::numeric_limits<std::uint32_t>::max() || end > std::numeric_limits<std::int32_t>::max())
      return broken("the sizes of the columns cannot be read");
    head.ends_.push_back(static_cast<std::uint32_t>(end));
    head.full_.push_back((sized & 1) != 0);
  }
  if (in.left() != 0) return broken("bytes follow the head");
  return head;
}

Result<void> read_column(const BlockHead& head, std::string_view bytes, BlockColumn& out) {
  const std::size_t rows = head.ts.size();
  out.present.clear();
  out.values.resize(rows);
  out.count = 0;
  if (bytes.empty()) {
    std::fill(out.values.begin(), out.values.end(), 0.0);
    return {};
  }
  Reader in(bytes);
  const std::uint8_t tag = in.byte();
  if ((tag & ~(form_mask | has_holes | has_exceptions)) != 0) return broken("a column is of an unknown form");
  const Form form{static_cast<std::uint8_t>(tag & form_mask)};
  std::size_t count = rows;
  if ((tag & has_holes) != 0 && !take_holes(in, rows, out.present, count)) return broken("the holes of a column cannot be read");

  struct Exception {
    std::size_t at;
    std::uint64_t bits;
  };
  std::vector<Exception> exceptions;
  if ((tag & has_exceptions) != 0) {
    const std::uint64_t kinds = in.varint();
    if (kinds == 0 || kinds > count || kinds * 8 > in.left()) return broken("the exceptions of a column cannot be read");
    Words kind(kinds);
    for (std::uint64_t& bits : kind) bits = in.bits64();
    const std::uint64_t n = in.varint();
    if (n == 0 || n > count || n > in.left()) return broken("the exceptions of a column cannot be read");
    exceptions.reserve(n);
    std::size_t after = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t gap = in.varint();
      const std::uint64_t which = kinds > 1 ? in.varint() : 0;
      if (!in.good || gap >= count - after || which >= kinds) return broken("the exceptions of a column cannot be read");
      exceptions.push_back({after + gap, kind[which]});
      after += gap + 1;
      if (after == count && i + 1 < n) return broken("the exceptions of a column cannot be read");
    }
  }

  // The values that are there, at the front; they find their places below.
  double* const values = out.values.data();
  const std::size_t ordinary = count - exceptions.size();
  switch (form) {
    case Form::constant_int:
      std::fill(values, values + ordinary, static_cast<double>(static_cast<std::int64_t>(unzigzag(in.varint()))));
      break;
    case Form::constant_bits:
      std::fill(values, values + ordinary, std::bit_cast<double>(in.bits64()));
      break;
    case Form::decimal:
    case Form::bits: {
      if (ordinary == 0) return broken("a column has no value beside its exceptions");
      const std::uint8_t shift = in.byte();
      if (form == Form::decimal ? shift >= powers.size() : shift > 63) return broken("a column has an unknown scale");
      thread_local Words x;
      x.resize(ordinary);
      if (!take_ints(in, x)) return broken("a column cannot be read");
      if (form == Form::bits) {
        for (std::size_t i = 0; i < ordinary; ++i) values[i] = std::bit_cast<double>(x[i] << shift);
      } else if (shift == 0) {
        for (std::size_t i = 0; i < ordinary; ++i) values[i] = static_cast<double>(static_cast<std::int64_t>(x[i]));
      } else {
        const double by = powers[shift];
        for (std::size_t i = 0; i < ordinary; ++i) values[i] = static_cast<double>(static_cast<std::int64_t>(x[i])) / by;
      }
      break;
    }
    case Form::exceptions:
      if (ordinary != 0) return broken("a column has values beside its exceptions");
      break;
    default:
      return broken("a column is of an unknown form");
  }
  if (!in.good || in.left() != 0) return broken("a column is shorter or longer than its head says");

  // From the back, so that nothing is overwritten before it has moved.
  if (!exceptions.empty()) {
    std::size_t from = ordinary, to = count;
    for (std::size_t e = exceptions.size(); e-- > 0;) {
      const std::size_t at = exceptions[e].at;
      while (to > at + 1) values[--to] = values[--from];
      values[--to] = std::bit_cast<double>(exceptions[e].bits);
    }
  }
  if (count < rows) {
    std::size_t from = count;
    for (std::size_t i = rows; i-- > 0;) {
      const bool there = (out.present[i / 64] >> (i % 64) & 1) != 0;
      values[i] = there ? values[--from] : 0.0;
    }
  } else {
    out.present.clear();
  }
  out.count = count;
  return {};
}

}  // namespace muster
