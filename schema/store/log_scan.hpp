#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "schema/log.hpp"
#include "schema/time.hpp"

namespace muster::store {

// Every row of the log with samples of `from` or later, a batch of rows after the other, in the order in which
// they lie there. For caches that fill themselves at the start.
//
// take  called with some rows at once; false ends the scan
//
// Throws Unavailable or Rejected.
void scan_log(const std::string& dsn, int shards, Timestamp from, const std::function<bool(const LogRows&)>& take);

}  // namespace muster::store
