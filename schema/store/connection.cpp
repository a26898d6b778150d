#include "schema/store/connection.hpp"

#include <cstdlib>
#include <map>
#include <new>

namespace muster::store {
namespace {

// Object ids of built-in types; they are fixed in PostgreSQL's catalog.
namespace oid {
constexpr Oid bytea = 17, int8 = 20, int2 = 21, int4 = 23, text = 25, float8 = 701,
              timestamptz = 1184;
constexpr Oid int2_array = 1005, int4_array = 1007, text_array = 1009, int8_array = 1016,
              float8_array = 1022, timestamptz_array = 1185;
}  // namespace oid

std::string trimmed(const char* message) {
  std::string text = message ? message : "";
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? "the connection is lost" : text;
}

// The head of a binary array: dimensions, has nulls, element type, length, lower bound. An empty
// array has no dimension.
void put_array_head(std::string& out, Oid element, std::size_t count) {
  put<std::int32_t>(out, count == 0 ? 0 : 1);
  put<std::int32_t>(out, 0);
  put<std::uint32_t>(out, element);
  if (count == 0) return;
  put<std::int32_t>(out, static_cast<std::int32_t>(count));
  put<std::int32_t>(out, 1);
}

template <class Number>
void put_array(std::string& out, Oid element, std::span<const Number> values) {
  put_array_head(out, element, values.size());
  for (const Number value : values) {
    put<std::int32_t>(out, sizeof value);
    put(out, value);
  }
}

}  // namespace

bool retriable(std::string_view s) {
  if (s.empty()) return true;
  return s.starts_with("08") || s.starts_with("57P0") || s.starts_with("53") ||
         s.starts_with("40") || s == "55P03" || s == "57014" || s == "58030" || s == "XX000" ||
         s == "25006" || s == "25P03";
}

void fail(std::string_view sqlstate, const std::string& what) {
  if (retriable(sqlstate)) {
    throw Unavailable(sqlstate.empty() ? what : what + " (" + std::string(sqlstate) + ")");
  }
  throw Rejected(std::string(sqlstate), what + " (" + std::string(sqlstate) + ")");
}

std::string conninfo(const std::string& dsn, const ConnectOptions& options) {
  const auto millis = [](std::chrono::milliseconds d) { return std::to_string(d.count()); };
  std::map<std::string, std::string> words{
      {"application_name", options.application_name},
      {"client_encoding", "UTF8"},
      {"connect_timeout", std::to_string(options.connect_timeout.count())},
      // A host that vanished without a word is noticed within half a minute, not after hours.
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", "25000"},
      {"options", "-c statement_timeout=" + millis(options.statement_timeout) +
                      " -c idle_in_transaction_session_timeout=" +
                      millis(options.idle_in_transaction_timeout)},
  };

  char* complaint = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> read(
      PQconninfoParse(dsn.c_str(), &complaint), PQconninfoFree);
  if (!read) {
    PQfreemem(complaint);  // it quotes the dsn, and with it perhaps a password
    throw std::invalid_argument(
        "the dsn cannot be read; it looks like postgresql://user@host:5432/muster or "
        "\"host=... port=5432 user=... dbname=muster\"");
  }
  for (const PQconninfoOption* o = read.get(); o->keyword; ++o) {
    if (o->val) words[o->keyword] = o->val;
  }

  std::string line;
  for (const auto& [word, value] : words) {
    line += line.empty() ? "" : " ";
    line += word + "='";
    for (const char c : value) {
      if (c == '\'' || c == '\\') line += '\\';
      line += c;
    }
    line += '\'';
  }
  return line;
}

Params& Params::int2(std::int16_t value) {
  begin(oid::int2);
  put(bytes_, value);
  return end(), *this;
}
Params& Params::int4(std::int32_t value) {
  begin(oid::int4);
  put(bytes_, value);
  return end(), *this;
}
Params& Params::int8(std::int64_t value) {
  begin(oid::int8);
  put(bytes_, value);
  return end(), *this;
}
Params& Params::float8(double value) {
  begin(oid::float8);
  put(bytes_, value);
  return end(), *this;
}
Params& Params::timestamptz(Timestamp value) {
  begin(oid::timestamptz);
  put(bytes_, to_pg(value));
  return end(), *this;
}
Params& Params::text(std::string_view value) {
  begin(oid::text);
  bytes_ += value;
  return end(), *this;
}
Params& Params::bytea(std::string_view value) {
  begin(oid::bytea);
  bytes_ += value;
  return end(), *this;
}
Params& Params::int2_array(std::span<const std::int16_t> values) {
  begin(oid::int2_array);
  put_array(bytes_, oid::int2, values);
  return end(), *this;
}
Params& Params::int4_array(std::span<const std::int32_t> values) {
  begin(oid::int4_array);
  put_array(bytes_, oid::int4, values);
  return end(), *this;
}
Params& Params::int8_array(std::span<const std::int64_t> values) {
  begin(oid::int8_array);
  put_array(bytes_, oid::int8, values);
  return end(), *this;
}
Params& Params::float8_array(std::span<const double> values) {
  begin(oid::float8_array);
  put_array(bytes_, oid::float8, values);
  return end(), *this;
}
Params& Params::timestamptz_array(std::span<const Timestamp> values) {
  begin(oid::timestamptz_array);
  put_array_head(bytes_, oid::timestamptz, values.size());
  for (const Timestamp value : values) {
    put<std::int32_t>(bytes_, 8);
    put(bytes_, to_pg(value));
  }
  return end(), *this;
}
Params& Params::text_array(std::span<const std::string_view> values) {
  begin(oid::text_array);
  put_array_head(bytes_, oid::text, values.size());
  for (const std::string_view value : values) {
    put<std::int32_t>(bytes_, static_cast<std::int32_t>(value.size()));
    bytes_ += value;
  }
  return end(), *this;
}
Params& Params::null(Oid type) {
  begin(type);
  nulls_.back() = true;
  return end(), *this;
}

void Params::begin(Oid type) {
  types_.push_back(type);
  nulls_.push_back(false);
}

Params::Laid Params::laid() const {
  Laid laid;
  std::size_t from = 0;
  for (std::size_t i = 0; i < size(); from = ends_[i++]) {
    laid.values.push_back(nulls_[i] ? nullptr : bytes_.data() + from);
    laid.lengths.push_back(static_cast<int>(ends_[i] - from));
    laid.formats.push_back(1);
  }
  return laid;
}

std::uint64_t Rows::affected() const {
  const char* text = PQcmdTuples(result_.get());
  return *text == '\0' ? 0 : std::strtoull(text, nullptr, 10);
}

Connection::Connection(const std::string& dsn, const ConnectOptions& options) {
  connection_.reset(PQconnectdb(conninfo(dsn, options).c_str()));
  if (!connection_) throw std::bad_alloc();
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw Unavailable("cannot connect: " + trimmed(PQerrorMessage(connection_.get())));
  }
}

