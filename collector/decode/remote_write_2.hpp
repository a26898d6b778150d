#pragma once

#include <span>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// A Prometheus remote write 2.0 body: a snappy block that holds an io.prometheus.write.v2.Request.
//
// Its labels are references into a table of symbols. They are written out as the label fields of remote write 1.0,
// so that a series has one alias whichever version it comes by; what its metadata says of type and unit stands
// behind them as reserved labels, which the alias leaves out. Otherwise as remote_write() (remote_write.hpp).
//
// A series with a reference that points nowhere, or with an odd number of them, is left out and stands in
// `rejected`; a table that does not begin with the empty text is an Error.
Result<Decoded> remote_write_2(std::span<const char> body, const Limits& limits = {});

}  // namespace muster::decode
