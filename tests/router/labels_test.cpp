#include "router/labels.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::router;

TEST_CASE("fingerprints are Alertmanager's") {
  // Seen on a running Alertmanager 0.25.
  CHECK(fingerprint({}) == "cbf29ce484222325");
  CHECK(fingerprint({{"a", "b"}}) == "d2b371819297f98a");
  CHECK(fingerprint({{"A", "2"}, {"_", "3"}, {"alertname", "X"}, {"z", "1"}}) ==
        "b584e33d5fa17dba");
  CHECK(fingerprint({{"b", "é☃𝄞"}}) == "f6aac2deaf486371");
  CHECK(fingerprint({{"x", "a\n\"\\ \t"}}) == "5c03e83f3c85f75f");
  CHECK(fingerprint({{"alertname", "D & <b>"}, {"severity", "crit"}}) == "bec0822a1c375e59");
  CHECK(fingerprint(canonical({{"c", ""}, {"a", "b"}})) == "d2b371819297f98a");
}

TEST_CASE("labels are quoted as Go does it") {
  // By strconv.Quote's rules.
  CHECK(quote("q\"u\\o\nte") == R"("q\"u\\o\nte")");
  CHECK(quote("é☃𝄞") == "\"é☃𝄞\"");
  CHECK(quote(std::string("\x00\x1f\x7f", 3)) == R"("\x00\x1f\x7f")");
  CHECK(quote("\xc2\xa0|\xc2\x85|\xff") == R"("\u00a0|\u0085|\xff")");
  CHECK(to_text({{"i", "B"}, {"t", "gall"}, {"z", "q\"u\\o\nte"}}) ==
        R"({i="B", t="gall", z="q\"u\\o\nte"})");
}

TEST_CASE("no two label sets share an identity") {
  CHECK(identity({{"a", "b\",\"c\"=\"d"}}) != identity({{"a", "b"}, {"c", "d"}}));
  CHECK(identity({{"a\"=\"b", "c"}}) != identity({{"a", "b\"=\"c"}}));
}

TEST_CASE("text that is not UTF-8 is seen") {
  CHECK(is_utf8("aé☃𝄞"));
  CHECK_FALSE(is_utf8("\xc0\x80"));          // overlong
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));      // a surrogate
  CHECK_FALSE(is_utf8("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  CHECK_FALSE(is_utf8("\xe2\x98"));          // cut
}

TEST_CASE("the hash of a group key is the one PagerDuty would get") {
  // Seen on a running Alertmanager 0.25.
  CHECK(sha256_hex(R"({}:{alertname="D & <b>"})") ==
        "0dade4ebead7feb5bfe9fdc5aa1b6e0976dfc15efaf47ff6e5545fa75e005aad");
}
