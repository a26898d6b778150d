#include "schema/store/ingestor.hpp"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "base/log.hpp"
#include "schema/store/log_reader.hpp"

namespace muster::store {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Stored busy() {
  Stored stored;
  stored.state = Stored::State::busy;
  return stored;
}

// One request on its way through.
struct Waiter {
  Stored stored;
  Ingestor::Done done;
};

// Requests whose rows are gathered together and that are answered together: after all of their pieces, and
// after every group before them, since a duplicate may be of rows that are still being written.
struct Group {
  std::vector<Waiter> waiters;
  SteadyTime since;
  std::size_t samples = 0;
  std::size_t pieces = 0;  // not yet known to be committed
  bool gathered = false;   // closed: `pieces` is final
  std::string parked;      // why a piece was given up
};

struct Work {
  Commit commit;
  std::shared_ptr<Group> group;
};

// The newest rows of a shard by arrival, about rows_max of them, oldest first: what senders may send again.
void restore_rows(Connection& connection, int shard, std::size_t rows_max,
                  const absl::flat_hash_map<std::int64_t, SeriesSetPtr>& sets, Registry& registry) {
  Params newest;
  newest.int4(shard).int8(static_cast<std::int64_t>(rows_max));
  // The batches are few and their rows have a key; without these words a plan may read a whole partition.
  connection.run("BEGIN; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off");
  const Rows rows = connection.run(
      "WITH b AS (SELECT * FROM (SELECT collector_id, batch_id, written_at, row_count, "
      "sum(row_count) OVER"
      " (ORDER BY written_at DESC, collector_id, batch_id DESC) AS upto FROM sample_batch WHERE "
      "shard = $1"
      " AND written_at > (SELECT max(written_at) - interval '1 day' FROM sample_batch WHERE shard "
      "= $1)) n"
      " WHERE upto - row_count < $2)"
      " SELECT p.set_id, l.ts + coalesce(l.ts_off[p.place], 0) * interval '1 microsecond', l.pos "
      "IS NULL,"
      " l.pos[p.upto - p.n + 1 : p.upto] FROM b JOIN sample_log l ON l.shard = $1 AND "
      "l.collector_id ="
      " b.collector_id AND l.batch_id = b.batch_id AND l.written_at = b.written_at"
      " CROSS JOIN LATERAL (SELECT u.set_id, u.place, coalesce(u.n, cardinality(l.vals)) AS n,"
      " coalesce(sum(u.n) OVER (ORDER BY u.place), cardinality(l.vals))::int AS upto"
      " FROM unnest(l.set_ids, l.counts) WITH ORDINALITY AS u (set_id, n, place)) AS p"
      " ORDER BY l.written_at, l.batch_id, l.row_no, p.place",
      newest);
  connection.run("ROLLBACK");
  for (int r = 0; r < rows.size(); ++r) {
    const auto set = sets.find(rows.number<std::int64_t>(r, 0));
    if (set == sets.end()) continue;
    const Timestamp ts = from_pg(rows.number<std::int64_t>(r, 1));
    std::vector<std::int16_t> positions;
    const bool full = rows.number<std::uint8_t>(r, 2) != 0;
    if (!full) {
      // A binary array: 20 bytes of head, then each element behind its length.
      const std::string_view bytes = rows.at(r, 3);
      for (std::size_t at = 24; at + 2 <= bytes.size(); at += 6)
        positions.push_back(get<std::int16_t>(bytes.data() + at));
    }
    registry.remember(*set->second, ts, positions, full);
  }
}

}  // namespace

struct Ingestor::Impl {
  Impl(Settings s, Clock c, Committed done)
      : settings(std::move(s)),
        clock(std::move(c)),
        committed(std::move(done)),
        registry(settings.registry) {
    assert(!settings.data_dsns.empty() && settings.registry.shards > 0 && clock);
    restore();
    totals.series = registry.series_count();
    totals.sets = registry.set_count();
    for (int shard = 0; shard < settings.registry.shards; ++shard) writers.emplace_back();
    for (int shard = 0; shard < settings.registry.shards; ++shard)
      writers[shard].thread = std::thread([this, shard] { write_all(shard); });
    gatherer = std::thread([this] { gather_all(); });
  }

