#pragma once

#include <memory>
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

  // Gives a batch up: readers may step over its number.
  void write_void(LogPosition position, Timestamp written_at);

  const WriteTimes& times() const { return times_; }

 private:
  Connection& connection();
  void write_names(const Commit& commit);
  static std::size_t tuple_bytes(std::size_t sets, std::size_t values, bool full);
  void encode(const Commit& commit);

  std::string dsn_;
  std::optional<Connection> connection_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  WriteTimes times_;
};

}  // namespace muster::store