Rows Connection::checked(PGresult* result) {
  if (!result) throw Unavailable(trimmed(PQerrorMessage(connection_.get())));
  Rows rows(result);
  switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_EMPTY_QUERY:
      return rows;
    default:
      break;
  }
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  // Without a connection nothing is known, whatever the last message was.
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw Unavailable(trimmed(PQresultErrorMessage(result)));
  }
  fail(state ? state : "", trimmed(PQresultErrorMessage(result)));
}

Rows Connection::run(const std::string& sql) {
  return checked(PQexec(connection_.get(), sql.c_str()));
}

Rows Connection::run(const char* sql, const Params& p) {
  const Params::Laid laid = p.laid();
  return checked(PQexecParams(connection_.get(), sql, static_cast<int>(p.size()), p.types_.data(),
                              laid.values.data(), laid.lengths.data(), laid.formats.data(), 1));
}

void Connection::prepare(const char* name, const char* sql, std::span<const Oid> types) {
  checked(PQprepare(connection_.get(), name, sql, static_cast<int>(types.size()),
                    types.empty() ? nullptr : types.data()));
}

Rows Connection::run_prepared(const char* name, const Params& p) {
  const Params::Laid laid = p.laid();
  return checked(PQexecPrepared(connection_.get(), name, static_cast<int>(p.size()),
                                laid.values.data(), laid.lengths.data(), laid.formats.data(), 1));
}

void Connection::begin_copy(const char* sql) {
  const Rows rows = checked(PQexec(connection_.get(), sql));
  if (PQresultStatus(rows.get_result()) != PGRES_COPY_IN)
    throw Rejected("", std::string("not a COPY FROM STDIN: ") + sql);
}

void Connection::put_copy(std::string_view bytes) {
  if (PQputCopyData(connection_.get(), bytes.data(), static_cast<int>(bytes.size())) != 1) {
    throw Unavailable(trimmed(PQerrorMessage(connection_.get())));
  }
}

std::uint64_t Connection::end_copy() {
  if (PQputCopyEnd(connection_.get(), nullptr) != 1) {
    throw Unavailable(trimmed(PQerrorMessage(connection_.get())));
  }
  std::uint64_t count = 0;
  // Results are read to the end, so that the connection is ready for the next statement. The first
  // error is the one to tell.
  std::unique_ptr<PGresult, void (*)(PGresult*)> bad(nullptr, PQclear);
  while (PGresult* result = PQgetResult(connection_.get())) {
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
      count = Rows(result).affected();
    } else if (!bad) {
      bad.reset(result);
    } else {
      PQclear(result);
    }
  }
  if (bad) checked(bad.release());
  return count;
}

}  // namespace muster::store
