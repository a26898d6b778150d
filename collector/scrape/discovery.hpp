#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "collector/scrape/dns.hpp"
#include "collector/scrape/settings.hpp"
#include "http/client.hpp"

namespace muster::scrape {

// What the discoveries of one job share. Lives on the I/O thread; stop() ends each of them soon.
struct Watch {
  // What a source gives from now on, or why that is not known: what it gave before then stays. A source is
  // "file:PATH", "dns:TYPE:NAME:PORT" or "http:URL".
  using Found = std::function<void(const std::string& source, Result<std::vector<TargetGroup>>)>;
  // A source that is no more.
  using Gone = std::function<void(const std::string& source)>;

  boost::asio::any_io_executor io;
  boost::asio::any_io_executor blocking;  // for files and names
  Found found;
  Gone gone;
  std::size_t list_bytes_max = 0;
  Duration file_poll{};
  DnsServer name_server;

  bool stopped = false;
  std::vector<std::shared_ptr<boost::asio::steady_timer>> timers;  // of those that wait
  std::vector<std::shared_ptr<http::Client>> clients;              // of those that ask
  void stop();
};
using WatchPtr = std::shared_ptr<Watch>;

// Each runs until watch->stopped.

// JSON and YAML files, looked at every file_poll and read again when one has changed: its time, size or inode.
boost::asio::awaitable<void> follow_files(WatchPtr watch, FileDiscovery discovery);
boost::asio::awaitable<void> follow_names(WatchPtr watch, DnsDiscovery discovery);
boost::asio::awaitable<void> follow_list(WatchPtr watch, HttpDiscovery discovery,
                                         std::shared_ptr<http::Client> client);

// The headers that HttpSettings stand for; reads the files of its secrets.
Result<http::Headers> request_headers(const HttpSettings& settings);

// Whether a file name is one of file_sd_configs: it ends in .json, .yml or .yaml.
bool is_list_file(std::string_view path);

}  // namespace muster::scrape
