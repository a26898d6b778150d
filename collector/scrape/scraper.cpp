#include "collector/scrape/scraper.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <ctime>
#include <optional>
#include <set>
#include <utility>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "collector/decode/page_memory.hpp"
#include "collector/decode/text.hpp"
#include "collector/inflate.hpp"
#include "collector/scrape/discovery.hpp"
#include "collector/scrape/elsewhere.hpp"
#include "collector/scrape/target.hpp"
#include "http/client.hpp"
#include "schema/duration.hpp"

namespace muster::scrape {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using std::chrono::milliseconds;

// Scrapes that begin this little after they were due are said to have begun when they were, so that a series'
// samples stand at equal distances. As in Prometheus.
constexpr Duration tolerance = milliseconds(2);
constexpr int tolerance_share = 100;  // and at most this part of the interval
// Between offers of a page that was not taken.
constexpr Duration offer_pause_min = milliseconds(200);
constexpr Duration offer_pause_max = std::chrono::seconds(5);
// Between looks whether one of at_once_max is free.
constexpr Duration slot_pause = milliseconds(20);
// Files and names of all jobs; a name that does not resolve takes seconds.
constexpr std::size_t blocking_threads = 2;

Timestamp whole_millis(Timestamp t) {
  return from_millis(to_millis(t));
}
double seconds(Duration d) {
  return static_cast<double>(d.count()) / 1e6;
}

std::string rfc3339(Timestamp t) {
  const std::time_t whole = static_cast<std::time_t>(to_millis(t) / 1000);
  std::tm parts{};
  gmtime_r(&whole, &parts);
  char text[40];
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(to_millis(t) % 1000));
  return text;
}

// A page as it came.
struct Fetched {
  std::string body;
  bool gzip = false;
  decode::ExpositionFormat format = decode::ExpositionFormat::text;
};

// Everything between the answer and the samples, for whichever thread.
Result<decode::Page> read_page(const Fetched& fetched, decode::PageMemory& memory, Timestamp at,
                               std::uint64_t body_size_limit, const decode::Limits& limits) {
  if (!fetched.gzip) return memory.read(fetched.body, fetched.format, at, limits);
  const collector::Inflated inflated = collector::inflate_body(fetched.body, body_size_limit);
  if (inflated.state == collector::Inflated::State::too_large)
    return Error{"page", "over " + std::to_string(body_size_limit) +
                             " bytes after decompression (body_size_limit)"};
  if (inflated.state != collector::Inflated::State::good)
    return Error{"page", "no gzip, or cut short"};
  return memory.read({inflated.bytes.data(), inflated.bytes.size()}, fetched.format, at, limits);
}

// A target that is followed.
struct Follower {
  Follower(asio::io_context& io, decode::PageMemory pages) : timer(io), memory(std::move(pages)) {}
  Target target;
  std::uint64_t hash = 0;  // of its key: when within the interval it is due
  asio::steady_timer timer;
  decode::PageMemory memory;                            // lent to a worker while it reads a page
  std::shared_ptr<const Job> job;                       // whose rules `memory` has
  std::shared_ptr<const decode::PageRules> next_rules;  // from the next page on
  bool gone = false;

  // For people.
  enum class Health { unknown, up, down } health = Health::unknown;
  std::string last_error;
  std::string last_refused;  // by the store; logged once
  std::optional<Timestamp> last_scrape;
  Duration last_duration{};
  std::size_t lines = 0, bytes = 0;  // remembered
};
using FollowerPtr = std::shared_ptr<Follower>;

// A job and its targets.
struct Pool {
  std::shared_ptr<const Job> job;
  std::shared_ptr<http::Client> client;
  std::string client_fault;  // why there is none
  WatchPtr watch;
  std::map<std::string, std::vector<TargetGroup>> groups;  // by source
  std::map<std::string, std::string> source_faults;        // logged once
  std::map<std::string, FollowerPtr> followers;            // by Target::key
  std::set<std::string> target_faults;                     // logged once
  std::string over_limit;
  std::vector<Labels> dropped;
  std::size_t dropped_count = 0;
  bool dropping = false;  // pages, since the store is busy; logged once
  JobCounters* counters = nullptr;
};
using PoolPtr = std::shared_ptr<Pool>;

http::ClientSettings client_settings(const HttpSettings& settings, std::size_t answer_max,
                                     std::size_t kept_max) {
  http::ClientSettings client;
  client.ca_file = settings.ca_file;
  client.verify = !settings.insecure_skip_verify;
  client.answer_max = answer_max;
  client.kept_max = kept_max;
  return client;
}

}  // namespace

