#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace muster::store {

// A file of migrations/, built into the program.
struct Migration {
  int version = 0;
  std::string_view name;  // 0001_log.sql
  std::string_view sql;
};

// All of them, ascending and without a gap.
std::span<const Migration> migrations();

// How a database stands to the migrations that this program knows.
struct SchemaState {
  enum class Is {
    current,
    behind,   // `muster migrate` brings it forward
    ahead,    // a newer muster was here: this one must not write
    changed,  // a file that was applied is another one now
  };
  Is is = Is::current;
  int version = 0;   // the last one applied; 0: none
  std::string what;  // in words, with what to do; empty when current
};

// Reads, changes nothing. Throws Unavailable or Rejected.
SchemaState check(const std::string& dsn, std::span<const Migration> known = migrations());

// The database is ahead or changed; a person has to look.
struct SchemaRefused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Applies what is missing, each file in one transaction with its line in schema_version, and returns the
// names of those it applied. Several may call at once: one works, the others wait and find it done. What a
// failed one left is nothing. Throws SchemaRefused, Unavailable or Rejected.
std::vector<std::string> migrate(const std::string& dsn,
                                 std::span<const Migration> known = migrations());

}  // namespace muster::store
