#pragma once

#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// What the benchmarks measure with: seconds on the wall and of CPU.
namespace muster::bench {

inline double wall() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double app_cpu() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

inline double thread_cpu() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// User and system time of the postmaster, of children that ended (it reaps them), and of those that run.
inline double postgres_cpu(pid_t postmaster) {
  double ticks = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;
    std::istringstream words(line.substr(line.rfind(')') + 2));
    std::vector<std::string> word(15);
    for (std::string& w : word) words >> w;
    // From field 3 of proc(5) on: state, ppid; utime, stime, cutime, cstime are fields 14 to 17.
    const bool self = std::stoi(name) == postmaster;
    if (!self && std::stoi(word[1]) != postmaster) continue;
    ticks += std::stod(word[11]) + std::stod(word[12]);
    if (self) ticks += std::stod(word[13]) + std::stod(word[14]);
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace muster::bench
