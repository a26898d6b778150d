#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>

namespace muster::http {

// Calls `strike` once when an armed time has passed; it is there to cancel what somebody awaits.
// Beast's tcp_stream has such a clock, but closes the socket, so that no 408 could be sent.
class Deadline {
 public:
  Deadline(boost::asio::any_io_executor executor, std::function<void()> strike);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  void arm(std::chrono::milliseconds time);  // replaces what was armed before
  void disarm();
  bool struck() const;  // since the last arm()

 private:
  struct State;  // shared with the timer's handler, which may run after we are gone
  std::shared_ptr<State> state_;
};

}  // namespace muster::http
