#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/matcher.hpp"

// The asking side of Prometheus's remote read, and what else history comes in.
namespace muster::decode {

// A snappy block of a ReadRequest for the samples with from <= time <= to that all matchers fit, in unix ms.
std::string remote_read_request(std::int64_t from_ms, std::int64_t to_ms,
                                std::span<const Matcher> matchers);

// The series of a ReadResponse that holds samples, as a WriteRequest: its results have that very form, one behind
// the other.
//
// body  a snappy block
Result<std::string> remote_read_samples(std::span<const char> body, std::size_t bytes_max);

// Lines as VictoriaMetrics exports them, {"metric":{"__name__":"up",…},"values":[…],"timestamps":[…]}, as a
// WriteRequest. A value is a number, or null or "NaN", "Infinity", "-Infinity" as text; times are unix ms.
Result<std::string> victoria_samples(std::string_view lines);

// For the body of a request.
std::string snappy_block(std::string_view bytes);

// How many series and samples a WriteRequest has; nothing of it is checked.
struct WriteRequestSize {
  std::uint64_t series = 0;
  std::uint64_t samples = 0;
};
WriteRequestSize size_of_write_request(std::string_view bytes);

}  // namespace muster::decode
