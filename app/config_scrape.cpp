#include "app/config_scrape.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/hash.hpp"
#include "collector/decode/exposition.hpp"
#include "collector/scrape/discovery.hpp"
#include "http/client.hpp"
#include "schema/duration.hpp"

namespace muster::app {
namespace {

using decode::ExpositionFormat;
using decode::RelabelRule;

// The largest page that is ever read; a body_size_limit of 0 means it.
constexpr std::uint64_t body_bytes_most = 1u << 30;
constexpr std::uint64_t any = std::uint64_t{1} << 53;

constexpr std::array other_discoveries{
    "azure_sd_configs",     "consul_sd_configs",      "digitalocean_sd_configs",
    "docker_sd_configs",    "dockerswarm_sd_configs", "ec2_sd_configs",
    "eureka_sd_configs",    "gce_sd_configs",         "hetzner_sd_configs",
    "ionos_sd_configs",     "kubernetes_sd_configs",  "kuma_sd_configs",
    "lightsail_sd_configs", "linode_sd_configs",      "marathon_sd_configs",
    "nerve_sd_configs",     "nomad_sd_configs",       "openstack_sd_configs",
    "ovhcloud_sd_configs",  "puppetdb_sd_configs",    "scaleway_sd_configs",
    "serverset_sd_configs", "stackit_sd_configs",     "triton_sd_configs",
    "uyuni_sd_configs",     "vultr_sd_configs"};

constexpr std::array proxies{"proxy_url", "no_proxy", "proxy_from_environment",
                             "proxy_connect_header", "oauth2"};

// What has no effect here, and why.
constexpr std::array native{"native_histogram_bucket_limit", "native_histogram_min_bucket_factor",
                            "scrape_classic_histograms",     "always_scrape_classic_histograms",
                            "scrape_native_histograms",      "convert_classic_histograms_to_nhcb"};

// 1024, 512KB, 10MiB: Prometheus counts all of them in powers of 1024.
std::optional<std::uint64_t> bytes_of(std::string_view text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, number);
  if (failed != std::errc() || number < 0) return {};
  const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
  double factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  if (unit == "KB" || unit == "KiB") factor = 1 << 10;
  if (unit == "MB" || unit == "MiB") factor = 1 << 20;
  if (unit == "GB" || unit == "GiB") factor = 1 << 30;
  if (factor == 0 || number * factor > static_cast<double>(body_bytes_most)) return {};
  return static_cast<std::uint64_t>(number * factor);
}

struct Protocol {
  std::string_view name;
  std::string_view media;
  ExpositionFormat format;
};
constexpr std::array protocols{
    Protocol{"OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0",
             ExpositionFormat::openmetrics},
    Protocol{"OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1",
             ExpositionFormat::openmetrics},
    Protocol{"PrometheusText1.0.0", "text/plain;version=1.0.0", ExpositionFormat::text},
    Protocol{"PrometheusText0.0.4", "text/plain;version=0.0.4", ExpositionFormat::text}};

const Protocol* protocol_of(std::string_view name) {
  for (const Protocol& protocol : protocols)
    if (protocol.name == name) return &protocol;
  return nullptr;
}

}  // namespace

std::string ScrapeReader::absolute(const std::string& file) const {
  const std::size_t slash = path_.rfind('/');
  if (file.empty() || file.front() == '/' || slash == std::string::npos) return file;
  return path_.substr(0, slash + 1) + file;
}

void ScrapeReader::read_secret(Section& section, const std::string& key, scrape::Secret& into) {
  section.text(key, into.value);
  section.text(key + "_file", into.file);
  if (!into.value.empty() && !into.file.empty())
    section.fault(key, "both " + key + " and " + key + "_file are set; keep one of the two");
  into.file = absolute(into.file);
}

