#include "schema/store/ingestor.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "schema/store/log_reader.hpp"
#include "schema/store/partitions.hpp"
#include "tests/support/batches.hpp"
#include "tests/support/postgres.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;
using store::Connection;
using store::Ingestor;

namespace {

constexpr std::int64_t noon = 1'700'000'000;

Timestamp clock_now() {
  return from_seconds(noon + 3600);
}

std::string database() {
  const std::string dsn = Postgres::shared().fresh_database();
  store::make_partitions(dsn, clock_now());
  return dsn;
}

Ingestor::Settings settings(const std::string& dsn, std::int64_t collector = 1) {
  Ingestor::Settings s;
  s.data_dsns = {dsn};
  s.collector = collector;
  s.retry_min = 5ms;
  return s;
}

std::future<Stored> submit(Ingestor& ingestor, SampleBatch batch) {
  auto promise = std::make_shared<std::promise<Stored>>();
  ingestor.submit(std::move(batch),
                  [promise](Stored stored) { promise->set_value(std::move(stored)); });
  return promise->get_future();
}

Stored stored_of(Ingestor& ingestor, const std::vector<Given>& given) {
  auto future = submit(ingestor, batch_of(given));
  REQUIRE(future.wait_for(60s) == std::future_status::ready);
  return future.get();
}

// The rounds of a fleet: every series of every model at one instant.
std::vector<Given> round(int number, int models = 5, int metrics = 4) {
  std::vector<Given> given;
  for (int model = 0; model < models; ++model)
    for (int metric = 0; metric < metrics; ++metric)
      given.push_back({"m" + std::to_string(model) + "|x" + std::to_string(metric) + "|v1",
                       noon + number * 60, number + metric / 10.0});
  return given;
}

// Every sample of the log as "model metric us" -> the bits of its value; fails when one is there twice.
std::map<std::string, std::uint64_t> samples_in(const std::string& dsn) {
  std::map<std::string, std::uint64_t> out;
  std::map<SetId, SeriesSetPtr> sets;
  for (SeriesSetPtr& set : store::known_sets(dsn)) sets[set->id] = set;
  store::LogReader reader({.dsn = dsn}, {});
  while (auto batch = reader.next()) {
    for (const LogRows::Row& row : batch->rows.rows) {
      REQUIRE(sets.contains(row.set));
      for (std::uint32_t i = row.first; i < row.first + row.count; ++i) {
        const std::size_t slot = row.full ? i - row.first : batch->rows.positions[i];
        const std::string key = sets[row.set]->model + " " + sets[row.set]->series.at(slot).metric +
                                " " + std::to_string(row.ts.us);
        INFO(key);
        REQUIRE(out.emplace(key, std::bit_cast<std::uint64_t>(batch->rows.values[i])).second);
      }
    }
  }
  return out;
}

// Stands between a client and a server on a unix socket, and cuts the connection instead of handing on the
// answer to a COMMIT: the server has committed, and the client does not hear of it. As often as it was told.
class CuttingProxy {
 public:
  CuttingProxy(const std::filesystem::path& folder, std::string server)
      : server_(std::move(server)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const auto address = address_of((folder / ".s.PGSQL.5432").string());
    REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_, 8) == 0);
    thread_ = std::thread([this] { run(); });
  }
  ~CuttingProxy() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (std::thread& relay : relays_) relay.join();
    ::close(listener_);
  }
  void cut(int times) { cuts_ = times; }
  int cuts_left() const { return cuts_; }

 private:
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    return address;
  }
  void run() {
    while (!stopping_) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      relays_.emplace_back([this, client] {  // one for each lane of a writer
        const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
        const auto address = address_of(server_);
        if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
          relay(client, server);
        ::close(client);
        ::close(server);
      });
    }
  }
  void relay(int client, int server) {
    std::string seen;
    char bytes[65536];
    while (!stopping_) {
      pollfd ends[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(ends, 2, 100) < 0) return;
      for (int side = 0; side < 2; ++side) {
        if ((ends[side].revents & (POLLIN | POLLHUP)) == 0) continue;
        const ssize_t n = ::read(ends[side].fd, bytes, sizeof bytes);
        if (n <= 0) return;
        if (side == 1) {
          seen.append(bytes, static_cast<std::size_t>(n));
          // CommandComplete of the transaction's end.
          if (seen.find(std::string("COMMIT\0", 7)) != seen.npos && cuts_ > 0) {
            --cuts_;
            return;
          }
          if (seen.size() > 64) seen.erase(0, seen.size() - 64);
        }
        for (ssize_t at = 0; at < n;) {
          const ssize_t sent =
              ::write(ends[1 - side].fd, bytes + at, static_cast<std::size_t>(n - at));
          if (sent <= 0) return;
          at += sent;
        }
      }
    }
  }

  const std::string server_;
  std::atomic<int> cuts_ = 0;
  std::atomic<bool> stopping_{false};
  int listener_ = -1;
  std::thread thread_;
  std::vector<std::thread> relays_;
};

