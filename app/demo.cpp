#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <thread>

#include "app/commands.hpp"
#include "app/demo_driver.hpp"
#include "app/serve.hpp"
#include "app/signals.hpp"

namespace muster::app {
namespace {

int run_demo(const ServeFlags& flags, DemoSettings demo) {
  Result<ServerSettings> settings = server_settings(flags);
  if (!settings) {
    std::fprintf(stderr, "%s\n", settings.error().what.c_str());
    return 2;
  }
  std::filesystem::create_directories(flags.data_dir);
  demo.state_file = (flags.data_dir / "demo.json").string();

  const HoldSignals hold;
  DemoControl control;
  DemoDriver driver(std::move(demo), control);
  settings->demo = &control;
  // Its history is sent like any other sample, and what happened in it is over.
  settings->aggregator.pages_from = driver.history_end();

  std::thread feeder;
  int fed = 0;
  Server server(std::move(*settings));
  const StopOnSignal signals([&] { server.stop(); });
  server.on_ready([&](const std::string& url) {
    feeder = std::thread([&, url] {
      try {
        fed = driver.run(url);
      } catch (const std::exception& fault) {
        std::fprintf(stderr, "demo: %s\n", fault.what());
        fed = 1;
      }
      if (fed != 0) server.stop();
    });
  });
  const int served = server.run();
  driver.stop();
  if (feeder.joinable()) feeder.join();
  return served != 0 ? served : fed;
}

}  // namespace

void add_demo(CLI::App& app, Run& run) {
  const auto settings = std::make_shared<DemoSettings>();
  const auto flags = std::make_shared<ServeFlags>();
  flags->data_dir = "data/demo";
  CLI::App* command =
      app.add_subcommand("demo", "serve an invented fleet with known faults, before your eyes");
  command->footer(
      "Starts a muster on its own private PostgreSQL, sends it four weeks of an invented fleet's history, then\n"
      "ten minutes of its life each second, over HTTP. Every minute or two something breaks; what and where is\n"
      "printed, and more can be broken from the page. A second start goes on where the first stopped.\n\n"
      "Example: muster demo --seed 12");
  add_serve_flags(*command, flags);
  command->add_option("--seed", settings->seed, "which fleet")->capture_default_str();
  command->add_option("--models", settings->models, "how many models")
      ->check(CLI::Range(1u, 20'000u))
      ->capture_default_str();
  command->add_option("--speed", settings->ticks_per_second, "ticks of ten minutes a second")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  command->callback([&run, settings, flags] { run = [settings, flags] { return run_demo(*flags, *settings); }; });
}

}  // namespace muster::app
