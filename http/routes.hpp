#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.hpp"

namespace muster::http {

std::string_view to_word(Method method);  // GET, HEAD, …

// Gives what the server answers by itself (a body over its limit, one that came too slowly) the form that the senders
// of a path read.
using Refusal = std::function<Response(const Response& refusal, std::string_view content_type)>;

// Which handler answers which path. A pattern is made of segments: a word stands for itself, {name}
// for any one segment, a closing * for the rest, which may be empty:
//
//   /api/v1/incidents   /api/v1/incidents/{id}   /assets/*
//
// When several patterns fit, the one whose first different segment is plainer wins: word, {name},
// *.
class Routes {
 public:
  // A pattern and method may be added once. GET answers HEAD too.
  void add(Method method, std::string_view pattern, Handler handler);

  // For one path, in plain words.
  void refuse_as(std::string_view path, Refusal form);
  const Refusal* refusal(std::string_view path) const;  // none: as it is

  // Who answers `path`, which is still percent-encoded, so that an id may hold a slash.
  struct Match {
    const Handler* handler = nullptr;
    Headers arguments;  // decoded; the rest for * is called "*"
    std::string allow;  // when the path is known and the method is not: what it takes, "GET, HEAD"
    bool malformed = false;  // an escape in the path cannot be decoded
  };
  Match find(Method method, std::string_view path) const;

  // The pattern nearest in spelling to an unknown path, for the hint in a 404; empty when none is
  // near.
  std::string nearest(std::string_view path) const;

 private:
  struct Route {
    std::string pattern;
    std::vector<std::string> segments;
    std::vector<std::pair<Method, Handler>> handlers;
  };
  std::vector<Route> routes_;  // plainest first: the first that fits is the one
  std::vector<std::pair<std::string, Refusal>> refusals_;
};

}  // namespace muster::http
