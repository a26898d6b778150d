#include "collector/collector.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>

#include "collector/decode/ndjson.hpp"
#include "collector/decode/remote_write.hpp"
#include "collector/decode/text.hpp"
#include "collector/inflate.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;

struct Receiver {
  Sink sink;
  Settings settings;
  CountersPtr counters;
};
using ReceiverPtr = std::shared_ptr<const Receiver>;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The media type and its `proto` parameter.
struct ContentType {
  std::string type;
  std::string proto;
};
ContentType content_type(std::string_view header) {
  ContentType out;
  std::size_t end = header.find(';');
  out.type = lower(trim(header.substr(0, end)));
  while (end != header.npos) {
    header.remove_prefix(end + 1);
    end = header.find(';');
    const std::string_view parameter = header.substr(0, end);
    const std::size_t equals = parameter.find('=');
    if (equals == parameter.npos || lower(trim(parameter.substr(0, equals))) != "proto") continue;
    std::string_view value = trim(parameter.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    out.proto = value;
  }
  return out;
}

std::string sender_of(const http::Request& request) {
  std::string name = request.peer;
  const std::string_view agent = request.header("user-agent");
  if (!agent.empty()) name += ' ' + decode::printable(agent.substr(0, agent.find(' ')), 60);
  return name;
}

Counters::Sender& count(const Receiver& receiver, const std::string& sender) {
  auto& senders = receiver.counters->senders;
  const bool known = senders.contains(sender);
  Counters::Sender& counter =
      senders[known || senders.size() < receiver.settings.senders_max ? sender : "others"];
  return counter;
}

// Remote write senders log the first line of an answer, so theirs are plain words.
http::Response plain(int status, std::string text) {
  http::Response response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(text) + '\n';
  return response;
}

// `read` on the workers when the body is large, else here.
using Read = std::function<Result<Decoded>()>;
using Outcome = std::shared_ptr<const std::optional<Result<Decoded>>>;

asio::awaitable<void> read_there(std::shared_ptr<std::optional<Result<Decoded>>> outcome,
                                 Read read) {
  outcome->emplace(read());
  co_return;
}

asio::awaitable<Result<Decoded>> read_apart(ReceiverPtr receiver, std::size_t bytes, Read read) {
  if (!receiver->settings.workers || bytes < receiver->settings.offload_bytes_min) co_return read();
  auto outcome = std::make_shared<std::optional<Result<Decoded>>>();
  auto work = read_there(outcome, std::move(read));
  co_await asio::co_spawn(receiver->settings.workers, std::move(work), asio::use_awaitable);
  co_return std::move(**outcome);
}

// What is wrong with the request's headers, if anything: an answer.
std::optional<http::Response> check_remote_write(const http::Request& request) {
  const ContentType type = content_type(request.header("content-type"));
  const bool version_2 = request.header("x-prometheus-remote-write-version").starts_with("2");
  // 1.x knows only 400 for it; 2.0 wants 415, and its senders then fall back to 1.0.
  const int status = version_2 ? 415 : 400;
  if (!type.type.empty() && type.type != "application/x-protobuf")
    return plain(status, "Content-Type " + decode::printable(type.type, 80) +
                             " is not application/x-protobuf; JSON lines go to /api/v1/samples");
  if (!type.proto.empty() && type.proto != "prometheus.WriteRequest")
    return plain(415,
                 "Content-Type proto=" + decode::printable(type.proto, 80) +
                     " is not supported; send remote write 1.0 (proto=prometheus.WriteRequest)");
  if (version_2 && type.proto.empty() && type.type.empty())
    return plain(415, "remote write 2.0 is not supported; send 1.0");
  const std::string encoding = lower(trim(request.header("content-encoding")));
  if (!encoding.empty() && encoding != "snappy")
    return plain(status, "Content-Encoding " + decode::printable(encoding, 80) + " is not snappy");
  return {};
}

// What became of a decoded request.
struct Settled {
  Stored stored;
  std::uint64_t rejected = 0;  // by the decoder and by the store
};

// Hands the samples on, waits until they are on disk, and counts them for their sender. `decoded` outlives it.
asio::awaitable<Settled> settle(ReceiverPtr receiver, std::string sender, Decoded& decoded) {
  Settled settled;
  if (!decoded.batch.points.empty()) {
    decoded.batch.sender = sender;
    settled.stored = co_await receiver->sink(std::move(decoded.batch));
  }
  Counters::Sender& counter = count(*receiver, sender);
  if (settled.stored.state == Stored::State::busy) {
    ++counter.busy;
    co_return settled;
  }
  settled.rejected = decoded.rejected_count + settled.stored.rejected_count;
  counter.accepted += settled.stored.accepted;
  counter.duplicates += settled.stored.duplicates;
  counter.late += settled.stored.late;
  counter.rejected += settled.rejected;
  co_return settled;
}

http::Response come_again(const Receiver& receiver) {
  return http::try_later(503, receiver.settings.retry_after_seconds,
                         "the queue is full or the database is away; send the same request again");
}

asio::awaitable<http::Response> remote_write(ReceiverPtr receiver, http::Request request) {
  const std::string sender = sender_of(request);
  ++count(*receiver, sender).requests;
  if (auto fault = check_remote_write(request)) {
    ++count(*receiver, sender).refused;
    co_return std::move(*fault);
  }
  const auto body = std::make_shared<const std::vector<char>>(std::move(request.body));
  const decode::Limits limits = receiver->settings.limits;
  Read read = [body, limits] { return decode::remote_write(*body, limits); };
  Result<Decoded> decoded = co_await read_apart(receiver, body->size(), std::move(read));
  if (!decoded) {
    ++count(*receiver, sender).refused;
    co_return plain(400, decoded.error().where + ": " + decoded.error().what);
  }

  decode::Skipped& skipped = receiver->counters->skipped;
  skipped.metadata += decoded->skipped.metadata;
  skipped.exemplars += decoded->skipped.exemplars;
  skipped.histograms += decoded->skipped.histograms;

  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.state == Stored::State::busy) co_return come_again(*receiver);
  const Stored& stored = settled.stored;
  const std::uint64_t rejected = settled.rejected;
  if (rejected == 0) co_return http::no_content();

  std::string text = std::to_string(rejected) + " samples were not taken, the other " +
                     std::to_string(stored.accepted + stored.duplicates) + " are stored.";
  // The first few tell the fault; a label set each, as all samples of a series share one.
  std::size_t told = 0;
  std::string last;
  for (const std::vector<Rejected>* list : {&std::as_const(decoded->rejected), &stored.rejected}) {
    for (const Rejected& one : *list) {
      if (one.what == last) continue;
      if (told++ == 5) break;
      last = one.what;
      text += " Series " + std::to_string(one.line) + ": " + one.what + '.';
    }
  }
  co_return plain(400, std::move(text));
}

