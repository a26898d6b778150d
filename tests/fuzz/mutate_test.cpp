#include "tests/fuzz/mutate.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <stdexcept>
#include <thread>

using namespace muster;

namespace {

// A record: a length byte, then as many bytes. The reader below trusts the length, as bad decoders
// do.
const fuzz::Plan records{.corpus = {std::string("\x05hello", 6), std::string("\x01x\x02yz", 5)},
                         .words = {"WORD"}};

}  // namespace

TEST_CASE(
    "the fuzzer tries the corpus as it is, then changed inputs that a seed and a number repeat") {
  CHECK(fuzz::input(records, 0) == records.corpus[0]);
  CHECK(fuzz::input(records, 1) == records.corpus[1]);

  fuzz::Plan other = records;
  other.seed = 2;
  std::set<std::string> seen;
  int same_under_both_seeds = 0;
  for (std::uint64_t i = 2; i < 1002; ++i) {
    CHECK(fuzz::input(records, i) == fuzz::input(records, i));
    seen.insert(fuzz::input(records, i));
    same_under_both_seeds += fuzz::input(records, i) == fuzz::input(other, i);
  }
  // Short inputs collide now and then; half of them would be a broken generator.
  CHECK(seen.size() > 500);
  CHECK(same_under_both_seeds < 500);
}

TEST_CASE("the fuzzer cuts, inserts, splices and repeats") {
  bool shorter = false, longer = false, word = false, spliced = false, empty = false;
  for (std::uint64_t i = 2; i < 5000; ++i) {
    const std::string bytes = fuzz::input(records, i);
    shorter |= bytes.size() < 5;
    longer |= bytes.size() > 500;
    word |= bytes.find("WORD") != bytes.npos;
    spliced |= bytes.find("hel") != bytes.npos && bytes.find("yz") != bytes.npos;
    empty |= bytes.empty();
    CHECK(bytes.size() <= records.length_max);
  }
  CHECK(shorter);
  CHECK(longer);
  CHECK(word);
  CHECK(spliced);
  CHECK(empty);
}

TEST_CASE("the fuzzer finds a reader that trusts a length") {
  const fuzz::Outcome outcome = fuzz::run(records, [](std::string_view bytes) {
    while (!bytes.empty()) {
      const auto length = static_cast<unsigned char>(bytes[0]);
      if (length + 1u > bytes.size()) throw std::out_of_range("past the end");
      bytes.remove_prefix(length + 1u);
    }
  });
  CHECK(outcome.failure.find("threw past the end at seed=") == 0);
  CHECK(outcome.failure.find(" input=") != std::string::npos);
}

TEST_CASE("the fuzzer calls a slow input a failure and keeps to its bounds") {
  fuzz::Plan plan = records;
  plan.slow = std::chrono::milliseconds(1);
  const auto slow = fuzz::run(plan, [](std::string_view bytes) {
    // The event waited for is the passing of time itself.
    if (bytes.size() > 100) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  });
  CHECK(slow.failure.find("took ") == 0);

  plan = records;
  plan.inputs_max = 50;
  std::uint64_t calls = 0;
  const auto bounded = fuzz::run(plan, [&](std::string_view) { ++calls; });
  CHECK(bounded.failure.empty());
  CHECK(calls == bounded.inputs);
  if (!std::getenv("MUSTER_FUZZ_SECONDS")) CHECK(bounded.inputs == 50);
}
