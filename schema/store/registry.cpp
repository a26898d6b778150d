#include "schema/store/registry.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

#include "base/hash.hpp"

namespace muster::store {
namespace {

constexpr std::size_t block = 64;           // series whose memory is asked for ahead of its use
constexpr std::size_t variants_max = 4096;  // attributes of one model's chunk since the start
constexpr std::size_t stored_rejected_max = 100;
constexpr std::size_t examples_max = 5;
// Beyond the first few, so that a flood of refusals does not spend its time on being remembered.
constexpr std::uint64_t example_every = 1'000;
// What came within it should be known again: longer than senders repeat a request that was not answered.
constexpr std::int64_t resend_us = 3'600'000'000;
constexpr std::int64_t period_us = 600'000'000;  // of Sender::active_series
constexpr std::size_t long_run = 16;             // instants that are worth a run when runs are few

// One point of a series is not taken.
void reject(Stored& out, const SampleBatch& batch, const RawSeries& series, std::uint32_t point,
            std::string what) {
  if (out.rejected.size() < stored_rejected_max) {
    out.rejected.push_back({series.line, std::move(what)});
    if (batch.show != nullptr) out.rejected.back().series = batch.show(series.labels);
  }
  ++out.rejected_count;
  out.refused.push_back(point);
}

}  // namespace

int shard_of(std::string_view model, int shards) {
  const auto slot = static_cast<int>(hash64(model) >> 56);
  return slot * shards / 256;
}

unsigned Registry::Mask::count() const {
  unsigned n = 0;
  for (const std::uint64_t word : words) n += static_cast<unsigned>(std::popcount(word));
  return n;
}

bool Registry::Run::holds(std::int64_t ts) const {
  if (ts < first) return false;
  if (step == 0) return ts == first;
  const std::int64_t past = ts - first;
  return past % step == 0 && past / step < static_cast<std::int64_t>(count);
}

bool Registry::Run::says(const Run& other) const {
  return mask.covers(other.mask) && holds(other.first) && holds(other.last()) &&
         (other.count <= 2 || other.step == step);
}

bool Registry::Instants::add(std::int64_t t) {
  unsigned at = 0;
  while (at < used && ts[at] > t) ++at;
  if (at < used && ts[at] == t) return false;
  if (at == count_max) return true;  // older than all that are remembered
  if (used < count_max) ++used;
  for (unsigned i = used - 1; i > at; --i) ts[i] = ts[i - 1];
  ts[at] = t;
  return true;
}

std::string_view Registry::Chunk::metric(std::size_t slot) const {
  const std::size_t begin = slot == 0 ? 0 : slots[slot - 1].end;
  return std::string_view(metrics).substr(begin, slots[slot].end - begin);
}

void Registry::Chunk::add(const Series& series) {
  metrics += series.metric;
  slots.push_back({series.id, static_cast<std::uint32_t>(metrics.size()), series.kind,
                   series.direction, series.unit});
}

Registry::Registry(Settings settings) : settings_(std::move(settings)), rows_(1) {}

void Registry::remember(const SeriesSet& set) {
  saved_sets_.insert(set.id);
  // Sets of one chunk are each the beginning of the longest. One that names a series of another chunk is
  // another collector's order of the same model: it is read by its id, and not written here again.
  for (const Series& series : set.series)
    if (places_.contains(series.id)) return;
  const auto index = static_cast<std::uint32_t>(chunks_.size());
  Chunk& chunk = chunks_.emplace_back();
  chunk.model = set.model;
  chunk.shard = shard_of(set.model, settings_.shards);
  std::size_t bytes = 0;
  for (const Series& series : set.series) bytes += series.metric.size();
  chunk.metrics.reserve(bytes);
  chunk.slots.reserve(set.series.size());
  for (const Series& series : set.series) {
    chunk.add(series);
    cardinality_.add(series.metric);
  }
  chunk.saved = static_cast<std::uint16_t>(chunk.slots.size());
  recent_.emplace_back();
  models_[hash64(set.model)] = index;
  for (std::size_t slot = 0; slot < set.series.size(); ++slot)
    places_.emplace(set.series[slot].id, Place{index, static_cast<std::uint16_t>(slot), 0});
}

void Registry::remember(const SeriesSet& set, Timestamp ts, std::span<const std::int16_t> positions,
                        bool full) {
  const std::size_t count = full ? set.series.size() : positions.size();
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = full ? i : static_cast<std::size_t>(positions[i]);
    if (at >= set.series.size()) continue;
    const auto found = places_.find(set.series[at].id);
    if (found == places_.end()) continue;
    mark(found->second, ts.us);
    Recent& recent = recent_[found->second.chunk];
    recent.newest = std::max(recent.newest, ts.us);
  }
}