std::string word_of(const std::string& dsn, const std::string& word) {
  const std::size_t at = dsn.find(word + "=");
  REQUIRE(at != dsn.npos);
  std::string value = dsn.substr(at + word.size() + 1);
  value = value.substr(0, value.find(' '));
  std::erase(value, '\'');
  return value;
}

}  // namespace

TEST_CASE("what is acknowledged is in the log, bit by bit, and handed on in the same form") {
  const std::string dsn = database();
  std::mutex mutex;
  std::vector<LogBatch> handed;
  Ingestor ingestor(settings(dsn), clock_now, [&](LogBatch batch) {
    const std::lock_guard lock(mutex);
    handed.push_back(std::move(batch));
  });
  const double stale = std::bit_cast<double>(stale_bits);
  const Stored stored = stored_of(ingestor, {{"a|x|v1", noon, 1.5},
                                             {"a|y|v1", noon, stale},
                                             {"b|x|v1", noon, null_value()},
                                             {"a|y|v1", noon + 60, -0.0}});
  CHECK(stored.state == Stored::State::committed);
  CHECK(stored.accepted == 4);
  const auto samples = samples_in(dsn);
  REQUIRE(samples.size() == 4);
  CHECK(samples.at("a x 1700000000000000") == std::bit_cast<std::uint64_t>(1.5));
  CHECK(samples.at("a y 1700000000000000") == stale_bits);
  CHECK(samples.at("b x 1700000000000000") == null_bits);
  CHECK(samples.at("a y 1700000060000000") == 0x8000'0000'0000'0000ULL);

  const std::lock_guard lock(mutex);
  REQUIRE(handed.size() == 1);
  CHECK(handed[0].position == LogPosition{0, 1, 1});
  CHECK(handed[0].new_sets.size() == 2);
  store::LogReader reader({.dsn = dsn}, {});
  const auto read = reader.next();
  REQUIRE(read);
  CHECK(read->position == handed[0].position);
  CHECK(read->written_at == handed[0].written_at);
  REQUIRE(read->rows.rows.size() == handed[0].rows.rows.size());
  for (std::size_t r = 0; r < read->rows.rows.size(); ++r) {
    CHECK(read->rows.rows[r].set == handed[0].rows.rows[r].set);
    CHECK(read->rows.rows[r].ts == handed[0].rows.rows[r].ts);
    CHECK(read->rows.rows[r].count == handed[0].rows.rows[r].count);
    CHECK(read->rows.rows[r].full == handed[0].rows.rows[r].full);
  }
}

TEST_CASE("a request sent again is stored once, after a restart too") {
  const std::string dsn = database();
  {
    Ingestor ingestor(settings(dsn, 1), clock_now, {});
    CHECK(stored_of(ingestor, round(0)).accepted == 20);
    CHECK(stored_of(ingestor, round(0)).duplicates == 20);
    // More instants than are remembered one by one.
    for (int r = 1; r < 40; ++r) CHECK(stored_of(ingestor, round(r)).accepted == 20);
  }
  Ingestor ingestor(settings(dsn, 2), clock_now, {});
  for (int r = 0; r < 40; ++r) {
    const Stored again = stored_of(ingestor, round(r));
    CHECK(again.duplicates == 20);
    CHECK(again.accepted == 0);
  }
  CHECK(stored_of(ingestor, round(40)).accepted == 20);
  CHECK(samples_in(dsn).size() == 41 * 20);
  // Nothing was named twice: a set of a model of five series at each of one version.
  CHECK(store::known_sets(dsn).size() == 5);
}

TEST_CASE("requests from several threads, some the same, are stored once each") {
  const std::string dsn = database();
  Ingestor ingestor(settings(dsn), clock_now, {});
  std::atomic<std::uint64_t> accepted = 0, duplicates = 0;
  std::vector<std::thread> senders;
  for (int s = 0; s < 4; ++s)
    senders.emplace_back([&] {
      for (int r = 0; r < 50; ++r) {
        const Stored stored = submit(ingestor, batch_of(round(r))).get();
        accepted += stored.accepted;
        duplicates += stored.duplicates;
      }
    });
  for (std::thread& sender : senders) sender.join();
  CHECK(accepted == 50 * 20);
  CHECK(duplicates == 3 * 50 * 20);
  CHECK(samples_in(dsn).size() == 50 * 20);
}

TEST_CASE("a connection that ends in mid-commit loses and doubles nothing") {
  const std::string dsn = database();
  Ingestor ingestor(settings(dsn), clock_now, {});
  std::atomic<bool> done = false;
  std::atomic<int> ended = 0;
  std::thread killer([&] {
    Connection connection(dsn, {});
    while (!done) {
      ended += connection
                   .run(
                       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                       " current_database() AND application_name = 'muster ingest'")
                   .size();
      connection.run("SELECT pg_sleep(0.02)");
    }
  });
  std::uint64_t accepted = 0;
  int r = 0;
  // Until enough connections were ended under way; the bound is for a machine that is stuck.
  for (; r < 5'000 && (ended < 30 || r < 100); ++r) {
    const auto given = round(r - 5'000);
    Stored stored;
    do stored = stored_of(ingestor, given);
    while (stored.state == Stored::State::busy);
    // What was told busy may have been written all the same.
    CHECK(stored.accepted + stored.duplicates == 20);
    accepted += stored.accepted;
  }
  done = true;
  killer.join();
  CHECK(samples_in(dsn).size() == static_cast<std::size_t>(r) * 20);
  CHECK(ingestor.counters().samples == static_cast<std::uint64_t>(r) * 20);
  CHECK(ingestor.counters().resends > 0);
}

TEST_CASE("a commit whose answer is lost is not written again") {
  const std::string dsn = database();
  const TempFolder folder;
  CuttingProxy proxy(folder.path(), word_of(dsn, "host") + "/.s.PGSQL." + word_of(dsn, "port"));
  Ingestor::Settings s = settings(dsn + " host=" + folder.path().string() + " port=5432");
  std::vector<std::int64_t> batches;
  {
    Ingestor ingestor(s, clock_now,
                      [&](LogBatch batch) { batches.push_back(batch.position.batch); });
    proxy.cut(2);  // reading at the start is not what this is about
    for (int r = 0; r < 4; ++r) {
      Stored stored;
      do stored = stored_of(ingestor, round(r));
      while (stored.state == Stored::State::busy);
      CHECK(stored.accepted + stored.duplicates == 20);
    }
    CHECK(proxy.cuts_left() == 0);
    CHECK(ingestor.counters().resends >= 2);
  }
  CHECK(batches == std::vector<std::int64_t>{1, 2, 3, 4});
  CHECK(samples_in(dsn).size() == 4 * 20);
}

TEST_CASE("when the queue is full senders are told at once, and what was taken is stored") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.queue_samples_max = 100;
  s.sender_queue_share = 0.99;  // this is about the bound of all
  std::promise<void> gate;
  const std::shared_future<void> open = gate.get_future().share();
  Ingestor ingestor(s, clock_now, [open](LogBatch) { open.wait(); });
  std::vector<std::future<Stored>> waiting;
  for (int r = 0; r < 5; ++r) waiting.push_back(submit(ingestor, batch_of(round(r))));
  auto refused = submit(ingestor, batch_of(round(5)));
  REQUIRE(refused.wait_for(0s) == std::future_status::ready);
  CHECK(refused.get().state == Stored::State::busy);
  gate.set_value();
  for (auto& future : waiting) CHECK(future.get().accepted == 20);
  CHECK(stored_of(ingestor, round(5)).accepted == 20);
  CHECK(ingestor.counters().busy == 1);
  CHECK(ingestor.counters().queue_samples == 0);
  CHECK(ingestor.counters().queue_bytes == 0);
}

TEST_CASE("while the database is away senders wait or try later, and nothing is lost") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.answer_max = 100ms;
  Ingestor ingestor(s, clock_now, {});
  CHECK(stored_of(ingestor, round(0)).accepted == 20);
  Postgres::shared().cluster().stop_immediate();
  CHECK(stored_of(ingestor, round(1)).state ==
        Stored::State::busy);  // taken, and told after answer_max
  auto at_once = submit(ingestor, batch_of(round(2)));
  REQUIRE(at_once.wait_for(0s) == std::future_status::ready);
  CHECK(at_once.get().state == Stored::State::busy);
  CHECK(ingestor.counters().away);
  Postgres::shared().cluster().ensure_running();
  for (int r = 1; r < 4; ++r) {
    Stored stored;
    do stored = stored_of(ingestor, round(r));
    while (stored.state == Stored::State::busy);
    CHECK(stored.accepted + stored.duplicates == 20);
  }
  CHECK_FALSE(ingestor.counters().away);
  CHECK(samples_in(dsn).size() == 4 * 20);
}

