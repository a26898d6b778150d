#include "collector/metadata.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <mutex>
#include <utility>

#include <boost/json.hpp>

#include "collector/decode/text.hpp"

namespace muster::collector {
namespace {

// What a metric of a family may be called beside the family's own name, and the types that have such metrics.
// Not x_created: that is a time, and no counter.
struct Member {
  std::string_view end;
  std::array<std::string_view, 3> types;
};
constexpr std::array<Member, 7> members = {{
    {"_total", {"counter", "unknown", ""}},
    {"_bucket", {"histogram", "gaugehistogram", ""}},
    {"_count", {"histogram", "summary", ""}},
    {"_sum", {"histogram", "summary", ""}},
    {"_gcount", {"gaugehistogram", "", ""}},
    {"_gsum", {"gaugehistogram", "", ""}},
    {"_info", {"info", "", ""}},
}};

std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  // Not inside a character: 10xxxxxx continues one.
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace

void Metadata::add(std::string_view family, std::string_view type, std::string_view unit,
                   std::string_view help) {
  help = cut(help, settings_.text_bytes_max);
  const auto is = [&](const Entry& entry) {
    return entry.type == type && entry.unit == unit && entry.help == help;
  };
  {
    const std::shared_lock lock(mutex_);
    const auto found = families_.find(family);
    if (found != families_.end() && is(found->second.back())) return;
  }
  const bool good = !family.empty() && family.size() <= settings_.name_bytes_max &&
                    unit.size() <= settings_.name_bytes_max && decode::is_storable(family) &&
                    decode::is_storable(unit) && decode::is_storable(help);
  const std::unique_lock lock(mutex_);
  auto found = families_.find(family);
  if (!good || (found == families_.end() && families_.size() >= settings_.families_max)) {
    ++left_out_;
    return;
  }
  if (found == families_.end()) found = families_.try_emplace(std::string(family)).first;
  std::vector<Entry>& entries = found->second;
  std::erase_if(entries, is);
  if (entries.size() == settings_.variants_max) entries.erase(entries.begin());
  entries.push_back({std::string(type), std::string(unit), std::string(help)});
}

std::optional<MetricFacts> Metadata::facts(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  if (const auto found = families_.find(name); found != families_.end()) {
    const Entry& entry = found->second.back();
    return MetricFacts{entry.type, entry.unit};
  }
  for (const Member& member : members) {
    if (!name.ends_with(member.end)) continue;
    const auto found = families_.find(name.substr(0, name.size() - member.end.size()));
    if (found == families_.end()) continue;
    const Entry& entry = found->second.back();
    for (const std::string_view type : member.types)
      if (!type.empty() && entry.type == type) return MetricFacts{entry.type, entry.unit};
  }
  return {};
}

void Metadata::each(const Visit& visit) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [family, entries] : families_)
    if (!visit(family, entries)) break;
}

std::size_t Metadata::families() const {
  const std::shared_lock lock(mutex_);
  return families_.size();
}

std::uint64_t Metadata::left_out() const {
  const std::shared_lock lock(mutex_);
  return left_out_;
}

namespace {

// A count of the query: negative, as Prometheus has it, and absent are without a bound.
Result<std::size_t> bound(const http::Request& request, std::string_view name) {
  constexpr std::size_t none = std::numeric_limits<std::size_t>::max();
  const std::optional<std::string> text = request.parameter(name);
  if (!text || text->empty()) return none;
  long long n = 0;
  const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), n);
  if (fault != std::errc() || end != text->data() + text->size())
    return Error{std::string(name), std::string(name) + " must be a number"};
  return n < 0 ? none : static_cast<std::size_t>(n);
}

http::Response answer(const Metadata& metadata, const http::Request& request) {
  const auto limit = bound(request, "limit");
  const auto each_limit = bound(request, "limit_per_metric");
  for (const auto* number : {&limit, &each_limit}) {
    if (*number) continue;
    boost::json::object fault{{"status", "error"}, {"errorType", "bad_data"}};
    fault["error"] = number->error().what;
    return http::json(boost::json::serialize(fault), 400);
  }
  const std::optional<std::string> metric = request.parameter("metric");
  boost::json::object data;
  metadata.each([&](const std::string& family, const std::vector<Metadata::Entry>& entries) {
    if (data.size() >= *limit) return false;
    if (metric && !metric->empty() && family != *metric) return true;
    boost::json::array list;
    for (const Metadata::Entry& entry : entries) {
      if (*each_limit > 0 && list.size() == *each_limit) break;
      list.push_back({{"type", entry.type}, {"help", entry.help}, {"unit", entry.unit}});
    }
    data[family] = std::move(list);
    return true;
  });
  boost::json::object body{{"status", "success"}};
  body["data"] = std::move(data);
  return http::json(boost::json::serialize(body));
}

boost::asio::awaitable<http::Response> respond(MetadataPtr metadata, http::Request request) {
  co_return answer(*metadata, request);
}

}  // namespace

http::Handler get_metadata(MetadataPtr metadata) {
  return [metadata](http::Request request) { return respond(metadata, std::move(request)); };
}

}  // namespace muster::collector