  // One shard's thread. `work` holds one commit at most beside the one under way.
  struct Writer {
    std::optional<Work> work;
    bool running = false;
    std::int64_t next_batch = 1;
    // What a batch that was given up would have named; the next one does.
    Piece owed;
    std::thread thread;
    WriteTimes times;
  };

  void restore();
  void gather_all();
  void write_all(int shard);
  bool write_one(LogWriter& log, Writer& writer, Work& work);
  void finish(const std::shared_ptr<Group>& group);
  void answer_busy(std::unique_lock<std::mutex>& lock, bool all);
  bool writers_free() const {
    return std::all_of(writers.begin(), writers.end(), [](const Writer& w) { return !w.work; });
  }

  const Settings settings;
  const Clock clock;
  const Committed committed;
  Registry registry;  // of the gathering thread

  mutable std::mutex mutex;
  std::condition_variable changed;  // of anything below
  struct Request {
    SampleBatch batch;
    Done done;
    std::size_t bytes = 0;
  };
  std::deque<Request> queue;
  std::deque<std::shared_ptr<Group>> groups;  // in order, the first to be answered first
  std::deque<Writer> writers;
  IngestCounters totals;
  bool stopping = false;   // takes nothing more
  bool giving_up = false;  // writes nothing more
  bool gatherer_done = false;
  std::thread gatherer;
};

void Ingestor::Impl::restore() {
  const std::size_t databases = settings.data_dsns.size();
  ConnectOptions options;
  options.application_name = "muster ingest";
  options.statement_timeout = std::chrono::minutes(10);
  for (std::size_t d = 0; d < databases && d < static_cast<std::size_t>(settings.registry.shards);
       ++d) {
    absl::flat_hash_map<std::int64_t, SeriesSetPtr> sets;
    for (SeriesSetPtr& set : known_sets(settings.data_dsns[d], settings.registry.shards)) {
      registry.remember(*set);
      sets.emplace(static_cast<std::int64_t>(set->id), std::move(set));
    }
    Connection connection(settings.data_dsns[d], options);
    for (std::size_t shard = d; shard < static_cast<std::size_t>(settings.registry.shards);
         shard += databases)
      restore_rows(connection, static_cast<int>(shard), settings.restore_rows_max, sets, registry);
  }
}

// What happens to the queue and to groups happens under the mutex; senders are answered without it.
void Ingestor::Impl::finish(const std::shared_ptr<Group>&) {
  std::vector<Waiter> ready;
  {
    const std::lock_guard lock(mutex);
    while (!groups.empty() && groups.front()->gathered && groups.front()->pieces == 0) {
      Group& group = *groups.front();
      totals.queue_samples -= group.samples;
      for (Waiter& waiter : group.waiters) {
        if (!group.parked.empty() && waiter.stored.accepted > 0) {
          waiter.stored.rejected_count += waiter.stored.accepted;
          waiter.stored.rejected.insert(waiter.stored.rejected.begin(), {0, group.parked});
          waiter.stored.accepted = 0;
        }
        totals.samples += waiter.stored.accepted;
        totals.duplicates += waiter.stored.duplicates;
        totals.late += waiter.stored.late;
        ready.push_back(std::move(waiter));
      }
      groups.pop_front();
    }
  }
  changed.notify_all();
  for (Waiter& waiter : ready)
    if (waiter.done) waiter.done(std::move(waiter.stored));
}

// Tells senders to try later: those that wait in the queue, and those whose samples are already being
// written when they have waited long, or all of them.
void Ingestor::Impl::answer_busy(std::unique_lock<std::mutex>& lock, bool all) {
  std::vector<Done> waiting;
  for (Request& request : queue) {
    totals.queue_bytes -= request.bytes;
    totals.queue_samples -= request.batch.points.size();
    waiting.push_back(std::move(request.done));
  }
  queue.clear();
  const auto now = std::chrono::steady_clock::now();
  for (const auto& group : groups) {
    if (!all && now - group->since < settings.answer_max) continue;
    for (Waiter& waiter : group->waiters)
      if (waiter.done) waiting.push_back(std::exchange(waiter.done, nullptr));
  }
  totals.busy += waiting.size();
  lock.unlock();
  for (const Done& done : waiting) done(busy());
  lock.lock();
}

