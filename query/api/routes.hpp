#pragma once

#include "http/routes.hpp"
#include "query/api/runner.hpp"

namespace muster::query {

// Prometheus's reading endpoints, for Grafana and whoever speaks to it: GET and POST /api/v1/query,
// query_range, labels, series; GET label/{name}/values, status/buildinfo. The collector, which hears of types and
// helps, answers /api/v1/metadata.
void add_prometheus(http::Routes& routes, Runner& runner);

// muster's own: GET /api/v1/range and /api/v1/latest.
void add_ranges(http::Routes& routes, Runner& runner);

// `runner` outlives the server that takes the routes.
void add_routes(http::Routes& routes, Runner& runner);

}  // namespace muster::query
