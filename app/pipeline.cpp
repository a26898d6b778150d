#include "app/pipeline.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

#include "app/silence.hpp"
#include "base/log.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/event_order.hpp"

namespace muster::app {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr Duration day = std::chrono::hours(24);

// When nothing comes in, the pages are told anew this often, as they may have to say just that.
constexpr auto look_for_silence = 30s;

// The aggregator is ahead of what is stored, so its state must not be saved.
struct Stopped {};

// Rows in the order of time, each set declared when its first row comes: a set is a version of its model, which is
// deployed then and not before.
void observe(aggregator::Fleet& fleet, const LogRows& rows,
             std::map<SetId, SeriesSetPtr>& undeclared) {
  LogRows part;
  const auto flush = [&] {
    if (!part.rows.empty()) fleet.observe(part);
    part = {};
  };
  for (LogRows::Row row : rows.rows) {
    if (const auto found = undeclared.find(row.set); found != undeclared.end()) {
      flush();
      fleet.declare(*found->second);
      undeclared.erase(found);
    }
    const auto first = static_cast<std::ptrdiff_t>(row.first), end = first + row.count;
    row.first = static_cast<std::uint32_t>(part.values.size());
    part.rows.push_back(row);
    part.values.insert(part.values.end(), rows.values.begin() + first, rows.values.begin() + end);
    part.positions.insert(part.positions.end(), rows.positions.begin() + first,
                          rows.positions.begin() + end);
  }
  flush();
}

}  // namespace

Pipeline::Pipeline(Settings settings, Tail& tail, Desk& desk, dashboards::Live& live,
                   std::function<void(const std::string&)> failed)
    : settings_(std::move(settings)),
      tail_(tail),
      desk_(desk),
      live_(live),
      failed_(std::move(failed)),
      control_(settings_.control_dsn),
      imports_(settings_.control_dsn) {}

Pipeline::~Pipeline() {
  stop();
}

void Pipeline::start() {
  thread_ = std::thread([this] { run(); });
}

void Pipeline::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  tail_.close();
  if (thread_.joinable()) thread_.join();
}

bool Pipeline::wait(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  stopping_.wait_for(lock, patience, [this] { return stop_; });
  return !stop_;
}

void Pipeline::apply(Topology topology) {
  const std::lock_guard lock(mutex_);
  work_.push_back([this, topology = std::move(topology)] { fleet_->apply(topology); });
}

void Pipeline::apply(std::vector<Event> events) {
  const std::lock_guard lock(mutex_);
  work_.push_back([this, events = std::move(events)] {
    for (const Event& event : events) fleet_->observe(event);
  });
}

void Pipeline::learn_anew() {
  const std::lock_guard lock(mutex_);
  work_.push_back([this] { learn_ = true; });
  counters_.learning_wanted = true;
}

Pipeline::Counters Pipeline::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void Pipeline::restore() {
  if (const std::optional<Timestamp> from = imports_.pages_from())
    settings_.aggregator.pages_from =
        std::max(*from, settings_.aggregator.pages_from.value_or(*from));
  learn_ = imports_.wanted_relearning().has_value();
  const std::optional<store::StoredTopology> stored = control_.load_topology();
  const Topology topology = stored ? stored->topology : Topology{};
  LogPositions positions;
  if (const std::optional<store::Snapshot> snapshot = control_.load_snapshot()) {
    Result<aggregator::Fleet> fleet =
        aggregator::Fleet::restore(settings_.aggregator, topology, snapshot->state);
    if (fleet) {
      fleet_.emplace(std::move(*fleet));
      positions = snapshot->positions;
      log::info("aggregator.restored",
                {{"bytes", snapshot->state.size()}, {"tick_ms", to_millis(snapshot->at_tick)}});
    } else {
      log::warn("aggregator.snapshot_refused",
                {{"what", fleet.error().what}, {"then", "the log is read again from its start"}});
    }
  }
  if (!fleet_) fleet_.emplace(settings_.aggregator, topology);
  for (const LogPosition& p : positions) at_[{p.shard, p.collector}] = p.batch;
  positions_saved_ = at_;

  // Events are few and come in any order; those that the snapshot knew are known again.
  const Timestamp from = fleet_->closed() - day;
  std::vector<Event> events = control_.events(from, {std::numeric_limits<std::int64_t>::max() / 2});
  std::reverse(events.begin(), events.end());
  for (const Event& event : events) fleet_->observe(event);

  store::IncidentFilter filter;
  filter.state = Incident::State::resolved;
  for (store::IncidentRow& row : control_.incidents(filter).rows) {
    const std::string id = row.incident.id;
    closed_[id] = std::move(row.incident);
  }
  for (const SeriesSetPtr& set : store::known_sets(settings_.data_dsn, settings_.shards))
    if (!fleet_->knows(set->id)) known_[set->id] = set;
  reader_ = std::make_unique<store::LogReader>(
      store::LogReader::Settings{settings_.data_dsn, settings_.shards}, std::move(positions));
}

