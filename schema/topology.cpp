#include "schema/topology.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "schema/event.hpp"

namespace muster {
namespace {

namespace json = boost::json;

// The text under `key`, or nothing when it is absent or null.
std::string text(const json::object& from, std::string_view key) {
  const json::value* found = from.if_contains(key);
  if (!found || !found->is_string()) return {};
  return std::string(found->get_string());
}

// A cycle among the edges, as one of its edges; nothing when they form a DAG. Kahn's algorithm: what is
// left when nothing without users can be taken away is a cycle and what hangs below it.
std::optional<Edge> find_cycle(const std::vector<Edge>& edges) {
  std::map<std::string, std::vector<const Edge*>> out;
  std::map<std::string, std::size_t> users;
  for (const Edge& edge : edges) {
    out[edge.from].push_back(&edge);
    users[edge.from];
    ++users[edge.to];
  }
  std::vector<std::string> free;
  for (const auto& [node, count] : users) {
    if (count == 0) free.push_back(node);
  }
  while (!free.empty()) {
    const std::string node = std::move(free.back());
    free.pop_back();
    for (const Edge* edge : out[node]) {
      if (--users[edge->to] == 0) free.push_back(edge->to);
    }
    users.erase(node);
  }
  if (users.empty()) return std::nullopt;
  // Every node left has a user that is left too; walking back to users must come round to a cycle.
  std::map<std::string, const Edge*> into;
  for (const Edge& edge : edges) {
    if (users.count(edge.from) && users.count(edge.to)) into[edge.to] = &edge;
  }
  std::set<std::string> seen;
  const Edge* edge = into.begin()->second;
  while (seen.insert(edge->from).second) edge = into.at(edge->from);
  return *edge;
}

}  // namespace

Result<Topology> parse_topology(std::string_view text_json) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(text_json, failed);
  if (failed) return Error{"topology", "not JSON: " + failed.message()};
  const json::object* root = parsed.if_object();
  if (!root) return Error{"topology", "must be a JSON object"};
  if (text(*root, "format") != "muster-topology/1") {
    return Error{"topology.format", "must be \"muster-topology/1\""};
  }

  Topology topology;
  std::set<std::string> model_ids;
  std::map<std::string, std::size_t> dependency_index;
  std::set<Edge> edges;

  const auto declare = [&](std::string id, std::string kind, std::string team) {
    const auto [at, is_new] = dependency_index.try_emplace(id, topology.dependencies.size());
    if (is_new) {
      topology.dependencies.push_back({std::move(id), std::move(kind), std::move(team)});
    } else if (Dependency& known = topology.dependencies[at->second]; known.team.empty()) {
      known.team = std::move(team);
    }
  };
  const auto each = [&](std::string_view key, auto&& take) -> Result<void> {
    const json::value* list = root->if_contains(key);
    if (!list) return {};
    if (!list->is_array()) return Error{"topology." + std::string(key), "must be an array"};
    std::size_t at = 0;
    for (const json::value& entry : list->get_array()) {
      const std::string where = "topology." + std::string(key) + "[" + std::to_string(at++) + "]";
      const json::object* object = entry.if_object();
      if (!object) return Error{where, "must be an object"};
      if (Result<void> taken = take(*object, where); !taken) return taken;
    }
    return {};
  };

  Result<void> done = each("models", [&](const json::object& o, const std::string& where) -> Result<void> {
    Model model{text(o, "id"), text(o, "family"), text(o, "region"), text(o, "version"), text(o, "team"), {}};
    if (model.id.empty()) return Error{where + ".id", "must be a non-empty string"};
    if (!model_ids.insert(model.id).second) {
      return Error{where + ".id", "model '" + model.id + "' is declared twice"};
    }
    if (const json::value* interval = o.if_contains("interval_s"); interval && !interval->is_null()) {
      if (!interval->is_number() || interval->to_number<double>() <= 0) {
        return Error{where + ".interval_s", "must be a positive number of seconds"};
      }
      model.interval = Duration(static_cast<std::int64_t>(interval->to_number<double>() * 1e6));
    }
    topology.models.push_back(std::move(model));
    return {};
  });
  if (!done) return done.error();

  done = each("dependencies", [&](const json::object& o, const std::string& where) -> Result<void> {
    std::string id = text(o, "id");
    if (id.empty()) return Error{where + ".id", "must be a non-empty string"};
    std::string kind = text(o, "kind");
    declare(std::move(id), kind.empty() ? "generic" : std::move(kind), text(o, "team"));
    return {};
  });
  if (!done) return done.error();

