#include "app/tail.hpp"

#include <catch2/catch.hpp>
#include <thread>

using namespace muster;
using namespace std::chrono_literals;

namespace {

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
  CHECK(tail.pop(0ms)->position.batch == 4);
  CHECK(tail.pop(0ms)->position.batch == 5);
  CHECK_FALSE(tail.pop(0ms));

  // One that is larger than the limit by itself is handed on all the same.
  tail.push(batch(6, 1000));
  CHECK(tail.pop(0ms)->position.batch == 6);
}

TEST_CASE("whoever waits at the tail is woken by a batch, and by its end") {
  app::Tail tail;
  std::thread writer([&] { tail.push(batch(1, 1)); });
  CHECK(tail.pop(10s)->position.batch == 1);
  writer.join();

  std::thread closer([&] { tail.close(); });
  const auto began = std::chrono::steady_clock::now();
  CHECK_FALSE(tail.pop(10s));
  CHECK(std::chrono::steady_clock::now() - began < 9s);
  closer.join();
}
