#include "collector/decode/influx.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <boost/json.hpp>

#include "collector/collector.hpp"
#include "collector/receive.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;

Timestamp arrival() {
  return {std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch())
              .count()};
}

// InfluxDB 1 has `error`, 2 has `code`, `message` and `line`.
http::Response refused(int status, const std::string& what, std::uint32_t line) {
  boost::json::object answer{{"code", status == 400 ? "invalid" : "unsupported media type"},
                             {"message", what},
                             {"error", what}};
  if (line > 0) answer["line"] = line;
  return http::json(boost::json::serialize(answer), status);
}

asio::awaitable<http::Response> influx(ReceiverPtr receiver, http::Request request) {
  const std::string sender = sender_of(request);
  ++count(*receiver, sender).requests;
  const decode::Limits limits = receiver->settings.limits;
  if (auto fault = undo_encoding(request, limits.decoded_bytes_max)) {
    ++count(*receiver, sender).refused;
    co_return std::move(*fault);
  }
  const Result<std::int64_t> unit =
      decode::influx_unit_ns(request.parameter("precision").value_or(""));
  if (!unit) {
    ++count(*receiver, sender).refused;
    co_return refused(400, unit.error().where + ": " + unit.error().what, 0);
  }
  std::string database = request.parameter("db").value_or("");
  if (database.empty()) database = request.parameter("bucket").value_or("");

  const std::size_t bytes = request.body.size();
  const auto body = std::make_shared<const std::vector<char>>(std::move(request.body));
  Read read = [body, limits, ns = *unit, database, now = arrival()]() -> Result<Decoded> {
    return decode::influx_lines({body->data(), body->size()}, {ns, now, database}, limits);
  };
  Result<Decoded> decoded = co_await read_apart(receiver, bytes, std::move(read));
  count(*receiver, sender).texts += decoded->skipped.texts;

  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.come_again())
    co_return come_again(*receiver, settled.stored.state, Repeats::after_429);
  if (settled.rejected == 0) co_return http::no_content();
  std::vector<Rejected> faults = std::move(decoded->rejected);
  faults.insert(faults.end(), settled.stored.rejected.begin(), settled.stored.rejected.end());
  std::stable_sort(faults.begin(), faults.end(),
                   [](const Rejected& a, const Rejected& b) { return a.line < b.line; });
  std::string what = "partial write: " + std::to_string(settled.rejected) +
                     " lines or samples were not taken, the other " +
                     std::to_string(settled.stored.accepted + settled.stored.duplicates) +
                     " samples are stored.";
  // The first few tell the fault.
  constexpr std::size_t told_max = 5;
  for (std::size_t i = 0; i < std::min(told_max, faults.size()); ++i)
    what += " Line " + std::to_string(faults[i].line) + ": " + faults[i].what + '.';
  co_return refused(400, what, faults.empty() ? 0 : faults[0].line);
}

asio::awaitable<http::Response> pong() {
  co_return http::no_content();
}

}  // namespace

http::Handler receive_influx(Sink sink, Settings settings, CountersPtr counters) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters), nullptr});
  return [receiver](http::Request request) { return influx(receiver, std::move(request)); };
}

void add_influx_routes(http::Routes& routes, Sink sink, Settings settings, CountersPtr counters) {
  const http::Handler handler =
      receive_influx(std::move(sink), std::move(settings), std::move(counters));
  routes.add(http::Method::post, "/write", handler);
  routes.add(http::Method::post, "/api/v2/write", handler);
  // Clients ask whether it is there before they write.
  routes.add(http::Method::get, "/ping", [](http::Request) { return pong(); });
}

}  // namespace muster::collector