  done = each("edges", [&](const json::object& o, const std::string& where) -> Result<void> {
    Edge edge{text(o, "from"), text(o, "to"), text(o, "kind")};
    if (edge.from.empty()) return Error{where + ".from", "must be a non-empty string"};
    if (edge.to.empty()) return Error{where + ".to", "must be a non-empty string"};
    if (model_ids.count(edge.to)) {
      return Error{where + ".to", "'" + edge.to + "' is a model; an edge goes from the user to a dependency"};
    }
    for (const std::string* end : {&edge.from, &edge.to}) {
      if (model_ids.count(*end) || dependency_index.count(*end)) continue;
      topology.warnings.push_back(where + " names '" + *end + "', which is not declared; taken as a dependency of kind generic");
      declare(*end, "generic", "");
    }
    edges.insert(std::move(edge));
    return {};
  });
  if (!done) return done.error();

  // A region said on the model and an edge to the region mean the same.
  for (const Model& model : topology.models) {
    if (model.region.empty()) continue;
    declare(model.region, "region", "");
    edges.insert({model.id, model.region, "region"});
  }

  // Edges that differ in kind alone are one edge.
  for (const Edge& edge : edges) {
    if (!topology.edges.empty() && topology.edges.back().from == edge.from &&
        topology.edges.back().to == edge.to) {
      continue;
    }
    topology.edges.push_back(edge);
  }
  if (const auto cycle = find_cycle(topology.edges)) {
    return Error{"topology.edges", "the edges form a cycle; one edge of it goes from '" + cycle->from +
                                       "' to '" + cycle->to + "'"};
  }
  const auto by_id = [](const auto& a, const auto& b) { return a.id < b.id; };
  std::sort(topology.models.begin(), topology.models.end(), by_id);
  std::sort(topology.dependencies.begin(), topology.dependencies.end(), by_id);
  return topology;
}

std::string to_json(const Topology& topology) {
  json::array models, dependencies, edges;
  for (const Model& m : topology.models) {
    json::object o{{"id", m.id}};
    if (!m.family.empty()) o["family"] = m.family;
    if (!m.region.empty()) o["region"] = m.region;
    if (!m.version.empty()) o["version"] = m.version;
    if (!m.team.empty()) o["team"] = m.team;
    if (m.interval) o["interval_s"] = static_cast<double>(m.interval->count()) / 1e6;
    models.push_back(std::move(o));
  }
  for (const Dependency& d : topology.dependencies) {
    json::object o{{"id", d.id}, {"kind", d.kind}};
    if (!d.team.empty()) o["team"] = d.team;
    dependencies.push_back(std::move(o));
  }
  for (const Edge& e : topology.edges) {
    json::object o{{"from", e.from}, {"to", e.to}};
    if (!e.kind.empty()) o["kind"] = e.kind;
    edges.push_back(std::move(o));
  }
  return json::serialize(json::object{{"format", "muster-topology/1"},
                                      {"models", std::move(models)},
                                      {"dependencies", std::move(dependencies)},
                                      {"edges", std::move(edges)}});
}

std::vector<std::vector<std::uint32_t>> dependants(const Topology& topology) {
  std::map<std::string_view, std::uint32_t> dependency_index;
  for (std::uint32_t d = 0; d < topology.dependencies.size(); ++d) {
    dependency_index[topology.dependencies[d].id] = d;
  }
  std::map<std::string_view, std::vector<std::uint32_t>> uses;
  for (const Edge& edge : topology.edges) {
    uses[edge.from].push_back(dependency_index.at(edge.to));
  }

  std::vector<std::vector<std::uint32_t>> result(topology.dependencies.size());
  std::vector<std::uint32_t> seen(topology.dependencies.size(), 0);
  std::vector<std::string_view> todo;
  for (std::uint32_t m = 0; m < topology.models.size(); ++m) {
    todo.assign(1, topology.models[m].id);
    while (!todo.empty()) {
      const auto found = uses.find(todo.back());
      todo.pop_back();
      if (found == uses.end()) continue;
      for (const std::uint32_t d : found->second) {
        if (seen[d] == m + 1) continue;
        seen[d] = m + 1;
        result[d].push_back(m);
        todo.push_back(topology.dependencies[d].id);
      }
    }
  }
  return result;
}

}  // namespace muster
