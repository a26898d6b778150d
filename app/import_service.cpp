#include "app/import_service.hpp"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <boost/asio/thread_pool.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <future>
#include <optional>
#include <utility>

#include "app/run_on.hpp"
#include "base/log.hpp"
#include "collector/decode/ndjson.hpp"
#include "collector/decode/remote_write.hpp"
#include "schema/store/connection.hpp"
#include "schema/store/event_order.hpp"
#include "schema/store/history.hpp"
#include "schema/store/imports.hpp"
#include "schema/store/log_reader.hpp"
#include "schema/store/registry.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using decode::Decoded;

// Of names that a client gives: a URL with its matchers, or a file's path.
constexpr std::size_t name_bytes_max = 2'000;
// So old that nothing counts as late: there is no live decision that it could come too late for.
constexpr Duration any_age = std::chrono::hours(24 * 365 * 200);

http::Response bad(std::string where, std::string what) {
  return http::error(400, "bad_import", Error{std::move(where), std::move(what)});
}

}  // namespace

struct ImportService::State {
  Settings settings;
  Pipeline& pipeline;
  store::Ingestor::Clock clock;
  store::Ingestor::Committed committed;
  asio::thread_pool thread{1};

  // Of that thread.
  store::Imports imports;
  std::optional<store::Ingestor> ingestor;
  store::History history;
  // What was stored when the ingestor was made: what is imported into it may be there already.
  Timestamp stored_from, stored_to;

  State(Settings s, Pipeline& p, store::Ingestor::Clock c, store::Ingestor::Committed done)
      : settings(std::move(s)),
        pipeline(p),
        clock(std::move(c)),
        committed(std::move(done)),
        imports(settings.control_dsn),
        history({.dsn = settings.data_dsn, .statement_timeout = std::chrono::minutes(5)}) {}

  void open();
  void drop_known(SampleBatch& batch, std::uint64_t& known);
  http::Response take(const http::Request& request);
};

void ImportService::State::open() {
  if (ingestor) return;
  const store::EventOrder stored(
      {.dsn = settings.data_dsn, .shards = settings.ingest.registry.shards});
  stored_from = stored.begin();
  stored_to = stored.end();
  store::Ingestor::Settings ingest = settings.ingest;
  ingest.collector =
      store::Control(settings.control_dsn).new_collector(store::Imports::collector_name);
  ingest.registry.lateness = any_age;
  ingestor.emplace(std::move(ingest), clock, committed);
  log::info("import.begins",
            {{"stored_from_ms", to_millis(stored_from)}, {"stored_to_ms", to_millis(stored_to)}});
}

// Leaves out the points that are stored. The ingestor knows what it was sent lately; an import may go over times
// that a live sender, or an import that was cut short, stored long ago.
void ImportService::State::drop_known(SampleBatch& batch, std::uint64_t& known) {
  absl::flat_hash_map<std::int64_t, std::vector<store::SlotRef>> slots_of;
  const int shards = settings.ingest.registry.shards;
  for (const SeriesSetPtr& set : store::known_sets(settings.data_dsn, shards)) {
    const int shard = store::shard_of(set->model, shards);
    for (std::size_t i = 0; i < set->series.size(); ++i)
      slots_of[static_cast<std::int64_t>(set->series[i].id)].push_back(
          {shard, set->id, static_cast<std::uint16_t>(i)});
  }

  std::vector<store::SlotRef> slots;
  std::vector<std::size_t> series_of;  // of each slot
  std::optional<Timestamp> from, to;
  for (std::size_t s = 0; s < batch.series.size(); ++s) {
    const auto identity = batch.identify(batch.series[s].labels, *settings.ingest.registry.mapping);
    if (!identity) continue;  // the ingestor says so
    const auto found =
        slots_of.find(static_cast<std::int64_t>(series_id(identity->model, identity->metric)));
    if (found == slots_of.end()) continue;
    for (const store::SlotRef& slot : found->second) {
      slots.push_back(slot);
      series_of.push_back(s);
    }
    for (std::uint32_t p = 0; p < batch.series[s].count; ++p) {
      const Timestamp ts = batch.points[batch.series[s].first + p].ts;
      from = std::min(from.value_or(ts), ts);
      to = std::max(to.value_or(ts), ts);
    }
  }
  if (slots.empty()) return;
  const auto stored = history.samples(slots, *from, *to + Duration(1));
  if (!stored) throw store::Rejected("54000", stored.error().what);

  std::vector<absl::flat_hash_set<std::int64_t>> there(batch.series.size());
  for (std::size_t i = 0; i < slots.size(); ++i)
    for (const Timestamp ts : (*stored)[i].ts) there[series_of[i]].insert(ts.us);
  std::vector<Point> kept;
  kept.reserve(batch.points.size());
  for (std::size_t s = 0; s < batch.series.size(); ++s) {
    RawSeries& series = batch.series[s];
    const auto first = static_cast<std::uint32_t>(kept.size());
    for (std::uint32_t p = 0; p < series.count; ++p) {
      const Point& point = batch.points[series.first + p];
      if (there[s].contains(point.ts.us)) {
        ++known;
      } else {
        kept.push_back(point);
      }
    }
    series.first = first;
    series.count = static_cast<std::uint32_t>(kept.size()) - first;
  }
  batch.points = std::move(kept);
  std::erase_if(batch.series, [](const RawSeries& series) { return series.count == 0; });
}

