#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "http/message.hpp"
#include "query/api/catalogue.hpp"
#include "query/engine.hpp"
#include "schema/store/history.hpp"

namespace muster::query {

struct Settings {
  std::string dsn;
  int shards = 1;
  Limits limits;
  // Queries that run at once, each with a connection of its own: a dashboard asks for twenty panels, and two
  // are as fast as twenty on few cores.
  unsigned workers = 2;
  // That run or wait for a worker; beyond it a query hears 503. Some dashboards opened at once.
  std::size_t waiting_max = 200;
  // As Prometheus's query.timeout; a request may ask for less.
  std::chrono::milliseconds timeout = std::chrono::minutes(2);
  // Of one answer, before it is packed: what a browser still holds, and a download of some million lines.
  std::size_t answer_bytes_max = 128u << 20;
  // Read at the start, so that the newest values are known.
  Duration newest_from = std::chrono::hours(1);
};

// What a query has at hand on its thread.
struct Context {
  const Settings& settings;
  const Catalogue& catalogue;
  store::History& history;
  const Stop& stop;
};

struct QueryCounters {
  std::uint64_t queries = 0;
  std::uint64_t failed = 0;    // with an error of any kind
  std::uint64_t canceled = 0;  // the asker went away
  std::uint64_t timeouts = 0;
  std::uint64_t refused = 0;  // too many waited
  std::size_t waiting = 0;    // now: running or in line
  double seconds = 0;         // on the workers
};

// Runs queries on threads of its own, so that the I/O thread never waits for a database; stops those whose
// time is over or whose asker has gone.
class Runner {
 public:
  Runner(Settings settings, Catalogue& catalogue);
  ~Runner();  // stops what runs, and waits for it
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  using Job = std::function<Result<http::Response>(Context&)>;
  // The answer, or an Error whose `where` is Prometheus's errorType: bad_data, execution, timeout, canceled,
  // unavailable, internal. On the I/O thread.
  //
  // gone  whether the asker has left; may be empty
  boost::asio::awaitable<Result<http::Response>> run(std::function<bool()> gone,
                                                     std::chrono::milliseconds timeout, Job job);

  // Fills the catalogue from the database, beside all else; tries again when it is away.
  void fill();

  const Settings& settings() const;
  const QueryCounters& counters() const;  // of the I/O thread
  const Catalogue& catalogue() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::query
