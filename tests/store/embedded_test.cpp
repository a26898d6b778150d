#include "schema/store/embedded.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/support/postgres.hpp"

using namespace muster;
using store::Connection;
using store::EmbeddedPostgres;

namespace {

std::string text_of(const std::string& dsn, const std::string& sql) {
  return std::string(Connection(dsn, {}).run(sql).at(0, 0));
}

}  // namespace

TEST_CASE("an embedded PostgreSQL is set up to lose nothing, for its user alone") {
  const test::TempFolder folder;
  log::set_level(log::Level::error);
  auto settings = test::small_cluster(folder.path());
  settings.more.clear();
  EmbeddedPostgres server(settings);
  const std::string dsn = server.dsn();
  CHECK(text_of(dsn, "SHOW data_checksums") == "on");
  CHECK(text_of(dsn, "SHOW fsync") == "on");
  CHECK(text_of(dsn, "SHOW wal_compression") == "lz4");
  CHECK(text_of(dsn, "SHOW listen_addresses") == "");
  for (const char* name : {"data", "run"}) {
    struct stat about {};
    REQUIRE(::stat((folder.path() / name).c_str(), &about) == 0);
    CHECK((about.st_mode & 077) == 0);
    if (::geteuid() == 0) CHECK(about.st_uid != 0);
  }
  CHECK_FALSE(server.ensure_running());
  CHECK_THROWS_WITH(EmbeddedPostgres(settings), Catch::Contains("another muster"));
}

TEST_CASE("an embedded PostgreSQL lives through kills, and keeps what was committed") {
  const test::TempFolder folder;
  log::set_level(log::Level::error);
  auto settings = test::small_cluster(folder.path());
  auto server = std::make_unique<EmbeddedPostgres>(settings);
  const std::string dsn = server->dsn();
  Connection(dsn, {}).run("CREATE TABLE kept (n int PRIMARY KEY)");

  {
    INFO("its postmaster is killed while a backend works");
    Connection busy(dsn, {});
    busy.run("INSERT INTO kept VALUES (1)");
    busy.run("BEGIN; INSERT INTO kept VALUES (2)");
    const auto postmaster = static_cast<id_t>(server->pid());
    REQUIRE(::kill(server->pid(), SIGKILL) == 0);
    siginfo_t end{};
    REQUIRE(::waitid(P_PID, postmaster, &end, WEXITED | WNOWAIT) == 0);  // its owner will reap it
    CHECK(server->ensure_running());
    CHECK_THROWS_AS(busy.run("COMMIT"), store::Unavailable);
    CHECK(text_of(dsn, "SELECT string_agg(n::text, ',') FROM kept") == "1");
    CHECK_FALSE(server->ensure_running());
  }
  {
    INFO("it is stopped at once, and started again");
    Connection(dsn, {}).run("INSERT INTO kept VALUES (3)");
    server->stop_immediate();
    CHECK(server->pid() == 0);
    CHECK_THROWS_AS(Connection(dsn, {}), store::Unavailable);
    CHECK(server->ensure_running());
    CHECK(text_of(dsn, "SELECT count(*) FROM kept") == "2");
  }
  {
    INFO("the folder is opened by the next one, and the user's settings win");
    server.reset();
    std::ofstream(folder.path() / "data" / "local.conf") << "work_mem = '5MB'\n";
    server = std::make_unique<EmbeddedPostgres>(settings);
    CHECK(text_of(server->dsn(), "SELECT count(*) FROM kept") == "2");
    CHECK(text_of(server->dsn(), "SHOW work_mem") == "5MB");
    server.reset();
  }
  {
    INFO("a server that does not start says why");
    auto wrong = settings;
    wrong.more["shared_buffers"] = "nonsense";
    CHECK_THROWS_WITH(EmbeddedPostgres(wrong), Catch::Contains("shared_buffers"));
  }
  {
    INFO("a folder of another major version is refused with words");
    std::ofstream(folder.path() / "data" / "PG_VERSION") << "9\n";
    CHECK_THROWS_WITH(EmbeddedPostgres(settings),
                      Catch::Contains("made by PostgreSQL 9") && Catch::Contains("pg_upgrade"));
  }
}

TEST_CASE("a server whose muster was killed is taken over") {
  const test::TempFolder folder;
  log::set_level(log::Level::error);
  const auto settings = test::small_cluster(folder.path());

  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t victim = ::fork();
  REQUIRE(victim >= 0);
  if (victim == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Another muster: it starts a server, writes, says so, and waits to be killed.
    const EmbeddedPostgres server(settings);
    Connection(server.dsn(), {}).run("CREATE TABLE kept AS SELECT 7 AS n");
    const pid_t pid = server.pid();
    if (::write(ready[1], &pid, sizeof pid) != sizeof pid) ::_exit(1);
    for (;;) ::pause();
  }
  pid_t orphan = 0;
  REQUIRE(::read(ready[0], &orphan, sizeof orphan) == sizeof orphan);
  REQUIRE(::kill(victim, SIGKILL) == 0);
  REQUIRE(::waitpid(victim, nullptr, 0) == victim);
  REQUIRE(::kill(orphan, 0) == 0);  // it lives on

  const EmbeddedPostgres server(settings);
  const auto pid =
      text_of(server.dsn(), "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
  CHECK(pid == std::to_string(server.pid()));
  CHECK(server.pid() != orphan);
  CHECK(text_of(server.dsn(), "SELECT n FROM kept") == "7");
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a folder with a long name gets its socket elsewhere") {
  const test::TempFolder folder;
  log::set_level(log::Level::error);
  ::chmod(folder.path().c_str(), 0755);  // the server's user has to get through
  const auto deep = folder.path() / std::string(60, 'x') / std::string(60, 'y');
  std::string socket;
  {
    const EmbeddedPostgres server(test::small_cluster(deep));
    socket = text_of(server.dsn(), "SHOW unix_socket_directories");
    CHECK(socket.starts_with("/tmp/muster-"));
  }
  CHECK_FALSE(std::filesystem::exists(socket));
}

TEST_CASE("where no server can run, the words say what to do") {
  const test::TempFolder folder;
  store::EmbeddedPostgres::Settings settings;
  settings.folder = folder.path() / "db";
  settings.programs = folder.path();
  CHECK_THROWS_WITH(EmbeddedPostgres(settings), Catch::Contains("apt-get install postgresql"));
  if (::geteuid() == 0) {
    settings.programs.clear();  // the folder above belongs to root alone
    CHECK_THROWS_WITH(EmbeddedPostgres(settings), Catch::Contains("cannot enter"));
  }
}
