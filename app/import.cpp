#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "app/clock.hpp"
#include "app/commands.hpp"
#include "app/progress.hpp"
#include "app/serve.hpp"
#include "app/server.hpp"
#include "app/signals.hpp"
#include "collector/decode/csv_points.hpp"
#include "collector/decode/ndjson.hpp"
#include "collector/decode/remote_read.hpp"
#include "http/client.hpp"
#include "schema/duration.hpp"
#include "schema/matcher.hpp"

// muster import: the history that a fleet has elsewhere, into a muster that is new to it.
namespace muster::app {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

// A request's samples, decompressed: well below what the server takes (64 MiB), and held a few times over here.
constexpr std::size_t request_bytes_max = 16u << 20;
// An answer of a source; a stretch of time with more is asked for in halves.
constexpr std::size_t answer_bytes_max = 48u << 20;
// A stretch with less is worth a longer one.
constexpr std::size_t answer_bytes_few = 2u << 20;
constexpr std::int64_t stretch_first_ms = 3'600'000;
constexpr std::int64_t stretch_min_ms = 1'000;
constexpr std::int64_t stretch_max_ms = 86'400'000;
constexpr std::size_t chunk_bytes = 4u << 20;  // of a file
// A source, or the muster, that does not answer is asked again for so long.
constexpr auto patience = 2min;

struct Options {
  std::string prometheus, victoria, ndjson, csv;
  std::string since = "28d";
  std::string until;
  std::string match = "{__name__=~\".+\"}";
  std::string to;
  std::optional<std::int64_t> pages_from_ms;
  bool no_wait = false;
  ServeFlags flags;
};

struct Stopped {};

std::string encoded(std::string_view text) {
  constexpr char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

// Requests one after the other, repeated while it makes sense.
class Web {
 public:
  explicit Web(const std::atomic<bool>& stopping) : stopping_(stopping), client_(io_, settings()) {}

  // The first answer that says neither "later" nor nothing at all. Throws when there is none for `patience`.
  http::Response ask(const http::Outgoing& request) {
    const auto begun = std::chrono::steady_clock::now();
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
      std::string why;
      Result<http::Response> answer = once(request);
      if (answer) {
        const int status = answer->status;
        if (status != 429 && status != 502 && status != 503 && status != 504)
          return std::move(*answer);
        why = std::to_string(answer->status) + " " + answer->body.substr(0, 300);
      } else {
        why = answer.error().what;
        // Asked again it would be as large.
        if (why.find("larger") != why.npos || why.find("longer than") != why.npos) {
          http::Response large;
          large.status = 413;
          return large;
        }
      }
      if (std::chrono::steady_clock::now() - begun > patience)
        throw std::runtime_error(request.url.substr(0, request.url.find('?')) +
                                 " does not answer: " + why);
      for (auto left = pause; left > 0ms; left -= 100ms) {
        if (stopping_) throw Stopped();
        std::this_thread::sleep_for(100ms);
      }
    }
  }

  Result<http::Response> once(http::Outgoing request) {
    if (stopping_) throw Stopped();
    request.deadline = 5min;
    request.repeatable = true;
    std::optional<Result<http::Response>> outcome;
    std::exception_ptr fault;
    auto sending = [](http::Client& client, http::Outgoing out,
                      std::optional<Result<http::Response>>& into) -> asio::awaitable<void> {
      into.emplace(co_await client.send(std::move(out)));
    };
    asio::co_spawn(io_, sending(client_, std::move(request), outcome),
                   [&](std::exception_ptr thrown) {
                     fault = thrown;
                     io_.stop();  // kept connections have nothing more to do
                   });
    io_.restart();
    io_.run();
    if (fault) std::rethrow_exception(fault);
    return std::move(*outcome);
  }

 private:
  static http::ClientSettings settings() {
    http::ClientSettings s;
    s.answer_max = answer_bytes_max;
    return s;
  }
  const std::atomic<bool>& stopping_;
  asio::io_context io_{1};
  http::Client client_;
};

// The muster that the history goes to.
class Target {
 public:
  Target(Web& web, std::string url) : web_(web), url_(std::move(url)) {}

