#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "collector/scrape/settings.hpp"

namespace muster::scrape {

struct DnsServer {
  std::string address;  // IPv4; empty: those of /etc/resolv.conf
  std::uint16_t port = 53;
};

// What a name stands for: addresses, or host names with ports. Asks name servers only, as Prometheus does, with
// the search list of /etc/resolv.conf. Blocks for some 5 s at most when none answers.
struct DnsAnswer {
  std::string host;  // without a closing dot
  std::uint16_t port = 0;
};
Result<std::vector<DnsAnswer>> look_up(const std::string& name, DnsDiscovery::Type type,
                                       const DnsServer& server = {});

// The targets that the answers are, with __meta_dns_….
std::vector<TargetGroup> groups_of_dns(const std::string& name, const DnsDiscovery& discovery,
                                       const std::vector<DnsAnswer>& answers);

}  // namespace muster::scrape
