#include "bench/peers/load.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <snappy.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <protozero/pbf_writer.hpp>

#include "base/hash.hpp"

namespace muster::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* names[] = {"psi_drift",       "latency_seconds", "null_rate", "auc",
                                 "requests_total",  "prediction_mean", "queue_depth", "gpu_busy",
                                 "error_ratio",     "cache_hits"};

std::string metric_name(int metric) {
  return fmt::format("model_{}_{}", names[metric % 10], metric);
}

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

Wire::Wire(std::uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int yes = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  // Longer than any answer takes; a server that hangs ends the run and not the day.
  const timeval patience{60, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd_);
    throw std::runtime_error("nobody listens");
  }
}

Wire::~Wire() {
  ::close(fd_);
}

Wire::Answer Wire::get(std::string_view path) {
  return exchange(fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path), {});
}

Wire::Answer Wire::post(std::string_view path, std::string_view headers, std::string_view body) {
  return exchange(fmt::format("POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}Content-Length: {}\r\n\r\n",
                              path, headers, body.size()),
                  body);
}

Wire::Answer Wire::exchange(std::string_view head, std::string_view body) {
  iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                    {const_cast<char*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  for (std::size_t left = head.size() + body.size(); left > 0;) {
    const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n <= 0) throw std::runtime_error("the connection broke while sending");
    left -= static_cast<std::size_t>(n);
    for (std::size_t gone = static_cast<std::size_t>(n); gone > 0;) {
      iovec& first = message.msg_iov[0];
      const std::size_t take = std::min(gone, first.iov_len);
      first.iov_base = static_cast<char*>(first.iov_base) + take;
      first.iov_len -= take;
      gone -= take;
      if (first.iov_len == 0 && message.msg_iovlen > 1) {
        ++message.msg_iov;
        --message.msg_iovlen;
      }
    }
  }

  const auto more = [&] {
    char bytes[16384];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) throw std::runtime_error("the connection broke before the answer");
    in_.append(bytes, static_cast<std::size_t>(n));
  };
  std::size_t end;
  while ((end = in_.find("\r\n\r\n")) == in_.npos) more();
  std::string header = in_.substr(0, end + 2);
  in_.erase(0, end + 4);
  for (char& c : header)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');

  Answer answer;
  answer.status = std::atoi(header.c_str() + 9);
  if (header.find("transfer-encoding: chunked") != header.npos) {
    while (true) {
      std::size_t line;
      while ((line = in_.find("\r\n")) == in_.npos) more();
      const std::size_t size = std::strtoul(in_.c_str(), nullptr, 16);
      while (in_.size() < line + 2 + size + 2) more();
      answer.body.append(in_, line + 2, size);
      in_.erase(0, line + 2 + size + 2);
      if (size == 0) return answer;
    }
  }
  const std::size_t at = header.find("content-length:");
  const std::size_t size =
      at == header.npos ? 0 : std::strtoul(header.c_str() + at + 15, nullptr, 10);
  while (in_.size() < size) more();
  answer.body = in_.substr(0, size);
  in_.erase(0, size);
  return answer;
}

Fleet::Fleet(Shape shape) : shape_(std::move(shape)), shards_(shape_.connections) {
  for (int i = 0; i < shape_.series; ++i) {
    const int model = i / shape_.metrics;
    const std::pair<std::string, std::string> labels[] = {
        {"__name__", metric_name(i % shape_.metrics)},
        {"env", "production"},
        {"instance", fmt::format("10.{}.{}.{}:9090", model / 65536, model / 256 % 256, model % 256)},
        {"job", "model-serving"},
        {"model", fmt::format("{}ranker-{:05}", shape_.prefix, model)},
        {"region", fmt::format("region-{}", static_cast<char>('a' + model % 4))},
        {"team", fmt::format("team-{:02}", model % 17)},
        {"version", fmt::format("v{}", 1 + model % 9)}};
    std::string fields;
    protozero::pbf_writer series(fields);
    for (const auto& [name, value] : labels) {
      protozero::pbf_writer label(series, 1);
      label.add_string(1, name);
      label.add_string(2, value);
    }
    // As Prometheus spreads series over its shards: by a hash, so a model's scrape comes in pieces.
    shards_[hash64(fields) % shards_.size()].push_back(i);
    fields_.push_back(std::move(fields));
    next(i);
    values_.push_back(std::exp(static_cast<double>(random_ % 8000) / 1000 - 4));
  }
}

