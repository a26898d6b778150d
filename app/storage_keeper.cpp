#include "app/storage_keeper.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "app/metrics.hpp"
#include "base/log.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/control.hpp"

namespace muster::app {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

// Behind everything that somebody waits for.
constexpr int niceness = 10;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace

StorageKeeper::StorageKeeper(Settings settings, std::function<Timestamp()> clock)
    : settings_(std::move(settings)), clock_(std::move(clock)) {}

StorageKeeper::~StorageKeeper() { stop(); }

void StorageKeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void StorageKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  if (thread_.joinable()) thread_.join();
}

StorageKeeper::Counters StorageKeeper::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

bool StorageKeeper::wait(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  stopping_.wait_for(lock, patience, [this] { return stop_; });
  return !stop_;
}

void StorageKeeper::run() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), niceness);
  auto dropped_at = SteadyClock::time_point::min();
  do {
    try {
      compact();
      if (dropped_at == SteadyClock::time_point::min() || SteadyClock::now() - dropped_at >= settings_.drop_every) {
        drop();
        dropped_at = SteadyClock::now();
      }
      const std::lock_guard lock(mutex_);
      counters_.last_error.clear();
    } catch (const std::exception& fault) {
      const std::lock_guard lock(mutex_);
      ++counters_.failures;
      // Once a fault, not once a try.
      if (counters_.last_error != fault.what())
        log::warn("storage.failed", {{"what", fault.what()}, {"then", "nothing was changed; it is tried again"}});
      counters_.last_error = fault.what();
    }
    const std::lock_guard lock(mutex_);
    counters_.cpu_seconds = thread_seconds();
  } while (wait(settings_.look_every));
}

void StorageKeeper::compact() {
  store::Control control(settings_.control_dsn);
  store::Compactor compactor(settings_.compact);
  while (wait(0ms)) {
    const Timestamp now = clock_();
    store::NotYet reason = store::NotYet::none;
    const auto began = SteadyClock::now();
    const std::optional<store::Compacted> done =
        compactor.compact_oldest(now - settings_.after, control.saved_positions(), now, reason);
    if (!done) break;
    const std::chrono::duration<double> took = SteadyClock::now() - began;
    if (done->samples + done->duplicates + done->expired > 0) {
      log::info("storage.compacted", {{"hour_ms", to_millis(done->hour)},
                                      {"samples", done->samples},
                                      {"blocks", done->blocks},
                                      {"block_bytes", done->block_bytes},
                                      {"rollups", done->rollups},
                                      {"rollup_bytes", done->rollup_bytes},
                                      {"seconds", took.count()}});
    }
    if (done->expired > 0) {
      log::warn("storage.expired", {{"hour_ms", to_millis(done->hour)},
                                    {"samples", done->expired},
                                    {"what", "older than storage.retention when their hour was compacted; not kept"}});
    }
    const std::lock_guard lock(mutex_);
    ++counters_.hours;
    counters_.samples += done->samples;
    counters_.duplicates += done->duplicates;
    counters_.expired += done->expired;
    counters_.blocks += done->blocks;
    counters_.block_bytes += done->block_bytes;
    counters_.rollups += done->rollups;
    counters_.rollup_bytes += done->rollup_bytes;
  }
}

