#pragma once

#include <memory>

#include "app/desk.hpp"
#include "app/pipeline.hpp"
#include "http/routes.hpp"

namespace muster::app {

// PUT and GET /api/v1/topology, POST /api/v1/events. On the I/O thread; what it is given outlives the routes.
void add_catalog_routes(http::Routes& routes, Desk& desk, Pipeline& pipeline,
                        std::shared_ptr<const Topology> current);

}  // namespace muster::app
