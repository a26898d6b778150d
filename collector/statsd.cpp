#include "collector/statsd.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "base/log.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using asio::ip::udp;
using std::chrono::milliseconds;

constexpr std::size_t datagram_bytes_max = 65'507;  // the most that UDP over IPv4 has
// Taken before the I/O thread does something else.
constexpr int datagrams_at_once = 256;
constexpr Duration offer_pause = milliseconds(500);

}  // namespace

struct Statsd::State : std::enable_shared_from_this<Statsd::State> {
  State(asio::io_context& io, Settings s, Sink k, std::function<Timestamp()> c)
      : settings(std::move(s)),
        sink(std::move(k)),
        clock(std::move(c)),
        socket(io),
        timer(io),
        pause(io),
        window(settings.window) {}

  Settings settings;
  Sink sink;
  std::function<Timestamp()> clock;
  udp::socket socket;
  asio::steady_timer timer;
  asio::steady_timer pause;
  decode::StatsdWindow window;
  Counters counters;
  bool stopping = false;
  bool receiving = false;
  std::string last_rejected;
  std::array<char, datagram_bytes_max> bytes{};

  asio::awaitable<void> receive();
  asio::awaitable<void> flush(std::chrono::steady_clock::time_point until);
};

asio::awaitable<void> Statsd::State::receive() {
  constexpr auto plainly = asio::as_tuple(asio::use_awaitable);
  while (!stopping) {
    const auto [waiting] = co_await socket.async_wait(udp::socket::wait_read, plainly);
    if (waiting) {
      if (stopping || waiting == asio::error::operation_aborted) co_return;
      continue;
    }
    boost::system::error_code failed;
    for (int i = 0; i < datagrams_at_once && !failed; ++i) {
      udp::endpoint from;
      const std::size_t n = socket.receive_from(asio::buffer(bytes), from, 0, failed);
      if (failed) break;
      ++counters.datagrams;
      window.take({bytes.data(), n});
    }
  }
}

asio::awaitable<void> Statsd::State::flush(std::chrono::steady_clock::time_point until) {
  if (window.last_rejected() != last_rejected) {
    last_rejected = window.last_rejected();
    log::warn("statsd.rejected", {{"lines", window.counters().rejected}, {"last", last_rejected}});
  }
  SampleBatch batch = window.flush(clock());
  if (batch.points.empty()) co_return;
  batch.sender = "statsd";
  while (true) {
    // A batch moves and is not copied, so what may have to be offered again is made anew each time.
    SampleBatch offer;
    offer.identify = batch.identify;
    offer.sender = batch.sender;
    offer.bytes = batch.bytes;
    offer.points = batch.points;
    offer.series = batch.series;
    for (RawSeries& series : offer.series)
      series.labels = {offer.bytes.data() + (series.labels.data() - batch.bytes.data()),
                       series.labels.size()};
    const Stored stored = co_await sink(std::move(offer));
    if (!stored.come_again()) {
      counters.samples += stored.accepted;
      counters.rejected += stored.rejected_count;
      co_return;
    }
    if (stopping || std::chrono::steady_clock::now() + offer_pause >= until) break;
    pause.expires_after(offer_pause);
    boost::system::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  counters.dropped += batch.points.size();
  log::warn("statsd.dropped", {{"samples", batch.points.size()},
                               {"what", "the store was busy until the next flush"}});
}

Statsd::Statsd(asio::io_context& io, Settings settings, Sink sink, std::function<Timestamp()> clock)
    : state_(std::make_shared<State>(io, std::move(settings), std::move(sink), std::move(clock))) {}

Statsd::~Statsd() = default;

Result<void> Statsd::listen() {
  State& state = *state_;
  boost::system::error_code failed;
  const auto address = asio::ip::make_address(state.settings.address, failed);
  const std::string where = "collector.statsd_listen " + state.settings.address + ':' +
                            std::to_string(state.settings.port);
  if (failed) return Error{where, "'" + state.settings.address + "' is no IP address"};
  const udp::endpoint endpoint(address, state.settings.port);
  state.socket.open(endpoint.protocol(), failed);
  if (!failed) state.socket.bind(endpoint, failed);
  if (failed) return Error{where, failed.message()};
  // As much as the system lets us have.
  boost::system::error_code less;
  state.socket.set_option(
      asio::socket_base::receive_buffer_size(state.settings.receive_buffer_bytes), less);
  state.socket.non_blocking(true, failed);
  if (failed) return Error{where, failed.message()};
  return {};
}

std::uint16_t Statsd::port() const {
  return state_->socket.local_endpoint().port();
}

asio::awaitable<void> Statsd::run() {
  const std::shared_ptr<State> state = state_;
  state->receiving = true;
  auto receiving = state->receive();
  asio::co_spawn(state->timer.get_executor(), std::move(receiving),
                 [state](const std::exception_ptr&) {
                   state->receiving = false;
                   state->pause.cancel();
                 });
  auto due = std::chrono::steady_clock::now() + state->settings.flush;
  while (!state->stopping) {
    state->timer.expires_at(due);
    boost::system::error_code ignored;
    co_await state->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    due = std::max(due + state->settings.flush, std::chrono::steady_clock::now());
    co_await state->flush(due);
  }
  co_await state->flush(due);
  state->socket.close();
  while (state->receiving) {
    state->pause.expires_after(std::chrono::milliseconds(50));
    boost::system::error_code ignored;
    co_await state->pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

void Statsd::stop() {
  state_->stopping = true;
  boost::system::error_code ignored;
  state_->socket.cancel(ignored);
  state_->timer.cancel();
  state_->pause.cancel();
}

Statsd::Counters Statsd::counters() const {
  Counters out = state_->counters;
  out.lines = state_->window.counters();
  out.keys = state_->window.keys();
  return out;
}

}  // namespace muster::collector
