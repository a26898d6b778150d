#include "schema/store/control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <array>
#include <boost/json.hpp>
#include <cassert>
#include <chrono>

#include "base/hash.hpp"
#include "base/log.hpp"
#include "schema/json.hpp"
#include "schema/store/control_connection.hpp"

namespace muster::store {
namespace {

namespace json = boost::json;

constexpr const char* router = "router";
// Parts of a snapshot's state: small beside the limit of a value, large beside the cost of a row.
constexpr std::size_t part_bytes = 4 << 20;

constexpr std::array action_words{std::pair{Action::What::ack, std::string_view("ack")},
                                  std::pair{Action::What::unack, std::string_view("unack")},
                                  std::pair{Action::What::snooze, std::string_view("snooze")},
                                  std::pair{Action::What::unsnooze, std::string_view("unsnooze")},
                                  std::pair{Action::What::assign, std::string_view("assign")},
                                  std::pair{Action::What::resolve, std::string_view("resolve")},
                                  std::pair{Action::What::note, std::string_view("note")}};

// PostgreSQL takes neither a zero byte nor broken UTF-8. Both become U+FFFD: one odd name of a model must
// not keep an incident from being stored.
std::string clean(std::string_view text) {
  constexpr std::string_view replacement = "\xef\xbf\xbd";
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c != 0 && c < 0x80) {
      out += text[i++];
      continue;
    }
    const std::size_t length = c >= 0xc2 && c <= 0xdf   ? 2
                               : (c & 0xf0) == 0xe0     ? 3
                               : c >= 0xf0 && c <= 0xf4 ? 4
                                                        : 0;
    bool good = length != 0 && i + length <= text.size();
    for (std::size_t k = 1; good && k < length; ++k)
      good = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    if (good && length > 2) {
      const auto second = static_cast<unsigned char>(text[i + 1]);
      // Longer than need be, a surrogate, or beyond U+10FFFF.
      if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
          (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f)) {
        good = false;
      }
    }
    if (good) {
      out += text.substr(i, length);
      i += length;
    } else {
      out += replacement;
      ++i;
    }
  }
  return out;
}

// The same for JSON, where a zero byte may stand as an escape, which jsonb does not take either.
std::string clean_json(std::string_view text) {
  std::string out = clean(text);
  for (std::size_t i = 0; i + 1 < out.size(); ++i) {
    if (out[i] != '\\') continue;
    if (out.compare(i, 6, "\\u0000") == 0) out.replace(i + 2, 4, "fffd");
    ++i;  // whatever is escaped is no escape itself
  }
  return out;
}

// PostgreSQL's own bounds; nothing sensible lies outside.
std::string sql(Timestamp t) {
  using namespace std::chrono;
  constexpr std::int64_t day_us = 86'400'000'000;
  constexpr auto least = sys_days(year(1) / 1 / 1).time_since_epoch().count() * day_us;
  constexpr auto most = sys_days(year(32'000) / 1 / 1).time_since_epoch().count() * day_us;
  const std::int64_t us = std::clamp<std::int64_t>(t.us, least, most);
  const auto at = sys_time<microseconds>(microseconds(us));
  const year_month_day day{floor<days>(at)};
  const std::int64_t rest = (at - floor<days>(at)).count();
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00", static_cast<int>(day.year()),
                     static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()),
                     rest / 3'600'000'000, rest / 60'000'000 % 60, rest / 1'000'000 % 60,
                     rest % 1'000'000);
}

// A text that may be NULL, for as long as the statement.
struct Maybe {
  explicit Maybe(std::optional<std::string> t) : text(std::move(t)) {}
  explicit Maybe(std::optional<Timestamp> t) {
    if (t) text = sql(*t);
  }
  const char* get() const { return text ? text->c_str() : nullptr; }
  std::optional<std::string> text;
};

// Reads a column of the form `us(x)`.
std::string us(const char* column) {
  return fmt::format("(extract(epoch FROM {}) * 1000000)::bigint", column);
}
Timestamp instant(const pqxx::field& f) {
  return {f.as<std::int64_t>()};
}
std::optional<Timestamp> maybe_instant(const pqxx::field& f) {
  if (f.is_null()) return std::nullopt;
  return instant(f);
}
std::string text(const pqxx::field& f) {
  return f.is_null() ? "" : f.as<std::string>();
}

