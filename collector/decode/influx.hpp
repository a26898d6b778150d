#pragma once

#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "collector/decode/decoded.hpp"
#include "schema/time.hpp"

namespace muster::decode {

struct InfluxRequest {
  std::int64_t unit_ns = 1;  // of the lines' times: 1, 1'000, 1'000'000, …
  Timestamp now;             // for lines without a time
  std::string_view
      database;  // label `db` of lines without one of their own, as in VictoriaMetrics; may be empty
};

// The unit that a `precision` parameter names: n, ns, u, us, µ, ms, s, m, h; empty is nanoseconds.
Result<std::int64_t> influx_unit_ns(std::string_view precision);

// InfluxDB's line protocol: measurement,tag=value field=value,field=value time. Each field becomes a series
// `measurement_field` with the tags as labels, as VictoriaMetrics names them. Numbers, whole numbers (i, u) and
// truth values (1, 0) are taken; texts are read, counted in skipped.texts and left out. Times are kept to the
// microsecond.
//
// Lines that cannot be used stand in `rejected` with their number and the reason; all others are kept.
//
// source  InfluxDB, line protocol reference (1.8 and 2)
Decoded influx_lines(std::string_view body, const InfluxRequest& request,
                     const Limits& limits = {});

}  // namespace muster::decode