std::uint32_t Registry::chunk_for(const std::string& model) {
  const auto [at, is_new] =
      models_.try_emplace(hash64(model), static_cast<std::uint32_t>(chunks_.size()));
  // Another model of the same hash is as good as a full chunk: series are found by their ids.
  if (is_new || chunks_[at->second].slots.size() == SeriesSet::slots_max ||
      chunks_[at->second].model != model) {
    at->second = static_cast<std::uint32_t>(chunks_.size());
    Chunk& chunk = chunks_.emplace_back();
    chunk.model = model;
    chunk.shard = shard_of(model, settings_.shards);
    recent_.emplace_back();
  }
  return at->second;
}

std::uint32_t Registry::attributes_for(const ModelAttributes& attributes) {
  std::string key;
  for (const std::string* part : {&attributes.version, &attributes.region, &attributes.family,
                                  &attributes.team, &attributes.environment}) {
    key += *part;
    key += '\xff';  // stands in no UTF-8 text
  }
  const auto [at, is_new] =
      attribute_index_.try_emplace(std::move(key), static_cast<std::uint32_t>(attributes_.size()));
  if (is_new) attributes_.push_back(attributes);
  return at->second;
}

Registry::Use& Registry::use_of(const std::string& sender, Timestamp now) {
  auto found = senders_.find(sender);
  if (found == senders_.end()) {
    const bool room = senders_.size() < settings_.senders_max;
    found = senders_.try_emplace(room ? sender : "others").first;
    if (!found->second) found->second = std::make_unique<Use>();
  }
  Use& use = *found->second;
  const std::int64_t period = now.us / period_us;
  if (period != use.period) {
    use.active[1] = period == use.period + 1 ? use.active[0] : DistinctCount();
    use.active[0] = {};
    use.period = period;
  }
  return use;
}

std::variant<Registry::Place, Registry::Refusal> Registry::introduce(const SampleBatch& batch,
                                                                     std::string_view labels,
                                                                     Use& use,
                                                                     Progress& progress) {
  auto identity = batch.identify(labels, *settings_.mapping);
  if (!identity) {
    const Error& error = identity.error();
    const bool bare = batch.show != nullptr || error.where == "line";
    return Refusal{Reason::labels, bare ? error.what : error.where + ": " + error.what};
  }
  if (identity->ignored) return Place{nowhere, 0, 0};
  const auto refused = [&](Reason reason, const std::string& what) {
    return Refusal{reason,
                   "model " + identity->model + ", metric " + identity->metric + ": " + what};
  };

  const SeriesId id = series_id(identity->model, identity->metric);
  Place place;
  if (const auto found = places_.find(id); found != places_.end()) {
    place = found->second;
    const Chunk& chunk = chunks_[place.chunk];
    if (chunk.model != identity->model || chunk.metric(place.slot) != identity->metric)
      return refused(Reason::series_limit,
                     "has the same 63-bit id as another series; rename either");
  } else {
    if (places_.size() >= settings_.series_max)
      return refused(Reason::series_limit,
                     "new, and the limit of " + std::to_string(settings_.series_max) +
                         " series is reached; remove labels that change all the time, or raise "
                         "series_max");
    if (use.new_series >= settings_.sender_series_max)
      return refused(Reason::sender_limit,
                     "new, and this sender has brought " +
                         std::to_string(settings_.sender_series_max) +
                         " series; remove labels that change all the time, or raise "
                         "sender_series_max");
    if (progress.added >= settings_.new_series_max)
      return refused(Reason::request_limit, "more than " + std::to_string(settings_.new_series_max) +
                                                " new series in one request; send it again in parts");
    ++progress.added;
    ++use.new_series;
    place.chunk = chunk_for(identity->model);
    Chunk& chunk = chunks_[place.chunk];
    place.slot = static_cast<std::uint16_t>(chunk.slots.size());
    cardinality_.add(identity->metric);
    chunk.add({id, std::move(identity->metric), identity->kind, identity->direction,
               identity->unit});
    places_.emplace(id, place);
  }

  std::vector<Variant>& variants = chunks_[place.chunk].variants;
  const auto has_them = [&](const Variant& variant) {
    return attributes_[variant.attributes] == identity->attributes;
  };
  // Most often those of the series before.
  auto same = variants.end();
  if (!variants.empty() && has_them(variants.back())) {
    same = variants.end() - 1;
  } else {
    same = std::find_if(variants.begin(), variants.end(), has_them);
  }
  if (same == variants.end()) {
    if (variants.size() == variants_max)
      return Refusal{Reason::series_limit,
                     "model " + identity->model + " came with more than " +
                         std::to_string(variants_max) +
                         " different versions, regions, families, teams and environments"};
    variants.push_back({attributes_for(identity->attributes), 0, {}});
    place.variant = static_cast<std::uint16_t>(variants.size() - 1);
  } else {
    place.variant = static_cast<std::uint16_t>(same - variants.begin());
  }
  return place;
}

