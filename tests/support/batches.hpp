#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/hash.hpp"
#include "schema/samples.hpp"

// Sample batches by hand, in a form of their own: "model|metric|version".
namespace muster::test {

inline Result<SeriesIdentity> identify_bars(std::string_view text, const Mapping&) {
  const std::size_t a = text.find('|'), b = text.find('|', a + 1);
  if (a == text.npos || b == text.npos) return Error{"labels", "not model|metric|version"};
  SeriesIdentity identity;
  identity.model = text.substr(0, a);
  identity.metric = text.substr(a + 1, b - a - 1);
  identity.kind = identity.metric.ends_with("_total") ? Kind::counter : Kind::gauge;
  identity.attributes.version = text.substr(b + 1);
  return identity;
}

struct Given {
  std::string series;  // "model|metric|version"
  std::int64_t seconds = 0;
  double value = 0;
};

inline SampleBatch batch_of(const std::vector<Given>& given) {
  SampleBatch batch;
  batch.identify = identify_bars;
  batch.sender = "test";
  std::size_t bytes = 0;
  for (const Given& g : given) bytes += g.series.size();
  batch.bytes.reserve(bytes);
  for (const Given& g : given) {
    const std::size_t at = batch.bytes.size();
    batch.bytes.insert(batch.bytes.end(), g.series.begin(), g.series.end());
    const std::string_view labels(batch.bytes.data() + at, g.series.size());
    batch.series.push_back({labels, hash64(labels), static_cast<std::uint32_t>(batch.points.size()),
                            1, static_cast<std::uint32_t>(batch.series.size())});
    batch.points.push_back({from_seconds(g.seconds), g.value});
  }
  return batch;
}

}  // namespace muster::test