TEST_CASE("a batch that the database refuses is parked, told and stepped over") {
  const std::string dsn = database();
  log::set_level(log::Level::error);
  std::vector<std::size_t> rows, sets;
  Ingestor ingestor(settings(dsn), clock_now, [&](LogBatch batch) {
    rows.push_back(batch.rows.rows.size());
    sets.push_back(batch.new_sets.size());
  });
  Connection connection(dsn, {});
  connection.run("ALTER TABLE sample_log RENAME COLUMN vals TO other");
  const Stored parked = stored_of(ingestor, round(0));
  CHECK(parked.accepted == 0);
  CHECK(parked.rejected_count == 20);
  REQUIRE_FALSE(parked.rejected.empty());
  CHECK_THAT(parked.rejected[0].what, Catch::Contains("42703"));  // undefined_column
  connection.run("ALTER TABLE sample_log RENAME COLUMN other TO vals");
  CHECK(stored_of(ingestor, round(1)).accepted == 20);
  CHECK(rows == std::vector<std::size_t>{0, 5});
  CHECK(sets == std::vector<std::size_t>{5, 0});  // its names are kept: later rows need them
  CHECK(ingestor.counters().parked == 1);
  CHECK(samples_in(dsn).size() == 20);
  CHECK(connection.run("SELECT batch_id FROM sample_batch WHERE row_count = 0").size() == 1);
  log::set_level(log::Level::warn);
}

