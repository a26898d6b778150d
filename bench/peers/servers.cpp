#include "bench/peers/servers.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "bench/peers/load.hpp"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no free port");
  ::close(fd);
  return ntohs(address.sin_port);
}

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

std::string end_of(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream all;
  all << file.rdbuf();
  const std::string text = all.str();
  return text.size() > 2000 ? text.substr(text.size() - 2000) : text;
}

struct Stat {
  pid_t parent = 0;
  double own = 0, reaped = 0;  // clock ticks
};
std::map<pid_t, Stat> all_processes() {
  std::map<pid_t, Stat> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;
    // From field 3 of proc(5) on: state, ppid; utime, stime, cutime, cstime are fields 14 to 17.
    std::istringstream words(line.substr(line.rfind(')') + 2));
    std::vector<std::string> word(15);
    for (std::string& w : word) words >> w;
    out[std::stoi(name)] = {std::stoi(word[1]), std::stod(word[11]) + std::stod(word[12]),
                            std::stod(word[13]) + std::stod(word[14])};
  }
  return out;
}

std::uint64_t folder_bytes(const fs::path& folder) {
  std::uint64_t sum = 0;
  std::error_code ignored;
  for (auto it = fs::recursive_directory_iterator(folder, ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored))
    if (it->is_regular_file(ignored)) sum += it->file_size(ignored);
  return sum;
}

}  // namespace

const char* name_of(Server::Kind kind) {
  switch (kind) {
    case Server::Kind::muster:
      return "muster";
    case Server::Kind::prometheus:
      return "Prometheus";
    case Server::Kind::victoria_metrics:
      return "VictoriaMetrics";
    case Server::Kind::influxdb:
      return "InfluxDB";
  }
  return "";
}

bool installed(Server::Kind kind) {
  const char* program = kind == Server::Kind::prometheus         ? "prometheus"
                        : kind == Server::Kind::victoria_metrics ? "victoria-metrics"
                        : kind == Server::Kind::influxdb         ? "influxd"
                                                                 : nullptr;
  if (program == nullptr) return true;
  std::istringstream path(std::getenv("PATH") ? std::getenv("PATH") : "/usr/bin");
  for (std::string folder; std::getline(path, folder, ':');)
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  return false;
}

Server::Server(Kind kind, const std::string& binary, const fs::path& folder)
    : kind_(kind), folder_(folder), port_(free_port()) {
  fs::create_directories(folder_);
  const std::string listen = fmt::format("127.0.0.1:{}", port_);
  const std::string data = (folder_ / "data").string();
  std::vector<std::string> words;
  switch (kind) {
    case Kind::muster:
      words = {binary, "serve", "--data-dir", data, "--listen", listen};
      break;
    case Kind::prometheus:
      write_file(folder_ / "prometheus.yml", "global: {}\n");
      words = {"prometheus",
               "--config.file=" + (folder_ / "prometheus.yml").string(),
               "--storage.tsdb.path=" + data,
               "--web.listen-address=" + listen,
               "--web.enable-remote-write-receiver",
               "--web.enable-admin-api",
               "--log.level=error"};
      break;
    case Kind::victoria_metrics:
      words = {"victoria-metrics", "-storageDataPath=" + data, "-httpListenAddr=" + listen,
               "-retentionPeriod=12", "-loggerLevel=ERROR"};
      break;
    case Kind::influxdb:
      second_port_ = free_port();
      write_file(folder_ / "influxdb.conf",
                 fmt::format("reporting-disabled = true\nbind-address = \"127.0.0.1:{0}\"\n"
                             "[meta]\ndir = \"{1}/meta\"\n"
                             "[data]\ndir = \"{1}/data\"\nwal-dir = \"{1}/wal\"\n"
                             "max-series-per-database = 0\nmax-values-per-tag = 0\n"
                             "query-log-enabled = false\n"
                             "[http]\nbind-address = \"{2}\"\nlog-enabled = false\n"
                             "[logging]\nlevel = \"error\"\n",
                             second_port_, data, listen));
      words = {"influxd", "-config", (folder_ / "influxdb.conf").string()};
      break;
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = (folder_ / "log").string();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("no new process");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // it does not outlive this program
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  try {
    wait_ready();
  } catch (...) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    throw;
  }
}

