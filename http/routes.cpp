#include "http/routes.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

#include "http/text.hpp"

namespace muster::http {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty()) return segments;
  for (;;) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == path.npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

bool is_name(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}

int rank(std::string_view segment) {
  return segment == "*" ? 2 : is_name(segment) ? 1 : 0;
}

// Insertions, deletions and replacements that turn a into b (Levenshtein), one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view to_word(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
    case Method::options:
      return "OPTIONS";
  }
  return "";
}

void Routes::add(Method method, std::string_view pattern, Handler handler) {
  assert(pattern.starts_with('/') && handler);
  auto known = std::find_if(routes_.begin(), routes_.end(),
                            [&](const Route& route) { return route.pattern == pattern; });
  if (known == routes_.end()) {
    Route route{std::string(pattern), {}, {}};
    for (const std::string_view segment : split(pattern)) route.segments.emplace_back(segment);
    assert(std::find(route.segments.begin(), route.segments.end(), "*") >=
           route.segments.end() - !route.segments.empty());
    const auto plainer = [](const Route& a, const Route& b) {
      return std::lexicographical_compare(
          a.segments.begin(), a.segments.end(), b.segments.begin(), b.segments.end(),
          [](const std::string& x, const std::string& y) { return rank(x) < rank(y); });
    };
    known = routes_.insert(std::upper_bound(routes_.begin(), routes_.end(), route, plainer),
                           std::move(route));
  }
  assert(std::none_of(known->handlers.begin(), known->handlers.end(),
                      [&](const auto& entry) { return entry.first == method; }));
  known->handlers.emplace_back(method, std::move(handler));
}

void Routes::refuse_as(std::string_view path, Refusal form) {
  refusals_.emplace_back(path, std::move(form));
}

const Refusal* Routes::refusal(std::string_view path) const {
  for (const auto& [known, form] : refusals_)
    if (known == path) return &form;
  return nullptr;
}

Routes::Match Routes::find(Method method, std::string_view path) const {
  const std::vector<std::string_view> segments = split(path);
  for (const Route& route : routes_) {
    const bool open_end = !route.segments.empty() && route.segments.back() == "*";
    const std::size_t fixed = route.segments.size() - (open_end ? 1 : 0);
    if (open_end ? segments.size() < fixed : segments.size() != fixed) continue;

    Match match;
    bool fits = true;
    for (std::size_t i = 0; i < fixed && fits; ++i) {
      const std::optional<std::string> text = percent_decoded(segments[i], false);
      if (!text) {
        match.malformed = true;
        return match;
      }
      const std::string& wanted = route.segments[i];
      if (is_name(wanted)) {
        fits = !text->empty();
        match.arguments.emplace_back(wanted.substr(1, wanted.size() - 2), *text);
      } else {
        fits = *text == wanted;
      }
    }
    if (!fits) continue;
    if (open_end) {
      std::string rest;
      for (std::size_t i = fixed; i < segments.size(); ++i) {
        if (i > fixed) rest += '/';
        rest += segments[i];
      }
      const std::optional<std::string> text = percent_decoded(rest, false);
      if (!text) {
        match.malformed = true;
        return match;
      }
      match.arguments.emplace_back("*", *text);
    }

    const Method wanted = method == Method::head ? Method::get : method;
    for (const auto& [takes, handler] : route.handlers) {
      if (takes == method || (takes == wanted && !match.handler)) match.handler = &handler;
    }
    if (!match.handler) {
      for (const auto& [takes, handler] : route.handlers) {
        if (!match.allow.empty()) match.allow += ", ";
        match.allow += to_word(takes);
        if (takes == Method::get) match.allow += ", HEAD";
      }
    }
    return match;
  }
  return {};
}

std::string Routes::nearest(std::string_view path) const {
  // Longer paths are no slips of the finger, and the comparison costs the product of the lengths.
  constexpr std::size_t length_max = 200;
  constexpr std::size_t slips_max = 4;
  if (path.size() > length_max) return {};
  std::size_t best = slips_max + 1;
  std::string found;
  for (const Route& route : routes_) {
    if (route.pattern.find_first_of("{*") != std::string::npos) continue;
    const std::size_t slips = distance(path, route.pattern);
    // A short path is near to everything; half of it must be right.
    if (slips < best && slips * 2 < route.pattern.size()) {
      best = slips;
      found = route.pattern;
    }
  }
  return found;
}

}  // namespace muster::http
