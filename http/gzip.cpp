#include "http/gzip.hpp"

#include <zlib.h>

#include <limits>
#include <optional>
#include <stdexcept>

#include "http/text.hpp"

namespace muster::http {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// q=0, q=0.0, q=0.000: "not this one".
bool refused(std::string_view parameters) {
  const std::size_t q = parameters.find("q=");
  if (q == parameters.npos) return false;
  const std::string_view value = trimmed(parameters.substr(q + 2));
  return !value.empty() && value.find_first_not_of("0.") == value.npos;
}

}  // namespace

std::string gzip(std::string_view text, int level) {
  constexpr int gzip_wrapper = 16;  // added to the window bits: a gzip header instead of a zlib one
  z_stream stream{};
  if (text.size() > std::numeric_limits<uInt>::max() ||
      deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS + gzip_wrapper, 8, Z_DEFAULT_STRATEGY) !=
          Z_OK) {
    throw std::runtime_error("gzip cannot start");
  }
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int done = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (done != Z_STREAM_END) throw std::runtime_error("gzip did not finish");
  return out;
}

bool accepts_gzip(std::string_view accept_encoding) {
  std::optional<bool> any;
  while (!accept_encoding.empty()) {
    const std::string_view item = accept_encoding.substr(0, accept_encoding.find(','));
    accept_encoding.remove_prefix(std::min(item.size() + 1, accept_encoding.size()));
    const std::string_view name = trimmed(item.substr(0, item.find(';')));
    const bool taken = !refused(item.substr(name.size()));
    if (same_name(name, "gzip")) return taken;
    if (name == "*") any = taken;
  }
  return any.value_or(false);
}

}  // namespace muster::http