// Takes an instant that leaves the ticks into a run, or makes one of it.
void Registry::fold(Recent& recent, std::int64_t ts, const Mask& mask) {
  std::vector<Run>& runs = recent.runs;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (!(run->mask == mask)) continue;
    if (run->holds(ts)) return;
    if (run->count == 1 && ts > run->first) {
      run->step = ts - run->first;
      run->count = 2;
      return;
    }
    if (run->count > 1 && ts == run->first + run->step * run->count) {
      ++run->count;
      return;
    }
  }
  if (runs.size() == Recent::runs_max) {
    // One that another says as well can go: series that come one by one with long histories leave such.
    std::vector<Run> kept;
    for (const Run& run : runs) {
      const bool said = std::any_of(runs.begin(), runs.end(), [&](const Run& other) {
        return &other != &run && other.says(run) && !run.says(other);
      });
      if (!said) kept.push_back(run);
    }
    runs = std::move(kept);
  }
  if (runs.size() == Recent::runs_max) {
    const auto ends_first = std::min_element(
        runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.last() < b.last(); });
    if (ends_first->last() > recent.newest - resend_us) {
      loosen(recent);
      loose_bytes_ += recent.loose->capacity() * sizeof(Instants);
      return;
    }
    runs.erase(ends_first);
  }
  runs.push_back({ts, 0, 1, mask});
}

// From then on each series has instants of its own. Long runs stay: they know what came before.
void Registry::loosen(Recent& recent) {
  recent.loose = std::make_unique<std::vector<Instants>>();
  const auto put = [&](std::int64_t ts, const Mask& mask) {
    for (unsigned slot = 0; slot < SeriesSet::slots_max; ++slot) {
      if (!mask.test(slot)) continue;
      if (recent.loose->size() <= slot) recent.loose->resize(slot + 1);
      (*recent.loose)[slot].add(ts);
    }
  };
  for (const Run& run : recent.runs)
    for (std::uint32_t i = run.count - std::min<std::uint32_t>(run.count, Instants::count_max);
         i < run.count; ++i)
      put(run.first + run.step * i, run.mask);
  for (unsigned i = 0; i < recent.used; ++i) put(recent.ts[i], recent.ticks[i].mask);
  recent.used = recent.last = recent.oldest = 0;
  std::erase_if(recent.runs, [](const Run& run) { return run.count < long_run; });
  recent.runs.shrink_to_fit();
}

