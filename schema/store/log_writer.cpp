#include "schema/store/log_writer.hpp"

#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <chrono>
#include <cstring>

#include "schema/store/partitions.hpp"

namespace muster::store {
namespace {

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::int32_t array_head_bytes = 20;

// Writes numbers in network order into room that the caller made.
class Bytes {
 public:
  explicit Bytes(char* at) : at_(at) {}
  char* at() const { return at_; }

  void int2(std::int16_t v) { raw(__builtin_bswap16(static_cast<std::uint16_t>(v))); }
  void int4(std::int32_t v) { raw(__builtin_bswap32(static_cast<std::uint32_t>(v))); }
  void int8(std::int64_t v) { raw(__builtin_bswap64(static_cast<std::uint64_t>(v))); }

  // A field of a row, or an element of an array: its length and its bytes.
  void field2(std::int16_t v) { int4(2), int2(v); }
  void field4(std::int32_t v) { int4(4), int4(v); }
  void field8(std::int64_t v) { int4(8), int8(v); }
  void null() { int4(-1); }

  void text(std::string_view v) {
    int4(static_cast<std::int32_t>(v.size()));
    std::memcpy(at_, v.data(), v.size());
    at_ += v.size();
  }

  // The length of a field that is an array, and the array's head.
  void array_head(std::int32_t element_bytes, Oid element, std::size_t count) {
    int4(array_head_bytes + static_cast<std::int32_t>(count) * (4 + element_bytes));
    int4(1);  // dimension
    int4(0);  // no nulls
    int4(static_cast<std::int32_t>(element));
    int4(static_cast<std::int32_t>(count));
    int4(1);  // lower bound
  }

