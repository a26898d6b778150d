#include "router/channels/channels.hpp"

#include "http/client.hpp"
#include "router/channels/log.hpp"
#include "router/channels/webhook.hpp"

namespace muster::channels {

Channels::Channels(boost::asio::io_context& io, Settings settings) {
  for (WebhookSettings& webhook : settings.webhooks) {
    std::unique_ptr<http::Client>& client = clients_[webhook.ca_file];
    if (!client) {
      http::ClientSettings trust;
      trust.ca_file = webhook.ca_file;
      client = std::make_unique<http::Client>(io, std::move(trust));
    }
    const std::string target = webhook.target;
    channels_[target] = std::make_unique<Webhook>(*client, std::move(webhook));
  }
  for (const LogSettings& log : settings.logs) channels_[log.target] = std::make_unique<Log>();
}

Channels::~Channels() = default;

boost::asio::awaitable<router::Answer> Channels::deliver(Notice notice) {
  const auto found = channels_.find(notice.target);
  if (found == channels_.end()) {
    router::Answer answer;
    answer.outcome = router::Answer::Outcome::dead;
    answer.what = "the config no longer has this integration";
    co_return answer;
  }
  co_return co_await found->second->deliver(notice);
}

}  // namespace muster::channels
