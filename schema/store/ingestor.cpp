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
#include "schema/store/recent_blocks.hpp"

namespace muster::store {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

Stored turned_away(Stored::State state) {
  Stored stored;
  stored.state = state;
  return stored;
}

struct SenderQueue;

// One request on its way through.
struct Request {
  SampleBatch batch;
  Ingestor::Done done;  // empty once it was answered
  std::size_t bytes = 0;
  std::size_t samples = 0;
  Registry::Progress progress;
  std::shared_ptr<SenderQueue> sender;
};
using RequestPtr = std::shared_ptr<Request>;

struct SenderQueue {
  std::string name;
  std::deque<RequestPtr> requests;
  std::size_t samples = 0;  // that wait or are being written
  std::size_t bytes = 0;    // that wait
  std::int64_t credit = 0;  // samples that may be taken before it is another sender's turn
  bool in_turn = false;     // stands in Impl::turns or Impl::held
};

// What a request has brought to a group. A request with many new series comes in several.
struct Part {
  RequestPtr request;
  std::uint64_t accepted = 0;
  bool last = true;
};

// Requests whose rows are gathered together and that are answered together: after all of their pieces, and
// after every group before them, since a duplicate may be of rows that are still being written.
struct Group {
  std::vector<Part> parts;
  SteadyTime since;
  std::size_t pieces = 0;  // not yet known to be committed
  bool gathered = false;   // closed: `pieces` is final
  std::string parked;      // why a piece was given up
};

struct Work {
  Commit commit;
  std::shared_ptr<Group> group;
};

// Samples of one sender before it is another's turn: a few usual requests.
constexpr std::int64_t turn_samples = 10'000;
// A series that is new costs about as much as so many samples.
constexpr std::int64_t new_series_samples = 20;
// How often it is looked whether senders have waited too long.
constexpr auto look_every = std::chrono::milliseconds(200);
// The registry's memory is summed up so often: a millisecond with a million series.
constexpr auto weigh_every = std::chrono::seconds(5);

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
    assert(!settings.data_dsns.empty() && settings.registry.shards > 0 && settings.lanes > 0 &&
           settings.sender_queue_share > 0 && settings.sender_queue_share < 1 && clock);
    restore();
    totals.series = registry.series_count();
    totals.sets = registry.set_count();
    for (int shard = 0; shard < settings.registry.shards; ++shard) {
      Writer& writer = writers.emplace_back();
      for (int lane = 0; lane < settings.lanes; ++lane)
        writer.lanes.emplace_back(settings.data_dsns[shard % settings.data_dsns.size()]);
    }
    for (Writer& writer : writers)
      for (Lane& lane : writer.lanes)
        lane.thread = std::thread([this, &writer, &lane] { write_all(writer, lane); });
    gatherer = std::thread([this] { gather_all(); });
  }

  struct Lane {
    explicit Lane(const std::string& dsn) : log(dsn) {}
    LogWriter log;
    WriteTimes times;
    std::thread thread;
  };
  // A shard's. `work` is handed to whichever lane is free.
  struct Writer {
    std::deque<Lane> lanes;
    std::optional<Work> work;
    int running = 0;
    std::int64_t next_batch = 1;
    std::int64_t handed_on = 0;  // the last batch that was handed to `committed`
  };

  void restore();
  void gather_all();
  RequestPtr next_request();
  void gather_one(std::unique_lock<std::mutex>& lock, const RequestPtr& request);
  void close_group(std::unique_lock<std::mutex>& lock);
  void write_all(Writer& writer, Lane& lane);
  bool write_one(Writer& writer, Lane& lane, Work& work);
  void finish();
  void answer(std::unique_lock<std::mutex>& lock, bool queued, bool all);
  bool writers_free() const {
    return std::all_of(writers.begin(), writers.end(), [&](const Writer& writer) {
      return !writer.work && writer.running < settings.lanes;
    });
  }
  bool group_full() const { return registry.gathered() >= settings.commit_samples_max; }
  std::shared_ptr<SenderQueue> queue_of(const std::string& sender);
  void forget_idle(const std::shared_ptr<SenderQueue>& sender);

  const Settings settings;
  const Clock clock;
  const Committed committed;
  mutable std::mutex registry_mutex;  // before `mutex` when both are taken
  Registry registry;                  // changed by the gathering thread alone
  std::size_t weight = 0;             // of it, when the gathering thread last looked
  SteadyTime weigh_at{};

  mutable std::mutex mutex;  // of all below
  std::condition_variable for_gatherer, for_lanes, for_stop;
  absl::flat_hash_map<std::string, std::shared_ptr<SenderQueue>> senders;  // that have something here
  std::deque<std::shared_ptr<SenderQueue>> turns;  // whose requests may be taken, next first
  std::deque<std::shared_ptr<SenderQueue>> held;   // with more new series than this group may have
  std::shared_ptr<Group> group;                    // that is being gathered
  std::deque<std::shared_ptr<Group>> groups;  // in order, the first to be answered first
  std::deque<Writer> writers;
  IngestCounters totals;
  bool stopping = false;   // takes nothing more
  bool giving_up = false;  // writes nothing more
  bool gatherer_done = false;
  std::thread gatherer;
};

