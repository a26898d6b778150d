#include "app/demo_control.hpp"

#include <boost/json.hpp>
#include <utility>

namespace muster::app {
namespace {

using simulator::FaultKind;

// What a button says.
std::string_view title_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::upstream_break:
      return "Break a source";
    case FaultKind::schema_change:
      return "Change a schema";
    case FaultKind::package_regression:
      return "Ship a slow package";
    case FaultKind::single_model:
      return "Break one model";
    case FaultKind::slow_drift:
      return "Let a source drift";
    case FaultKind::stale_feed:
      return "Freeze a feed";
    case FaultKind::region_outage:
      return "Silence a region";
    case FaultKind::outside_graph:
      return "Something undeclared";
  }
  return "";
}

}  // namespace

Result<void> DemoControl::trigger(FaultKind kind) {
  const std::lock_guard lock(mutex_);
  if (!running_)
    return Error{"demo", "the history is still being sent; try again in a few seconds"};
  if (active_.size() + triggered_.size() >= faults_max) {
    return Error{"demo",
                 std::to_string(faults_max) + " faults are at work; wait until one is over"};
  }
  triggered_.push_back(kind);
  return {};
}

void DemoControl::begin(std::uint64_t seed) {
  const std::lock_guard lock(mutex_);
  seed_ = seed;
}

void DemoControl::set_running(bool running) {
  const std::lock_guard lock(mutex_);
  running_ = running;
}

void DemoControl::set_active(std::vector<Active> active) {
  const std::lock_guard lock(mutex_);
  active_ = std::move(active);
}

void DemoControl::set_truth(std::string json) {
  const std::lock_guard lock(mutex_);
  truth_ = std::move(json);
}

std::vector<FaultKind> DemoControl::take_triggered() {
  const std::lock_guard lock(mutex_);
  return std::exchange(triggered_, {});
}

std::string DemoControl::to_json() const {
  namespace json = boost::json;
  const std::lock_guard lock(mutex_);
  json::array faults, active;
  for (const FaultKind kind : simulator::fault_kinds) {
    faults.push_back(json::object{{"kind", simulator::to_word(kind)}, {"title", title_of(kind)}});
  }
  for (const Active& one : active_) {
    active.push_back(json::object{{"id", one.id},
                                  {"kind", simulator::to_word(one.kind)},
                                  {"target", one.target},
                                  {"models", one.models},
                                  {"since", to_millis(one.since)}});
  }
  return json::serialize(json::object{{"seed", seed_},
                                      {"running", running_},
                                      {"faults", std::move(faults)},
                                      {"active", std::move(active)},
                                      {"truth_url", "/api/v1/demo/truth"}});
}

std::string DemoControl::truth() const {
  const std::lock_guard lock(mutex_);
  return truth_;
}

}  // namespace muster::app
