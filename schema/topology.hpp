#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/time.hpp"

namespace muster {

struct Model {
  std::string id;
  std::string family;
  std::string region;
  std::string version;
  std::string team;
  std::optional<Duration> interval;  // how often it reports; learned when not said
};

struct Dependency {
  std::string id;
  std::string kind;  // source, feature_pipeline, package, region; any other word is generic
  std::string team;
};

struct Edge {
  std::string from;  // a model or a dependency: the user
  std::string to;    // a dependency: what is used
  std::string kind;
  friend auto operator<=>(const Edge&, const Edge&) = default;
};

// Who uses what. The edges form a DAG; a model depends on all that it reaches.
struct Topology {
  std::vector<Model> models;
  std::vector<Dependency> dependencies;
  std::vector<Edge> edges;
  std::vector<std::string> warnings;  // e.g. an edge to an undeclared id, which declares it
};

// Reads "muster-topology/1". Sorted and checked: a repeated model id or a cycle is an error that names it,
// a repeated edge is dropped, a model's `region` becomes an edge to a dependency of kind region.
Result<Topology> parse_topology(std::string_view json);

std::string to_json(const Topology& topology);

// For each dependency, in the order of topology.dependencies, the indexes of the models that reach it, sorted.
std::vector<std::vector<std::uint32_t>> dependants(const Topology& topology);

}  // namespace muster
