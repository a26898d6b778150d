#pragma once

#include <boost/json.hpp>
#include <string_view>

#include "base/result.hpp"
#include "schema/fleet_view.hpp"
#include "schema/incident.hpp"
#include "schema/topology.hpp"

// The nouns as Boost.JSON values, for those who put them into larger documents. Times are unix milliseconds.
namespace muster {

boost::json::object json_of(const Incident& incident);
// The incident without its series, timeline and suspects: a line of a list.
boost::json::object json_of_summary(const Incident& incident);
boost::json::object json_of(const Finding& finding);
boost::json::object json_of(const Event& event);
boost::json::object json_of(const ModelView& model);
boost::json::object json_of(const DependencyView& dependency);
boost::json::object json_of(const LedgerView& ledger);
boost::json::object json_of(const StaticFinding& finding);

Result<Incident> incident_of(const boost::json::value& json);

}  // namespace muster
