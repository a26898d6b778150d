#pragma once

#include <chrono>
#include <cstddef>

namespace muster::dashboards {

struct Settings {
  // Open pages that hear of each tick. Below http's own limit, so that other streams have room.
  std::size_t streams_max = 128;
  // A stream says something this often, so that a page and the proxies between know that it lives.
  std::chrono::milliseconds heartbeat = std::chrono::seconds(15);
  // Ticks that come faster than this are joined: a replay closes thousands in a second, a screen shows ten.
  std::chrono::milliseconds tick_gap = std::chrono::milliseconds(100);
  // Versions kept to tell a reader what differs from the one he has; about 1 MB each for 2,000 models. A page
  // that was away for longer gets everything anew.
  std::size_t versions_max = 16;
  // Models of all kept versions together: 0.6 kB each. The newest two are kept whatever their size.
  std::size_t version_models_max = 50'000;
  // News of incidents kept for streams that are busy writing.
  std::size_t news_max = 256;
  // Incidents whose acknowledgement is remembered, beyond those that are shown.
  std::size_t attentions_max = 4096;
  // An incident list's page; the same bound that the list's own page asks for, four times over.
  std::size_t page_max = 200;
  // Longer than a role's name, shorter than an essay.
  std::size_t by_max = 64;
  std::size_t note_max = 4000;
};

}  // namespace muster::dashboards
