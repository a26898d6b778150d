#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/config_storage.hpp"
#include "base/result.hpp"
#include "collector/decode/otlp.hpp"
#include "collector/scrape/settings.hpp"
#include "router/channels/settings.hpp"
#include "router/settings.hpp"
#include "schema/mapping.hpp"
#include "schema/time.hpp"

namespace muster::app {

// The whole of muster.yaml, checked. `route`, `receivers`, `inhibit_rules` and `time_intervals` mean what they
// mean to Alertmanager. A default-made one is what a user has who wrote nothing.
struct Config {
  struct Budget {
    // False pages a week over the whole fleet. One: a person on call still remembers last week's.
    double pages_per_week = 1;
  };
  struct Collector {
    std::string listen = "127.0.0.1:9797";  // loopback: nobody else is asked for a token yet
    // Says that a proxy in front does TLS and decides who may come in; any address but loopback needs it.
    bool behind_proxy = false;
    // How late a sample may be and still count; by default three intervals of the series itself.
    std::optional<Duration> lateness;
    Duration future_max =
        std::chrono::minutes(10);  // as Prometheus: a sender's clock may be a little off
    std::uint64_t body_bytes_max = 32u << 20;    // a remote-write request is below 1 MiB
    std::uint64_t queue_bytes_max = 256u << 20;  // seconds of a full load
    std::uint64_t series_max = 2'000'000;        // 2,000 models of 1,000 series
    std::string statsd_listen;  // ADDRESS:PORT for StatsD over UDP; empty: none
    Duration statsd_flush = std::chrono::seconds(10);  // as statsd's own
    // That one sender brings since the start: half, so that one alone leaves room for the others.
    std::uint64_t sender_series_max = 1'000'000;
    // Of the room that is left in the queue, what one sender may have: alone it has half of the queue.
    double sender_queue_share = 0.5;
    decode::OtlpRules otlp;
  };
  struct Storage {
    // Where the control tables and each shard's log lie; all empty: a private PostgreSQL in the data directory.
    std::string control_dsn;
    std::string control_dsn_file;
    std::vector<std::string> data_dsns;
    std::int32_t shards = 1;  // one machine; a shard is a unit to move to another
    StorageLife life;  // what is kept, and for how long
  };
  struct Limit {
    std::string metric;  // a name, with * for any run of characters
    std::optional<double> below;
    std::optional<double> above;
  };
  struct Aggregator {
    double warmup_days = 14;       // two weekends before the first page
    std::optional<Duration> tick;  // one tick for all instead of each series' own
    unsigned workers = 0;          // 0: all cores
    std::vector<Limit> limits;
  };

  Budget budget;
  Collector collector;
  Storage storage;
  Aggregator aggregator;
  scrape::Settings scrape;
  Mapping mapping;  // whose a label set is
  router::Settings router = router::default_settings();  // with web.external_url
  channels::Settings channels;
  Duration resolve_timeout =
      std::chrono::minutes(5);  // as Alertmanager: a sender's silence is an end

  std::vector<std::string>
      warnings;  // "FILE:LINE:COLUMN: …", things that load and may not be meant

  Config();
};

// What a file holds, or everything that is wrong with it: the error's text has a line for each fault, with
// file, line, column and remedy. Secrets in files are looked at when they are used, not here.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view yaml, const std::string& path);

}  // namespace muster::app
