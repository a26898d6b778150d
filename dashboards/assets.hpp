#pragma once

#include <span>
#include <string_view>

namespace muster::dashboards {

// A file of the pages as it lies in the binary.
struct Asset {
  std::string_view path;  // "/index.html", "/assets/index-….js"
  std::string_view content_type;
  std::string_view etag;  // with its quotes
  std::string_view body;
  std::string_view gzipped;  // empty when that would not be smaller
  bool immutable = false;    // its name holds a hash of its content: it may be kept for ever
};

// Made by dashboards/web/embed.mjs, or by notice.cpp when the pages are left out of the build.
std::span<const Asset> assets();

}  // namespace muster::dashboards
