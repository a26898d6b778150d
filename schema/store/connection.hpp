#pragma once

#include <libpq-fe.h>

#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "schema/time.hpp"

// Plain libpq, owned. The hot paths (write and read the log) use it; catalog and control use
// libpqxx.
namespace muster::store {

// The database is away, or it is not known whether the statement took effect. Send the same again,
// with the same keys, until it is known.
struct Unavailable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The database understood and said no: our own mistake. Sending it again changes nothing, so it is
// put aside where a person sees it.
struct Rejected : std::runtime_error {
  Rejected(std::string state, const std::string& what)
      : std::runtime_error(what), sqlstate(std::move(state)) {}
  std::string sqlstate;
};

// Whether a statement that failed with this SQLSTATE may succeed, or may even have succeeded: 08*,
// 57P0*, 53*, 40*, 55P03, 57014, 58030, XX000, 25006 and 25P03 (a standby, an idle time-out), and
// no state at all (the connection is lost). Everything else is our mistake.
bool retriable(std::string_view sqlstate);

// Throws Unavailable or Rejected.
[[noreturn]] void fail(std::string_view sqlstate, const std::string& what);

struct ConnectOptions {
  // Seen in pg_stat_activity, so that a person knows which part of muster holds a connection.
  std::string application_name = "muster";
  // Longer than any statement of ours on a healthy server; a server that hangs is then noticed. 0 =
  // never.
  std::chrono::milliseconds statement_timeout{30'000};
  // A frozen process must not pin rows for ever.
  std::chrono::milliseconds idle_in_transaction_timeout{60'000};
  // libpq waits whole seconds, and at least two.
  std::chrono::seconds connect_timeout{5};
};

// The dsn, as keywords or as a URI, with the words of `options` where it has none of its own.
// Throws std::invalid_argument on a dsn that cannot be read; no password is in the message.
std::string conninfo(const std::string& dsn, const ConnectOptions& options);

// PostgreSQL counts microseconds from 2000-01-01.
inline constexpr std::int64_t pg_epoch_us = 946'684'800'000'000;
constexpr std::int64_t to_pg(Timestamp t) {
  return t.us - pg_epoch_us;
}
constexpr Timestamp from_pg(std::int64_t us) {
  return {us + pg_epoch_us};
}

// Numbers in network order, as the binary formats have them.
template <class Number>
void put(std::string& out, Number number) {
  static_assert(std::is_arithmetic_v<Number>);
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &number, sizeof bytes);
  if constexpr (std::endian::native == std::endian::little) {
    for (std::size_t i = sizeof bytes; i-- > 0;) out += bytes[i];
  } else {
    out.append(bytes, sizeof bytes);
  }
}

template <class Number>
Number get(const char* from) {
  static_assert(std::is_arithmetic_v<Number>);
  using Bits = std::conditional_t<
      sizeof(Number) == 8, std::uint64_t,
      std::conditional_t<sizeof(Number) == 4, std::uint32_t,
                         std::conditional_t<sizeof(Number) == 2, std::uint16_t, std::uint8_t>>>;
  Bits bits;
  std::memcpy(&bits, from, sizeof bits);
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof bits == 8) bits = __builtin_bswap64(bits);
    if constexpr (sizeof bits == 4) bits = __builtin_bswap32(bits);
    if constexpr (sizeof bits == 2) bits = __builtin_bswap16(bits);
  }
  return std::bit_cast<Number>(bits);
}

// Parameters of one statement, all in binary. Each call appends the next of $1, $2, …
class Params {
 public:
  Params& int2(std::int16_t value);
  Params& int4(std::int32_t value);
  Params& int8(std::int64_t value);
  Params& float8(double value);
  Params& timestamptz(Timestamp value);
  Params& text(std::string_view value);
  Params& bytea(std::string_view value);
  Params& int2_array(std::span<const std::int16_t> values);
  Params& int4_array(std::span<const std::int32_t> values);
  Params& int8_array(std::span<const std::int64_t> values);
  Params& float8_array(std::span<const double> values);
  Params& timestamptz_array(std::span<const Timestamp> values);
  Params& text_array(std::span<const std::string_view> values);
  Params& null(Oid type);

  std::size_t size() const { return types_.size(); }

 private:
  friend class Connection;
  struct Laid {  // as libpq wants them; points into this object
    std::vector<const char*> values;
    std::vector<int> lengths;
    std::vector<int> formats;
  };
  Laid laid() const;
  void begin(Oid type);
  void end() { ends_.push_back(bytes_.size()); }

  std::string bytes_;
  std::vector<Oid> types_;
  std::vector<std::size_t> ends_;
  std::vector<bool> nulls_;
};

// A result, owned.
class Rows {
 public:
  explicit Rows(PGresult* result) : result_(result) {}

  int size() const { return PQntuples(result_.get()); }
  bool null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // Bytes as the server sent them: text, or binary when it was asked for.
  std::string_view at(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column),
            static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
  }
  // A binary column. `Number` has the width of the column.
  template <class Number>
  Number number(int row, int column) const {
    return get<Number>(PQgetvalue(result_.get(), row, column));
  }
  // Rows that an INSERT, UPDATE or DELETE touched.
  std::uint64_t affected() const;

  PGresult* get_result() const { return result_.get(); }

 private:
  struct Clear {
    void operator()(PGresult* r) const { PQclear(r); }
  };
  std::unique_ptr<PGresult, Clear> result_;
};

// One connection, used by one thread at a time. It does not reconnect by itself: whoever owns the
// work knows what to send again. Every function throws Unavailable or Rejected.
class Connection {
 public:
  Connection(const std::string& dsn, const ConnectOptions& options);

  PGconn* raw() const { return connection_.get(); }

  // One or more statements without parameters; the last result, as text.
  Rows run(const std::string& sql);
  // One statement with binary parameters; the result is binary.
  Rows run(const char* sql, const Params& params);
  // Prepares under a name of the caller, then runs it as above.
  void prepare(const char* name, const char* sql, std::span<const Oid> types = {});
  Rows run_prepared(const char* name, const Params& params);

  // COPY … FROM STDIN (FORMAT binary). `begin_copy` writes no header: the caller's bytes hold all.
  void begin_copy(const char* sql);
  void put_copy(std::string_view bytes);
  std::uint64_t end_copy();  // rows copied

  // The result if it is good, else throws. Takes over `result`.
  Rows checked(PGresult* result);

 private:
  struct Finish {
    void operator()(PGconn* c) const { PQfinish(c); }
  };
  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace muster::store
