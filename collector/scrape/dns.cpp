#include "collector/scrape/dns.hpp"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>

namespace muster::scrape {
namespace {

// A resolver of our own: the process's has no time limits that are ours to set.
class Resolver {
 public:
  explicit Resolver(const DnsServer& server) {
    good_ = res_ninit(&state_) == 0;
    // Each server is asked twice, for one and then two seconds.
    state_.retrans = 1;
    state_.retry = 2;
    if (server.address.empty()) return;
    state_.nscount = 1;
    state_.nsaddr_list[0] = {};
    state_.nsaddr_list[0].sin_family = AF_INET;
    state_.nsaddr_list[0].sin_port = htons(server.port);
    good_ =
        good_ && inet_pton(AF_INET, server.address.c_str(), &state_.nsaddr_list[0].sin_addr) == 1;
  }
  ~Resolver() { res_nclose(&state_); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  bool good() const { return good_; }
  res_state state() { return &state_; }

 private:
  struct __res_state state_ {};
  bool good_ = false;
};

constexpr std::size_t answers_max = 4096;

}  // namespace

Result<std::vector<DnsAnswer>> look_up(const std::string& name, DnsDiscovery::Type type,
                                       const DnsServer& server) {
  Resolver resolver(server);
  if (!resolver.good()) return Error{name, "the resolver cannot start; see /etc/resolv.conf"};
  const ns_type wanted = type == DnsDiscovery::Type::srv ? ns_t_srv
                         : type == DnsDiscovery::Type::a ? ns_t_a
                                                         : ns_t_aaaa;
  std::vector<unsigned char> bytes(64u << 10);
  const int length = res_nsearch(resolver.state(), name.c_str(), ns_c_in, wanted, bytes.data(),
                                 static_cast<int>(bytes.size()));
  if (length < 0) {
    switch (resolver.state()->res_h_errno) {
      case NO_DATA:
      case HOST_NOT_FOUND:
        // It was answered: there is nothing under the name.
        return std::vector<DnsAnswer>();
      default:
        return Error{name, "no name server answered (DNS): " +
                               std::string(hstrerror(resolver.state()->res_h_errno))};
    }
  }

  ns_msg message;
  if (ns_initparse(bytes.data(), std::min<int>(length, static_cast<int>(bytes.size())), &message) !=
      0)
    return Error{name, "the name server's answer cannot be read"};
  std::vector<DnsAnswer> answers;
  for (int i = 0; i < ns_msg_count(message, ns_s_an) && answers.size() < answers_max; ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0)
      return Error{name, "the name server's answer cannot be read"};
    if (ns_rr_type(record) != wanted) continue;  // a CNAME on the way
    const unsigned char* const data = ns_rr_rdata(record);
    const std::size_t size = ns_rr_rdlen(record);
    if (wanted == ns_t_srv) {
      // Priority, weight, port, name.
      std::array<char, NS_MAXDNAME> host{};
      if (size < 7 || dn_expand(ns_msg_base(message), ns_msg_end(message), data + 6, host.data(),
                                static_cast<int>(host.size())) < 0)
        return Error{name, "the name server's SRV record cannot be read"};
      answers.push_back({host.data(), static_cast<std::uint16_t>(ns_get16(data + 4))});
    } else {
      const bool v4 = wanted == ns_t_a;
      std::array<char, INET6_ADDRSTRLEN> host{};
      if (size != (v4 ? 4u : 16u) ||
          inet_ntop(v4 ? AF_INET : AF_INET6, data, host.data(), host.size()) == nullptr)
        return Error{name, "the name server's address record cannot be read"};
      answers.push_back({host.data(), 0});
    }
  }
  return answers;
}

std::vector<TargetGroup> groups_of_dns(const std::string& name, const DnsDiscovery& discovery,
                                       const std::vector<DnsAnswer>& answers) {
  std::vector<TargetGroup> groups;
  for (const DnsAnswer& answer : answers) {
    TargetGroup group;
    decode::set_label(group.labels, "__meta_dns_name", name);
    const bool srv = discovery.type == DnsDiscovery::Type::srv;
    if (srv) {
      decode::set_label(group.labels, "__meta_dns_srv_record_target", answer.host + '.');
      decode::set_label(group.labels, "__meta_dns_srv_record_port", std::to_string(answer.port));
    }
    const bool brackets = answer.host.find(':') != answer.host.npos;
    group.targets.push_back((brackets ? '[' + answer.host + ']' : answer.host) + ':' +
                            std::to_string(srv ? answer.port : discovery.port));
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace muster::scrape
