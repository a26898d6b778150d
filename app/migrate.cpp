#include <CLI/App.hpp>
#include <cstdio>
#include <memory>

#include "app/commands.hpp"
#include "app/serve.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/migrate.hpp"

namespace muster::app {
namespace {

int migrate(const ServeFlags& flags, bool only_check) {
  const Result<ServerSettings> settings = server_settings(flags);
  if (!settings) {
    std::fprintf(stderr, "%s\n", settings.error().what.c_str());
    return 2;
  }
  std::unique_ptr<store::EmbeddedPostgres> postgres;
  std::string dsn = settings->control_dsn;
  if (dsn.empty()) {
    store::EmbeddedPostgres::Settings embedded;
    embedded.folder = settings->data_dir / "postgres";
    postgres = std::make_unique<store::EmbeddedPostgres>(embedded);
    dsn = postgres->dsn();
  }
  std::vector<std::string> dsns = settings->data_dsns;
  dsns.insert(dsns.begin(), dsn);
  bool current = true;
  for (const std::string& one : dsns) {
    if (only_check) {
      const store::SchemaState state = store::check(one);
      current = current && state.is == store::SchemaState::Is::current;
      std::printf("version %d: %s\n", state.version, state.what.empty() ? "current" : state.what.c_str());
      continue;
    }
    const std::vector<std::string> applied = store::migrate(one);
    for (const std::string& name : applied) std::printf("applied %s\n", name.c_str());
    if (applied.empty()) std::printf("nothing to do, the database is current\n");
  }
  return current ? 0 : 1;
}

}  // namespace

void add_migrate(CLI::App& app, Run& run) {
  const auto flags = std::make_shared<ServeFlags>();
  const auto only_check = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("migrate", "bring the database forward to this version's tables");
  command->footer("Example: muster migrate --config muster.yaml");
  command->add_option("--config", flags->config, "a YAML file that names the database in storage.control_dsn");
  command->add_option("--data-dir", flags->data_dir, "the private PostgreSQL, when the config names none")->capture_default_str();
  command->add_flag("--check", *only_check, "only say how the database stands");
  command->callback([&run, flags, only_check] { run = [flags, only_check] { return migrate(*flags, *only_check); }; });
}

}  // namespace muster::app
