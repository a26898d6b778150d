#include "collector/decode/otlp.hpp"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include <boost/json.hpp>
#include <protozero/pbf_writer.hpp>

#include "collector/collector.hpp"
#include "collector/decode/text.hpp"
#include "collector/delta_watch.hpp"
#include "collector/inflate.hpp"
#include "collector/receive.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;
using decode::Otlp;

constexpr std::string_view protobuf_type = "application/x-protobuf";
constexpr std::string_view json_type = "application/json";

// Faults that an answer names; each has its metric and attributes in it.
constexpr std::size_t faults_told_max = 5;

// A compressed body grows to about so many times its size: whether it is large depends on that.
constexpr std::size_t usual_inflation = 8;

enum class Form { protobuf, json };

http::Response answer(Form form, int status, std::string body) {
  http::Response response;
  response.status = status;
  response.content_type = form == Form::json ? json_type : protobuf_type;
  response.body = std::move(body);
  return response;
}

// google.rpc.Status, the body of every failure.
std::string status_body(Form form, int code, const std::string& message) {
  if (form == Form::json) return boost::json::serialize(boost::json::object{{"code", code}, {"message", message}});
  std::string body;
  protozero::pbf_writer writer(body);
  writer.add_int32(1, code);
  writer.add_string(2, message);
  return body;
}

http::Response failure(Form form, int status, const std::string& message) {
  // Google's codes for what HTTP says with its own.
  const int code = status == 413 || status == 429 ? 8   // RESOURCE_EXHAUSTED
                   : status == 503                ? 14  // UNAVAILABLE
                                                  : 3;  // INVALID_ARGUMENT
  return answer(form, status, status_body(form, code, message));
}

// ExportMetricsServiceResponse: empty when there is nothing to say.
http::Response success(Form form, std::uint64_t rejected, const std::string& message) {
  if (form == Form::json) {
    boost::json::object body;
    if (!message.empty()) {
      boost::json::object& partial = body["partialSuccess"].emplace_object();
      // A 64-bit integer is a string in protobuf's JSON.
      if (rejected > 0) partial["rejectedDataPoints"] = std::to_string(rejected);
      partial["errorMessage"] = message;
    }
    return answer(form, 200, boost::json::serialize(body));
  }
  std::string body;
  if (!message.empty()) {
    std::string partial;
    protozero::pbf_writer inner(partial);
    if (rejected > 0) inner.add_int64(1, static_cast<std::int64_t>(rejected));
    inner.add_string(2, message);
    protozero::pbf_writer(body).add_message(1, partial);
  }
  return answer(form, 200, std::move(body));
}

// The first few faults, each series once.
std::string first_faults(const std::vector<Rejected>& read, const std::vector<Rejected>& stored) {
  std::string text;
  std::set<std::string> told;
  for (const std::vector<Rejected>* list : {&read, &stored}) {
    for (const Rejected& one : *list) {
      std::string fault = one.series.empty() ? one.what : "series " + one.series + ": " + one.what;
      if (told.contains(fault)) continue;
      if (told.size() == faults_told_max) return text + "; …";
      (text += told.empty() ? ": " : "; ") += fault;
      told.insert(std::move(fault));
    }
  }
  return text;
}

// What was wrong with a body, or what it held beside the samples.
struct Content {
  int status = 400;
  Otlp otlp;  // without `decoded`
};

struct Endpoint {
  Receiver receiver;
  DeltaWatch deltas;
};

Result<Decoded> read_body(std::vector<char> body, bool compressed, Form form,
                          const Settings& settings, Content& content) {
  const decode::Limits& limits = settings.limits;
  if (compressed) {
    Inflated inflated = inflate_body(body, limits.decoded_bytes_max);
    if (inflated.state == Inflated::State::too_large) {
      content.status = 413;
      return Error{"body", "more than " + std::to_string(limits.decoded_bytes_max) +
                               " bytes after decompression; send it in parts"};
    }
    if (inflated.state == Inflated::State::damaged)
      return Error{"body", "not what Content-Encoding says, or cut short"};
    body = std::move(inflated.bytes);
  }
  if (body.size() > limits.decoded_bytes_max) {
    content.status = 413;
    return Error{"body", "more than " + std::to_string(limits.decoded_bytes_max) +
                             " bytes; send it in parts"};
  }
  Result<Otlp> otlp = form == Form::json ? decode::otlp_json(std::move(body), settings.otlp, limits)
                                         : decode::otlp_protobuf(body, settings.otlp, limits);
  if (!otlp) {
    if (otlp.error().where == decode::over_limit) content.status = 413;
    return otlp.error();
  }
  content.otlp = std::move(*otlp);
  return std::move(content.otlp.decoded);
}