void ScrapeReader::read_labels(Section& section, const std::string& key, Labels& into) {
  const auto node = section.take(key);
  if (!node) return;
  if (!node->IsMap()) {
    problems_.fault(*node, key + " has to be a mapping of names to values");
    return;
  }
  for (const auto& pair : *node) {
    const auto name = scalar(problems_, pair.first, "a label's name");
    const auto value = scalar(problems_, pair.second, "a label's value");
    if (!name || !value) continue;
    if (decode::is_label_name(*name)) {
      decode::set_label(into, *name, *value);
    } else {
      problems_.fault(pair.first,
                      '\'' + *name + "' is no label name; letters, digits and _ make one");
    }
  }
}

void ScrapeReader::read_global(Section& global) {
  global.duration("scrape_interval", usual_.interval);
  if (usual_.interval <= Duration::zero())
    global.fault("scrape_interval", "scrape_interval has to be above 0");
  usual_.timeout = std::min(usual_.timeout, usual_.interval);
  const bool said = global.has("scrape_timeout");
  global.duration("scrape_timeout", usual_.timeout);
  if (said && (usual_.timeout <= Duration::zero() || usual_.timeout > usual_.interval))
    global.fault("scrape_timeout",
                 "scrape_timeout has to be above 0 and at most scrape_interval, which is " +
                     to_text(usual_.interval));
  read_labels(global, "external_labels", into_.external_labels);
  read_limits(global, usual_);
  read_protocols(global, usual_);
  for (const auto* key : {"evaluation_interval", "rule_query_offset"})
    global.ignored(key, "there are no recording or alerting rules here");
  for (const auto* key : {"query_log_file", "scrape_failure_log_file", "runtime",
                          "metric_name_validation_scheme", "metric_name_escaping_scheme"})
    global.ignored(key, "it has no effect here");
  global_text_ = YAML::Dump(global.node());
}

void ScrapeReader::read_jobs(Section& top) {
  for (const YAML::Node& node : top.list("scrape_configs")) read_job(node);
  top.not_yet("scrape_config_files", "write the jobs into scrape_configs");
}

void ScrapeReader::read_limits(Section& section, scrape::Job& job) {
  std::string size;
  section.text("body_size_limit", size);
  if (!size.empty()) {
    if (const auto bytes = bytes_of(size)) {
      job.body_size_limit = *bytes == 0 ? body_bytes_most : *bytes;
    } else {
      section.fault("body_size_limit", "'" + size + "' is no size up to 1GB; write it like 10MB");
    }
  }
  section.whole("sample_limit", job.sample_limit, 0, any);
  section.whole("label_limit", job.label_limit, 0, any);
  section.whole("label_name_length_limit", job.label_name_length_limit, 0, any);
  section.whole("label_value_length_limit", job.label_value_length_limit, 0, any);
  section.whole("target_limit", job.target_limit, 0, any);
  section.ignored("keep_dropped_targets", "the first hundred are shown, and all are counted");
  for (const auto* key : native)
    section.ignored(key, "pages are read as text, where histograms are classic ones");
  section.ignored("extra_scrape_metrics", "it has no effect here");
}

void ScrapeReader::read_protocols(Section& section, scrape::Job& job) {
  std::vector<std::string> names;
  const bool said = section.has("scrape_protocols");
  section.texts("scrape_protocols", names);
  if (!said) return;
  job.accept.clear();
  int weight = 9;
  for (const std::string& name : names) {
    if (name == "PrometheusProto") continue;  // asked for first by some, and always optional
    const Protocol* const protocol = protocol_of(name);
    if (protocol == nullptr) {
      section.fault("scrape_protocols", "'" + name +
                                            "' is no protocol; there is OpenMetricsText1.0.0, "
                                            "OpenMetricsText0.0.1 and PrometheusText0.0.4");
      return;
    }
    if (!job.accept.empty()) job.accept += ',';
    job.accept += std::string(protocol->media) + ";q=0." + std::to_string(std::max(weight--, 2));
  }
  if (job.accept.empty()) {
    section.fault("scrape_protocols",
                  "there has to be a text protocol: OpenMetricsText1.0.0 or PrometheusText0.0.4");
    return;
  }
  job.accept += ",*/*;q=0.1";
}

