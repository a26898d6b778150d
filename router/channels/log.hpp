#pragma once

#include "router/channels/channels.hpp"

namespace muster::channels {

// One structured line for each notice: for those who have a log shipper and no receiver yet.
class Log : public Channel {
 public:
  boost::asio::awaitable<router::Answer> deliver(const Notice& notice) override;
};

}  // namespace muster::channels
