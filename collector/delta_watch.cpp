#include "collector/delta_watch.hpp"

#include <utility>

namespace muster::collector {

void DeltaWatch::see(std::span<const decode::DeltaSpan> spans, DeltaCounters& counters) {
  for (const decode::DeltaSpan& span : spans) {
    if (recent_.size() >= half_) {
      older_ = std::move(recent_);
      recent_.clear();
    }
    const auto [at, fresh] = recent_.try_emplace(span.alias, span.end_ns);
    if (fresh) {
      const auto old = older_.find(span.alias);
      if (old == older_.end()) continue;
      at->second = old->second;
      older_.erase(old);
    }
    std::uint64_t& end = at->second;
    if (span.end_ns == end) continue;  // the same again
    if (span.end_ns < end) {
      ++counters.late;
      continue;
    }
    if (span.start_ns > end) ++counters.gaps;
    if (span.start_ns < end) ++counters.overlaps;
    end = span.end_ns;
  }
}

}  // namespace muster::collector
