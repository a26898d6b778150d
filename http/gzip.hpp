#pragma once

#include <string>
#include <string_view>

namespace muster::http {

// `text` as one gzip member. level 1 (fast) to 9 (small).
std::string gzip(std::string_view text, int level);

// Whether an Accept-Encoding header takes gzip: named, or by *, and not with q=0.
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace muster::http
