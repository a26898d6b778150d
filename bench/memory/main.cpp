// What a series costs the whole process: a running `muster serve` is sent a fleet by remote write, a few rounds of
// it, and its resident memory is read from its own /metrics before, between and after.
//
//   muster serve --data-dir D --listen 127.0.0.1:9797 &
//   bench_memory --port 9797 [--series 1000000] [--metrics 20] [--rounds 12] [--every 60]
//
// Rounds lie `--every` seconds apart in event time and end now. Values are noise about zero, so no series is held
// for a week as one that may turn to logarithms (164 bytes each while it lasts).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <snappy.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <protozero/pbf_writer.hpp>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::uint16_t port = 9797;
  std::uint32_t series = 1'000'000;
  std::uint32_t metrics = 20;  // a model
  std::uint32_t batch = 2'000;
  int rounds = 12;
  int every = 60;
};

// One connection on loopback; answers are read whole. Throws when the other side goes away.
class Connection {
 public:
  explicit Connection(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (socket_ < 0 || ::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error(fmt::format("nobody listens on 127.0.0.1:{}", port));
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer ask(const std::string& head, const std::string& body) {
    send(head);
    send(body);
    while (held_.find("\r\n\r\n") == std::string::npos) receive();
    const std::size_t end = held_.find("\r\n\r\n") + 4;
    const std::string top = held_.substr(0, end);
    held_.erase(0, end);
    Answer answer;
    answer.status = std::atoi(top.c_str() + 9);
    const std::size_t at = top.find("Content-Length: ");
    const std::size_t length =
        at == std::string::npos ? 0 : std::strtoull(top.c_str() + at + 16, nullptr, 10);
    while (held_.size() < length) receive();
    answer.body = held_.substr(0, length);
    held_.erase(0, length);
    return answer;
  }

 private:
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw std::runtime_error("the connection broke");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  void receive() {
    char block[65536];
    const ssize_t got = ::recv(socket_, block, sizeof block, 0);
    if (got <= 0) throw std::runtime_error("the connection was closed");
    held_.append(block, static_cast<std::size_t>(got));
  }

  int socket_;
  std::string held_;
};

double metric(Connection& connection, std::string_view name) {
  const auto answer = connection.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "");
  const std::size_t at = answer.body.find("\n" + std::string(name) + " ");
  return at == std::string::npos ? -1 : std::atof(answer.body.c_str() + at + name.size() + 2);
}

void add_label(protozero::pbf_writer& series, std::string_view name, std::string_view value) {
  protozero::pbf_writer label(series, 1);
  label.add_string(1, name.data(), name.size());
  label.add_string(2, value.data(), value.size());
}

std::string body_of(const Options& o, std::uint32_t first, std::int64_t ts_ms,
                    std::uint64_t& random) {
  std::string request;
  protozero::pbf_writer message(request);
  for (std::uint32_t i = first; i < std::min(o.series, first + o.batch); ++i) {
    const std::uint32_t model = i / o.metrics;
    protozero::pbf_writer series(message, 1);
    add_label(series, "__name__", fmt::format("model_metric_{}", i % o.metrics));
    add_label(series, "model", fmt::format("ranker-{:06}", model));
    add_label(series, "region", fmt::format("region-{}", model % 4));
    add_label(series, "team", fmt::format("team-{:02}", model % 17));
    add_label(series, "version", "v1");
    protozero::pbf_writer sample(series, 2);
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    sample.add_double(1, static_cast<double>(random >> 11) * 0x1p-53 - 0.5);
    sample.add_int64(2, ts_ms);
  }
  std::string packed;
  snappy::Compress(request.data(), request.size(), &packed);
  return packed;
}

void send_round(Connection& connection, const Options& o, std::int64_t ts_ms,
                std::uint64_t& random) {
  for (std::uint32_t first = 0; first < o.series; first += o.batch) {
    const std::string body = body_of(o, first, ts_ms, random);
    const std::string head = fmt::format(
        "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: "
        "{}\r\n\r\n",
        body.size());
    for (;;) {
      const auto answer = connection.ask(head, body);
      if (answer.status / 100 == 2) break;
      if (answer.status != 429 && answer.status != 503)
        throw std::runtime_error(fmt::format("{}: {}", answer.status, answer.body));
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  }
}

int run(const Options& o) {
  Connection connection(o.port);
  const auto resident = [&] { return metric(connection, "process_resident_memory_bytes"); };
  const double before = resident();
  fmt::print("before: {:.0f} MiB\n", before / 1048576);
  const std::int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                  std::chrono::system_clock::now().time_since_epoch())
                                  .count();
  std::uint64_t random = 88172645463325252ULL;
  for (int round = 0; round < o.rounds; ++round) {
    const std::int64_t ts = (now_ms / 1000 / o.every - (o.rounds - 1 - round)) * o.every * 1000;
    const auto begun = Clock::now();
    send_round(connection, o, ts, random);
    // What was sent is judged when all of it was taken in.
    const double sent = static_cast<double>(o.series) * (round + 1);
    while (metric(connection, "muster_aggregator_samples_total") < sent &&
           Clock::now() - begun < std::chrono::minutes(3))
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const double took = std::chrono::duration<double>(Clock::now() - begun).count();
    fmt::print(
        "round {:2}: {:5.1f} s, {:.0f} MiB, {:.0f} bytes a series, {:.0f} series, {:.0f} ticks\n",
        round + 1, took, resident() / 1048576, (resident() - before) / o.series,
        metric(connection, "muster_aggregator_series"),
        metric(connection, "muster_aggregator_ticks_total"));
    std::fflush(stdout);
  }
  std::this_thread::sleep_for(std::chrono::seconds(5));
  for (const char* name :
       {"muster_aggregator_seconds_total", "muster_aggregator_view_seconds_total",
        "muster_aggregator_views_total", "muster_aggregator_snapshots_total",
        "muster_aggregator_snapshot_seconds_total", "muster_aggregator_snapshot_bytes",
        "process_cpu_seconds_total"})
    fmt::print("{} {:.2f}\n", name, metric(connection, name));
  fmt::print("at rest: {:.0f} MiB, {:.0f} bytes a series beyond the start, {:.0f} in all\n",
             resident() / 1048576, (resident() - before) / o.series, resident() / o.series);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Resident memory of a running muster, a series."};
  app.add_option("--port", o.port, "of `muster serve` on loopback")->capture_default_str();
  app.add_option("--series", o.series)->capture_default_str();
  app.add_option("--metrics", o.metrics, "a model")->capture_default_str();
  app.add_option("--batch", o.batch, "series a request")->capture_default_str();
  app.add_option("--rounds", o.rounds)->capture_default_str();
  app.add_option("--every", o.every, "seconds between rounds, in event time")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& fault) {
    fmt::print(stderr, "bench_memory: {}\n", fault.what());
    return 1;
  }
}
