#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/message.hpp"
#include "router/delivery.hpp"
#include "schema/notice.hpp"

namespace muster::http {
class Client;
}

namespace muster::channels {

// A secret stands in a file, read anew at each use so that it can be changed without a reload, or in the
// config itself. At most one of the two is set.
struct Secret {
  std::string value;
  std::string file;
  bool empty() const { return value.empty() && file.empty(); }
};

struct WebhookSettings {
  std::string target;  // as in the notices for it
  Secret url;

  std::string authorization_type = "Bearer";
  Secret credentials;    // sent as "Authorization: <type> <credentials>"
  std::string username;  // basic authentication
  Secret password;
  http::Headers headers;
  std::string ca_file;  // PEM of the authorities to trust; empty: the system's

  // From the name to the last byte of the answer: a receiver that needs longer holds up what comes after.
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
};

struct LogSettings {
  std::string target;
};

struct Settings {
  std::vector<WebhookSettings> webhooks;
  std::vector<LogSettings> logs;
};

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
