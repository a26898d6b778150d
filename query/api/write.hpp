#pragma once

#include <string>
#include <string_view>

#include "query/engine.hpp"

namespace muster::query {

// JSON without a tree: an answer may have a million numbers.
void append_string(std::string& out, std::string_view text);  // with its quotes
void append_labels(std::string& out, const Labels& labels);   // {"a":"b"}

// Prometheus's {"resultType":…,"result":…} of a value at one instant, or over steps. At most `limit` series;
// whether there were more.
bool append_instant(std::string& out, const Value& value, Timestamp at, std::size_t limit);
bool append_range(std::string& out, Value& value, const Steps& steps, std::size_t limit);

}  // namespace muster::query
