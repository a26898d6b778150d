#include "collector/sink.hpp"

#include <memory>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace muster::collector {
namespace asio = boost::asio;
namespace {

asio::awaitable<Stored> hand_over(std::shared_ptr<const Submit> submit, SampleBatch batch) {
  const auto start = [submit](auto handler, SampleBatch samples) {
    using Handler = decltype(handler);
    // A completion handler moves and is called once; std::function wants to copy, so it holds a pointer.
    struct Waiting {
      explicit Waiting(Handler&& h)
          : handler(std::move(h)),
            work(asio::make_work_guard(asio::get_associated_executor(handler))) {}
      Handler handler;
      asio::executor_work_guard<asio::associated_executor_t<Handler>> work;
    };
    auto waiting = std::make_shared<Waiting>(std::move(handler));
    (*submit)(std::move(samples), [waiting](Stored stored) {
      const auto executor = waiting->work.get_executor();
      asio::post(executor, [waiting, kept = std::move(stored)]() mutable {
        Handler handler_now = std::move(waiting->handler);
        waiting->work.reset();
        std::move(handler_now)(std::move(kept));
      });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Stored)>(
      start, asio::use_awaitable, std::move(batch));
}

}  // namespace

Sink sink_to(Submit submit) {
  auto shared = std::make_shared<const Submit>(std::move(submit));
  return [shared](SampleBatch batch) { return hand_over(shared, std::move(batch)); };
}

}  // namespace muster::collector
