#include "app/demo_driver.hpp"

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "app/clock.hpp"
#include "app/progress.hpp"
#include "http/client.hpp"
#include "simulator/encode.hpp"
#include "simulator/fleet.hpp"

namespace muster::app {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using simulator::Fault;
using simulator::FaultKind;
using simulator::Fleet;
using simulator::Tick;
using simulator::Truth;

// Ticks of history in one request: about 4 MB of lines for 240 models. One request is under way at a time, as
// two could be committed in either order, and what comes after a later tick is late.
constexpr Tick history_batch = 18;
// What GET /api/v1/demo/truth shows at most: half a day of faults.
constexpr std::size_t truth_max = 500;
// The first fault comes soon after the page is there, so that nobody waits for something to happen.
constexpr Tick first_fault_after = 20;
constexpr Tick save_every = 10;

constexpr auto retry_first = std::chrono::milliseconds(200);
constexpr auto retry_max = std::chrono::seconds(5);
// A muster that is not there at the start is not going to come.
constexpr auto patience_at_start = std::chrono::seconds(30);

std::string hour_and_minute(Timestamp ts) {
  const std::int64_t minutes = ts.us / 60'000'000;
  char text[8];
  std::snprintf(text, sizeof text, "%02d:%02d", static_cast<int>(minutes / 60 % 24),
                static_cast<int>(minutes % 60));
  return text;
}

// Where the demo stands, between two starts.
struct Saved {
  std::uint64_t seed = 0;
  std::uint32_t models = 0;
  Timestamp start;
  Tick next_tick = 0;
  std::uint32_t last_fault = 0;
  Tick next_fault = 0;
  std::vector<Fault> active;
};

std::string to_json(const Saved& saved) {
  json::array active;
  for (const Fault& f : saved.active) {
    active.push_back(json::object{{"id", f.id},
                                  {"kind", simulator::to_word(f.kind)},
                                  {"cause", f.cause},
                                  {"first", f.first},
                                  {"last", f.last},
                                  {"strength", f.strength},
                                  {"share", f.share}});
  }
  return json::serialize(json::object{{"seed", saved.seed},
                                      {"models", saved.models},
                                      {"start_ms", to_millis(saved.start)},
                                      {"next_tick", saved.next_tick},
                                      {"last_fault", saved.last_fault},
                                      {"next_fault", saved.next_fault},
                                      {"active", std::move(active)}});
}

// Throws when the text is not what to_json() writes: nobody else writes this file.
Saved read_saved(const std::string& text) {
  const json::value parsed = json::parse(text);
  const json::object& o = parsed.as_object();
  Saved saved;
  saved.seed = o.at("seed").to_number<std::uint64_t>();
  saved.models = o.at("models").to_number<std::uint32_t>();
  saved.start = from_millis(o.at("start_ms").to_number<std::int64_t>());
  saved.next_tick = o.at("next_tick").to_number<Tick>();
  saved.last_fault = o.at("last_fault").to_number<std::uint32_t>();
  saved.next_fault = o.at("next_fault").to_number<Tick>();
  for (const json::value& entry : o.at("active").as_array()) {
    const json::object& f = entry.as_object();
    const auto kind = simulator::fault_kind(std::string_view(f.at("kind").as_string()));
    if (!kind) throw std::runtime_error("unknown kind of fault");
    saved.active.push_back({*kind, std::string(f.at("cause").as_string()),
                            f.at("first").to_number<Tick>(), f.at("last").to_number<Tick>(),
                            f.at("strength").to_number<double>(), f.at("share").to_number<double>(),
                            f.at("id").to_number<std::uint32_t>()});
  }
  return saved;
}

}  // namespace

struct DemoDriver::State {
  State(DemoSettings s, DemoControl& c)
      : settings(std::move(s)), control(c), client(io), timer(io) {}

  DemoSettings settings;
  DemoControl& control;
  std::string url;
  asio::io_context io;
  http::Client client;
  asio::steady_timer timer;
  std::atomic<bool> stopping = false;

  std::optional<Fleet> fleet;
  std::optional<simulator::NdjsonWriter> writer;
  Saved saved;
  std::vector<Truth> truth;
  std::optional<simulator::Showcase> showcase;
  bool events_wanted = true;
  bool rejects_said = false;
  int exit_code = 0;

  struct Batch {
    Tick until = 0;
    std::string lines;
    std::uint64_t samples = 0;
  };

