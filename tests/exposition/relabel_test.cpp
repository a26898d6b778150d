#include "collector/decode/relabel.hpp"

#include <catch2/catch.hpp>

using namespace muster;
using namespace muster::decode;
using Action = RelabelRule::Action;

namespace {

RelabelRule rule(Action action, std::vector<std::string> source, std::string regex = "(.*)",
                 std::string target = "", std::string replacement = "$1",
                 std::uint64_t modulus = 0) {
  RelabelRule r;
  r.action = action;
  r.source_labels = std::move(source);
  r.regex = std::move(regex);
  r.target_label = std::move(target);
  r.replacement = std::move(replacement);
  r.modulus = modulus;
  auto done = checked(r);
  INFO((done ? "" : done.error().where + ": " + done.error().what));
  REQUIRE(done);
  return *done;
}

const Labels base = {{"__address__", "host-7:9100"}, {"a", "foo"}, {"b", "bar"}, {"c", "baz"}};

// Empty when the set is dropped.
Labels after(std::vector<RelabelRule> rules, Labels labels = base) {
  if (!relabel(labels, rules)) return {};
  return labels;
}
std::string of(const Labels& labels, std::string_view name) {
  return std::string(value_of(labels, name));
}

}  // namespace

// Expected values by hand from Prometheus's documentation, configuration, relabel_config.

TEST_CASE("relabel: replace writes the expanded replacement when all of the source matches") {
  CHECK(of(after({rule(Action::replace, {"a"}, "f(.*)", "d", "ch${1}-ch${1}")}), "d") ==
        "choo-choo");
  CHECK(of(after({rule(Action::replace, {"a", "b"}, "(.*);(.*)", "d", "$2/$1")}), "d") ==
        "bar/foo");
  // A part of the source is no match.
  CHECK(of(after({rule(Action::replace, {"a"}, "o", "d", "x")}), "d").empty());
  CHECK(of(after({rule(Action::replace, {"__address__"}, "([^:]+):\\d+", "host")}), "host") ==
        "host-7");
  // Named groups; a name is as long as it can be, so $1x is ${1x}, which there is not.
  CHECK(of(after({rule(Action::replace, {"a"}, "(?P<first>.)(.*)", "d", "${first}-$2")}), "d") ==
        "f-oo");
  CHECK(of(after({rule(Action::replace, {"a"}, "(.)(.*)", "d", "$1x-${1}x-$$-$")}), "d") ==
        "-fx-$-$");
  CHECK(of(after({rule(Action::replace, {"a"}, "(.*)", "d", "$9")}), "d").empty());
  // An empty result takes the label away.
  CHECK(after({rule(Action::replace, {"nothing"}, "", "b", "")}).size() == 3);
  // A source that is not there is empty, and the default regex matches it.
  CHECK(of(after({rule(Action::replace, {"nothing"}, "(.*)", "d", "const")}), "d") == "const");
  CHECK(of(after({rule(Action::replace, {}, "(.*)", "d", "const")}), "d") == "const");
  // The target may be made of the match too, and is left alone when it is then no name.
  CHECK(of(after({rule(Action::replace, {"a"}, "(f)(.*)", "x_$1", "$2")}), "x_f") == "oo");
  CHECK(after({rule(Action::replace, {"__address__"}, "(.*)", "${1}", "x")}) == base);
}

TEST_CASE("relabel: the separator joins what the sources hold") {
  RelabelRule joined = rule(Action::replace, {"a", "nothing", "b"}, "(.*)", "d");
  CHECK(of(after({joined}), "d") == "foo;;bar");
  joined.separator = "";
  CHECK(of(after({joined}), "d") == "foobar");
}

