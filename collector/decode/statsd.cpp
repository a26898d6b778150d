#include "collector/decode/statsd.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/hash.hpp"
#include "collector/decode/decoded.hpp"
#include "collector/decode/label_fields.hpp"
#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

constexpr std::array<std::pair<double, std::string_view>, 3> quantiles = {
    {{0.5, "0.5"}, {0.9, "0.9"}, {0.99, "0.99"}}};

std::optional<double> number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc() || stop != end || !std::isfinite(value)) return {};
  return value;
}

// The part up to `c`, which goes too.
std::string_view part(std::string_view& text, char c) {
  const std::size_t end = std::min(text.find(c), text.size());
  const std::string_view out = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return out;
}

std::string as_name(std::string_view text) {
  std::string out;
  if (!text.empty() && text[0] >= '0' && text[0] <= '9') out += '_';
  for (const char c : text) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    out += fits ? c : '_';
  }
  return out;
}

}  // namespace

void StatsdWindow::take(std::string_view datagram) {
  while (!datagram.empty()) {
    std::string_view text = part(datagram, '\n');
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.empty()) continue;
    ++counters_.lines;
    if (text.starts_with("_e{") || text.starts_with("_sc|")) {
      ++counters_.skipped;
      continue;
    }
    if (const char* const fault = line(text); fault != nullptr) {
      ++counters_.rejected;
      last_rejected_ = printable(text, 120) + ": " + fault;
    }
  }
}