std::shared_ptr<SenderQueue> Ingestor::Impl::queue_of(const std::string& sender) {
  std::shared_ptr<SenderQueue>& queue = senders[sender];
  if (!queue) {
    queue = std::make_shared<SenderQueue>();
    queue->name = sender;
  }
  return queue;
}

void Ingestor::Impl::forget_idle(const std::shared_ptr<SenderQueue>& sender) {
  if (sender->samples == 0 && sender->requests.empty() && !sender->in_turn)
    senders.erase(sender->name);
}

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
         shard += databases) {
      remember_blocks(connection, static_cast<int>(shard), clock() - settings.restore_blocks,
                      settings.restore_block_rows_max, sets, registry);
      restore_rows(connection, static_cast<int>(shard), settings.restore_rows_max, sets, registry);
    }
  }
}

// What happens to the queue and to groups happens under the mutex; senders are answered without it.
void Ingestor::Impl::finish() {
  std::vector<std::pair<Done, Stored>> ready;
  {
    const std::lock_guard lock(mutex);
    while (!groups.empty() && groups.front()->gathered && groups.front()->pieces == 0) {
      const Group& done = *groups.front();
      for (const Part& part : done.parts) {
        Stored& stored = part.request->progress.stored;
        if (!done.parked.empty() && part.accepted > 0) {
          stored.rejected_count += part.accepted;
          stored.rejected.insert(stored.rejected.begin(), {0, done.parked});
          stored.accepted -= part.accepted;
        }
        if (!part.last) continue;
        totals.samples += stored.accepted;
        totals.duplicates += stored.duplicates;
        totals.late += stored.late;
        totals.queue_samples -= part.request->samples;
        part.request->sender->samples -= part.request->samples;
        forget_idle(part.request->sender);
        if (part.request->done)
          ready.emplace_back(std::move(part.request->done), std::move(stored));
      }
      groups.pop_front();
    }
    if (groups.empty()) for_stop.notify_all();
  }
  for (auto& [done, stored] : ready) done(std::move(stored));
}

// Tells senders to try later: those that wait in the queue, and those whose samples are already being
// written when they have waited long, or all of them.
void Ingestor::Impl::answer(std::unique_lock<std::mutex>& lock, bool queued, bool all) {
  std::vector<Done> waiting;
  if (queued) {
    std::vector<std::shared_ptr<SenderQueue>> emptied;
    for (const auto& [name, sender] : senders) {
      for (const RequestPtr& request : sender->requests) {
        totals.queue_bytes -= request->bytes;
        totals.queue_samples -= request->samples;
        sender->bytes -= request->bytes;
        sender->samples -= request->samples;
        if (request->done) waiting.push_back(std::exchange(request->done, nullptr));
      }
      sender->requests.clear();
      sender->in_turn = false;
      emptied.push_back(sender);
    }
    turns.clear();
    held.clear();
    for (const auto& sender : emptied) forget_idle(sender);
  }
  const auto now = std::chrono::steady_clock::now();
  for (const auto& waits : groups) {
    if (!all && now - waits->since < settings.answer_max) break;
    for (const Part& part : waits->parts)
      if (part.request->done) waiting.push_back(std::exchange(part.request->done, nullptr));
  }
  totals.busy += waiting.size();
  if (waiting.empty()) return;
  lock.unlock();
  for (const Done& done : waiting) done(turned_away(Stored::State::busy));
  lock.lock();
}

