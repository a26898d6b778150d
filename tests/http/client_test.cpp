#include "http/client.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "tests/http/fixture.hpp"

using namespace muster;
using namespace muster::http;
using namespace muster::http::test;
using namespace std::chrono_literals;
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

bool says(const std::string& text, std::string_view part) {
  return text.find(part) != text.npos;
}

// A client with an I/O context of its own, run by the test.
struct Caller {
  explicit Caller(ClientSettings settings = {}) : client(io, std::move(settings)) {}
  Result<Response> operator()(Outgoing request) {
    auto sent = asio::co_spawn(io, send_into(std::move(request)), asio::use_future);
    io.restart();
    io.run();
    sent.get();
    return std::move(*got);
  }
  std::string reason(Outgoing request) {
    const Result<Response> result = (*this)(std::move(request));
    return result ? "status " + std::to_string(result->status) : result.error().what;
  }
  // co_spawn hands on only what has a default.
  asio::awaitable<void> send_into(Outgoing request) {
    got = co_await client.send(std::move(request));
  }

  asio::io_context io;
  Client client;
  std::optional<Result<Response>> got;
};

// A server that says the same bytes to each connection after its headers came, then closes. Empty bytes: it
// never says anything, until the test ends.
class Canned {
 public:
  explicit Canned(std::string bytes, int connections = 1)
      : acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        thread_([this, bytes = std::move(bytes), connections] {
          for (int i = 0; i < connections; ++i) {
            tcp::socket socket = acceptor_.accept();
            ++accepted;
            std::string seen;
            char piece[4096];
            boost::system::error_code gone;
            while (!gone && (bytes.empty() || !says(seen, "\r\n\r\n"))) {
              seen.append(piece, socket.read_some(asio::buffer(piece), gone));
            }
            asio::write(socket, asio::buffer(bytes), gone);
          }
        }) {}
  ~Canned() { thread_.join(); }
  std::string url() {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/";
  }
  std::atomic<int> accepted = 0;

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_;
  std::thread thread_;
};

Routes shows_requests() {
  Routes routes;
  const Handler shows = [](Request request) -> asio::awaitable<Response> {
    Response response = json(std::string(request.body_text()));
    response.headers = {{"X-Query", request.query},
                        {"X-Type", std::string(request.header("content-type"))},
                        {"X-Host", std::string(request.header("host"))},
                        {"X-Secret", std::string(request.header("authorization"))}};
    co_return response;
  };
  routes.add(Method::post, "/show", shows);
  routes.add(Method::get, "/show", shows);
  routes.add(Method::del, "/show", shows);
  routes.add(Method::get, "/moved", [](Request) -> asio::awaitable<Response> {
    Response response = json("", 302);
    response.headers = {{"Location", "/show"}};
    co_return response;
  });
  return routes;
}

}  // namespace

TEST_CASE("the client sends a request as it was told and gives back the answer") {
  Running running(shows_requests());
  Caller call;
  const auto answer = call({.method = Method::post,
                            .url = running.server.url() + "/show?a=%20b",
                            .content_type = "text/plain",
                            .body = "hello",
                            .headers = {{"Authorization", "Bearer x"}}});
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "hello");
  CHECK(answer->content_type == "application/json");
  Request as_request;
  as_request.headers = answer->headers;
  CHECK(as_request.header("x-query") == "a=%20b");
  CHECK(as_request.header("x-type") == "text/plain");
  CHECK(as_request.header("x-secret") == "Bearer x");
  CHECK("http://" + std::string(as_request.header("x-host")) == running.server.url());

  CHECK(call({.method = Method::head, .url = running.server.url() + "/show"})->status == 200);
  CHECK(call({.method = Method::del, .url = running.server.url() + "/show"})->status == 200);
  CHECK(call({.method = Method::get, .url = running.server.url() + "/none"})->status == 404);
}

