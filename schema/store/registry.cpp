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

Registry::Registry(Settings settings) : settings_(settings), rows_(1) {}

void Registry::remember(const SeriesSet& set) {
  saved_sets_.insert(set.id);
  // Sets of one chunk are each the beginning of the longest. One that names a series of another chunk is
  // another collector's order of the same model: it is read by its id, and not written here again.
  for (const Series& series : set.series)
    if (places_.contains(series.id)) return;
  const auto index = static_cast<std::uint32_t>(chunks_.size());
  chunks_.push_back({set.model, shard_of(set.model, settings_.shards), set.series, {}});
  recent_.emplace_back();
  models_[set.model].push_back(index);
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
    Recent& recent = recent_[found->second.chunk];
    tick(recent, ts.us).mask.set(found->second.slot);
    recent.newest = std::max(recent.newest, ts.us);
  }
}

std::uint32_t Registry::chunk_for(const std::string& model) {
  std::vector<std::uint32_t>& chunks = models_[model];
  if (chunks.empty() || chunks_[chunks.back()].series.size() == SeriesSet::slots_max) {
    chunks.push_back(static_cast<std::uint32_t>(chunks_.size()));
    chunks_.push_back({model, shard_of(model, settings_.shards), {}, {}});
    recent_.emplace_back();
  }
  return chunks.back();
}

Result<Registry::Place> Registry::introduce(const SampleBatch& batch, std::string_view labels,
                                            std::size_t& added) {
  auto identity = batch.identify(labels, *settings_.mapping);
  if (!identity) return identity.error();

  const SeriesId id = series_id(identity->model, identity->metric);
  Place place;
  if (const auto found = places_.find(id); found != places_.end()) {
    place = found->second;
    const Chunk& chunk = chunks_[place.chunk];
    if (chunk.model != identity->model || chunk.series[place.slot].metric != identity->metric)
      return Error{"series", "model " + identity->model + ", metric " + identity->metric +
                                 " has the same 63-bit id as another series; rename either"};
  } else {
    if (places_.size() >= settings_.series_max)
      return Error{"series",
                   "the limit of " + std::to_string(settings_.series_max) +
                       " series is reached; remove labels that change all the time, or raise "
                       "series_max"};
    if (added >= settings_.new_series_max)
      return Error{"series", "more than " + std::to_string(settings_.new_series_max) +
                                 " new series in one request; send it again in parts"};
    ++added;
    place.chunk = chunk_for(identity->model);
    Chunk& chunk = chunks_[place.chunk];
    place.slot = static_cast<std::uint16_t>(chunk.series.size());
    chunk.series.push_back(
        {id, identity->metric, identity->kind, identity->direction, identity->unit});
    places_.emplace(id, place);
    unsaved_series_.emplace_back(
        chunk.shard, SeriesRow{id, identity->model, std::move(identity->metric), identity->kind,
                                identity->direction, identity->unit});
  }

  std::vector<Variant>& variants = chunks_[place.chunk].variants;
  const auto same = std::find_if(variants.begin(), variants.end(), [&](const Variant& variant) {
    return variant.attributes == identity->attributes;
  });
  if (same == variants.end()) {
    if (variants.size() == variants_max)
      return Error{"series", "model " + identity->model + " came with more than " +
                                 std::to_string(variants_max) +
                                 " different versions, regions, families and teams"};
    variants.push_back({std::move(identity->attributes), nullptr});
    place.variant = static_cast<std::uint16_t>(variants.size() - 1);
  } else {
    place.variant = static_cast<std::uint16_t>(same - variants.begin());
  }
  return place;
}

Registry::Recent::Tick& Registry::tick(Recent& recent, std::int64_t ts) {
  if (recent.used > 0 && recent.ts[recent.last] == ts) return recent.ticks[recent.last];
  for (unsigned i = 0; i < recent.used; ++i) {
    if (recent.ts[i] != ts) continue;
    recent.last = static_cast<std::uint8_t>(i);
    return recent.ticks[i];
  }

  Recent::Tick fresh;
  if (ts <= recent.newest) {
    // The newest run that holds it knows most: a tick that came back took the older one's mask with it.
    for (auto run = recent.runs.rbegin(); run != recent.runs.rend(); ++run) {
      if (!run->holds(ts)) continue;
      fresh.mask = run->mask;
      break;
    }
  }

  unsigned at = recent.used;
  if (recent.used < Recent::ticks_max) {
    ++recent.used;
  } else {
    at = recent.oldest;
    recent.oldest = static_cast<std::uint8_t>((recent.oldest + 1) % Recent::ticks_max);
    const std::int64_t gone = recent.ts[at];
    const Mask& mask = recent.ticks[at].mask;
    Run* const run = recent.runs.empty() ? nullptr : &recent.runs.back();
    if (run != nullptr && run->mask == mask && run->count == 1 && gone > run->first) {
      run->step = gone - run->first;
      run->count = 2;
    } else if (run != nullptr && run->mask == mask && run->count > 1 &&
               gone == run->first + run->step * run->count) {
      ++run->count;
    } else {
      if (recent.runs.size() == Recent::runs_max) recent.runs.erase(recent.runs.begin());
      recent.runs.push_back({gone, 0, 1, mask});
    }
  }
  recent.ts[at] = ts;
  recent.ticks[at] = fresh;
  recent.last = static_cast<std::uint8_t>(at);
  return recent.ticks[at];
}

