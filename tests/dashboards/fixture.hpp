#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "dashboards/incident_store.hpp"
#include "dashboards/live.hpp"
#include "http/routes.hpp"

namespace muster::dashboards::test {

// 2025-03-03 00:00 UTC and so many minutes.
Timestamp minute(int n);

ModelView model(std::string id, ModelView::State state, std::uint8_t score);

// Models a, b, c with three columns of heat: row r, column t has the score 10 r + t.
FleetView small_fleet();

Incident incident(std::string id, Incident::State state, Timestamp opened);

// An IncidentStore in memory; `away` makes every call throw, as a database that is gone does.
class Memory : public IncidentStore {
 public:
  boost::asio::awaitable<Lines> list(Query query) override;
  boost::asio::awaitable<std::optional<IncidentRecord>> get(std::string id) override;
  boost::asio::awaitable<Done> act(Act act, Said said) override;

  std::map<std::string, IncidentRecord> records;
  std::vector<Query> queries;
  bool away = false;
};

// Asks the routes as the server would, on `io`, and runs it until the answer is there.
http::Response ask(boost::asio::io_context& io, const http::Routes& routes, http::Method method,
                   std::string_view target, std::string_view body = {}, http::Headers headers = {});

// The next text of a stream; nothing when it has ended.
std::optional<std::string> next(boost::asio::io_context& io, http::Response& stream);

// Runs what was posted.
void settle(boost::asio::io_context& io);

// A JSON value that compares with plain ones. A place that is not there fails the test by throwing.
class Json {
 public:
  explicit Json(boost::json::value value) : value_(std::move(value)) {}
  Json at(std::string_view key) const { return Json(value_.as_object().at(key)); }
  Json at(std::size_t i) const { return Json(value_.as_array().at(i)); }
  bool contains(std::string_view key) const { return value_.as_object().contains(key); }
  std::size_t size() const { return value_.as_array().size(); }
  bool empty() const { return size() == 0; }
  bool is_null() const { return value_.is_null(); }
  std::string text() const { return std::string(value_.as_string()); }
  std::vector<std::string> ids() const;  // of a list of ids, or of objects with one

  friend bool operator==(const Json& a, const Json& b) { return a.value_ == b.value_; }
  friend bool operator==(const Json& a, const char* b) { return a.value_ == boost::json::value(b); }
  friend bool operator==(const Json& a, const std::string& b) { return a == b.c_str(); }
  template <class Number>
  requires(std::is_arithmetic_v<Number>) friend bool operator==(const Json& a, Number b) {
    if constexpr (std::is_same_v<Number, bool>)
      return a.value_.as_bool() == b;
    else
      return a.value_.template to_number<double>() == static_cast<double>(b);
  }
  friend std::ostream& operator<<(std::ostream& to, const Json& json) { return to << json.value_; }

 private:
  boost::json::value value_;
};

Json parsed(std::string_view text);
// The data of the event `name` in the text of a stream.
Json data_of(std::string_view text, std::string_view name);

}  // namespace muster::dashboards::test
