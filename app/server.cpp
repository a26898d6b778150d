#include "app/server.hpp"

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <mutex>
#include <utility>

#include "app/api.hpp"
#include "app/clock.hpp"
#include "app/demo_routes.hpp"
#include "app/desk.hpp"
#include "app/import_service.hpp"
#include "app/ingest_page.hpp"
#include "app/mapping_routes.hpp"
#include "app/metrics.hpp"
#include "app/outbox.hpp"
#include "app/pipeline.hpp"
#include "app/run_on.hpp"
#include "app/storage_keeper.hpp"
#include "app/tail.hpp"
#include "base/log.hpp"
#include "collector/collector.hpp"
#include "collector/scrape/scraper.hpp"
#include "collector/statsd.hpp"
#include "dashboards/live.hpp"
#include "dashboards/routes.hpp"
#include "query/api/routes.hpp"
#include "schema/store/control.hpp"
#include "schema/store/embedded.hpp"
#include "schema/store/ingestor.hpp"
#include "schema/store/log_reader.hpp"
#include "schema/store/migrate.hpp"
#include "schema/store/partitions.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

// Requests that are being handled when it is told to stop have this long.
constexpr auto stop_grace = 5s;
// How often the small jobs are looked at: whether PostgreSQL lives, whether partitions lie ahead.
constexpr auto chore_every = 1s;
constexpr auto partitions_every = 5min;
// Decisions and finished deliveries are kept for a quarter, as incidents are asked about later.
constexpr auto decisions_kept = std::chrono::hours(24 * 90);

// Names of metrics and labels on the ingest page.
constexpr std::size_t ingest_top = 20;
// Of a sample on its way to the aggregator: its value and its position.
constexpr std::size_t value_bytes = 10;

void say(const std::string& line) {
  std::printf("muster: %s\n", line.c_str());
  std::fflush(stdout);
}

}  // namespace

struct Server::State {
  explicit State(ServerSettings s) : settings(std::move(s)), chore_timer(io) {}

  ServerSettings settings;
  std::function<void(const std::string& url)> tell_ready;
  std::string control_dsn;
  std::string data_dsn;

  asio::io_context io{1};
  asio::thread_pool chores{1};
  asio::thread_pool decoders{1};  // large bodies, beside the I/O thread
  asio::steady_timer chore_timer;
  std::atomic<bool> stopping = false;
  std::atomic<bool> failed = false;

  // In the order in which they need each other; destroyed in the opposite one.
  std::optional<store::EmbeddedPostgres> postgres;
  Tail tail;
  query::Catalogue catalogue;
  std::optional<store::Ingestor> ingestor;
  std::optional<dashboards::Live> live;
  std::optional<Desk> desk;
  std::optional<Pipeline> pipeline;
  std::optional<ImportService> importer;
  std::optional<Outbox> outbox;
  std::optional<scrape::Scraper> scraper;
  std::optional<collector::Statsd> statsd;
  std::optional<query::Runner> queries;
  std::optional<StorageKeeper> keeper;
  std::optional<http::Server> http;

  collector::CountersPtr senders = std::make_shared<collector::Counters>();
  MappingPtr mapping;  // in force, of the I/O thread
  collector::MetadataPtr metadata = std::make_shared<collector::Metadata>();

  std::mutex mutex;  // guards `http` between stop() and its making

  void open_database();
  MappingPtr with_facts(const Mapping& rules) const;
  http::Routes routes();
  asio::awaitable<http::Response> metrics(http::Request request);
  asio::awaitable<http::Response> ready(http::Request request);
  asio::awaitable<http::Response> ingest(http::Request request);
  asio::awaitable<http::Response> post_reload(http::Request request);
  asio::awaitable<Result<void>> reload();
  asio::awaitable<void> keep_house();
  asio::awaitable<void> serve();
  int run();
};