void ScrapeReader::read_params(Section& section, scrape::Job& job) {
  const auto node = section.take("params");
  if (!node) return;
  if (!node->IsMap()) {
    problems_.fault(*node, "params has to be a mapping of names to lists");
    return;
  }
  for (const auto& pair : *node) {
    const auto name = scalar(problems_, pair.first, "a parameter's name");
    if (!name) continue;
    std::vector<std::string> values;
    if (!pair.second.IsSequence()) {
      problems_.fault(pair.second,
                      "params: " + *name + " has to be a list, e.g. [" + *name + ": ['a']]");
      continue;
    }
    for (const YAML::Node& value : pair.second)
      if (auto text = scalar(problems_, value, "a parameter")) values.push_back(std::move(*text));
    job.params.emplace_back(*name, std::move(values));
  }
}

void ScrapeReader::read_http(Section& section, scrape::HttpSettings& into) {
  int ways = 0;
  if (const auto basic = section.take("basic_auth")) {
    ++ways;
    Section auth(problems_, *basic, "basic_auth");
    auth.text("username", into.username);
    read_secret(auth, "password", into.password);
    auth.not_yet("username_file", "write the username into the config");
    if (into.username.empty()) auth.fault("basic_auth needs a username");
  }
  if (const auto authorization = section.take("authorization")) {
    ++ways;
    Section auth(problems_, *authorization, "authorization");
    auth.text("type", into.authorization_type);
    read_secret(auth, "credentials", into.credentials);
    if (into.credentials.empty()) auth.fault("authorization needs credentials or credentials_file");
    if (into.authorization_type == "Basic") auth.fault("type", "for Basic use basic_auth");
  }
  if (section.has("bearer_token") || section.has("bearer_token_file")) ++ways;
  scrape::Secret bearer;
  read_secret(section, "bearer_token", bearer);
  if (!bearer.empty()) into.credentials = std::move(bearer);
  if (ways > 1)
    section.fault("there are several of basic_auth, authorization and bearer_token; keep one");

  if (const auto tls = section.take("tls_config")) {
    Section config(problems_, *tls, "tls_config");
    config.text("ca_file", into.ca_file);
    into.ca_file = absolute(into.ca_file);
    config.flag("insecure_skip_verify", into.insecure_skip_verify);
    for (const auto* key : {"cert_file", "key_file", "server_name", "min_version", "max_version",
                            "ca", "cert", "key", "ca_ref", "cert_ref", "key_ref"})
      config.not_yet(key, "there is ca_file and insecure_skip_verify");
  }
  if (const auto headers = section.take("http_headers")) {
    if (!headers->IsMap()) {
      problems_.fault(*headers, "http_headers has to be a mapping of names to values");
    } else {
      for (const auto& pair : *headers) {
        const auto name = scalar(problems_, pair.first, "a header's name");
        Section header(problems_, pair.second, "http_headers");
        std::vector<std::string> values;
        header.texts("values", values);
        header.texts("secrets", values);
        header.not_yet("files", "use authorization with credentials_file");
        if (name && values.size() != 1)
          header.fault("a header needs one value, in `values` or `secrets`");
        for (const std::string& value : values) {
          if (value.find_first_of("\r\n") != std::string::npos)
            header.fault("a header has to stay on one line");
          if (name) into.headers.emplace_back(*name, value);
        }
      }
    }
  }
  bool ignored = true;
  section.flag("enable_http2", ignored);
  if (const auto follow = section.take("follow_redirects");
      follow && follow->IsScalar() && follow->Scalar() == "true")
    problems_.warn(*follow, "follow_redirects: redirects are not followed; name the page itself");
  for (const auto* key : proxies)
    section.not_yet(key, "there is basic_auth, authorization, tls_config.ca_file and http_headers");
}

