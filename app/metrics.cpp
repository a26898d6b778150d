#include "app/metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <filesystem>
#include <fstream>
#include <map>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <vector>

namespace muster::app {

struct MetricsPage::Families {
  std::vector<prometheus::MetricFamily> list;
  std::map<std::string, std::size_t, std::less<>> index;

  void add(std::string_view name, std::string_view help, prometheus::MetricType type, double value, Labels labels) {
    const auto [at, is_new] = index.try_emplace(std::string(name), list.size());
    if (is_new) {
      prometheus::MetricFamily family;
      family.name = name;
      family.help = help;
      family.type = type;
      list.push_back(std::move(family));
    }
    assert(list[at->second].type == type);
    prometheus::ClientMetric metric;
    for (const auto& [label, text] : labels) metric.label.push_back({label, text});
    (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    list[at->second].metric.push_back(std::move(metric));
  }
};

MetricsPage::MetricsPage() : families_(std::make_unique<Families>()) {}
MetricsPage::~MetricsPage() = default;

void MetricsPage::counter(std::string_view name, std::string_view help, double value, Labels labels) {
  families_->add(name, help, prometheus::MetricType::Counter, value, labels);
}

void MetricsPage::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  families_->add(name, help, prometheus::MetricType::Gauge, value, labels);
}

std::string MetricsPage::text() const { return prometheus::TextSerializer().Serialize(families_->list); }

std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0, resident = 0;
  if (!(statm >> pages >> resident)) return 0;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

void add_process(MetricsPage& page) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  page.counter("process_cpu_seconds_total", "CPU time of this process, user and system",
               seconds(used.ru_utime) + seconds(used.ru_stime));

  if (const std::uint64_t resident = resident_bytes(); resident > 0)
    page.gauge("process_resident_memory_bytes", "Memory that is in RAM",
               static_cast<double>(resident));
  std::error_code failed;
  const auto files = std::filesystem::directory_iterator("/proc/self/fd", failed);
  if (!failed) {
    page.gauge("process_open_fds", "Open files and sockets",
               static_cast<double>(std::distance(begin(files), end(files))));
  }
}

}  // namespace muster::app
