#include "collector/scrape/target.hpp"

#include <algorithm>
#include <map>

#include "schema/duration.hpp"

namespace muster::scrape {
namespace {

using decode::set_label;

constexpr std::string_view param_prefix = "__param_";

// Percent-encoded but for what may stand in the place: letters, digits, -_.~ and `also`.
std::string encoded(std::string_view text, std::string_view also) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-_.~").find(c) != std::string_view::npos ||
                       also.find(c) != also.npos;
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::string url_of(const Job& job, const Labels& labels) {
  std::string url(value_of(labels, "__scheme__"));
  url += "://";
  url += value_of(labels, "__address__");
  url += encoded(value_of(labels, "__metrics_path__"), "/!$&'()*+,;=:@%");

  std::map<std::string, std::vector<std::string>, std::less<>> params;
  for (const auto& [name, values] : job.params) params[name] = values;
  for (const Label& label : labels) {
    if (!label.name.starts_with(param_prefix)) continue;
    std::vector<std::string>& values = params[label.name.substr(param_prefix.size())];
    if (values.empty()) values.emplace_back();
    values[0] = label.value;
  }
  char before = '?';
  for (const auto& [name, values] : params) {
    for (const std::string& value : values) {
      url += before + encoded(name, "") + '=' + encoded(value, "");
      before = '&';
    }
  }
  return url;
}

std::string shown(const Labels& labels) {
  std::string text = "{";
  for (const Label& label : labels)
    text += (text.size() > 1 ? "," : "") + label.name + "=\"" + label.value + '"';
  return text + '}';
}

}  // namespace

std::string Target::key() const {
  return shown(labels) + url;
}

Result<std::optional<Target>> make_target(const Job& job, Labels labels) {
  const auto when_absent = [&](std::string_view name, const std::string& value) {
    if (value_of(labels, name).empty()) set_label(labels, name, value);
  };
  when_absent("job", job.name);
  when_absent("__scrape_interval__", to_text(job.interval));
  when_absent("__scrape_timeout__", to_text(job.timeout));
  when_absent("__metrics_path__", job.metrics_path);
  when_absent("__scheme__", job.scheme);
  for (const auto& [name, values] : job.params)
    if (!values.empty()) set_label(labels, std::string(param_prefix) + name, values[0]);

  Target target;
  target.discovered = labels;
  const std::string where = "target " + shown(labels);
  if (!decode::relabel(labels, job.relabel)) return std::optional<Target>();

  const std::string address(value_of(labels, "__address__"));
  if (address.empty()) return Error{where, "no __address__ is left after relabel_configs"};
  if (address.find('/') != address.npos)
    return Error{where, "'" + address + "' is no HOST:PORT; a path goes into metrics_path"};
  const std::string_view scheme = value_of(labels, "__scheme__");
  if (scheme != "http" && scheme != "https")
    return Error{where, "scheme '" + std::string(scheme) + "' is neither http nor https"};
  const std::string_view path = value_of(labels, "__metrics_path__");
  if (!path.empty() && path.front() != '/')
    return Error{where, "metrics path '" + std::string(path) + "' does not begin with /"};
  for (const auto& [name, into] : {std::pair{"__scrape_interval__", &target.interval},
                                   std::pair{"__scrape_timeout__", &target.timeout}}) {
    const Result<Duration> read = parse_duration(value_of(labels, name));
    if (!read || *read <= Duration::zero())
      return Error{where, std::string(name) + " '" + std::string(value_of(labels, name)) +
                              "' is no duration above 0, e.g. 15s"};
    *into = *read;
  }
  if (target.timeout > target.interval)
    return Error{where, "its timeout " + to_text(target.timeout) + " is longer than its interval " +
                            to_text(target.interval)};

  target.url = url_of(job, labels);
  if (value_of(labels, "instance").empty()) set_label(labels, "instance", address);
  std::erase_if(labels, [](const Label& label) { return label.name.starts_with("__"); });
  target.labels = std::move(labels);
  return std::optional<Target>(std::move(target));
}

Timestamp next_due(Timestamp now, Duration interval, std::uint64_t hash) {
  const std::int64_t step = interval.count();
  const auto offset = static_cast<std::int64_t>(hash % static_cast<std::uint64_t>(step));
  std::int64_t into = (now.us - offset) % step;
  if (into < 0) into += step;
  return {now.us - into + step};
}

}  // namespace muster::scrape
