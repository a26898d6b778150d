#include "collector/collector.hpp"

#include <utility>

namespace muster::collector {

void add_routes(http::Routes& routes, Sink sink, Settings settings, CountersPtr counters,
                MetadataPtr metadata) {
  routes.add(http::Method::post, "/api/v1/write",
             receive_remote_write(sink, settings, counters, metadata));
  routes.add(http::Method::post, "/v1/metrics", receive_otlp(sink, settings, counters, metadata));
  routes.refuse_as("/v1/metrics", otlp_failure);
  add_influx_routes(routes, sink, settings, counters);
  routes.add(http::Method::post, "/api/v1/samples",
             receive_ndjson(std::move(sink), std::move(settings), std::move(counters)));
  routes.add(http::Method::get, "/api/v1/metadata", get_metadata(std::move(metadata)));
}

}  // namespace muster::collector
