#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "router/memory.hpp"

namespace muster::router {

// What one notice is about: the whole group as one integration may see it.
struct Message {
  std::string_view receiver;
  std::vector<const Alert*> alerts;  // firing and resolved, at least one
  Timestamp now;                     // what is over is judged by it
  Labels group_labels;
  std::string_view group_key;
  std::string_view external_url;
  std::uint64_t max_alerts = 0;  // 0: no limit
};

// Alertmanager's webhook payload, version "4".
std::string webhook_payload(const Message& message);

// The same in one line, for the log and short messages; lists at most `alerts_max` alerts.
std::string text_line(const Message& message, std::size_t alerts_max);

// 2026-11-24T11:53:48.25Z: as Go writes times in JSON, without trailing zeros.
std::string rfc3339(Timestamp t);

// Regular expression characters escaped, as Go's QuoteMeta: Alertmanager shows receivers so.
std::string quote_meta(std::string_view text);

}  // namespace muster::router
