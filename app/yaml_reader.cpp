#include "app/yaml_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "schema/duration.hpp"

namespace muster::app {
namespace {

std::optional<double> real(const std::string& text) {
  double value = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

// Edits between two words: insert, delete, replace, swap neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::string plain(double value) {
  char text[32];
  const auto [end, fault] = std::to_chars(text, text + sizeof text, value);
  return fault == std::errc{} ? std::string(text, end) : std::string();
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& among) {
  // Words are short; a long one is no slip, and would take long to compare.
  constexpr std::size_t word_max = 64;
  if (word.size() > word_max) return {};
  std::string best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& other : among) {
    if (const std::size_t n = distance(word, other); n < least) least = n, best = other;
  }
  return best;
}

std::string Problems::place(const YAML::Mark& at) const {
  if (at.is_null()) return path_ + ": ";
  return path_ + ':' + std::to_string(at.line + 1) + ':' + std::to_string(at.column + 1) + ": ";
}

std::string Problems::text() const {
  std::string out;
  for (const auto& [at, lines] : faults_) out += lines;
  if (!out.empty()) out.pop_back();
  return out;
}

std::optional<std::string> scalar(Problems& problems, const YAML::Node& node,
                                  const std::string& what) {
  if (node.IsScalar()) return node.Scalar();
  problems.fault(node, what +
                           (node.IsNull()  ? " is empty"
                            : node.IsMap() ? " is a mapping"
                                           : " is a list") +
                           ", and has to be a word");
  return std::nullopt;
}

Section::Section(Problems& problems, const YAML::Node& node, std::string name)
    : problems_(problems), node_(node), name_(std::move(name)) {
  if (node_.IsNull()) return;
  if (!node_.IsMap()) {
    problems_.fault(node_, name_ + " has to be a mapping of keys to values");
    return;
  }
  for (const auto& pair : node_) {
    if (!pair.first.IsScalar()) {
      problems_.fault(pair.first, name_ + " has a key that is not a word");
      continue;
    }
    const auto [at, fresh] =
        values_.try_emplace(pair.first.Scalar(), Value{pair.first, pair.second});
    if (!fresh)
      problems_.fault(pair.first, '\'' + at->first + "' stands twice, first in line " +
                                      std::to_string(at->second.key.Mark().line + 1) +
                                      "; keep one of the two");
  }
}

Section::~Section() {
  std::vector<std::string> names;
  for (const auto& [name, offered] : known_) {
    if (offered) names.push_back(name);
  }
  for (const auto& [key, value] : values_) {
    if (known_.contains(key)) continue;
    std::string what = "unknown key '" + key + "' in " + name_;
    if (const std::string near = nearest(key, names); !near.empty()) {
      what += "; did you mean '" + near + "'?";
    } else if (!names.empty()) {
      what += "; there is:";
      for (const std::string& n : names) what += ' ' + n;
    }
    problems_.fault(value.key, what);
  }
}

std::optional<YAML::Node> Section::take(const std::string& key) {
  known_.emplace(key, true);
  const auto found = values_.find(key);
  if (found == values_.end() || found->second.value.IsNull()) return std::nullopt;
  return found->second.value;
}

void Section::fault(const std::string& key, const std::string& what) {
  const auto found = values_.find(key);
  problems_.fault(found == values_.end() ? node_ : found->second.value, what);
}

void Section::text(const std::string& key, std::string& into) {
  const auto node = take(key);
  if (!node) return;
  if (auto value = scalar(problems_, *node, key)) into = std::move(*value);
}

void Section::flag(const std::string& key, bool& into) {
  const auto node = take(key);
  if (!node) return;
  const std::string word = node->IsScalar() ? node->Scalar() : "";
  if (word == "true" || word == "false") {
    into = word == "true";
  } else {
    problems_.fault(*node, key + " has to be true or false");
  }
}

void Section::number(const std::string& key, double& into, double least, double most) {
  const auto node = take(key);
  if (!node) return;
  const auto value = node->IsScalar() ? real(node->Scalar()) : std::nullopt;
  if (value && *value >= least && *value <= most) {
    into = *value;
  } else {
    problems_.fault(*node, key + " has to be a number from " + plain(least) + " to " + plain(most));
  }
}

std::optional<std::uint64_t> Section::whole_of(const std::string& key, std::uint64_t least,
                                               std::uint64_t most) {
  const auto node = take(key);
  if (!node) return std::nullopt;
  if (node->IsScalar()) {
    const std::string& text = node->Scalar();
    std::uint64_t value = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault == std::errc{} && end == text.data() + text.size() && value >= least && value <= most)
      return value;
  }
  problems_.fault(*node, key + " has to be a whole number from " + std::to_string(least) + " to " +
                             std::to_string(most));
  return std::nullopt;
}

void Section::duration(const std::string& key, std::optional<Duration>& into) {
  const auto node = take(key);
  if (!node) return;
  const auto value = scalar(problems_, *node, key);
  if (!value) return;
  const Result<Duration> parsed = parse_duration(*value);
  if (parsed) {
    into = *parsed;
  } else {
    problems_.fault(*node, key + ": " + parsed.error().what);
  }
}

void Section::duration(const std::string& key, Duration& into) {
  std::optional<Duration> value;
  duration(key, value);
  if (value) into = *value;
}

void Section::seconds(const std::string& key, std::optional<Duration>& into) {
  // A year: more is a slip of the unit.
  constexpr double most = 366. * 86'400;
  double value = -1;
  number(key, value, 0, most);
  if (value >= 0) into = Duration(std::llround(value * 1e6));
}

void Section::seconds(const std::string& key, Duration& into) {
  std::optional<Duration> value;
  seconds(key, value);
  if (value) into = *value;
}

std::vector<YAML::Node> Section::list(const std::string& key) {
  std::vector<YAML::Node> out;
  const auto node = take(key);
  if (!node) return out;
  if (!node->IsSequence()) {
    problems_.fault(*node, key + " has to be a list");
    return out;
  }
  for (const YAML::Node& entry : *node) {
    if (entry.IsNull()) {
      problems_.fault(entry, key + " has an empty entry");
    } else {
      out.push_back(entry);
    }
  }
  return out;
}

void Section::texts(const std::string& key, std::vector<std::string>& into) {
  for (const YAML::Node& entry : list(key)) {
    if (auto value = scalar(problems_, entry, "an entry of " + key))
      into.push_back(std::move(*value));
  }
}

void Section::ignored(const std::string& key, const std::string& why) {
  known_.emplace(key, false);
  const auto found = values_.find(key);
  if (found != values_.end()) problems_.warn(found->second.key, key + ": " + why);
}

void Section::not_yet(const std::string& key, const std::string& instead) {
  known_.emplace(key, false);
  const auto found = values_.find(key);
  if (found == values_.end()) return;
  problems_.fault(found->second.key, "not supported: " + key + "; " + instead);
}

}  // namespace muster::app