void Server::State::open_database() {
  control_dsn = settings.control_dsn;
  if (control_dsn.empty()) {
    say("starting the private PostgreSQL in " + settings.data_dir.string());
    store::EmbeddedPostgres::Settings embedded;
    embedded.folder = settings.data_dir / "postgres";
    postgres.emplace(embedded);
    control_dsn = postgres->dsn();
    for (const std::string& name : store::migrate(control_dsn)) say("applied " + name);
  } else {
    const auto must_be_current = [](const std::string& dsn) {
      const store::SchemaState state = store::check(dsn);
      if (state.is != store::SchemaState::Is::current) throw store::SchemaRefused(state.what);
    };
    must_be_current(control_dsn);
    if (!settings.data_dsns.empty()) must_be_current(settings.data_dsns.front());
  }
  data_dsn = settings.data_dsns.empty() ? control_dsn : settings.data_dsns.front();
  store::make_partitions(data_dsn, wall_clock());
}

asio::awaitable<http::Response> Server::State::metrics(http::Request) {
  MetricsPage page;
  add_process(page);
  page.gauge("muster_build_info", "Always 1; the version is a label", 1,
             {{"version", MUSTER_VERSION}});

  const store::IngestCounters in = ingestor->counters();
  const auto n = [](auto number) { return static_cast<double>(number); };
  page.counter("muster_ingest_samples_accepted_total", "Samples committed and acknowledged",
               n(in.samples));
  page.counter("muster_ingest_samples_duplicate_total", "Samples that were there already",
               n(in.duplicates));
  page.counter("muster_ingest_samples_late_total", "Samples kept, but too late for a decision",
               n(in.late));
  const char* refused = "muster_ingest_samples_refused_total";
  const char* refused_help = "Samples not taken, by the reason that their sender was told";
  for (std::size_t r = 0; r < store::Registry::reasons; ++r) {
    const auto reason = static_cast<store::Registry::Reason>(r);
    if (reason != store::Registry::Reason::late)  // those are kept, and stand above
      page.counter(refused, refused_help, n(in.drops[r]), {{"reason", word_of(reason)}});
  }
  page.counter("muster_ingest_busy_total", "Requests sent away with 503 as the queue was full",
               n(in.busy));
  page.counter("muster_ingest_throttled_total",
               "Requests sent away as their sender had its share of the queue", n(in.throttled));
  page.counter("muster_ingest_commits_total", "Transactions of the log", n(in.commits));
  page.counter("muster_ingest_rows_total", "Rows of the log", n(in.rows));
  page.counter("muster_ingest_resends_total", "Commits sent again as their outcome was not known",
               n(in.resends));
  page.counter("muster_ingest_parked_total",
               "Batches the database refused; each is in the log as an error", n(in.parked));
  page.counter("muster_ingest_commit_seconds_total", "Wall clock spent in commits",
               in.commit_seconds);
  page.gauge("muster_ingest_queue_bytes", "Requests that wait to be committed", n(in.queue_bytes));
  page.gauge("muster_ingest_queue_samples", "Samples that wait to be committed",
             n(in.queue_samples));
  page.gauge("muster_ingest_series", "Series known", n(in.series));
  const char* memory = "muster_memory_bytes";
  const char* memory_help = "Memory by who holds it, about";
  page.gauge(memory, memory_help, n(in.queue_bytes), {{"part", "queue"}});
  page.gauge(memory, memory_help, n(tail.values() * value_bytes), {{"part", "tail"}});
  page.gauge(memory, memory_help, n(in.registry_bytes), {{"part", "registry"}});
  page.gauge("muster_ingest_database_away", "1 while commits get no answer", in.away ? 1 : 0);

  page.gauge("muster_metadata_families", "Metric families that senders described",
             n(metadata->families()));
  page.counter("muster_metadata_left_out_total",
               "Descriptions not kept: too many families, or no UTF-8", n(metadata->left_out()));

  for (const auto& [sender, seen] : senders->senders) {
    page.counter("muster_sender_requests_total", "Requests by sender", n(seen.requests),
                 {{"sender", sender}});
    page.counter("muster_sender_samples_accepted_total", "Samples taken, by sender",
                 n(seen.accepted), {{"sender", sender}});
    page.counter("muster_sender_samples_rejected_total", "Samples or lines not taken, by sender",
                 n(seen.rejected), {{"sender", sender}});
    page.counter("muster_sender_requests_refused_total",
                 "Requests of which nothing could be read, by sender", n(seen.refused),
                 {{"sender", sender}});
    page.counter("muster_sender_exemplars_total", "Exemplars read and not kept, by sender",
                 n(seen.exemplars), {{"sender", sender}});
    page.counter("muster_sender_texts_total",
                 "Fields of Influx lines that are texts, read and not kept, by sender", n(seen.texts),
                 {{"sender", sender}});
    page.counter("muster_sender_histograms_total",
                 "Native histograms, taken as classic series, by sender", n(seen.histograms),
                 {{"sender", sender}});
  }

  if (statsd) {
    const collector::Statsd::Counters seen = statsd->counters();
    page.counter("muster_statsd_datagrams_total", "StatsD datagrams", n(seen.datagrams));
    page.counter("muster_statsd_lines_total", "StatsD lines", n(seen.lines.lines));
    const char* unused = "muster_statsd_lines_unused_total";
    const char* unused_help = "StatsD lines that gave no sample, by reason";
    page.counter(unused, unused_help, n(seen.lines.rejected), {{"reason", "form"}});
    page.counter(unused, unused_help, n(seen.lines.skipped), {{"reason", "event"}});
    page.counter(unused, unused_help, n(seen.lines.over_limit), {{"reason", "limit"}});
    page.counter("muster_statsd_samples_total", "Samples of flushes that were stored", n(seen.samples));
    page.counter("muster_statsd_samples_refused_total", "Samples of flushes that the store refused",
                 n(seen.rejected));
    page.counter("muster_statsd_samples_dropped_total",
                 "Samples of flushes given up, as the database was away until the next",
                 n(seen.dropped));
    page.gauge("muster_statsd_names", "Names with their tags that are remembered", n(seen.keys));
  }
  for (const auto& [job, seen] : scraper->counters()) {
    const MetricsPage::Labels by_job{{"job", job}};
    page.counter("muster_scrape_pages_total", "Scrapes, by job", n(seen.scrapes), by_job);
    page.counter("muster_scrape_failed_total", "Scrapes without a page that could be read",
                 n(seen.failed), by_job);
    page.counter("muster_scrape_samples_total", "Samples of pages that were stored",
                 n(seen.samples), by_job);
    page.counter("muster_scrape_samples_duplicate_total", "Samples of pages that were there already",
                 n(seen.duplicates), by_job);
    page.counter("muster_scrape_samples_late_total",
                 "Samples of pages kept, but too late for a decision", n(seen.late), by_job);
    page.counter("muster_scrape_samples_refused_total", "Samples of pages that the store refused",
                 n(seen.rejected), by_job);
    page.counter("muster_scrape_samples_dropped_total",
                 "Samples of pages given up, as the database was away until the next was due",
                 n(seen.dropped_samples), by_job);
    page.counter("muster_scrape_pages_dropped_total",
                 "Pages given up, as the database was away until the next was due",
                 n(seen.dropped_pages), by_job);
    page.counter("muster_scrape_retries_total", "Pages offered again, as the database was away",
                 n(seen.retries), by_job);
    page.counter("muster_scrape_exemplars_skipped_total", "Exemplars read and left out",
                 n(seen.exemplars), by_job);
    page.gauge("muster_scrape_targets", "Targets, by job", n(seen.targets), by_job);
    page.gauge("muster_scrape_targets_up", "Targets whose last scrape was good", n(seen.up), by_job);
    page.gauge("muster_scrape_lines", "Series remembered of targets' pages", n(seen.lines), by_job);
    page.gauge("muster_scrape_memory_bytes", "Memory of what is remembered of pages", n(seen.bytes),
               by_job);
  }
  const collector::OtlpCounters& otlp = senders->otlp;
  page.counter("muster_otlp_data_points_total", "OTLP data points, by what became of them",
               n(otlp.data_points - otlp.rejected), {{"outcome", "taken"}});
  page.counter("muster_otlp_data_points_total", "OTLP data points, by what became of them",
               n(otlp.rejected), {{"outcome", "rejected"}});
  const char* deltas = "muster_otlp_delta_faults_total";
  const char* deltas_help =
      "Delta points that do not follow the one before them, by their start times; stored all the same";
  page.counter(deltas, deltas_help, n(otlp.deltas.gaps), {{"reason", "gap"}});
  page.counter(deltas, deltas_help, n(otlp.deltas.overlaps), {{"reason", "overlap"}});
  page.counter(deltas, deltas_help, n(otlp.deltas.late), {{"reason", "late"}});

  const Pipeline::Counters p = pipeline->counters();
  page.counter("muster_aggregator_samples_total", "Samples judged", n(p.fleet.samples));
  page.counter("muster_aggregator_late_total", "Samples behind the watermark", n(p.fleet.late));
  page.counter("muster_aggregator_ticks_total", "Ticks closed, of all scales", n(p.fleet.ticks));
  page.gauge("muster_aggregator_series", "Series judged or learning", n(p.fleet.series));
  page.gauge("muster_aggregator_models", "Models seen", n(p.fleet.models));
  page.counter("muster_aggregator_findings_total", "Openings, changes and ends of incidents",
               n(p.findings));
  page.counter("muster_aggregator_pages_total", "Incidents that may wake someone",
               n(p.fleet.pages));
  page.counter("muster_aggregator_seconds_total", "Wall clock spent judging", p.evaluate_seconds);
  page.counter("muster_aggregator_batches_total", "Batches taken in, by the way they came",
               n(p.batches_by_value), {{"from", "tail"}});
  page.counter("muster_aggregator_batches_total", "Batches taken in, by the way they came",
               n(p.batches_read), {{"from", "log"}});
  page.counter("muster_aggregator_snapshots_total", "Times its state was saved", n(p.snapshots));
  page.counter("muster_aggregator_snapshot_seconds_total", "Wall clock spent saving its state",
               p.snapshot_seconds);
  page.gauge("muster_aggregator_snapshot_bytes", "Of the last saved state", n(p.snapshot_bytes));
  page.counter("muster_aggregator_views_total", "Views of the fleet made for the pages", n(p.published));
  page.counter("muster_aggregator_view_seconds_total", "Wall clock spent on them", p.publish_seconds);
  page.gauge("muster_aggregator_closed_tick_seconds",
             "Event time of the newest closed tick, unix seconds", n(p.closed.us) / 1e6);

  const Outbox::Counters& out = outbox->counters();
  page.counter("muster_notices_total", "Notices, by what became of them", n(out.sent),
               {{"outcome", "sent"}});
  page.counter("muster_notices_total", "Notices, by what became of them", n(out.given_up),
               {{"outcome", "given_up"}});
  page.counter("muster_notice_retries_total", "Deliveries that failed and come again",
               n(out.retried));
  page.gauge("muster_notice_last_delay_seconds",
             "From the decision to the arrival of the last notice", out.last_delay_seconds);

  const query::QueryCounters& asked = queries->counters();
  page.counter("muster_query_total", "Queries asked", n(asked.queries));
  page.counter("muster_query_failed_total", "Queries that ended with an error, by its kind",
               n(asked.failed - asked.canceled - asked.timeouts), {{"reason", "refused"}});
  page.counter("muster_query_failed_total", "Queries that ended with an error, by its kind", n(asked.canceled),
               {{"reason", "canceled"}});
  page.counter("muster_query_failed_total", "Queries that ended with an error, by its kind", n(asked.timeouts),
               {{"reason", "timeout"}});
  page.gauge("muster_query_waiting", "Queries that run or wait for a worker", n(asked.waiting));
  page.counter("muster_query_seconds_total", "Wall clock spent on the workers of queries", asked.seconds);
  const auto [indexed, index_bytes] = queries->catalogue().look(
      [](const query::SeriesIndex& index) { return std::pair(index.size(), index.bytes()); });
  page.gauge("muster_query_series", "Series that can be asked for, each version of a model its own", n(indexed));
  page.gauge("muster_query_index_bytes", "Memory of the index of series", n(index_bytes));
  add_storage(page, keeper->counters());

  const http::Counters& web = http->counters();
  page.counter("muster_http_requests_total", "Requests handed to a handler", n(web.requests));
  page.counter("muster_http_refused_total",
               "Requests answered by the server itself: limits, unknown paths, bad syntax",
               n(web.refused));
  page.counter("muster_http_failed_total", "Handlers that threw", n(web.failed));
  page.gauge("muster_http_connections", "Open connections", n(web.connections));
  page.gauge("muster_http_streams", "Open event streams", n(web.streams));

  http::Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = page.text();
  co_return response;
}

