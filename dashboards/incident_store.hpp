#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "schema/incident.hpp"

namespace muster::dashboards {

// Whether somebody has an incident in hand.
struct Attention {
  std::optional<Timestamp> acked_at;
  std::string acked_by;  // a role or a team
  friend bool operator==(const Attention&, const Attention&) = default;
};

struct Note {
  Timestamp ts;
  std::string by;
  std::string text;
};

// One notice on its way to one receiver, or there.
struct Delivery {
  Timestamp ts;
  std::string receiver;
  std::string channel;  // webhook, log, …
  std::string state;    // due, sending, delivered, failed, dropped
  std::string answer;   // what the other side said, or why not
};

struct IncidentLine {
  Incident incident;  // its series, timeline and suspects may be left out
  Attention attention;
};

struct IncidentRecord {
  Incident incident;
  Attention attention;
  std::vector<Note> notes;           // oldest first
  std::vector<Delivery> deliveries;  // oldest first
};

// What the incident pages ask of the store, and what people do there. Whoever implements it runs blocking
// calls on a pool of its own. A database that is away throws; the reader is told to try later.
class IncidentStore {
 public:
  virtual ~IncidentStore() = default;

  struct Query {
    std::optional<Incident::State> state;
    std::size_t limit = 50;
    std::string after;  // `next` of the page before; empty for the first
  };
  struct Lines {
    std::vector<IncidentLine> lines;  // newest first
    std::string next;                 // empty: there are no more
  };
  virtual boost::asio::awaitable<Lines> list(Query query) = 0;

  virtual boost::asio::awaitable<std::optional<IncidentRecord>> get(std::string id) = 0;

  enum class Act { ack, unack, resolve, note };
  struct Said {
    std::string incident;
    std::string by;
    std::string note;  // may be empty, except for Act::note
  };
  // What became of an act. Repeating one is harmless: an acknowledged incident keeps its first acknowledgement.
  struct Done {
    enum class State { done, unknown, refused };  // unknown: no such incident
    State state = State::done;
    Attention attention;  // as it stands now
    std::string why;      // refused: e.g. "it is resolved already"
  };
  virtual boost::asio::awaitable<Done> act(Act act, Said said) = 0;
};

}  // namespace muster::dashboards
