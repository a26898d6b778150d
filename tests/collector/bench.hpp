#pragma once

#include <zlib.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "collector/collector.hpp"
#include "schema/store/registry.hpp"
#include "tests/decode/requests.hpp"

// What the tests of all endpoints share.
namespace muster::test {
namespace asio = boost::asio;
using muster_oracle::WriteRequest;

constexpr std::int64_t now_ms = 1'700'000'000'000;

// The collector before a real registry, without a database: what the answers of section 1 depend on.
struct Bench {
  store::Registry registry{store::Registry::Settings{}};
  std::shared_ptr<collector::Counters> counters = std::make_shared<collector::Counters>();
  collector::MetadataPtr metadata = std::make_shared<collector::Metadata>();
  collector::Settings settings;
  std::optional<Stored::State> state;  // instead of storing
  std::size_t submitted = 0;
  asio::io_context io;

  collector::Sink sink() {
    return collector::sink_to([this](SampleBatch batch, std::function<void(Stored)> done) {
      ++submitted;
      Stored stored;
      if (state) {
        stored.state = *state;
      } else {
        stored = registry.gather(batch, from_millis(now_ms));
      }
      // From another thread, as the ingestor does.
      std::thread([done, stored] { done(stored); }).join();
    });
  }

  http::Response post(const char* path, std::string_view body, http::Headers headers) {
    http::Routes routes;
    collector::add_routes(routes, sink(), settings, counters, metadata);
    const auto match = routes.find(http::Method::post, path);
    REQUIRE(match.handler != nullptr);
    return ask(*match.handler, path, body, std::move(headers));
  }

  // An endpoint that goes on from one request to the next.
  http::Response ask(const http::Handler& handler, const char* path, std::string_view body,
                     http::Headers headers) {
    http::Request request;
    request.method = http::Method::post;
    request.path = path;
    request.headers = std::move(headers);
    request.body.assign(body.begin(), body.end());
    request.peer = "127.0.0.1";
    auto answer = asio::co_spawn(io, handler(std::move(request)), asio::use_future);
    io.restart();
    io.run();
    return answer.get();
  }

  http::Response write(std::string_view body) {
    return post("/api/v1/write", body,
                {{"Content-Type", "application/x-protobuf"},
                 {"Content-Encoding", "snappy"},
                 {"X-Prometheus-Remote-Write-Version", "0.1.0"},
                 {"User-Agent", "Prometheus/2.42.0"}});
  }
  http::Response write(const WriteRequest& request) { return write(body_of(request)); }
  http::Response samples(std::string_view body, http::Headers headers = {}) {
    return post("/api/v1/samples", body, std::move(headers));
  }
  const collector::Counters::Sender& sender() {
    return counters->senders.at("127.0.0.1 Prometheus/2.42.0");
  }

  std::size_t stored_samples() {
    std::size_t n = 0;
    for (const store::Piece& piece : registry.take()) n += piece.rows.values.size();
    return n;
  }
};

inline std::string gzipped(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace muster::test
