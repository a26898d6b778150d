#include "http/message.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "http/text.hpp"

namespace muster::http {
namespace {

std::string_view find(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (same_name(key, name)) return value;
  }
  return {};
}

}  // namespace

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = digit(text[i + 1]);
      const int low = digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string_view Request::header(std::string_view name) const {
  return find(headers, name);
}

std::string_view Request::argument(std::string_view name) const {
  for (const auto& [key, value] : path_arguments) {
    if (key == name) return value;
  }
  return {};
}

std::optional<std::string> Request::parameter(std::string_view name) const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const std::size_t equals = pair.find('=');
    // A malformed escape stands for itself: it is the handler that knows whether the value makes
    // sense.
    const auto decoded = [](std::string_view raw) {
      return percent_decoded(raw, true).value_or(std::string(raw));
    };
    if (decoded(pair.substr(0, equals)) != name) continue;
    return equals == pair.npos ? std::string() : decoded(pair.substr(equals + 1));
  }
  return std::nullopt;
}

Response error(int status, std::string_view code, const Error& fault, std::string_view fix) {
  const boost::json::object fields{
      {"code", code}, {"where", fault.where}, {"what", fault.what}, {"fix", fix}};
  const boost::json::object whole{{"error", fields}};
  return json(boost::json::serialize(whole), status);
}

Response json(std::string body, int status) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

Response no_content() {
  Response response;
  response.status = 204;
  response.content_type.clear();
  return response;
}

Response try_later(int status, int seconds, std::string_view why) {
  const Error fault{"server", std::string(why)};
  Response response = error(status, status == 429 ? "too_many" : "busy", fault,
                            "send the same request again after the seconds in Retry-After");
  response.headers.emplace_back("Retry-After", std::to_string(seconds));
  return response;
}

}  // namespace muster::http