asio::awaitable<http::Response> Server::State::ingest(http::Request) {
  auto ask = [this] { return ingestor->report(ingest_top); };
  const store::IngestReport report = co_await run_on(chores, ask);
  IngestMemory memory;
  memory.resident = resident_bytes();
  memory.registry = report.registry_bytes;
  memory.queue = ingestor->counters().queue_bytes;
  memory.tail = tail.values() * value_bytes;
  const IngestLimits limits{settings.series_max, settings.sender_series_max};
  co_return http::json(ingest_json(report, *senders, memory, limits));
}

asio::awaitable<http::Response> Server::State::ready(http::Request) {
  http::Response response;
  response.content_type = "text/plain; charset=utf-8";
  if (ingestor->counters().away) {
    response.status = 503;
    response.body = "the database does not answer\n";
  } else if (!pipeline->counters().caught_up) {
    response.status = 503;
    response.body = "the aggregator is still reading the log\n";
  } else {
    response.body = "ready\n";
  }
  co_return response;
}

// The rules, and what senders said of their metrics.
MappingPtr Server::State::with_facts(const Mapping& rules) const {
  auto with = std::make_shared<Mapping>(rules);
  with->facts = [known = metadata](std::string_view name) { return known->facts(name); };
  return with;
}

asio::awaitable<Result<void>> Server::State::reload() {
  if (!settings.reload)
    co_return Error{"config", "there is no config file; start with --config FILE"};
  Result<ServerSettings> fresh = settings.reload();
  if (!fresh) {
    log::error("config.kept", {{"what", fresh.error().what}});
    co_return fresh.error();
  }
  co_await desk->reload(fresh->router);
  outbox->reload(fresh->channels);
  scraper->apply(std::move(fresh->scrape));
  mapping = with_facts(*fresh->mapping);
  ingestor->remap(mapping);
  log::info("config.reloaded");
  co_return Result<void>();
}