  enum class Sent { done, unknown, stopped, failed };

  void load();
  void save();
  Tick history_ticks() const {
    return settings.history_days * (Duration(std::chrono::days(1)) / fleet->shape().tick);
  }
  Batch make_batch(Tick from, Tick until);
  void start_fault(const Fault& fault);
  void update_faults(Tick t);
  void publish();

  asio::awaitable<void> pause(std::chrono::steady_clock::duration length);
  asio::awaitable<Sent> deliver(http::Method method, std::string path, std::string content_type,
                                std::string body, std::optional<std::chrono::seconds> patience);
  asio::awaitable<bool> announce(Tick from, Tick until);
  void check(const std::string& answer);
  asio::awaitable<bool> history();
  asio::awaitable<void> live();
  asio::awaitable<void> drive();
};

void DemoDriver::State::load() {
  if (!settings.state_file.empty() && std::filesystem::exists(settings.state_file)) {
    std::ifstream file(settings.state_file);
    std::ostringstream text;
    text << file.rdbuf();
    try {
      saved = read_saved(text.str());
    } catch (const std::exception& fault) {
      throw std::runtime_error(
          "cannot read " + settings.state_file + " (" + fault.what() +
          "): the demo cannot go on from there; start one with another data folder");
    }
    if (saved.seed != settings.seed || saved.models != settings.models) {
      std::printf("demo: goes on with seed %llu and %u models, as this data folder was begun\n",
                  static_cast<unsigned long long>(saved.seed), saved.models);
    }
  } else {
    saved.seed = settings.seed;
    saved.models = settings.models;
    const Duration day = std::chrono::days(1);
    const Timestamp earlier = wall_clock() - day * (settings.head_start_days + settings.history_days);
    saved.start = earlier - Duration(earlier.us % day.count());
  }
  simulator::FleetShape shape;
  shape.models = saved.models;
  shape.start = saved.start;
  fleet.emplace(shape, saved.seed);
  writer.emplace(*fleet);
  showcase.emplace(*fleet, settings.faults);
  for (const Fault& fault : saved.active) {
    if (const auto injected = fleet->inject(fault)) truth.push_back(*injected);
  }
  if (saved.next_fault == 0) saved.next_fault = history_ticks() + first_fault_after;
  control.begin(saved.seed);
}

void DemoDriver::State::save() {
  if (settings.state_file.empty()) return;
  const std::string next = settings.state_file + ".next";
  {
    std::ofstream file(next);
    file << to_json(saved) << '\n';
    if (!file.flush()) throw std::runtime_error("cannot write " + next);
  }
  std::filesystem::rename(next, settings.state_file);
}

DemoDriver::State::Batch DemoDriver::State::make_batch(Tick from, Tick until) {
  Batch batch{until, {}, 0};
  for (Tick t = from; t < until; ++t) {
    const auto arrived = fleet->tick(t);
    batch.samples += arrived.size();
    writer->append(arrived, batch.lines);
  }
  return batch;
}

void DemoDriver::State::publish() {
  std::vector<DemoControl::Active> active;
  for (const Fault& fault : saved.active) {
    const auto is_it = [&](const Truth& t) { return t.id == fault.id; };
    const auto known = std::find_if(truth.rbegin(), truth.rend(), is_it);
    if (known == truth.rend()) continue;
    active.push_back({fault.id, fault.kind, known->root_cause,
                      static_cast<std::uint32_t>(known->models.size()), known->start});
  }
  control.set_active(std::move(active));
  control.set_truth(simulator::to_json(truth));
}

void DemoDriver::State::start_fault(const Fault& fault) {
  const Result<Truth> injected = fleet->inject(fault);
  if (!injected) throw std::logic_error("demo: " + injected.error().what);
  saved.last_fault = fault.id;
  saved.active.push_back(fault);
  truth.push_back(*injected);
  if (truth.size() > truth_max) truth.erase(truth.begin());
  const std::string who = fault.cause.empty() ? std::string() : fault.cause + " ";
  std::printf("%s fault %u: %s%s, %zu models\n", hour_and_minute(injected->start).c_str(), fault.id,
              who.c_str(), std::string(simulator::to_phrase(fault.kind)).c_str(),
              injected->models.size());
  std::fflush(stdout);
}