Registry::Recent::Tick& Registry::tick(Recent& recent, std::int64_t ts) {
  if (recent.used > 0 && recent.ts[recent.last] == ts) return recent.ticks[recent.last];
  for (unsigned i = 0; i < recent.used; ++i) {
    if (recent.ts[i] != ts) continue;
    recent.last = static_cast<std::uint8_t>(i);
    return recent.ticks[i];
  }

  Recent::Tick fresh;
  if (ts <= recent.newest)
    for (const Run& run : recent.runs)
      if (run.holds(ts)) fresh.mask.add(run.mask);

  unsigned at = recent.used;
  if (recent.used < Recent::ticks_max) {
    ++recent.used;
  } else {
    at = recent.oldest;
    recent.oldest = static_cast<std::uint8_t>((recent.oldest + 1) % Recent::ticks_max);
  }
  recent.ts[at] = ts;
  recent.ticks[at] = fresh;
  recent.last = static_cast<std::uint8_t>(at);
  return recent.ticks[at];
}

// Makes room for an instant that the ticks do not have. False when each series has instants of its own.
bool Registry::make_room(Recent& recent, std::int64_t ts) {
  if (recent.loose) return false;
  if (recent.used < Recent::ticks_max) return true;
  for (unsigned i = 0; i < recent.used; ++i)
    if (recent.ts[i] == ts) return true;
  fold(recent, recent.ts[recent.oldest], recent.ticks[recent.oldest].mask);
  return !recent.loose;
}

bool Registry::mark(Place place, std::int64_t ts, Recent::Tick** at) {
  Recent& recent = recent_[place.chunk];
  if (make_room(recent, ts)) {
    Recent::Tick& tick_at = tick(recent, ts);
    if (tick_at.mask.test(place.slot)) return false;
    tick_at.mask.set(place.slot);
    if (at != nullptr) *at = &tick_at;
    return true;
  }
  std::vector<Instants>& loose = *recent.loose;
  if (loose.size() <= place.slot) {
    loose_bytes_ -= loose.capacity() * sizeof(Instants);
    loose.reserve(std::max<std::size_t>(place.slot + 1, chunks_[place.chunk].slots.size()));
    loose.resize(place.slot + 1);
    loose_bytes_ += loose.capacity() * sizeof(Instants);
  }
  Instants& instants = loose[place.slot];
  const bool old = instants.used > 0 && ts < instants.ts[instants.used - 1];
  if (old)
    for (const Run& run : recent.runs)
      if (run.mask.test(place.slot) && run.holds(ts)) return false;
  return instants.add(ts);
}

// Whether the series has a sample at `ts` or after it.
bool Registry::began(Place place, std::int64_t ts) const {
  const Recent& recent = recent_[place.chunk];
  for (unsigned i = 0; i < recent.used; ++i)
    if (recent.ts[i] >= ts && recent.ticks[i].mask.test(place.slot)) return true;
  for (const Run& run : recent.runs)
    if (run.last() >= ts && run.mask.test(place.slot)) return true;
  if (!recent.loose || recent.loose->size() <= place.slot) return false;
  const Instants& instants = (*recent.loose)[place.slot];
  return instants.used > 0 && instants.ts[0] >= ts;
}

// The row of this group for (set, ts), which is made when there is none.
std::uint32_t Registry::open_row(Place place, std::int64_t ts, Recent::Tick* tick) {
  std::uint32_t first = 0;
  if (tick != nullptr && tick->epoch == epoch_) {
    first = tick->row;
  } else if (const auto found = open_.find({place.chunk, ts}); found != open_.end()) {
    first = found->second;
  }
  std::uint32_t row = first;
  while (row != 0 && rows_[row].variant != place.variant) row = rows_[row].next;
  if (row == 0) {
    row = static_cast<std::uint32_t>(rows_.size());
    rows_.push_back({place.chunk, place.variant, ts, first, {}});
    open_[{place.chunk, ts}] = row;
    first = row;
  }
  if (tick != nullptr) {
    tick->epoch = epoch_;
    tick->row = first;
  }
  return row;
}

