#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "app/commands.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "muster watches a fleet of deployed models: it gathers their metrics, finds what moves many of them "
      "at once, names the cause, and tells one person once."};
  app.require_subcommand(1);
  app.set_version_flag("--version", MUSTER_VERSION);

  muster::app::Run run;
  for (const auto add : muster::app::commands) add(app, run);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& fault) {
    // CLI11 prints help and version through the same door, with code 0.
    return app.exit(fault) == 0 ? 0 : 2;
  }
  try {
    return run();
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "muster: %s\n", fault.what());
    return 1;
  }
}
