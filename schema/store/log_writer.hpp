#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "schema/log.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/registry.hpp"

namespace muster::store {

// What one transaction makes of a piece. A resend is the same value again: same keys, same written_at.
struct Commit {
  LogPosition position;
  Timestamp written_at;
  Piece piece;
};

// Where the time of commits went, in seconds of this thread's CPU, but for `waited`.
struct WriteTimes {
  double encode = 0;  // rows to COPY's binary form
  double send = 0;    // to libpq and the socket
  double waited =
      0;  // for the server, wall clock: the end of the COPY, and the commit with its fsync
};

// Writes pieces of the log, one transaction each, over one connection: the series and sets that are new,
// the batch's own row, and the rows by binary COPY. The batch's row goes first and decides: whoever finds it
// there knows that the whole transaction was committed before, so sending a commit again is always right.
class LogWriter {
 public:
  explicit LogWriter(std::string dsn) : dsn_(std::move(dsn)) {}

  // Returns once it is committed, by this call or an earlier one. Throws Unavailable when that is not known:
  // call again with the same commit, the connection is made anew. Throws Rejected when it never will be.
  void write(const Commit& commit);

  // Gives a batch up: readers may step over its number. Its names are needed by later rows all the same, and
  // are written unless they are what is refused.
  void write_void(const Commit& commit, bool with_names);

  // From any thread: ends what is under way, which then throws Unavailable, and all that would follow. For a
  // database that does not answer when we have to stop.
  void abandon();

  const WriteTimes& times() const { return times_; }

 private:
  enum class Outcome { known, names_met };

  Connection& connection();
  void disconnect();
  Outcome try_write(const Commit& commit, bool apart);
  // A stream of a COPY in binary form, in memory that is kept for the next.
  struct Buffer {
    std::unique_ptr<char[]> data;
    std::size_t size = 0, capacity = 0;
    void begin();
    char* room(std::size_t bytes);
    void end();
  };

  void encode_names(const Commit& commit);
  void write_names_apart(const Commit& commit);
  static std::size_t tuple_bytes(std::size_t sets, std::size_t values, bool full);
  void encode(const Commit& commit);

  std::string dsn_;
  std::mutex closing_;  // guards the making and the end of `connection_`
  std::optional<Connection> connection_;
  bool abandoned_ = false;
  Buffer series_, sets_, rows_;
  WriteTimes times_;
};

}  // namespace muster::store