struct Scraper::State : std::enable_shared_from_this<Scraper::State> {
  State(asio::io_context& context, Settings s, Outside o)
      : io(context),
        settings(std::move(s)),
        outside(std::move(o)),
        ended(context, asio::steady_timer::time_point::max()) {}

  asio::io_context& io;
  Settings settings;
  Outside outside;
  asio::thread_pool blocking{blocking_threads};
  std::map<std::string, PoolPtr> pools;  // by the job's name
  std::map<std::string, JobCounters> counters;
  bool running = false;
  bool stopping = false;
  std::size_t coroutines = 0;
  asio::steady_timer ended;  // woken when one of them ends
  std::size_t at_once = 0;
  std::size_t kept_bytes = 0;

  void spawn(asio::awaitable<void> work, const char* what);
  void start_jobs(bool all);
  void start(const PoolPtr& pool);
  void watch(const PoolPtr& pool);
  void sync(const PoolPtr& pool);
  std::shared_ptr<const decode::PageRules> rules_of(const Job& job, const Target& target) const;
  asio::awaitable<void> follow(PoolPtr pool, FollowerPtr follower);
  asio::awaitable<void> sleep(FollowerPtr follower, Duration time);
  asio::awaitable<void> scrape(PoolPtr pool, FollowerPtr follower, Timestamp due);
  asio::awaitable<Result<Fetched>> fetch(PoolPtr pool, FollowerPtr follower);
  asio::awaitable<Result<decode::Page>> page_of(PoolPtr pool, FollowerPtr follower, Timestamp at);
  asio::awaitable<void> deliver(PoolPtr pool, FollowerPtr follower, decode::Page page,
                                Timestamp until);
};

void Scraper::State::spawn(asio::awaitable<void> work, const char* what) {
  ++coroutines;
  // What is spawned may outlive the Scraper's own hold on the state by a moment.
  asio::co_spawn(io, std::move(work), [self = shared_from_this(), what](std::exception_ptr fault) {
    --self->coroutines;
    self->ended.cancel();
    if (!fault) return;
    try {
      std::rethrow_exception(fault);
    } catch (const std::exception& why) {
      log::error("scrape.part_failed", {{"part", what}, {"what", why.what()}});
    }
  });
}

// `all`: those that have not changed too.
void Scraper::State::start_jobs(bool all) {
  std::map<std::string, PoolPtr> before = std::move(pools);
  pools.clear();
  for (const Job& job : settings.jobs) {
    PoolPtr& pool = pools[job.name];
    if (const auto old = before.find(job.name); old != before.end()) {
      pool = old->second;
      before.erase(old);
    } else {
      pool = std::make_shared<Pool>();
      pool->counters = &counters[job.name];
    }
    const bool same =
        !all && pool->job && !job.fingerprint.empty() && pool->job->fingerprint == job.fingerprint;
    if (same) continue;
    pool->job = std::make_shared<const Job>(job);
    start(pool);
  }
  for (auto& [name, pool] : before) {
    pool->watch->stop();
    pool->groups.clear();
    sync(pool);
  }
}

// A job that is new or has changed.
void Scraper::State::start(const PoolPtr& pool) {
  const Job& job = *pool->job;
  pool->client_fault.clear();
  try {
    pool->client = std::make_shared<http::Client>(
        io, client_settings(job.http, job.body_size_limit, settings.targets_max));
  } catch (const std::exception& fault) {
    pool->client.reset();
    pool->client_fault = "tls_config: " + job.http.ca_file + " cannot be used: " + fault.what();
  }
  if (pool->watch) pool->watch->stop();
  watch(pool);
}

