#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "collector/decode/decoded.hpp"
#include "collector/decode/otlp.hpp"
#include "collector/delta_watch.hpp"
#include "collector/metadata.hpp"
#include "collector/sink.hpp"
#include "http/routes.hpp"

namespace muster::collector {

struct Settings {
  decode::Limits limits;
  // Told to senders that have to come again. The queue empties within a second once the database answers.
  int retry_after_seconds = 2;
  // Bodies of at least so many bytes are decoded by `workers`, when there are any: a millisecond of work that
  // the I/O thread should not wait for. Smaller ones are done at once, which costs less than the way there.
  std::size_t offload_bytes_min = 32u << 10;
  boost::asio::any_io_executor workers;
  // Senders counted apart; all later ones together as "others", so that a scan cannot fill the memory.
  std::size_t senders_max = 500;
  decode::OtlpRules otlp;
  // Delta streams whose last end is known, 20 bytes each: gaps and overlaps of later ones are not seen.
  std::size_t delta_streams_max = 500'000;
};

// What came in by OTLP since the start.
struct OtlpCounters {
  std::uint64_t data_points = 0;  // of all requests that could be read
  std::uint64_t rejected = 0;     // of them
  DeltaCounters deltas;
};

// What came in since the start, for /metrics. For the I/O thread, as the handlers are.
struct Counters {
  struct Sender {
    std::uint64_t requests = 0;
    std::uint64_t accepted = 0;    // samples
    std::uint64_t duplicates = 0;  // samples
    std::uint64_t late = 0;        // samples
    std::uint64_t rejected = 0;    // samples or lines
    std::uint64_t refused = 0;     // requests of which nothing could be read
    std::uint64_t busy = 0;        // requests told to come again
    std::uint64_t throttled = 0;   // the same, as the sender had its share of the queue
    std::uint64_t exemplars = 0;   // read and left out: none are kept
    std::uint64_t histograms = 0;  // native ones, taken as classic series
    std::uint64_t texts = 0;       // fields of Influx lines that are no numbers: read and left out
  };
  std::map<std::string, Sender>
      senders;  // by address and program, e.g. "10.0.0.7 Prometheus/2.42.0"
  OtlpCounters otlp;
};

using CountersPtr = std::shared_ptr<Counters>;

// POST handlers.
//
// Prometheus remote write 1.0 and 2.0, told apart by the Content-Type: 204 when all is on disk; 400 with the first
// faults and their label sets when anything was not taken (the rest is on disk all the same) or nothing could be
// read; 415 for what is neither; 503 with Retry-After when the same request should come again. Answers to 2.0 tell
// in X-Prometheus-Remote-Write-{Samples,Histograms,Exemplars}-Written what is on disk.
http::Handler receive_remote_write(Sink sink, Settings settings, CountersPtr counters,
                                   MetadataPtr metadata);

// NDJSON, gzip or plain: 200 with {"accepted","duplicates","late","rejected_count","rejected":[{line,what}]};
// 400 with the same when no line could be taken; 413, 415, 503.
http::Handler receive_ndjson(Sink sink, Settings settings, CountersPtr counters);

// OTLP metrics, protobuf or JSON, plain, gzip or deflate; the answer has the form of the request. 200 when all is on
// disk, and with partial_success when data points were not taken: how many, and the first of them with their metrics
// and attributes. Else a google.rpc.Status: 400 for what cannot be read, 413 over the limits, 415 for other types and
// encodings, 429 or 503 with Retry-After when the same request should come again.
http::Handler receive_otlp(Sink sink, Settings settings, CountersPtr counters,
                           MetadataPtr metadata);

// What the server answers by itself to a sender of OTLP, as google.rpc.Status in the form of the Content-Type.
http::Response otlp_failure(const http::Response& refusal, std::string_view content_type_header);

// InfluxDB's line protocol, plain or gzip, with `precision` and `db` or `bucket`: 204 when all is on disk; 400 with
// {"code","message","line","error"} and the first faults when a line was not taken, the others are on disk; 413, 415,
// 429, 503.
http::Handler receive_influx(Sink sink, Settings settings, CountersPtr counters);

// POST /write and /api/v2/write, GET /ping; part of add_routes.
void add_influx_routes(http::Routes& routes, Sink sink, Settings settings, CountersPtr counters);

// POST /api/v1/write, /api/v1/samples, /v1/metrics, /write and /api/v2/write, GET /api/v1/metadata and /ping.
void add_routes(http::Routes& routes, Sink sink, Settings settings = {},
                CountersPtr counters = std::make_shared<Counters>(),
                MetadataPtr metadata = std::make_shared<Metadata>());

}  // namespace muster::collector
