#include "app/tail.hpp"

#include <utility>

namespace muster::app {

void Tail::push(LogBatch batch) {
  const std::lock_guard lock(mutex_);
  values_ += batch.rows.values.size();
  batches_.push_back(std::move(batch));
  while (values_ > values_max_ && batches_.size() > 1) {
    values_ -= batches_.front().rows.values.size();
    batches_.pop_front();
    ++forgotten_;
  }
  came_.notify_one();
}

std::optional<LogBatch> Tail::pop(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, patience, [this] { return closed_ || !batches_.empty(); });
  if (batches_.empty()) return std::nullopt;
  LogBatch batch = std::move(batches_.front());
  batches_.pop_front();
  values_ -= batch.rows.values.size();
  return batch;
}

void Tail::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  came_.notify_all();
}

std::size_t Tail::values() const {
  const std::lock_guard lock(mutex_);
  return values_;
}

std::size_t Tail::forgotten() const {
  const std::lock_guard lock(mutex_);
  return forgotten_;
}

}  // namespace muster::app