asio::awaitable<http::Response> Server::State::post_reload(http::Request) {
  const Result<void> done = co_await reload();
  if (!done) {
    co_return http::error(400, "bad_config", done.error(),
                          "the config that was loaded before stays in force");
  }
  co_return http::no_content();
}

http::Routes Server::State::routes() {
  http::Routes routes;
  const auto submit = [this](SampleBatch batch, std::function<void(Stored)> done) {
    ingestor->submit(std::move(batch), std::move(done));
  };
  collector::Settings collect;
  collect.workers = decoders.get_executor();
  collect.otlp = settings.otlp;
  collector::add_routes(routes, collector::sink_to(submit), std::move(collect), senders,
                        metadata);
  dashboards::add_routes(routes, *live, *desk);
  query::add_routes(routes, *queries);
  importer->add_routes(routes);

  store::Control control(control_dsn);
  const std::optional<store::StoredTopology> stored = control.load_topology();
  add_catalog_routes(routes, *desk, *pipeline,
                     std::make_shared<const Topology>(stored ? stored->topology : Topology{}));
  add_mapping_routes(routes, [this] { return mapping; });
  if (settings.demo) {
    routes.add(http::Method::get, "/api/v1/demo", get_demo(*settings.demo));
    routes.add(http::Method::get, "/api/v1/demo/truth", get_demo_truth(*settings.demo));
    routes.add(http::Method::post, "/api/v1/demo/faults", post_demo_fault(*settings.demo));
  } else {
    // The page asks once; an error there would stand in every reader's console.
    routes.add(http::Method::get, "/api/v1/demo", [](http::Request) -> asio::awaitable<http::Response> {
      co_return http::no_content();
    });
  }
  routes.add(http::Method::get, "/api/v1/targets",
             [this](http::Request request) -> asio::awaitable<http::Response> {
               co_return scraper->targets(request);
             });
  routes.add(http::Method::get, "/metrics",
             [this](http::Request r) { return metrics(std::move(r)); });
  routes.add(http::Method::get, "/api/v1/ingest",
             [this](http::Request r) { return ingest(std::move(r)); });
  routes.add(http::Method::get, "/-/ready",
             [this](http::Request r) { return ready(std::move(r)); });
  routes.add(http::Method::post, "/-/reload",
             [this](http::Request r) { return post_reload(std::move(r)); });
  routes.add(http::Method::get, "/-/healthy", [](http::Request) -> asio::awaitable<http::Response> {
    http::Response response;
    response.content_type = "text/plain; charset=utf-8";
    response.body = "healthy\n";
    co_return response;
  });
  return routes;
}

