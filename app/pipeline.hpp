#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "aggregator/fleet.hpp"
#include "app/desk.hpp"
#include "app/tail.hpp"
#include "dashboards/live.hpp"
#include "schema/store/control.hpp"
#include "schema/store/imports.hpp"
#include "schema/store/log_reader.hpp"

namespace muster::app {

// The log to findings: the aggregator's thread. It takes committed batches from the tail when they follow on
// what it has, else from the log; hands findings to the desk; publishes the fleet after its ticks; and saves
// its state with its position, so that after a kill it reads on from there.
//
// Samples that were imported are history: they are stored, and no tick is made of them. When an import is over the
// aggregator is made anew from all that is stored, in the order of event time, and then goes on along the log from
// where it stood. What that tells of incidents has the same keys however often it is begun again.
class Pipeline {
 public:
  struct Settings {
    aggregator::Settings aggregator;
    std::string control_dsn;
    std::string data_dsn;
    int shards = 1;
    // After a kill at most that much is read and judged again; a snapshot of 10,000 series is 7 MB. One of a
    // million takes seconds, in which nothing is judged: it comes less often, so that it has no more than
    // 1 / snapshot_share of the time. Reading ten minutes of such a fleet's log again takes as long.
    std::chrono::milliseconds snapshot_every{60'000};
    std::chrono::milliseconds snapshot_every_max{600'000};
    int snapshot_share = 30;
    // When samples come and no tick closes, as when history is imported.
    std::chrono::milliseconds idle_snapshot_every{600'000};
    // A page redraws ten times a second at most. A view of 50,000 models takes a while to make: it has no more
    // than 1 / publish_share of the time, and a tenth of that while nobody looks.
    std::chrono::milliseconds publish_every{100};
    int publish_share = 20;
  };

  // What it did, for /metrics. Any thread.
  struct Counters {
    aggregator::Counters fleet;
    std::uint64_t batches_by_value = 0;
    std::uint64_t batches_read = 0;
    std::uint64_t findings = 0;
    std::uint64_t snapshots = 0;
    std::uint64_t snapshot_bytes = 0;   // of the last one
    double snapshot_seconds = 0;        // all of them
    std::uint64_t published = 0;
    double publish_seconds = 0;         // all of it, in the aggregator's thread
    double evaluate_seconds = 0;  // wall clock, in the aggregator
    Timestamp closed;             // the newest closed tick; 0 before the first
    bool caught_up = false;       // it has read all that was committed when it last looked
    bool learning = false;        // anew, from all that is stored
    double learned = 0;           // 0..1 of the time that it has to go through
    bool learning_wanted = false;  // asked for, and not begun
    std::uint64_t learnings = 0;   // done
  };

  // failed  called from its thread, with the reason, when it ends by a fault that trying again cannot mend
  Pipeline(Settings settings, Tail& tail, Desk& desk, dashboards::Live& live,
           std::function<void(const std::string&)> failed);
  ~Pipeline();  // stops
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  void start();
  // Finishes the batch at hand, saves its state and ends. Any thread.
  void stop();

  // Applied between two batches, in the order of the calls.
  void apply(Topology topology);
  void apply(std::vector<Event> events);

  // A learning that store::Imports says is wanted begins between two batches.
  void learn_anew();

  Counters counters() const;

 private:
  void run();
  void follow();
  void restore();
  void take(const LogBatch& batch);
  void take_history(const LogBatch& batch);
  bool is_import(std::int64_t collector);
  void learn();
  static std::vector<Finding> worth_telling(const store::Relearning& job,
                                            std::vector<Finding> findings,
                                            std::map<std::string, std::vector<Finding>>& open);
  void resolve_before(const store::Relearning& job, Timestamp at);
  void report(std::vector<Finding> findings);
  void publish();
  bool publish_due() const;
  void save();
  bool save_due() const;
  bool wait(std::chrono::milliseconds patience);  // false once it is to stop

  Settings settings_;
  Tail& tail_;
  Desk& desk_;
  dashboards::Live& live_;
  std::function<void(const std::string&)> failed_;

  store::Control control_;
  store::Imports imports_;
  std::map<std::int64_t, bool> import_collectors_;  // those that were asked about
  bool learn_ = false;
  std::optional<aggregator::Fleet> fleet_;
  std::unique_ptr<store::LogReader> reader_;
  std::map<std::pair<std::int32_t, std::int64_t>, std::int64_t> at_;  // (shard, collector) to batch
  std::map<SetId, SeriesSetPtr> known_;                               // sets that were never declared
  std::map<std::string, Incident> closed_;                            // in the last day of the fleet's time
  std::uint64_t ticks_saved_ = 0;
  std::map<std::pair<std::int32_t, std::int64_t>, std::int64_t> positions_saved_;
  std::chrono::steady_clock::time_point state_saved_at_{};
  bool changed_ = true;
  std::chrono::steady_clock::time_point published_at_{};
  std::chrono::steady_clock::duration publish_took_{};
  std::chrono::steady_clock::time_point saved_at_{};
  std::chrono::steady_clock::duration save_took_{};
  std::chrono::steady_clock::time_point heard_at_{};
  bool silent_ = false;  // and it was said

  mutable std::mutex mutex_;
  std::condition_variable stopping_;
  std::deque<std::function<void()>> work_;  // bounded by the desk, which has to commit each of them first
  Counters counters_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace muster::app
