#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schema/samples.hpp"

namespace muster::decode {

// What a request may be. Each bound keeps one sender from taking the memory or the time of all.
struct Limits {
  std::size_t decoded_bytes_max =
      64u << 20;                     // after decompression; a Prometheus request is about 0.3 MiB
  std::size_t series_max = 500'000;  // in one request, so that one look-up pass stays short
  std::size_t samples_max = 2'000'000;     // in one request: two seconds of a busy collector
  std::size_t line_bytes_max = 64u << 10;  // of one NDJSON line; a usual one has 150
};

// Bounds of one label set. They are part of what a stored series is, so they are not settings.
inline constexpr std::size_t labels_max = 64;
inline constexpr std::size_t name_bytes_max = 256;
inline constexpr std::size_t value_bytes_max = 2048;
inline constexpr std::size_t metric_bytes_max = 8192;  // the name with the labels that are left

// Read and left out, because this version keeps none of them. Counted, so that it shows.
struct Skipped {
  std::uint64_t metadata = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t histograms = 0;  // native ones
};

// A request's samples and what had to be left out of them.
struct Decoded {
  SampleBatch batch;
  std::vector<Rejected> rejected;    // the first rejected_max, in order
  std::uint64_t rejected_count = 0;  // all of them
  std::uint32_t lines = 0;           // NDJSON: lines read, blank ones too
  Skipped skipped;

  static constexpr std::size_t rejected_max = 100;
  void reject(std::uint32_t line, std::string what) {
    if (rejected.size() < rejected_max) rejected.push_back({line, std::move(what)});
    ++rejected_count;
  }
};

}  // namespace muster::decode
