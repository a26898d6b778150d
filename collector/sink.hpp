#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>

#include "schema/samples.hpp"

namespace muster::collector {

// Where decoded samples go. It answers when what it accepted is on disk.
using Sink = std::function<boost::asio::awaitable<Stored>(SampleBatch)>;

// A sink that hands batches to `submit`, which calls back once from any thread. The waiting coroutine goes on
// on its own executor, so the callback must come, or `submit` be gone, before that executor's context ends.
using Submit = std::function<void(SampleBatch, std::function<void(Stored)>)>;
Sink sink_to(Submit submit);

}  // namespace muster::collector