void Pipeline::run() {
  try {
    follow();
  } catch (const Stopped&) {
    // Its state is ahead of what is stored and is not saved.
  } catch (const std::exception& fault) {
    failed_(fault.what());
  }
}

void Pipeline::follow() {
  // The database may be away when we start, or go away at any time: the same is tried again, and nothing is
  // skipped, as every position moves only after what it stands for is done.
  for (std::chrono::milliseconds pause = 100ms; !fleet_ || !reader_;) {
    try {
      restore();
    } catch (const store::Unavailable& fault) {
      log::warn("aggregator.waits", {{"what", fault.what()}, {"for", "its snapshot"}});
      if (!wait(pause)) return;
      pause = std::min(pause * 2, std::chrono::milliseconds(5000));
    }
  }
  saved_at_ = state_saved_at_ = heard_at_ = SteadyClock::now();
  publish();

  // In the log until it has no more, then along the tail for as long as its batches follow on ours.
  bool in_log = true;
  std::chrono::milliseconds pause = 50ms;
  while (wait(0ms)) {
    std::deque<std::function<void()>> work;
    {
      const std::lock_guard lock(mutex_);
      work.swap(work_);
    }
    for (const auto& job : work) job();
    changed_ |= !work.empty();

    try {
      if (learn_) {
        learn();
        in_log = true;
      }
      if (in_log) {
        if (const std::optional<LogBatch> batch = reader_->next()) {
          is_import(batch->position.collector) ? take_history(*batch) : take(*batch);
          const std::lock_guard lock(mutex_);
          ++counters_.batches_read;
          counters_.caught_up = false;
          pause = 50ms;
        } else if (reader_->waiting_for()) {
          // A transaction that is acknowledged and not yet visible; a moment, or a minute after a crash.
          if (!wait(pause)) break;
          pause = std::min(pause * 2, std::chrono::milliseconds(1000));
        } else {
          in_log = false;
          const std::lock_guard lock(mutex_);
          counters_.caught_up = true;
        }
      } else if (std::optional<LogBatch> batch = tail_.pop(50ms)) {
        const LogPosition& p = batch->position;
        std::int64_t& at = at_[{p.shard, p.collector}];
        if (p.batch == at + 1) {
          take(*batch);
          reader_->skip_to(p);
          const std::lock_guard lock(mutex_);
          ++counters_.batches_by_value;
        } else if (p.batch > at + 1) {
          in_log = true;  // the tail forgot some; this one will be read with them
        }
      }
      if (publish_due()) publish();
      if (save_due()) save();
    } catch (const store::Unavailable& fault) {
      log::warn("aggregator.waits", {{"what", fault.what()}, {"for", "the database"}});
      in_log = true;
      if (!wait(pause)) break;
      pause = std::min(pause * 2, std::chrono::milliseconds(5000));
    }
  }
  try {
    save();
  } catch (const std::exception& fault) {
    log::warn("aggregator.not_saved",
              {{"what", fault.what()}, {"then", "the log is read from the snapshot before"}});
  }
}

bool Pipeline::is_import(std::int64_t collector) {
  const auto known = import_collectors_.find(collector);
  if (known != import_collectors_.end()) return known->second;
  return import_collectors_[collector] = imports_.is_import(collector);
}

// Its sets may be named by live rows later, which do not bring them again.
void Pipeline::take_history(const LogBatch& batch) {
  for (const SeriesSetPtr& set : batch.new_sets) known_.emplace(set->id, set);
  at_[{batch.position.shard, batch.position.collector}] = batch.position.batch;
}

