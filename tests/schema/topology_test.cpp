#include "schema/topology.hpp"

#include <catch2/catch.hpp>

using namespace muster;

namespace {

std::vector<std::string> names_of(const Topology& t, std::string_view dependency) {
  const auto members = dependants(t);
  for (std::size_t d = 0; d < t.dependencies.size(); ++d) {
    if (t.dependencies[d].id != dependency) continue;
    std::vector<std::string> names;
    for (const auto m : members[d]) names.push_back(t.models[m].id);
    return names;
  }
  return {"no such dependency"};
}

}  // namespace

TEST_CASE("a model depends on all that it reaches") {
  // By hand: churn-eu -> fp-user -> src-crm, fraud-eu -> src-ledger.
  const auto t = parse_topology(R"({"format":"muster-topology/1",
    "models":[{"id":"churn-eu","region":"eu","interval_s":600},{"id":"fraud-eu"}],
    "dependencies":[{"id":"fp-user","kind":"feature_pipeline"},{"id":"src-crm","kind":"source","team":"crm"},
                    {"id":"src-ledger","kind":"source"}],
    "edges":[{"from":"churn-eu","to":"fp-user"},{"from":"fp-user","to":"src-crm"},
             {"from":"fraud-eu","to":"src-ledger"},{"from":"fraud-eu","to":"src-ledger"}]})");
  REQUIRE(t);
  CHECK(names_of(*t, "src-crm") == std::vector<std::string>{"churn-eu"});
  CHECK(names_of(*t, "src-ledger") == std::vector<std::string>{"fraud-eu"});
  CHECK(names_of(*t, "eu") == std::vector<std::string>{"churn-eu"});  // from the model's region
  CHECK(t->edges.size() == 4);                                        // the repeated edge is one
  CHECK(t->models[0].interval == Duration(600'000'000));
  CHECK(t->warnings.empty());

  const auto again = parse_topology(to_json(*t));
  REQUIRE(again);
  CHECK(to_json(*again) == to_json(*t));
}

TEST_CASE("a cycle is an error that names one of its edges") {
  const auto t = parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m"}],
    "dependencies":[{"id":"a","kind":"source"},{"id":"b","kind":"source"},{"id":"c","kind":"source"}],
    "edges":[{"from":"m","to":"a"},{"from":"a","to":"b"},{"from":"b","to":"a"},{"from":"b","to":"c"}]})");
  REQUIRE_FALSE(t);
  const std::string& what = t.error().what;
  CHECK((what.find("'a' to 'b'") != what.npos || what.find("'b' to 'a'") != what.npos));
}

TEST_CASE("an edge to an undeclared id declares it and warns") {
  const auto t = parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m"}],
    "edges":[{"from":"m","to":"lake"}]})");
  REQUIRE(t);
  REQUIRE(t->dependencies.size() == 1);
  CHECK(t->dependencies[0].kind == "generic");
  CHECK(t->warnings.size() == 1);
}

TEST_CASE("what is wrong with a topology is said with its place") {
  CHECK(parse_topology("{").error().what.find("not JSON") == 0);
  CHECK(parse_topology(R"({"format":"x"})").error().where == "topology.format");
  CHECK(parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m"},{"id":"m"}]})").error().where ==
        "topology.models[1].id");
  CHECK(parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m","interval_s":0}]})").error().where ==
        "topology.models[0].interval_s");
  CHECK(parse_topology(R"({"format":"muster-topology/1","models":[{"id":"m"},{"id":"n"}],
    "edges":[{"from":"m","to":"n"}]})").error().where == "topology.edges[0].to");
}
