#include "dashboards/live.hpp"

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <cassert>
#include <deque>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace muster::dashboards {
namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

struct Live::State {
  struct News {
    std::uint64_t number;
    std::string text;  // the event as it is sent
  };

  State(asio::any_io_executor e, Settings s) : io(std::move(e)), settings(s) {
    versions.push_back(std::make_shared<Snapshot>());
  }

  const std::shared_ptr<const Snapshot>& now() const { return versions.back(); }

  void change(std::shared_ptr<Snapshot> next) {
    next->number = now()->number + 1;
    versions.push_back(std::move(next));
    while (versions.size() > settings.versions_max ||
           (versions.size() > 2 && models_held() > settings.version_models_max))
      versions.pop_front();
    fleets.clear();
    ticks.clear();
    wake();
  }

  std::size_t models_held() const {
    std::size_t n = 0;
    for (const auto& v : versions) n += v->fleet->models.size();
    return n;
  }

  void ask() { asked_at.store(Clock::now().time_since_epoch().count(), std::memory_order_relaxed); }

  void wake() {
    for (asio::steady_timer* timer : waiting) timer->cancel();
  }

  // The tick that brings a reader from `before` to now; all who were at the same version share it.
  const std::string& tick_from(const Snapshot* before) {
    const std::uint64_t from = before ? before->number : 0;
    const auto key = std::pair(before != nullptr, from);
    auto found = ticks.find(key);
    if (found == ticks.end()) {
      std::string text =
          "event: tick\nid: " + now()->version() + "\ndata: " + tick_json(before, *now()) + "\n\n";
      found = ticks.emplace(key, std::move(text)).first;
    }
    return found->second;
  }

  asio::any_io_executor io;
  Settings settings;
  std::deque<std::shared_ptr<const Snapshot>> versions;         // oldest first, never empty
  std::map<Parts, std::string> fleets;                          // of the newest version
  std::map<std::pair<bool, std::uint64_t>, std::string> ticks;  // to the newest version
  std::map<std::string, Attention, std::less<>> attentions;
  std::deque<News> news;
  std::uint64_t news_number = 0;
  std::set<asio::steady_timer*> waiting;
  // The two that other threads may read.
  std::atomic<std::size_t> streams = 0;
  std::atomic<Clock::rep> asked_at = std::numeric_limits<Clock::rep>::min() / 2;
  bool stopped = false;
};

namespace {

// One open page. It keeps the version that its reader has, so a slow reader skips to the newest one.
struct Stream {
  std::shared_ptr<const Snapshot> has;
  std::uint64_t news_seen = 0;
  Clock::time_point next_tick{};
};

}  // namespace

Live::Live(asio::any_io_executor io, Settings settings)
    : state_(std::make_shared<State>(std::move(io), settings)) {
  assert(settings.versions_max > 0);
}

Live::~Live() = default;

void Live::publish(std::shared_ptr<const FleetView> fleet,
                   std::shared_ptr<const Incidents> incidents) {
  assert(fleet && incidents);
  asio::post(state_->io, [state = state_, fleet = std::move(fleet),
                          incidents = std::move(incidents)]() mutable {
    auto next = std::make_shared<Snapshot>();
    next->fleet = std::move(fleet);
    next->incidents = std::move(incidents);
    for (const Incident& i : *next->incidents) {
      const auto known = state->attentions.find(i.id);
      if (known != state->attentions.end()) next->attentions.insert(*known);
    }
    // Old incidents leave the page; what people did about them is in the store.
    if (state->attentions.size() > state->settings.attentions_max)
      state->attentions = next->attentions;
    state->change(std::move(next));
  });
}

void Live::attend(std::string incident, Attention attention) {
  asio::post(state_->io,
             [state = state_, incident = std::move(incident), attention = std::move(attention)] {
               state->attentions[incident] = attention;
               const Snapshot& now = *state->now();
               const bool shown = std::any_of(now.incidents->begin(), now.incidents->end(),
                                              [&](const Incident& i) { return i.id == incident; });
               if (!shown) return;
               auto next = std::make_shared<Snapshot>(now);
               next->attentions[incident] = attention;
               state->change(std::move(next));
             });
}

