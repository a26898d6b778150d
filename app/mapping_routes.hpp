#pragma once

#include <functional>

#include "http/routes.hpp"
#include "schema/mapping.hpp"

namespace muster::app {

// GET /api/v1/mapping, POST /api/v1/mapping/preview. `current` gives the rules in force; of the I/O thread.
void add_mapping_routes(http::Routes& routes, std::function<MappingPtr()> current);

}  // namespace muster::app
