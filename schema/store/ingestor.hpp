#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "schema/log.hpp"
#include "schema/samples.hpp"
#include "schema/store/log_writer.hpp"
#include "schema/store/registry.hpp"

namespace muster::store {

// What the ingestor did since its start, for /metrics.
struct IngestCounters {
  std::uint64_t samples = 0;  // accepted and committed
  std::uint64_t duplicates = 0;
  std::uint64_t late = 0;
  std::array<std::uint64_t, Registry::reasons> drops{};  // samples, by Registry::Reason
  std::uint64_t busy = 0;       // requests sent away
  std::uint64_t throttled = 0;  // requests sent away, as their sender had its share of the queue
  std::uint64_t commits = 0;
  std::uint64_t rows = 0;
  std::uint64_t resends = 0;  // commits whose outcome was not known at first
  std::uint64_t parked = 0;   // batches given up by our own mistake
  double commit_seconds = 0;  // wall clock, all tries
  double gather_seconds = 0;  // CPU: look-up, deduplication, rows
  WriteTimes write;
  std::uint64_t queue_bytes = 0;    // now
  std::uint64_t queue_samples = 0;  // now
  std::uint64_t series = 0;         // now
  std::uint64_t sets = 0;           // now: orders of series, without their versions
  std::uint64_t registry_bytes = 0;  // of memory, about; looked at every few seconds
  bool away = false;                 // the database does not answer
};

// What is known of the senders and of what they send, for people.
struct IngestReport {
  struct Sender {
    Registry::Sender use;
    std::uint64_t queue_samples = 0;  // that wait or are being written
    std::uint64_t queue_bytes = 0;
  };
  std::vector<Sender> senders;
  std::array<Registry::Drop, Registry::reasons> drops;
  std::vector<Cardinality::Metric> metrics;  // the most series first
  std::vector<Cardinality::Label> labels;    // the most values first
  std::uint64_t series = 0, models = 0;
  std::uint64_t registry_bytes = 0;
};

// From requests to committed rows. One thread looks series up and gathers rows, one a shard writes; while a
// commit is under way the next is gathered, so commits are as large as the load makes them and no timer
// waits. Requests are taken in turns, sender by sender, and each sender has its share of the queue.
//
// A request is answered once everything it brought is on disk. What a sender sends again, because it heard
// nothing, is found to be there and stored once; after a restart too.
class Ingestor {
 public:
  struct Settings {
    // Where shard s lies: data_dsns[s % size].
    std::vector<std::string> data_dsns;
    // This incarnation of this collector (table collector_incarnation): never used before, as batch ids count
    // from 1 under it.
    std::int64_t collector = 0;
    Registry::Settings registry;

    // Requests that wait, as decoded bytes: seconds of a full load. Beyond it senders are told to wait.
    std::size_t queue_bytes_max = 256u << 20;
    // Samples that wait or are being written: 16 bytes each here and about 20 on their way out.
    std::size_t queue_samples_max = 4'000'000;
    // Of the room in the queue that is left, what one sender may have: a half leaves it half of the queue when
    // it is alone, and a third each when there are two. Beyond it that sender is told to wait.
    double sender_queue_share = 0.5;
    // Commits of a shard under way at once, each over its own connection: the next is sent while the one before
    // waits for the disk.
    int lanes = 2;
    // In one transaction: beyond this a larger one is no cheaper, and a resend costs more.
    std::size_t commit_samples_max = 400'000;

    // A sender hears "try later" after it when the database is away; its samples are written all the same,
    // and found to be duplicates when they come again.
    std::chrono::milliseconds answer_max{10'000};
    std::chrono::milliseconds retry_min{50};
    std::chrono::milliseconds retry_max{5'000};
    // For what is queued, when it is stopped.
    std::chrono::milliseconds drain_max{10'000};

    // Rows read at the start to know again what senders may send again: some seconds of a full load.
    std::size_t restore_rows_max = 200'000;
    // The same of hours that are compacted already: as far as Prometheus looks back in its own log when it
    // sends again, and a second's work.
    Duration restore_blocks = std::chrono::hours(2);
    std::size_t restore_block_rows_max = 1'000'000;
  };
  using Clock = std::function<Timestamp()>;
  using Done = std::function<void(Stored)>;
  using Committed = std::function<void(LogBatch)>;

  // Reads who is known. Throws Unavailable or Rejected when the database cannot be read.
  //
  // clock      arrival time
  // committed  called from a writing thread after each commit, in the order of the batches of a shard,
  //            before the senders are answered; a batch that was given up comes without rows
  Ingestor(Settings settings, Clock clock, Committed committed);
  ~Ingestor();  // stops
  Ingestor(const Ingestor&) = delete;
  Ingestor& operator=(const Ingestor&) = delete;

  // Any thread; does not block. `done` is called once, from a thread of the ingestor or, when there is no
  // room, from within the call with Stored::State::busy or throttled.
  void submit(SampleBatch batch, Done done);

  // Any thread. Other mapping rules for all that is gathered from now on.
  void remap(MappingPtr mapping);

  // Takes nothing more, writes what is queued for up to drain_max, answers the rest busy.
  void stop();

  IngestCounters counters() const;

  // Waits for the request that is being gathered, a tenth of a second at most.
  IngestReport report(std::size_t top) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace muster::store
