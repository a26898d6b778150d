#include "schema/series.hpp"

#include <bit>

#include "base/hash.hpp"

namespace muster {

SeriesId series_id(std::string_view model, std::string_view metric) {
  std::string bytes;
  bytes.reserve(model.size() + metric.size() + 1);
  bytes += model;
  bytes += '\xff';
  bytes += metric;
  return SeriesId{hash63(bytes)};
}

SetId set_id(const SeriesSet& set) {
  std::string bytes;
  for (const std::string* text : {&set.model, &set.attributes.version, &set.attributes.region,
                                  &set.attributes.family, &set.attributes.team}) {
    bytes += *text;
    bytes += '\xff';
  }
  // Came later, and so stands apart: a set without one keeps its id.
  if (!set.attributes.environment.empty()) {
    bytes += set.attributes.environment;
    bytes += "\xff\xff";
  }
  for (const Series& series : set.series) {
    const auto id = static_cast<std::uint64_t>(series.id);
    for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(id >> shift);
  }
  return SetId{hash63(bytes)};
}

std::string_view to_word(Kind kind) {
  constexpr std::string_view words[] = {"gauge",        "counter", "bucket",  "delta",
                                        "delta_bucket", "ratio",   "duration"};
  return words[static_cast<std::size_t>(kind)];
}

std::string_view to_word(Direction direction) {
  constexpr std::string_view words[] = {"both", "up", "down"};
  return words[static_cast<std::size_t>(direction)];
}

std::string_view to_word(Unit unit) {
  constexpr std::string_view words[] = {
      "",      "seconds", "milliseconds", "microseconds", "nanoseconds", "minutes", "hours",
      "days",  "bytes",   "ratio",        "percent",      "celsius",     "meters",  "volts",
      "amperes", "joules", "watts",       "grams",        "hertz"};
  return words[static_cast<std::size_t>(unit)];
}

double null_value() { return std::bit_cast<double>(null_bits); }
bool is_null(double value) { return std::bit_cast<std::uint64_t>(value) == null_bits; }
bool is_stale(double value) { return std::bit_cast<std::uint64_t>(value) == stale_bits; }

}  // namespace muster
