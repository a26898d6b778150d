#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <memory>
#include <string>

#include "router/channels/settings.hpp"
#include "router/delivery.hpp"
#include "schema/notice.hpp"

namespace muster::http {
class Client;
}

namespace muster::channels {

// A way to reach people. Delivering is safe to repeat: every attempt carries the notice's key.
class Channel {
 public:
  virtual ~Channel() = default;
  virtual boost::asio::awaitable<router::Answer> deliver(const Notice& notice) = 0;
};

// All channels of a config. For the I/O thread alone; must outlive what it delivers.
class Channels {
 public:
  Channels(boost::asio::io_context& io, Settings settings);
  ~Channels();
  Channels(const Channels&) = delete;
  Channels& operator=(const Channels&) = delete;

  // One attempt, within the channel's timeout. A notice for an integration that the config no longer has
  // is dead.
  boost::asio::awaitable<router::Answer> deliver(Notice notice);

 private:
  std::map<std::string, std::unique_ptr<http::Client>> clients_;  // by ca_file
  std::map<std::string, std::unique_ptr<Channel>> channels_;      // by target
};

}  // namespace muster::channels