void Pipeline::learn() {
  const std::optional<store::Relearning> job = imports_.wanted_relearning();
  if (!job) {
    learn_ = false;
    return;
  }
  const auto progress = [this](bool learning, double learned) {
    const std::lock_guard lock(mutex_);
    counters_.learning = learning;
    counters_.learning_wanted = false;
    counters_.learned = learned;
    counters_.caught_up = counters_.caught_up && !learning;
  };
  log::info("aggregator.learns_anew", {{"pages_from_ms", to_millis(job->pages_from)}});
  const auto began = SteadyClock::now();
  progress(true, 0);

  aggregator::Settings settings = settings_.aggregator;
  settings.pages_from = job->pages_from;
  settings.incidents_before = static_cast<std::uint32_t>(job->incidents_before);
  const std::optional<store::StoredTopology> stored = control_.load_topology();
  aggregator::Fleet fresh(settings, stored ? stored->topology : Topology{});
  constexpr int all_events = 1'000'000;
  std::vector<Event> events =
      control_.events({0}, {std::numeric_limits<std::int64_t>::max() / 2}, all_events);
  std::reverse(events.begin(), events.end());
  for (const Event& event : events) fresh.observe(event);

  std::map<std::string, std::vector<Finding>> still_open;
  try {
    store::EventOrder order({.dsn = settings_.data_dsn, .shards = settings_.shards});
    std::map<SetId, SeriesSetPtr> undeclared;
    for (const SeriesSetPtr& set : order.sets()) undeclared[set->id] = set;
    while (const std::optional<LogRows> rows = order.next()) {
      observe(fresh, *rows, undeclared);
      report(worth_telling(*job, fresh.advance(), still_open));
      const double span = static_cast<double>((order.end() - order.begin()).count());
      progress(true, static_cast<double>((order.at() - order.begin()).count()) / span);
      if (!wait(0ms)) throw Stopped();
    }
    // What has no samples any more is known all the same: later rows may name it.
    for (const auto& [id, set] : undeclared) fresh.declare(*set);
  } catch (const store::Rejected& fault) {
    // Begun again it would end here again; what is known goes on counting.
    log::error("aggregator.cannot_learn", {{"what", fault.what()}});
    imports_.relearned(*job);
    learn_ = false;
    progress(false, 0);
    return;
  }
  for (auto& [id, findings] : still_open) report(std::move(findings));
  resolve_before(*job, fresh.closed());

  fleet_.emplace(std::move(fresh));
  settings_.aggregator.pages_from = job->pages_from;
  ticks_saved_ = std::numeric_limits<std::uint64_t>::max();  // it is another fleet's count
  save();
  imports_.relearned(*job);
  learn_ = imports_.wanted_relearning().has_value();
  changed_ = true;
  progress(false, 1);
  {
    const std::lock_guard lock(mutex_);
    ++counters_.learnings;
  }
  const std::chrono::duration<double> took = SteadyClock::now() - began;
  log::info("aggregator.learned", {{"samples", fleet_->counters().samples},
                                   {"series", fleet_->counters().series},
                                   {"seconds", took.count()}});
}

// A fleet that is new tells what its history was. One that told of incidents before, live or from an earlier import,
// would tell them again under other ids: of what opened in the past it says only what is still open, which is put
// aside in `open` until that is known.
std::vector<Finding> Pipeline::worth_telling(const store::Relearning& job,
                                             std::vector<Finding> findings,
                                             std::map<std::string, std::vector<Finding>>& open) {
  if (job.incidents_before == 0) return findings;
  std::vector<Finding> now;
  for (Finding& finding : findings) {
    const Incident& incident = finding.incident;
    if (incident.opened_at >= job.pages_from) {
      now.push_back(std::move(finding));
    } else if (incident.state == Incident::State::open) {
      open[incident.id].push_back(std::move(finding));
    } else {
      open.erase(incident.id);
    }
  }
  return now;
}

// What was open before is not known to the fleet that learned more: it ends with a word that says so, and opens
// anew, under an id of its own, if it is still at work.
void Pipeline::resolve_before(const store::Relearning& job, Timestamp at) {
  store::IncidentFilter filter;
  filter.state = Incident::State::open;
  std::vector<Finding> findings;
  do {
    const store::IncidentPage page = control_.incidents(filter);
    for (const store::IncidentRow& row : page.rows) {
      const std::string_view digits = std::string_view(row.incident.id).substr(4);
      std::uint64_t number = 0;
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
      if (number > job.incidents_before) continue;
      const std::optional<store::IncidentDetail> detail = control_.incident(row.incident.id);
      if (!detail || detail->row.incident.state != Incident::State::open) continue;
      Finding finding;
      finding.what = Finding::What::resolved;
      finding.sequence = detail->row.sequence + 1;
      finding.at = std::max(at, detail->row.incident.updated_at);
      finding.incident = detail->row.incident;
      finding.incident.state = Incident::State::resolved;
      finding.incident.resolved_at = finding.incident.updated_at = finding.at;
      finding.incident.why +=
          " Ended here because history was imported and the fleet was judged anew from it.";
      findings.push_back(std::move(finding));
    }
    filter.cursor = page.next;
  } while (!filter.cursor.empty());
  report(std::move(findings));
}

