#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "schema/block.hpp"
#include "schema/series.hpp"
#include "tests/fuzz/mutate.hpp"

using namespace muster;

namespace {

std::uint64_t bits(double v) { return std::bit_cast<std::uint64_t>(v); }

BlockColumn full(std::vector<double> values) {
  BlockColumn column;
  column.count = values.size();
  column.values = std::move(values);
  return column;
}

// Keeps the values for which `keep` is true.
BlockColumn with_holes(const std::vector<double>& values, const std::function<bool(std::size_t)>& keep) {
  BlockColumn column;
  column.values = values;
  column.present.resize((values.size() + 63) / 64);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!keep(i)) {
      column.values[i] = 0;
      continue;
    }
    column.present[i / 64] |= std::uint64_t{1} << (i % 64);
    ++column.count;
  }
  if (column.count == values.size()) column.present.clear();
  return column;
}

std::vector<Timestamp> every(std::size_t n, Duration step) {
  std::vector<Timestamp> ts;
  for (std::size_t i = 0; i < n; ++i) ts.push_back(from_seconds(1'764'000'000) + step * static_cast<int>(i));
  return ts;
}

// The place of the first difference, or nothing.
std::string difference(const BlockColumn& a, const BlockColumn& b) {
  if (a.count != b.count) return "counts " + std::to_string(a.count) + " and " + std::to_string(b.count);
  if (a.values.size() != b.values.size()) return "sizes differ";
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    if (a.has(i) != b.has(i)) return "a hole at " + std::to_string(i);
    if (a.has(i) && bits(a.values[i]) != bits(b.values[i])) return "a value at " + std::to_string(i);
  }
  return "";
}

BlockColumn read(const Block& block, std::size_t column) {
  const auto head = BlockHead::read(block.head);
  REQUIRE(head);
  const auto [from, size] = head->range(column);
  BlockColumn out;
  REQUIRE(read_column(*head, std::string_view(block.body).substr(from, size), out));
  return out;
}

// Bytes that the column takes.
std::size_t comes_back(const BlockColumn& column, const std::vector<Timestamp>& ts) {
  const Block block = encode_block(ts, std::vector{column});
  const auto head = BlockHead::read(block.head);
  REQUIRE(head);
  CHECK(head->ts == ts);
  REQUIRE(head->columns() == 1);
  CHECK(difference(column, read(block, 0)) == "");
  return block.body.size();
}

std::size_t comes_back(std::vector<double> values) {
  const std::size_t n = values.size();
  return comes_back(full(std::move(values)), every(n, std::chrono::seconds(15)));
}

template <class Make>
std::vector<double> make(std::size_t n, Make&& of) {
  std::vector<double> values;
  for (std::size_t i = 0; i < n; ++i) values.push_back(of(i));
  return values;
}

}  // namespace

