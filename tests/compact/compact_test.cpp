#include <atomic>
#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <thread>

#include "schema/store/compact.hpp"
#include "schema/store/log_reader.hpp"
#include "tests/compact/fleet.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace std::chrono_literals;
using store::Compacted;
using store::Compactor;
using store::CompactSettings;
using store::Connection;
using store::History;
using store::NotYet;
using test::Log;
using test::set_of;

namespace {

constexpr Timestamp noon = from_seconds(1'764'072'000);  // 2025-11-25 12:00 UTC
constexpr Timestamp later = noon + Duration(5h);

std::string fresh() { return test::Postgres::shared().fresh_database(); }

CompactSettings settings_of(const std::string& dsn) {
  CompactSettings settings;
  settings.dsn = dsn;
  settings.patience = 1'000ms;
  settings.lock_timeout = 50ms;
  return settings;
}

// An hour of some models, every kind of row: full, with holes, in pieces, late, ahead, with nulls and stale ends.
void write_hour(Log& log, Timestamp hour, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto decimal = [&] { return static_cast<double>(random() % 10'000) / 100; };
  const auto a = set_of("a", "v1", 5), b = set_of("b", "v1", 40), c = set_of("c", "v7", 1);
  for (int i = 0; i < 60; ++i) {
    const Timestamp ts = hour + Duration(1min) * i;
    std::vector<Log::Row> rows;
    rows.push_back({a, ts, {decimal(), static_cast<double>(i), i % 9 == 0 ? null_value() : decimal(), 0.1 * i, 7}, {}});
    Log::Row first{b, ts, {}, {}}, second{b, ts, {}, {}};  // two senders hold one half each
    for (std::int16_t s = 0; s < 40; ++s) {
      if (s == 17 && i % 2 == 1) continue;
      Log::Row& to = s % 2 ? first : second;
      to.slots.push_back(s);
      to.values.push_back(s == 3 && i == 59 ? std::bit_cast<double>(stale_bits) : decimal());
    }
    rows.push_back(first);
    log.write(ts + Duration(1s), rows);
    log.write(ts + Duration(2s), {second});
    if (i % 20 == 7) log.write(ts + Duration(3s), {{c, hour - Duration(26h) + Duration(1min) * i, {decimal()}, {}}});
    if (i == 30) log.write(ts + Duration(4s), {{c, ts + Duration(9min), {decimal()}, {}}});
  }
}

Compacted compacted(Compactor& compactor, const Log& log) {
  NotYet reason = NotYet::none;
  const auto done = compactor.compact_oldest(later, log.positions(), later, reason);
  INFO(to_word(reason));
  REQUIRE(done);
  return *done;
}

std::uint64_t count(Connection& connection, const std::string& sql) {
  return std::stoull(std::string(connection.run(sql).at(0, 0)));
}

// Compacts until there is nothing more.
void compact_all(const std::string& dsn, const Log& log, Timestamp before = later) {
  Compactor compactor(settings_of(dsn));
  NotYet reason = NotYet::none;
  while (compactor.compact_oldest(before, log.positions(), later, reason)) {
  }
  CHECK(reason == NotYet::none);
}

}  // namespace

TEST_CASE("an hour of the log becomes blocks, and every sample is there to the bit") {
  const std::string dsn = fresh();
  Log log(dsn);
  write_hour(log, noon, 1);
  write_hour(log, noon + Duration(1h), 2);
  History history({.dsn = dsn});
  const Timestamp from = noon - Duration(48h), to = later;
  CHECK(log.difference(history, from, to) == "");

  Compactor compactor(settings_of(dsn));
  const std::uint64_t all = log.samples();
  const Compacted first = compacted(compactor, log);
  CHECK(first.hour == noon);
  // Half of what was written, as both hours have the same number.
  CHECK(first.samples == all / 2);
  CHECK(first.duplicates == 0);
  CHECK(log.difference(history, from, to) == "");
  CHECK(history.compacted_until() == noon + Duration(1h));

  compact_all(dsn, log);
  CHECK(log.difference(history, from, to) == "");
  Connection connection(dsn, {});
  CHECK(count(connection, "SELECT coalesce(sum(samples), 0) FROM sample_block") == all);
  CHECK(count(connection, "SELECT count(*) FROM sample_log") == 0);
  // A part of the time, from within blocks; and one slot alone, whose column comes as a slice.
  CHECK(log.difference(history, noon + Duration(7min + 1us), noon + Duration(80min)) == "");
  const auto wanted = log.expected.begin();  // whichever it is
  const auto one = history.block_samples({&wanted->first, 1}, from, to);
  REQUIRE(one);
  CHECK(one->front().ts.size() == wanted->second.size());
}

TEST_CASE("a partition is left alone until its hour is over, every reader is past it, and nobody writes to it") {
  const std::string dsn = fresh();
  Log log(dsn);
  write_hour(log, noon, 3);
  Compactor compactor(settings_of(dsn));
  const LogPositions all = log.positions();
  NotYet reason = NotYet::none;
  CHECK(!compactor.compact_oldest(noon + Duration(1h) - Duration(1), all, later, reason));
  CHECK(reason == NotYet::open);
  LogPositions behind = all;
  --behind.front().batch;
  CHECK(!compactor.compact_oldest(later, behind, later, reason));
  CHECK(reason == NotYet::unread);
  CHECK(!compactor.compact_oldest(later, LogPositions{}, later, reason));
  CHECK(reason == NotYet::unread);

  // A batch that is acknowledged and not visible yet, as a two-phase commit leaves one after a crash.
  Connection connection(dsn, {});
  connection.run(
      "BEGIN; INSERT INTO sample_batch VALUES (0, 9, 1, '2025-11-25 12:30+00', 1, 1, NULL, NULL);"
      "INSERT INTO sample_log SELECT 0, 9, 1, 0, '2025-11-25 12:30+00', set_ids, ts + interval '1 s', pos, vals, ts_off, counts "
      "FROM sample_log LIMIT 1; PREPARE TRANSACTION 'late'");
  CHECK(!compactor.compact_oldest(later, all, later, reason));
  CHECK(reason == NotYet::locked);
  connection.run("COMMIT PREPARED 'late'");
  CHECK(!compactor.compact_oldest(later, all, later, reason));
  CHECK(reason == NotYet::unread);
  LogPositions both = all;
  both.push_back({0, 9, 1});
  // From the first look at the rows on nobody may add one, as it would go with the partition unseen.
  int refused = 0;
  compactor.at_step = [&](std::string_view) {
    Connection writer(dsn, {});
    writer.run("SET lock_timeout = 50");
    try {
      writer.run("INSERT INTO sample_log_2025112512 SELECT * FROM sample_log_2025112512 LIMIT 0");
    } catch (const store::Unavailable&) {
      ++refused;
    }
  };
  const LogPositions none;
  CHECK(!compactor.compact_oldest(later, none, later, reason));
  CHECK(refused == 0);  // it was unread, so nothing was held
  compactor.at_step = [&, look = compactor.at_step](std::string_view step) {
    if (step == "locked" || step == "written") look(step);
  };
  const auto done = compactor.compact_oldest(later, both, later, reason);
  REQUIRE(done);
  CHECK(refused == 2);
  CHECK(done->samples > log.samples());
}

TEST_CASE("late samples become blocks of their own, and a scrape in pieces across an hour is one again") {
  const std::string dsn = fresh();
  Log log(dsn);
  const auto set = set_of("m", "v1", 6);
  const Timestamp ts = noon + Duration(59min + 59s);
  log.write(noon + Duration(59min + 59s), {{set, ts, {1, 2, 3}, {0, 1, 2}}});
  log.write(noon + Duration(1h), {{set, ts, {4, 5, 6}, {3, 4, 5}}});
  compact_all(dsn, log);
  History history({.dsn = dsn});
  Connection connection(dsn, {});
  CHECK(count(connection, "SELECT count(*) FROM sample_block") == 2);
  CHECK(log.difference(history, noon, later) == "");

  log.write(noon + Duration(3h), {{set, noon + Duration(5min), {1, 2, 3, 4, 5, 6}, {}}, {set, ts + Duration(1), {9}, {4}}});
  CHECK(log.difference(history, noon, later) == "");
  compact_all(dsn, log);
  CHECK(log.difference(history, noon, later) == "");
}

TEST_CASE("of a sample that is in the log twice the first is kept") {
  const std::string dsn = fresh();
  Log log(dsn);
  const auto set = set_of("m", "v1", 3);
  log.write(noon, {{set, noon, {1, 2}, {0, 1}}});
  log.write(noon + Duration(1s), {{set, noon, {7, 8, 9}, {}}});
  Compactor compactor(settings_of(dsn));
  const Compacted done = compacted(compactor, log);
  CHECK(done.samples == 3);
  CHECK(done.duplicates == 2);
  History history({.dsn = dsn});
  CHECK(log.difference(history, noon, later) == "");  // the log's map keeps the first too

  // And of one that is in a block already and came again much later.
  log.write(noon + Duration(3h), {{set, noon, {7, 8, 9}, {}}});
  CHECK(log.difference(history, noon, later) == "");
}

TEST_CASE("with little memory blocks are shorter, and nothing else changes") {
  const std::string dsn = fresh();
  Log log(dsn);
  write_hour(log, noon, 4);
  CompactSettings small = settings_of(dsn);
  small.memory_max = 10'000;
  // So that a flush can come in the middle of the log, it has to be longer than one fetch.
  for (int i = 0; i < 700; ++i) log.write(noon + Duration(30min), {{set_of("d", "v1", 3), noon + Duration(1s) * i, {1.5 * i, 2.5, 3}, {}}});
  Compactor compactor(small);
  int flushes = 0;
  compactor.at_step = [&](std::string_view step) { flushes += step == "flushed"; };
  CHECK(compacted(compactor, log).samples == log.samples());
  CHECK(flushes >= 2);
  History history({.dsn = dsn});
  CHECK(log.difference(history, noon - Duration(48h), later) == "");
}

TEST_CASE("killed at any point a compaction leaves the log as it was, and the next one does it") {
  for (const char* at : {"locked", "flushed", "written", "dropped", "committed"}) {
    INFO(at);
    const std::string dsn = fresh();
    Log log(dsn);
    write_hour(log, noon, 5);
    const pid_t child = ::fork();
    if (child == 0) {
      Compactor compactor(settings_of(dsn));
      compactor.at_step = [&](std::string_view step) {
        if (step == at) ::kill(::getpid(), SIGKILL);
      };
      NotYet reason = NotYet::none;
      (void)compactor.compact_oldest(later, log.positions(), later, reason);
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    History history({.dsn = dsn});
    CHECK(log.difference(history, noon - Duration(48h), later) == "");
    compact_all(dsn, log);
    CHECK(log.difference(history, noon - Duration(48h), later) == "");
    Connection connection(dsn, {});
    CHECK(count(connection, "SELECT sum(samples) FROM sample_block") == log.samples());
    // A reader that comes anew steps over what is gone.
    store::LogReader reader({dsn, 1}, {});
    CHECK(!reader.next());
    CHECK(!reader.waiting_for());
  }
}

TEST_CASE("log and blocks together are the same at every instant, while senders write") {
  const std::string dsn = fresh();
  Log log(dsn);
  for (int h = 0; h < 3; ++h) write_hour(log, noon + Duration(1h) * h, 6 + static_cast<std::uint64_t>(h));
  const std::uint64_t closed = log.samples();
  std::atomic<bool> done = false;
  std::string wrong;
  std::uint64_t looks = 0;
  std::vector<store::SlotRef> slots;
  for (const auto& [slot, values] : log.expected) slots.push_back(slot);

  std::thread reader([&] {
    try {
      History history({.dsn = dsn});
      Connection connection(dsn, {});
      while (!done) {
        ++looks;
        const auto read = history.samples(slots, noon - Duration(48h), noon + Duration(3h + 59min));
        std::uint64_t n = 0;
        for (const store::Samples& s : *read) n += s.ts.size();
        if (n != closed) wrong = "history saw " + std::to_string(n) + " of " + std::to_string(closed);
        // A statement of its own, as a person writes one.
        const std::uint64_t sum = std::stoull(std::string(connection.run(
            "SELECT (SELECT coalesce(sum(cardinality(vals)), 0) FROM sample_log WHERE written_at < '2025-11-25 15:59+00')"
            " + (SELECT coalesce(sum(samples), 0) FROM sample_block)").at(0, 0)));
        if (sum != closed) wrong = "SQL saw " + std::to_string(sum) + " of " + std::to_string(closed);
      }
    } catch (const std::exception& fault) {
      wrong = fault.what();
    }
  });
  std::thread writer([&] {
    try {
      Log now(dsn, 2);
      const auto set = set_of("now", "v1", 10);
      for (int i = 0; !done; ++i)
        now.write(noon + Duration(4h) + Duration(1ms) * i, {{set, noon + Duration(4h) + Duration(1ms) * i, std::vector<double>(10, i), {}}});
    } catch (const std::exception& fault) {
      wrong = fault.what();
    }
  });
  LogPositions read = log.positions();
  Compactor compactor(settings_of(dsn));
  NotYet reason = NotYet::none;
  int hours = 0;
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (std::chrono::steady_clock::now() < until) {
    if (compactor.compact_oldest(noon + Duration(3h), read, later, reason)) {
      ++hours;
    } else if (reason != NotYet::locked) {
      break;
    }
  }
  std::this_thread::sleep_for(50ms);
  done = true;
  reader.join();
  writer.join();
  CHECK(wrong == "");
  CHECK(hours == 3);
  CHECK(reason == NotYet::none);
  CHECK(looks > 1);
}

TEST_CASE("what is beyond the retention goes, each level by its own") {
  const std::string dsn = fresh();
  Log log(dsn);
  write_hour(log, noon, 9);
  compact_all(dsn, log);
  Connection connection(dsn, {});
  const auto tables = [&] {
    Connection c(dsn, {});
    std::vector<std::string> names;
    for (const auto& p : store::block_partitions(c)) names.push_back(p.name);
    for (const Level level : levels)
      for (const auto& p : store::rollup_partitions(c, level)) names.push_back(p.name);
    return names;
  };
  const auto all = tables();
  // Samples a minute: five a bucket of 5 min is enough to be rolled up, one a bucket of 1 min is not. The
  // late samples of the day before are one series with four in an hour's rows.
  CHECK(std::count(all.begin(), all.end(), "sample_block_20251124") == 1);
  CHECK(std::count(all.begin(), all.end(), "sample_block_20251125") == 1);
  CHECK(std::count(all.begin(), all.end(), "metric_rollup_300_20251125") == 1);
  CHECK(std::none_of(all.begin(), all.end(), [](const std::string& n) { return n.starts_with("metric_rollup_60_"); }));

  store::Retention retention;
  retention.raw = 24h;
  const auto gone = store::drop_expired(dsn, noon + Duration(35h), retention);
  CHECK(std::count(gone.begin(), gone.end(), "sample_block_20251124") == 1);
  CHECK(std::count(gone.begin(), gone.end(), "sample_block_20251125") == 0);
  CHECK(std::count(gone.begin(), gone.end(), "metric_rollup_300_20251125") == 0);
  retention.five_minutes = 24h;
  const auto then = store::drop_expired(dsn, noon + Duration(36h), retention);
  CHECK(std::count(then.begin(), then.end(), "metric_rollup_300_20251125") == 1);
  CHECK(std::count(then.begin(), then.end(), "sample_block_20251125") == 1);  // it ended 24 hours ago
  const auto left = tables();
  CHECK(std::any_of(left.begin(), left.end(), [](const std::string& n) { return n.starts_with("metric_rollup_3600_"); }));
}

TEST_CASE("samples that are older than the retention when their hour is compacted are counted, not written") {
  const std::string dsn = fresh();
  Log log(dsn);
  const auto set = set_of("m", "v1", 2);
  log.write(noon, {{set, noon - Duration(31 * 24h), {1, 2}, {}}, {set, noon, {1, 2}, {}}});
  Compactor compactor(settings_of(dsn));
  const Compacted done = compacted(compactor, log);
  CHECK(done.expired == 2);
  CHECK(done.samples == 2);
}

TEST_CASE("a database over its bound gives up the oldest days of samples, never the newest") {
  const std::string dsn = fresh();
  Log log(dsn);
  const auto set = set_of("m", "v1", 2);
  for (int d = 0; d < 4; ++d) log.write(noon + Duration(1s) * d, {{set, noon - Duration(24h) * d, {1, 2}, {}}});
  compact_all(dsn, log);
  store::Bounded none = store::keep_below(dsn, 1ULL << 40, noon);
  CHECK(none.met);
  CHECK(none.dropped.empty());
  const store::Bounded some = store::keep_below(dsn, none.bytes - 1, noon);
  CHECK(some.met);
  CHECK(some.dropped == std::vector<std::string>{"sample_block_20251122"});
  const store::Bounded rest = store::keep_below(dsn, 1, noon);
  CHECK(!rest.met);
  CHECK(rest.dropped == std::vector<std::string>{"sample_block_20251123"});
}

TEST_CASE("what lies where is told") {
  const std::string dsn = fresh();
  Log log(dsn);
  write_hour(log, noon, 10);
  const store::StorageUse before = store::storage_use(dsn, noon + Duration(90min));
  CHECK(before.tables.at(0).name == "log");
  CHECK(before.log_hours_behind == 1);
  compact_all(dsn, log);
  store::make_partitions(dsn, noon + Duration(90min));
  const store::StorageUse after = store::storage_use(dsn, noon + Duration(90min));
  CHECK(after.log_hours_behind == 0);
  CHECK(after.log_hours_ahead == 6);
  CHECK(after.tables.at(1).name == "blocks");
  CHECK(after.tables.at(1).partitions == 2);
  CHECK(after.tables.at(1).bytes > 0);
  CHECK(after.tables.at(1).oldest == bucket_of(noon - Duration(24h), Duration(24h)));
  CHECK(after.database_bytes > after.tables.at(1).bytes);
}
