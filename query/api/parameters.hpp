#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "http/message.hpp"
#include "schema/time.hpp"

namespace muster::query {

// The parameters of a request: those of the address, and of a body that is a form, as Grafana posts it.
class Parameters {
 public:
  // An Error when an escape is malformed.
  static Result<Parameters> of(const http::Request& request);
  static Result<Parameters> of(std::string_view query, std::string_view form);

  std::optional<std::string_view> find(std::string_view name) const;  // the first
  std::vector<std::string_view> all(std::string_view name) const;
  std::string_view text(std::string_view name) const { return find(name).value_or(std::string_view()); }
  bool flag(std::string_view name) const;  // "true" or "1"

  // Unix seconds with decimals, or RFC 3339. Nothing given: `otherwise`.
  Result<Timestamp> time(std::string_view name, std::optional<Timestamp> otherwise) const;
  // Seconds with decimals, or 5m.
  Result<Duration> duration(std::string_view name, std::optional<Duration> otherwise) const;
  // A whole number from 1 to `most`.
  Result<std::size_t> number(std::string_view name, std::size_t otherwise, std::size_t most) const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// 2026-11-24T16:00:00Z, with a fraction and an offset if there is one.
std::optional<Timestamp> parse_rfc3339(std::string_view text);

}  // namespace muster::query