asio::awaitable<http::Response> ndjson(ReceiverPtr receiver, http::Request request) {
  const std::string sender = sender_of(request);
  ++count(*receiver, sender).requests;
  const decode::Limits limits = receiver->settings.limits;
  const std::string encoding = lower(trim(request.header("content-encoding")));
  if (encoding == "gzip" || encoding == "deflate") {
    Inflated inflated = inflate_body(request.body, limits.decoded_bytes_max);
    if (inflated.state != Inflated::State::good) {
      ++count(*receiver, sender).refused;
      const bool large = inflated.state == Inflated::State::too_large;
      const Error fault{"body", large ? "more than " + std::to_string(limits.decoded_bytes_max) +
                                            " bytes after decompression"
                                      : "not " + encoding + ", or cut short"};
      co_return http::error(large ? 413 : 400, large ? "too_large" : "bad_body", fault,
                            large ? "send it in parts" : "");
    }
    request.body = std::move(inflated.bytes);
  } else if (!encoding.empty() && encoding != "identity") {
    ++count(*receiver, sender).refused;
    const Error fault{"Content-Encoding", decode::printable(encoding, 80) + " is not supported"};
    co_return http::error(415, "bad_encoding", fault, "send it plain or as gzip");
  }

  const std::size_t bytes = request.body.size();
  const auto body = std::make_shared<std::vector<char>>(std::move(request.body));
  Read read = [body, limits]() -> Result<Decoded> {
    return decode::ndjson(std::move(*body), limits);
  };
  Result<Decoded> decoded = co_await read_apart(receiver, bytes, std::move(read));

  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.state == Stored::State::busy) co_return come_again(*receiver);
  const Stored& stored = settled.stored;
  const std::uint64_t rejected = settled.rejected;

  std::vector<Rejected> faults = std::move(decoded->rejected);
  faults.insert(faults.end(), stored.rejected.begin(), stored.rejected.end());
  std::stable_sort(faults.begin(), faults.end(),
                   [](const Rejected& a, const Rejected& b) { return a.line < b.line; });
  if (faults.size() > Decoded::rejected_max) faults.resize(Decoded::rejected_max);
  boost::json::array list;
  for (const Rejected& fault : faults) list.push_back({{"line", fault.line}, {"what", fault.what}});
  boost::json::object answer;
  answer["accepted"] = stored.accepted;
  answer["duplicates"] = stored.duplicates;
  answer["late"] = stored.late;
  answer["rejected_count"] = rejected;
  answer["rejected"] = std::move(list);
  const bool nothing = rejected > 0 && stored.accepted + stored.duplicates == 0;
  co_return http::json(boost::json::serialize(answer), nothing ? 400 : 200);
}

}  // namespace

http::Handler receive_remote_write(Sink sink, Settings settings, CountersPtr counters) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters)});
  return [receiver](http::Request request) { return remote_write(receiver, std::move(request)); };
}

http::Handler receive_ndjson(Sink sink, Settings settings, CountersPtr counters) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters)});
  return [receiver](http::Request request) { return ndjson(receiver, std::move(request)); };
}

void add_routes(http::Routes& routes, Sink sink, Settings settings, CountersPtr counters) {
  routes.add(http::Method::post, "/api/v1/write", receive_remote_write(sink, settings, counters));
  routes.add(http::Method::post, "/api/v1/samples",
             receive_ndjson(std::move(sink), std::move(settings), std::move(counters)));
}

}  // namespace muster::collector