void Live::tell(std::string incident, std::string what) {
  asio::post(state_->io, [state = state_, incident = std::move(incident), what = std::move(what)] {
    const boost::json::object data{{"id", incident}, {"what", what}};
    state->news.push_back(
        {++state->news_number, "event: incident\ndata: " + boost::json::serialize(data) + "\n\n"});
    if (state->news.size() > state->settings.news_max) state->news.pop_front();
    state->wake();
  });
}

void Live::stop() {
  asio::post(state_->io, [state = state_] {
    state->stopped = true;
    state->wake();
  });
}

bool Live::watched() const {
  const Clock::time_point asked{Clock::duration{state_->asked_at.load(std::memory_order_relaxed)}};
  return state_->streams.load(std::memory_order_relaxed) > 0 ||
         Clock::now() - asked < std::chrono::minutes(1);
}

std::shared_ptr<const Snapshot> Live::now() const {
  state_->ask();
  return state_->now();
}

std::size_t Live::streams() const {
  return state_->streams;
}

const Settings& Live::settings() const {
  return state_->settings;
}

const std::string& Live::fleet(Parts parts) {
  state_->ask();
  auto found = state_->fleets.find(parts);
  if (found == state_->fleets.end()) {
    found = state_->fleets.emplace(parts, fleet_json(*state_->now(), parts)).first;
  }
  return found->second;
}

http::Response Live::stream(std::string_view version) {
  State& state = *state_;
  if (state.stopped) return http::try_later(503, 5, "muster is stopping");
  if (state.streams >= state.settings.streams_max) {
    return http::try_later(
        503, 30, "too many pages are open (streams_max); the fleet can be read without a stream");
  }
  ++state.streams;
  // Counts itself out when the server drops the stream, however that comes.
  std::shared_ptr<Stream> stream(new Stream, [held = state_](Stream* s) {
    --held->streams;
    delete s;
  });
  for (const auto& v : state.versions) {
    if (v->version() == version) stream->has = v;
  }
  stream->news_seen = state.news_number;

  http::Response response;
  response.content_type = "text/event-stream";
  response.headers = {{"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
  response.body = "retry: 2000\n\n";
  response.stream = [held = state_, stream]() -> asio::awaitable<std::optional<std::string>> {
    // The frame outlives this call, and the function object may not: so it holds both itself.
    const std::shared_ptr<State> live = held;
    const std::shared_ptr<Stream> reader = stream;
    const Clock::time_point beat = Clock::now() + live->settings.heartbeat;
    asio::steady_timer timer(live->io);
    struct Waiting {
      State& state;
      asio::steady_timer& timer;
      Waiting(State& s, asio::steady_timer& t) : state(s), timer(t) {
        state.waiting.insert(&timer);
      }
      ~Waiting() { state.waiting.erase(&timer); }
    } waiting(*live, timer);

    for (;;) {
      if (live->stopped) co_return std::nullopt;
      std::string text;
      for (const State::News& n : live->news) {
        if (n.number > reader->news_seen) text += n.text;
      }
      reader->news_seen = live->news_number;
      const Clock::time_point clock = Clock::now();
      const bool behind = reader->has != live->now();
      if (behind && clock >= reader->next_tick) {
        text += live->tick_from(reader->has.get());
        reader->has = live->now();
        reader->next_tick = clock + live->settings.tick_gap;
      }
      if (!text.empty()) co_return text;
      if (clock >= beat) co_return "event: beat\ndata: {}\n\n";

      // Until something is new, the next tick may go, or a sign of life is due. When the server cancels us,
      // the wait after this one throws.
      timer.expires_at(behind ? std::min(beat, reader->next_tick) : beat);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  };
  return response;
}

}  // namespace muster::dashboards
