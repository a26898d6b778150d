#pragma once

#include <vector>

namespace muster::anomaly {

// The middle value; of an even number of them the upper middle one, so that the answer is one of
// the values and depends on nothing but their multiset. Reorders `values`. 0 when there are none.
float median(std::vector<float>& values);

// 1.4826 * median |v|: a standard deviation about zero that outliers do not move. Reorders and
// overwrites.
float mad_about_zero(std::vector<float>& values);

}  // namespace muster::anomaly
