#include "router/route.hpp"

#include <catch2/catch.hpp>

#include "router/labels.hpp"

using namespace muster;
using namespace muster::router;
using namespace std::chrono_literals;

namespace {

RouteSpec spec(std::string_view matchers, std::string receiver, std::vector<RouteSpec> routes = {},
               bool continues = false) {
  RouteSpec s;
  s.matchers = parse_matchers(matchers).value().list;
  if (!receiver.empty()) s.receiver = std::move(receiver);
  s.routes = std::move(routes);
  s.continues = continues;
  return s;
}

std::vector<std::string> receivers(const RouteTree& tree, const Labels& labels) {
  std::vector<std::string> out;
  for (const std::size_t i : match(tree, labels)) out.push_back(tree[i].receiver);
  return out;
}

}  // namespace

TEST_CASE("the tree is walked depth first, and a match ends its level") {
  using R = std::vector<std::string>;
  const auto tree =
      compile(spec("", "root",
                   {spec("team=\"a\"", "a", {spec("severity=\"critical\"", "a-pager")}),
                    spec("team=~\"a|b\"", "ab", {}, true), spec("team=\"b\"", "b"),
                    spec("severity=\"critical\"", "late")}));
  REQUIRE(tree);
  CHECK(receivers(*tree, {}) == R{"root"});
  CHECK(receivers(*tree, {{"team", "a"}}) == R{"a"});
  CHECK(receivers(*tree, {{"severity", "critical"}, {"team", "a"}}) == R{"a-pager"});
  CHECK(receivers(*tree, {{"team", "b"}}) == R{"ab", "b"});
  CHECK(receivers(*tree, {{"severity", "critical"}, {"team", "b"}}) == R{"ab", "b"});
  CHECK(receivers(*tree, {{"severity", "critical"}}) == R{"late"});
}

TEST_CASE("children inherit times, groups and receiver, but no matchers and no intervals") {
  RouteSpec child = spec("a=\"b\"", "");
  child.mute_time_intervals = {"night"};
  child.routes = {spec("c=\"d\"", "")};
  child.routes[0].group_by = std::vector<std::string>{};
  RouteSpec root = spec("", "r", {child});
  root.group_by = {"z", "y"};
  root.group_wait = 10s;
  root.continues = false;
  const auto tree = compile(root);
  REQUIRE(tree);
  CHECK((*tree)[1].receiver == "r");
  CHECK((*tree)[1].group_by == std::vector<std::string>{"y", "z"});
  CHECK((*tree)[2].group_by.empty());  // [] overrides, as since Alertmanager 0.31
  CHECK((*tree)[2].group_wait == Duration(10s));
  CHECK((*tree)[2].repeat_interval == Duration(4h));
  CHECK((*tree)[2].mute_time_intervals.empty());
  CHECK(match(*tree, {{"a", "b"}, {"c", "d"}}) == std::vector<std::size_t>{2});
}

TEST_CASE("group keys are Alertmanager's") {
  // Seen on a running Alertmanager 0.25.
  RouteSpec child = spec("t=\"gall\"", "");
  child.group_by = {"..."};
  const auto tree = compile(spec("", "r", {child}));
  REQUIRE(tree);
  const Labels alert{{"i", "B"}, {"t", "gall"}, {"z", "q\"u\\o\nte"}};
  CHECK(group_key((*tree)[1], group_labels((*tree)[1], alert)) ==
        R"({}/{t="gall"}:{i="B", t="gall", z="q\"u\\o\nte"})");
  CHECK(group_key((*tree)[0], group_labels((*tree)[0], alert)) == "{}:{}");
}

TEST_CASE("a tree that cannot work is refused with its place") {
  RouteSpec root = spec("", "r", {spec("a=\"b\"", "")});
  root.routes[0].group_by = {"...", "a"};
  CHECK(compile(root).error().where == "route.routes[0].group_by");
  root.routes[0].group_by = {"a", "a"};
  CHECK(compile(root).error().what.find("twice") != std::string::npos);
  root.routes[0].group_by.reset();
  root.routes[0].group_interval = Duration::zero();
  CHECK(compile(root).error().where == "route.routes[0].group_interval");
  root.routes[0].group_interval.reset();
  root.routes[0].group_wait = Duration::zero();  // no wait is fine
  CHECK(compile(root));
  CHECK_FALSE(compile(spec("a=\"b\"", "r")));
  CHECK_FALSE(compile(spec("", "")));
}
