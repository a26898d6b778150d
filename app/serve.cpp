#include "app/serve.hpp"

#include <CLI/App.hpp>
#include <charconv>
#include <cstdio>
#include <fstream>

#include "app/commands.hpp"
#include "app/config.hpp"
#include "app/signals.hpp"

namespace muster::app {
namespace {

// "127.0.0.1:9797", "[::1]:9797"
Result<void> take_listen(const std::string& text, std::string& address, std::uint16_t& into) {
  const std::size_t colon = text.rfind(':');
  unsigned port = 0;
  const char* end = text.data() + text.size();
  if (colon != text.npos && colon + 1 < text.size()) {
    const auto [stop, failed] = std::from_chars(text.data() + colon + 1, end, port);
    if (failed == std::errc() && stop == end && port <= 65535) {
      address = text.substr(0, colon);
      if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
        address = address.substr(1, address.size() - 2);
      }
      into = static_cast<std::uint16_t>(port);
      return {};
    }
  }
  return Error{"listen", "'" + text + "' is not ADDRESS:PORT, e.g. 127.0.0.1:9797"};
}

Result<std::string> text_of(const std::string& file) {
  std::ifstream in(file);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) return Error{file, "cannot be read"};
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

void add_serve_flags(CLI::App& command, const std::shared_ptr<ServeFlags>& flags) {
  command.add_option("--config", flags->config, "a YAML file; `muster check-config FILE` checks one");
  command.add_option("--data-dir", flags->data_dir, "where the private PostgreSQL lives")->capture_default_str();
  command.add_option("--listen", flags->listen, "ADDRESS:PORT; 127.0.0.1:9797 unless the config says otherwise");
}

Result<ServerSettings> server_settings(const ServeFlags& flags) {
  Config config;
  if (!flags.config.empty()) {
    Result<Config> loaded = load_config(flags.config);
    if (!loaded) return loaded.error();
    config = std::move(*loaded);
    for (const std::string& warning : config.warnings) std::fprintf(stderr, "%s (warning)\n", warning.c_str());
  }

  ServerSettings s;
  s.data_dir = flags.data_dir;
  s.control_dsn = config.storage.control_dsn;
  if (!config.storage.control_dsn_file.empty()) {
    Result<std::string> dsn = text_of(config.storage.control_dsn_file);
    if (!dsn) return dsn.error();
    s.control_dsn = std::move(*dsn);
  }
  s.data_dsns = config.storage.data_dsns;
  s.shards = config.storage.shards;
  s.life = config.storage.life;

  const std::string& listen = flags.listen.empty() ? config.collector.listen : flags.listen;
  if (Result<void> taken = take_listen(listen, s.http.address, s.http.port); !taken) {
    return taken.error();
  }
  if (!config.collector.statsd_listen.empty()) {
    const Result<void> taken =
        take_listen(config.collector.statsd_listen, s.statsd_address, s.statsd_port);
    if (!taken) return taken.error();
    s.statsd_flush = config.collector.statsd_flush;
  }
  s.http.behind_proxy = config.collector.behind_proxy;
  s.http.body_max = config.collector.body_bytes_max;

  s.aggregator.budget_per_week = config.budget.pages_per_week;
  s.aggregator.workers = config.aggregator.workers;
  s.aggregator.warmup_days = config.aggregator.warmup_days;
  s.aggregator.tick = config.aggregator.tick;
  s.aggregator.lateness = config.collector.lateness;
  s.aggregator.series_max = static_cast<std::uint32_t>(config.collector.series_max);
  for (const Config::Limit& limit : config.aggregator.limits) {
    s.aggregator.limits.push_back({limit.metric, limit.below, limit.above});
  }
  s.mapping = std::make_shared<const Mapping>(std::move(config.mapping));
  s.series_max = config.collector.series_max;
  s.sender_series_max = config.collector.sender_series_max;
  s.sender_queue_share = config.collector.sender_queue_share;
  s.otlp = config.collector.otlp;
  s.queue_bytes_max = config.collector.queue_bytes_max;
  if (config.collector.lateness) s.lateness = *config.collector.lateness;
  s.future_max = config.collector.future_max;
  s.scrape = std::move(config.scrape);
  s.router = std::move(config.router);
  s.channels = std::move(config.channels);
  if (!flags.config.empty()) s.reload = [flags] { return server_settings(flags); };
  return s;
}

void add_serve(CLI::App& app, Run& run) {
  const auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "collect, judge, tell and show: the whole muster");
  command->footer("Example: muster serve --config muster.yaml --data-dir /var/lib/muster");
  add_serve_flags(*command, flags);
  command->callback([&run, flags] {
    run = [flags] {
      Result<ServerSettings> settings = server_settings(*flags);
      if (!settings) {
        std::fprintf(stderr, "%s\n", settings.error().what.c_str());
        return 2;
      }
      const HoldSignals hold(true);
      Server server(std::move(*settings));
      const StopOnSignal signals([&server] { server.stop(); }, [&server] { server.reload(); });
      return server.run();
    };
  });
}

}  // namespace muster::app
