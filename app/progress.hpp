#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster::app {

// How far a long step has come, on standard error: a bar that redraws itself on a terminal, else a line
// every few seconds. Owned by one thread.
class Progress {
 public:
  // what   the step, e.g. "history"
  // total  in the same unit as update() gets
  Progress(std::string what, std::uint64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` stands behind the bar, e.g. "1.2 M samples".
  void update(std::uint64_t done, std::string_view note = {});
  // Draws the end; update() must not be called after it.
  void finish(std::string_view note = {});

 private:
  using Clock = std::chrono::steady_clock;
  void draw(std::uint64_t done, std::string_view note, bool last);

  std::string what_;
  std::uint64_t total_;
  bool terminal_;
  bool finished_ = false;
  Clock::time_point started_ = Clock::now();
  Clock::time_point drawn_;
};

}  // namespace muster::app