 private:
  static_assert(std::endian::native == std::endian::little);
  template <class Bits>
  void raw(Bits bits) {
    std::memcpy(at_, &bits, sizeof bits);
    at_ += sizeof bits;
  }
  char* at_;
};

constexpr Oid int8_oid = 20, int2_oid = 21, int4_oid = 23, float8_oid = 701;
// A heap tuple of 8,160 bytes fills a page of PostgreSQL.
constexpr std::size_t tuple_bytes_max = 8'100;
constexpr char copy_magic[] = "PGCOPY\n\377\r\n";  // and its closing NUL: 11 bytes
constexpr std::size_t copy_head_bytes = sizeof copy_magic + 8;
constexpr std::size_t send_bytes = 256u
                                   << 10;  // at a time: stays in cache on its way through libpq

std::string literal(Timestamp t) {
  // Exact: PostgreSQL adds microseconds as integers.
  return "(timestamptz 'epoch' + interval '" + std::to_string(t.us) + " microseconds')";
}

std::string batch_row(LogPosition p, Timestamp written_at, std::size_t rows, std::size_t samples,
                      const std::string& ts_min, const std::string& ts_max) {
  return "INSERT INTO sample_batch (shard, collector_id, batch_id, written_at, row_count, "
         "sample_count,"
         " ts_min, ts_max) VALUES (" +
         std::to_string(p.shard) + "," + std::to_string(p.collector) + "," +
         std::to_string(p.batch) + "," + literal(written_at) + "," + std::to_string(rows) + "," +
         std::to_string(samples) + "," + ts_min + "," + ts_max + ") ON CONFLICT DO NOTHING";
}

}  // namespace

Connection& LogWriter::connection() {
  if (!connection_) {
    ConnectOptions options;
    options.application_name = "muster ingest";
    Connection made(dsn_, options);
    const std::lock_guard lock(closing_);
    if (abandoned_) throw Unavailable("given up");
    connection_.emplace(std::move(made));
  }
  return *connection_;
}

void LogWriter::disconnect() {
  const std::lock_guard lock(closing_);
  connection_.reset();
}

void LogWriter::abandon() {
  const std::lock_guard lock(closing_);
  abandoned_ = true;
  if (connection_) ::shutdown(PQsocket(connection_->raw()), SHUT_RDWR);
}

namespace {

// A series of `set` that has no row yet.
struct NewName {
  const SeriesSet* set;
  const Series* series;
};

// Rows that other collectors may write at the same moment are sorted, so that two never wait for each other;
// and neighbours in the index are written together.
std::vector<NewName> sorted_names(const Piece& piece) {
  std::vector<NewName> names;
  for (const NewSeries& fresh : piece.unsaved_series)
    for (std::size_t slot = fresh.from; slot < fresh.set->series.size(); ++slot)
      names.push_back({fresh.set.get(), &fresh.set->series[slot]});
  std::sort(names.begin(), names.end(),
            [](const NewName& a, const NewName& b) { return a.series->id < b.series->id; });
  return names;
}

std::vector<const SeriesSet*> sorted_sets(const Piece& piece) {
  std::vector<const SeriesSet*> sets;
  for (const SeriesSetPtr& set : piece.unsaved_sets) sets.push_back(set.get());
  std::sort(sets.begin(), sets.end(),
            [](const SeriesSet* a, const SeriesSet* b) { return a->id < b->id; });
  return sets;
}

constexpr char series_copy[] =
    "COPY series (shard, series_id, model, metric, kind, direction, unit)"
    " FROM STDIN (FORMAT binary);";
constexpr char sets_copy[] =
    "COPY series_set (shard, set_id, model, version, region, family, team, environment, series_ids)"
    " FROM STDIN (FORMAT binary);";

}  // namespace

// Room for `bytes` more behind what is there.
char* LogWriter::Buffer::room(std::size_t bytes) {
  if (size + bytes > capacity) {
    const std::size_t wanted = size + bytes + (size + bytes) / 2;
    std::unique_ptr<char[]> larger(new char[wanted]);
    std::memcpy(larger.get(), data.get(), size);
    data = std::move(larger);
    capacity = wanted;
  }
  return data.get() + size;
}

void LogWriter::Buffer::begin() {
  size = 0;
  char* const at = room(copy_head_bytes);
  std::memset(at, 0, copy_head_bytes);  // flags and header extension: none
  std::memcpy(at, copy_magic, sizeof copy_magic);
  size = copy_head_bytes;
}

void LogWriter::Buffer::end() {
  Bytes out(room(2));
  out.int2(-1);
  size += 2;
}

void LogWriter::encode_names(const Commit& commit) {
  series_.begin();
  for (const NewName& name : sorted_names(commit.piece)) {
    char* const at = series_.room(96 + name.set->model.size() + name.series->metric.size());
    Bytes out(at);
    out.int2(7);
    out.field4(commit.position.shard);
    out.field8(static_cast<std::int64_t>(name.series->id));
    out.text(name.set->model);
    out.text(name.series->metric);
    out.field2(static_cast<std::int16_t>(name.series->kind));
    out.field2(static_cast<std::int16_t>(name.series->direction));
    out.field2(static_cast<std::int16_t>(name.series->unit));
    series_.size += static_cast<std::size_t>(out.at() - at);
  }
  series_.end();

  sets_.begin();
  for (const SeriesSet* set : sorted_sets(commit.piece)) {
    const ModelAttributes& attributes = set->attributes;
    std::size_t bytes = set->model.size() + set->series.size() * 12 + 128;
    const std::string* const parts[] = {&attributes.version, &attributes.region,
                                        &attributes.family, &attributes.team,
                                        &attributes.environment};
    for (const std::string* part : parts) bytes += part->size();
    char* const at = sets_.room(bytes);
    Bytes out(at);
    out.int2(9);
    out.field4(commit.position.shard);
    out.field8(static_cast<std::int64_t>(set->id));
    out.text(set->model);
    for (const std::string* part : parts) out.text(*part);
    out.array_head(8, int8_oid, set->series.size());
    for (const Series& series : set->series) out.field8(static_cast<std::int64_t>(series.id));
    sets_.size += static_cast<std::size_t>(out.at() - at);
  }
  sets_.end();
}

// What another collector, or an earlier try, has named already is left as it is. ON CONFLICT looks at each row twice,
// so only when a COPY met such a row.
void LogWriter::write_names_apart(const Commit& commit) {
  const std::vector<NewName> names = sorted_names(commit.piece);
  if (!names.empty()) {
    std::vector<std::int64_t> ids;
    std::vector<std::string_view> models, metrics;
    std::vector<std::int16_t> kinds, directions, units;
    for (const NewName& name : names) {
      ids.push_back(static_cast<std::int64_t>(name.series->id));
      models.push_back(name.set->model);
      metrics.push_back(name.series->metric);
      kinds.push_back(static_cast<std::int16_t>(name.series->kind));
      directions.push_back(static_cast<std::int16_t>(name.series->direction));
      units.push_back(static_cast<std::int16_t>(name.series->unit));
    }
    Params params;
    params.int4(commit.position.shard)
        .int8_array(ids)
        .text_array(models)
        .text_array(metrics)
        .int2_array(kinds)
        .int2_array(directions)
        .int2_array(units);
    connection().run(
        "INSERT INTO series (shard, series_id, model, metric, kind, direction, unit)"
        " SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::smallint[],"
        " $6::smallint[], $7::smallint[])"
        " ON CONFLICT DO NOTHING",
        params);
  }
  const std::vector<const SeriesSet*> sorted = sorted_sets(commit.piece);
  if (!sorted.empty()) {
    std::vector<std::int64_t> ids, members;
    std::vector<std::int32_t> firsts, lasts;
    std::vector<std::string_view> models, versions, regions, families, teams, environments;
    for (const SeriesSet* set : sorted) {
      ids.push_back(static_cast<std::int64_t>(set->id));
      models.push_back(set->model);
      versions.push_back(set->attributes.version);
      regions.push_back(set->attributes.region);
      families.push_back(set->attributes.family);
      teams.push_back(set->attributes.team);
      environments.push_back(set->attributes.environment);
      firsts.push_back(static_cast<std::int32_t>(members.size()) + 1);
      for (const Series& series : set->series)
        members.push_back(static_cast<std::int64_t>(series.id));
      lasts.push_back(static_cast<std::int32_t>(members.size()));
    }
    // The members of all sets travel as one array, of which each row takes its slice.
    Params params;
    params.int4(commit.position.shard).int8_array(ids).text_array(models).text_array(versions);
    params.text_array(regions).text_array(families).text_array(teams).text_array(environments);
    params.int4_array(firsts).int4_array(lasts).int8_array(members);
    connection().run(
        "INSERT INTO series_set"
        " (shard, set_id, model, version, region, family, team, environment, series_ids)"
        " SELECT $1, s.id, s.model, s.version, s.region, s.family, s.team, s.environment,"
        " ($11::bigint[])[s.f : s.l]"
        " FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],"
        " $8::text[], $9::int[], $10::int[])"
        " AS s (id, model, version, region, family, team, environment, f, l)"
        " ON CONFLICT DO NOTHING",
        params);
  }
}

// Rows of the table: as many sets as fit into a page, all of them whole or none. What a heap tuple of them
// takes, generously: its head and fixed columns, then a varlena and array head a column.
std::size_t LogWriter::tuple_bytes(std::size_t sets, std::size_t values, bool full) {
  constexpr std::size_t fixed = 96, array_head = 24 + 7;
  return fixed + 2 * array_head + sets * 8 + values * 8 +
         (sets > 1 ? 2 * array_head + sets * 6 : 0) + (full ? 0 : array_head + values * 2);
}

void LogWriter::encode(const Commit& commit) {
  const LogRows& rows = commit.piece.rows;
  // Eleven fields with their lengths and five array heads a row, of which there are as many as sets at most.
  rows_.begin();
  char* const begin =
      rows_.room(rows.rows.size() * (240 + 12 + 8 + 6) + rows.values.size() * 18 + 2);
  Bytes out(begin);

  const std::int64_t written_at = to_pg(commit.written_at);
  std::int32_t row_no = 0;
  for (std::size_t from = 0, to = 0; from < rows.rows.size(); from = to) {
    const LogRows::Row& first = rows.rows[from];
    std::size_t values = 0;
    bool same_ts = true;
    for (to = from; to < rows.rows.size(); ++to) {
      const LogRows::Row& row = rows.rows[to];
      const std::int64_t offset = row.ts.us - first.ts.us;
      if (row.full != first.full || offset != static_cast<std::int32_t>(offset)) break;
      if (to > from && tuple_bytes(to - from + 1, values + row.count, row.full) > tuple_bytes_max)
        break;
      same_ts = same_ts && offset == 0;
      values += row.count;
    }
    const std::size_t sets = to - from;

    out.int2(11);
    out.field4(commit.position.shard);
    out.field8(commit.position.collector);
    out.field8(commit.position.batch);
    out.field4(row_no++);
    out.field8(written_at);
    out.array_head(8, int8_oid, sets);
    for (std::size_t r = from; r < to; ++r) out.field8(static_cast<std::int64_t>(rows.rows[r].set));
    out.field8(to_pg(first.ts));
    if (same_ts) {
      out.null();
    } else {
      out.array_head(4, int4_oid, sets);
      for (std::size_t r = from; r < to; ++r)
        out.field4(static_cast<std::int32_t>(rows.rows[r].ts.us - first.ts.us));
    }
    if (sets == 1) {
      out.null();
    } else {
      out.array_head(2, int2_oid, sets);
      for (std::size_t r = from; r < to; ++r)
        out.field2(static_cast<std::int16_t>(rows.rows[r].count));
    }
    // The values of consecutive rows stand together.
    const std::uint32_t end = first.first + static_cast<std::uint32_t>(values);
    assert(end == rows.rows[to - 1].first + rows.rows[to - 1].count);
    if (first.full) {
      out.null();
    } else {
      out.array_head(2, int2_oid, values);
      for (std::uint32_t i = first.first; i < end; ++i) out.field2(rows.positions[i]);
    }
    out.array_head(8, float8_oid, values);
    for (std::uint32_t i = first.first; i < end; ++i)
      out.field8(std::bit_cast<std::int64_t>(rows.values[i]));
  }
  rows_.size += static_cast<std::size_t>(out.at() - begin);
  rows_.end();
  assert(rows_.size <= rows_.capacity);
}

void LogWriter::write(const Commit& commit) try {
  if (try_write(commit, false) == Outcome::names_met) try_write(commit, true);
} catch (const Unavailable&) {
  disconnect();
  throw;
} catch (const Rejected&) {
  disconnect();
  throw;
}

LogWriter::Outcome LogWriter::try_write(const Commit& commit, bool apart) {
  const Piece& piece = commit.piece;
  assert(!piece.rows.rows.empty());
  const double started = thread_seconds();
  encode(commit);
  const double encoded = thread_seconds();
  times_.encode += encoded - started;

  // The whole transaction is one message to the server and then its streams.
  const bool new_series = !piece.unsaved_series.empty(), new_sets = !piece.unsaved_sets.empty();
  PGconn* const raw = connection().raw();
  std::vector<const Buffer*> streams;
  std::string sql = "BEGIN;";
  if (apart) {
    connection().run("BEGIN");
    write_names_apart(commit);
    sql.clear();
  } else if (new_series || new_sets) {
    encode_names(commit);
  }
  sql += batch_row(commit.position, commit.written_at, piece.rows.rows.size(),
                   piece.rows.values.size(), literal(piece.ts_min), literal(piece.ts_max));
  sql += ';';
  if (!apart && new_series) {
    sql += series_copy;
    streams.push_back(&series_);
  }
  if (!apart && new_sets) {
    sql += sets_copy;
    streams.push_back(&sets_);
  }
  sql +=
      "COPY sample_log (shard, collector_id, batch_id, row_no, written_at, set_ids, ts, ts_off, "
      "counts, pos, vals) FROM STDIN (FORMAT binary);COMMIT";
  streams.push_back(&rows_);
  if (PQsendQuery(raw, sql.c_str()) != 1) throw Unavailable(PQerrorMessage(raw));

  bool already = false;  // the batch's row was there: an earlier try was committed
  std::size_t sent = 0;
  std::optional<Rejected> refused;
  const auto next = [&] {
    const double waiting = wall_seconds();
    PGresult* const result = PQgetResult(raw);
    if (sent == streams.size()) times_.waited += wall_seconds() - waiting;
    return result;
  };
  while (PGresult* result = next()) {
    if (already &&
        PQresultStatus(result) != PGRES_COPY_IN) {  // the COPY that we ended, as it should be
      PQclear(result);
      continue;
    }
    try {
      const Rows rows = connection().checked(result);
      if (PQresultStatus(result) == PGRES_COPY_IN) {
        if (already) {
          PQputCopyEnd(raw, "stored before");
          continue;
        }
        const double sending = thread_seconds();
        assert(sent < streams.size());
        const Buffer& stream = *streams[sent++];
        for (std::size_t at = 0; at < stream.size; at += send_bytes)
          connection().put_copy({stream.data.get() + at, std::min(send_bytes, stream.size - at)});
        if (PQputCopyEnd(raw, nullptr) != 1) throw Unavailable(PQerrorMessage(raw));
        times_.send += thread_seconds() - sending;
      } else if (std::string_view(PQcmdStatus(result)).starts_with("INSERT")) {
        already = rows.affected() == 0;
      }
    } catch (const Rejected& fault) {
      if (!refused) refused = fault;
    }
  }
  if (PQstatus(raw) != CONNECTION_OK) throw Unavailable(PQerrorMessage(raw));
  if (already || refused) connection().run("ROLLBACK");
  // A row without a partition to go to: its hour was compacted while it waited for the database, or nobody made
  // partitions ahead. It is made now, for the next try.
  if (refused && refused->sqlstate == "23514") {
    make_partitions(dsn_, commit.written_at, {.ahead = std::chrono::hours(0)});
    throw Unavailable(refused->what());
  }
  // A name that another collector wrote first.
  if (refused && refused->sqlstate == "23505" && streams.size() > 1) return Outcome::names_met;
  if (refused) throw *refused;
  return Outcome::known;
}

void LogWriter::write_void(const Commit& commit, bool with_names) try {
  connection().run("BEGIN");
  if (with_names) write_names_apart(commit);
  connection().run(batch_row(commit.position, commit.written_at, 0, 0, "NULL", "NULL"));
  connection().run("COMMIT");
} catch (const Unavailable&) {
  disconnect();
  throw;
} catch (const Rejected&) {
  disconnect();
  throw;
}

}  // namespace muster::store
