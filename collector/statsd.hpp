#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "collector/decode/statsd.hpp"
#include "collector/sink.hpp"
#include "schema/time.hpp"

namespace muster::collector {

// StatsD over UDP. What came is handed to the sink once a flush; a busy store is offered it again until the next
// one, then it is dropped and counted. UDP itself loses what the kernel has no room for, and nobody is told.
//
// For the I/O thread.
class Statsd {
 public:
  struct Settings {
    std::string address = "127.0.0.1";
    std::uint16_t port = 8125;
    Duration flush = std::chrono::seconds(10);  // as statsd's own
    // What the kernel keeps while the I/O thread is busy: a second of 100,000 lines.
    int receive_buffer_bytes = 4 << 20;
    decode::StatsdSettings window;
  };
  struct Counters {
    std::uint64_t datagrams = 0;
    decode::StatsdWindow::Counters lines;
    std::uint64_t samples = 0;   // stored
    std::uint64_t rejected = 0;  // samples that the store refused
    std::uint64_t dropped = 0;   // samples, as the store was busy
    std::uint64_t keys = 0;      // now
  };

  Statsd(boost::asio::io_context& io, Settings settings, Sink sink,
         std::function<Timestamp()> clock);
  ~Statsd();
  Statsd(const Statsd&) = delete;
  Statsd& operator=(const Statsd&) = delete;

  Result<void> listen();
  std::uint16_t port() const;          // after listen()
  boost::asio::awaitable<void> run();  // until stop(); what came is flushed then
  void stop();
  Counters counters() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::collector
