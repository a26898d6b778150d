#pragma once

#include "dashboards/incident_store.hpp"
#include "dashboards/live.hpp"
#include "http/routes.hpp"

namespace muster::dashboards {

// GET /api/v1/fleet, /stream, /incidents and /incidents/{id}; POST /incidents/{id}/ack, unack, resolve and
// note; and the pages themselves. `live` and `store` outlive the server that takes the routes.
void add_routes(http::Routes& routes, Live& live, IncidentStore& store);

// The parts, for those who serve only one of them.
void add_fleet(http::Routes& routes, Live& live);
void add_incidents(http::Routes& routes, Live& live, IncidentStore& store);
void add_pages(http::Routes& routes);

}  // namespace muster::dashboards
