#pragma once

#include <cstdint>

#include <absl/container/flat_hash_map.h>

#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::store {

class Connection;
class Registry;

// Tells a registry which samples since then lie in blocks, so that a sender that repeats them after a restart is
// recognised although their hour was compacted. At most `rows_max` instants of sets, the newest.
void remember_blocks(Connection& connection, int shard, Timestamp since, std::size_t rows_max,
                     const absl::flat_hash_map<std::int64_t, SeriesSetPtr>& sets, Registry& registry);

}  // namespace muster::store
