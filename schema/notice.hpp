#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schema/time.hpp"

namespace muster {

// A message to one integration of one receiver, as it waits in the outbox. It is written in the
// transaction of the router's memory, and is ready to send: a sender needs nothing but it and the
// integration's settings.
//
// Rules of the outbox: `key` is unique, so a step that is done twice sends once. Within (group,
// target) at most one is being sent, in order of `sequence`, and a newer one makes those still
// queued obsolete: it carries the whole group.
struct Notice {
  // notice: something fires. resolved: all of it is over.
  enum class Kind { notice, resolved };

  std::string key;       // sha256 hex, the same whenever the same notice is sent again
  std::string group;     // the router's group key
  std::string incident;  // empty when the group is not of one incident
  std::string receiver;
  std::uint32_t integration =
      0;                // its place among the receiver's integrations when this was decided
  std::string channel;  // webhook, log
  std::string target;   // who the integration is, whatever its place; holds no secret
  Kind kind = Kind::notice;
  std::uint64_t sequence = 1;  // grows within (group, target)
  std::string reason;          // why it is sent, a word of the decision log

  Timestamp at;          // when it was decided
  Timestamp not_before;  // earliest sending
  Timestamp expires_at;  // no attempt after it

  std::string body;  // the webhook payload, JSON
  std::string text;  // the same in one line, for logs and short messages
  friend bool operator==(const Notice&, const Notice&) = default;
};

constexpr std::string_view to_word(Notice::Kind kind) {
  return kind == Notice::Kind::notice ? "notice" : "resolved";
}

}  // namespace muster
