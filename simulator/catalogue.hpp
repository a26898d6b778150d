#pragma once

#include <cstdint>

#include "schema/topology.hpp"

namespace muster::simulator {

// A company's models and what they use: families of one task, each in several regions and on
// several surfaces; feature pipelines over sources and over each other; packages. Who uses what
// overlaps, as it does in a real company, so that "all who use X" is rarely "all who use Y". From
// 300 models on the pipelines and sources come in several copies, so that none has more than about
// 120 dependants.
Topology invent_topology(std::uint32_t models, std::uint64_t seed);

}  // namespace muster::simulator
