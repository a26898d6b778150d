#include "collector/decode/relabel.hpp"

#include <openssl/evp.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <optional>

namespace muster::decode {
namespace {

using Action = RelabelRule::Action;

constexpr std::array<std::string_view, 11> words = {
    "replace",  "keep",      "drop",      "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase"};

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// What a match took: [0] all of it, then the groups.
using Groups = std::vector<re2::StringPiece>;

std::optional<Groups> match(const re2::RE2& regex, std::string_view text) {
  Groups groups(1 + static_cast<std::size_t>(regex.NumberOfCapturingGroups()));
  const re2::StringPiece whole(text.data(), text.size());
  if (!regex.Match(whole, 0, whole.size(), re2::RE2::ANCHOR_BOTH, groups.data(),
                   static_cast<int>(groups.size())))
    return {};
  return groups;
}

bool matches(const re2::RE2& regex, std::string_view text) {
  const re2::StringPiece whole(text.data(), text.size());
  return regex.Match(whole, 0, whole.size(), re2::RE2::ANCHOR_BOTH, nullptr, 0);
}

// The name or number after a `$`, and what it takes of the text; nothing when it is none, and `$` stands for
// itself.
struct Reference {
  std::string_view name;
  std::size_t length = 0;
};
std::optional<Reference> reference(std::string_view text) {
  const bool brace = text.starts_with('{');
  if (brace) text.remove_prefix(1);
  std::size_t end = 0;
  while (end < text.size() && (is_letter(text[end]) || is_digit(text[end]))) ++end;
  if (end == 0) return {};
  if (!brace) return Reference{text.substr(0, end), end};
  if (end == text.size() || text[end] != '}') return {};
  return Reference{text.substr(0, end), end + 2};
}

// $1, ${1}, $name, ${name} and $$, as Go's regexp expands them: a name is as long as it can be ($1x is ${1x}),
// and a group that is not there, or took nothing, is empty.
std::string expand(std::string_view replacement, const re2::RE2& regex, const Groups& groups) {
  std::string out;
  while (true) {
    const std::size_t dollar = replacement.find('$');
    out += replacement.substr(0, dollar);
    if (dollar == replacement.npos) return out;
    replacement.remove_prefix(dollar + 1);
    if (replacement.starts_with('$')) {
      out += '$';
      replacement.remove_prefix(1);
      continue;
    }
    const std::optional<Reference> found = reference(replacement);
    if (!found) {
      out += '$';
      continue;
    }
    replacement.remove_prefix(found->length);
    const bool number = std::all_of(found->name.begin(), found->name.end(), is_digit) &&
                        found->name.size() <= 8 &&
                        (found->name.size() == 1 || found->name[0] != '0');
    std::size_t group = groups.size();
    if (number) {
      group = 0;
      for (const char c : found->name) group = group * 10 + static_cast<std::size_t>(c - '0');
    } else {
      const auto& named = regex.NamedCapturingGroups();
      if (const auto at = named.find(std::string(found->name)); at != named.end())
        group = static_cast<std::size_t>(at->second);
    }
    if (group < groups.size() && groups[group].data() != nullptr)
      out.append(groups[group].data(), groups[group].size());
  }
}

// The last eight bytes of MD5, big endian, as Prometheus has it.
std::uint64_t md5_tail(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  [[maybe_unused]] const int done =
      EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr);
  assert(done == 1 && size == 16);
  std::uint64_t tail = 0;
  for (std::size_t i = 8; i < 16; ++i) tail = tail << 8 | digest[i];
  return tail;
}

std::string in_case(std::string text, char first, char last) {
  for (char& c : text)
    if (c >= first && c <= last) c = static_cast<char>(c ^ 0x20);
  return text;
}

// Where a label stands, or would.
template <class Set>
auto place_of(Set& labels, std::string_view name) {
  return std::lower_bound(labels.begin(), labels.end(), name,
                          [](const Label& label, std::string_view n) { return label.name < n; });
}

bool apply(Labels& labels, const RelabelRule& rule) {
  assert(rule.compiled);
  const re2::RE2& regex = *rule.compiled;
  std::string source;
  for (std::size_t i = 0; i < rule.source_labels.size(); ++i) {
    if (i > 0) source += rule.separator;
    source += value_of(labels, rule.source_labels[i]);
  }

  switch (rule.action) {
    case Action::keep:
      return matches(regex, source);
    case Action::drop:
      return !matches(regex, source);
    case Action::keepequal:
      return value_of(labels, rule.target_label) == source;
    case Action::dropequal:
      return value_of(labels, rule.target_label) != source;
    case Action::replace: {
      const std::optional<Groups> groups = match(regex, source);
      if (!groups) return true;
      const std::string target = expand(rule.target_label, regex, *groups);
      if (is_label_name(target))
        set_label(labels, target, expand(rule.replacement, regex, *groups));
      return true;
    }
    case Action::hashmod:
      set_label(labels, rule.target_label, std::to_string(md5_tail(source) % rule.modulus));
      return true;
    case Action::lowercase:
      set_label(labels, rule.target_label, in_case(std::move(source), 'A', 'Z'));
      return true;
    case Action::uppercase:
      set_label(labels, rule.target_label, in_case(std::move(source), 'a', 'z'));
      return true;
    case Action::labelmap: {
      const Labels before = labels;
      for (const Label& label : before)
        if (const std::optional<Groups> groups = match(regex, label.name))
          set_label(labels, expand(rule.replacement, regex, *groups), label.value);
      return true;
    }
    case Action::labeldrop:
      std::erase_if(labels, [&](const Label& label) { return matches(regex, label.name); });
      return true;
    case Action::labelkeep:
      std::erase_if(labels, [&](const Label& label) { return !matches(regex, label.name); });
      return true;
  }
  return true;
}

// What a target_label may look like: a name in which references stand for parts.
bool is_target_template(std::string_view text) {
  if (text.empty()) return false;
  bool first = true;
  while (!text.empty()) {
    if (text[0] == '$') {
      const std::optional<Reference> found = reference(text.substr(1));
      if (!found) return false;
      text.remove_prefix(1 + found->length);
    } else if (is_letter(text[0]) || (!first && is_digit(text[0]))) {
      text.remove_prefix(1);
    } else {
      return false;
    }
    first = false;
  }
  return true;
}

}  // namespace