void Ingestor::Impl::gather_all() {
  std::shared_ptr<Group> group;
  std::unique_lock lock(mutex);
  while (true) {
    const auto full = [&] { return registry.gathered() >= settings.commit_samples_max; };
    changed.wait(lock, [&] {
      return giving_up || (group && writers_free()) || (!queue.empty() && !full()) ||
             (stopping && queue.empty() && !group);
    });
    if (giving_up || (stopping && queue.empty() && !group)) break;

    // Requests first, so that a commit takes all that is there.
    if (!queue.empty() && !full()) {
      Request request = std::move(queue.front());
      queue.pop_front();
      totals.queue_bytes -= request.bytes;
      if (!group) {
        group = std::make_shared<Group>();
        group->since = std::chrono::steady_clock::now();
        groups.push_back(group);
      }
      group->samples += request.batch.points.size();
      lock.unlock();

      const double started = thread_seconds();
      Stored stored = registry.gather(request.batch, clock());
      request.batch = {};
      const double spent = thread_seconds() - started;

      lock.lock();
      totals.gather_seconds += spent;
      totals.refused = registry.refused();
      totals.series = registry.series_count();
      totals.sets = registry.set_count();
      group->waiters.push_back({std::move(stored), std::move(request.done)});
      continue;
    }

    lock.unlock();
    const double started = thread_seconds();
    std::vector<Piece> pieces = registry.take();
    const Timestamp written_at = clock();
    const double spent = thread_seconds() - started;
    lock.lock();
    totals.gather_seconds += spent;
    group->gathered = true;
    group->pieces = pieces.size();
    for (Piece& piece : pieces) {
      Writer& writer = writers[piece.shard];
      LogPosition position;
      position.shard = piece.shard;
      position.collector = settings.collector;
      position.batch = writer.next_batch++;
      writer.work.emplace(Work{{position, written_at, std::move(piece)}, group});
    }
    const bool nothing = pieces.empty();
    const std::shared_ptr<Group> closed = std::exchange(group, nullptr);
    changed.notify_all();
    if (nothing) {
      lock.unlock();
      finish(closed);
      lock.lock();
    }
  }
  gatherer_done = true;
  changed.notify_all();
}

void Ingestor::Impl::write_all(int shard) {
  Writer& writer = writers[shard];
  LogWriter log(settings.data_dsns[shard % settings.data_dsns.size()]);
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return giving_up || writer.work || gatherer_done; });
    if (!writer.work) break;
    Work work = std::move(*writer.work);
    writer.work.reset();
    writer.running = true;
    changed.notify_all();
    lock.unlock();
    const bool known = write_one(log, writer, work);
    lock.lock();
    writer.running = false;
    changed.notify_all();
    if (!known) break;
    --work.group->pieces;
    lock.unlock();
    finish(work.group);
    lock.lock();
  }
}

