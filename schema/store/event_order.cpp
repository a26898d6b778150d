#include "schema/store/event_order.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "schema/store/connection.hpp"
#include "schema/store/history.hpp"
#include "schema/store/log_reader.hpp"
#include "schema/store/registry.hpp"

namespace muster::store {
namespace {

// A row of the log names one time, and its sets lie within so much of it (four bytes of microseconds).
constexpr Duration row_span = std::chrono::minutes(36);
// Shorter is not tried: a fleet with more samples in it does not fit into memory anyway.
constexpr Duration stretch_min = std::chrono::minutes(1);
constexpr std::chrono::minutes statement_timeout{10};

}  // namespace

struct EventOrder::State {
  explicit State(Settings s)
      : settings(std::move(s)),
        history({.dsn = settings.dsn,
                 .numbers_max = settings.samples_max,
                 .statement_timeout = statement_timeout}),
        stretch(settings.stretch_max) {}

  Settings settings;
  History history;
  std::vector<SeriesSetPtr> sets;
  std::vector<SlotRef> slots;         // of all sets
  std::vector<std::uint32_t> set_of;  // of each slot, its set's index
  Timestamp begin, end, at;           // half open
  Duration stretch;

  struct Cell {
    std::int64_t ts;
    std::uint32_t set;
    std::uint16_t slot;
    double value;
  };
  std::vector<Cell> cells;

  void bounds();
  LogRows rows();
};

void EventOrder::State::bounds() {
  ConnectOptions options;
  options.application_name = "muster learning";
  options.statement_timeout = statement_timeout;
  Connection connection(settings.dsn, options);
  Params none;
  const Rows found = connection.run(
      "SELECT least((SELECT min(ts) FROM sample_log), (SELECT min(ts_from) FROM sample_block)),"
      " greatest((SELECT max(ts) FROM sample_log), (SELECT max(ts_to) FROM sample_block))",
      none);
  if (found.null(0, 0)) return;
  begin = from_pg(found.number<std::int64_t>(0, 0)) - row_span;
  end = from_pg(found.number<std::int64_t>(0, 1)) + row_span;
}

LogRows EventOrder::State::rows() {
  std::sort(cells.begin(), cells.end(), [](const Cell& a, const Cell& b) {
    return std::tie(a.ts, a.set, a.slot) < std::tie(b.ts, b.set, b.slot);
  });
  LogRows out;
  out.values.reserve(cells.size());
  out.positions.reserve(cells.size());
  for (std::size_t i = 0; i < cells.size();) {
    LogRows::Row row;
    row.set = sets[cells[i].set]->id;
    row.ts = {cells[i].ts};
    row.first = static_cast<std::uint32_t>(out.values.size());
    std::size_t next = i;
    for (; next < cells.size() && cells[next].ts == cells[i].ts && cells[next].set == cells[i].set;
         ++next) {
      out.values.push_back(cells[next].value);
      out.positions.push_back(static_cast<std::int16_t>(cells[next].slot));
    }
    row.count = static_cast<std::uint16_t>(next - i);
    row.full = row.count == sets[cells[i].set]->series.size();
    out.rows.push_back(row);
    i = next;
  }
  return out;
}

EventOrder::EventOrder(Settings settings) : state_(std::make_unique<State>(std::move(settings))) {
  State& s = *state_;
  s.sets = known_sets(s.settings.dsn, s.settings.shards);
  // Not the order in which the database gave them, so that the same store gives the same rows.
  std::sort(s.sets.begin(), s.sets.end(),
            [](const SeriesSetPtr& a, const SeriesSetPtr& b) { return a->id < b->id; });
  for (std::uint32_t i = 0; i < s.sets.size(); ++i) {
    const int shard = shard_of(s.sets[i]->model, s.settings.shards);
    for (std::size_t slot = 0; slot < s.sets[i]->series.size(); ++slot) {
      s.slots.push_back({shard, s.sets[i]->id, static_cast<std::uint16_t>(slot)});
      s.set_of.push_back(i);
    }
  }
  s.bounds();
  s.at = s.begin;
}

EventOrder::~EventOrder() = default;

const std::vector<SeriesSetPtr>& EventOrder::sets() const {
  return state_->sets;
}
Timestamp EventOrder::begin() const {
  return state_->begin;
}
Timestamp EventOrder::end() const {
  return state_->end;
}
Timestamp EventOrder::at() const {
  return state_->at;
}

std::optional<LogRows> EventOrder::next() {
  State& s = *state_;
  while (s.at < s.end) {
    const Timestamp to = std::min(s.at + s.stretch, s.end);
    auto read = s.history.samples(s.slots, s.at, to);
    if (!read) {
      if (s.stretch <= stretch_min)
        throw Rejected("54000", "more than " + std::to_string(s.settings.samples_max) +
                                    " samples in a minute: " + read.error().what);
      s.stretch = std::max(s.stretch / 2, stretch_min);
      continue;
    }
    s.at = to;
    s.cells.clear();
    for (std::size_t i = 0; i < read->size(); ++i) {
      const Samples& samples = (*read)[i];
      for (std::size_t k = 0; k < samples.ts.size(); ++k)
        s.cells.push_back({samples.ts[k].us, s.set_of[i], s.slots[i].slot, samples.values[k]});
    }
    // Towards longer stretches again when they are far from full.
    if (s.cells.size() * 4 < s.settings.samples_max)
      s.stretch = std::min(s.stretch * 2, s.settings.stretch_max);
    if (!s.cells.empty()) return s.rows();
  }
  return {};
}

}  // namespace muster::store
