#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "aggregator/settings.hpp"
#include "base/result.hpp"
#include "schema/event.hpp"
#include "schema/fleet_view.hpp"
#include "schema/incident.hpp"
#include "schema/log.hpp"
#include "schema/series.hpp"
#include "schema/topology.hpp"

namespace muster::aggregator {

struct Engine;

// What happened to the samples, since the beginning.
struct Counters {
  std::uint64_t samples = 0;      // taken in, of any fate
  std::uint64_t late = 0;         // older than the lateness: dropped
  std::uint64_t duplicates = 0;   // replaced by a later one of equal (series, ts)
  std::uint64_t unknown_set = 0;  // rows of a set that was never declared
  std::uint64_t before_interval =
      0;  // came before their model's interval was known, and their tick had closed
  std::uint64_t not_judged = 0;  // buckets, values that are not numbers, series above series_max
  std::uint64_t ticks = 0;       // closed, of all scales
  std::uint64_t series = 0;      // judged or learning
  std::uint64_t models = 0;
  std::uint64_t pages = 0;  // incidents opened that may wake someone
  std::uint64_t candidates_dropped =
      0;  // evidence crossed the line, and no cause was likely enough
};

// A part of what a fleet keeps in memory.
struct MemoryPart {
  std::string what;
  std::uint64_t count = 0;  // of what it holds
  std::uint64_t bytes = 0;
};

// The evidence over a whole fleet: samples in event time, in any order within the lateness, to
// incidents with one cause each. No clock, no thread of its own: the same samples give the same
// findings, bit for bit, whatever the number of workers, the order within a tick, and how often
// advance() is called.
class Fleet {
 public:
  // Who a series is, under one version of its model. 0 is all that is not judged, the others count up from 1.
  using SeriesRef = std::uint32_t;

  Fleet(Settings settings, const Topology& topology);
  Fleet(Fleet&&) noexcept;
  Fleet& operator=(Fleet&&) noexcept;
  ~Fleet();

  // Another topology, while running: ids keep their history.
  void apply(const Topology& topology);

  // Makes a set known. Again is harmless.
  void declare(const SeriesSet& set);
  bool knows(SetId set) const;
  // Rows of declared sets; others are counted.
  void observe(const LogRows& rows);

  // The same one by one, for replay: intern each (identity, attributes) once.
  SeriesRef series(const SeriesIdentity& identity);
  void observe(SeriesRef series, Timestamp ts, double value);

  void observe(const Event& event);

  // Closes every tick that the watermark allows, in order.
  std::vector<Finding> advance();
  // The end of a finite stream: closes all that is left.
  std::vector<Finding> finish();

  FleetView view() const;
  Timestamp closed() const;  // the end of the newest closed tick; 1970 before the first
  std::vector<Incident> open_incidents() const;
  const Counters& counters() const;
  // All that it keeps between two ticks, part by part: room that was asked for, whether used or not. The sum is
  // within a few per cent of what the allocator gives.
  std::vector<MemoryPart> memory() const;

  // All of its memory as bytes; restored, it goes on as if it had never stopped. The format is this
  // build's own: a snapshot of another version is refused, and the log is read again. Comes in pieces, as a
  // large fleet's is too much to be held twice.
  void snapshot(const std::function<void(std::string_view)>& take) const;
  std::string snapshot() const;
  static Result<Fleet> restore(Settings settings, const Topology& topology,
                               std::string_view snapshot);

 private:
  explicit Fleet(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace muster::aggregator
