#include "app/config_storage.hpp"

#include <array>
#include <charconv>

#include "app/config.hpp"

namespace muster::app {
namespace {

// "200GB", "1.5TiB" or a plain number of bytes.
std::optional<std::uint64_t> bytes_of(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  static constexpr std::array units{Unit{"", 1},
                                    Unit{"MB", 1e6},
                                    Unit{"GB", 1e9},
                                    Unit{"TB", 1e12},
                                    Unit{"MiB", 1024.0 * 1024},
                                    Unit{"GiB", 1024.0 * 1024 * 1024},
                                    Unit{"TiB", 1024.0 * 1024 * 1024 * 1024}};
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, fault] = std::from_chars(text.data(), end, number);
  std::string_view rest(stop, static_cast<std::size_t>(end - stop));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  for (const Unit& unit : units) {
    if (fault != std::errc{} || unit.name != rest) continue;
    const double bytes = number * unit.bytes;
    if (bytes >= 0 && bytes < 1e18) return static_cast<std::uint64_t>(bytes);
  }
  return std::nullopt;
}

}  // namespace

void read_storage_life(Problems& problems, Section& storage, StorageLife& into) {
  store::Retention& kept = into.retention;
  if (const auto node = storage.take("retention"); node && node->IsMap()) {
    Section section(problems, *node, "retention");
    section.duration("raw", kept.raw);
    section.duration("1m", kept.minute);
    section.duration("5m", kept.five_minutes);
    section.duration("1h", kept.hour);
    section.duration("1d", kept.day);
    for (const auto& [key, value] : {std::pair("1m", kept.minute), std::pair("5m", kept.five_minutes), std::pair("1h", kept.hour), std::pair("1d", kept.day)})
      if (value < std::chrono::hours(1)) section.fault(key, "an hour is the least that can be kept");
    if (kept.raw < std::chrono::hours(1)) section.fault("raw", "an hour is the least that can be kept");
  } else {
    // One length is that of the samples; their rollups are kept as long as ever, and at least as long.
    storage.duration("retention", kept.raw);
    if (kept.raw < std::chrono::hours(1)) storage.fault("retention", "an hour is the least that can be kept");
    for (Duration* level : {&kept.minute, &kept.five_minutes, &kept.hour, &kept.day}) *level = std::max(*level, kept.raw);
  }
  storage.duration("compact_after", into.compact_after);
  if (into.compact_after < std::chrono::minutes(1) || into.compact_after > std::chrono::hours(24))
    storage.fault("compact_after", "compact_after has to be from 1m to 24h");
  if (storage.has("disk_max")) {
    std::string text;
    storage.text("disk_max", text);
    into.disk_max = bytes_of(text);
    constexpr std::uint64_t least = 100'000'000;
    if (!into.disk_max || *into.disk_max < least)
      storage.fault("disk_max", "disk_max is a size from 100MB on, written like 200GB or 1.5TiB");
  }
  storage.take("disk_max");
}

}  // namespace muster::app
