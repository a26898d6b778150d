#include "collector/decode/remote_write.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "collector/collector.hpp"
#include "collector/decode/remote_write_2.hpp"
#include "collector/decode/text.hpp"
#include "collector/receive.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;

// Of one request, named to its sender: a screen full in its log.
constexpr std::size_t faults_told_max = 5;

enum class Version { one, two };

// Which version the headers name, or the answer to headers that name none.
struct Negotiated {
  Version version = Version::one;
  std::optional<http::Response> fault;
};
Negotiated negotiate(const http::Request& request) {
  const ContentType type = content_type(request.header("content-type"));
  const bool version_2 = request.header("x-prometheus-remote-write-version").starts_with("2");
  Negotiated out;
  out.version = type.proto == "io.prometheus.write.v2.Request" ? Version::two : Version::one;
  // 1.x knows only 400 for it; 2.0 wants 415, and its senders then try another message.
  const int status = version_2 || out.version == Version::two ? 415 : 400;
  const std::string encoding = lower(trim(request.header("content-encoding")));
  if (!type.type.empty() && type.type != "application/x-protobuf") {
    out.fault = plain(status, "Content-Type " + decode::printable(type.type, 80) +
                                  " is not application/x-protobuf; JSON lines go to "
                                  "/api/v1/samples");
  } else if (!type.proto.empty() && type.proto != "prometheus.WriteRequest" &&
             out.version != Version::two) {
    out.fault = plain(415, "Content-Type proto=" + decode::printable(type.proto, 80) +
                               " is not known; send io.prometheus.write.v2.Request or "
                               "prometheus.WriteRequest");
  } else if (version_2 && type.type.empty()) {
    out.fault = plain(415,
                      "without a Content-Type the message is not known; send "
                      "application/x-protobuf;proto=io.prometheus.write.v2.Request");
  } else if (!encoding.empty() && encoding != "snappy") {
    out.fault =
        plain(status, "Content-Encoding " + decode::printable(encoding, 80) + " is not snappy");
  }
  return out;
}

// How much of a request is on disk. A histogram counts once, and is there when all of its classic series are;
// duplicates are there. Exemplars never are.
struct Written {
  std::uint64_t samples = 0;
  std::uint64_t histograms = 0;
};

// points  of the batch before it was handed on
Written written(const Decoded& decoded, std::size_t points, const Stored& stored) {
  Written out;
  // The database refused all that was new, and which points those are is not known.
  if (stored.rejected_count > stored.refused.size()) return out;
  const std::vector<std::uint32_t>& refused = stored.refused;
  std::size_t in_histograms = 0, refused_in_histograms = 0;
  auto at = refused.begin();
  for (const Decoded::Histogram& histogram : decoded.histograms) {
    in_histograms += histogram.count;
    at = std::lower_bound(at, refused.end(), histogram.first);
    const auto end = std::lower_bound(at, refused.end(), histogram.first + histogram.count);
    if (at == end) ++out.histograms;
    refused_in_histograms += static_cast<std::size_t>(end - at);
    at = end;
  }
  out.samples = points - in_histograms - (refused.size() - refused_in_histograms);
  return out;
}

http::Response with_written(http::Response response, const Written& written) {
  const auto add = [&](const char* what, std::uint64_t count) {
    response.headers.emplace_back("X-Prometheus-Remote-Write-" + std::string(what) + "-Written",
                                  std::to_string(count));
  };
  add("Samples", written.samples);
  add("Histograms", written.histograms);
  add("Exemplars", 0);
  return response;
}

std::string amount(std::uint64_t samples, std::uint64_t histograms) {
  std::string text = std::to_string(samples) + (samples == 1 ? " sample" : " samples");
  if (histograms > 0)
    text += " and " + std::to_string(histograms) + (histograms == 1 ? " histogram" : " histograms");
  return text;
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
  Negotiated negotiated = negotiate(request);
  if (negotiated.fault) {
    ++count(*receiver, sender).refused;
    co_return std::move(*negotiated.fault);
  }
  const bool second = negotiated.version == Version::two;
  const auto answer = [second](http::Response response, const Written& done) {
    return second ? with_written(std::move(response), done) : response;
  };

  const auto body = std::make_shared<const std::vector<char>>(std::move(request.body));
  const decode::Limits limits = receiver->settings.limits;
  Read read = [body, limits, second] {
    return second ? decode::remote_write_2(*body, limits) : decode::remote_write(*body, limits);
  };
  Result<Decoded> decoded = co_await read_apart(receiver, body->size(), std::move(read));
  if (!decoded) {
    ++count(*receiver, sender).refused;
    const int status = decoded.error().where == decode::wrong_version ? 415 : 400;
    co_return answer(plain(status, decoded.error().where + ": " + decoded.error().what), {});
  }

  note(*receiver, sender, *decoded);
  const std::size_t points = decoded->batch.points.size();
  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.come_again())
    co_return come_again(*receiver, settled.stored.state, Repeats::after_503_only);
  const Written done = written(*decoded, points, settled.stored);
  if (settled.rejected == 0) co_return answer(http::no_content(), done);
  co_return answer(
      plain(400, amount(decoded->samples_sent - done.samples,
                        decoded->histograms_sent - done.histograms) +
                     " not taken, " + amount(done.samples, done.histograms) + " stored." +
                     first_faults(decoded->rejected, settled.stored.rejected)),
      done);
}

}  // namespace

http::Handler receive_remote_write(Sink sink, Settings settings, CountersPtr counters,
                                   MetadataPtr metadata) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters), std::move(metadata)});
  return [receiver](http::Request request) { return remote_write(receiver, std::move(request)); };
}

}  // namespace muster::collector