TEST_CASE("rows without a partition wait for one and are not lost") {
  const std::string dsn = Postgres::shared().fresh_database();
  Ingestor::Settings s = settings(dsn);
  s.answer_max = 60s;
  Ingestor ingestor(s, clock_now, {});
  auto waiting = submit(ingestor, batch_of(round(0)));
  while (ingestor.counters().resends == 0) std::this_thread::yield();
  store::make_partitions(dsn, clock_now());
  REQUIRE(waiting.wait_for(60s) == std::future_status::ready);
  CHECK(waiting.get().accepted == 20);
  CHECK(samples_in(dsn).size() == 20);
}

TEST_CASE("a new version is a new set in the database") {
  const std::string dsn = database();
  Ingestor ingestor(settings(dsn), clock_now, {});
  stored_of(ingestor, {{"a|x|v1", noon, 1}, {"a|y|v1", noon, 1}});
  stored_of(ingestor, {{"a|x|v2", noon + 60, 1}, {"a|y|v2", noon + 60, 1}});
  const auto sets = store::known_sets(dsn);
  REQUIRE(sets.size() == 2);
  CHECK(sets[0]->attributes.version != sets[1]->attributes.version);
  CHECK(sets[0]->series.size() == 2);
  CHECK(samples_in(dsn).size() == 4);
}