// A walk in small steps, with six digits as most programs write.
double Fleet::next(int i) {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  if (static_cast<std::size_t>(i) >= values_.size()) return 0;
  double& value = values_[i];
  value *= 1 + 0.02 * (static_cast<double>(random_ % 1000) / 1000 - 0.5);
  const double scale = std::pow(10.0, 5 - std::floor(std::log10(value)));
  return std::round(value * scale) / scale;
}

Requests Fleet::remote_write(std::int64_t begin_ms, std::int64_t step_ms, int rounds) {
  Requests out(shards_.size());
  for (int r = 0; r < rounds; ++r)
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
      const std::vector<int>& members = shards_[shard];
      for (std::size_t from = 0; from < members.size(); from += shape_.batch) {
        std::string request;
        protozero::pbf_writer message(request);
        const std::size_t to = std::min(members.size(), from + shape_.batch);
        for (std::size_t k = from; k < to; ++k) {
          std::string body = fields_[members[k]];
          protozero::pbf_writer series(body);
          {
            protozero::pbf_writer sample(series, 2);
            sample.add_double(1, next(members[k]));
            sample.add_int64(2, begin_ms + r * step_ms);
          }
          message.add_message(1, body);
        }
        std::string packed;
        snappy::Compress(request.data(), request.size(), &packed);
        out[shard].push_back(std::move(packed));
      }
    }
  return out;
}

Requests Fleet::lines(std::int64_t begin_ms, std::int64_t step_ms, int rounds, bool victoria) {
  Requests out(shards_.size());
  for (int r = 0; r < rounds; ++r)
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
      const std::vector<int>& members = shards_[shard];
      for (std::size_t from = 0; from < members.size(); from += shape_.batch) {
        std::string body;
        const std::size_t to = std::min(members.size(), from + shape_.batch);
        for (std::size_t k = from; k < to; ++k) {
          const int i = members[k], model = i / shape_.metrics;
          const std::int64_t ms = begin_ms + r * step_ms;
          const std::string name = metric_name(i % shape_.metrics);
          const char region = static_cast<char>('a' + model % 4);
          if (victoria) {
            body += fmt::format(
                R"({{"metric":{{"__name__":"{}","model":"{}ranker-{:05}","region":"region-{}","family":"family-{:02}","version":"v1"}},"values":[{}],"timestamps":[{}]}})"
                "\n",
                name, shape_.prefix, model, region, model % 17, next(i), ms);
          } else {
            body += fmt::format(
                R"({{"ts":{},"model":"{}ranker-{:05}","metric":"{}","value":{},"labels":{{"region":"region-{}","family":"family-{:02}","version":"v1"}}}})"
                "\n",
                ms, shape_.prefix, model, name, next(i), region, model % 17);
          }
        }
        out[shard].push_back(std::move(body));
      }
    }
  return out;
}

Sent send(std::uint16_t port, std::string_view path, std::string_view headers,
          const Requests& requests, double per_second) {
  Sent out;
  std::mutex mutex;
  std::exception_ptr failed;
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> threads;
  for (std::size_t c = 0; c < requests.size(); ++c)
    threads.emplace_back([&, c] {
      Sent own;
      try {
        Wire wire(port);
        for (std::size_t n = 0; n < requests[c].size(); ++n) {
          Clock::time_point due = Clock::now();
          if (per_second > 0) {
            const double at = static_cast<double>(n * requests.size() + c) / per_second;
            due = begin + std::chrono::microseconds(static_cast<std::int64_t>(at * 1e6));
            std::this_thread::sleep_until(due);
          }
          while (true) {
            const int status = wire.post(path, headers, requests[c][n]).status;
            if (status != 429 && status != 503) {
              own.refused += status / 100 != 2;
              break;
            }
            ++own.repeats;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
          }
          ++own.requests;
          own.latency_ms.push_back(1e3 * seconds_between(due, Clock::now()));
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        failed = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      out.requests += own.requests;
      out.refused += own.refused;
      out.repeats += own.repeats;
      out.latency_ms.insert(out.latency_ms.end(), own.latency_ms.begin(), own.latency_ms.end());
    });
  for (std::thread& thread : threads) thread.join();
  if (failed) std::rethrow_exception(failed);
  out.seconds = seconds_between(begin, Clock::now());
  return out;
}

}  // namespace muster::bench
