#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schema/samples.hpp"

namespace muster::decode {

// What a request may be. Each bound keeps one sender from taking the memory or the time of all.
struct Limits {
  std::size_t decoded_bytes_max =
      64u << 20;                     // after decompression; a Prometheus request is about 0.3 MiB
  std::size_t series_max = 500'000;  // in one request, so that one look-up pass stays short
  std::size_t samples_max = 2'000'000;     // in one request: two seconds of a busy collector
  // Of remote write 2.0: a table entry takes 24 bytes here, and may take two there.
  std::size_t symbols_max = 2'000'000;
  // Labels written out for series that a request names by references or in a native histogram. As much as a
  // request of 1.0 could hold, and as much again: references make a request small, and must not fill the memory.
  std::size_t built_bytes_max = 128u << 20;
  std::size_t line_bytes_max = 64u << 10;  // of one NDJSON line; a usual one has 150
  // Families that one request may describe: a Prometheus sends 500 at a time. The rest is counted and left out.
  std::size_t families_max = 20'000;
};

// Bounds of one label set. They are part of what a stored series is, so they are not settings.
inline constexpr std::size_t labels_max = 64;
inline constexpr std::size_t name_bytes_max = 256;
inline constexpr std::size_t value_bytes_max = 2048;
inline constexpr std::size_t metric_bytes_max = 8192;  // the name with the labels that are left

// Read and left out, because this version keeps none of them. Counted, so that it shows.
struct Skipped {
  std::uint64_t exemplars = 0;
  std::uint64_t families = 0;  // beyond Limits::families_max
  std::uint64_t texts = 0;     // fields of Influx lines that are texts
};

// Error::where when a body is another version's than its Content-Type says: to its reader it would be empty.
inline constexpr std::string_view wrong_version = "Content-Type";

// What a request says of a metric family, as it stands in its bytes.
struct FamilyView {
  std::string_view name;
  std::string_view type;  // as in MetricFacts; a word of ours, not of the request
  std::string_view unit;
  std::string_view help;
};

// The word for remote write's MetricType, 1.0 and 2.0; "unknown" for 0 and for what is not defined.
std::string_view metric_type(std::uint64_t number);

// A request's samples and what had to be left out of them.
struct Decoded {
  SampleBatch batch;
  std::vector<Rejected> rejected;    // the first rejected_max, in order
  std::uint64_t rejected_count = 0;  // all of them
  std::uint32_t lines = 0;           // NDJSON: lines read, blank ones too
  Skipped skipped;
  std::vector<FamilyView> families;  // valid for as long as the bytes of `batch` and `text`
  std::vector<char> text;            // of the request, when `batch` does not hold it

  // A native histogram that became classic points, which stand together.
  struct Histogram {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  std::vector<Histogram> histograms;  // ascending
  // How many the request held, whether they were taken or not: each histogram as one.
  std::uint64_t samples_sent = 0;
  std::uint64_t histograms_sent = 0;

  static constexpr std::size_t rejected_max = 100;
  void reject(std::uint32_t line, std::string what, std::string series = {},
              std::uint64_t count = 1) {
    if (rejected.size() < rejected_max)
      rejected.push_back({line, std::move(what), std::move(series)});
    rejected_count += count;
  }
};

}  // namespace muster::decode
