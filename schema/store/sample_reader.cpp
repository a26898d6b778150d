#include "schema/store/sample_reader.hpp"

#include <poll.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <optional>
#include <utility>

#include "schema/store/connection.hpp"

namespace muster::store {
namespace {

using SteadyClock = std::chrono::steady_clock;

// A set of a row lies within the reach of an int of microseconds around the row's own time.
constexpr std::int64_t row_reach_us = std::numeric_limits<std::int32_t>::max();
// The server compares the sets of a row with each that is wanted; for more of them it is cheaper to send the
// row and look here.
constexpr std::size_t sets_filtered_max = 8;
// How often a wait for the server looks whether the query is to stop.
constexpr int patience_ms = 20;

double since(SteadyClock::time_point began) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - began).count();
}

// COPY … TO STDOUT, row by row, that can be stopped.
class CopyOut {
 public:
  CopyOut(Connection& connection, const std::string& sql, const std::function<bool()>& stopped)
      : connection_(connection), stopped_(stopped) {
    if (!PQsendQuery(connection.raw(), sql.c_str())) fail("", PQerrorMessage(connection.raw()));
    wait_for_result();
    PGresult* begun = PQgetResult(connection.raw());
    if (PQresultStatus(begun) != PGRES_COPY_OUT) {
      connection_.checked(begun);  // throws
      fail("", "COPY did not begin");
    }
    PQclear(begun);
  }
  ~CopyOut() {
    PQfreemem(row_);
    if (done_) return;
    // Whatever made us leave: the connection is usable again once the rest has been thrown away.
    cancel();
    char* rest = nullptr;
    while (PQgetCopyData(connection_.raw(), &rest, 0) > 0) PQfreemem(rest);
    while (PGresult* result = PQgetResult(connection_.raw())) PQclear(result);
  }
  CopyOut(const CopyOut&) = delete;
  CopyOut& operator=(const CopyOut&) = delete;

  // The fields of the next row; they live until the next call. False at the end.
  bool next(std::vector<std::optional<std::string_view>>& fields) {
    for (;;) {
      PQfreemem(row_);
      row_ = nullptr;
      int size = PQgetCopyData(connection_.raw(), &row_, 1);
      while (size == 0) {
        wait_for_input();
        size = PQgetCopyData(connection_.raw(), &row_, 1);
      }
      if (++rows_ % 256 == 0 && stopped_()) throw ReadStopped();
      if (size == -2) fail("", PQerrorMessage(connection_.raw()));
      if (size == -1) {
        done_ = true;
        while (PGresult* result = PQgetResult(connection_.raw())) connection_.checked(result);
        return false;
      }
      std::string_view bytes(row_, static_cast<std::size_t>(size));
      bytes_ += bytes.size();
      // The first message begins with the format's head: 11 bytes of signature, flags, extension.
      if (!headed_) {
        if (bytes.size() < 19) fail("22000", "COPY sent a head that is cut");
        bytes.remove_prefix(19 + get<std::uint32_t>(bytes.data() + 15));
        headed_ = true;
        if (bytes.empty()) continue;
      }
      const auto columns = get<std::int16_t>(bytes.data());
      if (columns < 0) continue;  // the trailer
      fields.clear();
      bytes.remove_prefix(2);
      for (std::int16_t c = 0; c < columns; ++c) {
        const auto length = get<std::int32_t>(bytes.data());
        bytes.remove_prefix(4);
        if (length < 0) {
          fields.emplace_back();
          continue;
        }
        fields.emplace_back(bytes.substr(0, static_cast<std::size_t>(length)));
        bytes.remove_prefix(static_cast<std::size_t>(length));
      }
      return true;
    }
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  void cancel() {
    char why[256];
    if (PGcancel* handle = PQgetCancel(connection_.raw())) {
      PQcancel(handle, why, sizeof why);
      PQfreeCancel(handle);
    }
  }
  void wait_for_input() {
    if (stopped_()) throw ReadStopped();
    pollfd socket{PQsocket(connection_.raw()), POLLIN, 0};
    ::poll(&socket, 1, patience_ms);
    if (!PQconsumeInput(connection_.raw())) fail("", PQerrorMessage(connection_.raw()));
  }
  void wait_for_result() {
    while (PQisBusy(connection_.raw())) {
      try {
        wait_for_input();
      } catch (const ReadStopped&) {
        cancel();
        while (PGresult* result = PQgetResult(connection_.raw())) PQclear(result);
        throw;
      }
    }
  }

  Connection& connection_;
  const std::function<bool()>& stopped_;
  char* row_ = nullptr;
  std::uint64_t rows_ = 0, bytes_ = 0;
  bool headed_ = false, done_ = false;
};

// A binary array of fixed-width elements without nulls, read in place.
template <class Number>
class ArrayView {
 public:
  explicit ArrayView(std::string_view bytes) {
    if (bytes.size() < 12) bad();
    const auto dimensions = get<std::int32_t>(bytes.data());
    if (dimensions == 0) return;
    if (dimensions != 1 || bytes.size() < 20 || get<std::int32_t>(bytes.data() + 4) != 0) bad();
    size_ = static_cast<std::size_t>(get<std::uint32_t>(bytes.data() + 12));
    if (bytes.size() != 20 + size_ * step) bad();
    first_ = bytes.data() + 24;
  }
  std::size_t size() const { return size_; }
  Number operator[](std::size_t i) const { return get<Number>(first_ + i * step); }

