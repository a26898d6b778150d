#pragma once

#include <string_view>
#include <vector>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// A sample stream: a JSON object a line (docs: the fleet input formats, section 1). Lines that
// cannot be used stand in `rejected` with their number and the reason; all others are kept.
//
// body        whole lines; the last may lack its line end
// first_line  the number of its first line, for a stream that is read in chunks (the next chunk's
// is
//             first_line + lines)
Decoded ndjson(std::vector<char> body, const Limits& limits = {}, std::uint32_t first_line = 1);

// How many bytes of a chunk are whole lines: up to and with its last line end. The rest opens the
// next chunk.
std::size_t whole_lines(std::string_view chunk);

// Reads one line: whose sample it is. Its numbers are taken as they are, so the kind is always a
// gauge.
Result<SeriesIdentity> ndjson_identity(std::string_view line, const Mapping& mapping = {});

}  // namespace muster::decode
