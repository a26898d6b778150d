#pragma once

#include <CLI/App.hpp>
#include <functional>

namespace muster::app {

// Each command declares its flags on its own subcommand and leaves in `run` what to do once they are read.
// The result is the exit code: 0 done, 1 failed, 2 asked wrongly.
using Run = std::function<int()>;

void add_replay(CLI::App& app, Run& run);
void add_serve(CLI::App& app, Run& run);

}  // namespace muster::app