 private:
  static constexpr std::size_t step = 4 + sizeof(Number);
  [[noreturn]] static void bad() { throw Rejected("22P03", "an array of the log has an unknown form"); }
  const char* first_ = nullptr;
  std::size_t size_ = 0;
};

struct Sample {
  std::int64_t at = 0;
  double value = 0;
};

}  // namespace

struct SampleReader::State {
  Settings settings;
  std::unique_ptr<Connection> connection;
  bool open = false;  // between begin() and end()

  // While a read is under way.
  std::vector<std::vector<Sample>> found;  // by place
  std::size_t held = 0, samples_max = 0;
  std::int64_t from = 0, to = 0;  // unix microseconds, both included

  void begin();
  void end();
  // A transaction that is left open would hold up compaction, so the connection goes with it.
  void abandon() {
    connection.reset();
    open = false;
  }

  void keep(std::uint32_t place, std::int64_t at, double value) {
    if (at < from || at > to || is_null(value)) return;
    if (++held > samples_max) throw TooManySamples{samples_max};
    found[place].push_back({at, value});
  }
  std::string select_log(int shard, const std::vector<WantedSeries::Set>* sets) const;
  std::string partitions(std::int64_t after);
  void read_log(const WantedSeries::Shard& shard, const std::function<bool()>& stopped, ReadReport& report);
  std::int64_t arrived() const { return from - settings.ahead_max.count(); }
};

void SampleReader::State::begin() {
  if (!connection) {
    ConnectOptions options;
    options.application_name = "muster query";
    options.statement_timeout = settings.statement_timeout;
    connection = std::make_unique<Connection>(settings.dsn, options);
  }
  // The locks come before the snapshot: a compaction that drops a partition is over, and seen as such, or
  // waits for us. Without them the snapshot could be older than the drop, which no snapshot hides.
  connection->run(
      "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; LOCK TABLE sample_log IN ACCESS SHARE MODE; "
      "SET LOCAL max_parallel_workers_per_gather = 0");
  open = true;
}

void SampleReader::State::end() {
  connection->run("COMMIT");
  open = false;
}

