#include "app/tail.hpp"

#include <catch2/catch.hpp>
#include <thread>

using namespace muster;
using namespace std::chrono_literals;

namespace {

// The id of the batch that comes next; 0 when none does.
std::int64_t next(app::Tail& tail, std::chrono::milliseconds patience) {
  const std::optional<LogBatch> got = tail.pop(patience);
  return got ? got->position.batch : 0;
}

LogBatch batch(std::int64_t id, std::size_t values) {
  LogBatch b;
  b.position = {0, 1, id};
  b.rows.values.resize(values);
  return b;
}

}  // namespace

TEST_CASE("the tail hands batches on in order and forgets the oldest when it is full") {
  app::Tail tail(100);
  for (std::int64_t id = 1; id <= 5; ++id) tail.push(batch(id, 40));
  // 5 x 40 values; 100 hold the last two.
  CHECK(tail.forgotten() == 3);
  CHECK(next(tail, 0ms) == 4);
  CHECK(next(tail, 0ms) == 5);
  CHECK(next(tail, 0ms) == 0);

  // One that is larger than the limit by itself is handed on all the same.
  tail.push(batch(6, 1000));
  CHECK(next(tail, 0ms) == 6);
}

TEST_CASE("whoever waits at the tail is woken by a batch, and by its end") {
  app::Tail tail;
  std::thread writer([&] { tail.push(batch(1, 1)); });
  CHECK(next(tail, 10s) == 1);
  writer.join();

  std::thread closer([&] { tail.close(); });
  const auto began = std::chrono::steady_clock::now();
  CHECK(next(tail, 10s) == 0);
  CHECK(std::chrono::steady_clock::now() - began < 9s);
  closer.join();
}
