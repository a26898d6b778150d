#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace muster::app {

// What /metrics says, gathered when it is asked for: the modules keep plain counters of their own, and this
// writes them in the text format. Names start with muster_, counters end in _total, units end the name.
class MetricsPage {
 public:
  using Labels = std::initializer_list<std::pair<std::string, std::string>>;

  MetricsPage();
  ~MetricsPage();

  void counter(std::string_view name, std::string_view help, double value, Labels labels = {});
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});

  std::string text() const;  // exposition format 0.0.4

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

// Of this process; 0 when the system does not say.
std::uint64_t resident_bytes();

// This process: resident bytes, CPU seconds, open files and when it started, from /proc.
void add_process(MetricsPage& page);

}  // namespace muster::app