void DemoDriver::State::update_faults(Tick t) {
  const std::uint32_t before = saved.last_fault;
  const std::size_t at_work = saved.active.size();
  std::erase_if(saved.active, [&](const Fault& fault) {
    if (t < fault.last) return false;
    std::printf("%s fault %u is over\n", hour_and_minute(fleet->time_of(t)).c_str(), fault.id);
    std::fflush(stdout);
    return true;
  });
  fleet->forget_before(t);
  const auto room = [&] { return saved.active.size() < DemoControl::faults_max; };
  for (const FaultKind kind : control.take_triggered()) {
    if (room()) start_fault(showcase->invent(kind, t, saved.last_fault + 1));
  }
  if (t >= saved.next_fault && room()) {
    start_fault(showcase->invent(t, saved.last_fault + 1));
    saved.next_fault = showcase->next_after(t, saved.last_fault);
  }
  if (saved.last_fault != before || saved.active.size() != at_work) publish();
}

asio::awaitable<void> DemoDriver::State::pause(std::chrono::steady_clock::duration length) {
  timer.expires_after(length);
  if (stopping) co_return;
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

// Sends until the muster has taken it. It says "later" with 429 and 5xx; any other answer but 2xx is final.
// `patience` is how long one that does not answer is waited for; nothing: for ever.
asio::awaitable<DemoDriver::State::Sent> DemoDriver::State::deliver(
    http::Method method, std::string path, std::string content_type, std::string body,
    std::optional<std::chrono::seconds> patience) {
  const auto begun = std::chrono::steady_clock::now();
  auto wait = std::chrono::steady_clock::duration(retry_first);
  bool said = false;
  while (!stopping) {
    http::Outgoing request;
    request.method = method;
    request.url = url + path;
    request.content_type = content_type;
    request.body = body;
    request.deadline = std::chrono::seconds(60);  // a commit behind a checkpoint of a slow disk
    request.repeatable = true;                    // a sample sent twice is stored once
    const Result<http::Response> answer = co_await client.send(std::move(request));
    std::string why;
    if (answer) {
      const int status = answer->status;
      if (200 <= status && status < 300) {
        check(answer->body);
        co_return Sent::done;
      }
      if (status == 404 || status == 405) co_return Sent::unknown;
      why = std::to_string(status) + " " + answer->body.substr(0, 300);
      if (status != 429 && status < 500) {
        std::fprintf(stderr, "demo: %s is refused: %s\n", path.c_str(), why.c_str());
        co_return Sent::failed;
      }
    } else {
      why = answer.error().what;
    }
    if (patience && std::chrono::steady_clock::now() - begun > *patience) {
      std::fprintf(stderr, "demo: %s does not take %s: %s\n", url.c_str(), path.c_str(),
                   why.c_str());
      co_return Sent::failed;
    }
    if (!said && wait > std::chrono::seconds(2)) {
      std::fprintf(stderr, "demo: %s has to wait: %s\n", path.c_str(), why.c_str());
      said = true;
    }
    co_await pause(wait);
    wait = std::min<std::chrono::steady_clock::duration>(wait * 2, retry_max);
  }
  co_return Sent::stopped;
}

// Every sample of the demo is good, so a rejected one is a fault of ours, or of the muster's: said once.
void DemoDriver::State::check(const std::string& answer) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(answer, failed);
  if (failed || !parsed.is_object() || rejects_said) return;
  const json::value* rejected = parsed.get_object().if_contains("rejected");
  if (!rejected || !rejected->is_array() || rejected->get_array().empty()) return;
  rejects_said = true;
  std::fprintf(stderr, "demo: samples were rejected: %s\n",
               json::serialize(rejected->get_array()[0]).c_str());
}

// Tells of the deploys in [from, until); false when the demo has to end. A muster that takes no events is
// not asked again.
asio::awaitable<bool> DemoDriver::State::announce(Tick from, Tick until) {
  for (Tick t = from; t < until && events_wanted; ++t) {
    for (const Event& event : fleet->events(t)) {
      const Sent sent = co_await deliver(http::Method::post, "/api/v1/events", "application/json",
                                         muster::to_json(event), std::nullopt);
      if (sent == Sent::stopped) co_return false;
      if (sent != Sent::done) events_wanted = false;
      if (!events_wanted) break;
    }
  }
  co_return true;
}

