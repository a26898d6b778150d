#include "query/api/catalogue.hpp"

#include <limits>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "query/columns.hpp"
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

Units units(const SeriesIndex& index, std::span<const SeriesNumber> series,
            const std::vector<std::string>* by, int shards) {
  constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  Units out;
  std::vector<std::uint32_t> unit_of(index.size(), none);
  absl::flat_hash_set<std::string_view> models;
  std::vector<std::string_view> in_order;
  absl::flat_hash_map<std::string, std::uint32_t> known;
  for (const SeriesNumber number : series) {
    Labels labels = index.labels(number);
    auto unit = static_cast<std::uint32_t>(out.units.size());
    if (by) {
      Labels kept;
      for (const std::string& name : *by) set_label(kept, name, value_of(labels, name == "metric" ? "__name__" : name));
      std::string key = std::to_string(static_cast<std::int64_t>(index.id(number)));
      for (const Label& label : kept) key += '\xff' + label.name + '\xff' + label.value;
      unit = known.try_emplace(std::move(key), unit).first->second;
      labels = std::move(kept);
    }
    unit_of[number] = unit;
    const std::string_view model = index.model(number);
    if (unit == out.units.size())
      out.units.push_back({std::move(labels), index.kind(number), store::shard_of(model, shards), index.id(number),
                           std::string(index.metric(number)), true});
    if (models.insert(model).second) in_order.push_back(model);
  }

  // A stored series belongs wholly to a unit when no series of its id belongs to another, or to none.
  absl::flat_hash_map<std::int64_t, std::uint32_t> unit_of_id;
  absl::flat_hash_set<std::int64_t> torn;
  for (const std::string_view model : in_order) {
    const int shard = store::shard_of(model, shards);
    for (const SetId set : index.sets_of(model)) {
      std::uint16_t slot = 0;
      for (const SeriesNumber number : index.slots(set)) {
        const auto id = static_cast<std::int64_t>(index.id(number));
        if (unit_of_id.try_emplace(id, unit_of[number]).first->second != unit_of[number]) torn.insert(id);
        if (unit_of[number] != none) {
          out.slots.push_back({shard, set, slot});
          out.unit_of.push_back(unit_of[number]);
        }
        ++slot;
      }
    }
  }
  for (Units::Unit& unit : out.units) unit.whole = !torn.contains(static_cast<std::int64_t>(unit.id));
  return out;
}

}  // namespace muster::query