void Pipeline::take(const LogBatch& batch) {
  heard_at_ = SteadyClock::now();
  for (const SeriesSetPtr& set : batch.new_sets) {
    fleet_->declare(*set);
    known_.erase(set->id);
  }
  // A set may be older than this process, and new to the aggregator all the same.
  if (!known_.empty()) {
    for (const LogRows::Row& row : batch.rows.rows) {
      const auto found = known_.find(row.set);
      if (found == known_.end()) continue;
      fleet_->declare(*found->second);
      known_.erase(found);
    }
  }
  const auto began = SteadyClock::now();
  fleet_->observe(batch.rows);
  std::vector<Finding> findings = fleet_->advance();
  const std::chrono::duration<double> took = SteadyClock::now() - began;
  report(std::move(findings));
  at_[{batch.position.shard, batch.position.collector}] = batch.position.batch;

  const aggregator::Counters& seen = fleet_->counters();
  changed_ = true;
  const std::lock_guard lock(mutex_);
  counters_.fleet = seen;
  counters_.evaluate_seconds += took.count();
}

void Pipeline::report(std::vector<Finding> findings) {
  if (findings.empty()) return;
  for (const Finding& finding : findings) {
    const Incident& incident = finding.incident;
    if (incident.state == Incident::State::open) {
      closed_.erase(incident.id);
    } else {
      closed_[incident.id] = incident;
    }
  }
  // The aggregator has moved on and cannot say it again, so this is tried until it is done.
  for (std::chrono::milliseconds pause = 50ms;;
       pause = std::min(pause * 2, std::chrono::milliseconds(5000))) {
    try {
      desk_.apply(findings);
      break;
    } catch (const store::Unavailable& fault) {
      log::warn("aggregator.waits", {{"what", fault.what()}, {"for", "its findings to be stored"}});
    }
    // Stopping now is as a kill: the snapshot before these findings is the one that counts.
    if (!wait(pause)) throw Stopped();
  }
  const std::lock_guard lock(mutex_);
  counters_.findings += findings.size();
}

bool Pipeline::publish_due() const {
  const auto since = SteadyClock::now() - published_at_;
  if (!changed_) return since >= look_for_silence;
  const int share = settings_.publish_share * (live_.watched() ? 1 : 10);
  return since >= settings_.publish_every && since >= publish_took_ * share;
}

bool Pipeline::save_due() const {
  const auto since = SteadyClock::now() - saved_at_;
  return since >= settings_.snapshot_every &&
         (since >= save_took_ * settings_.snapshot_share || since >= settings_.snapshot_every_max);
}

void Pipeline::publish() {
  const auto began = SteadyClock::now();
  auto view = std::make_shared<FleetView>(fleet_->view());
  const auto unheard = std::chrono::duration_cast<Duration>(SteadyClock::now() - heard_at_);
  const std::optional<StaticFinding> silence = fleet_silence(*view, unheard);
  if (silence) view->static_findings.insert(view->static_findings.begin(), *silence);
  if (silence && !silent_) log::warn("aggregator.nobody_sends", {{"seconds", unheard.count() / 1'000'000}});
  silent_ = silence.has_value();
  std::erase_if(closed_,
                [&](const auto& entry) { return entry.second.updated_at < view->at - day; });
  auto incidents = std::make_shared<dashboards::Incidents>(fleet_->open_incidents());
  for (const auto& [id, incident] : closed_) incidents->push_back(incident);
  published_at_ = SteadyClock::now();
  publish_took_ = published_at_ - began;
  {
    const std::lock_guard lock(mutex_);
    counters_.closed = view->at;
    counters_.fleet = fleet_->counters();
    ++counters_.published;
    counters_.publish_seconds += std::chrono::duration<double>(publish_took_).count();
  }
  live_.publish(std::move(view), std::move(incidents));
  changed_ = false;
}

void Pipeline::save() {
  const auto began = SteadyClock::now();
  saved_at_ = began;
  if (!fleet_) return;
  // Without a tick there is little to save, but the log may only be compacted behind a saved position.
  const bool moved = positions_saved_ != at_ && began - state_saved_at_ >= settings_.idle_snapshot_every;
  if (fleet_->counters().ticks == ticks_saved_ && !moved) return;
  LogPositions positions;
  for (const auto& [key, batch] : at_) positions.push_back({key.first, key.second, batch});
  const auto write = [&](const store::Control::Pieces& put) { fleet_->snapshot(put); };
  const std::size_t bytes = control_.save_snapshot(fleet_->closed(), positions, write);
  ticks_saved_ = fleet_->counters().ticks;
  positions_saved_ = at_;
  saved_at_ = state_saved_at_ = SteadyClock::now();
  save_took_ = saved_at_ - began;
  const std::lock_guard lock(mutex_);
  ++counters_.snapshots;
  counters_.snapshot_bytes = bytes;
  counters_.snapshot_seconds += std::chrono::duration<double>(save_took_).count();
}

}  // namespace muster::app
