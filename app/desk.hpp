#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dashboards/incident_store.hpp"
#include "dashboards/live.hpp"
#include "router/memory.hpp"
#include "router/settings.hpp"
#include "router/step.hpp"
#include "schema/store/control.hpp"

namespace muster::app {

// Where findings become notices. One thread owns the control connection and the router's memory, so what the
// aggregator finds, what people do and what became of deliveries come one after the other, each in one
// transaction with all that follows from it.
//
// When the outcome of a transaction is not known, the memory is read again before the next one. Findings and
// deliveries have keys and actions say whether they were there already, so whoever asked asks again.
class Desk final : public dashboards::IncidentStore {
 public:
  using Clock = std::function<Timestamp()>;  // wall clock: people wait by it

  Desk(boost::asio::io_context& io, std::string control_dsn, router::Settings settings, Clock clock,
       dashboards::Live& live);
  ~Desk() override;

  // From the aggregator's thread: returns once the findings and their notices are committed. Throws
  // store::Unavailable: nothing is known, call again with the same.
  void apply(const std::vector<Finding>& findings);

  // The rest is for the I/O thread.

  // Tells pages who has acknowledged what, as it stood before this process.
  boost::asio::awaitable<void> recall();
  // Wakes the router at its deadlines, until stop().
  boost::asio::awaitable<void> keep_time();
  void stop();

  boost::asio::awaitable<std::vector<store::OutboxRow>> due_notices(int limit);
  boost::asio::awaitable<std::optional<Timestamp>> next_due();
  // What became of an attempt. The last one also goes to the router.
  boost::asio::awaitable<void> delivered(store::OutboxRow row, store::Delivery delivery);
  // Called whenever notices may have become due.
  void on_notices(std::function<void()> wake) { wake_ = std::move(wake); }

  boost::asio::awaitable<void> reload(router::Settings settings);
  boost::asio::awaitable<std::size_t> add_events(std::vector<Event> events);
  boost::asio::awaitable<std::int64_t> save_topology(Topology topology);
  boost::asio::awaitable<store::OutboxDepth> outbox_depth();
  boost::asio::awaitable<void> prune(Timestamp before);

  boost::asio::awaitable<Lines> list(Query query) override;
  boost::asio::awaitable<std::optional<dashboards::IncidentRecord>> get(std::string id) override;
  boost::asio::awaitable<Done> act(Act act, Said said) override;

 private:
  boost::asio::awaitable<void> recall_once();
  // On the desk's thread.
  store::Applied step(std::vector<router::RouterEvent> events, store::Changes changes);
  void remember();

  boost::asio::io_context& io_;
  Clock clock_;
  dashboards::Live& live_;
  boost::asio::steady_timer timer_;
  std::function<void()> wake_;
  bool stopped_ = false;
  std::optional<Timestamp> deadline_;  // of the I/O thread

  boost::asio::thread_pool thread_{1};
  // Of the desk's thread.
  store::Control control_;
  router::Settings settings_;
  router::Memory memory_;
  std::int64_t version_ = 0;
  bool remembered_ = false;
};

}  // namespace muster::app
