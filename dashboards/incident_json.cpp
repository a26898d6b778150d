#include "dashboards/incident_json.hpp"

#include <utility>

#include "schema/json.hpp"

namespace muster::dashboards {
namespace {

namespace json = boost::json;

void add(json::object& to, const Attention& attention) {
  to["acked_at"] =
      attention.acked_at ? json::value(to_millis(*attention.acked_at)) : json::value(nullptr);
  to["acked_by"] = attention.acked_by;
}

}  // namespace

json::object summary_json(const Incident& incident, const Attention& attention) {
  json::object o = json_of_summary(incident);
  add(o, attention);
  return o;
}

json::object record_json(const IncidentRecord& record) {
  json::object o = json_of(record.incident);
  add(o, record.attention);
  json::array notes;
  for (const Note& n : record.notes) {
    notes.push_back(json::object{{"ts", to_millis(n.ts)}, {"by", n.by}, {"text", n.text}});
  }
  o["notes"] = std::move(notes);
  json::array deliveries;
  for (const Delivery& d : record.deliveries) {
    deliveries.push_back(json::object{{"ts", to_millis(d.ts)},
                                      {"receiver", d.receiver},
                                      {"channel", d.channel},
                                      {"state", d.state},
                                      {"answer", d.answer}});
  }
  o["deliveries"] = std::move(deliveries);
  return o;
}

}  // namespace muster::dashboards
