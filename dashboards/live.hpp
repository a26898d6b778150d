#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "dashboards/settings.hpp"
#include "dashboards/snapshot.hpp"
#include "http/message.hpp"

namespace muster::dashboards {

// What the pages read, and who waits for it. The first five may be called from any thread: what they bring
// moves to the I/O thread and nothing is shared with it afterwards. The rest is for the I/O thread.
class Live {
 public:
  explicit Live(boost::asio::any_io_executor io, Settings settings = {});
  ~Live();
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;

  // The fleet after a tick, with its open incidents and those closed within the last day.
  void publish(std::shared_ptr<const FleetView> fleet, std::shared_ptr<const Incidents> incidents);
  // What a person did about an incident; kept through later calls of publish().
  void attend(std::string incident, Attention attention);
  // Tells open pages that an incident has changed: opened, updated, acknowledged, noted, resolved, …
  void tell(std::string incident, std::string what);
  // Ends every stream.
  void stop();
  // Whether a page is open, or was asked for within the last minute. Any thread.
  bool watched() const;

  std::shared_ptr<const Snapshot> now() const;
  // fleet_json(now), made once a version.
  const std::string& fleet(Parts parts);
  // The event stream for a reader that has `version`, or an unknown one; 503 over streams_max.
  http::Response stream(std::string_view version);
  std::size_t streams() const;
  const Settings& settings() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the streams and with what was posted
};

}  // namespace muster::dashboards
