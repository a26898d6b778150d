#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "app/desk.hpp"
#include "router/channels/channels.hpp"

namespace muster::app {

// Sends what waits in the outbox: several at once, of one group and target only one, again after a failure as
// the router's back-off says, until it arrives or is given up. On the I/O thread.
class Outbox {
 public:
  struct Settings {
    // Notices under way at once: one slow receiver must not hold up the others.
    std::size_t sending_max = 16;
    // Looked at this often even when nobody wakes it, as another process may have written to the outbox.
    std::chrono::milliseconds poll = std::chrono::seconds(2);
  };
  struct Counters {
    std::uint64_t sent = 0;
    std::uint64_t retried = 0;
    std::uint64_t given_up = 0;
    double last_delay_seconds = 0;  // from the decision to the arrival of the last notice
  };

  Outbox(boost::asio::io_context& io, Desk& desk, channels::Settings channels,
         Desk::Clock clock, Settings settings);
  Outbox(boost::asio::io_context& io, Desk& desk, channels::Settings channels, Desk::Clock clock)
      : Outbox(io, desk, std::move(channels), std::move(clock), Settings()) {}

  // Until stop(), and until what is under way has ended.
  boost::asio::awaitable<void> run();
  void stop();
  void wake();
  // New settings for notices that are sent from now on.
  void reload(channels::Settings channels);

  const Counters& counters() const { return counters_; }

 private:
  using Lane = std::pair<std::string, std::string>;  // (group, target)
  boost::asio::awaitable<void> send(store::OutboxRow row);

  boost::asio::io_context& io_;
  Desk& desk_;
  std::shared_ptr<channels::Channels> channels_;
  Desk::Clock clock_;
  Settings settings_;
  boost::asio::steady_timer timer_;
  std::set<Lane> sending_;
  bool stopped_ = false;
  bool woken_ = false;
  Counters counters_;
};

}  // namespace muster::app
