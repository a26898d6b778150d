#pragma once

#include <span>
#include <string_view>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// A Prometheus remote write 1.0 body: a snappy block that holds a WriteRequest.
//
// Labels are not read here: a series carries the raw bytes of its label fields and their hash, and whoever knows
// the hash need not read them. `batch.identify` reads them (label_fields.hpp). Values keep their bits, so a stale
// marker stays one. Native histograms become classic series (native_histogram.hpp). Unknown fields are skipped, as
// protobuf wants it.
//
// An Error means that nothing of the body can be used. A sample whose time does not fit, and a histogram that
// contradicts itself, is left out and stands in `rejected`, under its series' index in the request.
Result<Decoded> remote_write(std::span<const char> body, const Limits& limits = {});

}  // namespace muster::decode
