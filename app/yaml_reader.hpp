#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schema/time.hpp"

namespace muster::app {

// Collects what is wrong with a YAML document, in the order of its lines.
class Problems {
 public:
  explicit Problems(std::string path) : path_(std::move(path)) {}

  void fault(const YAML::Mark& at, const std::string& what) {
    faults_[key(at)] += place(at) + what + '\n';
  }
  void fault(const YAML::Node& at, const std::string& what) { fault(at.Mark(), what); }
  void warn(const YAML::Node& at, const std::string& what) {
    warnings_.push_back(place(at.Mark()) + what);
  }

  bool any() const { return !faults_.empty(); }
  std::string text() const;
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  using Key = std::pair<int, int>;
  static Key key(const YAML::Mark& at) { return {at.line, at.column}; }
  std::string place(const YAML::Mark& at) const;

  std::string path_;
  std::map<Key, std::string> faults_;
  std::vector<std::string> warnings_;
};

// One mapping, whose keys are asked for by name. Those that nobody asked for are unknown, and said to be
// so with the nearest known name when it goes.
class Section {
 public:
  // `name` is what people call it: "route", "webhook_configs".
  Section(Problems& problems, const YAML::Node& node, std::string name);
  ~Section();
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;

  // The value of a key; nothing when it is absent or empty.
  std::optional<YAML::Node> take(const std::string& key);
  bool has(const std::string& key) const { return values_.contains(key); }

  // Each leaves `into` alone when the key is absent or wrong.
  void text(const std::string& key, std::string& into);
  void flag(const std::string& key, bool& into);
  void number(const std::string& key, double& into, double least, double most);
  template <class Whole>
  void whole(const std::string& key, Whole& into, std::uint64_t least, std::uint64_t most) {
    if (const auto value = whole_of(key, least, most)) into = static_cast<Whole>(*value);
  }
  void duration(const std::string& key, Duration& into);
  void duration(const std::string& key, std::optional<Duration>& into);
  void seconds(const std::string& key, Duration& into);
  void seconds(const std::string& key, std::optional<Duration>& into);
  void texts(const std::string& key, std::vector<std::string>& into);
  std::vector<YAML::Node> list(const std::string& key);

  // A key that is understood and has no effect.
  void ignored(const std::string& key, const std::string& why);
  // A key of Alertmanager or of a later version: an error that says what there is instead.
  void not_yet(const std::string& key, const std::string& instead);

  void fault(const std::string& key, const std::string& what);
  void fault(const std::string& what) { problems_.fault(node_, what); }
  const YAML::Node& node() const { return node_; }

 private:
  std::optional<std::uint64_t> whole_of(const std::string& key, std::uint64_t least,
                                        std::uint64_t most);

  Problems& problems_;
  YAML::Node node_;
  std::string name_;
  struct Value {
    YAML::Node key;
    YAML::Node value;
  };
  std::map<std::string, Value> values_;
  std::map<std::string, bool> known_;
};

// The string of a scalar that is not null; else a fault.
std::optional<std::string> scalar(Problems& problems, const YAML::Node& node,
                                  const std::string& what);

// The entry nearest in spelling, when it is near enough to be a slip.
std::string nearest(std::string_view word, const std::vector<std::string>& among);

}  // namespace muster::app
