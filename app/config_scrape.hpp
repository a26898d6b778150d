#pragma once

#include <string>

#include "app/yaml_reader.hpp"
#include "collector/scrape/settings.hpp"

namespace muster::app {

// `global` and `scrape_configs`, with Prometheus's keys and defaults; its keys that have no effect here are
// warned of, those that cannot be had are faults that say what there is instead.
//
// path  of the config: paths in it are relative to it
class ScrapeReader {
 public:
  ScrapeReader(Problems& problems, std::string path, scrape::Settings& into)
      : problems_(problems), path_(std::move(path)), into_(into) {}

  void read_global(Section& global);
  void read_jobs(Section& top);

 private:
  void read_job(const YAML::Node& node);
  void read_limits(Section& section, scrape::Job& job);
  void read_protocols(Section& section, scrape::Job& job);
  void read_params(Section& section, scrape::Job& job);
  void read_http(Section& section, scrape::HttpSettings& into);
  void read_secret(Section& section, const std::string& key, scrape::Secret& into);
  void read_statics(Section& section, scrape::Job& job);
  void read_files(Section& section, scrape::Job& job);
  void read_names(Section& section, scrape::Job& job);
  void read_lists(Section& section, scrape::Job& job);
  void read_rules(Section& section, const std::string& key, std::vector<decode::RelabelRule>& into);
  void read_labels(Section& section, const std::string& key, Labels& into);
  std::string absolute(const std::string& file) const;

  Problems& problems_;
  std::string path_;
  scrape::Settings& into_;
  scrape::Job usual_;        // with what `global` says
  std::string global_text_;  // part of each job's fingerprint
};

}  // namespace muster::app
