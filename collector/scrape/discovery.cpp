#include "collector/scrape/discovery.hpp"

#include <glob.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fstream>
#include <map>

#include "collector/scrape/elsewhere.hpp"
#include "collector/scrape/target_groups.hpp"

namespace muster::scrape {
namespace {

namespace asio = boost::asio;

// A secret is a token of some hundred bytes.
constexpr std::size_t secret_bytes_max = 64u << 10;

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

Result<std::string> text_of(const Secret& secret, const char* name) {
  if (secret.file.empty()) return secret.value;
  std::ifstream in(secret.file, std::ios::binary);
  std::string text(secret_bytes_max, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (!in.eof()) return Error{name, secret.file + " cannot be read"};
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

// A timer that stop() wakes; the coroutine keeps it.
class Pause {
 public:
  explicit Pause(WatchPtr watch)
      : watch_(std::move(watch)), timer_(std::make_shared<asio::steady_timer>(watch_->io)) {
    watch_->timers.push_back(timer_);
  }
  ~Pause() { std::erase(watch_->timers, timer_); }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

  asio::awaitable<void> wait(Duration time) {
    if (watch_->stopped) co_return;
    timer_->expires_after(time);
    boost::system::error_code ignored;
    co_await timer_->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }

 private:
  WatchPtr watch_;
  std::shared_ptr<asio::steady_timer> timer_;
};

// What tells a file from the one that was there before.
struct FileMark {
  std::int64_t seconds = 0, nanoseconds = 0, size = 0;
  ino_t inode = 0;
  friend bool operator==(const FileMark&, const FileMark&) = default;
};

std::map<std::string, FileMark> list_files(const std::vector<std::string>& patterns) {
  std::map<std::string, FileMark> files;
  for (const std::string& pattern : patterns) {
    glob_t found{};
    if (::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == 0) {
      for (std::size_t i = 0; i < found.gl_pathc; ++i) {
        struct stat is {};
        if (::stat(found.gl_pathv[i], &is) != 0 || !S_ISREG(is.st_mode)) continue;
        files[found.gl_pathv[i]] = {is.st_mtim.tv_sec, is.st_mtim.tv_nsec, is.st_size, is.st_ino};
      }
    }
    ::globfree(&found);
  }
  return files;
}

Result<std::vector<TargetGroup>> read_file(const std::string& path, std::size_t bytes_max) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error{path, "cannot be opened"};
  std::string text;
  std::string part(64u << 10, '\0');
  while (in.read(part.data(), static_cast<std::streamsize>(part.size())), in.gcount() > 0) {
    text.append(part.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > bytes_max)
      return Error{path, "larger than " + std::to_string(bytes_max) + " bytes"};
  }
  Result<std::vector<TargetGroup>> groups =
      path.ends_with(".json") ? groups_of_json(text) : groups_of_yaml(text);
  if (!groups) return Error{path, groups.error().where + ": " + groups.error().what};
  for (TargetGroup& group : *groups) decode::set_label(group.labels, "__meta_filepath", path);
  return groups;
}

}  // namespace

void Watch::stop() {
  stopped = true;
  for (const auto& one : timers) one->cancel();
  for (const auto& one : clients) one->cancel();
}

bool is_list_file(std::string_view path) {
  return path.ends_with(".json") || path.ends_with(".yml") || path.ends_with(".yaml");
}

Result<http::Headers> request_headers(const HttpSettings& settings) {
  http::Headers headers = settings.headers;
  if (!settings.username.empty()) {
    const Result<std::string> password = text_of(settings.password, "basic_auth");
    if (!password) return password.error();
    headers.emplace_back("Authorization", "Basic " + base64(settings.username + ':' + *password));
  } else if (!settings.credentials.empty()) {
    const Result<std::string> credentials = text_of(settings.credentials, "authorization");
    if (!credentials) return credentials.error();
    headers.emplace_back("Authorization", settings.authorization_type + ' ' + *credentials);
  }
  return headers;
}

asio::awaitable<void> follow_files(WatchPtr watch, FileDiscovery discovery) {
  Pause pause(watch);
  std::map<std::string, FileMark> known;
  const Duration poll = std::min(watch->file_poll, discovery.refresh_interval);
  while (!watch->stopped) {
    auto list = [files = discovery.files] { return list_files(files); };
    std::map<std::string, FileMark> now = co_await elsewhere(watch->blocking, list);
    for (const auto& [path, mark] : now) {
      if (watch->stopped) co_return;
      const auto before = known.find(path);
      if (before != known.end() && before->second == mark) continue;
      auto read = [name = path, most = watch->list_bytes_max] { return read_file(name, most); };
      Result<std::vector<TargetGroup>> groups = co_await elsewhere(watch->blocking, read);
      if (!watch->stopped) watch->found("file:" + path, std::move(groups));
    }
    for (const auto& [path, mark] : known)
      if (!now.contains(path) && !watch->stopped) watch->gone("file:" + path);
    known = std::move(now);
    co_await pause.wait(poll);
  }
}

asio::awaitable<void> follow_names(WatchPtr watch, DnsDiscovery discovery) {
  Pause pause(watch);
  while (!watch->stopped) {
    for (const std::string& name : discovery.names) {
      const char* type = discovery.type == DnsDiscovery::Type::srv ? "srv:"
                         : discovery.type == DnsDiscovery::Type::a ? "a:"
                                                                   : "aaaa:";
      const std::string source = "dns:" + (type + name) + ':' + std::to_string(discovery.port);
      auto ask = [name, kind = discovery.type, server = watch->name_server] {
        return look_up(name, kind, server);
      };
      const Result<std::vector<DnsAnswer>> answers = co_await elsewhere(watch->blocking, ask);
      if (watch->stopped) co_return;
      if (answers) {
        watch->found(source, groups_of_dns(name, discovery, *answers));
      } else {
        watch->found(source, answers.error());
      }
    }
    co_await pause.wait(discovery.refresh_interval);
  }
}

asio::awaitable<void> follow_list(WatchPtr watch, HttpDiscovery discovery,
                                  std::shared_ptr<http::Client> client) {
  Pause pause(watch);
  const std::string source = "http:" + discovery.url;
  while (!watch->stopped) {
    Result<http::Headers> headers = request_headers(discovery.http);
    Result<std::vector<TargetGroup>> groups = std::vector<TargetGroup>();
    if (!headers) {
      groups = headers.error();
    } else {
      http::Outgoing request;
      request.method = http::Method::get;
      request.url = discovery.url;
      request.headers = std::move(*headers);
      request.headers.emplace_back("Accept", "application/json");
      request.headers.emplace_back(
          "X-Prometheus-Refresh-Interval-Seconds",
          std::to_string(discovery.refresh_interval / std::chrono::seconds(1)));
      const Result<http::Response> answer = co_await client->send(std::move(request));
      if (!answer) {
        groups = answer.error();
      } else if (answer->status != 200) {
        groups = Error{discovery.url, "answered " + std::to_string(answer->status)};
      } else {
        groups = groups_of_json(answer->body);
      }
    }
    if (watch->stopped) co_return;
    if (groups) {
      for (TargetGroup& group : *groups)
        decode::set_label(group.labels, "__meta_url", discovery.url);
    }
    watch->found(source, std::move(groups));
    co_await pause.wait(discovery.refresh_interval);
  }
}

}  // namespace muster::scrape
