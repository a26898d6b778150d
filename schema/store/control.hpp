#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schema/event.hpp"
#include "schema/incident.hpp"
#include "schema/log.hpp"
#include "schema/notice.hpp"
#include "schema/topology.hpp"

namespace muster::store {

struct StoredTopology {
  std::int64_t version = 0;
  Timestamp applied_at;
  Topology topology;
};

// What an aggregator knew, and how far in the log it was then.
struct Snapshot {
  Timestamp at_tick;
  LogPositions positions;
  std::string state;  // bytes of the aggregator's own
};

// What the router remembers. `version` is 0 before the first one, and grows by one a change.
struct RouterMemory {
  std::int64_t version = 0;
  std::string bytes;
};

// A line of the router's decision log.
struct DecisionRow {
  Timestamp at;
  std::string stage;
  std::string subject_kind;
  std::string subject;
  std::string receiver;
  std::string integration;
  std::string verdict;
  std::string reason;
  std::vector<std::pair<std::string, std::string>> details;
};

// What a person did to an incident.
struct Action {
  enum class What { ack, unack, snooze, unsnooze, assign, resolve, note };
  What what = What::note;
  std::string incident;
  Timestamp at;
  std::string actor;
  std::string note;                // of all; the new owner for assign
  std::optional<Timestamp> until;  // of snooze
};

enum class Acted {
  done,
  already,  // it is acked (or closed) by the one who came first; nothing was changed
  unknown,  // no such incident
};

// One attempt to send a notice.
struct Delivery {
  std::int64_t outbox_id = 0;
  std::int32_t try_no = 1;  // OutboxRow::tries + 1; recording the same try twice changes nothing
  Timestamp at;
  bool delivered = false;
  std::string answer;                 // of the other side, or what went wrong
  std::optional<Timestamp> next_try;  // of one that was not delivered; nothing: it is given up
};

struct OutboxRow {
  std::int64_t id = 0;
  Notice notice;
  std::string state;  // due, sent, failed, superseded
  std::int32_t tries = 0;
  Timestamp next_try_at;
  std::string last_answer;
  std::optional<Timestamp> delivered_at;
  std::vector<Delivery> attempts;  // oldest first; filled by Control::incident alone
};

// What belongs into one transaction.
struct Changes {
  std::span<const Finding> findings;
  std::vector<Action> actions;
  std::vector<Delivery> deliveries;
  std::optional<RouterMemory> memory;  // with the version it has after this change
  std::vector<Notice> notices;
  std::vector<DecisionRow> decisions;
};

struct Applied {
  // The same step was committed before, though its answer was lost; nothing was changed now.
  bool repeated = false;
  std::vector<bool> fresh;   // of each finding: it was new
  std::vector<Acted> acted;  // of each action
  std::size_t notices = 0;   // that were new
};

// What people did, beside what the aggregator says.
struct IncidentRow {
  Incident incident;
  std::uint64_t sequence = 0;  // of the newest finding
  std::optional<Timestamp> acked_at;
  std::string acked_by;
  std::optional<Timestamp> snoozed_until;
  std::string assigned_to;
  std::optional<Timestamp> closed_at;
  std::string closed_by;
  bool closed_by_person = false;  // and it did not reopen since
};

struct FindingRow {
  std::uint64_t sequence = 0;
  Timestamp at;
  std::string what;
};

struct IncidentDetail {
  IncidentRow row;
  std::vector<FindingRow> findings;    // oldest first
  std::vector<Action> actions;         // oldest first
  std::vector<OutboxRow> notices;      // oldest first, with their attempts
  std::vector<DecisionRow> decisions;  // about the incident, the last 200, oldest first
};

struct IncidentFilter {
  // A page of a list; more are had by the cursor.
  static constexpr int limit_max = 500;

  std::optional<Incident::State> state;
  std::optional<Incident::Severity> severity;
  std::string model;  // among the affected
  std::string cause;
  std::string team;
  std::optional<Timestamp> since, until;  // of opened_at, half open
  std::string cursor;                     // IncidentPage::next of the page before
  int limit = 50;
};

struct IncidentPage {
  std::vector<IncidentRow> rows;  // newest first; without `affected`, `timeline` and `events`
  std::string next;               // empty: there is no more
};

struct OutboxDepth {
  std::uint64_t due = 0;
  std::uint64_t failed = 0;
  std::optional<Timestamp> oldest;  // creation of the oldest that is due
};

// Catalog and control: everything that is not samples. One connection, one thread at a time; it connects by
// itself when it has to. Every function throws Unavailable (nothing, or everything, of the call may have
// happened: call again with the same arguments, which changes nothing twice unless the function says so)
// or Rejected.
class Control {
 public:
  explicit Control(std::string dsn);
  ~Control();
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;

  // The id of a new incarnation of a collector, never used before. Called twice it uses up two.
  std::int64_t new_collector(const std::string& name);

  // Keeps a new version, unless it equals the last one; its version.
  std::int64_t save_topology(const Topology& topology, Timestamp now);
  std::optional<StoredTopology> load_topology();

  // How many were new; an event that is there already is the same event.
  std::size_t add_events(std::span<const Event> events);
  // Those that touch [from, until), newest first.
  std::vector<Event> events(Timestamp from, Timestamp until, int limit = 500);

  // Replaces the snapshot before the last one, in one transaction.
  void save_snapshot(const Snapshot& snapshot, const std::string& aggregator = "aggregator");
  // The same of a state that comes in pieces: `write` is given where to put them, in their order. How many bytes
  // they were.
  using Pieces = std::function<void(std::string_view)>;
  std::size_t save_snapshot(Timestamp at_tick, const LogPositions& positions,
                            const std::function<void(const Pieces&)>& write,
                            const std::string& aggregator = "aggregator");
  // The last one that can be read.
  std::optional<Snapshot> load_snapshot(const std::string& aggregator = "aggregator");
  // How far in the log every snapshot that load_snapshot may give had come: what lies behind is needed by none.
  LogPositions saved_positions(const std::string& aggregator = "aggregator");

  RouterMemory load_memory();
  // Those whose (incident, sequence) was not applied yet, in their order.
  std::vector<Finding> fresh_findings(std::span<const Finding> findings);
  // One transaction, all or nothing. Findings, deliveries and notices have keys and may come again; a memory
  // that is stored already tells that the whole step is. A memory whose predecessor is not the stored one is
  // Rejected: another router is at work.
  Applied apply(const Changes& changes);
  // One action by itself. Repeated it is written to the history twice.
  Acted act(const Action& action);

  // Notices whose time has come, oldest first, those past their expiry too: the caller gives them up. While
  // one of a (group, target) is being sent, the caller sends no other of it.
  std::vector<OutboxRow> due_outbox(Timestamp now, int limit = 100);
  void record(const Delivery& delivery);
  OutboxDepth outbox_depth();
  // When the next one is due, if any.
  std::optional<Timestamp> next_due();
  // The ledger: incidents of which somebody was told since then.
  std::uint32_t pages_sent(Timestamp since);

  IncidentPage incidents(const IncidentFilter& filter);
  std::optional<IncidentDetail> incident(std::string_view id);

  // Forgets decisions and finished notices older than that. Incidents stay.
  void prune(Timestamp before);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string_view to_word(Action::What what);
std::optional<Action::What> action_of(std::string_view word);

}  // namespace muster::store
