#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "aggregator/settings.hpp"
#include "app/config_storage.hpp"
#include "base/result.hpp"
#include "collector/decode/otlp.hpp"
#include "collector/scrape/settings.hpp"
#include "http/server.hpp"
#include "router/channels/channels.hpp"
#include "router/settings.hpp"
#include "schema/mapping.hpp"

namespace muster::app {

class DemoControl;

// All that a running muster needs to know. Where it comes from (YAML, flags, a demo) is not its concern.
struct ServerSettings {
  std::filesystem::path data_dir = "data";
  std::string control_dsn;             // empty: a private PostgreSQL in data_dir
  std::vector<std::string> data_dsns;  // where the log lies, at most one; empty: the control one
  int shards = 1;
  StorageLife life;  // how long history is kept, and in how many bytes

  http::Settings http;
  aggregator::Settings aggregator;
  router::Settings router = router::default_settings();
  channels::Settings channels;
  scrape::Settings scrape;
  std::string statsd_address;  // empty: no StatsD
  std::uint16_t statsd_port = 0;
  Duration statsd_flush = std::chrono::seconds(10);

  MappingPtr mapping = std::make_shared<const Mapping>();  // whose a label set is
  std::size_t series_max = 2'000'000;
  std::size_t sender_series_max = 1'000'000;
  double sender_queue_share = 0.5;
  std::size_t queue_bytes_max = 256u << 20;
  Duration lateness = std::chrono::minutes(30);
  Duration future_max = std::chrono::minutes(10);

  decode::OtlpRules otlp;

  DemoControl* demo = nullptr;

  // Reads the config anew, for SIGHUP and POST /-/reload; the router's, the channels' and the scrape settings
  // and the mapping of what it gives are taken over. Empty: there is nothing to reload.
  std::function<Result<ServerSettings>()> reload;
};

// A whole muster in this process: PostgreSQL, collector, aggregator, router, pages. Signals are held (signals.hpp)
// before it is made, as its threads begin then.
class Server {
 public:
  explicit Server(ServerSettings settings);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Called once it listens, from the thread of run(), with the address of the page. Before run().
  void on_ready(std::function<void(const std::string& url)> tell);
  // Blocks until stop(). The exit code; what keeps it from starting is printed with its remedy.
  int run();
  // From any thread: stops listening, finishes what is under way, saves, ends.
  void stop();
  // From any thread.
  void reload();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::app
