#include "app/ingest_page.hpp"

#include <boost/json.hpp>
#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace muster::app {
namespace {

namespace json = boost::json;
using store::Registry;

// What to do about samples that were not taken.
const char* words_of(Registry::Reason reason) {
  switch (reason) {
    case Registry::Reason::labels:
      return "the label set breaks a rule; the sender was told which";
    case Registry::Reason::series_limit:
      return "new series beyond series_max, or more versions of a model than are kept";
    case Registry::Reason::sender_limit:
      return "new series of a sender beyond sender_series_max; remove labels that change all the time";
    case Registry::Reason::request_limit:
      return "too many new series in one request; they come in with the next ones";
    case Registry::Reason::ahead:
      return "ahead of this server's clock by more than future_max_seconds; check the sender's clock";
    case Registry::Reason::early:
      return "before the year 2000: most likely seconds were sent where milliseconds are wanted";
    case Registry::Reason::late:
      return "kept, but older than the lateness: no decision counts them";
    case Registry::Reason::ignored:
      return "a mapping rule with `ignore: true` says that nobody wants them; their sender is not told";
  }
  return "";
}

json::value number(double value) {
  if (std::isfinite(value)) return value;
  return nullptr;
}

std::string with_thousands(std::uint64_t n) {
  std::string digits = std::to_string(n);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

// A label whose values are so many holds an id, and no name of a thing.
constexpr std::uint64_t many_values = 10'000;
constexpr double near_limit = 0.8;

json::array advice(const store::IngestReport& report, const IngestLimits& limits) {
  json::array out;
  const auto near = [](std::uint64_t n, std::uint64_t most) {
    return static_cast<double>(n) > near_limit * static_cast<double>(most);
  };
  for (const store::Cardinality::Label& label : report.labels)
    if (label.values >= many_values)
      out.emplace_back("label \"" + label.name + "\" has about " + with_thousands(label.values) +
                       " values; drop it at the sender unless each of them is watched");
  if (near(report.series, limits.series_max))
    out.emplace_back(with_thousands(report.series) + " of " + with_thousands(limits.series_max) +
                     " series (series_max) are known; new ones are refused beyond it");
  for (const store::IngestReport::Sender& sender : report.senders)
    if (near(sender.use.new_series, limits.sender_series_max))
      out.emplace_back("sender \"" + sender.use.name + "\" has brought " +
                       with_thousands(sender.use.new_series) + " of " +
                       with_thousands(limits.sender_series_max) +
                       " series (sender_series_max); its new ones are refused beyond it");
  return out;
}

}  // namespace

const char* word_of(Registry::Reason reason) {
  switch (reason) {
    case Registry::Reason::labels:
      return "labels";
    case Registry::Reason::series_limit:
      return "series_limit";
    case Registry::Reason::sender_limit:
      return "sender_limit";
    case Registry::Reason::request_limit:
      return "request_limit";
    case Registry::Reason::ahead:
      return "ahead_of_clock";
    case Registry::Reason::early:
      return "before_2000";
    case Registry::Reason::late:
      return "late";
    case Registry::Reason::ignored:
      return "ignored";
  }
  return "";
}

std::string ingest_json(const store::IngestReport& report, const collector::Counters& senders,
                        const IngestMemory& memory, const IngestLimits& limits) {
  std::map<std::string, const store::IngestReport::Sender*> uses;
  std::set<std::string> names;
  for (const auto& use : report.senders) {
    uses[use.use.name] = &use;
    names.insert(use.use.name);
  }
  for (const auto& [name, seen] : senders.senders) names.insert(name);
  json::array list;
  for (const std::string& name : names) {
    const auto seen_at = senders.senders.find(name);
    const collector::Counters::Sender seen =
        seen_at == senders.senders.end() ? collector::Counters::Sender{} : seen_at->second;
    const auto use_at = uses.find(name);
    const store::IngestReport::Sender use =
        use_at == uses.end() ? store::IngestReport::Sender{} : *use_at->second;
    list.push_back({{"sender", name},
                    {"requests", seen.requests},
                    {"accepted", seen.accepted},
                    {"duplicates", seen.duplicates},
                    {"late", seen.late},
                    {"rejected", seen.rejected},
                    {"unreadable_requests", seen.refused},
                    {"busy", seen.busy},
                    {"throttled", seen.throttled},
                    {"new_series", use.use.new_series},
                    {"active_series", use.use.active_series},
                    {"queue_samples", use.queue_samples},
                    {"queue_bytes", use.queue_bytes}});
  }

  json::array drops;
  for (std::size_t r = 0; r < Registry::reasons; ++r) {
    const auto reason = static_cast<Registry::Reason>(r);
    const Registry::Drop& drop = report.drops[r];
    if (drop.samples == 0) continue;
    json::array examples;
    for (const Registry::Example& one : drop.examples)
      examples.push_back({{"at", to_millis(one.at)},
                          {"sender", one.sender},
                          {"series", one.series},
                          {"ts", to_millis(one.ts)},
                          {"value", number(one.value)}});
    drops.push_back({{"reason", word_of(reason)},
                     {"samples", drop.samples},
                     {"what", words_of(reason)},
                     {"examples", std::move(examples)}});
  }

  json::array metrics, labels;
  for (const auto& metric : report.metrics)
    metrics.push_back({{"name", metric.name}, {"series", metric.series}});
  for (const auto& label : report.labels)
    labels.push_back({{"name", label.name}, {"series", label.series}, {"values", label.values}});

  const json::object answer{{"series", report.series},
                            {"series_max", limits.series_max},
                            {"models", report.models},
                            {"senders", std::move(list)},
                            {"drops", std::move(drops)},
                            {"metrics", std::move(metrics)},
                            {"labels", std::move(labels)},
                            {"memory",
                             {{"resident_bytes", memory.resident},
                              {"registry_bytes", memory.registry},
                              {"queue_bytes", memory.queue},
                              {"tail_bytes", memory.tail}}},
                            {"advice", advice(report, limits)}};
  return json::serialize(answer);
}

}  // namespace muster::app
