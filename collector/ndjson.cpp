#include "collector/decode/ndjson.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include <boost/json.hpp>

#include "collector/collector.hpp"
#include "collector/receive.hpp"

namespace muster::collector {
namespace asio = boost::asio;
namespace {

using decode::Decoded;

asio::awaitable<http::Response> ndjson(ReceiverPtr receiver, http::Request request) {
  const std::string sender = sender_of(request);
  ++count(*receiver, sender).requests;
  const decode::Limits limits = receiver->settings.limits;
  if (auto fault = undo_encoding(request, limits.decoded_bytes_max)) {
    ++count(*receiver, sender).refused;
    co_return std::move(*fault);
  }

  const std::size_t bytes = request.body.size();
  const auto body = std::make_shared<std::vector<char>>(std::move(request.body));
  Read read = [body, limits]() -> Result<Decoded> {
    return decode::ndjson(std::move(*body), limits);
  };
  Result<Decoded> decoded = co_await read_apart(receiver, bytes, std::move(read));

  const Settled settled = co_await settle(receiver, sender, *decoded);
  if (settled.stored.come_again())
    co_return come_again(*receiver, settled.stored.state, Repeats::after_429);
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

http::Handler receive_ndjson(Sink sink, Settings settings, CountersPtr counters) {
  const ReceiverPtr receiver = std::make_shared<const Receiver>(
      Receiver{std::move(sink), std::move(settings), std::move(counters), nullptr});
  return [receiver](http::Request request) { return ndjson(receiver, std::move(request)); };
}

}  // namespace muster::collector