void Scraper::State::watch(const PoolPtr& pool) {
  const Job& job = *pool->job;
  auto watching = std::make_shared<Watch>();
  pool->watch = watching;
  watching->io = io.get_executor();
  watching->blocking = blocking.get_executor();
  watching->list_bytes_max = settings.list_bytes_max;
  watching->file_poll = settings.file_poll;
  watching->name_server = outside.name_server;
  const std::weak_ptr<Pool> weak = pool;
  watching->found = [this, weak](const std::string& source,
                                 Result<std::vector<TargetGroup>> groups) {
    const PoolPtr mine = weak.lock();
    if (!mine) return;
    std::string& fault = mine->source_faults[source];
    if (!groups) {
      const std::string what = groups.error().where + ": " + groups.error().what;
      if (fault != what)
        log::warn("scrape.discovery_failed", {{"job", mine->job->name},
                                              {"what", what},
                                              {"then", "the targets it gave before stay"}});
      fault = what;
      return;
    }
    fault.clear();
    mine->groups[source] = std::move(*groups);
    sync(mine);
  };
  watching->gone = [this, weak](const std::string& source) {
    const PoolPtr mine = weak.lock();
    if (!mine || mine->groups.erase(source) == 0) return;
    sync(mine);
  };

  // What a discovery that stays will say again is kept until it does.
  std::set<std::string, std::less<>> kinds;
  if (!job.file_discoveries.empty()) kinds.insert("file");
  if (!job.dns_discoveries.empty()) kinds.insert("dns");
  if (!job.http_discoveries.empty()) kinds.insert("http");
  std::erase_if(pool->groups, [&](const auto& entry) {
    return !kinds.contains(entry.first.substr(0, entry.first.find(':')));
  });
  pool->groups["static"] = job.static_groups;

  for (const FileDiscovery& files : job.file_discoveries)
    spawn(follow_files(watching, files), "file discovery");
  for (const DnsDiscovery& names : job.dns_discoveries)
    spawn(follow_names(watching, names), "dns discovery");
  for (const HttpDiscovery& list : job.http_discoveries) {
    try {
      auto client = std::make_shared<http::Client>(
          io, client_settings(list.http, settings.list_bytes_max, 1));
      watching->clients.push_back(client);
      spawn(follow_list(watching, list, std::move(client)), "http discovery");
    } catch (const std::exception& fault) {
      watching->found("http:" + list.url, Error{list.url, fault.what()});
    }
  }
  sync(pool);
}

std::shared_ptr<const decode::PageRules> Scraper::State::rules_of(const Job& job,
                                                                  const Target& target) const {
  auto rules = std::make_shared<decode::PageRules>();
  rules->target = target.labels;
  rules->honor_labels = job.honor_labels;
  rules->honor_timestamps = job.honor_timestamps;
  rules->metric_relabel = job.metric_relabel;
  rules->external = settings.external_labels;
  rules->sample_limit = job.sample_limit;
  rules->label_limit = job.label_limit;
  rules->label_name_length_limit = job.label_name_length_limit;
  rules->label_value_length_limit = job.label_value_length_limit;
  return rules;
}

// Brings the followers in line with the groups and the job.
void Scraper::State::sync(const PoolPtr& pool) {
  if (stopping) return;
  const Job& job = *pool->job;
  std::map<std::string, Target> wanted;
  std::set<std::string> faults;
  pool->dropped.clear();
  pool->dropped_count = 0;
  bool too_many = false;
  for (const auto& [source, groups] : pool->groups) {
    for (const TargetGroup& group : groups) {
      for (const std::string& address : group.targets) {
        Labels labels = group.labels;
        decode::set_label(labels, "__address__", address);
        Result<std::optional<Target>> target = make_target(job, labels);
        if (!target) {
          if (faults.size() < settings.dropped_shown_max)
            faults.insert(target.error().where + ": " + target.error().what);
        } else if (!*target) {
          ++pool->dropped_count;
          if (pool->dropped.size() < settings.dropped_shown_max)
            pool->dropped.push_back(std::move(labels));
        } else if (wanted.size() < settings.targets_max) {
          wanted.emplace((*target)->key(), std::move(**target));
        } else {
          too_many = true;
        }
      }
    }
  }
  if (too_many)
    faults.insert("more than " + std::to_string(settings.targets_max) +
                  " targets; the rest is left out");
  for (const std::string& fault : faults)
    if (!pool->target_faults.contains(fault))
      log::warn("scrape.target_refused", {{"job", job.name}, {"what", fault}});
  pool->target_faults = std::move(faults);

  pool->over_limit.clear();
  if (job.target_limit > 0 && wanted.size() > job.target_limit)
    pool->over_limit = "target_limit: " + std::to_string(wanted.size()) + " targets, at most " +
                       std::to_string(job.target_limit);

  for (auto at = pool->followers.begin(); at != pool->followers.end();) {
    if (wanted.contains(at->first)) {
      ++at;
      continue;
    }
    at->second->gone = true;
    at->second->timer.cancel();
    at = pool->followers.erase(at);
  }
  for (auto& [key, target] : wanted) {
    FollowerPtr& follower = pool->followers[key];
    if (follower) {
      const bool moved = follower->target.interval != target.interval;
      follower->target = std::move(target);
      if (follower->job != pool->job) follower->next_rules = rules_of(job, follower->target);
      follower->job = pool->job;
      if (moved) follower->timer.cancel();
      continue;
    }
    follower = std::make_shared<Follower>(io, decode::PageMemory(rules_of(job, target)));
    follower->job = pool->job;
    follower->hash = hash64(key);
    follower->target = std::move(target);
    spawn(follow(pool, follower), "target");
  }
}

