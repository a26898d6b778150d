#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/config.hpp"
#include "app/mapping_preview.hpp"
#include "router/labels.hpp"
#include "router/route.hpp"

namespace muster::app {
namespace {

// The config, with its warnings on standard error; or nothing, with its faults there.
std::optional<Config> load(const std::string& path) {
  Result<Config> config = load_config(path);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().what.c_str());
    return std::nullopt;
  }
  for (const std::string& warning : config->warnings)
    std::fprintf(stderr, "%s (warning)\n", warning.c_str());
  return std::move(*config);
}

int check(const std::string& path, bool show_mapping) {
  const std::optional<Config> config = load(path);
  if (!config) return 1;
  if (show_mapping) std::fputs(mapping_text(config->mapping).c_str(), stdout);
  std::size_t integrations = 0;
  for (const router::Receiver& r : config->router.receivers) integrations += r.integrations.size();
  std::printf(
      "%s: fine. %zu routes, %zu receivers with %zu integrations, %zu inhibit rules, %zu time "
      "intervals; "
      "%g false pages a week\n",
      path.c_str(), config->router.routes.size(), config->router.receivers.size(), integrations,
      config->router.inhibit_rules.size(), config->router.intervals.size(),
      config->budget.pages_per_week);
  return 0;
}

int test_routes(const std::string& path, const std::vector<std::string>& words) {
  const std::optional<Config> config = load(path);
  if (!config) return 1;
  Labels labels;
  for (const std::string& word : words) {
    // The grammar of matchers, so that quotes work as they do in the config.
    const auto parsed = parse_matchers(word);
    if (!parsed || parsed->list.size() != 1 || parsed->list[0].op != Matcher::Op::equal) {
      std::fprintf(stderr, "'%s' is no label; write NAME=VALUE, e.g. severity=critical\n",
                   word.c_str());
      return 2;
    }
    labels.push_back({parsed->list[0].name, parsed->list[0].value});
  }
  labels = router::canonical(std::move(labels));

  const router::RouteTree& tree = config->router.routes;
  const std::vector<std::size_t> taken = router::match(tree, labels);
  std::printf("%s goes to\n", router::to_text(labels).c_str());
  for (const std::size_t i : taken) {
    Labels group = router::group_labels(tree[i], labels);
    // As the router does it: an incident is a group of its own.
    router::set_label(group, "incident", value_of(labels, "incident"));
    std::printf("  %s\n      by route %s\n      in group %s\n", tree[i].receiver.c_str(),
                tree[i].key.c_str(), router::group_key(tree[i], group).c_str());
  }
  bool heading = false;
  for (std::size_t i = 1; i < tree.size(); ++i) {
    const Matcher* failing = first_failing(tree[i].matchers, labels);
    if (!failing) continue;
    if (!heading) std::printf("and not by\n");
    heading = true;
    std::printf("  %s, as %s does not hold\n", tree[i].key.c_str(),
                to_text(*failing).c_str());
  }
  return 0;
}

}  // namespace

void add_check_config(CLI::App& app, Run& run) {
  CLI::App* command =
      app.add_subcommand("check-config", "read a config and say everything that is wrong with it");
  command->footer("Example: muster check-config muster.yaml");
  const auto path = std::make_shared<std::string>();
  const auto show_mapping = std::make_shared<bool>(false);
  command->add_option("FILE", *path, "the config")->required();
  command->add_flag("--show-mapping", *show_mapping, "list the mapping rules, in the order in which they are asked");
  command->callback(
      [&run, path, show_mapping] { run = [path, show_mapping] { return check(*path, *show_mapping); }; });
}

void add_routes(CLI::App& app, Run& run) {
  CLI::App* routes = app.add_subcommand("routes", "ask the route tree of a config");
  routes->require_subcommand(1);
  CLI::App* test = routes->add_subcommand(
      "test", "which receivers an alert with these labels would go to, and why");
  test->footer(
      "Example: muster routes test --config muster.yaml alertname=Incident team=data "
      "severity=critical");
  struct Asked {
    std::string path;
    std::vector<std::string> labels;
  };
  const auto asked = std::make_shared<Asked>();
  test->add_option("--config", asked->path, "the config")->required();
  test->add_option("LABELS", asked->labels, "labels, NAME=VALUE each");
  test->callback(
      [&run, asked] { run = [asked] { return test_routes(asked->path, asked->labels); }; });
}

}  // namespace muster::app