// The next in turn; nothing when all that wait have to wait for the next group.
RequestPtr Ingestor::Impl::next_request() {
  while (!turns.empty()) {
    const std::shared_ptr<SenderQueue> sender = turns.front();
    if (sender->requests.empty()) {
      sender->in_turn = false;
      sender->credit = 0;
      turns.pop_front();
      forget_idle(sender);
      continue;
    }
    if (sender->credit <= 0) {
      sender->credit += turn_samples;
      turns.pop_front();
      turns.push_back(sender);
      continue;
    }
    RequestPtr request = std::move(sender->requests.front());
    sender->requests.pop_front();
    return request;
  }
  return {};
}

void Ingestor::Impl::gather_one(std::unique_lock<std::mutex>& lock, const RequestPtr& request) {
  const std::shared_ptr<SenderQueue> sender = request->sender;
  if (!group) {
    group = std::make_shared<Group>();
    group->since = std::chrono::steady_clock::now();
    groups.push_back(group);
  }
  lock.unlock();

  bool whole = false;
  const double started = thread_seconds();
  const Registry::Progress before{request->progress.next, request->progress.added, {}};
  const std::uint64_t accepted_before = request->progress.stored.accepted;
  {
    const std::lock_guard registering(registry_mutex);
    whole = registry.gather(request->batch, clock(), request->progress);
  }
  const std::uint64_t accepted = request->progress.stored.accepted - accepted_before;
  const std::size_t added = request->progress.added - before.added;
  if (whole) request->batch = {};
  const double spent = thread_seconds() - started;

  lock.lock();
  totals.gather_seconds += spent;
  for (std::size_t reason = 0; reason < Registry::reasons; ++reason)
    totals.drops[reason] = registry.drops()[reason].samples;
  totals.series = registry.series_count();
  totals.sets = registry.set_count();
  sender->credit -= static_cast<std::int64_t>(request->progress.next - before.next) +
                    static_cast<std::int64_t>(added) * new_series_samples;
  group->parts.push_back({request, accepted, whole});
  if (whole) {
    totals.queue_bytes -= request->bytes;
    sender->bytes -= request->bytes;
    return;
  }
  // The rest of it comes first in the next group, and its sender after those who waited longer.
  sender->requests.push_front(request);
  sender->in_turn = true;
  std::erase(turns, sender);
  held.push_back(sender);
}

// Makes rows of what is gathered and hands them to the writers.
void Ingestor::Impl::close_group(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const double started = thread_seconds();
  std::vector<Piece> pieces;
  {
    const std::lock_guard registering(registry_mutex);
    pieces = registry.take();
    if (std::chrono::steady_clock::now() >= weigh_at) {
      weigh_at = std::chrono::steady_clock::now() + weigh_every;
      weight = registry.memory_bytes();
    }
  }
  const Timestamp written_at = clock();
  const double spent = thread_seconds() - started;
  lock.lock();
  totals.gather_seconds += spent;
  totals.registry_bytes = weight;
  const std::shared_ptr<Group> closed = std::exchange(group, nullptr);
  closed->gathered = true;
  closed->pieces = pieces.size();
  for (Piece& piece : pieces) {
    Writer& writer = writers[piece.shard];
    LogPosition position;
    position.shard = piece.shard;
    position.collector = settings.collector;
    position.batch = writer.next_batch++;
    writer.work.emplace(Work{{position, written_at, std::move(piece)}, closed});
  }
  // Those that were held go first.
  while (!held.empty()) {
    turns.push_front(std::move(held.back()));
    held.pop_back();
  }
  for_lanes.notify_all();
  if (pieces.empty()) {
    lock.unlock();
    finish();
    lock.lock();
  }
}

