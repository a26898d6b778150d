#include <CLI/App.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "app/clock.hpp"
#include "app/commands.hpp"
#include "app/serve.hpp"
#include "http/client.hpp"
#include "schema/store/compact.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/control.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/migrate.hpp"

namespace muster::app {
namespace {

namespace json = boost::json;

struct Check {
  enum class Verdict { good, warning, bad };
  std::string what;
  Verdict verdict = Verdict::good;
  std::string found;
  std::string next;  // what to do; empty when it is good
};

using Checks = std::vector<Check>;

void check_disk(const std::filesystem::path& folder, Checks& checks) {
  std::error_code failed;
  std::filesystem::path there = std::filesystem::absolute(folder);
  while (!std::filesystem::exists(there, failed) && there.has_parent_path()) there = there.parent_path();
  const std::filesystem::space_info space = std::filesystem::space(there, failed);
  if (failed) {
    checks.push_back({"disk", Check::Verdict::bad, failed.message(), "make " + folder.string() + " readable for this user"});
    return;
  }
  const double free_gb = static_cast<double>(space.available) / 1e9;
  // A day of 50,000 samples a second is about 40 GB before compaction.
  const bool low = free_gb < 5;
  char text[64];
  std::snprintf(text, sizeof text, "%.1f GB free", free_gb);
  checks.push_back({"disk", low ? Check::Verdict::warning : Check::Verdict::good, text,
                    low ? "free some, or lower storage.retention in the config" : ""});
}

// Whether samples become blocks, whether there is room for the next ones, and what a sample takes.
void check_storage(const std::string& dsn, const ServerSettings& settings, Checks& checks) {
  const Timestamp now = wall_clock();
  const store::StorageUse use = store::storage_use(dsn, now - settings.life.compact_after);
  const bool none_ahead = use.log_hours_ahead == 0;
  // One hour may be waiting for its turn.
  const bool behind = use.log_hours_behind > 1;
  checks.push_back({"log", none_ahead || behind ? Check::Verdict::warning : Check::Verdict::good,
                    std::to_string(use.log_hours_ahead) + " hours made ahead, " + std::to_string(use.log_hours_behind) + " not compacted yet",
                    none_ahead ? "a running `muster serve` makes them every five minutes; see its log for storage.failed"
                    : behind   ? "hours wait until the aggregator has saved its state behind them; is `muster serve` running?"
                               : ""});
  store::Connection connection(dsn, {});
  const store::Rows kept = connection.run("SELECT coalesce(sum(samples), 0)::float8, count(*) FROM sample_block");
  const double samples = std::stod(std::string(kept.at(0, 0)));
  std::string found;
  double bytes = 0;
  for (const store::StorageUse::Table& table : use.tables) {
    if (table.bytes == 0) continue;
    char text[64];
    std::snprintf(text, sizeof text, "%s%s %.1f MB", found.empty() ? "" : ", ", table.name.c_str(), static_cast<double>(table.bytes) / 1e6);
    found += text;
    if (table.name != "log") bytes += static_cast<double>(table.bytes);
  }
  if (samples > 0) {
    char text[96];
    std::snprintf(text, sizeof text, "; %.0f samples in %s blocks, %.2f bytes each with rollups", samples, std::string(kept.at(0, 1)).c_str(), bytes / samples);
    found += text;
  }
  const bool over = settings.life.disk_max && use.database_bytes > *settings.life.disk_max;
  checks.push_back({"history", over ? Check::Verdict::warning : Check::Verdict::good, found.empty() ? "empty" : found,
                    over ? "the database is larger than storage.disk_max: raise it, or lower storage.retention" : ""});
}

// What the mapping rules made of the series that have come so far.
void check_mapping(store::Connection& connection, Checks& checks) {
  const store::Rows all = connection.run(
      "SELECT count(*), count(DISTINCT model), count(*) FILTER (WHERE model = 'unknown'),"
      " count(*) FILTER (WHERE kind IN (1, 3)), count(*) FILTER (WHERE kind IN (2, 4)) FROM series");
  const auto series = std::stoull(std::string(all.at(0, 0)));
  const auto nameless = std::stoull(std::string(all.at(0, 2)));
  const auto text = [&](int column) { return std::string(all.at(0, column)); };
  if (series == 0) {
    checks.push_back({"mapping", Check::Verdict::good, "no series yet", ""});
    return;
  }
  checks.push_back({"mapping", Check::Verdict::good,
                    text(0) + " series of " + text(1) + " models: " + text(3) + " counters, " + text(4) +
                        " buckets, the rest values",
                    ""});
  if (nameless > 0)
    checks.push_back({"mapping", Check::Verdict::warning, text(2) + " series became model \"unknown\"",
                      "add a rule to `mapping` that names their model; `muster mapping test` tries one"});
  // One model with most series is most often a label that is no model's name.
  const store::Rows largest = connection.run(
      "SELECT model, count(*) FROM series GROUP BY model ORDER BY count(*) DESC, model LIMIT 1");
  const auto most = std::stoull(std::string(largest.at(0, 1)));
  if (most > 5000 && largest.at(0, 0) != "unknown")
    checks.push_back({"mapping", Check::Verdict::warning,
                      std::to_string(most) + " series became model \"" + std::string(largest.at(0, 0)) + '"',
                      "if these are several models, add a rule to `mapping` that tells them apart"});
}

void check_database(const ServerSettings& settings, Checks& checks) {
  std::optional<store::EmbeddedPostgres> postgres;
  std::string dsn = settings.control_dsn;
  try {
    if (dsn.empty()) {
      const std::filesystem::path folder = settings.data_dir / "postgres";
      if (!std::filesystem::exists(folder)) {
        checks.push_back({"database", Check::Verdict::good, "none yet; `muster serve` makes one in " + folder.string(), ""});
        return;
      }
      store::EmbeddedPostgres::Settings embedded;
      embedded.folder = folder;
      postgres.emplace(embedded);
      dsn = postgres->dsn();
    }
    const store::SchemaState state = store::check(dsn);
    const bool current = state.is == store::SchemaState::Is::current;
    checks.push_back({"schema", current ? Check::Verdict::good : Check::Verdict::bad,
                      "version " + std::to_string(state.version), current ? "" : state.what});

    store::Connection connection(dsn, {});
    const store::Rows now = connection.run("SELECT extract(epoch FROM now())::float8, version()");
    const double skew = std::stod(std::string(now.at(0, 0))) - static_cast<double>(wall_clock().us) / 1e6;
    const bool far = std::abs(skew) > 2;
    char text[64];
    std::snprintf(text, sizeof text, "database is %+.1f s from this machine", skew);
    checks.push_back({"clock", far ? Check::Verdict::warning : Check::Verdict::good, text,
                      far ? "let both follow a time server" : ""});
    if (current) {
      check_storage(settings.data_dsns.empty() ? dsn : settings.data_dsns.front(), settings, checks);
      if (settings.data_dsns.empty()) {
        check_mapping(connection, checks);
      } else {
        store::Connection data(settings.data_dsns.front(), {});
        check_mapping(data, checks);
      }
      store::Control control(dsn);
      const store::OutboxDepth depth = control.outbox_depth();
      const bool stuck = depth.failed > 0;
      checks.push_back({"outbox", stuck ? Check::Verdict::warning : Check::Verdict::good,
                        std::to_string(depth.due) + " due, " + std::to_string(depth.failed) + " given up",
                        stuck ? "SELECT * FROM v_outbox WHERE state = 'failed' says what the receivers answered" : ""});
      const auto topology = control.load_topology();
      const bool none = !topology || topology->topology.dependencies.empty();
      checks.push_back({"topology", none ? Check::Verdict::warning : Check::Verdict::good,
                        none ? "no dependencies declared" : std::to_string(topology->topology.dependencies.size()) + " dependencies",
                        none ? "PUT /api/v1/topology, else causes can only be models and families" : ""});
    }
  } catch (const store::EmbeddedRefused& fault) {
    checks.push_back({"database", Check::Verdict::warning, fault.what(), "ask the muster that runs there: GET /-/ready"});
  } catch (const std::exception& fault) {
    checks.push_back({"database", Check::Verdict::bad, fault.what(), "check storage.control_dsn, and that PostgreSQL runs"});
  }
}

boost::asio::awaitable<void> ask(http::Client& client, http::Outgoing request,
                                 std::optional<Result<http::Response>>& answer) {
  answer.emplace(co_await client.send(std::move(request)));
}

// Whether somebody answers at a webhook's address. The question is an OPTIONS request, which changes nothing.
void check_channels(const ServerSettings& settings, Checks& checks) {
  if (settings.channels.webhooks.empty()) {
    checks.push_back({"receivers", Check::Verdict::warning, "no webhook; notices go to the log alone",
                      "add a receiver with webhook_configs to the config"});
    return;
  }
  for (const channels::WebhookSettings& webhook : settings.channels.webhooks) {
    boost::asio::io_context io;
    http::Client client(io, {.ca_file = webhook.ca_file});
    http::Outgoing request;
    request.method = http::Method::options;
    request.url = webhook.url.value;
    request.deadline = std::chrono::seconds(5);
    if (request.url.empty()) continue;  // in a file: read when it is used
    std::optional<Result<http::Response>> answer;
    boost::asio::co_spawn(io, ask(client, std::move(request), answer), boost::asio::detached);
    io.run();
    const bool there = answer && answer->has_value();
    checks.push_back({"receiver " + webhook.target, there ? Check::Verdict::good : Check::Verdict::bad,
                      there ? "answers with HTTP " + std::to_string((*answer)->status) : answer->error().what,
                      there ? "" : "check its address, and that this machine may reach it"});
  }
}

int doctor(const ServeFlags& flags, bool as_json) {
  Checks checks;
  const Result<ServerSettings> settings = server_settings(flags);
  if (!settings) {
    checks.push_back({"config", Check::Verdict::bad, settings.error().what, "mend the lines named here"});
  } else {
    checks.push_back({"config", Check::Verdict::good, flags.config.empty() ? "none, the defaults hold" : flags.config + " is fine", ""});
    check_disk(settings->data_dir, checks);
    check_database(*settings, checks);
    check_channels(*settings, checks);
  }

  bool bad = false;
  json::array list;
  constexpr const char* words[] = {"ok", "warning", "bad"};
  for (const Check& check : checks) {
    bad = bad || check.verdict == Check::Verdict::bad;
    const char* word = words[static_cast<int>(check.verdict)];
    if (as_json) {
      list.push_back(json::object{{"check", check.what}, {"verdict", word}, {"found", check.found}, {"next", check.next}});
    } else {
      std::printf("%-8s %-10s %s\n", word, check.what.c_str(), check.found.c_str());
      if (!check.next.empty()) std::printf("%-19s do: %s\n", "", check.next.c_str());
    }
  }
  if (as_json) std::printf("%s\n", json::serialize(json::object{{"ok", !bad}, {"checks", std::move(list)}}).c_str());
  return bad ? 1 : 0;
}

}  // namespace

void add_doctor(CLI::App& app, Run& run) {
  const auto flags = std::make_shared<ServeFlags>();
  const auto as_json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "check config, disk, database, clock and receivers, and say what to do");
  command->footer("Example: muster doctor --config muster.yaml --data-dir /var/lib/muster");
  add_serve_flags(*command, flags);
  command->add_flag("--json", *as_json, "for machines");
  command->callback([&run, flags, as_json] { run = [flags, as_json] { return doctor(*flags, *as_json); }; });
}

}  // namespace muster::app
