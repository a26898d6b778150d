#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "schema/time.hpp"
#include "simulator/fault.hpp"

namespace muster::app {

// What the demo's driver and the pages tell each other: the driver what is at work, the pages what else
// shall go wrong. Any thread.
class DemoControl {
 public:
  // More would hide each other, and the reader could not follow.
  static constexpr std::size_t faults_max = 2;

  struct Active {
    std::uint32_t id = 0;
    simulator::FaultKind kind{};
    std::string target;
    std::uint32_t models = 0;
    Timestamp since;
  };

  // From a page: this shall go wrong at the next tick. An Error when as many as faults_max are at work.
  Result<void> trigger(simulator::FaultKind kind);

  // From the driver.
  void begin(std::uint64_t seed);
  void set_running(bool running);  // false while history is being sent
  void set_active(std::vector<Active> active);
  void set_truth(std::string json);
  std::vector<simulator::FaultKind> take_triggered();

  // {"seed","running","faults":[{kind,title}],"active":[{id,kind,target,models,since}],"truth_url"}
  std::string to_json() const;
  std::string truth() const;  // what was done, as simulator::to_json has it

 private:
  mutable std::mutex mutex_;
  std::uint64_t seed_ = 0;
  bool running_ = false;
  std::vector<Active> active_;
  std::vector<simulator::FaultKind> triggered_;
  std::string truth_ = "[]";
};

}  // namespace muster::app
