#include "http/deadline.hpp"

#include <boost/asio/steady_timer.hpp>
#include <cstdint>

namespace muster::http {

struct Deadline::State {
  boost::asio::steady_timer timer;
  std::function<void()> strike;
  std::uint64_t armed = 0;  // a handler that was queued before the last arm() has an older number
  bool struck = false;
};

Deadline::Deadline(boost::asio::any_io_executor executor, std::function<void()> strike)
    : state_(new State{boost::asio::steady_timer(std::move(executor)), std::move(strike)}) {}

Deadline::~Deadline() {
  disarm();
  state_->strike = nullptr;
}

void Deadline::arm(std::chrono::milliseconds time) {
  state_->struck = false;
  ++state_->armed;
  state_->timer.expires_after(time);
  state_->timer.async_wait(
      [state = state_, armed = state_->armed](boost::system::error_code failed) {
        if (failed || armed != state->armed) return;
        state->struck = true;
        state->strike();
      });
}

void Deadline::disarm() {
  ++state_->armed;
  state_->timer.cancel();
}

bool Deadline::struck() const {
  return state_->struck;
}

}  // namespace muster::http