pqxx::binarystring bytes(std::string_view from) {
  return pqxx::binarystring(from.data(), from.size());
}
std::string bytes_of(const pqxx::field& f) {
  return pqxx::binarystring(f).str();
}

template <class T>
T parsed(Result<T> result, const std::string& what) {
  if (!result)
    throw Rejected("22000",
                   what + " cannot be read: " + result.error().where + ": " + result.error().what);
  return std::move(result).value();
}

std::string positions_json(const LogPositions& positions) {
  json::array all;
  for (const LogPosition& p : positions) all.push_back(json::array{p.shard, p.collector, p.batch});
  return json::serialize(all);
}

LogPositions positions_of(const std::string& from) {
  LogPositions all;
  const json::value read = json::parse(from);
  for (const json::value& v : read.as_array()) {
    const json::array& p = v.as_array();
    all.push_back({p.at(0).to_number<std::int32_t>(), p.at(1).to_number<std::int64_t>(),
                   p.at(2).to_number<std::int64_t>()});
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::string outbox_columns() {
  return "outbox_id, idempotency_key, group_key, coalesce(incident_id, ''), receiver, integration, "
         "channel, target, "
         "kind, sequence, reason, body, line, state, tries, last_answer, " +
         us("created_at") + ", " + us("next_try_at") + ", " + us("expires_at") + ", " +
         us("delivered_at");
}

OutboxRow outbox_row(const pqxx::row& r) {
  OutboxRow row;
  Notice& n = row.notice;
  row.id = r[0].as<std::int64_t>();
  n.key = text(r[1]);
  n.group = text(r[2]);
  n.incident = text(r[3]);
  n.receiver = text(r[4]);
  n.integration = r[5].as<std::uint32_t>();
  n.channel = text(r[6]);
  n.target = text(r[7]);
  n.kind = text(r[8]) == "notice" ? Notice::Kind::notice : Notice::Kind::resolved;
  n.sequence = r[9].as<std::uint64_t>();
  n.reason = text(r[10]);
  n.body = text(r[11]);
  n.text = text(r[12]);
  row.state = text(r[13]);
  row.tries = r[14].as<std::int32_t>();
  row.last_answer = text(r[15]);
  n.at = instant(r[16]);
  row.next_try_at = n.not_before = instant(r[17]);
  n.expires_at = instant(r[18]);
  row.delivered_at = maybe_instant(r[19]);
  return row;
}

constexpr int human_columns = 9;
std::string incident_columns(const char* doc) {
  return fmt::format(
      "{}, sequence, {}, acked_by, {}, assigned_to, {}, closed_by, "
      "coalesce(closed_at_sequence >= reopened_at_sequence, false)",
      doc, us("acked_at"), us("snoozed_until"), us("closed_at"));
}

IncidentRow incident_row(const pqxx::row& r) {
  IncidentRow row;
  row.incident = parsed(parse_incident(r[0].c_str()), "an incident");
  row.sequence = r[1].as<std::uint64_t>();
  row.acked_at = maybe_instant(r[2]);
  row.acked_by = text(r[3]);
  row.snoozed_until = maybe_instant(r[4]);
  row.assigned_to = text(r[5]);
  row.closed_at = maybe_instant(r[6]);
  row.closed_by = text(r[7]);
  row.closed_by_person = r[8].as<bool>();
  return row;
}

bool apply_finding(pqxx::work& t, const Finding& f) {
  const Incident& i = f.incident;
  const bool opens = f.what == Finding::What::opened || f.what == Finding::What::reopened;
  const auto sequence = static_cast<std::int64_t>(f.sequence);
  t.exec_params(
      "INSERT INTO incident AS i (incident_id, sequence, state, severity, paged, cause, "
      "cause_kind, team, title, score, "
      "  opened_at, started_at, updated_at, resolved_at, merged_into, reopened_at_sequence, doc) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) "
      "ON CONFLICT ON CONSTRAINT incident_pk DO UPDATE SET sequence = excluded.sequence, state = "
      "excluded.state, "
      "  severity = excluded.severity, paged = excluded.paged, cause = excluded.cause, cause_kind "
      "= excluded.cause_kind, "
      "  team = excluded.team, title = excluded.title, score = excluded.score, opened_at = "
      "excluded.opened_at, "
      "  started_at = excluded.started_at, updated_at = excluded.updated_at, resolved_at = "
      "excluded.resolved_at, "
      "  merged_into = excluded.merged_into, doc = excluded.doc, "
      "  reopened_at_sequence = greatest(i.reopened_at_sequence, excluded.reopened_at_sequence) "
      "WHERE i.sequence < excluded.sequence",
      clean(i.id), sequence, std::string(to_word(i.state)), std::string(to_word(i.severity)),
      i.paged, clean(i.cause), clean(i.cause_kind), clean(i.team), clean(i.title), i.score,
      sql(i.opened_at), sql(i.started_at), sql(i.updated_at), Maybe(i.resolved_at).get(),
      clean(i.merged_into), opens ? sequence : std::int64_t{0}, clean_json(to_json(i)));
  return t.exec_params(
              "INSERT INTO incident_finding (incident_id, sequence, at, what, doc) VALUES ($1, $2, "
              "$3, $4, $5) "
              "ON CONFLICT ON CONSTRAINT incident_finding_pk DO NOTHING",
              clean(i.id), sequence, sql(f.at), std::string(to_word(f.what)),
              clean_json(json::serialize(json_of_summary(i))))
             .affected_rows() > 0;
}

Acted apply_action(pqxx::work& t, const Action& a) {
  const std::string id = clean(a.incident), actor = clean(a.actor), at = sql(a.at);
  if (t.exec_params("SELECT FROM incident WHERE incident_id = $1 FOR UPDATE", id).empty())
    return Acted::unknown;

  pqxx::result changed;
  bool first_wins = false;
  switch (a.what) {
    case Action::What::ack:
      first_wins = true;
      changed = t.exec_params(
          "UPDATE incident SET acked_at = $2, acked_by = $3 WHERE incident_id = $1 AND acked_at IS "
          "NULL",
          id, at, actor);
      break;
    case Action::What::unack:
      first_wins = true;
      changed = t.exec_params(
          "UPDATE incident SET acked_at = NULL, acked_by = NULL WHERE incident_id = $1 AND "
          "acked_at IS NOT NULL",
          id);
      break;
    case Action::What::snooze:
      changed = t.exec_params("UPDATE incident SET snoozed_until = $2 WHERE incident_id = $1", id,
                              Maybe(a.until).get());
      break;
    case Action::What::unsnooze:
      changed =
          t.exec_params("UPDATE incident SET snoozed_until = NULL WHERE incident_id = $1", id);
      break;
    case Action::What::assign:
      changed =
          t.exec_params("UPDATE incident SET assigned_to = NULLIF($2, '') WHERE incident_id = $1",
                        id, clean(a.note));
      break;
    case Action::What::resolve:
      first_wins = true;
      changed = t.exec_params(
          "UPDATE incident SET closed_at = $2, closed_by = $3, closed_at_sequence = sequence WHERE "
          "incident_id = $1 "
          "AND (closed_at IS NULL OR closed_at_sequence < reopened_at_sequence)",
          id, at, actor);
      break;
    case Action::What::note:
      break;
  }
  if (first_wins && changed.affected_rows() == 0) return Acted::already;
  t.exec_params(
      "INSERT INTO incident_action (incident_id, at, actor, what, note) VALUES ($1, $2, $3, $4, "
      "$5)",
      id, at, actor, std::string(to_word(a.what)), clean(a.note));
  return Acted::done;
}

void apply_delivery(pqxx::work& t, const Delivery& d) {
  const std::string answer = clean(d.answer), at = sql(d.at);
  const bool fresh = t.exec_params(
                          "INSERT INTO delivery_try (outbox_id, try_no, at, delivered, answer) "
                          "VALUES ($1, $2, $3, $4, $5) "
                          "ON CONFLICT ON CONSTRAINT delivery_try_pk DO NOTHING",
                          d.outbox_id, d.try_no, at, d.delivered, answer)
                         .affected_rows() > 0;
  if (!fresh) return;
  if (d.delivered) {
    t.exec_params(
        "UPDATE outbox SET state = 'sent', tries = greatest(tries, $2), last_answer = $3, "
        "delivered_at = $4 "
        "WHERE outbox_id = $1 AND state <> 'sent'",
        d.outbox_id, d.try_no, answer, at);
  } else {
    // One that was superseded meanwhile stays so: it is not tried again.
    t.exec_params(
        "UPDATE outbox SET state = CASE WHEN state = 'due' AND $4::timestamptz IS NULL THEN "
        "'failed' ELSE state END, "
        "  next_try_at = coalesce($4::timestamptz, next_try_at), tries = greatest(tries, $2), "
        "last_answer = $3 "
        "WHERE outbox_id = $1 AND state <> 'sent'",
        d.outbox_id, d.try_no, answer, Maybe(d.next_try).get());
  }
}

bool apply_notice(pqxx::work& t, const Notice& n) {
  const std::string group = clean(n.group), target = clean(n.target);
  const auto sequence = static_cast<std::int64_t>(n.sequence);
  const bool fresh =
      t.exec_params(
           "INSERT INTO outbox (idempotency_key, group_key, incident_id, receiver, integration, "
           "channel, target, kind, "
           "  sequence, reason, body, line, created_at, next_try_at, expires_at) "
           "VALUES ($1, $2, NULLIF($3, ''), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) "
           "ON CONFLICT ON CONSTRAINT outbox_once DO NOTHING",
           clean(n.key), group, clean(n.incident), clean(n.receiver),
           static_cast<std::int32_t>(n.integration), clean(n.channel), target,
           std::string(to_word(n.kind)), sequence, clean(n.reason), clean(n.body), clean(n.text),
           sql(n.at), sql(n.not_before), sql(n.expires_at))
          .affected_rows() > 0;
  if (fresh) {
    t.exec_params(
        "UPDATE outbox SET state = 'superseded' WHERE group_key = $1 AND target = $2 AND state = "
        "'due' "
        "AND sequence < $3",
        group, target, sequence);
  }
  return fresh;
}

void apply_decision(pqxx::work& t, const DecisionRow& d) {
  json::object details;
  for (const auto& [key, value] : d.details) details[key] = value;
  t.exec_params(
      "INSERT INTO decision (at, stage, subject_kind, subject, receiver, integration, verdict, "
      "reason, details) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
      sql(d.at), clean(d.stage), clean(d.subject_kind), clean(d.subject), clean(d.receiver),
      clean(d.integration), clean(d.verdict), clean(d.reason),
      clean_json(json::serialize(details)));
}

}  // namespace

std::string_view to_word(Action::What what) {
  for (const auto& [value, word] : action_words) {
    if (value == what) return word;
  }
  return "";
}

std::optional<Action::What> action_of(std::string_view from) {
  for (const auto& [value, word] : action_words) {
    if (word == from) return value;
  }
  return std::nullopt;
}

struct Control::State {
  std::string dsn;
  std::unique_ptr<pqxx::connection> connection;

  // Runs `work` in one transaction, and forgets the connection when it is no longer good.
  template <class Work>
  auto in_transaction(Work&& work) {
    if (!connection) {
      ConnectOptions options;
      options.application_name = "muster control";
      connection = connect_control(dsn, options);
    }
    try {
      return translated(*connection, [&] {
        pqxx::work t(*connection);
        auto result = work(t);
        t.commit();
        return result;
      });
    } catch (const Unavailable&) {
      connection.reset();
      throw;
    }
  }
};

Control::Control(std::string dsn) : state_(std::make_unique<State>()) {
  state_->dsn = std::move(dsn);
}
Control::~Control() = default;

std::int64_t Control::new_collector(const std::string& name) {
  return state_->in_transaction([&](pqxx::work& t) {
    return t
        .exec_params("INSERT INTO collector_incarnation (name) VALUES ($1) RETURNING collector_id",
                     clean(name))
        .front()[0]
        .as<std::int64_t>();
  });
}

std::int64_t Control::save_topology(const Topology& topology, Timestamp now) {
  return state_->in_transaction([&](pqxx::work& t) {
    const std::string doc = clean_json(to_json(topology));
    const auto same = t.exec_params(
        "SELECT version FROM (SELECT version, doc FROM topology ORDER BY version DESC LIMIT 1) l "
        "WHERE l.doc = $1::jsonb",
        doc);
    if (!same.empty()) return same.front()[0].as<std::int64_t>();
    return t
        .exec_params("INSERT INTO topology (applied_at, doc) VALUES ($1, $2) RETURNING version",
                     sql(now), doc)
        .front()[0]
        .as<std::int64_t>();
  });
}

std::optional<StoredTopology> Control::load_topology() {
  return state_->in_transaction([&](pqxx::work& t) -> std::optional<StoredTopology> {
    const auto rows = t.exec("SELECT version, " + us("applied_at") +
                             ", doc FROM topology ORDER BY version DESC LIMIT 1");
    if (rows.empty()) return std::nullopt;
    const auto row = rows.front();
    return StoredTopology{row[0].as<std::int64_t>(), instant(row[1]),
                          parsed(parse_topology(row[2].c_str()), "the stored topology")};
  });
}

std::size_t Control::add_events(std::span<const Event> events) {
  return state_->in_transaction([&](pqxx::work& t) {
    std::size_t fresh = 0;
    for (const Event& e : events) {
      fresh += t.exec_params(
                    "INSERT INTO event (event_id, ts, until_ts, kind, subject, title) VALUES ($1, "
                    "$2, $3, $4, $5, $6) "
                    "ON CONFLICT ON CONSTRAINT event_pk DO NOTHING",
                    hash63(to_json(e)), sql(e.ts), Maybe(e.until).get(), clean(e.kind),
                    clean(e.subject), clean(e.title))
                   .affected_rows();
    }
    return fresh;
  });
}

std::vector<Event> Control::events(Timestamp from, Timestamp until, int limit) {
  return state_->in_transaction([&](pqxx::work& t) {
    std::vector<Event> all;
    for (const auto& row : t.exec_params(
             "SELECT " + us("ts") + ", " + us("until_ts") +
                 ", kind, subject, title FROM event WHERE ts < $2 AND coalesce(until_ts, ts) >= $1 "
                 "ORDER BY ts DESC, event_id LIMIT $3",
             sql(from), sql(until), limit)) {
      all.push_back(
          {instant(row[0]), maybe_instant(row[1]), text(row[2]), text(row[3]), text(row[4])});
    }
    return all;
  });
}

void Control::save_snapshot(const Snapshot& snapshot, const std::string& aggregator) {
  const auto write = [&](const Pieces& put) { put(snapshot.state); };
  save_snapshot(snapshot.at_tick, snapshot.positions, write, aggregator);
}

std::size_t Control::save_snapshot(Timestamp at_tick, const LogPositions& positions,
                                   const std::function<void(const Pieces&)>& write,
                                   const std::string& aggregator) {
  return state_->in_transaction([&](pqxx::work& t) {
    const auto last = t.exec_params(
        "SELECT slot, sequence FROM aggregator_snapshot WHERE aggregator = $1 "
        "ORDER BY sequence DESC LIMIT 1 FOR UPDATE",
        aggregator);
    const int slot = last.empty() ? 0 : 1 - last.front()[0].as<int>();
    const std::int64_t sequence = last.empty() ? 1 : last.front()[1].as<std::int64_t>() + 1;
    t.exec_params("DELETE FROM aggregator_snapshot WHERE aggregator = $1 AND slot = $2", aggregator,
                  slot);
    // How much it is, and its checksum, are known at the end.
    t.exec_params(
        "INSERT INTO aggregator_snapshot (aggregator, slot, sequence, at_tick, positions, bytes, "
        "checksum) "
        "VALUES ($1, $2, $3, $4, $5, 0, 0)",
        aggregator, slot, sequence, sql(at_tick), positions_json(positions));
    Hasher hasher;
    std::string part;
    std::size_t parts = 0;
    std::size_t total = 0;
    const auto flush = [&] {
      if (part.empty()) return;
      t.exec_params(
          "INSERT INTO aggregator_state (aggregator, slot, part, bytes) VALUES ($1, $2, $3, $4)",
          aggregator, slot, parts++, bytes(part));
      part.clear();
    };
    write([&](std::string_view piece) {
      hasher.add(piece);
      total += piece.size();
      while (!piece.empty()) {
        const std::size_t room = std::min(part_bytes - part.size(), piece.size());
        part += piece.substr(0, room);
        piece.remove_prefix(room);
        if (part.size() == part_bytes) flush();
      }
    });
    flush();
    t.exec_params(
        "UPDATE aggregator_snapshot SET bytes = $3, checksum = $4 "
        "WHERE aggregator = $1 AND slot = $2",
        aggregator, slot, total, hasher.hash63());
    return total;
  });
}

std::optional<Snapshot> Control::load_snapshot(const std::string& aggregator) {
  return state_->in_transaction([&](pqxx::work& t) -> std::optional<Snapshot> {
    for (const auto& row :
         t.exec_params("SELECT slot, sequence, " + us("at_tick") +
                           ", positions, bytes, checksum FROM aggregator_snapshot "
                           "WHERE aggregator = $1 ORDER BY sequence DESC",
                       aggregator)) {
      Snapshot snapshot;
      snapshot.at_tick = instant(row[2]);
      snapshot.positions = positions_of(row[3].c_str());
      snapshot.state.reserve(row[4].as<std::size_t>());
      const int slot = row[0].as<int>();
      const int parts = static_cast<int>((row[4].as<std::size_t>() + part_bytes - 1) / part_bytes);
      for (int part = 0; part < parts; ++part) {
        for (const auto& piece : t.exec_params("SELECT bytes FROM aggregator_state WHERE "
                                               "aggregator = $1 AND slot = $2 AND part = $3",
                                               aggregator, slot, part)) {
          snapshot.state += bytes_of(piece[0]);
        }
      }
      if (snapshot.state.size() == row[4].as<std::size_t>() &&
          hash63(snapshot.state) == row[5].as<std::int64_t>()) {
        return snapshot;
      }
      log::error("snapshot.damaged", {{"aggregator", aggregator},
                                      {"sequence", row[1].as<std::int64_t>()},
                                      {"then", "the one before is used"}});
    }
    return std::nullopt;
  });
}

LogPositions Control::saved_positions(const std::string& aggregator) {
  return state_->in_transaction([&](pqxx::work& t) {
    std::map<std::pair<std::int32_t, std::int64_t>, LogPosition> least;
    const auto rows = t.exec_params("SELECT positions FROM aggregator_snapshot WHERE aggregator = $1", aggregator);
    std::map<std::pair<std::int32_t, std::int64_t>, std::size_t> in;  // how many of them know it
    for (const auto& row : rows) {
      for (const LogPosition& p : positions_of(row[0].c_str())) {
        const auto [at, fresh] = least.try_emplace({p.shard, p.collector}, p);
        if (!fresh && p.batch < at->second.batch) at->second = p;
        ++in[{p.shard, p.collector}];
      }
    }
    LogPositions all;
    for (const auto& [key, position] : least)
      if (in.at(key) == rows.size()) all.push_back(position);
    return all;
  });
}

namespace {

RouterMemory memory_in(pqxx::work& t, const char* lock) {
  const auto rows = t.exec_params(
      std::string("SELECT version, memory FROM router_memory WHERE router = $1") + lock, router);
  if (rows.empty()) return {};
  return {rows.front()[0].as<std::int64_t>(), bytes_of(rows.front()[1])};
}

}  // namespace

RouterMemory Control::load_memory() {
  return state_->in_transaction([&](pqxx::work& t) { return memory_in(t, ""); });
}

std::vector<Finding> Control::fresh_findings(std::span<const Finding> findings) {
  return state_->in_transaction([&](pqxx::work& t) {
    std::vector<Finding> fresh;
    for (const Finding& f : findings) {
      if (t.exec_params("SELECT FROM incident_finding WHERE incident_id = $1 AND sequence = $2",
                        clean(f.incident.id), static_cast<std::int64_t>(f.sequence))
              .empty()) {
        fresh.push_back(f);
      }
    }
    return fresh;
  });
}

Applied Control::apply(const Changes& changes) {
  return state_->in_transaction([&](pqxx::work& t) {
    Applied applied;
    if (changes.memory) {
      assert(changes.memory->version >= 1);
      const RouterMemory stored = memory_in(t, " FOR UPDATE");
      if (stored.version == changes.memory->version && stored.bytes == changes.memory->bytes) {
        applied.repeated = true;
        return applied;
      }
      if (stored.version + 1 != changes.memory->version) {
        throw Rejected("55000", fmt::format("the router's memory is at version {} and cannot "
                                            "become {}: another router is at work",
                                            stored.version, changes.memory->version));
      }
      t.exec_params(
          "INSERT INTO router_memory (router, version, memory) VALUES ($1, $2, $3) "
          "ON CONFLICT ON CONSTRAINT router_memory_pk DO UPDATE "
          "SET version = excluded.version, memory = excluded.memory, updated_at = now()",
          router, changes.memory->version, bytes(changes.memory->bytes));
    }
    for (const Finding& f : changes.findings) applied.fresh.push_back(apply_finding(t, f));
    for (const Action& a : changes.actions) applied.acted.push_back(apply_action(t, a));
    for (const Delivery& d : changes.deliveries) apply_delivery(t, d);
    for (const Notice& n : changes.notices) applied.notices += apply_notice(t, n) ? 1 : 0;
    for (const DecisionRow& d : changes.decisions) apply_decision(t, d);
    return applied;
  });
}

Acted Control::act(const Action& action) {
  return state_->in_transaction([&](pqxx::work& t) { return apply_action(t, action); });
}

std::vector<OutboxRow> Control::due_outbox(Timestamp now, int limit) {
  return state_->in_transaction([&](pqxx::work& t) {
    std::vector<OutboxRow> rows;
    for (const auto& row :
         t.exec_params("SELECT " + outbox_columns() +
                           " FROM outbox WHERE state = 'due' AND next_try_at <= $1 "
                           "ORDER BY next_try_at, outbox_id LIMIT $2",
                       sql(now), limit)) {
      rows.push_back(outbox_row(row));
    }
    return rows;
  });
}

void Control::record(const Delivery& delivery) {
  state_->in_transaction([&](pqxx::work& t) {
    apply_delivery(t, delivery);
    return 0;
  });
}

OutboxDepth Control::outbox_depth() {
  return state_->in_transaction([&](pqxx::work& t) {
    const auto row = t.exec(
                          "SELECT count(*) FILTER (WHERE state = 'due'), count(*) FILTER (WHERE "
                          "state = 'failed'), " +
                          us("min(created_at) FILTER (WHERE state = 'due')") + " FROM outbox")
                         .front();
    return OutboxDepth{row[0].as<std::uint64_t>(), row[1].as<std::uint64_t>(),
                       maybe_instant(row[2])};
  });
}

std::optional<Timestamp> Control::next_due() {
  return state_->in_transaction([&](pqxx::work& t) {
    return maybe_instant(
        t.exec("SELECT " + us("min(next_try_at)") + " FROM outbox WHERE state = 'due'").front()[0]);
  });
}

std::uint32_t Control::pages_sent(Timestamp since) {
  return state_->in_transaction([&](pqxx::work& t) {
    return t
        .exec_params(
            "SELECT count(DISTINCT incident_id) FROM outbox "
            "WHERE kind = 'notice' AND state = 'sent' AND created_at >= $1",
            sql(since))
        .front()[0]
        .as<std::uint32_t>();
  });
}

IncidentPage Control::incidents(const IncidentFilter& filter) {
  const int limit = std::clamp(filter.limit, 1, IncidentFilter::limit_max);
  const std::optional<std::string> state =
      filter.state ? std::optional(std::string(to_word(*filter.state))) : std::nullopt;
  const std::optional<std::string> severity =
      filter.severity ? std::optional(std::string(to_word(*filter.severity))) : std::nullopt;
  std::optional<Timestamp> before;
  std::string before_id;
  if (const auto colon = filter.cursor.find(':'); colon != std::string::npos) {
    before = Timestamp{std::atoll(filter.cursor.c_str())};
    before_id = clean(filter.cursor.substr(colon + 1));
  }

  return state_->in_transaction([&](pqxx::work& t) {
    const auto rows = t.exec_params(
        "SELECT " +
            incident_columns(R"(doc || '{"affected": [], "timeline": [], "events": []}'::jsonb)") +
            ", incident_id, " + us("opened_at") +
            " FROM incident WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR "
            "severity = $2) "
            "AND ($3 = '' OR doc -> 'models' @> to_jsonb($3::text)) AND ($4 = '' OR cause = $4) "
            "AND ($5 = '' OR team = $5) "
            "AND ($6::timestamptz IS NULL OR opened_at >= $6) AND ($7::timestamptz IS NULL OR "
            "opened_at < $7) "
            "AND ($8::timestamptz IS NULL OR (opened_at, incident_id) < ($8, $9)) "
            "ORDER BY opened_at DESC, incident_id DESC LIMIT $10",
        Maybe(state).get(), Maybe(severity).get(), clean(filter.model), clean(filter.cause),
        clean(filter.team), Maybe(filter.since).get(), Maybe(filter.until).get(),
        Maybe(before).get(), before_id, limit + 1);
    IncidentPage page;
    for (const auto& row : rows) {
      if (page.rows.size() == static_cast<std::size_t>(limit)) {
        const auto& last = rows[static_cast<pqxx::result::size_type>(limit - 1)];
        page.next = text(last[human_columns + 1]) + ":" + text(last[human_columns]);
        break;
      }
      page.rows.push_back(incident_row(row));
    }
    return page;
  });
}

std::optional<IncidentDetail> Control::incident(std::string_view wanted) {
  return state_->in_transaction([&](pqxx::work& t) -> std::optional<IncidentDetail> {
    const std::string id = clean(wanted);
    const auto rows = t.exec_params(
        "SELECT " + incident_columns("doc") + " FROM incident WHERE incident_id = $1", id);
    if (rows.empty()) return std::nullopt;
    IncidentDetail detail;
    detail.row = incident_row(rows.front());
    for (const auto& row :
         t.exec_params("SELECT sequence, " + us("at") +
                           ", what FROM incident_finding WHERE incident_id = $1 ORDER BY sequence",
                       id)) {
      detail.findings.push_back({row[0].as<std::uint64_t>(), instant(row[1]), text(row[2])});
    }
    for (const auto& row : t.exec_params(
             "SELECT what, " + us("at") +
                 ", actor, note FROM incident_action WHERE incident_id = $1 ORDER BY action_id",
             id)) {
      detail.actions.push_back({action_of(text(row[0])).value_or(Action::What::note), id,
                                instant(row[1]), text(row[2]), text(row[3]), std::nullopt});
    }
    for (const auto& row :
         t.exec_params("SELECT " + outbox_columns() +
                           " FROM outbox WHERE incident_id = $1 ORDER BY outbox_id",
                       id)) {
      detail.notices.push_back(outbox_row(row));
    }
    for (const auto& row :
         t.exec_params("SELECT d.outbox_id, d.try_no, " + us("d.at") +
                           ", d.delivered, d.answer FROM delivery_try d JOIN outbox o ON "
                           "o.outbox_id = d.outbox_id "
                           "WHERE o.incident_id = $1 ORDER BY d.outbox_id, d.try_no",
                       id)) {
      const auto outbox_id = row[0].as<std::int64_t>();
      const auto of = std::find_if(detail.notices.begin(), detail.notices.end(),
                                   [&](const OutboxRow& n) { return n.id == outbox_id; });
      if (of == detail.notices.end()) continue;
      of->attempts.push_back({outbox_id,
                              row[1].as<std::int32_t>(),
                              instant(row[2]),
                              row[3].as<bool>(),
                              text(row[4]),
                              {}});
    }
    for (const auto& row : t.exec_params("SELECT " + us("at") +
                                             ", stage, subject_kind, subject, receiver, "
                                             "integration, verdict, reason, details FROM decision "
                                             "WHERE subject_kind = 'incident' AND subject = $1 "
                                             "ORDER BY decision_id DESC LIMIT 200",
                                         id)) {
      DecisionRow d{instant(row[0]), text(row[1]), text(row[2]),
                    text(row[3]),    text(row[4]), text(row[5]),
                    text(row[6]),    text(row[7]), {}};
      const json::value details = json::parse(text(row[8]));
      for (const auto& [key, value] : details.as_object()) {
        d.details.emplace_back(std::string(key), std::string(value.as_string()));
      }
      detail.decisions.push_back(std::move(d));
    }
    std::reverse(detail.decisions.begin(), detail.decisions.end());
    return detail;
  });
}

void Control::prune(Timestamp before) {
  state_->in_transaction([&](pqxx::work& t) {
    t.exec_params("DELETE FROM decision WHERE at < $1", sql(before));
    t.exec_params("DELETE FROM outbox WHERE created_at < $1 AND state <> 'due'", sql(before));
    return 0;
  });
}

}  // namespace muster::store
