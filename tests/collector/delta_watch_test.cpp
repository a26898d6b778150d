#include "collector/delta_watch.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace muster;
using collector::DeltaCounters;
using collector::DeltaWatch;
using decode::DeltaSpan;

TEST_CASE("delta points that follow each other are good, the same again too") {
  DeltaWatch watch(100);
  DeltaCounters counters;
  const std::vector<DeltaSpan> spans = {{1, 0, 10}, {2, 5, 10}, {1, 10, 20}, {1, 10, 20}, {2, 10, 20}};
  watch.see(spans, counters);
  CHECK(counters.gaps == 0);
  CHECK(counters.overlaps == 0);
  CHECK(counters.late == 0);
  CHECK(watch.streams() == 2);
}

TEST_CASE("gaps, overlaps and late delta points are counted each as what it is") {
  DeltaWatch watch(100);
  DeltaCounters counters;
  watch.see(std::vector<DeltaSpan>{{1, 0, 10}, {1, 11, 20}}, counters);
  CHECK(counters.gaps == 1);
  watch.see(std::vector<DeltaSpan>{{1, 19, 30}}, counters);
  CHECK(counters.overlaps == 1);
  watch.see(std::vector<DeltaSpan>{{1, 10, 11}}, counters);
  CHECK(counters.late == 1);
  watch.see(std::vector<DeltaSpan>{{1, 30, 40}}, counters);  // the late one moved nothing
  CHECK(counters.gaps == 1);
  CHECK(counters.overlaps == 1);
}

TEST_CASE("streams beyond the bound are forgotten, those seen last the latest") {
  DeltaWatch watch(100);
  DeltaCounters counters;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    watch.see(std::vector<DeltaSpan>{{i, 0, 10}}, counters);
    watch.see(std::vector<DeltaSpan>{{7, i * 10, i * 10 + 10}}, counters);
    REQUIRE(watch.streams() <= 103);
  }
  // 7 met itself once, as one of all.
  CHECK(counters.gaps == 0);
  watch.see(std::vector<DeltaSpan>{{7, 100'001, 100'010}}, counters);
  CHECK(counters.gaps == 1);
  watch.see(std::vector<DeltaSpan>{{9'999, 11, 20}}, counters);
  CHECK(counters.gaps == 2);
  watch.see(std::vector<DeltaSpan>{{1'000, 11, 20}}, counters);  // long forgotten
  CHECK(counters.gaps == 2);
}
