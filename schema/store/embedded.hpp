#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace muster::store {

// It cannot run here, and trying again changes nothing; the words say what a person has to do.
struct EmbeddedRefused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A private PostgreSQL cluster in a folder: initialised at the first start, reached through a unix
// socket alone, stopped when this object goes.
//
//   folder/data          the cluster; data/muster.conf is ours, data/local.conf is the user's and wins
//   folder/run           the socket; a folder under /tmp where the path would be too long for one
//   folder/muster.lock   held while a muster runs on the folder
//
// PostgreSQL refuses to run as root, so root starts it as the owner of the folder, or as `postgres`
// when that is root too. One that a killed muster left behind is stopped cleanly and started again;
// after a crash PostgreSQL recovers by itself.
class EmbeddedPostgres {
 public:
  struct Settings {
    std::filesystem::path folder;
    // Where postgres and initdb are; looked for when empty.
    std::filesystem::path programs;
    // More lines for muster.conf. They win over ours.
    std::map<std::string, std::string> more;
    // Fits a small box beside muster itself; the operating system's cache does the rest.
    int shared_buffers_mb = 256;
    // Connections of muster's own parts, psql and Grafana.
    int connections_max = 50;
    // Recovery reads up to max_wal_size, seconds on any disk; beyond this something is wrong.
    std::chrono::seconds start_max{600};
    // A fast stop writes a checkpoint; after this it is stopped at once, and recovers at the next
    // start.
    std::chrono::seconds stop_max{60};
    // For tests: initialise without waiting for the disk.
    bool initialise_without_sync = false;
  };

  // Starts it, and returns when it takes connections. Throws EmbeddedRefused with what to do, or
  // Unavailable when it did not come up.
  explicit EmbeddedPostgres(Settings settings);
  ~EmbeddedPostgres();
  EmbeddedPostgres(const EmbeddedPostgres&) = delete;
  EmbeddedPostgres& operator=(const EmbeddedPostgres&) = delete;

  // How to connect, as the owner of the database `muster`.
  std::string dsn() const;

  // Starts it again if it died. Any thread may call; true when it had to.
  bool ensure_running();

  // Fast: running transactions are rolled back and a checkpoint is written.
  void stop();
  // As a power cut would, but for the file cache: nothing is written, the next start recovers.
  void stop_immediate();

  pid_t pid() const;  // of the postmaster; 0 when it is stopped

 private:
  struct Running;
  std::unique_ptr<Running> running_;
};

}  // namespace muster::store
