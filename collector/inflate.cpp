#include "collector/inflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <limits>

namespace muster::collector {

Inflated inflate_body(std::span<const char> body, std::size_t bytes_max) {
  Inflated out;
  z_stream stream{};
  // 15 bits of window, and 32 to tell gzip from zlib by the head.
  if (body.empty() || inflateInit2(&stream, 15 + 32) != Z_OK) return {Inflated::State::damaged, {}};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in =
      static_cast<uInt>(std::min<std::size_t>(body.size(), std::numeric_limits<uInt>::max()));

  std::size_t used = 0;
  while (true) {
    if (used == out.bytes.size()) {
      if (used > bytes_max) {
        out.state = Inflated::State::too_large;
        break;
      }
      // One byte over the bound tells whether there is more.
      out.bytes.resize(std::min(bytes_max + 1, std::max<std::size_t>(64u << 10, used * 2)));
    }
    stream.next_out = reinterpret_cast<Bytef*>(out.bytes.data() + used);
    stream.avail_out = static_cast<uInt>(out.bytes.size() - used);
    const int status = inflate(&stream, Z_NO_FLUSH);
    used = out.bytes.size() - stream.avail_out;
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      if (inflateReset(&stream) == Z_OK) continue;
    }
    if (status == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0)) continue;
    out.state = Inflated::State::damaged;
    break;
  }
  inflateEnd(&stream);
  if (out.state == Inflated::State::good && used > bytes_max)
    out.state = Inflated::State::too_large;
  out.bytes.resize(out.state == Inflated::State::good ? used : 0);
  return out;
}

}  // namespace muster::collector