void ScrapeReader::read_statics(Section& section, scrape::Job& job) {
  for (const YAML::Node& entry : section.list("static_configs")) {
    Section config(problems_, entry, "static_configs");
    scrape::TargetGroup group;
    config.texts("targets", group.targets);
    for (const std::string& target : group.targets)
      if (target.empty() || target.find('/') != std::string::npos)
        config.fault(
            "targets",
            "'" + target +
                "' is no HOST:PORT; the scheme goes into `scheme`, the path into `metrics_path`");
    read_labels(config, "labels", group.labels);
    job.static_groups.push_back(std::move(group));
  }
}

void ScrapeReader::read_files(Section& section, scrape::Job& job) {
  for (const YAML::Node& entry : section.list("file_sd_configs")) {
    Section config(problems_, entry, "file_sd_configs");
    scrape::FileDiscovery discovery;
    config.texts("files", discovery.files);
    config.duration("refresh_interval", discovery.refresh_interval);
    if (discovery.refresh_interval <= Duration::zero())
      config.fault("refresh_interval", "refresh_interval has to be above 0");
    if (discovery.files.empty()) config.fault("file_sd_configs needs `files`");
    for (std::string& file : discovery.files) {
      if (!scrape::is_list_file(file))
        config.fault("files", "'" + file + "' has to end in .json, .yml or .yaml");
      if (file.substr(0, file.rfind('/') + 1).find('*') != std::string::npos)
        config.fault("files", "'" + file + "': a * may stand in the file's name only");
      file = absolute(file);
    }
    job.file_discoveries.push_back(std::move(discovery));
  }
}

void ScrapeReader::read_names(Section& section, scrape::Job& job) {
  for (const YAML::Node& entry : section.list("dns_sd_configs")) {
    Section config(problems_, entry, "dns_sd_configs");
    scrape::DnsDiscovery discovery;
    config.texts("names", discovery.names);
    std::string type = "SRV";
    config.text("type", type);
    for (char& c : type) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    discovery.type = type == "A"      ? scrape::DnsDiscovery::Type::a
                     : type == "AAAA" ? scrape::DnsDiscovery::Type::aaaa
                                      : scrape::DnsDiscovery::Type::srv;
    if (type != "A" && type != "AAAA" && type != "SRV")
      config.fault("type", "'" + type + "' is not supported; there is SRV, A and AAAA");
    config.whole("port", discovery.port, 1, 65535);
    if (discovery.port == 0 && (type == "A" || type == "AAAA"))
      config.fault("type " + type + " needs a port");
    config.duration("refresh_interval", discovery.refresh_interval);
    if (discovery.refresh_interval <= Duration::zero())
      config.fault("refresh_interval", "refresh_interval has to be above 0");
    if (discovery.names.empty()) config.fault("dns_sd_configs needs `names`");
    job.dns_discoveries.push_back(std::move(discovery));
  }
}

void ScrapeReader::read_lists(Section& section, scrape::Job& job) {
  for (const YAML::Node& entry : section.list("http_sd_configs")) {
    Section config(problems_, entry, "http_sd_configs");
    scrape::HttpDiscovery discovery;
    config.text("url", discovery.url);
    if (const Result<void> usable = http::check_url(discovery.url); !usable)
      config.fault("url", "url: " + usable.error().what);
    config.duration("refresh_interval", discovery.refresh_interval);
    if (discovery.refresh_interval <= Duration::zero())
      config.fault("refresh_interval", "refresh_interval has to be above 0");
    read_http(config, discovery.http);
    job.http_discoveries.push_back(std::move(discovery));
  }
}