std::uint32_t Registry::open_row(Recent::Tick& tick, Place place, std::int64_t ts) {
  if (tick.epoch == epoch_) {
    for (std::uint32_t row = tick.row; row != 0; row = rows_[row].next)
      if (rows_[row].variant == place.variant) return row;
  }
  const auto row = static_cast<std::uint32_t>(rows_.size());
  rows_.push_back({place.chunk, place.variant, ts, tick.epoch == epoch_ ? tick.row : 0, {}});
  tick.epoch = epoch_;
  tick.row = row;
  return row;
}

void Registry::place(const SampleBatch& batch, const RawSeries& series, std::uint32_t index,
                     Place place, std::int64_t latest, Stored& out) {
  const Point& point = batch.points[index];
  const std::int64_t ts = point.ts.us;
  if (ts > latest) {
    ++refused_.ahead;
    reject(out, batch, series, index,
           "timestamp " + std::to_string(to_millis(point.ts)) + " ms lies more than " +
               std::to_string(settings_.future_max.count() / 1'000'000) +
               " s ahead of this server's clock; check the sender's");
    return;
  }
  if (ts < settings_.earliest.us) {
    ++refused_.early;
    reject(out, batch, series, index,
           "timestamp " + std::to_string(to_millis(point.ts)) +
               " ms lies before the year 2000; milliseconds since 1970-01-01 UTC are wanted");
    return;
  }
  Recent& recent = recent_[place.chunk];
  Recent::Tick& at = tick(recent, ts);
  if (at.mask.test(place.slot)) {
    ++out.duplicates;
    return;
  }
  at.mask.set(place.slot);
  if (ts > recent.newest) {
    recent.newest = ts;
  } else if (ts < recent.newest - settings_.lateness.count()) {
    ++out.late;
  }
  const std::uint32_t row = open_row(at, place, ts);
  rows_[row].mask.set(place.slot);
  pending_.push_back({point.value, row, place.slot});
  ++out.accepted;
}

Stored Registry::gather(const SampleBatch& batch, Timestamp now) {
  Stored out;
  const bool bounded = settings_.future_max < Duration::max();
  const std::int64_t latest =
      bounded ? (now + settings_.future_max).us : std::numeric_limits<std::int64_t>::max();
  std::size_t added = 0;
  if (aliases_.size() > 2 * settings_.series_max) aliases_.clear();

  // Each look-up would wait for memory twice, so a block of them asks for all first: the table's slots, then
  // what they point at.
  std::array<Place, block> places;
  std::array<bool, block> known;
  const std::vector<RawSeries>& all = batch.series;
  for (std::size_t from = 0; from < all.size(); from += block) {
    const std::size_t n = std::min(block, all.size() - from);
    for (std::size_t i = 0; i < n; ++i) aliases_.prefetch(all[from + i].alias);
    for (std::size_t i = 0; i < n; ++i) {
      const auto found = aliases_.find(all[from + i].alias);
      known[i] = found != aliases_.end();
      if (!known[i]) continue;
      places[i] = found->second;
      const char* recent = reinterpret_cast<const char*>(&recent_[places[i].chunk]);
      __builtin_prefetch(recent, 1);
      __builtin_prefetch(recent + 64, 1);
    }
    for (std::size_t i = 0; i < n; ++i) {
      const RawSeries& series = all[from + i];
      if (!known[i]) {
        // It may have come earlier in this block.
        if (const auto found = aliases_.find(series.alias); found != aliases_.end()) {
          places[i] = found->second;
        } else if (auto place = introduce(batch, series.labels, added)) {
          places[i] = *place;
          aliases_.emplace(series.alias, *place);
        } else {
          const Error& error = place.error();
          (error.where == "series" ? refused_.limit : refused_.labels) += series.count;
          const bool bare =
              batch.show != nullptr || error.where == "series" || error.where == "line";
          const std::string what = bare ? error.what : error.where + ": " + error.what;
          for (std::uint32_t k = 0; k < series.count; ++k)
            reject(out, batch, series, series.first + k, what);
          continue;
        }
      }
      for (std::uint32_t k = 0; k < series.count; ++k)
        place(batch, series, series.first + k, places[i], latest, out);
    }
  }
  return out;
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

    if (!variant.set || variant.set->series.size() < chunk.series.size()) {
      auto set = std::make_shared<SeriesSet>();
      set->model = chunk.model;
      set->attributes = variant.attributes;
      set->series = chunk.series;
      set->id = set_id(*set);
      variant.set = set;
      piece.new_sets.push_back(set);
      if (saved_sets_.insert(set->id).second) piece.unsaved_sets.push_back(set);
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
        {variant.set->id, {open.ts}, goal.first, static_cast<std::uint16_t>(count), goal.full});
  };
  // Whole rows before those with holes, as a row of the table holds either.
  for (const bool full : {true, false}) {
    for (std::size_t r = 1; r < rows_.size(); ++r) {
      const unsigned count = rows_[r].mask.count();
      if ((count == chunks_[rows_[r].chunk].series.size()) == full) add_row(r, count, full);
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

  // A series whose samples were all refused waits here for none: its row goes with its shard's next piece.
  std::erase_if(unsaved_series_, [&](std::pair<int, SeriesRow>& entry) {
    if (piece_of[entry.first] < 0) return false;
    pieces[piece_of[entry.first]].unsaved_series.push_back(std::move(entry.second));
    return true;
  });

  ++epoch_;
  rows_.resize(1);
  pending_.clear();
  return pieces;
}

}  // namespace muster::store
