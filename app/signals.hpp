#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace muster::app {

// While it lives, SIGINT and SIGTERM (and SIGHUP, when `with_reload`) wait, for this thread and for those made
// meanwhile. Made before any thread: one that does not hold them back takes the default, and that ends the
// process with its PostgreSQL left behind.
class HoldSignals {
 public:
  explicit HoldSignals(bool with_reload = false);
  ~HoldSignals();
  HoldSignals(const HoldSignals&) = delete;
  HoldSignals& operator=(const HoldSignals&) = delete;

 private:
  sigset_t before_;
};

// While it lives, SIGINT and SIGTERM call `stop` and SIGHUP calls `reload`, on a thread of its own, instead of
// ending the process; HoldSignals must be there already. Without a `reload` SIGHUP keeps its meaning.
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
