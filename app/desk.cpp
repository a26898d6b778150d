#include "app/desk.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <future>
#include <utility>

#include "app/run_on.hpp"
#include "base/log.hpp"
#include "schema/store/connection.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;

dashboards::Attention attention_of(const store::IncidentRow& row) { return {row.acked_at, row.acked_by}; }

store::DecisionRow row_of(const router::Decision& decision) {
  return {decision.at,
          std::string(decision.stage),
          decision.subject_kind,
          decision.subject,
          decision.receiver,
          decision.integration,
          std::string(router::to_word(decision.verdict)),
          std::string(router::to_word(decision.reason)),
          decision.details};
}

std::string state_of(const store::OutboxRow& row) {
  if (row.state == "sent") return "delivered";
  if (row.state == "superseded") return "dropped";
  if (row.state == "due" && row.tries > 0) return "sending";
  return row.state;
}

}  // namespace

Desk::Desk(asio::io_context& io, std::string control_dsn, router::Settings settings, Clock clock,
           dashboards::Live& live)
    : io_(io),
      clock_(std::move(clock)),
      live_(live),
      timer_(io, asio::steady_timer::time_point::max()),
      control_(std::move(control_dsn)),
      settings_(std::move(settings)) {}

Desk::~Desk() {
  thread_.stop();
  thread_.join();
}

void Desk::remember() {
  if (remembered_) return;
  const store::RouterMemory stored = control_.load_memory();
  if (stored.bytes.empty()) {
    memory_ = {};
  } else {
    Result<router::Memory> read = router::parse_memory(stored.bytes);
    // Nothing else writes it; refusing to go on would silence every page, so the router starts anew and says so.
    if (!read) log::error("router.memory_unreadable", {{"what", read.error().what}});
    memory_ = read ? std::move(*read) : router::Memory{};
  }
  version_ = stored.version;
  remembered_ = true;
}

store::Applied Desk::step(std::vector<router::RouterEvent> events, store::Changes changes) {
  remember();
  router::Step next = router::step(memory_, events, clock_(), settings_);
  changes.memory = store::RouterMemory{version_ + 1, router::to_json(next.memory)};
  changes.notices = std::move(next.notices);
  for (const router::Decision& decision : next.decisions) changes.decisions.push_back(row_of(decision));

  remembered_ = false;  // until the transaction is known to be done
  store::Applied applied = control_.apply(changes);
  memory_ = std::move(next.memory);
  ++version_;
  remembered_ = true;

  const bool notices = !changes.notices.empty();
  asio::post(io_, [this, deadline = next.next_deadline, notices] {
    deadline_ = deadline;
    timer_.cancel();
    if (notices && wake_) wake_();
  });
  return applied;
}

void Desk::apply(const std::vector<Finding>& findings) {
  std::promise<void> done;
  asio::post(thread_, [&] {
    try {
      std::vector<Finding> fresh = control_.fresh_findings(findings);
      if (!fresh.empty()) {
        std::vector<router::RouterEvent> events(fresh.begin(), fresh.end());
        store::Changes changes;
        changes.findings = fresh;
        step(std::move(events), std::move(changes));
      }
      done.set_value();
    } catch (...) {
      done.set_exception(std::current_exception());
    }
  });
  done.get_future().get();
  for (const Finding& finding : findings) {
    live_.tell(finding.incident.id, std::string(to_word(finding.what)));
  }
}

asio::awaitable<void> Desk::recall() {
  // The database may go away in the first moment too, which is no reason to end.
  while (!stopped_) {
    bool failed = false;
    try {
      co_await recall_once();
    } catch (const store::Unavailable& fault) {
      log::warn("recall.waits", {{"what", fault.what()}, {"then", "tried again in a second"}});
      failed = true;
    }
    if (!failed) co_return;
    asio::steady_timer pause(timer_.get_executor(), std::chrono::seconds(1));
    boost::system::error_code ignored;
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

asio::awaitable<void> Desk::recall_once() {
  auto open = [this] {
    store::IncidentFilter filter;
    filter.state = Incident::State::open;
    filter.limit = store::IncidentFilter::limit_max;
    return control_.incidents(filter);
  };
  const store::IncidentPage page = co_await run_on(thread_, std::move(open));
  for (const store::IncidentRow& row : page.rows) {
    if (row.acked_at) live_.attend(row.incident.id, attention_of(row));
  }
  // What was due before this process started must not wait for the next finding.
  auto nothing = [this] { step({router::DeadlineReached{}}, {}); };
  co_await run_on(thread_, std::move(nothing));
}

asio::awaitable<void> Desk::keep_time() {
  while (!stopped_) {
    const Timestamp now = clock_();
    if (deadline_ && *deadline_ <= now) {
      deadline_.reset();
      auto reached = [this] { step({router::DeadlineReached{}}, {}); };
      bool failed = false;
      try {
        co_await run_on(thread_, std::move(reached));
      } catch (const std::exception& fault) {
        log::warn("router.step_failed", {{"what", fault.what()}, {"then", "tried again in a second"}});
        failed = true;
      }
      if (failed && !deadline_) deadline_ = clock_() + std::chrono::seconds(1);
      continue;
    }
    if (deadline_) {
      timer_.expires_after(*deadline_ - now);
    } else {
      timer_.expires_at(asio::steady_timer::time_point::max());
    }
    boost::system::error_code woken;
    co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, woken));
  }
}

void Desk::stop() {
  stopped_ = true;
  timer_.cancel();
}

asio::awaitable<std::vector<store::OutboxRow>> Desk::due_notices(int limit) {
  auto ask = [this, limit] { return control_.due_outbox(clock_(), limit); };
  co_return co_await run_on(thread_, std::move(ask));
}

