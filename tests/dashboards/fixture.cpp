#include "tests/dashboards/fixture.hpp"

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <stdexcept>
#include <utility>

namespace muster::dashboards::test {
namespace asio = boost::asio;

Timestamp minute(int n) {
  return from_seconds(1740960000 + 60 * n);
}

ModelView model(std::string id, ModelView::State state, std::uint8_t score) {
  ModelView m;
  m.id = std::move(id);
  m.family = "ranking";
  m.region = "eu";
  m.team = "search";
  m.version = "v1";
  m.state = state;
  m.score = score;
  return m;
}

FleetView small_fleet() {
  FleetView fleet;
  fleet.at = minute(30);
  fleet.tick = std::chrono::minutes(1);
  fleet.learning = false;
  fleet.series = 15;
  fleet.samples = 1000;
  fleet.ledger = {1, minute(-1440), 0.14, 0};
  fleet.models = {model("a", ModelView::State::ok, 3), model("b", ModelView::State::silent, 0),
                  model("c", ModelView::State::learning, 7)};
  fleet.recent_events = {{minute(20), std::nullopt, "deploy", "model:a", "v1"}};
  fleet.heat_ticks = {minute(10), minute(20), minute(30)};
  for (int r = 0; r < 3; ++r) {
    for (int t = 0; t < 3; ++t) fleet.heat.push_back(static_cast<std::uint8_t>(10 * r + t));
  }
  return fleet;
}

Incident incident(std::string id, Incident::State state, Timestamp opened) {
  Incident i;
  i.id = std::move(id);
  i.state = state;
  i.opened_at = i.started_at = i.updated_at = opened;
  if (state != Incident::State::open) i.resolved_at = opened + std::chrono::minutes(5);
  i.cause = "src-1";
  i.title = "src-1 has moved 3 of its 4 models.";
  i.score = 80;
  return i;
}

asio::awaitable<IncidentStore::Lines> Memory::list(Query query) {
  if (away) throw std::runtime_error("connection lost");
  queries.push_back(query);
  Lines lines;
  for (auto r = records.rbegin(); r != records.rend(); ++r) {
    if (query.state && r->second.incident.state != *query.state) continue;
    if (!query.after.empty() && r->first >= query.after) continue;
    if (lines.lines.size() == query.limit) {
      lines.next = lines.lines.back().incident.id;
      break;
    }
    lines.lines.push_back({r->second.incident, r->second.attention});
  }
  co_return lines;
}

asio::awaitable<std::optional<IncidentRecord>> Memory::get(std::string id) {
  if (away) throw std::runtime_error("connection lost");
  const auto found = records.find(id);
  if (found == records.end()) co_return std::nullopt;
  co_return found->second;
}

asio::awaitable<IncidentStore::Done> Memory::act(Act act, Said said) {
  if (away) throw std::runtime_error("connection lost");
  Done done;
  const auto found = records.find(said.incident);
  if (found == records.end()) {
    done.state = Done::State::unknown;
    co_return done;
  }
  IncidentRecord& r = found->second;
  if (act != Act::note && r.incident.state == Incident::State::resolved) {
    done.state = Done::State::refused;
    done.why = "it is resolved already";
    co_return done;
  }
  if (act == Act::ack) r.attention = {minute(31), said.by};
  if (act == Act::unack) r.attention = {};
  if (act == Act::resolve) r.incident.state = Incident::State::resolved;
  if (act == Act::note) r.notes.push_back({minute(32), said.by, said.note});
  done.attention = r.attention;
  co_return done;
}

void settle(asio::io_context& io) {
  io.restart();
  io.poll();
}

namespace {

// Runs `io` until the coroutine has ended; fails the test when it does not within ten seconds.
template <class T>
T finish(asio::io_context& io, asio::awaitable<T> work) {
  std::optional<T> result;
  std::exception_ptr failed;
  asio::co_spawn(io, std::move(work), [&](std::exception_ptr fault, T value) {
    if (fault) {
      failed = fault;
    } else {
      result = std::move(value);
    }
  });
  io.restart();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!result && !failed && std::chrono::steady_clock::now() < end) {
    io.run_one_for(std::chrono::seconds(1));
    if (io.stopped()) io.restart();
  }
  if (failed) std::rethrow_exception(failed);
  if (!result) throw std::runtime_error("the coroutine did not end within ten seconds");
  return std::move(*result);
}

}  // namespace

http::Response ask(asio::io_context& io, const http::Routes& routes, http::Method method,
                   std::string_view target, std::string_view body, http::Headers headers) {
  http::Request request;
  request.method = method;
  const std::size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != target.npos) request.query = std::string(target.substr(mark + 1));
  request.headers = std::move(headers);
  request.body.assign(body.begin(), body.end());
  http::Routes::Match match = routes.find(method, request.path);
  if (!match.handler) throw std::runtime_error("no route for " + request.path);
  request.path_arguments = match.arguments;
  return finish(io, (*match.handler)(std::move(request)));
}

std::optional<std::string> next(asio::io_context& io, http::Response& stream) {
  return finish(io, stream.stream());
}

std::vector<std::string> Json::ids() const {
  std::vector<std::string> ids;
  for (const auto& v : value_.as_array()) {
    ids.emplace_back(v.is_string() ? v.as_string() : v.as_object().at("id").as_string());
  }
  return ids;
}

Json parsed(std::string_view text) {
  return Json(boost::json::parse(text));
}

Json data_of(std::string_view text, std::string_view name) {
  const std::string head = "event: " + std::string(name) + "\n";
  const std::size_t from = text.find(head);
  if (from == text.npos)
    throw std::runtime_error("no event " + std::string(name) + " in " + std::string(text));
  const std::size_t data = text.find("data: ", from) + 6;
  return parsed(text.substr(data, text.find('\n', data) - data));
}

}  // namespace muster::dashboards::test