asio::awaitable<void> Scraper::State::sleep(FollowerPtr follower, Duration time) {
  follower->timer.expires_after(std::max(time, Duration::zero()));
  boost::system::error_code ignored;
  co_await follower->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

// From its first page until it is gone.
asio::awaitable<void> Scraper::State::follow(PoolPtr pool, FollowerPtr follower) {
  while (!stopping && !follower->gone) {
    const Duration interval = follower->target.interval;
    const Timestamp due = next_due(outside.clock(), interval, follower->hash);
    // In parts, as a clock may be set meanwhile.
    Duration left = due - outside.clock();
    while (left > Duration::zero() && left <= interval) {
      co_await sleep(follower, std::min<Duration>(left, std::chrono::seconds(30)));
      if (stopping || follower->gone || follower->target.interval != interval) break;
      left = due - outside.clock();
    }
    if (stopping || follower->gone || left > Duration::zero()) continue;
    co_await scrape(pool, follower, due);
  }
  if (stopping) co_return;
  const Timestamp now = whole_millis(outside.clock());
  decode::Page page = follower->memory.ended(now);
  if (page.series.empty()) co_return;
  co_await deliver(pool, follower, std::move(page), now + follower->target.interval);
}

asio::awaitable<void> Scraper::State::scrape(PoolPtr pool, FollowerPtr follower, Timestamp due) {
  const Duration interval = follower->target.interval;
  Timestamp at = outside.clock();
  const Timestamp next = next_due(at, interval, follower->hash);
  const auto begun = std::chrono::steady_clock::now();
  if (at >= due && at - due <= std::min(tolerance, interval / tolerance_share)) at = due;
  at = whole_millis(at);
  if (follower->next_rules) follower->memory.set_rules(std::exchange(follower->next_rules, {}));

  Result<decode::Page> page = co_await page_of(pool, follower, at);
  if (stopping) co_return;
  const auto took = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - begun);
  JobCounters& counter = *pool->counters;
  ++counter.scrapes;
  const bool up = page.has_value();
  if (up) {
    follower->last_error.clear();
  } else {
    ++counter.failed;
    std::string what = page.error().where + ": " + page.error().what;
    // A failure that goes on is told once.
    if (follower->health != Follower::Health::down)
      log::warn("scrape.failed",
                {{"job", pool->job->name}, {"url", follower->target.url}, {"what", what}});
    follower->last_error = std::move(what);
    page = follower->memory.failed(at);
  }
  follower->health = up ? Follower::Health::up : Follower::Health::down;
  follower->last_scrape = at;
  follower->last_duration = took;
  counter.exemplars += page->exemplars;

  const std::vector<decode::ReportSample> report{
      {"up", up ? 1. : 0.},
      {"scrape_duration_seconds", seconds(took)},
      {"scrape_samples_scraped", static_cast<double>(page->scraped)},
      {"scrape_samples_post_metric_relabeling", static_cast<double>(page->kept)},
      {"scrape_series_added", static_cast<double>(page->added)}};
  follower->memory.report(*page, report, at);
  follower->lines = follower->memory.lines();
  follower->bytes = follower->memory.bytes();
  co_await deliver(pool, follower, std::move(*page), next);
}

