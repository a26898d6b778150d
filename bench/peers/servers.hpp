#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// A server under test: a process of its own on a free loopback port, in a folder of its own.
namespace muster::bench {

class Server {
 public:
  enum class Kind { muster, prometheus, victoria_metrics, influxdb };

  // Starts it and waits until it answers. Throws with the end of its log when it does not.
  //
  // binary  of muster; the others are found in PATH
  Server(Kind kind, const std::string& binary, const std::filesystem::path& folder);
  ~Server();  // stops it, waits for its end, and removes the folder
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Kind kind() const { return kind_; }
  std::uint16_t port() const { return port_; }
  const char* write_path() const;  // remote write 1.0
  const char* lines_path() const;  // JSON lines; nullptr: it takes none

  // User and system time of all its processes, those that have ended included; of muster, its PostgreSQL too.
  double cpu_seconds() const;
  std::uint64_t resident_bytes() const;  // of muster, shared buffers count once for each process that has them

  // Waits until it has no more work of its own: three seconds in a row of less than 3 % of a core. The same rule
  // for all; `most` bounds it.
  void settle(double most_seconds = 25) const;

  // Bytes of its folder once everything that it holds is as compact as it gets; 0 when it has no way to say.
  std::uint64_t compact_bytes();

  std::string log() const;  // the end of it

  // A number of its /metrics; 0 when there is none of that name.
  double metric(const std::string& name) const;

 private:
  std::vector<pid_t> processes() const;
  void wait_ready();

  Kind kind_;
  std::filesystem::path folder_;
  std::uint16_t port_ = 0;
  std::uint16_t second_port_ = 0;  // InfluxDB's RPC
  pid_t pid_ = -1;
};

const char* name_of(Server::Kind kind);
bool installed(Server::Kind kind);

}  // namespace muster::bench