asio::awaitable<http::Response> otlp_metrics(std::shared_ptr<Endpoint> endpoint,
                                             http::Request request) {
  const ReceiverPtr receiver(endpoint, &endpoint->receiver);
  const std::string sender = sender_of(request);
  ++count(*receiver, sender).requests;

  const std::string type = content_type(request.header("content-type")).type;
  // Without a type that is known, an answer that a person can read.
  const Form form = type == protobuf_type ? Form::protobuf : Form::json;
  const std::string encoding = lower(trim(request.header("content-encoding")));
  const bool compressed = encoding == "gzip" || encoding == "deflate";
  std::string fault;
  if (type != protobuf_type && type != json_type)
    fault = "Content-Type " + (type.empty() ? "is missing" : decode::printable(type, 80) + " is not known") +
            "; send application/x-protobuf or application/json";
  if (!compressed && !encoding.empty() && encoding != "identity")
    fault = "Content-Encoding " + decode::printable(encoding, 80) +
            " is not known; send it as gzip, deflate or plain";
  if (!fault.empty()) {
    ++count(*receiver, sender).refused;
    co_return failure(form, 415, fault);
  }

  const std::size_t work = request.body.size() * (compressed ? usual_inflation : 1);
  const auto content = std::make_shared<Content>();
  const auto body = std::make_shared<std::vector<char>>(std::move(request.body));
  Read read = [body, compressed, form, receiver, content] {
    return read_body(std::move(*body), compressed, form, receiver->settings, *content);
  };
  Result<Decoded> decoded = co_await read_apart(receiver, work, std::move(read));
  if (!decoded) {
    ++count(*receiver, sender).refused;
    co_return failure(form, content->status, decoded.error().where + ": " + decoded.error().what);
  }

  note(*receiver, sender, *decoded);
  const Settled settled = co_await settle(receiver, sender, *decoded);
  const Stored& stored = settled.stored;
  if (stored.come_again()) {
    // Its own words and Retry-After, in the form that OTLP wants.
    http::Response later = come_again(*receiver, stored.state, Repeats::after_429);
    http::Response out = failure(form, later.status, stored.state == Stored::State::busy
                                                         ? "the queue is full or the database is away; send the "
                                                           "same request again"
                                                         : "this sender has its share of the queue; send the "
                                                           "same request again, and fewer at a time");
    out.headers = std::move(later.headers);
    co_return out;
  }

  OtlpCounters& counters = receiver->counters->otlp;
  endpoint->deltas.see(content->otlp.deltas, counters.deltas);
  // The database refused all that was new: then nothing is known to be stored.
  const bool all = stored.rejected_count > stored.refused.size();
  const std::uint64_t rejected =
      all ? content->otlp.data_points
          : decoded->rejected_count + content->otlp.data_points_of(stored.refused);
  counters.data_points += content->otlp.data_points;
  counters.rejected += rejected;
  if (rejected == 0 && stored.rejected_count == 0) co_return success(form, 0, {});
  std::string message = rejected > 0 ? std::to_string(rejected) + " of " +
                                           std::to_string(content->otlp.data_points) +
                                           " data points were not taken"
                                     : "target_info was not taken";
  message += first_faults(decoded->rejected, stored.rejected);
  co_return success(form, rejected, message);
}

}  // namespace

http::Handler receive_otlp(Sink sink, Settings settings, CountersPtr counters,
                           MetadataPtr metadata) {
  const std::size_t streams_max = settings.delta_streams_max;
  auto endpoint = std::make_shared<Endpoint>(
      Endpoint{{std::move(sink), std::move(settings), std::move(counters), std::move(metadata)},
               DeltaWatch(streams_max)});
  return [endpoint](http::Request request) { return otlp_metrics(endpoint, std::move(request)); };
}

http::Response otlp_failure(const http::Response& refusal, std::string_view content_type_header) {
  const bool json = content_type(content_type_header).type != protobuf_type;
  std::string message = "the request was refused";
  boost::json::error_code wrong;
  const boost::json::value body = boost::json::parse(refusal.body, wrong);
  if (!wrong && body.is_object())
    if (const auto* error = body.as_object().if_contains("error"); error && error->is_object())
      if (const auto* what = error->as_object().if_contains("what"); what && what->is_string())
        message = what->as_string().c_str();
  http::Response out = failure(json ? Form::json : Form::protobuf, refusal.status, message);
  out.headers = refusal.headers;
  return out;
}

}  // namespace muster::collector
