#include "dashboards/snapshot.hpp"

#include <openssl/evp.h>
#include <algorithm>
#include <boost/json.hpp>
#include <cassert>
#include <optional>

#include "dashboards/incident_json.hpp"
#include "schema/json.hpp"

namespace muster::dashboards {
namespace {

namespace json = boost::json;

constexpr std::chrono::hours recent_span{24};

std::string_view bytes_of(const std::vector<std::uint8_t>& from) {
  return {reinterpret_cast<const char*>(from.data()), from.size()};
}

json::object coverage_of(const FleetView& fleet) {
  std::size_t silent = 0;
  std::size_t learning = 0;
  for (const ModelView& m : fleet.models) {
    silent += m.state == ModelView::State::silent;
    learning += m.state == ModelView::State::learning;
  }
  return {{"models", fleet.models.size()},
          {"reporting", fleet.models.size() - silent},
          {"learning", learning},
          {"silent", silent}};
}

json::object line_of(const Snapshot& now, const Incident& incident) {
  const auto known = now.attentions.find(incident.id);
  return summary_json(incident, known == now.attentions.end() ? Attention{} : known->second);
}

// Open incidents, what needs a person first: paged before shown, then the strongest, then the newest.
json::array open_of(const Snapshot& now) {
  std::vector<const Incident*> open;
  for (const Incident& i : *now.incidents) {
    if (i.state == Incident::State::open) open.push_back(&i);
  }
  std::sort(open.begin(), open.end(), [](const Incident* a, const Incident* b) {
    if (a->paged != b->paged) return a->paged;
    if (a->score != b->score) return a->score > b->score;
    if (a->opened_at != b->opened_at) return a->opened_at > b->opened_at;
    return a->id < b->id;
  });
  json::array list;
  for (const Incident* i : open) list.push_back(line_of(now, *i));
  return list;
}

json::array recent_of(const Snapshot& now) {
  std::vector<const Incident*> closed;
  for (const Incident& i : *now.incidents) {
    if (i.state != Incident::State::open &&
        i.resolved_at.value_or(i.updated_at) >= now.fleet->at - recent_span) {
      closed.push_back(&i);
    }
  }
  std::sort(closed.begin(), closed.end(), [](const Incident* a, const Incident* b) {
    const Timestamp x = a->resolved_at.value_or(a->updated_at);
    const Timestamp y = b->resolved_at.value_or(b->updated_at);
    return x != y ? x > y : a->id < b->id;
  });
  json::array list;
  for (const Incident* i : closed) list.push_back(line_of(now, *i));
  return list;
}

json::object heat_of(const FleetView& fleet) {
  assert(fleet.heat.size() == fleet.models.size() * fleet.heat_ticks.size());
  json::array ticks;
  for (const Timestamp t : fleet.heat_ticks) ticks.push_back(to_millis(t));
  json::array models;
  for (const ModelView& m : fleet.models) models.emplace_back(m.id);
  return {{"ticks", std::move(ticks)},
          {"models", std::move(models)},
          {"scores", base64(bytes_of(fleet.heat))}};
}

template <class Rows>
json::array all_of(const Rows& rows) {
  json::array list;
  for (const auto& row : rows) list.push_back(json_of(row));
  return list;
}

// What the whole answer and a tick have in common.
json::object head_of(const Snapshot& now) {
  const FleetView& fleet = *now.fleet;
  const auto tick = std::chrono::duration<double>(fleet.tick).count();
  return {{"version", now.version()},
          {"at", to_millis(fleet.at)},
          {"tick_seconds", tick},
          {"learning", fleet.learning},
          {"learning_days_left", fleet.learning_days_left},
          {"series", fleet.series},
          {"samples", fleet.samples},
          {"ledger", json_of(fleet.ledger)},
          {"coverage", coverage_of(fleet)},
          {"incidents", open_of(now)},
          {"recent_incidents", recent_of(now)},
          {"static_findings", all_of(fleet.static_findings)}};
}

bool same_event(const Event& a, const Event& b) {
  return a.ts == b.ts && a.kind == b.kind && a.subject == b.subject && a.title == b.title;
}

bool same_dependency(const DependencyView& a, const DependencyView& b) {
  return a.id == b.id && a.kind == b.kind && a.team == b.team && a.members == b.members &&
         a.moved == b.moved && a.score == b.score && a.incident == b.incident;
}

bool same_models(const FleetView& a, const FleetView& b) {
  return std::equal(a.models.begin(), a.models.end(), b.models.begin(), b.models.end(),
                    [](const ModelView& x, const ModelView& y) { return x.id == y.id; });
}

enum class HeatChange { none, newest_column, more };

// Whether the strip of `to` is that of `from` with its newest column replaced, or with one more column at
// the right and at most one less at the left.
HeatChange heat_change(const FleetView& from, const FleetView& to) {
  if (!same_models(from, to)) return HeatChange::more;
  const std::size_t n = from.heat_ticks.size();
  const std::size_t m = to.heat_ticks.size();
  if (n == m && from.heat_ticks == to.heat_ticks && from.heat == to.heat) return HeatChange::none;
  if (n == 0 || m == 0) return HeatChange::more;
  // Columns of `to` before its newest stand in `from` at [left, left + m - 1).
  std::size_t left = 0;
  if (from.heat_ticks.back() == to.heat_ticks.back()) {
    if (n != m) return HeatChange::more;
  } else {
    if (m == n) {
      left = 1;
    } else if (m != n + 1) {
      return HeatChange::more;
    }
  }
  const std::size_t kept = m - 1;
  const auto ticks_from = from.heat_ticks.begin() + static_cast<std::ptrdiff_t>(left);
  if (!std::equal(to.heat_ticks.begin(), to.heat_ticks.end() - 1, ticks_from))
    return HeatChange::more;
  for (std::size_t row = 0; row < to.models.size(); ++row) {
    const std::uint8_t* old = from.heat.data() + row * n + left;
    if (!std::equal(old, old + kept, to.heat.data() + row * m)) return HeatChange::more;
  }
  return HeatChange::newest_column;
}

std::string newest_column(const FleetView& fleet) {
  const std::size_t width = fleet.heat_ticks.size();
  std::string column(fleet.models.size(), '\0');
  for (std::size_t row = 0; row < column.size(); ++row) {
    column[row] = static_cast<char>(fleet.heat[row * width + width - 1]);
  }
  return column;
}

}  // namespace

std::string Snapshot::version() const {
  return std::to_string(to_millis(fleet->at)) + "." + std::to_string(number);
}

std::string base64(std::string_view bytes) {
  // EVP_EncodeBlock takes an int, and ends what it writes with a zero byte, which std::string has room for.
  assert(bytes.size() < (1u << 30));
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  const int written = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                      reinterpret_cast<const unsigned char*>(bytes.data()),
                                      static_cast<int>(bytes.size()));
  assert(static_cast<std::size_t>(written) == text.size());
  text.resize(static_cast<std::size_t>(written));
  return text;
}