TEST_CASE("the client keeps its connection for the next request") {
  Running running(shows_requests());
  Caller call;
  for (int i = 0; i < 5; ++i) {
    REQUIRE(call({.url = running.server.url() + "/show", .body = std::string(100'000, 'x')}));
    CHECK(running.counters().connections == 1);
  }

  ClientSettings settings;
  settings.kept_max = 0;
  Caller forgetful(settings);
  REQUIRE(forgetful({.url = running.server.url() + "/show"}));
  CHECK(running.until([](const Counters& c) { return c.connections == 1; }));
}

TEST_CASE("a kept connection that the server closed is replaced") {
  Settings settings;
  settings.idle_timeout = 50ms;
  Running running(shows_requests(), settings);
  Caller call;
  REQUIRE(call({.url = running.server.url() + "/show", .body = "a"}));
  CHECK(running.until([](const Counters& c) { return c.connections == 0; }));
  const auto answer = call({.url = running.server.url() + "/show", .body = "b"});
  REQUIRE(answer);
  CHECK(answer->body == "b");
}

TEST_CASE("the client follows no redirect") {
  Running running(shows_requests());
  Caller call;
  const auto answer = call({.method = Method::get, .url = running.server.url() + "/moved"});
  REQUIRE(answer);
  CHECK(answer->status == 302);
}

TEST_CASE("the client says why there is no answer, without the secret part of the URL") {
  Caller call;
  std::uint16_t free = 0;
  {
    tcp::acceptor once(call.io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    free = once.local_endpoint().port();
  }
  const std::string nowhere = "http://127.0.0.1:" + std::to_string(free);
  const auto refused = call({.url = nowhere + "/hooks/s3cret?token=s3cret"});
  REQUIRE(!refused);
  CHECK(refused.error().where == nowhere);
  CHECK(refused.error().what ==
        "connection refused: nothing listens on port " + std::to_string(free));

  // The name is reserved never to exist (RFC 6761), so that no resolver finds it.
  const std::string unknown = call.reason({.url = "http://nowhere.invalid/", .deadline = 30s});
  INFO(unknown);
  CHECK((says(unknown, "no address for the name nowhere.invalid") ||
         says(unknown, "looking up the name")));
}

TEST_CASE("the client gives up at its deadline") {
  const auto start = std::chrono::steady_clock::now();
  Canned silent("");
  Caller call;
  CHECK(call.reason({.url = silent.url(), .deadline = 100ms}) ==
        "no answer within 100 ms; the time ran out while waiting for the answer");
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(took >= 100ms);
  CHECK(took < 5s);  // generous: the machine may be busy, a missing deadline would take for ever
}

TEST_CASE("the client refuses answers that are cut off, too long, or no HTTP") {
  ClientSettings settings;
  settings.answer_max = 100;
  settings.header_max = 1000;
  Caller call(settings);
  const auto reason = [&](std::string bytes) {
    Canned server(std::move(bytes));
    return call.reason({.url = server.url(), .body = "x"});
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  CHECK(reason(ok + "Content-Length: 100\r\n\r\n" + std::string(100, 'x')) == "status 200");
  CHECK(reason(ok + "Content-Length: 101\r\n\r\n" + std::string(101, 'x')) ==
        "answer over 100 bytes (answer_max)");
  CHECK(reason(ok + "\r\n" + std::string(101, 'x')) == "answer over 100 bytes (answer_max)");
  CHECK(reason(ok + "X: " + std::string(1000, 'x') + "\r\n\r\n") ==
        "headers of the answer over 1000 bytes (header_max)");
  CHECK(reason(ok + "Content-Length: 10\r\n\r\ncut") ==
        "connection closed before the answer was complete");
  CHECK(reason("HTTP") == "connection closed before the answer was complete");
  CHECK(says(reason("220 mail.example ESMTP\r\n\r\n"), "the answer is no HTTP: "));
  // An answer without a length ends with the connection; one before the real one is stepped over.
  CHECK(reason(ok + "\r\nshort") == "status 200");
  CHECK(reason("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") ==
        "status 503");
}

TEST_CASE("a request on a kept connection is sent twice only when that does no harm") {
  // It answers the first request of each connection and closes at the second.
  asio::io_context io;
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  const std::string url =
      "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()) + "/";
  std::atomic<int> requests = 0;
  std::thread server([&] {
    for (int connection = 0; connection < 2; ++connection) {
      tcp::socket socket = acceptor.accept();
      for (int request = 0; request < 2; ++request) {
        std::string seen;
        asio::read_until(socket, asio::dynamic_buffer(seen), "\r\n\r\n");
        ++requests;
        if (request == 1) break;
        const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        asio::write(socket, asio::buffer(answer));
      }
    }
  });
  Caller call;
  CHECK(call.reason({.url = url}) == "status 200");
  CHECK(call.reason({.url = url, .repeatable = true}) == "status 200");
  CHECK(requests == 3);
  CHECK(call.reason({.url = url}) == "connection closed before the answer was complete");
  server.join();
  CHECK(requests == 4);
}

TEST_CASE("URLs are checked before anything is sent") {
  CHECK(check_url("http://127.0.0.1:9797/x?y=1"));
  CHECK(check_url("https://hooks.example/a/b"));
  CHECK(check_url("http://[::1]:80"));
  for (const std::string_view bad :
       {"", "127.0.0.1:80", "ftp://x/", "http://", "http:///x", "http://u:p@x/", "http://x:0/",
        "http://x:99999/", "http://a b/", "hooks.example/x"}) {
    INFO(bad);
    CHECK(!check_url(bad));
  }
  Caller call;
  CHECK(says(call.reason({.url = "http://u:p@x/"}), "Authorization"));
  CHECK(
      says(call.reason({.url = "http://127.0.0.1:1/", .headers = {{"X", "a\r\nb"}}}), "one line"));
}

namespace {

// A key and a certificate that it signs itself, for `names` ("DNS:localhost,IP:127.0.0.1").
struct Certificate {
  explicit Certificate(const char* names) : key(EVP_EC_gen("P-256")), certificate(X509_new()) {
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* name = X509_get_subject_name(certificate);
    const auto text = reinterpret_cast<const unsigned char*>("muster test");
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_EXTENSION* alt = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names);
    X509_add_ext(certificate, alt, -1);
    X509_EXTENSION_free(alt);
    X509_sign(certificate, key, EVP_sha256());
  }
  ~Certificate() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;

  // As a PEM file; removed at the end of the test program's run of this scope.
  struct File {
    explicit File(X509* certificate) {
      const int fd = mkstemp(path.data());
      std::FILE* out = fdopen(fd, "w");
      PEM_write_X509(out, certificate);
      std::fclose(out);
    }
    ~File() { std::remove(path.c_str()); }
    std::string path = "/tmp/muster-test-ca-XXXXXX";
  };

  EVP_PKEY* key;
  X509* certificate;
};

// Answers one request on each of `connections` TLS connections; handshakes may fail.
class TlsServer {
 public:
  TlsServer(const Certificate& certificate, int connections)
      : context_(asio::ssl::context::tls_server),
        acceptor_(io_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
    SSL_CTX_use_certificate(context_.native_handle(), certificate.certificate);
    SSL_CTX_use_PrivateKey(context_.native_handle(), certificate.key);
    thread_ = std::thread([this, connections] {
      for (int i = 0; i < connections; ++i) {
        asio::ssl::stream<tcp::socket> stream(acceptor_.accept(), context_);
        boost::system::error_code failed;
        stream.handshake(asio::ssl::stream_base::server, failed);
        std::string seen;
        while (!failed) {  // as many requests as come over it
          const std::size_t n =
              asio::read_until(stream, asio::dynamic_buffer(seen), "\r\n\r\n", failed);
          if (failed) break;
          seen.erase(0, n);
          ++requests;
          const std::string_view answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
          asio::write(stream, asio::buffer(answer), failed);
        }
      }
    });
  }
  ~TlsServer() { thread_.join(); }
  std::string port() { return std::to_string(acceptor_.local_endpoint().port()); }
  std::atomic<int> requests = 0;

 private:
  asio::io_context io_;
  asio::ssl::context context_;
  tcp::acceptor acceptor_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("the client speaks TLS to whom it trusts, by the right name") {
  const Certificate certificate("DNS:localhost");
  const Certificate::File authority(certificate.certificate);
  {
    TlsServer server(certificate, 1);
    ClientSettings settings;
    settings.ca_file = authority.path;
    Caller call(settings);
    for (int i = 0; i < 3; ++i) {
      const auto answer = call({.url = "https://localhost:" + server.port() + "/", .body = "x"});
      INFO((answer ? "" : answer.error().what));
      REQUIRE(answer);
      CHECK(answer->body == "hi");
    }
    CHECK(server.requests == 3);  // over the one connection that it accepts
  }
  {
    TlsServer server(certificate, 1);
    ClientSettings settings;
    settings.ca_file = authority.path;
    Caller call(settings);
    CHECK(says(call.reason({.url = "https://127.0.0.1:" + server.port() + "/"}),
               "the certificate is not trusted: "));
    CHECK(server.requests == 0);
  }
  {
    TlsServer server(certificate, 1);
    Caller call;
    CHECK(says(call.reason({.url = "https://localhost:" + server.port() + "/"}),
               "the certificate is not trusted: "));
    CHECK(server.requests == 0);
  }
}
