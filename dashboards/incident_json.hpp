#pragma once

#include <boost/json.hpp>

#include "dashboards/incident_store.hpp"

namespace muster::dashboards {

// The incident as a line of a list, with what people did about it.
boost::json::object summary_json(const Incident& incident, const Attention& attention);

// The incident whole, with notes and deliveries.
boost::json::object record_json(const IncidentRecord& record);

}  // namespace muster::dashboards
