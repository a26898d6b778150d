#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace muster::scrape {

// Runs `work` on `there`; the awaiting coroutine goes on where it was, with what the work gave or threw.
template <class Work>
boost::asio::awaitable<std::invoke_result_t<Work>> elsewhere(boost::asio::any_io_executor there,
                                                             Work work) {
  // By way of a pointer, as what co_spawn carries has to be made without arguments.
  using Given = std::invoke_result_t<Work>;
  auto given = std::make_shared<std::optional<Given>>();
  auto run = [](std::shared_ptr<std::optional<Given>> into,
                Work job) -> boost::asio::awaitable<void> {
    into->emplace(job());
    co_return;
  };
  auto running = run(given, std::move(work));
  co_await boost::asio::co_spawn(there, std::move(running), boost::asio::use_awaitable);
  co_return std::move(**given);
}

}  // namespace muster::scrape
