#include "query/api/catalogue.hpp"

#include <limits>

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
  observe(batch.rows);
}

void Catalogue::observe(const LogRows& rows) {
  const std::shared_lock lock(mutex_);
  const std::lock_guard newest_lock(newest_mutex_);
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

Places places(const SeriesIndex& index, std::span<const SeriesNumber> series, int shards) {
  constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> place_of(index.size(), none);
  absl::flat_hash_set<std::string_view> models;
  Places out;
  std::vector<std::string_view> in_order;
  for (std::size_t i = 0; i < series.size(); ++i) {
    place_of[series[i]] = static_cast<std::uint32_t>(i);
    const std::string_view model = index.model(series[i]);
    if (models.insert(model).second) in_order.push_back(model);
  }
  for (const std::string_view model : in_order) {
    const int shard = store::shard_of(model, shards);
    for (const SetId set : index.sets_of(model)) {
      std::uint16_t slot = 0;
      for (const SeriesNumber number : index.slots(set)) {
        if (place_of[number] != none) {
          out.slots.push_back({shard, set, slot});
          out.series.push_back(place_of[number]);
        }
        ++slot;
      }
    }
  }
  return out;
}

}  // namespace muster::query
