#include <CLI/App.hpp>
#include <cstdio>

#include "app/commands.hpp"

namespace muster::app {

void add_version(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("version", "print the version");
  command->callback([&run] {
    run = [] {
      std::printf("muster %s\n", MUSTER_VERSION);
      return 0;
    };
  });
}

}  // namespace muster::app