asio::awaitable<Result<Fetched>> Scraper::State::fetch(PoolPtr pool, FollowerPtr follower) {
  const std::shared_ptr<const Job> job = pool->job;
  const Target& target = follower->target;
  if (!pool->over_limit.empty()) co_return Error{"job " + job->name, pool->over_limit};
  const std::shared_ptr<http::Client> client = pool->client;  // outlives a reload
  if (!client) co_return Error{"job " + job->name, pool->client_fault};

  http::Outgoing request;
  request.method = http::Method::get;
  request.url = target.url;
  request.deadline = std::chrono::duration_cast<milliseconds>(target.timeout);
  Result<http::Headers> headers = request_headers(job->http);
  if (!headers) co_return headers.error();
  request.headers = std::move(*headers);
  char timeout[32];
  std::snprintf(timeout, sizeof timeout, "%g", seconds(target.timeout));
  request.headers.emplace_back("Accept", job->accept);
  request.headers.emplace_back("Accept-Encoding", job->enable_compression ? "gzip" : "identity");
  request.headers.emplace_back("X-Prometheus-Scrape-Timeout-Seconds", timeout);
  Result<http::Response> answer = co_await client->send(std::move(request));
  if (!answer) co_return answer.error();
  if (answer->status != 200) {
    const bool moved = answer->status / 100 == 3;
    const Error fault{target.url,
                      "answered HTTP status " + std::to_string(answer->status) +
                          (moved ? "; redirects are not followed, name the page itself" : "")};
    co_return fault;
  }

  Fetched fetched;
  Result<decode::ExpositionFormat> format = decode::exposition_format(answer->content_type);
  if (!format && !job->fallback) co_return format.error();
  fetched.format = format ? *format : *job->fallback;
  http::Request headers_of;  // for its look-up, which minds no case
  headers_of.headers = std::move(answer->headers);
  const std::string_view encoding = headers_of.header("content-encoding");
  fetched.gzip = encoding == "gzip";
  if (!encoding.empty() && encoding != "identity" && !fetched.gzip) {
    const Error fault{target.url, "Content-Encoding " + decode::printable(encoding, 40) +
                                      " was not asked for and is not supported"};
    co_return fault;
  }
  fetched.body = std::move(answer->body);
  co_return std::move(fetched);
}

asio::awaitable<Result<decode::Page>> Scraper::State::page_of(PoolPtr pool, FollowerPtr follower,
                                                              Timestamp at) {
  const auto until = std::chrono::steady_clock::now() + follower->target.timeout;
  while (at_once >= settings.at_once_max) {
    if (stopping || std::chrono::steady_clock::now() >= until) {
      const Error fault{follower->target.url,
                        std::to_string(settings.at_once_max) +
                            " other pages were being fetched for the whole timeout"};
      co_return fault;
    }
    co_await sleep(follower, slot_pause);
  }
  ++at_once;
  struct Leave {
    std::shared_ptr<State> state;
    ~Leave() { --state->at_once; }
  };
  const Leave leave{shared_from_this()};

  Result<Fetched> fetched = co_await fetch(pool, follower);
  if (!fetched) co_return fetched.error();
  const std::uint64_t limit = pool->job->body_size_limit;
  // What is packed is some ten times as large when it is read.
  const std::size_t size = fetched->body.size() * (fetched->gzip ? 10 : 1);
  if (!outside.workers || size < settings.offload_bytes_min)
    co_return read_page(*fetched, follower->memory, at, limit, settings.limits);
  auto page = std::make_shared<const Fetched>(std::move(*fetched));
  auto read = [page, follower, at, limit, limits = settings.limits] {
    return read_page(*page, follower->memory, at, limit, limits);
  };
  Result<decode::Page> done = co_await elsewhere(outside.workers, std::move(read));
  co_return std::move(done);
}

asio::awaitable<void> Scraper::State::deliver(PoolPtr pool, FollowerPtr follower, decode::Page page,
                                              Timestamp until) {
  JobCounters& counter = *pool->counters;
  const std::size_t bytes = page.series.size() * (sizeof(RawSeries) + sizeof(Point) + 4);
  Duration pause = offer_pause_min;
  bool kept = false;
  while (true) {
    SampleBatch batch = follower->memory.batch_of(page);
    batch.sender = "scrape " + pool->job->name;
    const Stored stored = co_await outside.sink(std::move(batch));
    if (!stored.come_again()) {
      counter.samples += stored.accepted;
      counter.duplicates += stored.duplicates;
      counter.late += stored.late;
      counter.rejected += stored.rejected_count;
      if (!stored.rejected.empty() && stored.rejected[0].what != follower->last_refused) {
        follower->last_refused = stored.rejected[0].what;
        log::warn("scrape.samples_refused", {{"job", pool->job->name},
                                             {"url", follower->target.url},
                                             {"samples", stored.rejected_count},
                                             {"what", follower->last_refused}});
      }
      follower->memory.delivered();
      pool->dropping = false;
      break;
    }
    const bool full = !kept && kept_bytes + bytes > settings.kept_bytes_max;
    if (stopping || full || outside.clock() + pause >= until) {
      ++counter.dropped_pages;
      counter.dropped_samples += page.points.size();
      if (!pool->dropping)
        log::warn("scrape.page_dropped",
                  {{"job", pool->job->name},
                   {"url", follower->target.url},
                   {"samples", page.points.size()},
                   {"what", full ? "too much waits already"
                                 : "the store was busy until the next page was due"}});
      pool->dropping = true;
      break;
    }
    if (!kept) kept_bytes += bytes;
    kept = true;
    ++counter.retries;
    co_await sleep(follower, pause);
    pause = std::min(2 * pause, offer_pause_max);
  }
  if (kept) kept_bytes -= bytes;
}

