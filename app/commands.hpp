#pragma once

#include <array>
#include <functional>

namespace CLI {
class App;
}

namespace muster::app {

// Each command declares its flags on a subcommand of its own and leaves in `run` what to do once they are
// read. The result is the exit code: 0 done, 1 failed, 2 asked wrongly.
using Run = std::function<int()>;
using AddCommand = void (*)(CLI::App& app, Run& run);

void add_check_config(CLI::App& app, Run& run);
void add_demo(CLI::App& app, Run& run);
void add_import(CLI::App& app, Run& run);
void add_replay(CLI::App& app, Run& run);
void add_routes(CLI::App& app, Run& run);
void add_doctor(CLI::App& app, Run& run);
void add_mapping(CLI::App& app, Run& run);
void add_migrate(CLI::App& app, Run& run);
void add_serve(CLI::App& app, Run& run);
void add_simulate(CLI::App& app, Run& run);
void add_version(CLI::App& app, Run& run);

// In the order `muster --help` lists them. A new command is a file and a line here.
inline constexpr std::array commands{
    AddCommand{add_serve},        AddCommand{add_demo},   AddCommand{add_import}, AddCommand{add_replay},
    AddCommand{add_simulate},     AddCommand{add_doctor}, AddCommand{add_check_config},
    AddCommand{add_routes},       AddCommand{add_mapping}, AddCommand{add_migrate}, AddCommand{add_version},
};

}  // namespace muster::app
