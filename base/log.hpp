#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

// The log of the IO side. A line is an event and its facts:
//
//   level=warn event=ingest.refused sender=ranker-eu reason="body over 32 MiB"
//
// Log where a thing is handled, once. Pure code does not log.
namespace muster::log {

enum class Level { debug, info, warn, error };

struct Fact {
  std::string_view key;
  std::string value;

  Fact(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Fact(std::string_view k, const char* v) : key(k), value(v) {}
  Fact(std::string_view k, std::string_view v) : key(k), value(v) {}
  template <class Number>
    requires(std::is_arithmetic_v<Number>)
  Fact(std::string_view k, Number v) : key(k), value(std::to_string(v)) {}
};

// Lines below this level are dropped; info at the start. Any thread may call.
void set_level(Level level);

// Writes one line to standard error, whole, from any thread.
void write(Level level, std::string_view event, std::initializer_list<Fact> facts = {});

inline void debug(std::string_view e, std::initializer_list<Fact> f = {}) { write(Level::debug, e, f); }
inline void info(std::string_view e, std::initializer_list<Fact> f = {}) { write(Level::info, e, f); }
inline void warn(std::string_view e, std::initializer_list<Fact> f = {}) { write(Level::warn, e, f); }
inline void error(std::string_view e, std::initializer_list<Fact> f = {}) { write(Level::error, e, f); }

}  // namespace muster::log