http::Response ImportService::State::take(const http::Request& request) {
  const std::optional<std::string> source = request.parameter("source");
  const std::optional<std::string> cursor = request.parameter("cursor");
  if (!source || source->empty() || source->size() > name_bytes_max)
    return bad("source", "a name of the source is wanted, of at most 2000 bytes");
  if (!cursor || cursor->size() > name_bytes_max)
    return bad("cursor", "how far the source is when this is stored, in at most 2000 bytes");

  const bool protobuf = request.header("content-type").starts_with("application/x-protobuf");
  Result<Decoded> decoded =
      protobuf ? decode::remote_write(request.body) : Result<Decoded>(decode::ndjson(request.body));
  if (!decoded) return bad(decoded.error().where, decoded.error().what);

  open();
  std::uint64_t known = 0;
  const auto in_store = [&](const Point& point) {
    return point.ts >= stored_from && point.ts < stored_to;
  };
  const std::vector<Point>& points = decoded->batch.points;
  if (request.parameter("check").value_or("0") == "1" ||
      std::any_of(points.begin(), points.end(), in_store))
    drop_known(decoded->batch, known);

  Stored stored;
  if (!decoded->batch.points.empty()) {
    decoded->batch.sender = "import";
    const auto answered = std::make_shared<std::promise<Stored>>();
    ingestor->submit(std::move(decoded->batch),
                     [answered](Stored outcome) { answered->set_value(std::move(outcome)); });
    // It answers within its own answer_max, or when it is stopped.
    stored = answered->get_future().get();
  }
  if (stored.come_again())
    return http::try_later(503, 2, "the database is away; send the same request again");
  imports.advance(*source, *cursor, stored.accepted);

  json::array rejected;
  for (const std::vector<Rejected>* list : {&decoded->rejected, &stored.rejected})
    for (const Rejected& one : *list)
      if (rejected.size() < Decoded::rejected_max)
        rejected.push_back({{"line", one.line}, {"series", one.series}, {"what", one.what}});
  json::object answer;
  answer["accepted"] = stored.accepted;
  answer["duplicates"] = stored.duplicates + known;
  answer["rejected_count"] = decoded->rejected_count + stored.rejected_count;
  answer["rejected"] = std::move(rejected);
  return http::json(json::serialize(answer));
}

ImportService::ImportService(Settings settings, Pipeline& pipeline, store::Ingestor::Clock clock,
                             store::Ingestor::Committed committed)
    : state_(std::make_shared<State>(std::move(settings), pipeline, std::move(clock),
                                     std::move(committed))) {}

ImportService::~ImportService() {
  stop();
}

void ImportService::stop() {
  state_->thread.join();
  state_->ingestor.reset();
}

void ImportService::add_routes(http::Routes& routes) {
  using Work = std::function<http::Response(State&, const http::Request&)>;
  const auto on_thread = [](std::shared_ptr<State> state, Work work,
                            http::Request request) -> asio::awaitable<http::Response> {
    auto job = [state, work = std::move(work), request = std::move(request)] {
      try {
        return work(*state, request);
      } catch (const store::Unavailable& fault) {
        return http::try_later(503, 2,
                               std::string("the database does not answer: ") + fault.what());
      }
    };
    co_return co_await run_on(state->thread, std::move(job));
  };
  const auto add = [&](http::Method method, const char* path, Work work) {
    routes.add(method, path, [state = state_, work, on_thread](http::Request request) {
      return on_thread(state, work, std::move(request));
    });
  };

  add(http::Method::post, "/api/v1/import",
      [](State& state, const http::Request& request) { return state.take(request); });
  add(http::Method::get, "/api/v1/import", [](State& state, const http::Request& request) {
    const std::string source = request.parameter("source").value_or("");
    const auto progress = state.imports.progress(source);
    json::object answer{{"source", source}, {"cursor", nullptr}, {"samples", 0}};
    if (progress) {
      answer["cursor"] = progress->cursor;
      answer["samples"] = progress->samples;
    }
    return http::json(json::serialize(answer));
  });
  add(http::Method::post, "/api/v1/import/learn", [](State& state, const http::Request& request) {
    Timestamp pages_from = state.clock();
    if (const auto text = request.parameter("pages_from")) {
      std::int64_t ms = 0;
      const auto [end, fault] = std::from_chars(text->data(), text->data() + text->size(), ms);
      if (fault != std::errc() || end != text->data() + text->size() || ms < 0 || ms > millis_max)
        return bad("pages_from", "unix milliseconds are wanted");
      pages_from = from_millis(ms);
    }
    // All that it was sent is committed, as it was answered.
    state.ingestor.reset();
    const bool wanted = state.imports.want_relearning(pages_from);
    if (wanted) state.pipeline.learn_anew();
    json::object answer{{"wanted", wanted}};
    return http::json(json::serialize(answer), wanted ? 202 : 200);
  });
  routes.add(http::Method::get, "/api/v1/import/learn",
             [state = state_](http::Request) -> asio::awaitable<http::Response> {
               const Pipeline::Counters counters = state->pipeline.counters();
               json::object answer{{"learning", counters.learning},
                                   {"learned", counters.learned},
                                   {"learnings", counters.learnings},
                                   {"wanted", counters.learning_wanted}};
               co_return http::json(json::serialize(answer));
             });
}

}  // namespace muster::app
