#include "collector/decode/remote_write.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "collector/collector.hpp"
#include "collector/decode/text.hpp"
#include "collector/receive.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;

// Of one request, named to its sender: a screen full in its log.
constexpr std::size_t faults_told_max = 5;

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

// What a request says beside its samples: remembered or counted.
void note(const Receiver& receiver, const std::string& sender, const Decoded& decoded) {
  Counters::Sender& counter = count(receiver, sender);
  counter.exemplars += decoded.skipped.exemplars;
  counter.histograms += decoded.histograms_sent;
  for (const decode::FamilyView& family : decoded.families)
    receiver.metadata->add(family.name, family.type, family.unit, family.help);
}

// The first few tell the fault, so this is one line: a series each, as the samples of one share theirs.
std::string first_faults(const std::vector<Rejected>& read, const std::vector<Rejected>& stored) {
  std::string text;
  std::size_t told = 0;
  const Rejected* last = nullptr;
  for (const std::vector<Rejected>* list : {&read, &stored}) {
    for (const Rejected& one : *list) {
      if (last != nullptr && last->line == one.line) continue;
      if (told++ == faults_told_max) return text;
      last = &one;
      text += " Series " + std::to_string(one.line);
      if (!one.series.empty()) text += ' ' + one.series;
      text += ": " + one.what + '.';
    }
  }
  return text;
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

  note(*receiver, sender, *decoded);
  const std::uint64_t samples = decoded->samples_sent;

  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.come_again())
    co_return come_again(*receiver, settled.stored.state, Repeats::after_503_only);
  const std::uint64_t rejected = settled.rejected;
  if (rejected == 0) co_return http::no_content();
  co_return plain(400, std::to_string(rejected) + " samples were not taken, the other " +
                           std::to_string(samples - std::min(samples, rejected)) + " are stored." +
                           first_faults(decoded->rejected, settled.stored.rejected));
}

}  // namespace

http::Handler receive_remote_write(Sink sink, Settings settings, CountersPtr counters,
                                   MetadataPtr metadata) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters), std::move(metadata)});
  return [receiver](http::Request request) { return remote_write(receiver, std::move(request)); };
}

}  // namespace muster::collector
