#include "base/log.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>

namespace muster::log {
namespace {

std::atomic<Level> least{Level::info};

std::string_view name(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "error";
}

// A value stands bare when it is one plain word, else quoted with its quotes, backslashes and control
// characters escaped, so that a line stays a line.
void append_value(std::string& out, std::string_view value) {
  const bool bare = !value.empty() && value.find_first_of(" \"\\=\n\r\t") == value.npos;
  if (bare) {
    out += value;
    return;
  }
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

void set_level(Level level) { least = level; }

void write(Level level, std::string_view event, std::initializer_list<Fact> facts) {
  if (level < least.load(std::memory_order_relaxed)) return;

  const auto now = std::chrono::system_clock::now();
  const auto millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = millis / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);

  std::string line = fmt::format("ts={:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z level={} event={}",
                                 utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                                 utc.tm_min, utc.tm_sec, millis % 1000, name(level), event);
  for (const Fact& fact : facts) {
    line += ' ';
    line += fact.key;
    line += '=';
    append_value(line, fact.value);
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace muster::log