std::string fleet_json(const Snapshot& now, Parts parts) {
  const FleetView& fleet = *now.fleet;
  json::object whole;
  if (parts.core) {
    whole = head_of(now);
    whole["models"] = all_of(fleet.models);
    whole["dependencies"] = all_of(fleet.dependencies);
    whole["events"] = all_of(fleet.recent_events);
  } else {
    whole["version"] = now.version();
    whole["at"] = to_millis(fleet.at);
  }
  if (parts.heat) whole["heat"] = heat_of(fleet);
  return json::serialize(whole);
}

std::string tick_json(const Snapshot* before, const Snapshot& now) {
  const FleetView& fleet = *now.fleet;
  json::object tick = head_of(now);
  tick["full"] = before == nullptr;
  if (!before) {
    tick["removed"] = json::array();
    tick["models"] = all_of(fleet.models);
    tick["dependencies"] = all_of(fleet.dependencies);
    tick["events"] = all_of(fleet.recent_events);
    tick["heat"] = heat_of(fleet);
    return json::serialize(tick);
  }
  const FleetView& old = *before->fleet;

  json::array models;
  json::array removed;
  auto a = old.models.begin();
  for (const ModelView& m : fleet.models) {
    for (; a != old.models.end() && a->id < m.id; ++a) removed.emplace_back(a->id);
    const bool known = a != old.models.end() && a->id == m.id;
    if (!known || *a != m) models.push_back(json_of(m));
    if (known) ++a;
  }
  for (; a != old.models.end(); ++a) removed.emplace_back(a->id);
  tick["models"] = std::move(models);
  tick["removed"] = std::move(removed);

  if (!std::equal(old.dependencies.begin(), old.dependencies.end(), fleet.dependencies.begin(),
                  fleet.dependencies.end(), same_dependency)) {
    tick["dependencies"] = all_of(fleet.dependencies);
  }

  json::array events;
  for (const Event& e : fleet.recent_events) {
    const bool known = std::any_of(old.recent_events.begin(), old.recent_events.end(),
                                   [&](const Event& o) { return same_event(o, e); });
    if (!known) events.push_back(json_of(e));
  }
  tick["events"] = std::move(events);

  switch (heat_change(old, fleet)) {
    case HeatChange::none:
      break;
    case HeatChange::newest_column:
      tick["column_at"] = to_millis(fleet.heat_ticks.back());
      tick["column"] = base64(newest_column(fleet));
      break;
    case HeatChange::more:
      tick["heat"] = heat_of(fleet);
      break;
  }
  return json::serialize(tick);
}

}  // namespace muster::dashboards