Server::~Server() {
  ::kill(pid_, SIGTERM);
  bool ended = false;
  for (int i = 0; i < 300 && !ended; ++i) {
    ended = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  if (!ended) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void Server::wait_ready() {
  const char* path = kind_ == Kind::influxdb           ? "/ping"
                     : kind_ == Kind::victoria_metrics ? "/health"
                                                       : "/-/ready";
  for (int i = 0; i < 600; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) break;
    try {
      Wire wire(port_);
      if (wire.get(path).status / 100 == 2) {
        if (kind_ == Kind::influxdb)
          wire.post("/query?q=CREATE+DATABASE+bench", {}, "");
        return;
      }
    } catch (const std::exception&) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  throw std::runtime_error(fmt::format("{} does not start:\n{}", name_of(kind_), end_of(folder_ / "log")));
}

const char* Server::write_path() const {
  return kind_ == Kind::influxdb ? "/api/v1/prom/write?db=bench" : "/api/v1/write";
}

const char* Server::lines_path() const {
  return kind_ == Kind::muster             ? "/api/v1/samples"
         : kind_ == Kind::victoria_metrics ? "/api/v1/import"
                                           : nullptr;
}

std::vector<pid_t> Server::processes() const {
  const std::map<pid_t, Stat> all = all_processes();
  std::vector<pid_t> roots = {pid_};
  if (kind_ == Kind::muster) {
    // PostgreSQL is no child of muster: it outlives a kill.
    std::ifstream file(folder_ / "data" / "postgres" / "data" / "postmaster.pid");
    pid_t postmaster = 0;
    if (file >> postmaster && postmaster != pid_) roots.push_back(postmaster);
  }
  std::vector<pid_t> out;
  for (const pid_t root : roots)
    if (all.contains(root) && std::find(out.begin(), out.end(), root) == out.end())
      out.push_back(root);
  for (std::size_t i = 0; i < out.size(); ++i)
    for (const auto& [pid, stat] : all)
      if (stat.parent == out[i] && std::find(out.begin(), out.end(), pid) == out.end())
        out.push_back(pid);
  return out;
}

double Server::cpu_seconds() const {
  const std::map<pid_t, Stat> all = all_processes();
  double ticks = 0;
  for (const pid_t pid : processes())
    if (const auto found = all.find(pid); found != all.end())
      ticks += found->second.own + found->second.reaped;
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::uint64_t Server::resident_bytes() const {
  std::uint64_t pages = 0;
  for (const pid_t pid : processes()) {
    std::ifstream file(fmt::format("/proc/{}/statm", pid));
    std::uint64_t size = 0, resident = 0;
    if (file >> size >> resident) pages += resident;
  }
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void Server::settle(double most_seconds) const {
  int quiet = 0;
  double before = cpu_seconds();
  for (double waited = 0; waited < most_seconds && quiet < 3; waited += 1) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const double now = cpu_seconds();
    quiet = now - before < 0.03 ? quiet + 1 : 0;
    before = now;
  }
}

std::uint64_t Server::compact_bytes() {
  const fs::path data = folder_ / "data";
  Wire wire(port_);
  switch (kind_) {
    case Kind::muster:
      return 0;
    case Kind::prometheus: {
      // What it keeps once its head is a block.
      if (wire.post("/api/v1/admin/tsdb/snapshot", {}, "").status != 200) return 0;
      return folder_bytes(data / "snapshots");
    }
    case Kind::victoria_metrics:
      wire.get("/internal/force_flush");
      wire.get("/internal/force_merge");
      settle(20);
      return folder_bytes(data / "data");
    case Kind::influxdb:
      return 0;
  }
  return 0;
}

std::string Server::log() const {
  return end_of(folder_ / "log");
}

double Server::metric(const std::string& name) const {
  Wire wire(port_);
  const Wire::Answer answer = wire.get("/metrics");
  std::istringstream lines(answer.body);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + ' ')) return std::strtod(line.c_str() + name.size() + 1, nullptr);
  return 0;
}

}  // namespace muster::bench
