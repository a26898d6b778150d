#include "collector/receive.hpp"

#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "collector/decode/text.hpp"
#include "collector/inflate.hpp"

namespace muster::collector {
namespace asio = boost::asio;
using decode::Decoded;
namespace {

asio::awaitable<void> read_there(std::shared_ptr<std::optional<Result<Decoded>>> outcome,
                                 Read read) {
  outcome->emplace(read());
  co_return;
}

}  // namespace

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

http::Response plain(int status, std::string text) {
  http::Response response;
  response.status = status;
  response.content_type = "text/plain; charset=utf-8";
  response.body = std::move(text) + '\n';
  return response;
}

asio::awaitable<Result<Decoded>> read_apart(ReceiverPtr receiver, std::size_t bytes, Read read) {
  if (!receiver->settings.workers || bytes < receiver->settings.offload_bytes_min) co_return read();
  auto outcome = std::make_shared<std::optional<Result<Decoded>>>();
  auto work = read_there(outcome, std::move(read));
  co_await asio::co_spawn(receiver->settings.workers, std::move(work), asio::use_awaitable);
  co_return std::move(**outcome);
}

std::optional<http::Response> undo_encoding(http::Request& request, std::size_t bytes_max) {
  const std::string encoding = lower(trim(request.header("content-encoding")));
  if (encoding.empty() || encoding == "identity") return {};
  if (encoding != "gzip" && encoding != "deflate") {
    const Error fault{"Content-Encoding", decode::printable(encoding, 80) + " is not supported"};
    return http::error(415, "bad_encoding", fault, "send it plain or as gzip");
  }
  Inflated inflated = inflate_body(request.body, bytes_max);
  if (inflated.state != Inflated::State::good) {
    const bool large = inflated.state == Inflated::State::too_large;
    const Error fault{
        "body", large ? "more than " + std::to_string(bytes_max) + " bytes after decompression"
                      : "not " + encoding + ", or cut short"};
    return http::error(large ? 413 : 400, large ? "too_large" : "bad_body", fault,
                       large ? "send it in parts" : "");
  }
  request.body = std::move(inflated.bytes);
  return {};
}

void note(const Receiver& receiver, const std::string& sender, const Decoded& decoded) {
  Counters::Sender& counter = count(receiver, sender);
  counter.exemplars += decoded.skipped.exemplars;
  counter.histograms += decoded.histograms_sent;
  for (const decode::FamilyView& family : decoded.families)
    receiver.metadata->add(family.name, family.type, family.unit, family.help);
}

asio::awaitable<Settled> settle(ReceiverPtr receiver, std::string sender, Decoded& decoded) {
  Settled settled;
  if (!decoded.batch.points.empty()) {
    decoded.batch.sender = sender;
    settled.stored = co_await receiver->sink(std::move(decoded.batch));
  }
  Counters::Sender& counter = count(*receiver, sender);
  if (settled.stored.come_again()) {
    ++(settled.stored.state == Stored::State::busy ? counter.busy : counter.throttled);
    co_return settled;
  }
  settled.rejected = decoded.rejected_count + settled.stored.rejected_count;
  counter.accepted += settled.stored.accepted;
  counter.duplicates += settled.stored.duplicates;
  counter.late += settled.stored.late;
  counter.rejected += settled.rejected;
  co_return settled;
}

http::Response come_again(const Receiver& receiver, Stored::State state, Repeats repeats) {
  const int seconds = receiver.settings.retry_after_seconds;
  if (state == Stored::State::busy)
    return http::try_later(
        503, seconds, "the queue is full or the database is away; send the same request again");
  return http::try_later(
      repeats == Repeats::after_429 ? 429 : 503, seconds,
      "this sender has its share of the queue (sender_queue_share); send the same request again, "
      "and fewer at a time");
}

}  // namespace muster::collector