  // How far a source is, in its own words.
  std::optional<std::string> cursor(const std::string& source) {
    const json::object answer = object(get("/api/v1/import?source=" + encoded(source)));
    const json::value& cursor = answer.at("cursor");
    if (cursor.is_null()) return {};
    return std::string(cursor.as_string());
  }

  // check  some of it may be stored already
  void send(const std::string& source, const std::string& cursor, bool check,
            const char* content_type, std::string body) {
    http::Outgoing request;
    request.url = url_ + "/api/v1/import?source=" + encoded(source) + "&cursor=" + encoded(cursor) +
                  (check ? "&check=1" : "");
    request.content_type = content_type;
    request.body = std::move(body);
    const json::object answer = object(web_.ask(request));
    accepted += answer.at("accepted").to_number<std::uint64_t>();
    duplicates += answer.at("duplicates").to_number<std::uint64_t>();
    rejected += answer.at("rejected_count").to_number<std::uint64_t>();
    for (const json::value& one : answer.at("rejected").as_array()) {
      if (told_++ == 10) break;
      const json::object& fault = one.as_object();
      std::fprintf(stderr, "muster: not taken: %s %s\n", fault.at("series").as_string().c_str(),
                   fault.at("what").as_string().c_str());
    }
  }

  // False: there is nothing that it has not learned from.
  bool learn(Timestamp pages_from) {
    http::Outgoing request;
    request.url = url_ + "/api/v1/import/learn?pages_from=" + std::to_string(to_millis(pages_from));
    return object(web_.ask(request)).at("wanted").as_bool();
  }

  struct Learning {
    bool under_way = true;
    double learned = 0;
  };
  Learning learning() {
    const json::object answer = object(get("/api/v1/import/learn"));
    return {answer.at("learning").as_bool() || answer.at("wanted").as_bool(),
            answer.at("learned").to_number<double>()};
  }

  bool answers() {
    http::Outgoing request;
    request.method = http::Method::get;
    request.url = url_ + "/-/healthy";
    return web_.once(std::move(request)).has_value();
  }

  std::uint64_t accepted = 0, duplicates = 0, rejected = 0;
  std::string note() const { return std::to_string(accepted) + " samples"; }

 private:
  http::Response get(const std::string& path) {
    http::Outgoing request;
    request.method = http::Method::get;
    request.url = url_ + path;
    return web_.ask(request);
  }
  json::object object(const http::Response& response) const {
    if (response.status < 200 || response.status >= 300)
      throw std::runtime_error(url_ + " refuses: " + std::to_string(response.status) + " " +
                               response.body.substr(0, 500));
    return json::parse(response.body).as_object();
  }