void Ingestor::Impl::gather_all() {
  std::unique_lock lock(mutex);
  while (true) {
    const auto ready = [&] {
      return giving_up || (group && writers_free()) || (!turns.empty() && !group_full()) ||
             (stopping && turns.empty() && held.empty() && !group);
    };
    if (!for_gatherer.wait_for(lock, look_every, ready)) {
      // A database that does not answer at all throws nothing, so who has waited too long is told from here.
      if (!groups.empty() &&
          std::chrono::steady_clock::now() - groups.front()->since >= settings.answer_max) {
        if (!totals.away) log::warn("ingest.database_away", {{"reason", "it does not answer"}});
        totals.away = true;
        answer(lock, true, false);
      }
      continue;
    }
    if (giving_up || (stopping && turns.empty() && held.empty() && !group)) break;

    // Requests first, so that a commit takes all that is there.
    if (!turns.empty() && !group_full()) {
      if (const RequestPtr request = next_request()) gather_one(lock, request);
      continue;
    }
    close_group(lock);
  }
  gatherer_done = true;
  for_lanes.notify_all();
}

void Ingestor::Impl::write_all(Writer& writer, Lane& lane) {
  std::unique_lock lock(mutex);
  while (true) {
    for_lanes.wait(lock, [&] { return giving_up || writer.work || gatherer_done; });
    if (!writer.work || giving_up) break;
    Work work = std::move(*writer.work);
    writer.work.reset();
    ++writer.running;
    if (writer.running < settings.lanes) for_gatherer.notify_one();
    lock.unlock();
    const bool known = write_one(writer, lane, work);
    lock.lock();
    --writer.running;
    for_gatherer.notify_one();
    if (!known) break;
    --work.group->pieces;
    lock.unlock();
    finish();
    lock.lock();
  }
}