TEST_CASE(
    "rows that hold many sets are read by the view and the reader, over several pages and with "
    "holes") {
  const std::string dsn = Postgres::shared().fresh_database();
  const auto wall = [] {
    return Timestamp{std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count()};
  };
  store::make_partitions(dsn, wall());
  Ingestor ingestor(settings(dsn), wall, {});
  // 40 models of 60 series are 2,400 values, some 20 kB; each model at its own instant, and then half of it
  // a minute later. A value names its model, metric and minute.
  std::vector<Given> given;
  for (int minute = 0; minute < 2; ++minute)
    for (int model = 0; model < 40; ++model)
      for (int metric = minute; metric < 60; metric += 1 + minute)
        given.push_back({"m" + std::to_string(model) + "|x" + std::to_string(metric) + "|v1",
                         noon + model * 7 + minute * 3600, model * 1000.0 + metric * 10 + minute});
  CHECK(stored_of(ingestor, given).accepted == given.size());
  Connection connection(dsn, {});
  CHECK(samples_in(dsn).size() == given.size());
  // Far fewer rows than sets, and each in one page of 8 kB: nothing was moved out of its row.
  CHECK(connection.run("SELECT count(*) BETWEEN 3 AND 8 FROM sample_log").at(0, 0) == "t");
  CHECK(connection.run("SELECT sum(cardinality(set_ids)) FROM sample_log").at(0, 0) == "80");
  const store::Rows seen = connection.run(
      "SELECT count(*), count(DISTINCT series_id), bool_and(value = substr(model, 2)::int * 1000 +"
      " substr(metric, 2)::int * 10 + (extract(epoch FROM ts)::bigint - 1700000000) / 3600 AND"
      " (extract(epoch FROM ts)::bigint - 1700000000) % 3600 = substr(model, 2)::int * 7)"
      " FROM v_sample_recent");
  CHECK(seen.at(0, 0) == std::to_string(given.size()));
  CHECK(seen.at(0, 1) == "2400");
  CHECK(seen.at(0, 2) == "t");
}

TEST_CASE("several shards: each has its batches, and a request is answered when all have it") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.registry.shards = 3;
  {
    Ingestor ingestor(s, clock_now, {});
    for (int r = 0; r < 10; ++r) CHECK(stored_of(ingestor, round(r, 30)).accepted == 120);
  }
  Connection connection(dsn, {});
  CHECK(connection.run("SELECT DISTINCT shard FROM sample_batch").size() == 3);
  CHECK(connection.run("SELECT sum(sample_count) FROM sample_batch").at(0, 0) == "1200");
  s.collector = 2;
  Ingestor ingestor(s, clock_now, {});
  CHECK(stored_of(ingestor, round(9, 30)).duplicates == 120);
}

TEST_CASE("stopping writes what is queued") {
  const std::string dsn = database();
  std::vector<std::future<Stored>> waiting;
  {
    Ingestor ingestor(settings(dsn), clock_now, {});
    for (int r = 0; r < 20; ++r) waiting.push_back(submit(ingestor, batch_of(round(r))));
    ingestor.stop();
    CHECK(submit(ingestor, batch_of(round(20))).get().state == Stored::State::busy);
  }
  for (auto& future : waiting) CHECK(future.get().accepted == 20);
  CHECK(samples_in(dsn).size() == 20 * 20);
}

TEST_CASE("a greedy sender is told to wait, and a polite one is answered soon") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.queue_samples_max = 400'000;
  s.commit_samples_max = 20'000;
  Ingestor ingestor(s, clock_now, {});
  // The greedy one never waits for an answer: 500 series a request, each at an instant of its own.
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> throttled = 0, accepted = 0, busy = 0;
  std::thread greedy([&] {
    for (int r = 0; !done; ++r) {
      SampleBatch batch = batch_of(round(r, 25, 20));
      batch.sender = "greedy";
      ingestor.submit(std::move(batch), [&](const Stored& stored) {
        throttled += stored.state == Stored::State::throttled;
        busy += stored.state == Stored::State::busy;
        accepted += stored.accepted + stored.duplicates;
      });
    }
  });
  while (throttled == 0) std::this_thread::yield();
  std::vector<double> waited;
  for (int r = 0; r < 100; ++r) {
    SampleBatch batch = batch_of({{"polite|x|v1", noon + r, 1.0}});
    batch.sender = "polite";
    const auto begin = std::chrono::steady_clock::now();
    const Stored stored = submit(ingestor, std::move(batch)).get();
    waited.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    REQUIRE(stored.state == Stored::State::committed);
    CHECK(stored.accepted == 1);
  }
  done = true;
  greedy.join();
  ingestor.stop();
  std::sort(waited.begin(), waited.end());
  // The greedy one has 200,000 samples in the queue, ten commits or more. The polite one waits for the two under
  // way and its own; in turn it would wait for all. Commits of 20,000 take some 10 ms here, and ten times as
  // long on a machine that does much else.
  INFO("median " << waited[50] << " s, the slowest but one " << waited[98] << " s; greedy " << accepted
                 << " taken, " << throttled << " times told to wait");
  CHECK(waited[50] < 0.3);
  CHECK(waited[98] < 1.0);
  CHECK(throttled > 0);
  CHECK(busy == 0);
  CHECK(accepted > 0);
}

