#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

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
  std::vector<std::pair<std::string, std::string>> headers;
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

}  // namespace muster::channels
