#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schema/event.hpp"
#include "schema/time.hpp"

namespace muster {

// One model as a cell of the fleet page.
struct ModelView {
  enum class State { ok, watch, degraded, failing, learning, silent, muted };

  std::string id;
  std::string family;
  std::string region;
  std::string team;
  std::string version;
  State state = State::learning;
  std::string worst_metric;   // the series furthest from its baseline
  double worst_sigma = 0;     // signed
  std::uint8_t score = 0;     // 0..100: how near its strongest evidence, alone or in a group, is to a page
  std::int8_t trend = 0;      // health over six hours: -1 falls, 0 flat, 1 rises
  std::string incident;       // the open incident that explains it, if any
  double learning_days_left = 0;
  std::optional<Timestamp> last_seen;
  std::string caption;  // the worst thing in words, e.g. "null_rate +4.1 sigma since 14:20"
  friend bool operator==(const ModelView&, const ModelView&) = default;
};

// A dependency and how it does, judged by its dependants.
struct DependencyView {
  std::string id;
  std::string kind;
  std::string team;
  std::uint32_t members = 0;
  std::uint32_t moved = 0;
  std::uint8_t score = 0;
  std::string incident;
};

// The promise and what became of it.
struct LedgerView {
  double budget_per_week = 1;
  Timestamp since;            // when the promise began to hold: the end of learning, at most 28 days ago
  double promised = 0;        // false pages allowed since then
  std::uint32_t sent = 0;     // pages sent since then
};

// A finding that needs no history: a limit crossed, a series that stopped, a line gone flat.
struct StaticFinding {
  std::string kind;  // limit, no_data, flat
  std::string model;
  std::string metric;  // empty for no_data of a whole model
  Timestamp since;
  std::string text;  // what follows the subject: "repeats one value", "is 0.31, above its limit 0.2"
};

// The whole fleet after one closed tick: all that the fleet page draws, except what people did.
struct FleetView {
  Timestamp at;  // the tick that closed last
  Duration tick{};
  bool learning = true;  // no page can leave yet
  double learning_days_left = 0;
  std::uint64_t series = 0;
  std::uint64_t samples = 0;  // seen since the beginning
  LedgerView ledger;
  std::vector<ModelView> models;  // sorted by id
  std::vector<DependencyView> dependencies;
  std::vector<StaticFinding> static_findings;
  std::vector<Event> recent_events;  // of the last day, newest first, at most 50

  // The heat strip: model-major scores, models.size() x heat_ticks.size(), 255 = no data, oldest first.
  std::vector<Timestamp> heat_ticks;
  std::vector<std::uint8_t> heat;
};

std::string_view to_word(ModelView::State state);

}  // namespace muster
