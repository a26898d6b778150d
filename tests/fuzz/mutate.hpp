#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// A small mutation fuzzer for plain ctest. It has no feedback from coverage, so it is only as good
// as its corpus: give it a few short valid inputs of each kind, and the words that matter to the
// format.
//
//   const fuzz::Outcome outcome = fuzz::run({.corpus = {valid, other}, .words = {"\"ts\":",
//   "1e999"}},
//       [](std::string_view bytes) { (void)decode::ndjson(bytes); });
//   INFO(outcome.summary);
//   CHECK(outcome.failure.empty());
//
// Input i depends on the seed, i and the corpus alone, so one number names it. The seed is 1 unless
// MUSTER_FUZZ_SEED says otherwise; MUSTER_FUZZ_SECONDS makes a run longer and takes the bound on
// inputs off.
namespace muster::fuzz {

struct Plan {
  std::vector<std::string> corpus;  // at least one
  std::vector<std::string> words;   // inserted whole now and then
  std::uint64_t seed = 1;
  std::uint64_t inputs_max = 20'000;
  // ctest must not wait for a slow machine or a sanitizer; what was not reached is said in the
  // summary.
  std::chrono::milliseconds time_max{3000};
  // Longer inputs find little that short ones do not, and cost time.
  std::size_t length_max = 16u << 10;
  // One input that takes this long is a failure: work must be linear in what a sender sends.
  std::chrono::milliseconds slow{1000};
};

struct Outcome {
  std::uint64_t seed = 0;
  std::uint64_t inputs = 0;
  std::string failure;  // what the target threw, or that it was slow, with the input in hexadecimal
  std::string summary;  // "fuzz seed=1 inputs=20000 in 812 ms"
};

// Input number i of a plan. The first ones are the corpus itself, unchanged.
std::string input(const Plan& plan, std::uint64_t i);

// Feeds the target until a bound of the plan or the first failure: an exception, or a slow input.
// When an input ends the process (an assert, a sanitizer), its seed and number are on standard
// error.
Outcome run(Plan plan, const std::function<void(std::string_view)>& target);

}  // namespace muster::fuzz
