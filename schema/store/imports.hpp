#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "schema/time.hpp"

namespace muster::store {

// How far an import of history has come.
struct ImportProgress {
  std::string cursor;  // in the words of whoever reads the source; all before it is committed
  std::uint64_t samples = 0;
};

// A learning from all that is stored, as the aggregator is to do it.
struct Relearning {
  std::int64_t number = 0;
  Timestamp pages_from;                // nothing that opens before it may wake anybody
  std::uint64_t incidents_before = 0;  // the highest number of an incident that was there
};

// What muster remembers of imports, in the control database. One connection, one thread at a time. Every function
// throws Unavailable (call again with the same arguments) or Rejected.
class Imports {
 public:
  // The name of import's collectors: their samples are history, and no tick of the live fleet is made of them.
  static constexpr const char* collector_name = "import";

  explicit Imports(std::string dsn);
  ~Imports();
  Imports(const Imports&) = delete;
  Imports& operator=(const Imports&) = delete;

  std::optional<ImportProgress> progress(const std::string& source);
  // Called again with the same cursor it changes nothing.
  void advance(const std::string& source, const std::string& cursor, std::uint64_t samples_more);

  // Asks for a learning when imports brought samples since the last one; whether one waits now. One that waits
  // already takes the later of the two times.
  bool want_relearning(Timestamp pages_from);
  std::optional<Relearning> wanted_relearning();
  void relearned(const Relearning& done);
  // Of the last one that was done or is wanted.
  std::optional<Timestamp> pages_from();

  bool is_import(std::int64_t collector);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster::store
