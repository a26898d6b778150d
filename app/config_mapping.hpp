#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "schema/mapping.hpp"

namespace YAML {
class Node;
}

namespace muster::app {

class Problems;

// The section `mapping` of a config; faults go to `problems`, and the built-in rules are what is left then.
Mapping read_mapping(Problems& problems, const YAML::Node& section);

// `mapping: {rules: […]}`, `rules: […]` or the list alone, as YAML or JSON: rules to try before they are saved.
Result<Mapping> parse_mapping(std::string_view yaml, const std::string& path);

}  // namespace muster::app
