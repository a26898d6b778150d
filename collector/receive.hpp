#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "collector/collector.hpp"
#include "collector/decode/decoded.hpp"
#include "http/message.hpp"

// What every endpoint that takes samples shares: for the files of this folder.
namespace muster::collector {

// What a handler works with; shared by all requests of one endpoint.
struct Receiver {
  Sink sink;
  Settings settings;
  CountersPtr counters;
  MetadataPtr metadata;  // none when the protocol has none
};
using ReceiverPtr = std::shared_ptr<const Receiver>;

std::string lower(std::string_view text);  // ASCII
std::string_view trim(std::string_view text);

// A Content-Type: its media type in small letters and its `proto` parameter, both empty when not said.
struct ContentType {
  std::string type;
  std::string proto;
};
ContentType content_type(std::string_view header);

// Who sent it, as people know it: "10.0.0.7 Prometheus/2.42.0". Anybody can claim to be it.
std::string sender_of(const http::Request& request);

// The counters of a sender; those of "others" when there are too many.
Counters::Sender& count(const Receiver& receiver, const std::string& sender);

// Plain words, for senders that log the first line of an answer.
http::Response plain(int status, std::string text);

// `read` on the workers when the body is large, else here.
using Read = std::function<Result<decode::Decoded>()>;
boost::asio::awaitable<Result<decode::Decoded>> read_apart(ReceiverPtr receiver, std::size_t bytes,
                                                           Read read);

// Undoes Content-Encoding gzip and deflate in place; identity and none change nothing. Gives the answer when
// that cannot be done: 400, 413 or 415.
std::optional<http::Response> undo_encoding(http::Request& request, std::size_t bytes_max);

// Counts what was read beside the samples, and keeps what the sender said of its metrics.
void note(const Receiver& receiver, const std::string& sender, const decode::Decoded& decoded);

// What became of a decoded request.
struct Settled {
  Stored stored;
  std::uint64_t rejected = 0;  // by the decoder and by the store
};

// Hands the samples on, waits until they are on disk, and counts them for their sender. `decoded` outlives it.
boost::asio::awaitable<Settled> settle(ReceiverPtr receiver, std::string sender,
                                       decode::Decoded& decoded);

// What a protocol's senders do with a 429. OTLP's have to repeat the request. Of remote write the specification
// says that they may: Prometheus drops the samples unless retry_on_http_429 is set, and a 503 it always repeats.
enum class Repeats { after_429, after_503_only };

// 429 or 503 with Retry-After, for whatever Stored::come_again() is true of.
http::Response come_again(const Receiver& receiver, Stored::State state, Repeats repeats);

}  // namespace muster::collector