asio::awaitable<void> Server::State::keep_house() {
  auto partitions_at = std::chrono::steady_clock::now() + partitions_every;
  while (!stopping) {
    try {
      if (postgres) {
        auto look = [this] { return postgres->ensure_running(); };
        co_await run_on(chores, look);
      }
      if (std::chrono::steady_clock::now() >= partitions_at) {
        partitions_at += partitions_every;
        auto make = [this] {
          const Timestamp now = wall_clock();
          store::make_partitions(data_dsn, now);
        };
        co_await run_on(chores, make);
        co_await desk->prune(wall_clock() - decisions_kept);
      }
    } catch (const std::exception& fault) {
      log::warn("chores.failed", {{"what", fault.what()}, {"then", "tried again"}});
    }
    chore_timer.expires_after(chore_every);
    boost::system::error_code ignored;
    co_await chore_timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

// The owner of all that runs on the I/O thread: it ends when every part has.
asio::awaitable<void> Server::State::serve() {
  co_await http->run();
  stopping = true;
  chore_timer.cancel();
  live->stop();
  outbox->stop();
  scraper->stop();
  if (statsd) statsd->stop();
  importer->stop();
  desk->stop();
}

int Server::State::run() {
  open_database();

  store::Ingestor::Settings ingest;
  ingest.data_dsns = {data_dsn};
  ingest.collector = store::Control(control_dsn).new_collector("muster");
  // The aggregator would wait for what a killed collector had under way.
  if (const auto n = store::give_up_missing_before(data_dsn, settings.shards, ingest.collector); n > 0)
    log::warn("log.given_up", {{"batches", n}});
  ingest.registry.shards = settings.shards;
  mapping = with_facts(*settings.mapping);
  ingest.registry.mapping = mapping;
  ingest.registry.series_max = settings.series_max;
  ingest.registry.sender_series_max = settings.sender_series_max;
  ingest.sender_queue_share = settings.sender_queue_share;
  ingest.registry.lateness = settings.lateness;
  ingest.registry.future_max = settings.future_max;
  ingest.queue_bytes_max = settings.queue_bytes_max;
  ImportService::Settings import;
  import.control_dsn = control_dsn;
  import.data_dsn = data_dsn;
  import.ingest = ingest;
  ingestor.emplace(std::move(ingest), wall_clock,
                   [this](LogBatch batch) {
                     catalogue.observe(batch);
                     tail.push(std::move(batch));
                   });

  live.emplace(io.get_executor());
  desk.emplace(io, control_dsn, settings.router, wall_clock, *live);

  Pipeline::Settings evaluate;
  evaluate.aggregator = settings.aggregator;
  evaluate.control_dsn = control_dsn;
  evaluate.data_dsn = data_dsn;
  evaluate.shards = settings.shards;
  pipeline.emplace(std::move(evaluate), tail, *desk, *live, [this](const std::string& what) {
    log::error("server.part_failed", {{"part", "aggregator"}, {"what", what}});
    failed = true;
    http->stop(stop_grace);
  });
  // The aggregator has to know how far it is, and that none of it is for now.
  importer.emplace(std::move(import), *pipeline, wall_clock, [this](LogBatch batch) {
    catalogue.observe(batch);
    batch.rows = {};
    batch.new_sets.clear();
    tail.push(std::move(batch));
  });
  outbox.emplace(io, *desk, settings.channels, wall_clock);
  StorageKeeper::Settings keep;
  keep.compact.dsn = data_dsn;
  keep.compact.shards = settings.shards;
  keep.compact.retention = settings.life.retention;
  keep.control_dsn = control_dsn;
  keep.after = settings.life.compact_after;
  keep.disk_max = settings.life.disk_max;
  keeper.emplace(std::move(keep), wall_clock);
  desk->on_notices([this] { outbox->wake(); });

  const collector::Sink sink =
      collector::sink_to([this](SampleBatch batch, std::function<void(Stored)> done) {
        ingestor->submit(std::move(batch), std::move(done));
      });
  scrape::Scraper::Outside outside;
  outside.sink = sink;
  outside.workers = decoders.get_executor();
  outside.clock = wall_clock;
  scraper.emplace(io, settings.scrape, std::move(outside));
  if (!settings.statsd_address.empty()) {
    collector::Statsd::Settings listen;
    listen.address = settings.statsd_address;
    listen.port = settings.statsd_port;
    listen.flush = settings.statsd_flush;
    statsd.emplace(io, std::move(listen), sink, wall_clock);
  }
  query::Settings ask;
  ask.dsn = data_dsn;
  ask.shards = settings.shards;
  queries.emplace(std::move(ask), catalogue);
  queries->fill();

  {
    const std::lock_guard lock(mutex);
    if (stopping) return 0;
    http.emplace(io, settings.http, routes());
  }
  if (const Result<void> listening = statsd ? statsd->listen() : Result<void>(); !listening) {
    std::fprintf(stderr, "muster: %s: %s\n", listening.error().where.c_str(),
                 listening.error().what.c_str());
    return 1;
  }
  if (const Result<void> listening = http->listen(); !listening) {
    std::fprintf(stderr, "muster: %s: %s\n", listening.error().where.c_str(),
                 listening.error().what.c_str());
    return 1;
  }

  // A part that ends with an exception takes the rest down in order: a muster that is half alive is worse
  // than one that its supervisor starts again.
  const auto ended = [this](const char* part) {
    return [this, part](std::exception_ptr fault) {
      if (!fault) return;
      try {
        std::rethrow_exception(fault);
      } catch (const std::exception& what) {
        log::error("server.part_failed", {{"part", part}, {"what", what.what()}});
      }
      failed = true;
      http->stop(stop_grace);
    };
  };
  pipeline->start();
  keeper->start();
  asio::co_spawn(io, serve(), ended("http"));
  asio::co_spawn(io, desk->recall(), ended("recall"));
  asio::co_spawn(io, desk->keep_time(), ended("router"));
  asio::co_spawn(io, outbox->run(), ended("outbox"));
  asio::co_spawn(io, scraper->run(), ended("scrape"));
  if (statsd) asio::co_spawn(io, statsd->run(), ended("statsd"));
  asio::co_spawn(io, keep_house(), ended("chores"));

  say("open " + http->url());
  if (tell_ready) tell_ready(http->url());
  io.run();

  say("stopping: writing what is queued");
  ingestor->stop();
  pipeline->stop();
  keeper->stop();
  return failed ? 1 : 0;
}

Server::Server(ServerSettings settings) : state_(std::make_unique<State>(std::move(settings))) {}

Server::~Server() = default;

void Server::on_ready(std::function<void(const std::string& url)> tell) {
  state_->tell_ready = std::move(tell);
}

int Server::run() {
  const int code = state_->run();
  // PostgreSQL last, when nobody needs it any more.
  state_->http.reset();
  state_->scraper.reset();
  state_->statsd.reset();
  state_->queries.reset();
  state_->keeper.reset();
  state_->outbox.reset();
  state_->pipeline.reset();
  state_->desk.reset();
  state_->ingestor.reset();
  state_->decoders.join();
  state_->chores.join();
  state_->postgres.reset();
  return code;
}

void Server::stop() {
  const std::lock_guard lock(state_->mutex);
  if (state_->http) {
    state_->http->stop(stop_grace);
  } else {
    state_->stopping = true;
  }
}

void Server::reload() {
  asio::co_spawn(state_->io, state_->reload(), [](std::exception_ptr fault, const Result<void>&) {
    if (fault) log::error("config.kept", {{"what", "the reload failed inside"}});
  });
}

}  // namespace muster::app
