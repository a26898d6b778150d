#include "http/message.hpp"

#include <zlib.h>

#include <catch2/catch.hpp>

#include "http/gzip.hpp"
#include "http/routes.hpp"
#include "http/text.hpp"
#include "tests/fuzz/mutate.hpp"
#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::http;

namespace {

std::string unpacked(const std::string& packed) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, MAX_WBITS + 16) == Z_OK);
  std::string out(1 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

}  // namespace

TEST_CASE("a request finds headers in any case and decodes its query") {
  Request request;
  request.headers = {{"Content-Type", "application/json"}, {"X-Empty", ""}};
  CHECK(request.header("content-type") == "application/json");
  CHECK(request.header("x-empty").empty());
  CHECK(request.header("absent").empty());

  request.query = "a=1&b=two+words%21&c&d=&%65=x=y&bad=%zz&a=2";
  CHECK(request.parameter("a") == "1");
  CHECK(request.parameter("b") == "two words!");
  CHECK(request.parameter("c") == "");
  CHECK(request.parameter("d") == "");
  CHECK(request.parameter("e") == "x=y");
  CHECK(request.parameter("bad") == "%zz");
  CHECK(!request.parameter("f"));
}

TEST_CASE("an error is JSON with code, where, what and fix") {
  const Response response = error(400, "bad_line", Error{"line 3", "a \"quote\""}, "escape it");
  CHECK(response.status == 400);
  CHECK(response.content_type == "application/json");
  CHECK(response.body ==
        R"({"error":{"code":"bad_line","where":"line 3","what":"a \"quote\"","fix":"escape it"}})");

  const Response later = try_later(503, 7, "the queue is full");
  CHECK(later.status == 503);
  CHECK(later.headers == Headers{{"Retry-After", "7"}});
}

TEST_CASE("percent decoding refuses what is no escape") {
  CHECK(percent_decoded("a%20b%2Fc", false) == "a b/c");
  CHECK(percent_decoded("a+b", false) == "a+b");
  CHECK(percent_decoded("a+b", true) == "a b");
  CHECK(!percent_decoded("%", false));
  CHECK(!percent_decoded("%4", false));
  CHECK(!percent_decoded("%g0", false));
}

TEST_CASE("the plainest route that fits answers") {
  Routes routes;
  routes.add(Method::get, "/*", test::answering("rest"));
  routes.add(Method::get, "/api/{id}", test::answering("id"));
  routes.add(Method::get, "/api/fleet", test::answering("fleet"));
  routes.add(Method::post, "/api/{id}/ack", test::answering("ack"));
  routes.add(Method::get, "/", test::answering("start"));

  const auto pattern_of = [&](Method method, std::string_view path) {
    const Routes::Match match = routes.find(method, path);
    return match.handler;
  };
  CHECK(pattern_of(Method::get, "/api/fleet") != pattern_of(Method::get, "/api/other"));
  CHECK(pattern_of(Method::get, "/") != pattern_of(Method::get, "/x"));
  CHECK(pattern_of(Method::get, "/x") == pattern_of(Method::get, "/y/z"));
  CHECK(pattern_of(Method::head, "/api/fleet") == pattern_of(Method::get, "/api/fleet"));

  // A slash inside an id is not a slash of the path.
  const Routes::Match match = routes.find(Method::post, "/api/feed%2Fclicks/ack");
  REQUIRE(match.handler);
  CHECK(match.arguments == Headers{{"id", "feed/clicks"}});

  CHECK(routes.find(Method::get, "/a/b%20c/d").arguments == Headers{{"*", "a/b c/d"}});
  CHECK(routes.find(Method::get, "/api/x/ack").allow == "POST");
  CHECK(routes.find(Method::post, "/api/fleet").allow == "GET, HEAD");
  CHECK(routes.find(Method::get, "/api/%zz").malformed);
}

TEST_CASE("an unknown path is told the nearest known one, if it is near") {
  Routes routes;
  routes.add(Method::post, "/api/v1/samples", test::answering(""));
  routes.add(Method::post, "/api/v1/write", test::answering(""));
  CHECK(routes.nearest("/api/v1/sample") == "/api/v1/samples");
  CHECK(routes.nearest("/api/v1/wirte") == "/api/v1/write");
  CHECK(routes.nearest("/favicon.ico").empty());
  CHECK(routes.nearest(std::string(100'000, '/')).empty());
}

TEST_CASE("gzip is used when it is accepted, and gives the text back") {
  CHECK(accepts_gzip("gzip"));
  CHECK(accepts_gzip("deflate, GZIP;q=0.5"));
  CHECK(accepts_gzip("br, *"));
  CHECK(!accepts_gzip(""));
  CHECK(!accepts_gzip("br"));
  CHECK(!accepts_gzip("gzip;q=0"));
  CHECK(!accepts_gzip("gzip; q=0.000, *"));
  CHECK(!accepts_gzip("*;q=0"));

  std::string text;
  for (int i = 0; i < 5000; ++i) text += "line " + std::to_string(i) + "\n";
  const std::string packed = gzip(text, 1);
  CHECK(packed.size() < text.size() / 2);
  CHECK(unpacked(packed) == text);
  CHECK(unpacked(gzip("", 9)).empty());
}

TEST_CASE("targets and queries of any bytes are read without harm") {
  Routes routes;
  routes.add(Method::get, "/*", test::answering(""));
  routes.add(Method::get, "/api/v1/{id}/ack", test::answering(""));
  const fuzz::Plan plan{.corpus = {"/api/v1/a%2Fb/ack?x=1&y=%20+z", "/assets/a.b.js", "/?a&b=&=c"},
                        .words = {"%2f", "..", "//", "%00", "&&", "?"}};
  const fuzz::Outcome outcome = fuzz::run(plan, [&](std::string_view bytes) {
    const std::string_view path = bytes.substr(0, bytes.find('?'));
    (void)routes.find(Method::get, path);
    (void)routes.nearest(path);
    Request request;
    if (path.size() < bytes.size()) request.query = bytes.substr(path.size() + 1);
    (void)request.parameter("y");
    (void)accepts_gzip(bytes);
  });
  INFO(outcome.summary);
  CHECK(outcome.failure.empty());
}
