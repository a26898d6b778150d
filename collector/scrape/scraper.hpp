#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.hpp"
#include "collector/scrape/dns.hpp"
#include "collector/scrape/settings.hpp"
#include "collector/sink.hpp"
#include "http/message.hpp"
#include "schema/time.hpp"

namespace muster::scrape {

// What was scraped since the start, by job, for /metrics.
struct JobCounters {
  std::uint64_t scrapes = 0;
  std::uint64_t failed = 0;           // of them: no page, or one that was refused
  std::uint64_t samples = 0;          // stored, with markers and what a scrape says of itself
  std::uint64_t duplicates = 0;       // samples that were there already
  std::uint64_t late = 0;             // samples kept, but too late for a decision
  std::uint64_t rejected = 0;         // samples that the store refused
  std::uint64_t exemplars = 0;        // read and left out
  std::uint64_t retries = 0;          // a page handed over again, as the database was away
  std::uint64_t dropped_pages = 0;    // given up, as it was away for the whole interval
  std::uint64_t dropped_samples = 0;  // in them
  std::uint64_t targets = 0;          // now
  std::uint64_t up = 0;               // now
  std::uint64_t lines = 0;            // now: remembered
  std::uint64_t bytes = 0;            // now: of what is remembered
};

// Finds targets, fetches their pages in time and hands them on, each target with a coroutine of its own.
//
//   Scraper scraper(io, settings, {.sink = …, .workers = …, .clock = …});
//   co_spawn(io, scraper.run(), …);      // until stop() and the last page
//
// All functions are for the I/O thread. Pages that a busy store does not take are kept and offered again until
// the target is due the next time, then dropped and counted.
class Scraper {
 public:
  struct Outside {
    collector::Sink sink;
    boost::asio::any_io_executor workers;  // for large pages; none: read on the I/O thread
    std::function<Timestamp()> clock;
    DnsServer name_server;  // those of the machine
  };
  Scraper(boost::asio::io_context& io, Settings settings, Outside outside);
  ~Scraper();
  Scraper(const Scraper&) = delete;
  Scraper& operator=(const Scraper&) = delete;

  boost::asio::awaitable<void> run();
  // Ends what is being fetched; what is being stored is waited for.
  void stop();

  // Other settings from now on. Targets that are in both go on as they are; those that are gone get stale markers.
  void apply(Settings settings);

  const std::map<std::string, JobCounters>& counters();

  // GET /api/v1/targets in Prometheus's form; ?state=active|dropped|any, ?scrapePool=JOB.
  http::Response targets(const http::Request& request) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace muster::scrape
