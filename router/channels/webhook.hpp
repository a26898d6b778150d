#pragma once

#include "base/result.hpp"
#include "http/client.hpp"
#include "router/channels/channels.hpp"

namespace muster::channels {

// POSTs the notice's body to a URL, with its key in Idempotency-Key.
class Webhook : public Channel {
 public:
  Webhook(http::Client& client, WebhookSettings settings);
  boost::asio::awaitable<router::Answer> deliver(const Notice& notice) override;

 private:
  Result<http::Outgoing> request(const Notice& notice) const;

  http::Client& client_;
  WebhookSettings settings_;
};

// The text of a secret, without the line break that editors leave at its end.
Result<std::string> read_secret(const Secret& secret);

std::string base64(std::string_view bytes);

}  // namespace muster::channels
