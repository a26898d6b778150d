#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

namespace muster::app {

// Runs blocking `work` on a thread of `pool`; the awaiting coroutine goes on where it was, with what the work
// gave or threw.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work>> run_on(boost::asio::thread_pool& pool, Work work) {
  auto there = [](Work job) -> boost::asio::awaitable<std::invoke_result_t<Work>> { co_return job(); };
  auto running = there(std::move(work));
  co_return co_await boost::asio::co_spawn(pool.get_executor(), std::move(running),
                                           boost::asio::use_awaitable);
}

}  // namespace muster::app
