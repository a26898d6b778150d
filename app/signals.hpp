#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace muster::app {

// While it lives, SIGINT and SIGTERM call `stop` and SIGHUP calls `reload`, on a thread of its own, instead of
// ending the process. Made before other threads, so that they inherit its mask. Without a `reload` SIGHUP keeps
// its meaning.
class StopOnSignal {
 public:
  explicit StopOnSignal(std::function<void()> stop, std::function<void()> reload = {});
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  sigset_t before_;
  std::thread waiter_;
};

}  // namespace muster::app