const char* StatsdWindow::line(std::string_view text) {
  std::string_view rest = text;
  // Tags may hold colons, so the values end at the first bar.
  std::string_view values = part(rest, '|');
  const std::string_view name = part(values, ':');
  if (name.empty() || values.empty()) return "a line is NAME:VALUE|TYPE";
  if (name.size() > name_bytes_max || !is_storable(text))
    return "the name is too long or not UTF-8";

  const std::string_view kind = part(rest, '|');
  Type type = Type::counter;
  if (kind == "g") {
    type = Type::gauge;
  } else if (kind == "ms" || kind == "h" || kind == "d") {
    type = Type::timer;
  } else if (kind == "s") {
    type = Type::set;
  } else if (kind != "c") {
    return "its type is none of c, g, ms, h, d and s";
  }

  double rate = 1;
  std::vector<Tag> tags;
  while (!rest.empty()) {
    std::string_view more = part(rest, '|');
    if (more.starts_with('@')) {
      const std::optional<double> said = number(more.substr(1));
      if (!said || *said <= 0 || *said > 1) return "its sample rate is not above 0 and at most 1";
      rate = *said;
    } else if (more.starts_with('#')) {
      more.remove_prefix(1);
      while (!more.empty()) {
        std::string_view value = part(more, ',');
        if (value.empty()) continue;
        const bool pair = value.find(':') != value.npos;
        const std::string_view tag = part(value, ':');
        if (tag.empty() || tag.starts_with("__")) return "a tag's name is empty or begins with __";
        if (tag.size() > name_bytes_max || value.size() > value_bytes_max)
          return "a tag is too long";
        // A tag that only is there.
        if (pair && value.empty()) continue;
        tags.push_back({as_name(tag), pair ? std::string(value) : "true"});
        if (tags.size() > labels_max) return "too many tags";
      }
    } else if (!more.starts_with("c:") && !more.starts_with('T')) {
      return "something behind its type that is no @rate and no #tags";
    }
  }
  std::stable_sort(tags.begin(), tags.end(),
                   [](const Tag& a, const Tag& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < tags.size(); ++i)
    if (tags[i].name == tags[i - 1].name) return "a tag is repeated";

  std::string key(1, static_cast<char>('0' + static_cast<int>(type)));
  key += as_name(name);
  for (const Tag& tag : tags) key += '\xff' + tag.name + '\xff' + tag.value;
  auto found = metrics_.find(key);
  if (found == metrics_.end()) {
    if (metrics_.size() >= settings_.keys_max) {
      ++counters_.over_limit;
      return nullptr;
    }
    Metric metric;
    metric.type = type;
    metric.milliseconds = kind == "ms";
    metric.name = as_name(name);
    metric.tags = std::move(tags);
    found = metrics_.emplace(std::move(key), std::move(metric)).first;
  }
  while (!values.empty())
    if (const char* const fault = add(found->second, part(values, ':'), rate); fault != nullptr)
      return fault;
  return nullptr;
}

const char* StatsdWindow::add(Metric& metric, std::string_view word, double rate) {
  if (metric.type == Type::set) {
    metric.came = true;
    if (metric.distinct.size() >= settings_.distinct_max ||
        values_ >= settings_.values_in_all_max) {
      ++counters_.over_limit;
      return nullptr;
    }
    if (metric.distinct.insert(hash64(word)).second) ++values_;
    return nullptr;
  }
  const std::optional<double> value = number(word);
  if (!value) return "its value is no number";
  metric.came = true;
  switch (metric.type) {
    case Type::counter:
      metric.value += *value / rate;
      return nullptr;
    case Type::gauge:
      metric.value = word[0] == '+' || word[0] == '-' ? metric.value + *value : *value;
      return nullptr;
    default:
      break;
  }
  metric.value += *value / rate;
  metric.count += 1 / rate;
  ++metric.seen;
  if (metric.values.size() < settings_.values_max) {
    if (values_ >= settings_.values_in_all_max) {
      ++counters_.over_limit;
      return nullptr;
    }
    metric.values.push_back(*value);
    ++values_;
    return nullptr;
  }
  // Each of those seen stays with the same chance (Vitter 1985, algorithm R); xorshift, as no secret is at stake.
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  if (const std::uint64_t place = random_ % metric.seen; place < metric.values.size())
    metric.values[place] = *value;
  return nullptr;
}

SampleBatch StatsdWindow::flush(Timestamp now) {
  LabelFieldsWriter writer;
  std::uint32_t number = 0;
  const auto sample = [&](const Metric& metric, std::string_view suffix, std::string_view type,
                          bool delta, std::string_view quantile, double value) {
    std::vector<std::pair<std::string_view, std::string_view>> labels;
    const std::string name = metric.name + std::string(suffix);
    for (const Tag& tag : metric.tags)
      if (quantile.empty() || tag.name != "quantile") labels.emplace_back(tag.name, tag.value);
    labels.emplace_back("__name__", name);
    labels.emplace_back(type_label, type);
    if (delta) labels.emplace_back(temporality_label, "delta");
    if (metric.milliseconds && suffix != "_count") labels.emplace_back(unit_label, "milliseconds");
    if (!quantile.empty()) labels.emplace_back("quantile", quantile);
    std::sort(labels.begin(), labels.end());
    writer.begin(++number);
    for (const auto& [label, text] : labels) writer.label(label, text);
    writer.point({now, value});
  };
  for (auto& [key, metric] : metrics_) {
    if (!metric.came) {
      ++metric.idle;
      continue;
    }
    switch (metric.type) {
      case Type::counter:
        sample(metric, "", "counter", true, {}, metric.value);
        metric.value = 0;
        break;
      case Type::gauge:
        sample(metric, "", "gauge", false, {}, metric.value);
        break;
      case Type::set:
        sample(metric, "", "gauge", false, {}, static_cast<double>(metric.distinct.size()));
        metric.distinct.clear();
        break;
      case Type::timer:
        sample(metric, "_count", "counter", true, {}, metric.count);
        sample(metric, "_sum", "counter", true, {}, metric.value);
        std::sort(metric.values.begin(), metric.values.end());
        for (const auto& [q, word] : quantiles) {
          if (metric.values.empty()) break;
          // The smallest value that at least this share of them does not exceed.
          const auto rank =
              static_cast<std::size_t>(std::ceil(q * static_cast<double>(metric.values.size())));
          sample(metric, "", "summary", false, word,
                 metric.values[std::max<std::size_t>(rank, 1) - 1]);
        }
        metric.values = {};
        metric.value = metric.count = 0;
        metric.seen = 0;
        break;
    }
    metric.came = false;
    metric.idle = 0;
  }
  absl::erase_if(metrics_,
                 [&](const auto& entry) { return entry.second.idle > settings_.idle_windows_max; });
  values_ = 0;
  return writer.finish();
}

}  // namespace muster::decode