// Until it is known to be committed, or is given up for good. False when we are told to stop before.
bool Ingestor::Impl::write_one(Writer& writer, Lane& lane, Work& work) {
  const auto started = std::chrono::steady_clock::now();
  Piece& piece = work.commit.piece;
  std::chrono::milliseconds pause = settings.retry_min;
  bool parked = false;
  bool with_names = true;
  bool told = false;
  while (true) {
    try {
      if (parked) {
        lane.log.write_void(work.commit, with_names);
      } else {
        lane.log.write(work.commit);
      }
      break;
    } catch (const Rejected& fault) {
      if (parked && !with_names) {  // not even the void row: only a person can help, and readers wait here
        log::error("ingest.void_refused", {{"sqlstate", fault.sqlstate}, {"reason", fault.what()}});
      }
      if (parked) with_names = false;
      if (!parked) {
        log::error("ingest.parked", {{"shard", work.commit.position.shard},
                                     {"collector", work.commit.position.collector},
                                     {"batch", work.commit.position.batch},
                                     {"samples", piece.rows.values.size()},
                                     {"sqlstate", fault.sqlstate},
                                     {"reason", fault.what()}});
        const std::lock_guard lock(mutex);
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
      if (!told && !giving_up) log::warn("ingest.database_away", {{"reason", fault.what()}});
      told = true;
      answer(lock, true, false);
    }
    std::unique_lock lock(mutex);
    if (for_lanes.wait_for(lock, pause, [&] { return giving_up; })) return false;
    pause = std::min(pause * 2, settings.retry_max);
  }
  if (told) log::info("ingest.database_back", {{"batch", work.commit.position.batch}});

  LogBatch batch;
  batch.position = work.commit.position;
  batch.written_at = work.commit.written_at;
  if (!parked) batch.rows = std::move(piece.rows);
  if (with_names) batch.new_sets = std::move(piece.new_sets);
  const std::size_t rows = batch.rows.rows.size();

  // Another lane may still write the one before.
  const std::int64_t number = work.commit.position.batch;
  std::unique_lock lock(mutex);
  for_lanes.wait(lock, [&] { return giving_up || writer.handed_on == number - 1; });
  if (writer.handed_on != number - 1) return false;
  lock.unlock();
  if (committed) committed(std::move(batch));

  lock.lock();
  writer.handed_on = number;
  if (settings.lanes > 1) for_lanes.notify_all();
  totals.away = false;
  ++totals.commits;
  totals.rows += rows;
  totals.commit_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  lane.times = lane.log.times();
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
  Stored::State state = Stored::State::busy;
  {
    const std::lock_guard lock(impl_->mutex);
    const Settings& settings = impl_->settings;
    IngestCounters& now = impl_->totals;
    // A request larger than a bound is taken when it is alone.
    const auto fits = [](std::size_t used, std::size_t more, double most) {
      return used == 0 || static_cast<double>(used + more) <= most;
    };
    const auto most = [&](std::size_t max, std::size_t used) {
      const double share = settings.sender_queue_share;
      return share / (1 - share) * static_cast<double>(max - std::min(max, used));
    };
    const bool room = fits(now.queue_bytes, bytes, static_cast<double>(settings.queue_bytes_max)) &&
                      fits(now.queue_samples, samples,
                           static_cast<double>(settings.queue_samples_max));
    if (room && !impl_->stopping && !now.away) {
      const std::shared_ptr<SenderQueue> sender = impl_->queue_of(batch.sender);
      // What it has may be as much as what is free, so the more senders have queues, the less each.
      const bool fair =
          fits(sender->bytes, bytes, most(settings.queue_bytes_max, now.queue_bytes)) &&
          fits(sender->samples, samples, most(settings.queue_samples_max, now.queue_samples));
      if (fair) {
        now.queue_bytes += bytes;
        now.queue_samples += samples;
        sender->bytes += bytes;
        sender->samples += samples;
        auto request = std::make_shared<Request>();
        request->batch = std::move(batch);
        request->done = std::move(done);
        request->bytes = bytes;
        request->samples = samples;
        request->sender = sender;
        sender->requests.push_back(std::move(request));
        if (!sender->in_turn) {
          sender->in_turn = true;
          impl_->turns.push_back(sender);
        }
        impl_->for_gatherer.notify_one();
        return;
      }
      impl_->forget_idle(sender);
      state = Stored::State::throttled;
      ++now.throttled;
    } else {
      ++now.busy;
    }
  }
  done(turned_away(state));
}

void Ingestor::remap(MappingPtr mapping) {
  const std::lock_guard registering(impl_->registry_mutex);
  impl_->registry.remap(std::move(mapping));
}

void Ingestor::stop() {
  Impl& i = *impl_;
  {
    std::unique_lock lock(i.mutex);
    i.stopping = true;
    i.for_gatherer.notify_all();
    i.for_stop.wait_for(lock, i.settings.drain_max, [&] {
      return i.turns.empty() && i.held.empty() && i.groups.empty();
    });
    i.giving_up = true;
    i.for_gatherer.notify_all();
    i.for_lanes.notify_all();
  }
  for (Impl::Writer& writer : i.writers)
    for (Impl::Lane& lane : writer.lanes) lane.log.abandon();
  if (i.gatherer.joinable()) i.gatherer.join();
  for (Impl::Writer& writer : i.writers)
    for (Impl::Lane& lane : writer.lanes)
      if (lane.thread.joinable()) lane.thread.join();
  std::unique_lock lock(i.mutex);
  i.answer(lock, true, true);
  i.groups.clear();
}

IngestCounters Ingestor::counters() const {
  const std::lock_guard lock(impl_->mutex);
  IngestCounters counters = impl_->totals;
  for (const Impl::Writer& writer : impl_->writers)
    for (const Impl::Lane& lane : writer.lanes) {
      counters.write.encode += lane.times.encode;
      counters.write.send += lane.times.send;
      counters.write.waited += lane.times.waited;
    }
  return counters;
}

IngestReport Ingestor::report(std::size_t top) const {
  IngestReport report;
  std::vector<Registry::Sender> uses;
  {
    const std::lock_guard registering(impl_->registry_mutex);
    const Registry& registry = impl_->registry;
    uses = registry.senders();
    report.drops = registry.drops();
    report.metrics = registry.cardinality().top_metrics(top);
    report.labels = registry.cardinality().top_labels(top);
    report.series = registry.series_count();
    report.models = registry.model_count();
    report.registry_bytes = registry.memory_bytes();
  }
  const std::lock_guard lock(impl_->mutex);
  for (Registry::Sender& use : uses) {
    IngestReport::Sender& sender = report.senders.emplace_back();
    if (const auto found = impl_->senders.find(use.name); found != impl_->senders.end()) {
      sender.queue_samples = found->second->samples;
      sender.queue_bytes = found->second->bytes;
    }
    sender.use = std::move(use);
  }
  return report;
}

}  // namespace muster::store
