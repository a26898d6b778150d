#include "tests/fuzz/mutate.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <random>

namespace muster::fuzz {
namespace {

// Numbers below n without <random>'s distributions, whose results differ between libraries.
class Dice {
 public:
  Dice(std::uint64_t seed, std::uint64_t i) {
    std::seed_seq words{seed, seed >> 32, i, i >> 32};
    bits_.seed(words);
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(bits_() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::mt19937_64 bits_;
};

// Bytes at the edges of the encodings that decoders read: varints, lengths, UTF-8, quotes, ends of
// lines.
constexpr unsigned char edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe, 0xc0, 0xed, 0xf4, '"',
                                   '\\', '\n', '{',  '}',  '[',  ']',  ',',  ':',  '-',  '0'};

// Most steps are near the start, where headers and lengths stand.
std::size_t place(Dice& dice, std::size_t size) {
  return dice.one_in(3) ? dice.below(std::min<std::size_t>(size + 1, 32)) : dice.below(size + 1);
}

void flip(std::string& bytes, Dice& dice) {
  if (bytes.empty()) return;
  char& byte = bytes[dice.below(bytes.size())];
  switch (dice.below(4)) {
    case 0:
      byte = static_cast<char>(byte ^ (1 << dice.below(8)));
      break;
    case 1:
      byte = static_cast<char>(edges[dice.below(std::size(edges))]);
      break;
    case 2:
      byte = static_cast<char>(byte + (dice.one_in(2) ? 1 : -1));
      break;
    default:
      byte = static_cast<char>(dice.below(256));
  }
}

void cut(std::string& bytes, Dice& dice) {
  const std::size_t from = place(dice, bytes.size());
  if (dice.one_in(2)) {
    bytes.resize(from);  // as a connection that breaks
  } else if (from < bytes.size()) {
    bytes.erase(from, 1 + dice.below(std::min<std::size_t>(bytes.size() - from, 64)));
  }
}

void insert(std::string& bytes, Dice& dice, const Plan& plan) {
  const std::size_t at = place(dice, bytes.size());
  if (!plan.words.empty() && dice.one_in(2)) {
    bytes.insert(at, plan.words[dice.below(plan.words.size())]);
  } else {
    const char byte =
        static_cast<char>(dice.one_in(2) ? edges[dice.below(std::size(edges))] : dice.below(256));
    bytes.insert(at, 1 + dice.below(12), byte);
  }
}

void splice(std::string& bytes, Dice& dice, const Plan& plan) {
  const std::string& other = plan.corpus[dice.below(plan.corpus.size())];
  bytes.resize(place(dice, bytes.size()));
  bytes += other.substr(place(dice, other.size()));
}

void repeat(std::string& bytes, Dice& dice) {
  if (bytes.empty()) return;
  const std::size_t from = dice.below(bytes.size());
  const std::string part =
      bytes.substr(from, 1 + dice.below(std::min<std::size_t>(bytes.size() - from, 256)));
  std::string many;
  // Doubling reaches the depths and lengths where recursion and quadratic work show.
  for (std::size_t times = std::size_t{1} << dice.below(9); times > 0; --times) many += part;
  bytes.insert(from, many);
}

std::string hexadecimal(std::string_view bytes) {
  constexpr std::size_t shown_max = 512;
  std::string out;
  for (const char byte : bytes.substr(0, shown_max)) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(byte));
    out += two;
  }
  if (bytes.size() > shown_max) out += "… (" + std::to_string(bytes.size()) + " bytes)";
  return out;
}

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What is being tried now, formatted before each input, as a signal handler cannot format.
char at_work[96];

// Says on standard error which input ended the process, then lets the handler from before have the
// signal.
class LastWords {
 public:
  LastWords() {
    for (std::size_t i = 0; i < std::size(signals); ++i) {
      struct sigaction mine {};
      mine.sa_handler = &LastWords::speak;
      mine.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
      sigaction(signals[i], &mine, &before_[i]);
    }
    current = this;
  }
  ~LastWords() {
    current = nullptr;
    for (std::size_t i = 0; i < std::size(signals); ++i)
      sigaction(signals[i], &before_[i], nullptr);
  }
  LastWords(const LastWords&) = delete;
  LastWords& operator=(const LastWords&) = delete;

