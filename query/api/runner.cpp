#include "query/api/runner.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/log_reader.hpp"
#include "schema/store/log_scan.hpp"

namespace muster::query {

namespace asio = boost::asio;
using SteadyClock = std::chrono::steady_clock;

namespace {

// How often the I/O thread looks whether a query's time is over or its asker gone.
constexpr auto look_every = std::chrono::milliseconds(50);

Timestamp wall_clock() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::microseconds>(now).count()};
}

// A query under way: shared by the coroutine that waits and the thread that works.
struct Query {
  explicit Query(asio::any_io_executor io) : woken(std::move(io)) {}
  Stop stop;
  asio::steady_timer woken;  // of the I/O thread
  std::mutex mutex;
  store::History* reading = nullptr;  // guarded: what to cancel

  void end(Stop::Why why) {
    auto running = Stop::Why::no;
    if (!stop.why.compare_exchange_strong(running, why)) return;
    const std::lock_guard lock(mutex);
    if (reading) reading->cancel();
  }
  void reads(store::History* history) {
    const std::lock_guard lock(mutex);
    reading = history;
  }
  std::optional<Result<http::Response>> answer;
  double seconds = 0;
};

}  // namespace

struct Runner::State {
  State(Settings s, Catalogue& c) : settings(std::move(s)), catalogue(c), pool(settings.workers) {}
  Settings settings;
  Catalogue& catalogue;
  QueryCounters counters;
  std::atomic<bool> stopping = false;

  std::mutex mutex;
  std::vector<std::unique_ptr<store::History>> idle;  // at most one a worker

  asio::thread_pool pool;  // last: its threads use all of the above

  std::unique_ptr<store::History> borrow();
  Result<http::Response> work(const Job& job, Query& query);
};

std::unique_ptr<store::History> Runner::State::borrow() {
  {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      auto reader = std::move(idle.back());
      idle.pop_back();
      return reader;
    }
  }
  store::History::Settings s;
  s.dsn = settings.dsn;
  s.numbers_max = settings.limits.samples_max;
  s.statement_timeout = settings.timeout + std::chrono::seconds(30);
  return std::make_unique<store::History>(std::move(s));
}

Result<http::Response> Runner::State::work(const Job& job, Query& query) {
  // Whoever stops the query must not reach a reader that another query has by then.
  struct Reading {
    Query& query;
    ~Reading() { query.reads(nullptr); }
  };
  try {
    std::unique_ptr<store::History> history = borrow();
    Result<http::Response> answer = [&]() -> Result<http::Response> {
      query.reads(history.get());
      const Reading reading{query};
      if (const Result<void> go = go_on(query.stop); !go) return go.error();
      Context context{settings, catalogue, *history, query.stop};
      Result<http::Response> made = job(context);
      history->end();
      return made;
    }();
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(history));
    return answer;
  } catch (const store::Cancelled&) {
    const Result<void> go = go_on(query.stop);
    return go ? Error{"canceled", "the query was canceled"} : go.error();
  } catch (const store::Unavailable& fault) {
    return Error{"unavailable", std::string("the database does not answer: ") + fault.what()};
  } catch (const std::exception& fault) {
    log::error("query.failed", {{"what", fault.what()}});
    return Error{"internal", "the query failed inside muster; its log has the reason"};
  }
}

Runner::Runner(Settings settings, Catalogue& catalogue)
    : state_(std::make_shared<State>(std::move(settings), catalogue)) {}

Runner::~Runner() {
  state_->stopping = true;
  state_->pool.join();
}

asio::awaitable<Result<http::Response>> Runner::run(std::function<bool()> gone, std::chrono::milliseconds timeout,
                                                    Job job) {
  // A coroutine that is cancelled must still say so to the thread that works for it.
  struct Leave {
    std::shared_ptr<State> state;
    std::shared_ptr<Query> query;
    ~Leave() {
      --state->counters.waiting;
      if (!query->answer) query->end(Stop::Why::canceled);
    }
  };
  const std::shared_ptr<State> state = state_;
  QueryCounters& counters = state->counters;
  ++counters.queries;
  if (counters.waiting >= state->settings.waiting_max || state->stopping) {
    ++counters.refused;
    co_return Error{"unavailable", "too many queries are under way; try again in a moment"};
  }
  const asio::any_io_executor io = co_await asio::this_coro::executor;
  const auto query = std::make_shared<Query>(io);
  ++counters.waiting;
  const Leave leave{state, query};

  asio::post(state->pool, [state, query, io, job = std::move(job)] {
    const auto began = SteadyClock::now();
    Result<http::Response> answer = state->work(job, *query);
    const std::chrono::duration<double> took = SteadyClock::now() - began;
    asio::post(io, [query, took, answer = std::move(answer)]() mutable {
      query->answer.emplace(std::move(answer));
      query->seconds = took.count();
      query->woken.cancel();
    });
  });

  const auto until = SteadyClock::now() + std::min(timeout, state->settings.timeout);
  while (!query->answer) {
    query->woken.expires_after(look_every);
    boost::system::error_code ignored;
    co_await query->woken.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (query->answer) break;
    if (SteadyClock::now() >= until) query->end(Stop::Why::timeout);
    if (gone && gone()) query->end(Stop::Why::canceled);
  }
  counters.seconds += query->seconds;
  if (!*query->answer) {
    const std::string& where = query->answer->error().where;
    ++counters.failed;
    if (where == "timeout") ++counters.timeouts;
    if (where == "canceled") ++counters.canceled;
  }
  co_return std::move(*query->answer);
}

void Runner::fill() {
  asio::post(state_->pool, [state = state_] {
    const auto stopped = [&] { return state->stopping.load(); };
    for (auto pause = std::chrono::milliseconds(200); !stopped();
         pause = std::min(pause * 2, std::chrono::milliseconds(5000))) {
      try {
        state->catalogue.add(store::known_sets(state->settings.dsn, state->settings.shards));
        const Timestamp since = wall_clock() - state->settings.newest_from;
        store::scan_log(state->settings.dsn, state->settings.shards, since, [&](const LogRows& rows) {
          state->catalogue.observe(rows);
          return !stopped();
        });
        if (!stopped()) state->catalogue.complete_since(since);
        return;
      } catch (const std::exception& fault) {
        log::warn("query.waits", {{"what", fault.what()}, {"for", "the series and their newest values"}});
        std::this_thread::sleep_for(pause);
      }
    }
  });
}

const Settings& Runner::settings() const { return state_->settings; }
const QueryCounters& Runner::counters() const { return state_->counters; }
const Catalogue& Runner::catalogue() const { return state_->catalogue; }

}  // namespace muster::query