asio::awaitable<std::optional<Timestamp>> Desk::next_due() {
  auto ask = [this] { return control_.next_due(); };
  co_return co_await run_on(thread_, std::move(ask));
}

asio::awaitable<void> Desk::delivered(store::OutboxRow row, store::Delivery delivery) {
  const std::string incident = row.notice.incident;
  auto record = [this, row = std::move(row), delivery = std::move(delivery)] {
    const bool last = delivery.delivered || !delivery.next_try;
    if (!last) {
      control_.record(delivery);
      return;
    }
    const Notice& notice = row.notice;
    store::Changes changes;
    changes.deliveries.push_back(delivery);
    router::Delivered event;
    event.key = notice.key;
    event.group = notice.group;
    event.incident = notice.incident;
    event.receiver = notice.receiver;
    event.target = notice.target;
    event.sent = delivery.delivered;
    if (!delivery.delivered) event.error = delivery.answer;
    step({std::move(event)}, std::move(changes));
  };
  co_await run_on(thread_, std::move(record));
  if (!incident.empty()) live_.tell(incident, "delivery");
}

asio::awaitable<void> Desk::reload(router::Settings settings) {
  auto take = [this, settings = std::move(settings)]() mutable {
    settings_ = std::move(settings);
    step({router::ConfigLoaded{}}, {});
  };
  co_await run_on(thread_, std::move(take));
}

asio::awaitable<std::size_t> Desk::add_events(std::vector<Event> events) {
  auto add = [this, events = std::move(events)] { return control_.add_events(events); };
  co_return co_await run_on(thread_, std::move(add));
}

asio::awaitable<std::int64_t> Desk::save_topology(Topology topology) {
  auto save = [this, topology = std::move(topology)] { return control_.save_topology(topology, clock_()); };
  co_return co_await run_on(thread_, std::move(save));
}

asio::awaitable<store::OutboxDepth> Desk::outbox_depth() {
  auto ask = [this] { return control_.outbox_depth(); };
  co_return co_await run_on(thread_, std::move(ask));
}

asio::awaitable<void> Desk::prune(Timestamp before) {
  auto forget = [this, before] { control_.prune(before); };
  co_await run_on(thread_, std::move(forget));
}

asio::awaitable<Desk::Lines> Desk::list(Query query) {
  auto ask = [this, query = std::move(query)] {
    store::IncidentFilter filter;
    filter.state = query.state;
    filter.cursor = query.after;
    filter.limit = static_cast<int>(std::min<std::size_t>(query.limit, store::IncidentFilter::limit_max));
    store::IncidentPage page = control_.incidents(filter);
    Lines lines;
    lines.next = std::move(page.next);
    for (store::IncidentRow& row : page.rows) {
      dashboards::Attention attention = attention_of(row);
      lines.lines.push_back({std::move(row.incident), std::move(attention)});
    }
    return lines;
  };
  co_return co_await run_on(thread_, std::move(ask));
}

asio::awaitable<std::optional<dashboards::IncidentRecord>> Desk::get(std::string id) {
  auto ask = [this, id = std::move(id)]() -> std::optional<dashboards::IncidentRecord> {
    std::optional<store::IncidentDetail> detail = control_.incident(id);
    if (!detail) return std::nullopt;
    dashboards::IncidentRecord record;
    record.attention = attention_of(detail->row);
    record.incident = std::move(detail->row.incident);
    for (const store::Action& action : detail->actions) {
      if (action.note.empty()) continue;
      record.notes.push_back({action.at, action.actor, action.note});
    }
    for (const store::OutboxRow& row : detail->notices) {
      const std::string answer = row.last_answer;
      record.deliveries.push_back({row.delivered_at.value_or(row.notice.at), row.notice.receiver,
                                   row.notice.channel, state_of(row), answer});
    }
    return record;
  };
  co_return co_await run_on(thread_, std::move(ask));
}

asio::awaitable<Desk::Done> Desk::act(Act act, Said said) {
  auto work = [this, act, said] {
    store::Action action;
    action.incident = said.incident;
    action.at = clock_();
    action.actor = said.by;
    action.note = said.note;
    std::vector<router::RouterEvent> events;
    switch (act) {
      case Act::ack:
        action.what = store::Action::What::ack;
        events.push_back(router::PersonActed{router::PersonActed::What::ack, said.incident, said.by, {}});
        break;
      case Act::unack:
        action.what = store::Action::What::unack;
        events.push_back(router::PersonActed{router::PersonActed::What::unack, said.incident, said.by, {}});
        break;
      case Act::resolve:
        action.what = store::Action::What::resolve;
        events.push_back(router::PersonActed{router::PersonActed::What::resolve, said.incident, said.by, {}});
        break;
      case Act::note: action.what = store::Action::What::note; break;
    }
    const std::optional<store::IncidentDetail> before = control_.incident(said.incident);
    Done done;
    if (!before) {
      done.state = Done::State::unknown;
      return done;
    }
    done.attention = attention_of(before->row);
    if (act != Act::note && before->row.incident.state != Incident::State::open) {
      done.state = Done::State::refused;
      done.why = "it is " + std::string(to_word(before->row.incident.state)) + " already";
      return done;
    }
    store::Changes changes;
    changes.actions.push_back(std::move(action));
    step(std::move(events), std::move(changes));
    if (const std::optional<store::IncidentDetail> after = control_.incident(said.incident)) {
      done.attention = attention_of(after->row);
    }
    return done;
  };
  const Done done = co_await run_on(thread_, std::move(work));
  if (done.state == Done::State::done) {
    constexpr const char* words[] = {"acknowledged", "unacknowledged", "resolved", "noted"};
    live_.attend(said.incident, done.attention);
    live_.tell(said.incident, words[static_cast<int>(act)]);
  }
  co_return done;
}

}  // namespace muster::app