void Registry::drop(Reason reason, std::uint64_t samples, const SampleBatch& batch,
                    const RawSeries& series, std::string name, Timestamp now) {
  Drop& drop = drops_[static_cast<std::size_t>(reason)];
  const bool remember = drop.examples.size() < examples_max ||
                        drop.samples / example_every != (drop.samples + samples) / example_every;
  drop.samples += samples;
  if (!remember) return;
  if (drop.examples.size() == examples_max) drop.examples.erase(drop.examples.begin());
  const Point& point = batch.points[series.first];
  drop.examples.push_back({now, batch.sender, std::move(name), point.ts, point.value});
}

// A counter that says when it began has counted from 0 since then. So there is a sample of 0 at that time,
// unless there is one of the series at or after it already.
void Registry::count_from_zero(const RawSeries& series, Place place, std::int64_t first_ts) {
  // What is measured and not counted has a value when it begins, and nobody knows it.
  const Kind kind = chunks_[place.chunk].slots[place.slot].kind;
  if (kind != Kind::counter && kind != Kind::bucket) return;
  const std::int64_t at = from_millis(series.start_ms).us;
  const auto [known, is_new] =
      starts_.try_emplace((std::uint64_t{place.chunk} << 16 | place.slot) * mixing, at);
  if (!is_new && known->second == at) return;
  known->second = at;
  const std::int64_t newest = std::max(recent_[place.chunk].newest, first_ts);
  if (at >= first_ts || at < settings_.earliest.us || at < newest - settings_.lateness.count() ||
      began(place, at))
    return;
  const std::uint32_t row = open_row(place, at, nullptr);
  if (rows_[row].mask.test(place.slot)) return;
  rows_[row].mask.set(place.slot);
  pending_.push_back({0, row, place.slot});
}

std::string Registry::name_of(Place place) const {
  const Chunk& chunk = chunks_[place.chunk];
  return "model " + chunk.model + ", metric " + std::string(chunk.metric(place.slot));
}

void Registry::place(const SampleBatch& batch, const RawSeries& series, std::uint32_t index,
                     Place place, const Bounds& bounds, Stored& out) {
  const Point& point = batch.points[index];
  const std::int64_t ts = point.ts.us;
  if (ts > bounds.latest) {
    drop(Reason::ahead, 1, batch, series, name_of(place), bounds.now);
    reject(out, batch, series, index,
           "timestamp " + std::to_string(to_millis(point.ts)) + " ms lies more than " +
               std::to_string(settings_.future_max.count() / 1'000'000) +
               " s ahead of this server's clock; check the sender's");
    return;
  }
  if (ts < settings_.earliest.us) {
    drop(Reason::early, 1, batch, series, name_of(place), bounds.now);
    reject(out, batch, series, index,
           "timestamp " + std::to_string(to_millis(point.ts)) +
               " ms lies before the year 2000; milliseconds since 1970-01-01 UTC are wanted");
    return;
  }
  Recent::Tick* tick = nullptr;
  if (!mark(place, ts, &tick)) {
    ++out.duplicates;
    return;
  }
  Recent& recent = recent_[place.chunk];
  if (ts > recent.newest) {
    recent.newest = ts;
  } else if (ts < recent.newest - settings_.lateness.count()) {
    ++out.late;
    drop(Reason::late, 1, batch, series, name_of(place), bounds.now);
  }
  const std::uint32_t row = open_row(place, ts, tick);
  rows_[row].mask.set(place.slot);
  pending_.push_back({point.value, row, place.slot});
  ++out.accepted;
}

