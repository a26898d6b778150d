#pragma once

#include <cstdint>
#include <optional>

#include "app/yaml_reader.hpp"
#include "schema/store/compact.hpp"

namespace muster::app {

// What the config says about how long and how much is kept, under `storage`.
struct StorageLife {
  store::Retention retention;
  Duration compact_after = std::chrono::minutes(10);
  std::optional<std::uint64_t> disk_max;  // bytes
};

void read_storage_life(Problems& problems, Section& storage, StorageLife& into);

}  // namespace muster::app