Scraper::Scraper(asio::io_context& io, Settings settings, Outside outside)
    : state_(std::make_shared<State>(io, std::move(settings), std::move(outside))) {}

Scraper::~Scraper() {
  state_->blocking.join();
}

asio::awaitable<void> Scraper::run() {
  const std::shared_ptr<State> state = state_;
  state->running = true;
  if (!state->stopping) state->start_jobs(true);
  while (!state->stopping || state->coroutines > 0) {
    state->ended.expires_at(asio::steady_timer::time_point::max());
    boost::system::error_code ignored;
    co_await state->ended.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

void Scraper::stop() {
  State& state = *state_;
  state.stopping = true;
  for (const auto& [name, pool] : state.pools) {
    if (pool->watch) pool->watch->stop();
    if (pool->client) pool->client->cancel();
    for (const auto& [key, follower] : pool->followers) follower->timer.cancel();
  }
  state.ended.cancel();
}

void Scraper::apply(Settings settings) {
  State& state = *state_;
  const bool other_labels = settings.external_labels != state.settings.external_labels;
  state.settings = std::move(settings);
  if (!state.running || state.stopping) return;
  state.start_jobs(other_labels);
}

const std::map<std::string, JobCounters>& Scraper::counters() {
  for (auto& [name, counter] : state_->counters)
    counter.targets = counter.up = counter.lines = counter.bytes = 0;
  for (const auto& [name, pool] : state_->pools) {
    JobCounters& counter = *pool->counters;
    for (const auto& [key, follower] : pool->followers) {
      ++counter.targets;
      counter.up += follower->health == Follower::Health::up ? 1 : 0;
      counter.lines += follower->lines;
      counter.bytes += follower->bytes;
    }
  }
  return state_->counters;
}

http::Response Scraper::targets(const http::Request& request) const {
  const auto object = [](const Labels& labels) {
    json::object out;
    for (const Label& label : labels) out[label.name] = label.value;
    return out;
  };
  const std::string state = request.parameter("state").value_or("any");
  const std::optional<std::string> only = request.parameter("scrapePool");
  json::array active, dropped;
  json::object dropped_counts;
  for (const auto& [name, pool] : state_->pools) {
    if (only && !only->empty() && *only != name) continue;
    for (const auto& [key, follower] : pool->followers) {
      if (state == "dropped") break;
      const Target& target = follower->target;
      const char* health = follower->health == Follower::Health::up     ? "up"
                           : follower->health == Follower::Health::down ? "down"
                                                                        : "unknown";
      active.push_back({{"discoveredLabels", object(target.discovered)},
                        {"labels", object(target.labels)},
                        {"scrapePool", name},
                        {"scrapeUrl", target.url},
                        {"globalUrl", target.url},
                        {"lastError", follower->last_error},
                        {"lastScrape", follower->last_scrape ? rfc3339(*follower->last_scrape)
                                                             : "0001-01-01T00:00:00Z"},
                        {"lastScrapeDuration", seconds(follower->last_duration)},
                        {"health", health},
                        {"scrapeInterval", to_text(target.interval)},
                        {"scrapeTimeout", to_text(target.timeout)}});
    }
    if (state == "active") continue;
    dropped_counts[name] = pool->dropped_count;
    for (const Labels& labels : pool->dropped) {
      json::object one;
      one["discoveredLabels"] = object(labels);
      dropped.push_back(std::move(one));
    }
  }
  json::object data{{"activeTargets", std::move(active)},
                    {"droppedTargets", std::move(dropped)},
                    {"droppedTargetCounts", std::move(dropped_counts)}};
  const json::object answer{{"status", "success"}, {"data", std::move(data)}};
  return http::json(json::serialize(answer));
}

}  // namespace muster::scrape
