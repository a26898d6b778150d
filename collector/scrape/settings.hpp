#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collector/decode/decoded.hpp"
#include "collector/decode/relabel.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::decode {
enum class ExpositionFormat : std::uint8_t;
}

namespace muster::scrape {

struct Secret {
  std::string value;
  std::string file;  // read at each request, so that it may be renewed
  bool empty() const { return value.empty() && file.empty(); }
};

// How a page or a list of targets is asked for.
struct HttpSettings {
  std::string authorization_type = "Bearer";
  Secret credentials;    // "Authorization: <type> <credentials>"
  std::string username;  // basic authentication
  Secret password;
  std::string ca_file;  // empty: the system's authorities
  bool insecure_skip_verify = false;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Targets that share labels, as static_configs and files have them.
struct TargetGroup {
  std::vector<std::string> targets;  // HOST:PORT
  Labels labels;
};

struct FileDiscovery {
  std::vector<std::string> files;  // absolute; * in the last part
  Duration refresh_interval = std::chrono::minutes(5);
};

struct DnsDiscovery {
  enum class Type : std::uint8_t { srv, a, aaaa };
  std::vector<std::string> names;
  Type type = Type::srv;
  std::uint16_t port = 0;  // for a and aaaa
  Duration refresh_interval = std::chrono::seconds(30);
};

struct HttpDiscovery {
  std::string url;
  HttpSettings http;
  Duration refresh_interval = std::chrono::seconds(60);
};

// One entry of Prometheus's `scrape_configs`, in its words and with its defaults.
struct Job {
  std::string name;
  Duration interval = std::chrono::minutes(1);
  Duration timeout = std::chrono::seconds(10);
  std::string metrics_path = "/metrics";
  std::string scheme = "http";
  std::vector<std::pair<std::string, std::vector<std::string>>> params;
  bool honor_labels = false;
  bool honor_timestamps = true;
  bool enable_compression = true;
  std::string accept =
      "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
  // For a page whose Content-Type names no format that we know.
  std::optional<decode::ExpositionFormat> fallback;
  HttpSettings http;
  std::vector<decode::RelabelRule> relabel;
  std::vector<decode::RelabelRule> metric_relabel;

  // As what a sender may send, decompressed: the largest pages there are (of a whole cluster's state) have some
  // 50 MiB.
  std::uint64_t body_size_limit = 64u << 20;
  // Prometheus's limits; 0 is none.
  std::uint64_t sample_limit = 0;
  std::uint64_t label_limit = 0;
  std::uint64_t label_name_length_limit = 0;
  std::uint64_t label_value_length_limit = 0;
  std::uint64_t target_limit = 0;

  std::vector<TargetGroup> static_groups;
  std::vector<FileDiscovery> file_discoveries;
  std::vector<DnsDiscovery> dns_discoveries;
  std::vector<HttpDiscovery> http_discoveries;

  // Of all of the above: another text, another job. Who makes jobs by hand may leave it empty.
  std::string fingerprint;
};

struct Settings {
  std::vector<Job> jobs;  // each name once
  Labels external_labels;

  // Of one job; a discovery that gives more is a mistake, and each costs a connection and its series' labels.
  std::size_t targets_max = 10'000;
  // Shown of those that relabelling dropped; the rest is counted.
  std::size_t dropped_shown_max = 100;
  // Pages that are fetched or read at one time: what is in memory at worst beside what is remembered.
  std::size_t at_once_max = 128;
  // Pages that wait for the database, as samples in memory, over all targets.
  std::size_t kept_bytes_max = 64u << 20;
  // Pages of at least so many bytes are read by the workers, beside the I/O thread.
  std::size_t offload_bytes_min = 32u << 10;
  // How often files are looked at for a change; their refresh_interval bounds it from above.
  Duration file_poll = std::chrono::seconds(2);
  // A list of targets, in a file or from a server.
  std::size_t list_bytes_max = 16u << 20;
  decode::Limits limits;
};

}  // namespace muster::scrape
