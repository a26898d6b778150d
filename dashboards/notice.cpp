#include "dashboards/assets.hpp"

namespace muster::dashboards {

std::span<const Asset> assets() {
  static constexpr Asset notice[] = {
      {"/index.html",
       "text/html; charset=utf-8",
       "\"notice\"",
       "<!doctype html><html lang=\"en\"><head><meta "
       "charset=\"utf-8\"><title>muster</title></head><body>"
       "<h1>This muster was built without its pages.</h1>"
       "<p>It was configured with MUSTER_WEB=OFF. The same facts are at <a "
       "href=\"/api/v1/fleet\">/api/v1/fleet</a> "
       "and <a href=\"/api/v1/incidents\">/api/v1/incidents</a>.</p></body></html>\n",
       {},
       false}};
  return notice;
}

}  // namespace muster::dashboards