  Web& web_;
  std::string url_;
  std::size_t told_ = 0;
};

// A WriteRequest into the muster, in parts that it takes.
void send_write_request(Target& target, const std::string& source, const std::string& cursor,
                        bool check, const std::string& request) {
  target.send(source, cursor, check, "application/x-protobuf", decode::snappy_block(request));
}

// One stretch of a source's samples, as a WriteRequest, or nothing when it is too much at once.
using Stretch = std::function<std::optional<std::string>(std::int64_t from_ms, std::int64_t to_ms)>;

std::optional<std::string> read_prometheus(Web& web, const std::string& url,
                                           const std::vector<Matcher>& matchers,
                                           std::int64_t from_ms, std::int64_t to_ms) {
  http::Outgoing request;
  request.url = url + "/api/v1/read";
  request.content_type = "application/x-protobuf";
  request.headers = {{"Content-Encoding", "snappy"}, {"X-Prometheus-Remote-Read-Version", "0.1.0"}};
  request.body = decode::remote_read_request(from_ms, to_ms, matchers);
  const http::Response answer = web.ask(request);
  if (answer.status == 413 ||
      (answer.status == 400 && answer.body.find("exceeded sample limit") != std::string::npos))
    return {};
  if (answer.status != 200)
    throw std::runtime_error(url + "/api/v1/read gave " + std::to_string(answer.status) + ": " +
                             answer.body.substr(0, 300) +
                             "; a VictoriaMetrics is read with --victoriametrics");
  auto samples = decode::remote_read_samples(answer.body, 4 * request_bytes_max);
  if (!samples) {
    if (samples.error().what.starts_with("claims ")) return {};
    throw std::runtime_error(url + ": " + samples.error().what);
  }
  if (samples->size() > request_bytes_max) return {};
  return std::move(*samples);
}

// 1700000000.123
std::string seconds(std::int64_t ms) {
  const std::string rest = std::to_string(ms % 1000);
  return std::to_string(ms / 1000) + '.' + std::string(3 - rest.size(), '0') + rest;
}

std::optional<std::string> read_victoria(Web& web, const std::string& url, const std::string& match,
                                         std::int64_t from_ms, std::int64_t to_ms) {
  http::Outgoing request;
  request.method = http::Method::get;
  request.url = url + "/api/v1/export?reduce_mem_usage=1&match%5B%5D=" + encoded(match) +
                "&start=" + seconds(from_ms) + "&end=" + seconds(to_ms);
  const http::Response answer = web.ask(request);
  if (answer.status == 413) return {};
  if (answer.status != 200)
    throw std::runtime_error(url + "/api/v1/export gave " + std::to_string(answer.status) + ": " +
                             answer.body.substr(0, 300));
  auto samples = decode::victoria_samples(answer.body);
  if (!samples)
    throw std::runtime_error(url + ": " + samples.error().where + ": " + samples.error().what);
  if (samples->size() > request_bytes_max) return {};
  return std::move(*samples);
}

// Oldest first, a stretch after the other; the cursor is "FROM TO", what is done.
void import_stretches(Target& target, const std::string& source, std::int64_t from_ms,
                      std::int64_t until_ms, const Stretch& read) {
  std::int64_t at = from_ms, done_to = 0, done_from = from_ms;
  bool resumed = false;
  if (const auto cursor = target.cursor(source)) {
    std::int64_t stored_from = 0;
    const char* const end = cursor->data() + cursor->size();
    const auto first = std::from_chars(cursor->data(), end, stored_from);
    if (first.ec == std::errc() && first.ptr < end) std::from_chars(first.ptr + 1, end, done_to);
    resumed = true;
    // Asked for from earlier on than before: all of it again, and what is stored is left out.
    if (stored_from <= from_ms + stretch_max_ms) {
      at = std::max(at, done_to);
      done_from = std::min(stored_from, from_ms);
      std::printf("goes on where it stopped, %lld%% of it done\n",
                  static_cast<long long>(
                      until_ms > from_ms ? (at - from_ms) * 100 / (until_ms - from_ms) : 100));
    }
  }
  Progress progress("import", static_cast<std::uint64_t>(until_ms - from_ms));
  std::int64_t stretch = stretch_first_ms;
  bool check = resumed;  // the stretch that was cut short may be stored in part
  while (at < until_ms) {
    const std::int64_t to = std::min(at + stretch, until_ms);
    // Sources have both ends in: the last millisecond belongs to the next stretch.
    const std::optional<std::string> samples = read(at, to - 1);
    if (!samples) {
      if (stretch <= stretch_min_ms)
        throw std::runtime_error("a second of the source is more than " +
                                 std::to_string(request_bytes_max >> 20) +
                                 " MiB; import it in parts with --match");
      stretch = std::max(stretch / 2, stretch_min_ms);
      continue;
    }
    send_write_request(target, source, std::to_string(done_from) + " " + std::to_string(to),
                       check || to <= done_to, *samples);
    check = false;
    at = to;
    if (samples->size() < answer_bytes_few) stretch = std::min(stretch * 2, stretch_max_ms);
    progress.update(static_cast<std::uint64_t>(at - from_ms), target.note());
  }
  progress.finish(target.note());
}

// A file, plain or gzip, a few whole lines at a time; the cursor is how many bytes of it, decompressed, are done.
void import_lines(
    Target& target, const std::string& kind, const std::string& path,
    const std::function<std::pair<const char*, std::string>(std::string&&)>& body_of) {
  std::error_code none;
  const std::string whole = std::filesystem::weakly_canonical(path, none).string();
  const std::uintmax_t size = std::filesystem::file_size(path, none);
  const std::string source = kind + ":" + whole + ":" + std::to_string(none ? 0 : size);
  std::uint64_t done = 0;
  const auto cursor = target.cursor(source);
  if (cursor) std::from_chars(cursor->data(), cursor->data() + cursor->size(), done);
  if (done > 0)
    std::printf("goes on where it stopped, behind %llu bytes\n",
                static_cast<unsigned long long>(done));

  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr)
    throw std::runtime_error("cannot read " + path + ": " + std::strerror(errno));
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> closes(file, gzclose);
  if (done > 0 && gzseek(file, static_cast<z_off_t>(done), SEEK_SET) < 0)
    throw std::runtime_error("cannot go to byte " + std::to_string(done) + " of " + path);

