#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "app/demo_control.hpp"
#include "simulator/showcase.hpp"

namespace muster::app {

struct DemoSettings {
  std::string state_file;  // where the fleet's clock is kept; empty: nowhere
  std::uint64_t seed = 8;  // one whose first faults are of different kinds, so that a newcomer sees several
  std::uint32_t models = 240;
  double ticks_per_second = 1;
  // Before the page is of use: the detectors learn for two weeks and are at their best after four.
  int history_days = 28;
  // The fleet's clock runs faster than ours and must not overtake it, as senders from the future are
  // refused. So it starts in the past; at a tick a second a year lasts for 14 hours.
  int head_start_days = 365;
  simulator::Showcase::Settings faults;
};

// Feeds an invented fleet to a muster over HTTP: first its history, then tick by tick for ever, with a fault
// now and then. It continues where its state file says it stood.
class DemoDriver {
 public:
  // Reads the state file; throws when it cannot be read.
  DemoDriver(DemoSettings settings, DemoControl& control);
  ~DemoDriver();
  DemoDriver(const DemoDriver&) = delete;
  DemoDriver& operator=(const DemoDriver&) = delete;

  // The first instant that is lived and not history.
  Timestamp history_end() const;

  // Feeds the muster at `url`, e.g. http://127.0.0.1:9797, on the calling thread until stop(). The exit code:
  // 1 when the muster refuses what it is sent, or is not there at the start; once live, it waits for one that
  // comes back.
  int run(const std::string& url);
  // From any thread, once or more.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::app