void ScrapeReader::read_rules(Section& section, const std::string& key,
                              std::vector<RelabelRule>& into) {
  for (const YAML::Node& entry : section.list(key)) {
    Section config(problems_, entry, key);
    RelabelRule rule;
    config.texts("source_labels", rule.source_labels);
    config.text("separator", rule.separator);
    config.text("target_label", rule.target_label);
    config.text("regex", rule.regex);
    config.whole("modulus", rule.modulus, 1, any);
    config.text("replacement", rule.replacement);
    std::string action;
    config.text("action", action);
    if (!action.empty()) {
      const Result<RelabelRule::Action> known = decode::relabel_action(action);
      if (known) {
        rule.action = *known;
      } else {
        config.fault("action", known.error().what);
        continue;
      }
    }
    Result<RelabelRule> good = decode::checked(std::move(rule));
    if (good) {
      into.push_back(std::move(*good));
    } else {
      config.fault(good.error().where, good.error().what);
    }
  }
}

void ScrapeReader::read_job(const YAML::Node& node) {
  Section section(problems_, node, "scrape_configs");
  scrape::Job job = usual_;
  section.text("job_name", job.name);
  if (job.name.empty()) section.fault("an entry of scrape_configs needs a job_name");
  if (std::any_of(into_.jobs.begin(), into_.jobs.end(),
                  [&](const scrape::Job& other) { return other.name == job.name; }))
    section.fault("job_name", "there is a job '" + job.name + "' already");

  const bool interval_said = section.has("scrape_interval");
  section.duration("scrape_interval", job.interval);
  if (interval_said && job.interval <= Duration::zero())
    section.fault("scrape_interval", "scrape_interval has to be above 0");
  job.timeout = std::min(job.timeout, job.interval);
  const bool said = section.has("scrape_timeout");
  section.duration("scrape_timeout", job.timeout);
  if (said && (job.timeout <= Duration::zero() || job.timeout > job.interval))
    section.fault("scrape_timeout",
                  "scrape_timeout has to be above 0 and at most scrape_interval, which is " +
                      to_text(job.interval));
  section.text("metrics_path", job.metrics_path);
  if (!job.metrics_path.starts_with('/'))
    section.fault("metrics_path", "metrics_path has to begin with /");
  section.text("scheme", job.scheme);
  if (job.scheme != "http" && job.scheme != "https")
    section.fault("scheme", "scheme has to be http or https");
  section.flag("honor_labels", job.honor_labels);
  section.flag("honor_timestamps", job.honor_timestamps);
  section.flag("enable_compression", job.enable_compression);
  bool track = false;
  section.flag("track_timestamps_staleness", track);
  if (track)
    section.fault("track_timestamps_staleness",
                  "series with times of their own get no stale markers; leave it out");
  read_params(section, job);
  read_protocols(section, job);
  std::string fallback;
  section.text("fallback_scrape_protocol", fallback);
  if (!fallback.empty()) {
    const Protocol* const protocol = protocol_of(fallback);
    if (protocol == nullptr) {
      section.fault(
          "fallback_scrape_protocol",
          "'" + fallback +
              "' is no text protocol; there is PrometheusText0.0.4 and OpenMetricsText1.0.0");
    } else {
      job.fallback = protocol->format;
    }
  }
  read_limits(section, job);
  read_http(section, job.http);
  read_statics(section, job);
  read_files(section, job);
  read_names(section, job);
  read_lists(section, job);
  read_rules(section, "relabel_configs", job.relabel);
  read_rules(section, "metric_relabel_configs", job.metric_relabel);
  for (const auto* key : other_discoveries)
    section.not_yet(key, "use file_sd_configs or http_sd_configs");
  for (const auto* key :
       {"scrape_failure_log_file", "metric_name_validation_scheme", "metric_name_escaping_scheme"})
    section.ignored(key, "it has no effect here");

  job.fingerprint = std::to_string(hash64(YAML::Dump(node) + '\n' + global_text_));
  into_.jobs.push_back(std::move(job));
}

}  // namespace muster::app
