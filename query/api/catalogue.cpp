#include "query/api/catalogue.hpp"

#include <algorithm>
#include <map>

#include <absl/container/flat_hash_set.h>

#include "schema/store/registry.hpp"

namespace muster::query {

void Catalogue::add(std::span<const SeriesSetPtr> sets) {
  if (sets.empty()) return;
  const std::unique_lock lock(mutex_);
  for (const SeriesSetPtr& set : sets) index_.add(*set);
  const std::lock_guard newest_lock(newest_mutex_);
  newest_.resize(index_.size());
}

void Catalogue::observe(const LogBatch& batch) {
  add(batch.new_sets);
  const std::shared_lock lock(mutex_);
  const std::lock_guard newest_lock(newest_mutex_);
  const LogRows& rows = batch.rows;
  for (const LogRows::Row& row : rows.rows) {
    const std::span<const SeriesNumber> slots = index_.slots(row.set);
    for (std::size_t i = 0; i < row.count; ++i) {
      const std::size_t slot = row.full ? i : static_cast<std::size_t>(rows.positions[row.first + i]);
      const double value = rows.values[row.first + i];
      if (slot >= slots.size() || is_null(value)) continue;
      Newest& held = newest_[slots[slot]];
      if (row.ts.us > held.at) held = {row.ts.us, value};
    }
  }
}

void Catalogue::observe(SetId set, std::size_t slot, std::int64_t at, double value) {
  const std::shared_lock lock(mutex_);
  const std::lock_guard newest_lock(newest_mutex_);
  const std::span<const SeriesNumber> slots = index_.slots(set);
  if (slot >= slots.size() || is_null(value)) return;
  Newest& held = newest_[slots[slot]];
  if (at > held.at) held = {at, value};
}

void Catalogue::complete_since(Timestamp since) {
  const std::lock_guard lock(newest_mutex_);
  since_ = since;
}

std::optional<Timestamp> Catalogue::complete_since() const {
  const std::lock_guard lock(newest_mutex_);
  return since_;
}

std::vector<Newest> Catalogue::newest(std::span<const SeriesNumber> of) const {
  std::vector<Newest> out;
  const std::lock_guard lock(newest_mutex_);
  if (!since_) return out;
  out.reserve(of.size());
  for (const SeriesNumber number : of) out.push_back(newest_[number]);
  return out;
}

store::WantedSeries wanted(const SeriesIndex& index, std::span<const SeriesNumber> series, int shards) {
  store::WantedSeries out;
  out.series = series.size();
  std::vector<std::uint32_t> place_of(index.size(), store::WantedSeries::not_wanted);
  absl::flat_hash_set<std::string_view> models;
  for (std::size_t i = 0; i < series.size(); ++i) {
    place_of[series[i]] = static_cast<std::uint32_t>(i);
    models.insert(index.model(series[i]));
  }
  std::map<int, std::vector<store::WantedSeries::Set>> by_shard;
  for (const std::string_view model : models) {
    std::vector<store::WantedSeries::Set>& sets = by_shard[store::shard_of(model, shards)];
    for (const SetId id : index.sets_of(model)) {
      store::WantedSeries::Set set{id, {}};
      bool any = false;
      for (const SeriesNumber number : index.slots(id)) {
        set.places.push_back(place_of[number]);
        any = any || set.places.back() != store::WantedSeries::not_wanted;
      }
      if (any) sets.push_back(std::move(set));
    }
  }
  for (auto& [shard, sets] : by_shard) out.shards.push_back({shard, std::move(sets)});
  return out;
}

}  // namespace muster::query
