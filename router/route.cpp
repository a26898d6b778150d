#include "router/route.hpp"

#include <algorithm>

#include "router/labels.hpp"

namespace muster::router {
namespace {

std::optional<Error> add(RouteTree& tree, const RouteSpec& spec, std::size_t parent,
                         const std::string& where) {
  const std::size_t self = tree.size();
  Route route;
  if (self > 0) {
    route = tree[parent];  // everything that is inherited, and then what is not
    route.children.clear();
  }
  route.parent = parent;
  route.matchers = spec.matchers;
  sort_matchers(route.matchers);
  route.continues = spec.continues;
  route.key = (self > 0 ? tree[parent].key + '/' : "") + to_text(route.matchers);
  route.mute_time_intervals = spec.mute_time_intervals;
  route.active_time_intervals = spec.active_time_intervals;
  if (spec.receiver) route.receiver = *spec.receiver;
  if (spec.group_by) {
    route.group_by = *spec.group_by;
    std::sort(route.group_by.begin(), route.group_by.end());
    if (std::adjacent_find(route.group_by.begin(), route.group_by.end()) != route.group_by.end())
      return Error{where + ".group_by", "names a label twice"};
    route.group_by_all =
        std::find(route.group_by.begin(), route.group_by.end(), "...") != route.group_by.end();
    if (route.group_by_all && route.group_by.size() > 1)
      return Error{where + ".group_by",
                   "has '...' (all labels) beside others; keep one of the two"};
    if (route.group_by_all) route.group_by.clear();
  }
  if (spec.group_wait) route.group_wait = *spec.group_wait;
  if (spec.group_interval) route.group_interval = *spec.group_interval;
  if (spec.repeat_interval) route.repeat_interval = *spec.repeat_interval;
  if (route.group_wait < Duration::zero())
    return Error{where + ".group_wait", "must not be negative"};
  if (route.group_interval <= Duration::zero())
    return Error{where + ".group_interval", "must be more than 0"};
  if (route.repeat_interval <= Duration::zero())
    return Error{where + ".repeat_interval", "must be more than 0"};

  tree.push_back(std::move(route));
  for (std::size_t i = 0; i < spec.routes.size(); ++i) {
    tree[self].children.push_back(tree.size());
    if (auto fault = add(tree, spec.routes[i], self, where + ".routes[" + std::to_string(i) + "]"))
      return fault;
  }
  return std::nullopt;
}

void walk(const RouteTree& tree, std::size_t at, const Labels& labels,
          std::vector<std::size_t>& out) {
  const std::size_t before = out.size();
  for (const std::size_t child : tree[at].children) {
    if (!matches(tree[child].matchers, labels)) continue;
    walk(tree, child, labels, out);
    if (!tree[child].continues) break;
  }
  if (out.size() == before) out.push_back(at);
}

}  // namespace

Result<RouteTree> compile(const RouteSpec& root, const RouteDefaults& defaults) {
  if (!root.receiver || root.receiver->empty()) return Error{"route", "the root needs a receiver"};
  if (!root.matchers.empty())
    return Error{"route", "the root takes every alert; move its matchers to a child"};
  if (root.continues) return Error{"route", "the root has no sibling to continue with"};
  if (!root.mute_time_intervals.empty() || !root.active_time_intervals.empty())
    return Error{"route", "the root takes no time intervals; move them to a child"};
  RouteSpec filled = root;
  if (!filled.group_wait) filled.group_wait = defaults.group_wait;
  if (!filled.group_interval) filled.group_interval = defaults.group_interval;
  if (!filled.repeat_interval) filled.repeat_interval = defaults.repeat_interval;
  RouteTree tree;
  if (auto fault = add(tree, filled, 0, "route")) return *fault;
  return tree;
}

std::vector<std::size_t> match(const RouteTree& tree, const Labels& labels) {
  std::vector<std::size_t> out;
  if (!tree.empty()) walk(tree, 0, labels, out);
  return out;
}

Labels group_labels(const Route& route, const Labels& alert) {
  if (route.group_by_all) return alert;
  Labels out;
  for (const Label& label : alert) {
    if (std::binary_search(route.group_by.begin(), route.group_by.end(), label.name))
      out.push_back(label);
  }
  return out;
}

std::string group_key(const Route& route, const Labels& labels) {
  return route.key + ':' + to_text(labels);
}

}  // namespace muster::router