  Progress progress("import", size);
  std::string lines;
  bool ended = false, check = cursor.has_value();
  while (!ended) {
    const std::size_t held = lines.size();
    lines.resize(held + chunk_bytes);
    const int got = gzread(file, lines.data() + held, static_cast<unsigned>(chunk_bytes));
    if (got < 0) {
      int code = 0;
      throw std::runtime_error("cannot read " + path + ": " + gzerror(file, &code));
    }
    lines.resize(held + static_cast<std::size_t>(got));
    ended = got == 0;
    std::size_t take = ended ? lines.size() : decode::whole_lines(lines);
    if (take == 0 && !ended && lines.size() > request_bytes_max)
      throw std::runtime_error(path + " has a line of more than " +
                               std::to_string(request_bytes_max >> 20) + " MiB");
    if (take == 0) continue;
    std::string rest = lines.substr(take);
    lines.resize(take);
    done += take;
    auto [content_type, body] = body_of(std::move(lines));
    target.send(source, std::to_string(done), check, content_type, std::move(body));
    check = false;
    lines = std::move(rest);
    progress.update(static_cast<std::uint64_t>(std::max<z_off_t>(0, gzoffset(file))),
                    target.note());
  }
  progress.finish(target.note());
}

// `ts,series,value` lines as NDJSON.
std::string ndjson_of_csv(std::string&& lines) {
  const decode::Decoded decoded = decode::csv_points(std::vector<char>(lines.begin(), lines.end()));
  for (const Rejected& one : decoded.rejected)
    std::fprintf(stderr, "muster: line %u: %s\n", one.line, one.what.c_str());
  std::string out;
  for (const RawSeries& series : decoded.batch.series) {
    const auto identity = decode::csv_identity(series.labels);
    if (!identity) continue;
    for (std::uint32_t p = 0; p < series.count; ++p) {
      const Point& point = decoded.batch.points[series.first + p];
      json::object line{{"ts", to_millis(point.ts)},
                        {"model", identity->model},
                        {"metric", identity->metric},
                        {"value", nullptr}};
      if (!is_null(point.value)) line["value"] = point.value;
      out += json::serialize(line) + '\n';
    }
  }
  return out;
}

