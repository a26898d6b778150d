#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "schema/matcher.hpp"
#include "schema/time.hpp"

namespace muster::router {

// A node of the route tree as it is written: what is not said comes from the parent.
struct RouteSpec {
  std::vector<Matcher> matchers;
  std::optional<std::string> receiver;
  std::optional<std::vector<std::string>> group_by;  // {"..."} means by all labels
  std::optional<Duration> group_wait;
  std::optional<Duration> group_interval;
  std::optional<Duration> repeat_interval;
  bool continues = false;  // go on with the next sibling after a match
  std::vector<std::string> mute_time_intervals;
  std::vector<std::string> active_time_intervals;
  std::vector<RouteSpec> routes;
};

// A node with everything filled in.
struct Route {
  std::size_t parent = 0;  // the root is its own
  std::vector<std::size_t> children;
  std::vector<Matcher> matchers;  // sorted
  bool continues = false;
  std::string key;  // the matchers from the root on, {}/{team="a"}: the first half of group keys
  std::string receiver;
  std::vector<std::string> group_by;  // sorted
  bool group_by_all = false;
  Duration group_wait{};
  Duration group_interval{};
  Duration repeat_interval{};
  std::vector<std::string> mute_time_intervals;    // of this node alone
  std::vector<std::string> active_time_intervals;  // of this node alone
};

// Nodes in depth-first order; 0 is the root.
using RouteTree = std::vector<Route>;

struct RouteDefaults {
  Duration group_wait =
      std::chrono::seconds(30);  // as Alertmanager: others of the same cause follow soon
  Duration group_interval =
      std::chrono::minutes(5);  // as Alertmanager: news of a group, at most so often
  Duration repeat_interval = std::chrono::hours(4);  // as Alertmanager: a shift hears of it twice
};

// The root must name a receiver and match everything; intervals of time must be positive (group_wait may be 0).
Result<RouteTree> compile(const RouteSpec& root, const RouteDefaults& defaults = {});

// The routes that an alert takes, in order: depth first, left to right. A node that matches asks its
// children; a child that matches without `continues` ends its level; when no child matches, it is the node.
std::vector<std::size_t> match(const RouteTree& tree, const Labels& labels);

// The labels that a group of this route has in common.
Labels group_labels(const Route& route, const Labels& alert);

// {}/{team="a"}:{incident="INC-1"}: what the payload calls groupKey.
std::string group_key(const Route& route, const Labels& labels);

}  // namespace muster::router