// Names of the log's partitions that may hold samples from `after` (unix microseconds) on: what the server
// prunes to.
std::string SampleReader::State::partitions(std::int64_t after) {
  const Rows rows = connection->run(
      "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
      "WHERE i.inhparent = 'sample_log'::regclass AND c.relname > 'sample_log_' || "
      "to_char(to_timestamp(" +
      std::to_string(after / 1'000'000 - 3600) + ") AT TIME ZONE 'UTC', 'YYYYMMDDHH24') ORDER BY 1");
  if (rows.size() == 0) return "none";
  std::string out(rows.at(0, 0));
  if (rows.size() > 1) out += " to " + std::string(rows.at(rows.size() - 1, 0));
  return out;
}

// Rows of the log that may hold samples in [from, to], of any set or of few.
std::string SampleReader::State::select_log(int shard, const std::vector<WantedSeries::Set>* sets) const {
  // Numbers alone are put into the text, so nothing needs to be quoted.
  const auto instant = [](std::int64_t unix_us) {
    return "timestamptz 'epoch' + interval '" + std::to_string(unix_us / 1'000'000) + " s'";
  };
  // Late samples arrive in any later partition; none can arrive earlier than it may lie ahead.
  std::string sql = "COPY (SELECT set_ids, ts, ts_off, counts, pos, vals FROM sample_log WHERE shard = " +
                    std::to_string(shard) + " AND written_at >= " + instant(arrived() - 1'000'000) +
                    " AND ts >= " + instant(from - row_reach_us - 1'000'000) +
                    " AND ts <= " + instant(to + row_reach_us + 1'000'000);
  if (sets && sets->size() <= sets_filtered_max) {
    sql += " AND set_ids && '{";
    for (const WantedSeries::Set& set : *sets) {
      if (sql.back() != '{') sql += ',';
      sql += std::to_string(static_cast<std::int64_t>(set.id));
    }
    sql += "}'::bigint[]";
  }
  return sql + ") TO STDOUT (FORMAT binary)";
}

namespace {

// What a row of the log holds, a set after the other: take(set, ts, slot_of, first, count, values).
template <class TakeSet>
void for_each_set(const std::vector<std::optional<std::string_view>>& f, const TakeSet& take) {
  const ArrayView<std::int64_t> ids(*f[0]);
  const std::int64_t ts = get<std::int64_t>(f[1]->data()) + pg_epoch_us;
  const ArrayView<double> values(*f[5]);
  std::optional<ArrayView<std::int32_t>> offsets;
  std::optional<ArrayView<std::int16_t>> counts, slots;
  if (f[2]) offsets.emplace(*f[2]);
  if (f[3]) counts.emplace(*f[3]);
  if (f[4]) slots.emplace(*f[4]);
  if ((offsets && offsets->size() != ids.size()) || (counts && counts->size() != ids.size()) ||
      (slots && slots->size() != values.size()))
    throw Rejected("22000", "a row of the log has arrays of different lengths");
  std::size_t first = 0;
  for (std::size_t s = 0; s < ids.size(); ++s) {
    const std::size_t count = counts ? static_cast<std::size_t>((*counts)[s]) : values.size();
    if (first + count > values.size())
      throw Rejected("22000", "a row of the log has not as many values as its sets say");
    const auto slot_of = [&](std::size_t i) { return slots ? static_cast<std::size_t>((*slots)[i]) : i - first; };
    take(ids[s], offsets ? ts + (*offsets)[s] : ts, first, count, values, slot_of);
    first += count;
  }
}

}  // namespace