void import_all(const Options& options, const std::string& url, const std::atomic<bool>& stopping) {
  Web source_web(stopping), target_web(stopping);
  Target target(target_web, url);
  const Timestamp now = wall_clock();
  const auto begun = std::chrono::steady_clock::now();

  const auto since = parse_duration(options.since);
  if (!since) throw std::runtime_error("--since " + options.since + ": " + since.error().what);
  Timestamp until = now;
  if (!options.until.empty()) {
    const auto before = parse_duration(options.until);
    if (!before) throw std::runtime_error("--until " + options.until + ": " + before.error().what);
    until = now - *before;
  }
  const std::int64_t from_ms = to_millis(now - *since), until_ms = to_millis(until);
  if (from_ms >= until_ms) throw std::runtime_error("--since must lie before --until");

  const auto trimmed = [](std::string text) {
    while (text.ends_with('/')) text.pop_back();
    return text;
  };
  if (!options.prometheus.empty()) {
    const auto matchers = parse_series_selector(options.match);
    if (!matchers)
      throw std::runtime_error("--match " + options.match + ": " + matchers.error().what);
    const std::string base = trimmed(options.prometheus);
    import_stretches(target, "prometheus:" + base + ":" + options.match, from_ms, until_ms,
                     [&](std::int64_t from, std::int64_t to) {
                       return read_prometheus(source_web, base, *matchers, from, to);
                     });
  }
  if (options.victoria.starts_with("http://") || options.victoria.starts_with("https://")) {
    const std::string base = trimmed(options.victoria);
    import_stretches(target, "victoriametrics:" + base + ":" + options.match, from_ms, until_ms,
                     [&](std::int64_t from, std::int64_t to) {
                       return read_victoria(source_web, base, options.match, from, to);
                     });
  } else if (!options.victoria.empty()) {
    import_lines(target, "victoriametrics", options.victoria, [&](std::string&& lines) {
      auto samples = decode::victoria_samples(lines);
      if (!samples)
        throw std::runtime_error(options.victoria + ", " + samples.error().where + ": " +
                                 samples.error().what);
      return std::pair<const char*, std::string>("application/x-protobuf",
                                                 decode::snappy_block(*samples));
    });
  }
  if (!options.ndjson.empty())
    import_lines(target, "ndjson", options.ndjson, [](std::string&& lines) {
      return std::pair<const char*, std::string>("application/x-ndjson", std::move(lines));
    });
  if (!options.csv.empty())
    import_lines(target, "csv", options.csv, [](std::string&& lines) {
      return std::pair<const char*, std::string>("application/x-ndjson",
                                                 ndjson_of_csv(std::move(lines)));
    });

  std::printf("%llu samples imported, %llu were there already, %llu were not taken\n",
              static_cast<unsigned long long>(target.accepted),
              static_cast<unsigned long long>(target.duplicates),
              static_cast<unsigned long long>(target.rejected));
  std::fflush(stdout);

  // What is over must not wake anybody; what begins from here on may. A server was read to a time that is known; a
  // file's is over now.
  const bool by_time = !options.prometheus.empty() || options.victoria.starts_with("http");
  const Timestamp pages_from = options.pages_from_ms ? from_millis(*options.pages_from_ms)
                               : by_time             ? until
                                                     : wall_clock();
  if (!target.learn(pages_from)) {
    std::printf("nothing new to learn from\n");
    return;
  }
  if (options.no_wait) {
    std::printf("muster learns from it; GET %s/api/v1/import/learn tells how far it is\n",
                url.c_str());
    return;
  }
  constexpr std::uint64_t whole = 1000;
  Progress progress("learn", whole);
  while (true) {
    const Target::Learning learning = target.learning();
    if (!learning.under_way) break;
    progress.update(static_cast<std::uint64_t>(learning.learned * whole));
    if (stopping) throw Stopped();
    std::this_thread::sleep_for(200ms);
  }
  progress.finish();
  std::printf("learned in %.1f s in all; pages may leave from now on\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
}

// Into a muster of our own, for as long as it takes.
int import_alone(const Options& options) {
  Result<ServerSettings> settings = server_settings(options.flags);
  if (!settings) {
    std::fprintf(stderr, "%s\n", settings.error().what.c_str());
    return 2;
  }
  settings->http.address = "127.0.0.1";
  settings->http.port = 0;
  const HoldSignals hold;
  Server server(std::move(*settings));
  std::atomic<bool> stopping = false;
  const StopOnSignal signals([&] {
    stopping = true;
    server.stop();
  });
  std::thread feeder;
  int outcome = 1;
  server.on_ready([&](const std::string& url) {
    feeder = std::thread([&, url] {
      try {
        import_all(options, url, stopping);
        outcome = 0;
      } catch (const Stopped&) {
        std::fprintf(stderr, "muster: stopped; the same command goes on from here\n");
      } catch (const std::exception& fault) {
        std::fprintf(stderr, "muster: %s\n", fault.what());
      }
      server.stop();
    });
  });
  const int served = server.run();
  stopping = true;
  if (feeder.joinable()) feeder.join();
  return served != 0 ? served : outcome;
}

int import(const Options& options) {
  const int sources = !options.prometheus.empty() + !options.victoria.empty() +
                      !options.ndjson.empty() + !options.csv.empty();
  if (sources != 1) {
    std::fprintf(stderr,
                 "muster: one of --prometheus, --victoriametrics, --ndjson and --csv is wanted; "
                 "`muster import --help` has examples\n");
    return 2;
  }
  std::atomic<bool> stopping = false;
  const std::string usual = "http://127.0.0.1:9797";
  const std::string url = options.to.empty() ? usual : options.to;
  bool there = true;
  if (options.to.empty()) {
    Web web(stopping);
    there = Target(web, url).answers();
  }
  if (!there) {
    std::printf("no muster answers at %s: importing into %s by itself\n", usual.c_str(),
                options.flags.data_dir.c_str());
    return import_alone(options);
  }
  const HoldSignals hold;
  const StopOnSignal signals([&] { stopping = true; });
  try {
    import_all(options, url, stopping);
  } catch (const Stopped&) {
    std::fprintf(stderr, "muster: stopped; the same command goes on from here\n");
    return 1;
  }
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Run& run) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "import", "take over the history of a fleet, so that it is known from the first day");
  command->footer(
      "Samples go into the muster that runs, or into the data folder when none does; then it "
      "learns from them and\n"
      "can page at once, and never for what is over. A run that was stopped goes on where it "
      "was.\n\n"
      "Examples:\n"
      "  muster import --prometheus http://127.0.0.1:9090 --since 28d --match "
      "'{job=~\"model-.*\"}'\n"
      "  muster import --victoriametrics http://127.0.0.1:8428 --since 28d\n"
      "  muster import --victoriametrics export.jsonl.gz\n"
      "  muster import --ndjson samples.ndjson.gz --to http://muster.example:9797\n"
      "  muster import --csv points.csv");
  command->add_option("--prometheus", options->prometheus,
                      "URL of a Prometheus, read by remote read");
  command->add_option("--victoriametrics", options->victoria,
                      "URL of a VictoriaMetrics, or a file of its /api/v1/export");
  command->add_option("--ndjson", options->ndjson,
                      "a file of JSON lines, as /api/v1/samples takes them; .gz too");
  command->add_option("--csv", options->csv,
                      "a file of lines ts,series,value, as `muster replay` reads; .gz too");
  command->add_option("--since", options->since, "how far back to read a server")
      ->capture_default_str();
  command->add_option("--until", options->until, "how far back to end, e.g. 1d; now unless said");
  command->add_option("--match", options->match, "which series of a server")->capture_default_str();
  command->add_option(
      "--to", options->to,
      "the muster that takes it; unless said the one at http://127.0.0.1:9797, or the data folder");
  command->add_option(
      "--pages-from", options->pages_from_ms,
      "unix ms: nothing that opened before it pages; unless said the end of what is imported");
  command->add_flag("--no-wait", options->no_wait, "do not wait until it has learned");
  command->add_option("--config", options->flags.config,
                      "for the data folder: the YAML file that `serve` has");
  command
      ->add_option("--data-dir", options->flags.data_dir,
                   "for the data folder: where the private PostgreSQL lives")
      ->capture_default_str();
  command->callback([&run, options] { run = [options] { return import(*options); }; });
}

}  // namespace muster::app