bool Registry::gather(const SampleBatch& batch, Timestamp now, Progress& progress) {
  Stored& out = progress.stored;
  const bool bounded = settings_.future_max < Duration::max();
  const Bounds bounds{now, bounded ? (now + settings_.future_max).us
                                   : std::numeric_limits<std::int64_t>::max()};
  if (aliases_.size() > 2 * settings_.series_max) aliases_.clear();
  Use& use = use_of(batch.sender, now);
  const std::uint64_t accepted_before = out.accepted;

  // Each look-up would wait for memory twice, so a block of them asks for all first: the table's slots, then
  // what they point at.
  std::array<Place, block> places;
  std::array<bool, block> known;
  const std::vector<RawSeries>& all = batch.series;
  bool whole = true;
  for (std::size_t from = progress.next; from < all.size() && whole; from += block) {
    const std::size_t n = std::min(block, all.size() - from);
    for (std::size_t i = 0; i < n; ++i) aliases_.prefetch(all[from + i].alias);
    for (std::size_t i = 0; i < n; ++i) {
      const auto found = aliases_.find(all[from + i].alias);
      known[i] = found != aliases_.end();
      if (!known[i]) continue;
      places[i] = found->second;
      if (places[i].chunk == nowhere) continue;
      const char* recent = reinterpret_cast<const char*>(&recent_[places[i].chunk]);
      __builtin_prefetch(recent, 1);
      __builtin_prefetch(recent + 64, 1);
    }
    for (std::size_t i = 0; i < n; ++i) {
      const RawSeries& series = all[from + i];
      progress.next = from + i;
      use.active[0].add(series.alias);
      if (!known[i]) {
        // It may have come earlier in this block.
        if (const auto found = aliases_.find(series.alias); found != aliases_.end()) {
          places[i] = found->second;
        } else if (introduced_ >= settings_.new_series_at_once) {
          whole = false;
          break;
        } else {
          ++introduced_;
          auto made = introduce(batch, series.labels, use, progress);
          if (Refusal* refusal = std::get_if<Refusal>(&made)) {
            for (std::uint32_t k = 0; k < series.count; ++k)
              reject(out, batch, series, series.first + k, refusal->what);
            std::string name = std::move(refusal->what);
            if (batch.show != nullptr) name = batch.show(series.labels) + ": " + name;
            drop(refusal->reason, series.count, batch, series, std::move(name), now);
            continue;
          }
          places[i] = std::get<Place>(made);
          aliases_.emplace(series.alias, places[i]);
        }
      }
      if (places[i].chunk == nowhere) {
        out.ignored += series.count;
        drops_[static_cast<std::size_t>(Reason::ignored)].samples += series.count;
        continue;
      }
      if (series.start_ms != 0 && series.count > 0)
        count_from_zero(series, places[i], batch.points[series.first].ts.us);
      for (std::uint32_t k = 0; k < series.count; ++k)
        place(batch, series, series.first + k, places[i], bounds, out);
    }
  }
  if (whole) progress.next = all.size();
  use.samples += out.accepted - accepted_before;
  return whole;
}

void Registry::remap(MappingPtr mapping) {
  assert(mapping);
  settings_.mapping = std::move(mapping);
  aliases_.clear();
}

Stored Registry::gather(const SampleBatch& batch, Timestamp now) {
  Progress progress;
  while (!gather(batch, now, progress)) introduced_ = 0;
  return std::move(progress.stored);
}