void SampleReader::State::read_log(const WantedSeries::Shard& shard, const std::function<bool()>& stopped,
                                   ReadReport& report) {
  const auto began = SteadyClock::now();
  const std::size_t held_before = held;
  absl::flat_hash_map<std::int64_t, const WantedSeries::Set*> sets;
  for (const WantedSeries::Set& set : shard.sets) sets.emplace(static_cast<std::int64_t>(set.id), &set);

  ReadReport::Part part;
  part.source = "log";
  part.partitions = partitions(arrived());
  CopyOut rows(*connection, select_log(shard.shard, &shard.sets), stopped);
  std::vector<std::optional<std::string_view>> fields;
  while (rows.next(fields)) {
    ++part.rows;
    for_each_set(fields, [&](std::int64_t set, std::int64_t at, std::size_t first, std::size_t count,
                             const ArrayView<double>& values, const auto& slot_of) {
      if (at < from || at > to) return;
      const auto wanted = sets.find(set);
      if (wanted == sets.end()) return;
      const std::vector<std::uint32_t>& places = wanted->second->places;
      for (std::size_t i = first; i < first + count; ++i) {
        const std::size_t slot = slot_of(i);
        if (slot < places.size() && places[slot] != WantedSeries::not_wanted) keep(places[slot], at, values[i]);
      }
    });
  }
  part.bytes = rows.bytes();
  part.samples = held - held_before;
  part.milliseconds = since(began);
  report.parts.push_back(std::move(part));
}

SampleReader::SampleReader(Settings settings) : state_(std::make_unique<State>()) {
  state_->settings = std::move(settings);
}
SampleReader::~SampleReader() = default;

ReadSamples SampleReader::read(const WantedSeries& wanted, Timestamp from, Timestamp to,
                               std::size_t samples_max, const std::function<bool()>& stopped) {
  State& s = *state_;
  s.found.assign(wanted.series, {});
  s.held = 0;
  s.samples_max = samples_max;
  s.from = from.us;
  s.to = to.us;
  ReadSamples out;
  const bool alone = !s.open;
  try {
    if (alone) s.begin();
    for (const WantedSeries::Shard& shard : wanted.shards)
      if (!shard.sets.empty()) s.read_log(shard, stopped, out.report);
    if (alone) s.end();
  } catch (...) {
    s.abandon();
    throw;
  }

  out.first.reserve(wanted.series + 1);
  out.at.reserve(s.held);
  out.values.reserve(s.held);
  for (std::vector<Sample>& samples : s.found) {
    out.first.push_back(out.at.size());
    const auto earlier = [](const Sample& a, const Sample& b) { return a.at < b.at; };
    // Of two for one instant the first that came counts, and rows come in the order of their arrival.
    if (!std::is_sorted(samples.begin(), samples.end(), earlier))
      std::stable_sort(samples.begin(), samples.end(), earlier);
    for (const Sample& sample : samples) {
      if (out.at.size() > out.first.back() && out.at.back() == sample.at) continue;
      out.at.push_back(sample.at);
      out.values.push_back(sample.value);
    }
    samples = {};
  }
  out.first.push_back(out.at.size());
  return out;
}

void SampleReader::begin() {
  assert(!state_->open);
  try {
    state_->begin();
  } catch (...) {
    state_->abandon();
    throw;
  }
}

void SampleReader::end() {
  if (!state_->open) return;
  try {
    state_->end();
  } catch (...) {
    state_->abandon();
    throw;
  }
}

void SampleReader::scan_log(int shards, Timestamp from, const Take& take, const std::function<bool()>& stopped) {
  State& s = *state_;
  s.from = from.us;
  s.to = std::numeric_limits<std::int64_t>::max() / 4;
  try {
    s.begin();
    for (int shard = 0; shard < shards; ++shard) {
      CopyOut rows(*s.connection, s.select_log(shard, nullptr), stopped);
      std::vector<std::optional<std::string_view>> fields;
      while (rows.next(fields)) {
        for_each_set(fields, [&](std::int64_t set, std::int64_t at, std::size_t first, std::size_t count,
                                 const ArrayView<double>& values, const auto& slot_of) {
          if (at < s.from) return;
          for (std::size_t i = first; i < first + count; ++i) take(SetId{set}, slot_of(i), at, values[i]);
        });
      }
    }
    s.end();
  } catch (...) {
    s.abandon();
    throw;
  }
}

}  // namespace muster::store
