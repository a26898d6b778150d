#pragma once

#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "schema/series.hpp"
#include "schema/store/history.hpp"
#include "schema/store/log_writer.hpp"
#include "schema/store/partitions.hpp"

// Sets that are written to the log as a collector writes them, and what has to come back.
namespace muster::test {

inline SeriesSetPtr set_of(const std::string& model, const std::string& version, int series) {
  auto set = std::make_shared<SeriesSet>();
  set->model = model;
  set->attributes.version = version;
  for (int i = 0; i < series; ++i) {
    const std::string metric = "metric_" + std::to_string(i);
    set->series.push_back({series_id(model, metric), metric, i % 3 == 1 ? Kind::counter : Kind::gauge});
  }
  set->id = set_id(*set);
  return set;
}

class Log {
 public:
  explicit Log(std::string dsn, std::int64_t collector = 1) : dsn_(std::move(dsn)), collector_(collector), writer_(dsn_) {}

  struct Row {
    SeriesSetPtr set;
    Timestamp ts;
    std::vector<double> values;
    std::vector<std::int16_t> slots;  // empty: all
  };

  // One commit. What is written is expected to come back.
  void write(Timestamp arrival, const std::vector<Row>& rows) {
    writer_.write(commit(arrival, rows));
    for (const Row& row : rows) expect(row);
  }

  store::Commit commit(Timestamp arrival, const std::vector<Row>& rows) {
    const Timestamp hour = bucket_of(arrival, std::chrono::hours(1));
    if (hour != made_) store::make_partitions(dsn_, arrival, {.ahead = std::chrono::hours(0)});
    made_ = hour;
    store::Commit commit;
    commit.position = {0, collector_, ++batch_};
    commit.written_at = arrival;
    store::Piece& piece = commit.piece;
    piece.ts_min = piece.ts_max = rows.front().ts;
    for (const Row& row : rows) {
      LogRows::Row r;
      r.set = row.set->id;
      r.ts = row.ts;
      r.first = static_cast<std::uint32_t>(piece.rows.values.size());
      r.count = static_cast<std::uint16_t>(row.values.size());
      r.full = row.slots.empty();
      piece.rows.rows.push_back(r);
      piece.rows.values.insert(piece.rows.values.end(), row.values.begin(), row.values.end());
      for (std::size_t i = 0; i < row.values.size(); ++i)
        piece.rows.positions.push_back(r.full ? 0 : row.slots[i]);
      piece.ts_min = std::min(piece.ts_min, row.ts);
      piece.ts_max = std::max(piece.ts_max, row.ts);
      if (!known_[row.set->id]) {
        known_[row.set->id] = row.set;
        piece.unsaved_sets.push_back(row.set);
        piece.unsaved_series.push_back({row.set, 0});
      }
    }
    return commit;
  }

  void expect(const Row& row) {
    for (std::size_t i = 0; i < row.values.size(); ++i) {
      const auto slot = static_cast<std::uint16_t>(row.slots.empty() ? i : static_cast<std::size_t>(row.slots[i]));
      expected[{0, row.set->id, slot}].emplace(row.ts, std::bit_cast<std::uint64_t>(row.values[i]));
    }
  }

  std::size_t samples() const {
    std::size_t n = 0;
    for (const auto& [slot, values] : expected) n += values.size();
    return n;
  }

  // What differs from what the database has in [from, to), in words; nothing when it is the same.
  std::string difference(store::History& history, Timestamp from, Timestamp to) {
    std::vector<store::SlotRef> slots;
    for (const auto& [slot, values] : expected) slots.push_back(slot);
    const auto read = history.samples(slots, from, to);
    if (!read) return read.error().what;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      std::map<Timestamp, std::uint64_t> have;
      const store::Samples& s = (*read)[i];
      for (std::size_t k = 0; k < s.ts.size(); ++k) have[s.ts[k]] = std::bit_cast<std::uint64_t>(s.values[k]);
      std::map<Timestamp, std::uint64_t> want;
      for (const auto& [ts, bits] : expected[slots[i]])
        if (ts >= from && ts < to) want[ts] = bits;
      if (s.ts.size() != have.size()) return "a time comes twice";
      if (have != want)
        return "slot " + std::to_string(slots[i].slot) + " of " + known_[slots[i].set]->model + ": " +
               std::to_string(have.size()) + " samples, expected " + std::to_string(want.size());
    }
    return "";
  }

  std::int64_t batches() const { return batch_; }
  LogPositions positions() const { return {{0, collector_, batch_}}; }

  std::map<store::SlotRef, std::map<Timestamp, std::uint64_t>> expected;

 private:
  std::string dsn_;
  std::int64_t collector_;
  store::LogWriter writer_;
  std::int64_t batch_ = 0;
  Timestamp made_;
  std::map<SetId, SeriesSetPtr> known_;
};

}  // namespace muster::test