std::vector<Piece> Registry::take() {
  std::vector<Piece> pieces;
  std::vector<int> piece_of(settings_.shards, -1);
  const auto piece_for = [&](int shard) -> Piece& {
    int& index = piece_of[shard];
    if (index < 0) {
      index = static_cast<int>(pieces.size());
      pieces.emplace_back().shard = shard;
    }
    return pieces[index];
  };

  // Where each open row's values go: into which piece, from where, and for rows with holes how many of its
  // values stand before each word of its mask.
  struct Goal {
    std::uint32_t piece = 0;
    std::uint32_t first = 0;
    std::array<std::uint8_t, 3> before{};
    bool full = true;
  };
  std::vector<Goal> goals(rows_.size());
  std::vector<std::uint32_t> sizes;
  const auto add_row = [&](std::size_t r, unsigned count, bool full) {
    const OpenRow& open = rows_[r];
    Chunk& chunk = chunks_[open.chunk];
    Variant& variant = chunk.variants[open.variant];
    Piece& piece = piece_for(chunk.shard);
    const auto index = static_cast<std::uint32_t>(piece_of[chunk.shard]);
    if (index >= sizes.size()) sizes.resize(index + 1);

    if (variant.size < chunk.slots.size()) {
      auto set = std::make_shared<SeriesSet>();
      set->model = chunk.model;
      set->attributes = attributes_[variant.attributes];
      set->series.reserve(chunk.slots.size());
      for (std::size_t slot = 0; slot < chunk.slots.size(); ++slot) {
        const Slot& at = chunk.slots[slot];
        set->series.push_back(
            {at.id, std::string(chunk.metric(slot)), at.kind, at.direction, at.unit});
      }
      set->id = set_id(*set);
      variant.set = set->id;
      variant.size = static_cast<std::uint16_t>(chunk.slots.size());
      if (saved_sets_.insert(set->id).second) piece.unsaved_sets.push_back(set);
      if (chunk.saved < variant.size) piece.unsaved_series.push_back({set, chunk.saved});
      chunk.saved = variant.size;
      piece.new_sets.push_back(std::move(set));
    }

    Goal& goal = goals[r];
    goal.piece = index;
    goal.first = sizes[index];
    goal.full = full;
    for (int w = 1; w < 3; ++w)
      goal.before[w] =
          static_cast<std::uint8_t>(goal.before[w - 1] + std::popcount(open.mask.words[w - 1]));
    sizes[index] += count;

    if (piece.rows.rows.empty()) piece.ts_min = piece.ts_max = {open.ts};
    piece.ts_min = std::min(piece.ts_min, {open.ts});
    piece.ts_max = std::max(piece.ts_max, {open.ts});
    piece.rows.rows.push_back(
        {variant.set, {open.ts}, goal.first, static_cast<std::uint16_t>(count), goal.full});
  };
  // Whole rows before those with holes, as a row of the table holds either.
  for (const bool full : {true, false}) {
    for (std::size_t r = 1; r < rows_.size(); ++r) {
      const unsigned count = rows_[r].mask.count();
      if ((count == chunks_[rows_[r].chunk].slots.size()) == full) add_row(r, count, full);
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].rows.values.resize(sizes[i]);
    pieces[i].rows.positions.resize(sizes[i]);
  }

  for (const Pending& pending : pending_) {
    const Goal& goal = goals[pending.row];
    LogRows& rows = pieces[goal.piece].rows;
    std::size_t at = goal.first + pending.slot;
    if (!goal.full) {
      const unsigned word = pending.slot / 64;
      const std::uint64_t below = (std::uint64_t{1} << (pending.slot % 64)) - 1;
      at = goal.first + goal.before[word] +
           static_cast<unsigned>(std::popcount(rows_[pending.row].mask.words[word] & below));
      rows.positions[at] = static_cast<std::int16_t>(pending.slot);
    }
    rows.values[at] = pending.value;
  }

  ++epoch_;
  introduced_ = 0;
  rows_.resize(1);
  open_.clear();
  pending_.clear();
  return pieces;
}

std::vector<Registry::Sender> Registry::senders() const {
  std::vector<Sender> all;
  for (const auto& [name, use] : senders_) {
    DistinctCount active = use->active[0];
    active.merge(use->active[1]);
    all.push_back({name, use->samples, use->new_series, active.estimate()});
  }
  return all;
}

std::size_t Registry::memory_bytes() const {
  const auto table = [](const auto& map) {
    return map.capacity() * (sizeof(typename std::decay_t<decltype(map)>::value_type) + 1);
  };
  std::size_t bytes = table(aliases_) + table(places_) + table(models_) + table(starts_) +
                      table(saved_sets_) + table(open_);
  bytes += chunks_.capacity() * sizeof(Chunk) + recent_.capacity() * sizeof(Recent) +
           rows_.capacity() * sizeof(OpenRow) + pending_.capacity() * sizeof(Pending);
  for (const Chunk& chunk : chunks_)
    bytes += chunk.model.capacity() + chunk.metrics.capacity() +
             chunk.slots.capacity() * sizeof(Slot) + chunk.variants.capacity() * sizeof(Variant);
  for (const Recent& recent : recent_) bytes += recent.runs.capacity() * sizeof(Run);
  bytes += attributes_.size() * (2 * sizeof(ModelAttributes)) + senders_.size() * sizeof(Use);
  return bytes + loose_bytes_ + cardinality_.bytes();
}

}  // namespace muster::store
