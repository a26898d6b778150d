#pragma once

#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "collector/scrape/settings.hpp"

namespace muster::scrape {

// A list of targets as file_sd_configs and http_sd_configs have it: [{"targets": ["host:port"], "labels": {…}}].
// The Error names the entry that is wrong; nothing of such a list is used.
Result<std::vector<TargetGroup>> groups_of_json(std::string_view text);
Result<std::vector<TargetGroup>> groups_of_yaml(std::string_view text);

}  // namespace muster::scrape