asio::awaitable<bool> DemoDriver::State::history() {
  const Tick until = history_ticks();
  if (saved.next_tick >= until) co_return true;
  Progress progress("history", static_cast<std::uint64_t>(until - saved.next_tick));
  const Tick first = saved.next_tick;
  std::uint64_t samples = 0;
  const auto note = [&] {
    char text[48];
    std::snprintf(text, sizeof text, "%.1f M samples", static_cast<double>(samples) / 1e6);
    return std::string(text);
  };
  const auto begin_batch = [this, until](Tick from) {
    return std::async(std::launch::async, [this, from, until] {
      return make_batch(from, std::min(from + history_batch, until));
    });
  };
  // The next batch is made while this one is on its way.
  std::future<Batch> next = begin_batch(first);
  while (saved.next_tick < until) {
    Batch batch = next.get();
    if (batch.until < until) next = begin_batch(batch.until);
    const Sent sent =
        co_await deliver(http::Method::post, "/api/v1/samples", "application/x-ndjson",
                         std::move(batch.lines), patience_at_start);
    if (sent != Sent::done) {
      if (sent != Sent::stopped) exit_code = 1;
      co_return false;
    }
    samples += batch.samples;
    saved.next_tick = batch.until;
    progress.update(static_cast<std::uint64_t>(saved.next_tick - first), note());
    save();
  }
  progress.finish(note());
  // Of the deploys only the last day's: nobody looks further back from an incident.
  const Tick day = Duration(std::chrono::days(1)) / fleet->shape().tick;
  const bool told = co_await announce(std::max<Tick>(0, until - day), until);
  co_return told;
}

asio::awaitable<void> DemoDriver::State::live() {
  using namespace std::chrono;
  const auto step =
      duration_cast<steady_clock::duration>(duration<double>(1 / settings.ticks_per_second));
  auto due = steady_clock::now();
  bool said = false;
  while (!stopping) {
    const Tick t = saved.next_tick;
    if (const Timestamp at = fleet->time_of(t); at > wall_clock()) {
      if (!said) {
        std::printf("demo: the fleet's clock has caught up with ours and now goes at its pace\n");
        std::fflush(stdout);
        said = true;
      }
      co_await pause(std::min<steady_clock::duration>(at - wall_clock(), seconds(60)));
      due = steady_clock::now();
      continue;
    }
    update_faults(t);
    Batch batch = make_batch(t, t + 1);
    if (!batch.lines.empty()) {
      const Sent sent =
          co_await deliver(http::Method::post, "/api/v1/samples", "application/x-ndjson",
                           std::move(batch.lines), std::nullopt);
      if (sent == Sent::stopped) break;
      if (sent != Sent::done) {
        exit_code = 1;
        break;
      }
    }
    const bool told = co_await announce(t, t + 1);
    if (!told) break;
    saved.next_tick = t + 1;
    if (saved.next_tick % save_every == 0) save();
    due =
        std::max(due + step, steady_clock::now() - seconds(2));  // catch up a little, not for ever
    co_await pause(due - steady_clock::now());
  }
  save();
}

asio::awaitable<void> DemoDriver::State::drive() {
  const Sent topology = co_await deliver(http::Method::put, "/api/v1/topology", "application/json",
                                         muster::to_json(fleet->topology()), patience_at_start);
  if (topology != Sent::done) {
    if (topology != Sent::stopped) exit_code = 1;
    co_return;
  }
  const bool ready = co_await history();
  if (!ready) co_return;
  publish();
  control.set_running(true);
  std::printf("demo: seed %llu, %u models; open %s\n", static_cast<unsigned long long>(saved.seed),
              saved.models, url.c_str());
  std::fflush(stdout);
  co_await live();
  control.set_running(false);
}

DemoDriver::DemoDriver(DemoSettings settings, DemoControl& control)
    : state_(std::make_unique<State>(std::move(settings), control)) {
  state_->load();
}
DemoDriver::~DemoDriver() = default;

Timestamp DemoDriver::history_end() const {
  return state_->fleet->time_of(state_->history_ticks());
}

int DemoDriver::run(const std::string& url) {
  state_->url = url;
  std::exception_ptr fault;
  asio::co_spawn(state_->io, state_->drive(), [&](std::exception_ptr thrown) {
    fault = thrown;
    state_->io.stop();  // kept connections have nothing more to do
  });
  state_->io.run();
  if (fault) std::rethrow_exception(fault);
  return state_->exit_code;
}

void DemoDriver::stop() {
  state_->stopping = true;
  asio::post(state_->io, [this] { state_->timer.cancel(); });
}

}  // namespace muster::app
