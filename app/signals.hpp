#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace muster::app {

// While it lives, SIGINT and SIGTERM call `stop`, on a thread of its own, instead of ending the process. Made
// before other threads, so that they inherit its mask.
class StopOnSignal {
 public:
  explicit StopOnSignal(std::function<void()> stop);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  sigset_t before_;
  std::thread waiter_;
};

}  // namespace muster::app
