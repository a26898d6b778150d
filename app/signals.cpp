#include "app/signals.hpp"

#include <pthread.h>

#include <utility>

namespace muster::app {
namespace {

// Wakes the waiter at the end; a real-time signal, as nothing else uses one here.
int farewell() {
  return SIGRTMIN;
}

}  // namespace

HoldSignals::HoldSignals(bool with_reload) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&wanted, signal);
  if (with_reload) sigaddset(&wanted, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &wanted, &before_);
}

HoldSignals::~HoldSignals() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

StopOnSignal::StopOnSignal(std::function<void()> stop, std::function<void()> reload) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, farewell()}) sigaddset(&wanted, signal);
  if (reload) sigaddset(&wanted, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &wanted, &before_);
  waiter_ = std::thread([wanted, stop = std::move(stop), reload = std::move(reload)] {
    int signal = 0;
    while (sigwait(&wanted, &signal) == 0 && signal != farewell()) {
      (signal == SIGHUP ? reload : stop)();
    }
  });
}

StopOnSignal::~StopOnSignal() {
  pthread_kill(waiter_.native_handle(), farewell());
  waiter_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace muster::app
