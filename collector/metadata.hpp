#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.hpp"
#include "schema/mapping.hpp"

namespace muster::collector {

// What senders say of their metric families: type, unit and help. In memory alone, as senders say it again every
// minute or with each sample. Any thread.
class Metadata {
 public:
  struct Settings {
    // A large Prometheus has some ten thousand. About 300 bytes each; later ones are counted and left out.
    std::size_t families_max = 50'000;
    // Targets of different versions describe a family differently; of more than this the oldest goes.
    std::size_t variants_max = 4;
    std::size_t name_bytes_max = 256;   // as a label's name
    std::size_t text_bytes_max = 1024;  // of help, which is cut there
  };
  struct Entry {
    std::string
        type;  // counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown
    std::string unit;
    std::string help;
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  Metadata() = default;
  explicit Metadata(Settings settings) : settings_(settings) {}

  // Text that is not UTF-8 is left out. What is known already costs a look-up.
  void add(std::string_view family, std::string_view type, std::string_view unit,
           std::string_view help);

  // What the newest entry says of the metric with this name, which may be one of a family's several:
  // x_bucket, x_sum and x_count of a histogram x.
  std::optional<MetricFacts> facts(std::string_view name) const;

  // In the order of their names, until `visit` gives false.
  using Visit = std::function<bool(const std::string& family, const std::vector<Entry>& entries)>;
  void each(const Visit& visit) const;

  std::size_t families() const;
  std::uint64_t left_out() const;  // calls of add() that kept nothing

 private:
  Settings settings_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::vector<Entry>, std::less<>> families_;  // the newest entry last
  std::uint64_t left_out_ = 0;
};

using MetadataPtr = std::shared_ptr<Metadata>;

// GET /api/v1/metadata, in Prometheus's form: ?metric=, ?limit=, ?limit_per_metric=.
http::Handler get_metadata(MetadataPtr metadata);

}  // namespace muster::collector
