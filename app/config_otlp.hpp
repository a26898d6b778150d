#pragma once

#include "app/yaml_reader.hpp"
#include "collector/decode/otlp.hpp"

namespace muster::app {

// `collector.otlp` of the config.
void read_otlp(Problems& problems, const YAML::Node& node, decode::OtlpRules& into);

}  // namespace muster::app