TEST_CASE("a block gives back every kind of column to the bit") {
  std::mt19937_64 random(7);
  const auto unit = [&] { return std::uniform_real_distribution<>(0, 1)(random); };
  const auto digits = [](double v, double power) { return std::round(v * power) / power; };
  constexpr double inf = std::numeric_limits<double>::infinity();
  const double nan_payload = std::bit_cast<double>(std::uint64_t{0x7ff8'dead'beef'0001});
  const double signalling = std::bit_cast<double>(std::uint64_t{0xfff0'0000'0000'0001});
  const double stale = std::bit_cast<double>(stale_bits);

  for (const std::size_t n : {1, 2, 3, 63, 64, 65, 127, 128, 129, 600, 8'192}) {
    INFO(n << " values");
    comes_back(make(n, [](auto) { return 0.5; }));
    comes_back(make(n, [](auto) { return 7.0; }));
    comes_back(make(n, [](auto) { return -0.0; }));
    comes_back(make(n, [](auto) { return stale_bits == 0 ? 0.0 : std::bit_cast<double>(stale_bits); }));
    comes_back(make(n, [](auto i) { return static_cast<double>(i % 2) * -0.0; }));
    comes_back(make(n, [&](auto) { return digits(unit(), 1e3); }));
    comes_back(make(n, [&](auto) { return digits(unit() * 1e5, 1e2); }));
    comes_back(make(n, [&](auto) { return unit(); }));
    comes_back(make(n, [&](auto) { return std::exp(60 * unit() - 30); }));
    comes_back(make(n, [&](auto) { return std::bit_cast<double>(random()); }));
    comes_back(make(n, [&](auto) { return static_cast<double>(static_cast<float>(unit())); }));
    comes_back(make(n, [](auto i) { return 1e17 + 16.0 * static_cast<double>(i * i); }));
    comes_back(make(n, [](auto i) { return static_cast<double>(i) * std::numeric_limits<double>::denorm_min(); }));
    comes_back(make(n, [](auto i) { return (i % 2 ? 1 : -1) * 9'007'199'254'740'991.0; }));
    comes_back(make(n, [](auto i) { return (i % 2 ? 1 : -1) * std::numeric_limits<double>::max(); }));
    comes_back(make(n, [&](auto i) { return i % 3 ? digits(unit(), 1e2) : null_value(); }));
    comes_back(make(n, [&](auto i) { return i % 7 ? unit() : stale; }));
    comes_back(make(n, [&](auto i) { return i % 50 == 49 ? inf : i % 50 == 48 ? -inf : i % 50 == 47 ? nan_payload : i % 50 == 46 ? signalling : digits(unit(), 10); }));
    comes_back(make(n, [&](auto i) { return i % 2 ? null_value() : stale; }));
    comes_back(make(n, [&](auto i) { return i == n / 2 ? 0.123456789012345 : digits(100 * unit(), 10); }));
    comes_back(make(n, [&](auto i) { return i < n / 2 ? digits(unit(), 100) : unit(); }));
  }
}

TEST_CASE("a block keeps holes, in whatever pattern they lie") {
  std::mt19937_64 random(8);
  const auto ts = every(700, std::chrono::minutes(1));
  std::vector<double> values;
  for (std::size_t i = 0; i < ts.size(); ++i)
    values.push_back(i % 11 == 0 ? null_value() : static_cast<double>(random() % 1000) / 100);
  const std::vector<std::function<bool(std::size_t)>> patterns = {
      [](std::size_t) { return true; },         [](std::size_t) { return false; },
      [](std::size_t i) { return i == 0; },     [](std::size_t i) { return i == 699; },
      [](std::size_t i) { return i % 2 == 1; }, [](std::size_t i) { return i > 300 && i < 400; },
      [&](std::size_t) { return random() % 4 == 0; }};
  std::vector<BlockColumn> columns;
  for (const auto& keep : patterns) columns.push_back(with_holes(values, keep));
  const Block block = encode_block(ts, columns);
  BlockColumn again;  // one for all, as a reader would have it
  const auto head = BlockHead::read(block.head);
  REQUIRE(head);
  CHECK(head->range(1).size == 0);
  CHECK(head->body_size() == block.body.size());
  for (std::size_t c = 0; c < patterns.size(); ++c) CHECK(head->full(c) == (c == 0));
  for (std::size_t c : {6, 0, 3, 1, 5, 2, 4}) {
    const auto [from, size] = head->range(c);
    REQUIRE(read_column(*head, std::string_view(block.body).substr(from, size), again));
    CHECK(difference(columns[c], again) == "");
  }
}

TEST_CASE("a set of 192 series is one block, and a column is read alone") {
  std::mt19937_64 random(9);
  const auto ts = every(480, std::chrono::seconds(15));
  std::vector<BlockColumn> columns;
  for (int c = 0; c < 192; ++c) {
    std::vector<double> values;
    for (std::size_t i = 0; i < ts.size(); ++i) values.push_back(std::round(std::sin(0.01 * static_cast<double>(i * c)) * 1000 + static_cast<double>(random() % 10)) / 100);
    columns.push_back(full(std::move(values)));
  }
  const Block block = encode_block(ts, columns);
  for (std::size_t c = 0; c < 192; ++c) CHECK(difference(columns[c], read(block, c)) == "");
}

TEST_CASE("times of any kind come back") {
  const auto through = [](std::vector<std::int64_t> us) {
    std::vector<Timestamp> ts;
    for (const std::int64_t t : us) ts.push_back({t});
    const Block block = encode_block(ts, std::vector{full(std::vector<double>(ts.size(), 1.0))});
    const auto head = BlockHead::read(block.head);
    REQUIRE(head);
    CHECK(head->ts == ts);
    return block.head.size();
  };
  constexpr auto least = std::numeric_limits<std::int64_t>::min(), most = std::numeric_limits<std::int64_t>::max();
  through({0});
  through({-5, 3});
  through({least, -1, 0, most});
  through({1, 2, 3, 5, 8, 13});
  std::vector<std::int64_t> regular, jittered;
  std::mt19937_64 random(10);
  for (int i = 0; i < 1'440; ++i) {
    regular.push_back(1'764'000'000'000'000 + i * 60'000'000LL);
    jittered.push_back(regular.back() + static_cast<std::int64_t>(random() % 8) * 1000);
  }
  // By hand: the divisor is the step itself, so twelve chunks of zeros at a byte each, and about twenty bytes
  // of first values and sizes.
  CHECK(through(regular) < 40);
  // Differences of +-7 ms: a little under four bits of entropy, Rice codes spend half a bit more.
  CHECK(through(jittered) < 1'440 * 5 / 8 + 60);
}

TEST_CASE("what is regular takes few bytes") {
  std::mt19937_64 random(11);
  // Uniform in 0..255 steps of 0.001: eight bits of entropy, nine and a little as a Rice code.
  CHECK(comes_back(make(1024, [&](auto) { return static_cast<double>(random() % 256) / 1000; })) < 1024 * 9.5 / 8);
  CHECK(comes_back(make(1024, [](auto i) { return 0.1 * static_cast<double>(i / 1024); })) < 12);
  // A counter that grows by the same each time, from far above 2^53.
  CHECK(comes_back(make(1024, [](auto i) { return 1e17 + 1600.0 * static_cast<double>(i); })) < 60);
  // Eight nulls among two-digit decimals do not cost more than two bytes each.
  const auto plain = make(1024, [](auto i) { return static_cast<double>(i * 37 % 100) / 10; });
  auto some_null = plain;
  for (std::size_t i = 100; i < 1000; i += 120) some_null[i] = null_value();
  CHECK(comes_back(some_null) <= comes_back(plain) + 8 * 2 + 16);
}

TEST_CASE("damaged blocks are refused or read as something, and nothing is read beyond them") {
  std::mt19937_64 random(12);
  const auto ts = every(150, std::chrono::seconds(15));
  std::vector<BlockColumn> columns;
  columns.push_back(full(make(150, [&](auto) { return static_cast<double>(random() % 500) / 100; })));
  columns.push_back(with_holes(make(150, [&](auto i) { return i % 9 ? std::uniform_real_distribution<>()(random) : null_value(); }), [](std::size_t i) { return i % 5 != 0; }));
  columns.push_back(full(make(150, [](auto i) { return static_cast<double>(i) * 8; })));
  columns.push_back(full(make(150, [&](auto i) { return i % 2 ? null_value() : std::bit_cast<double>(stale_bits); })));
  const Block block = encode_block(ts, columns);

  fuzz::Plan heads;
  heads.corpus = {block.head, encode_block(every(1, Duration(1)), std::vector{full({1})}).head};
  const fuzz::Outcome of_heads = fuzz::run(heads, [](std::string_view bytes) {
    // On the heap to the byte, so that a sanitizer sees a step too far.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    const auto head = BlockHead::read({exact.data(), exact.size()});
    if (!head) return;
    if (head->ts.size() > BlockLimits::rows_max || head->columns() > BlockLimits::columns_max) throw std::runtime_error("beyond the limits");
    for (std::size_t c = 0; c < head->columns(); ++c) {
      const auto [from, size] = head->range(c);
      if (from + std::uint64_t{size} > head->body_size()) throw std::runtime_error("a column beyond the body");
    }
  });
  INFO(of_heads.summary);
  CHECK(of_heads.failure.empty());

  const auto head = BlockHead::read(block.head);
  REQUIRE(head);
  fuzz::Plan bodies;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const auto [from, size] = head->range(c);
    bodies.corpus.push_back(block.body.substr(from, size));
  }
  const fuzz::Outcome of_bodies = fuzz::run(bodies, [&](std::string_view bytes) {
    const std::vector<char> exact(bytes.begin(), bytes.end());
    BlockColumn column;
    if (!read_column(*head, {exact.data(), exact.size()}, column)) return;
    std::size_t there = 0;
    for (std::size_t i = 0; i < ts.size(); ++i) there += column.has(i);
    if (there != column.count || column.values.size() != ts.size()) throw std::runtime_error("a column that contradicts itself");
  });
  INFO(of_bodies.summary);
  CHECK(of_bodies.failure.empty());
}

TEST_CASE("a column is refused by its reason") {
  const auto ts = every(10, std::chrono::seconds(1));
  const Block block = encode_block(ts, std::vector{full(make(10, [](auto i) { return static_cast<double>(i * i) / 10; }))});
  const auto head = BlockHead::read(block.head);
  REQUIRE(head);
  BlockColumn column;
  CHECK(read_column(*head, block.body.substr(0, block.body.size() - 1), column).error().what == "a column cannot be read");
  CHECK(read_column(*head, block.body + "x", column).error().what == "a column is shorter or longer than its head says");
  CHECK(read_column(*head, "\x07", column).error().what == "a column is of an unknown form");
  CHECK(BlockHead::read("").error().what == "the head is of a form that this version of muster does not know");
  CHECK(BlockHead::read(block.head + "x").error().what == "bytes follow the head");
  CHECK(BlockHead::read(block.head.substr(0, 2)).error().what == "the head claims too many rows or columns, or none");
}
