#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <memory>

#include "app/commands.hpp"
#include "app/demo_driver.hpp"
#include "app/signals.hpp"

namespace muster::app {

void add_demo(CLI::App& app, Run& run) {
  const auto settings = std::make_shared<DemoSettings>();
  CLI::App* command =
      app.add_subcommand("demo", "an invented fleet with known faults, before your eyes");
  command->footer(
      "Sends four weeks of an invented fleet's history, then ten minutes of its life each second, "
      "over HTTP.\n"
      "Every minute or two something breaks; what and where is printed, and more can be broken "
      "from the page.\n\n"
      "Example: muster demo --seed 7");
  const auto url = std::make_shared<std::string>("http://127.0.0.1:9797");
  command->add_option("--to", *url, "the muster that is fed")->capture_default_str();
  command->add_option("--state", settings->state_file,
                      "a file that keeps the fleet's clock between two starts");
  command->add_option("--seed", settings->seed, "which fleet")->capture_default_str();
  command->add_option("--models", settings->models, "how many models")
      ->check(CLI::Range(1u, 20'000u))
      ->capture_default_str();
  command->add_option("--speed", settings->ticks_per_second, "ticks of ten minutes a second")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  command->callback([&run, settings, url] {
    run = [settings, url] {
      DemoControl control;
      DemoDriver driver(*settings, control);
      const StopOnSignal stop([&] { driver.stop(); });
      return driver.run(*url);
    };
  });
}

}  // namespace muster::app
