#include "app/outbox.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/log.hpp"
#include "router/delivery.hpp"

namespace muster::app {

namespace asio = boost::asio;

Outbox::Outbox(asio::io_context& io, Desk& desk, channels::Settings channels, Desk::Clock clock,
               Settings settings)
    : io_(io),
      desk_(desk),
      channels_(std::make_shared<channels::Channels>(io, std::move(channels))),
      clock_(std::move(clock)),
      settings_(settings),
      timer_(io) {}

void Outbox::wake() {
  woken_ = true;
  timer_.cancel();
}

void Outbox::stop() {
  stopped_ = true;
  timer_.cancel();
}

void Outbox::reload(channels::Settings channels) {
  channels_ = std::make_shared<channels::Channels>(io_, std::move(channels));
}

asio::awaitable<void> Outbox::run() {
  while (!stopped_ || !sending_.empty()) {
    Timestamp next = clock_() + Duration(settings_.poll);
    if (!stopped_ && sending_.size() < settings_.sending_max) {
      woken_ = false;
      try {
        const int limit = static_cast<int>(settings_.sending_max * 4);
        std::vector<store::OutboxRow> due = co_await desk_.due_notices(limit);
        for (store::OutboxRow& row : due) {
          if (sending_.size() >= settings_.sending_max) break;
          if (!sending_.emplace(row.notice.group, row.notice.target).second) continue;
          const Lane lane(row.notice.group, row.notice.target);
          auto done = [this, lane](std::exception_ptr fault) {
            sending_.erase(lane);
            // The row is still due; it is tried again at the next poll, and not at once.
            if (!fault) wake();
          };
          asio::co_spawn(io_, send(std::move(row)), std::move(done));
        }
        if (const std::optional<Timestamp> later = co_await desk_.next_due(); later && due.empty()) {
          next = std::min(next, *later);
        }
      } catch (const std::exception& fault) {
        log::warn("outbox.waits", {{"what", fault.what()}});
      }
    }
    if (woken_ && !stopped_) continue;
    timer_.expires_after(std::max(next - clock_(), Duration(std::chrono::milliseconds(10))));
    boost::system::error_code ignored;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

asio::awaitable<void> Outbox::send(store::OutboxRow row) {
  store::Delivery delivery;
  delivery.outbox_id = row.id;
  delivery.try_no = row.tries + 1;
  if (row.notice.expires_at <= clock_()) {
    delivery.at = clock_();
    delivery.answer = "given up: it is older than a notice may be";
  } else {
    const std::shared_ptr<channels::Channels> channels = channels_;  // outlives a reload
    const router::Answer answer = co_await channels->deliver(row.notice);
    delivery.at = clock_();
    delivery.delivered = answer.outcome == router::Answer::Outcome::sent;
    delivery.answer = answer.what.empty() && answer.status ? "HTTP " + std::to_string(answer.status) : answer.what;
    if (!delivery.delivered) {
      delivery.next_try = router::next_attempt(row.notice.key, static_cast<std::uint32_t>(delivery.try_no),
                                               answer, delivery.at, row.notice.expires_at);
    }
  }
  if (delivery.delivered) {
    ++counters_.sent;
    const std::chrono::duration<double> delay = delivery.at - row.notice.at;
    counters_.last_delay_seconds = delay.count();
  } else if (delivery.next_try) {
    ++counters_.retried;
  } else {
    ++counters_.given_up;
    log::error("outbox.given_up", {{"receiver", row.notice.receiver}, {"incident", row.notice.incident}, {"what", delivery.answer}});
  }
  co_await desk_.delivered(std::move(row), std::move(delivery));
}

}  // namespace muster::app
