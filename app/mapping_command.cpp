#include <CLI/App.hpp>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/config.hpp"
#include "app/mapping_preview.hpp"

namespace muster::app {
namespace {

struct Asked {
  std::string config;
  std::vector<std::string> series;
  bool json = false;
};

Result<Mapping> mapping_of(const std::string& path) {
  if (path.empty()) return Mapping();
  Result<Config> config = load_config(path);
  if (!config) return config.error();
  return std::move(config->mapping);
}

int show(const Asked& asked) {
  const Result<Mapping> mapping = mapping_of(asked.config);
  if (!mapping) {
    std::fprintf(stderr, "%s\n", mapping.error().what.c_str());
    return 1;
  }
  std::fputs(asked.json ? (mapping_json(*mapping) + '\n').c_str() : mapping_text(*mapping).c_str(), stdout);
  return 0;
}

int test(const Asked& asked) {
  const Result<Mapping> mapping = mapping_of(asked.config);
  if (!mapping) {
    std::fprintf(stderr, "%s\n", mapping.error().what.c_str());
    return 1;
  }
  std::string lines;
  for (const std::string& series : asked.series) {
    if (series == "-") {
      lines.append(std::istreambuf_iterator<char>(std::cin), {});
    } else {
      lines += series + '\n';
    }
  }
  // From a pipe or as JSON it is the endpoint's answer; for a person a page a series.
  if (asked.json) {
    const Result<std::string> answer = preview_mapping(lines, *mapping);
    if (!answer) {
      std::fprintf(stderr, "%s %s\n", answer.error().where.c_str(), answer.error().what.c_str());
      return 2;
    }
    std::printf("%s\n", answer->c_str());
    return 0;
  }
  bool first = true;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const std::string line = lines.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line.front() == '#') continue;
    const Result<std::string> text = explain_mapping(line, *mapping);
    if (!text) {
      std::fprintf(stderr, "%s: %s %s\n", line.c_str(), text.error().where.c_str(), text.error().what.c_str());
      return 2;
    }
    std::printf("%s%s\n%s", first ? "" : "\n", line.c_str(), text->c_str());
    first = false;
  }
  return 0;
}

}  // namespace

void add_mapping(CLI::App& app, Run& run) {
  CLI::App* mapping = app.add_subcommand("mapping", "which model a series becomes, and by which rule");
  mapping->require_subcommand(1);
  const auto asked = std::make_shared<Asked>();

  CLI::App* list = mapping->add_subcommand("show", "all rules, in the order in which they are asked");
  list->footer("Example: muster mapping show --config muster.yaml");
  list->add_option("--config", asked->config, "the config; without it the built-in rules");
  list->add_flag("--json", asked->json, "for machines");
  list->callback([&run, asked] { run = [asked] { return show(*asked); }; });

  CLI::App* one = mapping->add_subcommand("test", "what label sets become, field by field");
  one->footer(R"(Example: muster mapping test 'rq_total{job="api",model="churn"}' --config muster.yaml
         curl -s http://host:8000/metrics | muster mapping test - --json)");
  one->add_option("SERIES", asked->series, "NAME{LABEL=\"VALUE\"} each, as Prometheus writes it; - reads lines")
      ->required();
  one->add_option("--config", asked->config, "the config; without it the built-in rules");
  one->add_flag("--json", asked->json, "for machines");
  one->callback([&run, asked] { run = [asked] { return test(*asked); }; });
}

}  // namespace muster::app
