#include "router/channels/log.hpp"

#include "base/log.hpp"

namespace muster::channels {

boost::asio::awaitable<router::Answer> Log::deliver(const Notice& notice) {
  log::info("notice", {{"receiver", notice.receiver},
                       {"kind", to_word(notice.kind)},
                       {"incident", notice.incident},
                       {"reason", notice.reason},
                       {"key", notice.key},
                       {"text", notice.text}});
  router::Answer answer;
  answer.outcome = router::Answer::Outcome::sent;
  co_return answer;
}

}  // namespace muster::channels