void StorageKeeper::drop() {
  const std::string& dsn = settings_.compact.dsn;
  const Timestamp now = clock_();
  const std::vector<std::string> gone = store::drop_expired(dsn, now, settings_.compact.retention);
  for (const std::string& name : gone) log::info("storage.dropped", {{"partition", name}, {"why", "beyond its retention"}});
  store::Bounded bounded;
  if (settings_.disk_max) {
    bounded = store::keep_below(dsn, *settings_.disk_max, now);
    for (const std::string& name : bounded.dropped) {
      log::warn("storage.given_up", {{"partition", name},
                                     {"why", "the database was larger than storage.disk_max"},
                                     {"bytes", bounded.bytes},
                                     {"then", "its rollups are still there; raise disk_max or lower storage.retention"}});
    }
    if (!bounded.met)
      log::warn("storage.over_bound", {{"bytes", bounded.bytes},
                                       {"bound", *settings_.disk_max},
                                       {"what", "the log, the two newest days and the rollups alone are larger than storage.disk_max"}});
  }
  store::StorageUse use = store::storage_use(dsn, now);
  const std::lock_guard lock(mutex_);
  counters_.dropped += gone.size();
  counters_.given_up += bounded.dropped.size();
  counters_.over_bound = !bounded.met;
  counters_.use = std::move(use);
  counters_.looked_at = now;
}

void add_storage(MetricsPage& page, const StorageKeeper::Counters& c) {
  const auto n = [](auto number) { return static_cast<double>(number); };
  page.counter("muster_storage_compacted_hours_total", "Hours of the log that became blocks", n(c.hours));
  page.counter("muster_storage_compacted_samples_total", "Samples that were written to blocks", n(c.samples));
  page.counter("muster_storage_compacted_bytes_total", "Bytes that blocks and rollups took when they were written",
               n(c.block_bytes), {{"kind", "blocks"}});
  page.counter("muster_storage_compacted_bytes_total", "Bytes that blocks and rollups took when they were written",
               n(c.rollup_bytes), {{"kind", "rollups"}});
  page.counter("muster_storage_compacted_rows_total", "Rows of blocks and rollups that were written", n(c.blocks), {{"kind", "blocks"}});
  page.counter("muster_storage_compacted_rows_total", "Rows of blocks and rollups that were written", n(c.rollups), {{"kind", "rollups"}});
  page.counter("muster_storage_samples_dropped_total", "Samples of the log that no block holds, by the reason", n(c.duplicates), {{"reason", "duplicate"}});
  page.counter("muster_storage_samples_dropped_total", "Samples of the log that no block holds, by the reason", n(c.expired), {{"reason", "beyond_retention"}});
  page.counter("muster_storage_partitions_dropped_total", "Days and ranges that were dropped, by the reason", n(c.dropped), {{"reason", "retention"}});
  page.counter("muster_storage_partitions_dropped_total", "Days and ranges that were dropped, by the reason", n(c.given_up), {{"reason", "disk_max"}});
  page.counter("muster_storage_failures_total", "Compactions or drops that failed and come again", n(c.failures));
  page.gauge("muster_storage_failing", "1 when the last one failed; the log says why", c.last_error.empty() ? 0 : 1);
  page.gauge("muster_storage_over_bound", "1 when the database is larger than storage.disk_max and nothing may be dropped", c.over_bound ? 1 : 0);
  page.counter("muster_storage_cpu_seconds_total", "CPU time of the compactor, without PostgreSQL's", c.cpu_seconds);
  if (c.looked_at == Timestamp{}) return;
  page.gauge("muster_storage_database_bytes", "Size of the database, with incidents and all", n(c.use.database_bytes));
  page.gauge("muster_storage_log_hours_behind", "Hours of the log that are over and not compacted", n(c.use.log_hours_behind));
  page.gauge("muster_storage_log_hours_ahead", "Hours of the log that are made ahead", n(c.use.log_hours_ahead));
  for (const store::StorageUse::Table& table : c.use.tables) {
    page.gauge("muster_storage_bytes", "Bytes by what they hold, with indexes", n(table.bytes), {{"kind", table.name}});
    page.gauge("muster_storage_rows", "Rows by what they hold, as PostgreSQL estimates them", n(table.rows), {{"kind", table.name}});
    if (table.oldest)
      page.gauge("muster_storage_oldest_seconds", "Begin of the oldest partition, unix seconds", n(table.oldest->us) / 1e6, {{"kind", table.name}});
  }
}

}  // namespace muster::app
