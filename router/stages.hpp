#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "router/decision.hpp"
#include "router/memory.hpp"
#include "router/settings.hpp"

namespace muster::router {

// A group whose time has come, on its way through the stages.
struct Draft {
  // What one integration would be told.
  struct Send {
    const Integration* integration = nullptr;
    std::uint32_t index = 0;  // its place in the receiver's list
    Reason reason = Reason::first_notification;
    std::set<std::string> firing;
    std::set<std::string> resolved;
    bool quiet = false;  // nothing goes out, but what it was told last is updated
  };

  const Group* group = nullptr;
  const Route* route = nullptr;
  const Receiver* receiver = nullptr;
  Timestamp at;                    // the tick; `now` may be a little later
  std::set<std::string> firing;    // identities of what may be told
  std::set<std::string> resolved;  // identities
  bool hold = false;               // nothing leaves the group: its ends are told later
  std::vector<Send> sends;
  std::vector<Decision> decisions;
};

struct Context {
  const Memory& memory;
  const Settings& settings;
  Timestamp now;
};

// A stage takes what the one before it left, and says why it kept or dropped each.
struct Stage {
  std::string_view name;
  Draft (*run)(Draft, const Context&);
};

Draft inhibit(Draft draft, const Context& context);
Draft active(Draft draft, const Context& context);
Draft mute(Draft draft, const Context& context);
Draft silence(Draft draft, const Context& context);
Draft dedup(Draft draft, const Context& context);
Draft ack(Draft draft, const Context& context);

// In this order. Alerts are routed and grouped when they come; these run when the group's time has come.
inline constexpr std::array stages{
    Stage{"inhibit", inhibit}, Stage{"active", active}, Stage{"mute", mute},
    Stage{"silence", silence}, Stage{"dedup", dedup},   Stage{"ack", ack},
};

}  // namespace muster::router