TEST_CASE("a storm of new series goes on in several commits while known ones are answered") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.registry.new_series_at_once = 500;
  Ingestor ingestor(s, clock_now, {});
  CHECK(stored_of(ingestor, {{"known|x|v1", noon, 1}}).accepted == 1);
  const std::uint64_t commits = ingestor.counters().commits;
  auto storm = submit(ingestor, batch_of(round(0, 500, 20)));
  int answered = 0;
  while (storm.wait_for(0s) != std::future_status::ready) {
    SampleBatch batch = batch_of({{"known|x|v1", noon + 60 + answered, 1}});
    batch.sender = "other";
    CHECK(submit(ingestor, std::move(batch)).get().accepted == 1);
    ++answered;
  }
  CHECK(storm.get().accepted == 10'000);
  CHECK(answered >= 5);
  CHECK(ingestor.counters().commits - commits >= 20);
  CHECK(samples_in(dsn).size() == static_cast<std::size_t>(10'000 + answered + 1));
}

TEST_CASE("two collectors that meet the same new series at once write each name once") {
  const std::string dsn = database();
  Ingestor first(settings(dsn, 1), clock_now, {}), second(settings(dsn, 2), clock_now, {});
  for (int r = 0; r < 10; ++r) {
    std::vector<Given> given;
    for (int m = 0; m < 300; ++m)
      given.push_back({"r" + std::to_string(r) + "-m" + std::to_string(m / 10) + "|x" +
                           std::to_string(m % 10) + "|v1",
                       noon + r, 1});
    auto a = submit(first, batch_of(given)), b = submit(second, batch_of(given));
    CHECK(a.get().accepted == 300);
    CHECK(b.get().accepted == 300);
  }
  CHECK(first.counters().resends + second.counters().resends == 0);
  Connection connection(dsn, {});
  CHECK(connection.run("SELECT count(*) FROM series").at(0, 0) == "3000");
  CHECK(connection.run("SELECT count(*) FROM series_set").at(0, 0) == "300");
}

TEST_CASE("a database that is frozen is told to those who wait, and it is left in time") {
  const std::string dsn = database();
  Ingestor::Settings s = settings(dsn);
  s.answer_max = 300ms;
  s.drain_max = 100ms;
  auto ingestor = std::make_unique<Ingestor>(s, clock_now, Ingestor::Committed{});
  CHECK(stored_of(*ingestor, round(0)).accepted == 20);
  // All of it stops in its tracks: connections stay open and nobody answers.
  const auto freeze = [&] {
    std::vector<pid_t> frozen = {Postgres::shared().cluster().pid()};
    {
      Connection connection(dsn, {});
      const store::Rows pids = connection.run(
          "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND "
          "application_name = 'muster ingest'");
      for (int i = 0; i < pids.size(); ++i)
        frozen.push_back(std::stoi(std::string(pids.at(i, 0))));
    }
    REQUIRE(frozen.size() > 1);
    for (const pid_t pid : frozen) REQUIRE(::kill(pid, SIGSTOP) == 0);
    return frozen;
  };
  std::vector<pid_t> frozen = freeze();
  std::vector<std::future<Stored>> waiting;
  for (int r = 1; r < 5; ++r) waiting.push_back(submit(*ingestor, batch_of(round(r))));
  for (auto& future : waiting) {
    REQUIRE(future.wait_for(20s) == std::future_status::ready);
    CHECK(future.get().state == Stored::State::busy);
  }
  CHECK(ingestor->counters().away);
  for (const pid_t pid : frozen) ::kill(pid, SIGCONT);
  for (int r = 1; r < 5; ++r) {
    Stored stored;
    do stored = stored_of(*ingestor, round(r));
    while (stored.state == Stored::State::busy);
    CHECK(stored.accepted + stored.duplicates == 20);
  }
  CHECK(samples_in(dsn).size() == 5 * 20);

  frozen = freeze();
  auto lost = submit(*ingestor, batch_of(round(9)));
  const auto begin = std::chrono::steady_clock::now();
  ingestor->stop();
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  CHECK(lost.get().state == Stored::State::busy);
  for (const pid_t pid : frozen) ::kill(pid, SIGCONT);
}
