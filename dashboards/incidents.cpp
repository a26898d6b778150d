#include <boost/json.hpp>
#include <boost/system/system_error.hpp>
#include <charconv>
#include <functional>

#include "base/log.hpp"
#include "dashboards/incident_json.hpp"
#include "dashboards/routes.hpp"

namespace muster::dashboards {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

using Act = IncidentStore::Act;

struct ActWords {
  Act act;
  std::string_view path;
  std::string_view told;  // what other pages hear
};
constexpr ActWords act_words[] = {{Act::ack, "ack", "acknowledged"},
                                  {Act::unack, "unack", "unacknowledged"},
                                  {Act::resolve, "resolve", "resolved"},
                                  {Act::note, "note", "noted"}};

http::Response bad(std::string where, std::string what, std::string_view fix = {}) {
  const Error fault{std::move(where), std::move(what)};
  return http::error(400, "bad_request", fault, fix);
}

http::Response unknown(const std::string& id) {
  const Error fault{"incident " + id, "there is no such incident"};
  return http::error(404, "not_found", fault, "GET /api/v1/incidents lists them");
}

// Runs what asks the store. When the store is away the reader hears it and comes back; a request that was
// cancelled is not the store's fault.
asio::awaitable<http::Response> guarded(std::function<asio::awaitable<http::Response>()> ask) {
  std::string reason;
  try {
    co_return co_await ask();
  } catch (const boost::system::system_error& fault) {
    if (fault.code() == asio::error::operation_aborted) throw;
    reason = fault.what();
  } catch (const std::exception& fault) {
    reason = fault.what();
  }
  log::warn("incidents.unavailable", {{"reason", reason}});
  co_return http::try_later(503, 5,
                            "the incidents cannot be read just now; pages are sent all the same");
}

Result<IncidentStore::Query> query_of(const http::Request& request, const Settings& settings) {
  IncidentStore::Query query;
  if (const auto state = request.parameter("state"); state && !state->empty()) {
    for (const auto s :
         {Incident::State::open, Incident::State::resolved, Incident::State::merged}) {
      if (to_word(s) == *state) query.state = s;
    }
    if (!query.state)
      return Error{"query, state", "'" + *state + "' is not open, resolved or merged"};
  }
  if (const auto limit = request.parameter("limit")) {
    const auto [end, fault] =
        std::from_chars(limit->data(), limit->data() + limit->size(), query.limit);
    const bool whole = fault == std::errc() && end == limit->data() + limit->size();
    if (!whole || query.limit < 1 || query.limit > settings.page_max) {
      return Error{"query, limit",
                   "must be a whole number from 1 to " + std::to_string(settings.page_max)};
    }
  }
  query.after = request.parameter("after").value_or("");
  return query;
}

// {"by": "feeds on-call", "note": "…"}; both may be left out, except the note of a note.
Result<IncidentStore::Said> said_of(const http::Request& request, Act act,
                                    const Settings& settings) {
  IncidentStore::Said said;
  said.incident = std::string(request.argument("id"));
  said.by = "on-call";
  if (!request.body.empty()) {
    boost::system::error_code fault;
    const json::value parsed = json::parse(request.body_text(), fault);
    if (fault) return Error{"body", "is not JSON: " + fault.message()};
    const json::object* fields = parsed.if_object();
    if (!fields)
      return Error{"body", R"(must be an object, e.g. {"by":"feeds on-call","note":""})"};
    for (const auto& [name, to] : {std::pair("by", &said.by), std::pair("note", &said.note)}) {
      const json::value* value = fields->if_contains(name);
      if (!value || value->is_null()) continue;
      if (!value->is_string()) return Error{std::string("body, ") + name, "must be a string"};
      *to = std::string(value->as_string());
    }
  }
  if (said.by.empty() || said.by.size() > settings.by_max) {
    return Error{"body, by",
                 "must have 1 to " + std::to_string(settings.by_max) + " bytes: a role or a team"};
  }
  if (said.note.size() > settings.note_max) {
    return Error{"body, note",
                 "must not be longer than " + std::to_string(settings.note_max) + " bytes"};
  }
  if (act == Act::note && said.note.empty()) return Error{"body, note", "must not be empty"};
  return said;
}

asio::awaitable<http::Response> list(IncidentStore& store, IncidentStore::Query query) {
  const IncidentStore::Lines lines = co_await store.list(std::move(query));
  json::array incidents;
  for (const IncidentLine& line : lines.lines)
    incidents.push_back(summary_json(line.incident, line.attention));
  json::object whole;
  whole["incidents"] = std::move(incidents);
  whole["next"] = lines.next.empty() ? json::value(nullptr) : json::value(lines.next);
  co_return http::json(json::serialize(whole));
}

asio::awaitable<http::Response> get(IncidentStore& store, std::string id) {
  const std::optional<IncidentRecord> record = co_await store.get(id);
  if (!record) co_return unknown(id);
  http::Response response = http::json(json::serialize(record_json(*record)));
  response.headers = {{"Cache-Control", "no-cache"}};
  co_return response;
}

asio::awaitable<http::Response> perform(Live& live, IncidentStore& store, ActWords words,
                                        IncidentStore::Said said) {
  const std::string id = said.incident;
  const IncidentStore::Done done = co_await store.act(words.act, std::move(said));
  if (done.state == IncidentStore::Done::State::unknown) co_return unknown(id);
  if (done.state == IncidentStore::Done::State::refused) {
    const Error fault{"incident " + id, done.why};
    co_return http::error(409, "conflict", fault);
  }
  live.attend(id, done.attention);
  live.tell(id, std::string(words.told));
  json::object answer{{"id", id}, {"what", words.told}, {"acked_by", done.attention.acked_by}};
  answer["acked_at"] = done.attention.acked_at ? json::value(to_millis(*done.attention.acked_at))
                                               : json::value(nullptr);
  co_return http::json(json::serialize(answer));
}

asio::awaitable<http::Response> answer_list(Live& live, IncidentStore& store,
                                            http::Request request) {
  Result<IncidentStore::Query> query = query_of(request, live.settings());
  if (!query) co_return bad(query.error().where, query.error().what);
  std::function<asio::awaitable<http::Response>()> ask = [&store, &query] {
    return list(store, *query);
  };
  co_return co_await guarded(std::move(ask));
}

asio::awaitable<http::Response> answer_get(IncidentStore& store, http::Request request) {
  const std::string id(request.argument("id"));
  std::function<asio::awaitable<http::Response>()> ask = [&store, &id] { return get(store, id); };
  co_return co_await guarded(std::move(ask));
}

asio::awaitable<http::Response> answer_act(Live& live, IncidentStore& store, ActWords words,
                                           http::Request request) {
  Result<IncidentStore::Said> said = said_of(request, words.act, live.settings());
  if (!said) co_return bad(said.error().where, said.error().what);
  std::function<asio::awaitable<http::Response>()> ask = [&] {
    return perform(live, store, words, *said);
  };
  co_return co_await guarded(std::move(ask));
}

}  // namespace

void add_incidents(http::Routes& routes, Live& live, IncidentStore& store) {
  routes.add(http::Method::get, "/api/v1/incidents",
             [&](http::Request request) { return answer_list(live, store, std::move(request)); });
  routes.add(http::Method::get, "/api/v1/incidents/{id}",
             [&](http::Request request) { return answer_get(store, std::move(request)); });
  for (const ActWords& words : act_words) {
    routes.add(http::Method::post, "/api/v1/incidents/{id}/" + std::string(words.path),
               [&live, &store, words](http::Request request) {
                 return answer_act(live, store, words, std::move(request));
               });
  }
}

}  // namespace muster::dashboards
