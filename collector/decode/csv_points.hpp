#pragma once

#include <string_view>
#include <vector>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// Points as `ts,series,value` lines: ts in unix seconds or milliseconds (below 1e11 are seconds), series
// `model|metric` (the last bar parts them; without one the series is a model of its own with the metric
// `value`), value a number, or empty or `null` for one that could not be computed. A first line that does not
// begin with a number is a header. Fields are not quoted; the series may hold commas, as ts is the first field
// and value the last.
//
// body        whole lines; the last may lack its line end
// first_line  the number of its first line, for a file that is read in chunks
Decoded csv_points(std::vector<char> body, std::uint32_t first_line = 1);

// Who `model|metric` is.
Result<SeriesIdentity> csv_identity(std::string_view series, const Mapping& mapping = {});

}  // namespace muster::decode
