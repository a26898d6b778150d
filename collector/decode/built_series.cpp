#include "collector/decode/built_series.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "collector/decode/label_fields.hpp"

namespace muster::decode {

void BuiltSeries::grow(std::size_t bytes) {
  const std::size_t wanted = std::max(used_ + bytes + spare_bytes, bytes_.size() * 2);
  bytes_.resize(std::max(wanted, std::exchange(expected_, 0)));
}

void BuiltSeries::close(SampleBatch& batch, RawSeries series, const char* alias_end,
                        const char* end) {
  const char* const begin = bytes_.data() + used_;
  assert(begin <= alias_end && alias_end <= end && end <= bytes_.data() + bytes_.size());
  series.alias = alias_of({begin, static_cast<std::size_t>(alias_end - begin)});
  const auto size = static_cast<std::uint32_t>(end - begin);
  made_.push_back({static_cast<std::uint32_t>(batch.series.size()), size, used_});
  batch.series.push_back(series);
  used_ += size;
}

void BuiltSeries::again(SampleBatch& batch, RawSeries series) {
  assert(!made_.empty());
  const Made before = made_.back();
  series.alias = batch.series[before.series].alias;
  made_.push_back({static_cast<std::uint32_t>(batch.series.size()), before.size, before.first});
  batch.series.push_back(series);
}

std::vector<char> BuiltSeries::settle(SampleBatch& batch) {
  if (made_.empty()) return {};
  bytes_.resize(used_);
  std::vector<char> before = std::exchange(batch.bytes, std::move(bytes_));
  if (!before.empty()) {
    batch.bytes.insert(batch.bytes.end(), before.begin(), before.end());
    // Those that were found in the request move with it; those made here have none yet.
    const char* const moved = batch.bytes.data() + used_;
    for (RawSeries& series : batch.series)
      if (series.labels.data() != nullptr)
        series.labels = {moved + (series.labels.data() - before.data()), series.labels.size()};
  }
  for (const Made& made : made_)
    batch.series[made.series].labels = {batch.bytes.data() + made.first, made.size};
  *this = {};
  return before;
}

}  // namespace muster::decode
