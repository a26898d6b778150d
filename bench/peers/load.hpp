#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The sender: requests made beforehand, over plain sockets, the same for every server.
namespace muster::bench {

// One HTTP/1.1 connection that waits for each answer. Throws when it breaks.
class Wire {
 public:
  explicit Wire(std::uint16_t port);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  struct Answer {
    int status = 0;
    std::string body;
  };
  Answer get(std::string_view path);
  Answer post(std::string_view path, std::string_view headers, std::string_view body);

 private:
  Answer exchange(std::string_view head, std::string_view body);

  int fd_ = -1;
  std::string in_;
};

struct Shape {
  int series = 100'000;
  int metrics = 20;     // a model
  int batch = 2'000;    // samples of a request
  int connections = 4;  // each has its share of the series, as Prometheus's shards have
  std::string prefix;   // of the models' names; another one makes other series
};

// Requests of a load, for each connection in the order in which it sends them.
using Requests = std::vector<std::vector<std::string>>;

class Fleet {
 public:
  explicit Fleet(Shape shape);

  // One sample of each series for every instant begin_ms + r * step_ms, r in [0, rounds).
  Requests remote_write(std::int64_t begin_ms, std::int64_t step_ms, int rounds);
  // The same as NDJSON, or as the JSON lines that VictoriaMetrics imports: a sample a line.
  Requests lines(std::int64_t begin_ms, std::int64_t step_ms, int rounds, bool victoria);

  const Shape& shape() const { return shape_; }

 private:
  double next(int i);

  Shape shape_;
  std::uint64_t random_ = 88172645463325252ULL;
  std::vector<std::string> fields_;  // protobuf label fields
  std::vector<double> values_;
  std::vector<std::vector<int>> shards_;
};

struct Sent {
  double seconds = 0;
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;  // answers other than 2xx, after which the request was given up
  std::uint64_t repeats = 0;  // 429 and 503, after which it was sent again
  std::vector<double> latency_ms;  // of each request; paced: from the time it was due
};

// Sends all of it, a thread a connection, as fast as it is answered; `per_second` requests in all when it is
// not 0.
Sent send(std::uint16_t port, std::string_view path, std::string_view headers,
          const Requests& requests, double per_second = 0);

inline constexpr std::string_view remote_write_headers =
    "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
    "X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: Prometheus/2.42.0\r\n";

}  // namespace muster::bench