Result<Action> relabel_action(std::string_view word) {
  // Prometheus takes capitals too.
  const std::string small = in_case(std::string(word), 'A', 'Z');
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] == small) return static_cast<Action>(i);
  std::string all;
  for (const std::string_view one : words) all += (all.empty() ? "" : ", ") + std::string(one);
  return Error{"action", "'" + std::string(word) + "' is no action; there is " + all};
}

std::string_view to_word(Action action) {
  return words[static_cast<std::size_t>(action)];
}

Result<RelabelRule> checked(RelabelRule rule) {
  const RelabelRule usual;
  const std::string action(to_word(rule.action));
  switch (rule.action) {
    case Action::replace:
      if (!is_target_template(rule.target_label))
        return Error{"target_label", rule.target_label.empty()
                                         ? "action replace needs a target_label"
                                         : "'" + rule.target_label + "' is no label name"};
      break;
    case Action::hashmod:
    case Action::lowercase:
    case Action::uppercase:
    case Action::keepequal:
    case Action::dropequal:
      if (!is_label_name(rule.target_label))
        return Error{"target_label", rule.target_label.empty()
                                         ? "action " + action + " needs a target_label"
                                         : "'" + rule.target_label + "' is no label name"};
      if (rule.action == Action::hashmod && rule.modulus == 0)
        return Error{"modulus", "action hashmod needs a modulus above 0"};
      if (rule.replacement != usual.replacement)
        return Error{"replacement", "action " + action + " takes no replacement"};
      if (rule.action != Action::hashmod && rule.regex != usual.regex)
        return Error{"regex", "action " + action + " takes no regex"};
      break;
    case Action::labeldrop:
    case Action::labelkeep:
      if (!rule.source_labels.empty() || !rule.target_label.empty() || rule.modulus != 0 ||
          rule.separator != usual.separator || rule.replacement != usual.replacement)
        return Error{"action", "action " + action + " takes a regex and nothing else"};
      break;
    case Action::labelmap:
      if (!is_target_template(rule.replacement))
        return Error{"replacement", "'" + rule.replacement + "' is no label name"};
      break;
    case Action::keep:
    case Action::drop:
      break;
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  auto compiled = std::make_shared<const re2::RE2>(rule.regex, options);
  if (!compiled->ok())
    return Error{"regex", "'" + rule.regex + "' is no regular expression: " + compiled->error()};
  rule.compiled = std::move(compiled);
  return rule;
}

bool relabel(Labels& labels, std::span<const RelabelRule> rules) {
  for (const RelabelRule& rule : rules)
    if (!apply(labels, rule)) return false;
  return true;
}

void set_label(Labels& labels, std::string_view name, std::string_view value) {
  const auto at = place_of(labels, name);
  const bool there = at != labels.end() && at->name == name;
  if (value.empty()) {
    if (there) labels.erase(at);
  } else if (there) {
    at->value = value;
  } else {
    labels.insert(at, {std::string(name), std::string(value)});
  }
}

bool is_label_name(std::string_view name) {
  return !name.empty() && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

bool is_metric_name(std::string_view name) {
  return !name.empty() && !is_digit(name[0]) && std::all_of(name.begin(), name.end(), [](char c) {
    return is_letter(c) || is_digit(c) || c == ':';
  });
}

}  // namespace muster::decode