// Until it is known to be committed, or is given up for good. False when we are told to stop before.
bool Ingestor::Impl::write_one(LogWriter& log, Writer& writer, Work& work) {
  const auto started = std::chrono::steady_clock::now();
  Piece& piece = work.commit.piece;
  const bool owing = !writer.owed.new_sets.empty() || !writer.owed.unsaved_series.empty();
  const auto move_names = [](Piece& from, Piece& to) {
    to.new_sets.insert(to.new_sets.begin(), from.new_sets.begin(), from.new_sets.end());
    to.unsaved_sets.insert(to.unsaved_sets.begin(), from.unsaved_sets.begin(),
                           from.unsaved_sets.end());
    std::move(from.unsaved_series.begin(), from.unsaved_series.end(),
              std::back_inserter(to.unsaved_series));
    from = {};
  };
  if (owing) move_names(writer.owed, piece);

  std::chrono::milliseconds pause = settings.retry_min;
  bool parked = false;
  bool told = false;
  while (true) {
    try {
      if (parked) {
        log.write_void(work.commit.position, work.commit.written_at);
      } else {
        log.write(work.commit);
      }
      break;
    } catch (const Rejected& fault) {
      if (parked) {  // not even the void row: nothing but a person can help, and readers wait here
        log::error("ingest.void_refused", {{"sqlstate", fault.sqlstate}, {"reason", fault.what()}});
      }
      log::error("ingest.parked", {{"shard", work.commit.position.shard},
                                   {"collector", work.commit.position.collector},
                                   {"batch", work.commit.position.batch},
                                   {"samples", piece.rows.values.size()},
                                   {"sqlstate", fault.sqlstate},
                                   {"reason", fault.what()}});
      const std::lock_guard lock(mutex);
      if (!parked) {
        ++totals.parked;
        work.group->parked =
            "the database refuses this batch, which is a fault of this server and was logged: " +
            std::string(fault.what());
        parked = true;
        continue;
      }
    } catch (const Unavailable& fault) {
      std::unique_lock lock(mutex);
      ++totals.resends;
      totals.away = true;
      if (!told) log::warn("ingest.database_away", {{"reason", fault.what()}});
      told = true;
      answer_busy(lock, false);
    }
    std::unique_lock lock(mutex);
    if (changed.wait_for(lock, pause, [&] { return giving_up; })) return false;
    pause = std::min(pause * 2, settings.retry_max);
  }
  if (told) log::info("ingest.database_back", {{"batch", work.commit.position.batch}});

  LogBatch batch;
  batch.position = work.commit.position;
  batch.written_at = work.commit.written_at;
  if (parked) {
    // Its names are needed by later rows all the same. Once: should they be what is refused, they go.
    piece.rows = {};
    if (!owing) move_names(piece, writer.owed);
  } else {
    batch.rows = std::move(piece.rows);
    batch.new_sets = std::move(piece.new_sets);
  }
  const std::size_t rows = batch.rows.rows.size();
  if (committed) committed(std::move(batch));

  const std::lock_guard lock(mutex);
  totals.away = false;
  ++totals.commits;
  totals.rows += rows;
  totals.commit_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  writer.times = log.times();
  return true;
}

Ingestor::Ingestor(Settings settings, Clock clock, Committed committed)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(clock), std::move(committed))) {}

Ingestor::~Ingestor() {
  stop();
}

void Ingestor::submit(SampleBatch batch, Done done) {
  const std::size_t bytes = batch.bytes.size() + batch.series.size() * sizeof(RawSeries) +
                            batch.points.size() * sizeof(Point);
  const std::size_t samples = batch.points.size();
  {
    const std::lock_guard lock(impl_->mutex);
    IngestCounters& now = impl_->totals;
    // A request larger than the bound is taken when it is alone.
    const bool room =
        (now.queue_bytes == 0 || now.queue_bytes + bytes <= impl_->settings.queue_bytes_max) &&
        (now.queue_samples == 0 ||
         now.queue_samples + samples <= impl_->settings.queue_samples_max);
    if (room && !impl_->stopping && !now.away) {
      now.queue_bytes += bytes;
      now.queue_samples += samples;
      impl_->queue.push_back({std::move(batch), std::move(done), bytes});
      impl_->changed.notify_all();
      return;
    }
    ++now.busy;
  }
  done(busy());
}

void Ingestor::stop() {
  Impl& i = *impl_;
  {
    std::unique_lock lock(i.mutex);
    i.stopping = true;
    i.changed.notify_all();
    i.changed.wait_for(lock, i.settings.drain_max,
                       [&] { return i.queue.empty() && i.groups.empty(); });
    i.giving_up = true;
    i.changed.notify_all();
  }
  if (i.gatherer.joinable()) i.gatherer.join();
  for (Impl::Writer& writer : i.writers)
    if (writer.thread.joinable()) writer.thread.join();
  std::unique_lock lock(i.mutex);
  i.answer_busy(lock, true);
  i.groups.clear();
}

IngestCounters Ingestor::counters() const {
  const std::lock_guard lock(impl_->mutex);
  IngestCounters counters = impl_->totals;
  for (const Impl::Writer& writer : impl_->writers) {
    counters.write.encode += writer.times.encode;
    counters.write.send += writer.times.send;
    counters.write.waited += writer.times.waited;
  }
  return counters;
}

}  // namespace muster::store
