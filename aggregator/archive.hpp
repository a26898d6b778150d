#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "schema/event.hpp"
#include "schema/incident.hpp"

// Memory to bytes and back, field by field: one list of fields per struct serves both ways, so that
// they cannot disagree.
namespace muster::aggregator {

// Hands what is written on in pieces, so that memory is never held twice.
class Writer {
 public:
  static constexpr bool reading = false;
  static constexpr std::size_t piece = 1 << 20;  // small beside a fleet, large beside a call

  explicit Writer(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {
    held_.reserve(piece);
  }
  void bytes(const void* data, std::size_t n) {
    const std::string_view all(static_cast<const char*>(data), n);
    if (held_.size() + n > piece) flush();
    if (n > piece)
      sink_(all);
    else
      held_ += all;
  }
  void flush() {
    if (!held_.empty()) sink_(held_);
    held_.clear();
  }
  template <class... Fields>
  void operator()(Fields&... fields);

 private:
  std::function<void(std::string_view)> sink_;
  std::string held_;
};

class Reader {
 public:
  static constexpr bool reading = true;
  explicit Reader(std::string_view in) : in_(in) {}
  void bytes(void* data, std::size_t n) {
    if (n > in_.size()) {
      failed_ = true;
      std::memset(data, 0, n);
      return;
    }
    std::memcpy(data, in_.data(), n);
    in_.remove_prefix(n);
  }
  template <class... Fields>
  void operator()(Fields&... fields);
  // All read, and nothing left over.
  bool done() const { return !failed_ && in_.empty(); }
  std::size_t left() const { return in_.size(); }
  void fail() { failed_ = true; }

 private:
  std::string_view in_;
  bool failed_ = false;
};

namespace detail {

template <class T, class A>
concept Archived = requires(T& t, A& a) {
  t.archive(a);
};
template <class T>
concept Plain = std::is_arithmetic_v<T> || std::is_enum_v<T>;
// Structs without gaps that say so: vectors of them travel in one piece.
template <class T>
concept Bulk = std::is_trivially_copyable_v<T> && requires {
  requires T::bulk;
};

template <class A, class T>
void io(A& a, T& t);

template <class A, class T>
void io_size(A& a, T& container) {
  std::uint64_t n = container.size();
  a.bytes(&n, sizeof n);
  if constexpr (A::reading) {
    if (n > a.left()) {  // every element takes a byte or more
      a.fail();
      n = 0;
    }
    container.resize(n);
  }
}

template <class A, class T>
void io_field(A& a, std::vector<T>& v) {
  io_size(a, v);
  if constexpr (Plain<T> || Bulk<T>) {
    if (!v.empty()) {
      if constexpr (A::reading) {
        if (v.size() * sizeof(T) > a.left()) {
          a.fail();
          v.clear();
          return;
        }
      }
      a.bytes(v.data(), v.size() * sizeof(T));
    }
  } else {
    for (T& t : v) io(a, t);
  }
}
template <class A, class T>
void io_field(A& a, std::deque<T>& v) {
  io_size(a, v);
  for (T& t : v) io(a, t);
}
template <class A>
void io_field(A& a, std::string& s) {
  io_size(a, s);
  if (!s.empty()) a.bytes(s.data(), s.size());
}
template <class A, class T, std::size_t N>
void io_field(A& a, std::array<T, N>& v) {
  if constexpr (Plain<T>) {
    a.bytes(v.data(), N * sizeof(T));
  } else {
    for (T& t : v) io(a, t);
  }
}
template <class A, class T>
void io_field(A& a, std::optional<T>& v) {
  std::uint8_t has = v.has_value();
  a.bytes(&has, 1);
  if constexpr (A::reading) {
    if (has)
      v.emplace();
    else
      v.reset();
  }
  if (has) io(a, *v);
}
template <class A, class T>
void io_field(A& a, std::unique_ptr<T>& v) {
  std::uint8_t has = v != nullptr;
  a.bytes(&has, 1);
  if constexpr (A::reading) v = has ? std::make_unique<T>() : nullptr;
  if (has) io(a, *v);
}
template <class A, class K, class V>
void io_field(A& a, std::map<K, V>& m) {
  std::uint64_t n = m.size();
  a.bytes(&n, sizeof n);
  if constexpr (A::reading) {
    for (std::uint64_t i = 0; i < n && a.left() > 0; ++i) {
      K k{};
      io(a, k);
      io(a, m[k]);
    }
  } else {
    for (auto& [k, v] : m) {
      K key = k;
      io(a, key);
      io(a, v);
    }
  }
}
template <class A>
void io_field(A& a, Timestamp& t) {
  io(a, t.us);
}
template <class A>
void io_field(A& a, Event& e) {
  a(e.ts, e.until, e.kind, e.subject, e.title);
}
template <class A>
void io_field(A& a, Suspect& s) {
  a(s.id, s.kind, s.posterior, s.score, s.moved, s.members, s.explained, s.why);
}
template <class A>
void io_field(A& a, AffectedSeries& s) {
  a(s.model, s.metric, s.sigma, s.since, s.ts, s.value, s.low, s.high);
}
template <class A>
void io_field(A& a, EvidencePoint& p) {
  a(p.ts, p.ratio, p.moved);
}
template <class A>
void io_field(A& a, Incident& i) {
  a(i.id, i.state, i.severity, i.paged, i.opened_at, i.started_at, i.updated_at, i.resolved_at,
    i.merged_into, i.cause, i.cause_kind, i.team, i.title, i.why, i.first_look, i.score, i.evidence,
    i.needed, i.moved, i.members, i.expected_by_chance, i.explained, i.suspects, i.affected,
    i.models, i.metrics, i.timeline, i.events);
}

template <class A, class T>
void io(A& a, T& t) {
  if constexpr (Plain<T> || Bulk<T>)
    a.bytes(&t, sizeof t);
  else if constexpr (Archived<T, A>)
    t.archive(a);
  else
    io_field(a, t);
}

}  // namespace detail

template <class... Fields>
void Writer::operator()(Fields&... fields) {
  (detail::io(*this, fields), ...);
}
template <class... Fields>
void Reader::operator()(Fields&... fields) {
  (detail::io(*this, fields), ...);
}

}  // namespace muster::aggregator