TEST_CASE("relabel: keep, drop and their equals decide on the whole set") {
  CHECK(after({rule(Action::keep, {"a"}, "foo|x")}) == base);
  CHECK(after({rule(Action::keep, {"a"}, "fo")}).empty());
  CHECK(after({rule(Action::keep, {"a"}, "foo|bar", "")}, {{"a", "bar"}}).size() == 1);
  CHECK(after({rule(Action::drop, {"a"}, ".*o")}).empty());
  CHECK(after({rule(Action::drop, {"a"}, "o")}) == base);
  CHECK(after({rule(Action::keepequal, {"a"}, "(.*)", "b")}).empty());
  CHECK(after({rule(Action::keepequal, {"a"}, "(.*)", "d")}, {{"a", "1"}, {"d", "1"}}).size() == 2);
  CHECK(after({rule(Action::dropequal, {"a"}, "(.*)", "d")}, {{"a", "1"}, {"d", "1"}}).empty());
  CHECK(after({rule(Action::dropequal, {"a"}, "(.*)", "b")}) == base);
  // What comes after a drop is not asked.
  CHECK(after({rule(Action::drop, {"a"}, "foo"), rule(Action::replace, {}, "(.*)", "d", "x")})
            .empty());
}

TEST_CASE("relabel: hashmod is the end of MD5, big endian") {
  // printf 'foo' | md5sum: acbd18db4cc2f85cedef654fccc4a4d8; 0xedef654fccc4a4d8
  // mod 1000 = 696 (python3).
  CHECK(of(after({rule(Action::hashmod, {"a"}, "(.*)", "d", "$1", 1000)}), "d") ==
        std::to_string(0xedef654fccc4a4d8ULL % 1000));
  CHECK(of(after({rule(Action::hashmod, {"a"}, "(.*)", "d", "$1", 1000)}), "d") == "696");
  // printf 'foo;bar' | md5sum ends in the bytes that python3 -c "hashlib.md5(b'foo;bar')" gives: mod 1000 = 750.
  const std::string both =
      of(after({rule(Action::hashmod, {"a", "b"}, "(.*)", "d", "$1", 1000)}), "d");
  CHECK(both == "750");
}

TEST_CASE("relabel: labels by the pattern of their names") {
  const Labels mapped = after({rule(Action::labelmap, {}, "__meta_(.*)", "", "my_$1")},
                              {{"__meta_role", "web"}, {"__meta_zone", "eu"}, {"x", "1"}});
  CHECK(mapped == Labels{{"__meta_role", "web"},
                         {"__meta_zone", "eu"},
                         {"my_role", "web"},
                         {"my_zone", "eu"},
                         {"x", "1"}});
  CHECK(after({rule(Action::labeldrop, {}, "a|b")}) ==
        Labels{{"__address__", "host-7:9100"}, {"c", "baz"}});
  CHECK(after({rule(Action::labelkeep, {}, "a|b")}) == Labels{{"a", "foo"}, {"b", "bar"}});
}

TEST_CASE("relabel: lowercase and uppercase") {
  const Labels labels = {{"a", "MixedCase-1"}};
  CHECK(of(after({rule(Action::lowercase, {"a"}, "(.*)", "d")}, labels), "d") == "mixedcase-1");
  CHECK(of(after({rule(Action::uppercase, {"a"}, "(.*)", "d")}, labels), "d") == "MIXEDCASE-1");
}

TEST_CASE("relabel: what Prometheus refuses is refused with the key") {
  const auto refused = [](auto change) {
    RelabelRule r;
    r.target_label = "d";
    change(r);
    const auto done = checked(std::move(r));
    return done ? std::string() : done.error().where;
  };
  CHECK(refused([](RelabelRule&) {}).empty());
  CHECK(refused([](RelabelRule& r) { r.regex = "("; }) == "regex");
  CHECK(refused([](RelabelRule& r) { r.regex = "a)(b"; }) == "regex");
  CHECK(refused([](RelabelRule& r) { r.target_label = ""; }) == "target_label");
  CHECK(refused([](RelabelRule& r) { r.target_label = "a-b"; }) == "target_label");
  CHECK(refused([](RelabelRule& r) { r.target_label = "${1}_x"; }).empty());
  CHECK(refused([](RelabelRule& r) { r.action = Action::hashmod; }) == "modulus");
  CHECK(refused([](RelabelRule& r) { r.action = Action::lowercase, r.replacement = "x"; }) ==
        "replacement");
  CHECK(refused([](RelabelRule& r) { r.action = Action::labeldrop; }) == "action");
  CHECK(refused([](RelabelRule& r) { r.action = Action::keep, r.target_label = ""; }).empty());
  CHECK(relabel_action("KeepEqual").value() == Action::keepequal);
  CHECK(relabel_action("keepall").error().what.find("labelkeep") != std::string::npos);
}
