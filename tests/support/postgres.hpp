#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "base/log.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/migrate.hpp"

namespace muster::test {

// A folder that goes with this object, and with the program, however that ends: a shell waits for the
// program's end and clears up after an abort or a kill, a server that still runs there included.
class TempFolder {
 public:
  TempFolder() {
    // In memory where there is room: what a kill leaves there is the same, and nothing waits for a disk.
    std::error_code none;
    const auto shm = std::filesystem::space("/dev/shm", none);
    const bool in_memory = !none && shm.available > (std::uintmax_t{2} << 30);
    std::string made = in_memory ? "/dev/shm" : std::filesystem::temp_directory_path().string();
    made += "/muster-test-XXXXXX";
    if (!::mkdtemp(made.data())) std::abort();
    path_ = made;

    int pipe_ends[2];
    if (::pipe2(pipe_ends, O_CLOEXEC) != 0) std::abort();
    alive_ = pipe_ends[1];
    const std::string script =
        "trap '' INT TERM HUP; cat >/dev/null; d='" + made +
        "'; [ -d \"$d\" ] || exit 0; find \"$d\" -name postmaster.pid | while read -r f; do"
        " p=$(head -n 1 \"$f\"); [ \"$(cat /proc/$p/comm)\" = postgres ] && kill -QUIT \"$p\"; "
        "done;"
        " for i in 1 2 3 4 5 6 7 8 9; do rm -rf \"$d\" && exit 0; sleep 1; done";
    if (::fork() == 0) {
      ::setsid();
      ::dup2(pipe_ends[0], 0);
      const int nothing = ::open("/dev/null", O_WRONLY);
      ::dup2(nothing, 1);
      ::dup2(nothing, 2);
      ::execl("/bin/sh", "sh", "-c", script.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(pipe_ends[0]);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
    ::close(alive_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int alive_ = -1;
};

// Settings of a cluster for a test: small, and as fast as it gets where the test is not about the disk.
inline store::EmbeddedPostgres::Settings small_cluster(const std::filesystem::path& folder) {
  store::EmbeddedPostgres::Settings settings;
  settings.folder = folder;
  settings.initialise_without_sync = true;
  settings.shared_buffers_mb = 64;
  // A kill of any process loses nothing without fsync, only a power cut would. A prepared transaction is a
  // batch that was acknowledged and cannot be seen yet.
  settings.more = {{"fsync", "off"}, {"max_prepared_transactions", "10"}};
  return settings;
}

// One private cluster a test program, made at the first use and removed at exit:
//
//   const std::string dsn = test::Postgres::shared().fresh_database();
class Postgres {
 public:
  static Postgres& shared() {
    static Postgres one;
    return one;
  }

  // A new database with all migrations applied; a tenth of a second.
  std::string fresh_database() {
    if (!migrated_) {
      make("template_muster", "template1");
      store::migrate(dsn_of("template_muster"));
      migrated_ = true;
    }
    return make("test_" + std::to_string(++count_), "template_muster");
  }

  // A new database with nothing in it.
  std::string empty_database() { return make("test_" + std::to_string(++count_), "template1"); }

  store::EmbeddedPostgres& cluster() { return *cluster_; }

 private:
  Postgres() {
    log::set_level(log::Level::warn);
    cluster_ = std::make_unique<store::EmbeddedPostgres>(small_cluster(folder_.path()));
  }

  std::string dsn_of(const std::string& database) const {
    return cluster_->dsn() + " dbname=" + database;  // the last word wins
  }
  std::string make(const std::string& name, const std::string& from) {
    store::Connection connection(cluster_->dsn(), {});
    connection.run("CREATE DATABASE " + name + " TEMPLATE " + from);
    return dsn_of(name);
  }

  TempFolder folder_;
  std::unique_ptr<store::EmbeddedPostgres> cluster_;
  bool migrated_ = false;
  int count_ = 0;
};

}  // namespace muster::test