 private:
  static constexpr int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  static inline LastWords* current = nullptr;

  static void speak(int signal) {
    [[maybe_unused]] const auto n = ::write(2, at_work, std::strlen(at_work));
    if (current) {
      for (std::size_t i = 0; i < std::size(signals); ++i) {
        if (signals[i] == signal) sigaction(signal, &current->before_[i], nullptr);
      }
    }
    ::raise(signal);
  }

  struct sigaction before_[std::size(signals)] = {};
};

}  // namespace

std::string input(const Plan& plan, std::uint64_t i) {
  assert(!plan.corpus.empty());
  if (i < plan.corpus.size()) return plan.corpus[static_cast<std::size_t>(i)];

  Dice dice(plan.seed, i);
  std::string bytes = plan.corpus[dice.below(plan.corpus.size())];
  // One step keeps most of a valid input valid; many reach states that no single fault does.
  const std::size_t steps = dice.one_in(2) ? 1 : 1 + dice.below(8);
  for (std::size_t step = 0; step < steps; ++step) {
    switch (dice.below(8)) {
      case 0:
        cut(bytes, dice);
        break;
      case 1:
        splice(bytes, dice, plan);
        break;
      case 2:
        repeat(bytes, dice);
        break;
      case 3:
      case 4:
        insert(bytes, dice, plan);
        break;
      default:
        flip(bytes, dice);
    }
    if (bytes.size() > plan.length_max) bytes.resize(plan.length_max);
  }
  return bytes;
}

Outcome run(Plan plan, const std::function<void(std::string_view)>& target) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::milliseconds;
  plan.seed = number_from("MUSTER_FUZZ_SEED", plan.seed);
  if (const std::uint64_t seconds = number_from("MUSTER_FUZZ_SECONDS", 0)) {
    plan.time_max = std::chrono::seconds(seconds);
    plan.inputs_max = std::numeric_limits<std::uint64_t>::max();
  }

  Outcome outcome;
  outcome.seed = plan.seed;
  const Clock::time_point start = Clock::now();
  Clock::time_point before = start;
  {
    const LastWords said_at_a_crash;
    for (; outcome.inputs < plan.inputs_max && before - start < plan.time_max; ++outcome.inputs) {
      const std::string bytes = input(plan, outcome.inputs);
      std::snprintf(at_work, sizeof at_work, "fuzz: ended by seed=%llu input=%llu\n",
                    static_cast<unsigned long long>(plan.seed),
                    static_cast<unsigned long long>(outcome.inputs));
      // An exact copy on the heap, so that a sanitizer sees one byte too far.
      const std::vector<char> exact(bytes.begin(), bytes.end());
      before = Clock::now();
      try {
        target(std::string_view(exact.data(), exact.size()));
      } catch (const std::exception& e) {
        outcome.failure = std::string("threw ") + e.what();
      } catch (...) {
        outcome.failure = "threw";
      }
      const auto took = Clock::now() - before;
      before += took;
      if (outcome.failure.empty() && took > plan.slow) {
        outcome.failure = "took " +
                          std::to_string(std::chrono::duration_cast<milliseconds>(took).count()) +
                          " ms";
      }
      if (!outcome.failure.empty()) {
        outcome.failure += " at seed=" + std::to_string(plan.seed) +
                           " input=" + std::to_string(outcome.inputs) + ": " + hexadecimal(bytes);
        break;
      }
    }
  }
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
  outcome.summary = "fuzz seed=" + std::to_string(plan.seed) +
                    " inputs=" + std::to_string(outcome.inputs) + " in " +
                    std::to_string(took.count()) + " ms";
  std::printf("%s\n", outcome.summary.c_str());
  return outcome;
}

}  // namespace muster::fuzz
