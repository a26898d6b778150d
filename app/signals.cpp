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

StopOnSignal::StopOnSignal(std::function<void()> stop) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGINT, SIGTERM, farewell()}) sigaddset(&wanted, signal);
  pthread_sigmask(SIG_BLOCK, &wanted, &before_);
  waiter_ = std::thread([wanted, stop = std::move(stop)] {
    int signal = 0;
    while (sigwait(&wanted, &signal) == 0 && signal != farewell()) stop();
  });
}

StopOnSignal::~StopOnSignal() {
  pthread_kill(waiter_.native_handle(), farewell());
  waiter_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace muster::app
