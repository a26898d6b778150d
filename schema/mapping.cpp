#include "schema/mapping.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <cassert>
#include <cstring>

#include <re2/set.h>

#include "schema/text.hpp"

namespace muster {
namespace {

constexpr std::size_t conditions_max = 1024;
// One pass over a label's value for all expressions on it; a set that needs more is asked one by one.
constexpr std::int64_t set_bytes_max = 16 << 20;
// A sender's 64, those reserved, and room for what is known from before.
constexpr std::size_t label_set_max = 96;
constexpr std::size_t nowhere = ~std::size_t{0};

enum Field : std::size_t {
  model_field,
  version_field,
  environment_field,
  region_field,
  family_field,
  team_field,
  metric_field,
  unit_field,
  fields
};
constexpr std::array<std::string_view, fields> field_names = {
    "model", "version", "environment", "region", "family", "team", "metric", "unit"};

const std::string& text_of(const MappingRule& rule, std::size_t field) {
  const std::array<const std::string*, fields> texts = {
      &rule.model,  &rule.version, &rule.environment, &rule.region,
      &rule.family, &rule.team,    &rule.metric,      &rule.unit};
  return *texts[field];
}

struct Piece {
  std::string literal;             // before the label
  std::vector<std::uint8_t> from;  // slots, the first that is there; none: literal alone
};
using Template = std::vector<Piece>;

// Label names to slots. Small and fixed, so a cheap hash of length and ends is enough.
class Names {
 public:
  std::size_t add(std::string_view name) {
    if (const std::size_t known = slot(name); known != nowhere) return known;
    names_.emplace_back(name);
    if (names_.size() > Mapping::labels_max) return names_.size() - 1;
    std::size_t at = hash(name);
    while (table_[at] != 0) at = (at + 1) % table_.size();
    table_[at] = static_cast<std::uint8_t>(names_.size());
    return names_.size() - 1;
  }
  std::size_t slot(std::string_view name) const {
    for (std::size_t at = hash(name); table_[at] != 0; at = (at + 1) % table_.size())
      if (names_[table_[at] - 1u] == name) return table_[at] - 1u;
    return nowhere;
  }
  std::size_t size() const { return names_.size(); }
  const std::string& name(std::size_t slot) const { return names_[slot]; }

 private:
  static std::size_t hash(std::string_view name) {
    std::uint64_t head = 0, tail = 0;
    const std::size_t n = std::min<std::size_t>(name.size(), 8);
    std::memcpy(&head, name.data(), n);
    std::memcpy(&tail, name.data() + (name.size() - n), n);
    return ((head ^ (tail << 7) ^ (tail >> 13) ^ name.size()) * 0x9e37'79b9'7f4a'7c15ULL) >> 54;
  }
  std::vector<std::string> names_;
  std::array<std::uint8_t, 1024> table_{};  // slot + 1
};

// What of a rule has to be asked: conditions, all of which hold.
struct Condition {
  std::uint8_t slot = 0;
  Matcher matcher;
};

std::string shown(const MappingRule& rule, std::size_t index) {
  return "rule " + std::to_string(index + 1) + (rule.name.empty() ? "" : " (" + rule.name + ")");
}

}  // namespace

struct Mapping::Compiled {
  struct Says {
    std::uint16_t rule = 0;
    Template text;
  };
  struct Uses {
    std::uint16_t rule = 0;
    std::string kind;
    Template text;
  };
  struct Expressions {  // on one label
    std::unique_ptr<re2::RE2::Set> set;
    std::vector<std::uint16_t> conditions;  // by the set's index
  };

  std::vector<MappingRule> rules;
  Names names;
  std::vector<Condition> conditions;
  std::vector<std::vector<std::uint16_t>> needs;  // by rule: its conditions
  std::vector<Expressions> expressions;           // by slot; without a set where none are
  std::array<std::vector<Says>, fields> says;
  std::vector<Uses> uses;
  std::vector<std::uint16_t> kinds, directions, ignores, drops;  // rules that say something
  std::vector<std::vector<std::uint8_t>> dropped;                // by rule: slots
  std::size_t type = 0, unit = 0, temporality = 0;               // slots

  std::optional<Error> read(std::vector<MappingRule> all);
  std::optional<Error> parse(std::string_view text, const std::string& where, Template& into);
  std::optional<Error> label(std::string_view name, const std::string& where, std::uint8_t& slot);
  static std::shared_ptr<const Compiled> of(std::vector<MappingRule> all);
};

namespace {

// One label set under the rules.
template <class Compiled>
class Look {
 public:
  Look(const Compiled& rules, std::span<const LabelView> labels) : rules_(rules), labels_(labels) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::size_t slot = rules.names.slot(labels[i].name);
      if (slot != nowhere) at_[slot] = static_cast<std::uint8_t>(i + 1);
    }
  }

  bool has(std::size_t slot) const { return at_[slot] != 0; }
  std::string_view value(std::size_t slot) const {
    return at_[slot] == 0 ? std::string_view() : labels_[at_[slot] - 1u].value;
  }
  void take(std::size_t slot) {
    if (at_[slot] != 0) taken_[at_[slot] - 1u] = true;
  }
  bool taken(std::size_t label) const { return taken_[label]; }

  bool matches(std::uint16_t rule) {
    for (const std::uint16_t c : rules_.needs[rule])
      if (!holds(c)) return false;
    return true;
  }

  // Expands into `out`, unless a label is missing; marks the labels it took.
  bool expand(const Template& text, std::string& out, bool takes) {
    for (const Piece& piece : text)
      if (!piece.from.empty() && first(piece) == nowhere) return false;
    out.clear();
    for (const Piece& piece : text) {
      out += piece.literal;
      if (piece.from.empty()) continue;
      const std::size_t slot = first(piece);
      out += value(slot);
      if (takes) take(slot);
    }
    return !out.empty();
  }
  std::size_t first(const Piece& piece) const {
    for (const std::uint8_t slot : piece.from)
      if (has(slot)) return slot;
    return nowhere;
  }

 private:
  bool holds(std::uint16_t index) {
    const Condition& c = rules_.conditions[index];
    if (!c.matcher.regex) return c.matcher.matches(value(c.slot));
    if (!asked_[c.slot]) ask(c.slot);
    return true_[index] != (c.matcher.op == Matcher::Op::not_regex);
  }

  // All expressions on a label in one pass.
  void ask(std::uint8_t slot) {
    asked_[slot] = true;
    const auto& on = rules_.expressions[slot];
    std::vector<int> found;
    re2::RE2::Set::ErrorInfo fault{};
    const std::string_view text = value(slot);
    if (on.set->Match({text.data(), text.size()}, &found, &fault) ||
        fault.kind == re2::RE2::Set::kNoError) {
      for (const int i : found) true_[on.conditions[static_cast<std::size_t>(i)]] = true;
      return;
    }
    for (const std::uint16_t c : on.conditions)
      true_[c] = re2::RE2::FullMatch({text.data(), text.size()}, *rules_.conditions[c].matcher.regex);
  }

  const Compiled& rules_;
  std::span<const LabelView> labels_;
  std::array<std::uint8_t, 256> at_{};  // by slot: its place among the labels, + 1
  std::bitset<256> asked_;
  std::bitset<conditions_max> true_;  // the expression matches, whether the condition wants it or not
  std::bitset<label_set_max> taken_;
};

}  // namespace

std::optional<Error> Mapping::Compiled::label(std::string_view name, const std::string& where,
                                              std::uint8_t& slot) {
  if (name.empty()) return Error{where, "names an empty label; write ${NAME}"};
  const std::size_t found = names.add(name);
  if (names.size() > labels_max)
    return Error{where, "the rules name more than " + std::to_string(labels_max) +
                            " labels in all; merge some with one expression"};
  slot = static_cast<std::uint8_t>(found);
  return {};
}

std::optional<Error> Mapping::Compiled::parse(std::string_view text, const std::string& where,
                                              Template& into) {
  constexpr std::size_t labels_in_text_max = 8;  // a name longer than that nobody reads
  Piece piece;
  std::size_t named = 0;
  while (!text.empty()) {
    const std::size_t dollar = text.find('$');
    piece.literal += text.substr(0, dollar);
    if (dollar == text.npos) break;
    text.remove_prefix(dollar + 1);
    if (text.starts_with('$')) {
      piece.literal += '$';
      text.remove_prefix(1);
      continue;
    }
    const std::size_t end = text.find('}');
    if (!text.starts_with('{') || end == text.npos)
      return Error{where, "a $ begins ${LABEL}; for the sign itself write $$"};
    std::string_view among = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    for (;;) {
      const std::size_t bar = among.find('|');
      std::uint8_t slot = 0;
      if (auto fault = label(among.substr(0, bar), where, slot)) return fault;
      piece.from.push_back(slot);
      if (bar == among.npos) break;
      among.remove_prefix(bar + 1);
    }
    if (++named > labels_in_text_max)
      return Error{where, "has more than " + std::to_string(labels_in_text_max) + " labels"};
    into.push_back(std::exchange(piece, {}));
  }
  if (!piece.literal.empty()) into.push_back(std::move(piece));
  return {};
}

std::optional<Error> Mapping::Compiled::read(std::vector<MappingRule> all) {
  rules = std::move(all);
  type = names.add(type_label);
  unit = names.add(unit_label);
  temporality = names.add(temporality_label);
  needs.resize(rules.size());
  dropped.resize(rules.size());
  for (std::uint16_t r = 0; r < rules.size(); ++r) {
    const MappingRule& rule = rules[r];
    const std::string where = shown(rule, r);
    for (const Matcher& matcher : rule.match) {
      std::uint8_t slot = 0;
      if (auto fault = label(matcher.name, where + ": match", slot)) return fault;
      // Rules share what they ask.
      std::size_t at = 0;
      while (at < conditions.size() &&
             !(conditions[at].slot == slot && conditions[at].matcher.op == matcher.op &&
               conditions[at].matcher.value == matcher.value))
        ++at;
      if (at == conditions.size()) {
        if (at == conditions_max)
          return Error{where + ": match", "the rules ask more than " +
                                              std::to_string(conditions_max) + " conditions in all"};
        conditions.push_back({slot, matcher});
      }
      needs[r].push_back(static_cast<std::uint16_t>(at));
    }
    for (std::size_t field = 0; field < fields; ++field) {
      const std::string& text = text_of(rule, field);
      if (text.empty()) continue;
      const std::string place = where + ": " + std::string(field_names[field]);
      Template parsed;
      if (auto fault = parse(text, place, parsed)) return fault;
      const bool constant = parsed.size() == 1 && parsed[0].from.empty();
      if (field == unit_field && constant && unit_of(text) == Unit::none)
        return Error{place, "'" + text + "' is no unit; one of seconds, milliseconds, microseconds, "
                            "nanoseconds, minutes, hours, days, bytes, ratio, percent, celsius, "
                            "meters, volts, amperes, joules, watts, grams, hertz"};
      says[field].push_back({r, std::move(parsed)});
    }
    for (const MappingRule::Use& use : rule.uses) {
      Template parsed;
      if (auto fault = parse(use.dependency, where + ": uses", parsed)) return fault;
      if (use.kind.empty() || parsed.empty())
        return Error{where + ": uses", "wants KIND: TEMPLATE, e.g. source: '${source}'"};
      uses.push_back({r, use.kind, std::move(parsed)});
    }
    for (const std::string& name : rule.drop_labels) {
      std::uint8_t slot = 0;
      if (auto fault = label(name, where + ": drop_labels", slot)) return fault;
      dropped[r].push_back(slot);
    }
    if (rule.kind) kinds.push_back(r);
    if (rule.direction) directions.push_back(r);
    if (rule.ignore) ignores.push_back(r);
    if (!rule.drop_labels.empty()) drops.push_back(r);
  }

  expressions.resize(names.size());
  for (std::uint16_t c = 0; c < conditions.size(); ++c) {
    if (!conditions[c].matcher.regex) continue;
    Expressions& on = expressions[conditions[c].slot];
    if (!on.set) {
      re2::RE2::Options options;
      options.set_log_errors(false);
      options.set_max_mem(set_bytes_max);
      on.set = std::make_unique<re2::RE2::Set>(options, re2::RE2::ANCHOR_BOTH);
    }
    std::string error;
    if (on.set->Add("(?:" + conditions[c].matcher.value + ")", &error) < 0)
      return Error{"match", to_text(conditions[c].matcher) + " is not a regular expression: " + error};
    on.conditions.push_back(c);
  }
  for (Expressions& on : expressions)
    if (on.set && !on.set->Compile())
      return Error{"match", "the expressions of the rules together are too large; write simpler ones"};
  return {};
}

Result<Mapping> Mapping::make(std::vector<MappingRule> own) {
  if (own.size() > rules_max)
    return Error{"rules", "more than " + std::to_string(rules_max)};
  for (MappingRule& rule : own) rule.built_in = false;
  own.insert(own.end(), built_in_rules().begin(), built_in_rules().end());
  auto compiled = std::make_shared<Compiled>();
  if (auto fault = compiled->read(std::move(own))) return *fault;
  return Mapping(std::move(compiled));
}

Mapping::Mapping() {
  static const std::shared_ptr<const Compiled> built_in = [] {
    auto made = make({});
    assert(made);
    return made->compiled_;
  }();
  compiled_ = built_in;
}

const std::vector<MappingRule>& Mapping::rules() const { return compiled_->rules; }

template <class Tell>
SeriesIdentity Mapping::evaluate(std::span<const LabelView> labels, Tell&& tell) const {
  const Compiled& rules = *compiled_;
  SeriesIdentity identity;
  Look look(rules, labels);

  for (const std::uint16_t r : rules.ignores) {
    if (!look.matches(r)) continue;
    tell("ignore", r, nullptr, look);
    identity.ignored = *rules.rules[r].ignore;
    break;
  }

  const std::array<std::string*, fields> into = {&identity.model,
                                                 &identity.attributes.version,
                                                 &identity.attributes.environment,
                                                 &identity.attributes.region,
                                                 &identity.attributes.family,
                                                 &identity.attributes.team,
                                                 &identity.metric,
                                                 nullptr};
  for (std::size_t field = 0; field < unit_field; ++field) {
    for (const auto& says : rules.says[field]) {
      if (!look.matches(says.rule) || !look.expand(says.text, *into[field], true)) continue;
      tell(field_names[field], says.rule, &says.text, look);
      break;
    }
  }
  std::string text;
  for (const auto& says : rules.says[unit_field]) {
    if (!look.matches(says.rule) || !look.expand(says.text, text, false)) continue;
    identity.unit = unit_of(text);
    if (identity.unit == Unit::none) continue;
    tell("unit", says.rule, &says.text, look);
    break;
  }
  for (const std::uint16_t r : rules.kinds) {
    if (!look.matches(r)) continue;
    identity.kind = *rules.rules[r].kind;
    tell("kind", r, nullptr, look);
    break;
  }
  if (look.value(rules.temporality) == "delta") {
    if (identity.kind == Kind::counter) identity.kind = Kind::delta;
    if (identity.kind == Kind::bucket) identity.kind = Kind::delta_bucket;
  }
  for (const std::uint16_t r : rules.directions) {
    if (!look.matches(r)) continue;
    identity.direction = *rules.rules[r].direction;
    tell("direction", r, nullptr, look);
    break;
  }
  for (const auto& use : rules.uses) {
    const bool known = std::any_of(identity.uses.begin(), identity.uses.end(),
                                   [&](const Use& u) { return u.kind == use.kind; });
    if (known || !look.matches(use.rule) || !look.expand(use.text, text, false)) continue;
    tell("uses", use.rule, &use.text, look);
    identity.uses.push_back({text, use.kind});
  }
  for (const std::uint16_t r : rules.drops) {
    if (!look.matches(r)) continue;
    for (const std::uint8_t slot : rules.dropped[r]) look.take(slot);
    tell("drop_labels", r, nullptr, look);
  }
  for (const std::size_t slot : {rules.type, rules.unit, rules.temporality}) look.take(slot);

  std::array<LabelView, label_set_max> left;
  std::size_t count = 0;
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (!look.taken(i)) left[count++] = labels[i];
  append_labels(identity.metric, std::span(left.data(), count));
  if (identity.metric.empty()) identity.metric = "{}";
  return identity;
}

SeriesIdentity Mapping::identify(std::span<const LabelView> labels) const {
  assert(labels.size() <= label_set_max);
  return evaluate(labels, [](auto&&...) {});
}

Mapping::Explained Mapping::explain(std::span<const LabelView> labels) const {
  assert(labels.size() <= label_set_max);
  Explained out;
  const auto tell = [&](std::string_view field, std::uint16_t r, const Template* text, auto& look) {
    Because because{std::string(field), r, {}};
    const MappingRule& rule = compiled_->rules[r];
    if (!rule.match.empty()) because.why = "matches " + to_text(rule.match);
    std::string from;
    std::size_t count = 0;
    for (const Piece& piece : text == nullptr ? Template() : *text) {
      if (piece.from.empty()) continue;
      from += (count++ == 0 ? "" : ", ") + quote(compiled_->names.name(look.first(piece)));
    }
    if (count > 0)
      because.why += (because.why.empty() ? "" : ", and ") +
                     (count == 1 ? "label " + from + " says it" : "labels " + from + " say it");
    if (because.why.empty()) because.why = "no other rule says it";
    out.because.push_back(std::move(because));
  };
  out.identity = evaluate(labels, tell);
  return out;
}

void Mapping::describe(SeriesIdentity& identity) const {
  const std::string_view metric = identity.metric;
  const LabelView name{"__name__", metric.substr(0, metric.find('{'))};
  const SeriesIdentity said = evaluate(std::span(&name, 1), [](auto&&...) {});
  identity.direction = said.direction;
  identity.unit = said.unit;
}

void append_labels(std::string& out, std::span<const LabelView> labels) {
  if (labels.empty()) return;
  std::size_t bytes = out.size() + 2;
  for (const LabelView& label : labels) bytes += label.name.size() + label.value.size() + 4;
  out.reserve(bytes);
  char before = '{';
  for (const LabelView& label : labels) {
    out += before;
    out += label.name;
    out += "=\"";
    for (const char c : label.value) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
    before = ',';
  }
  out += '}';
}

Unit unit_of(std::string_view word) {
  if (word.empty()) return Unit::none;
  for (int u = 1; u <= static_cast<int>(Unit::hertz); ++u)
    if (to_word(static_cast<Unit>(u)) == word) return static_cast<Unit>(u);
  struct Short {
    std::string_view word;
    Unit unit;
  };
  constexpr std::array shorts{
      Short{"s", Unit::seconds},       Short{"sec", Unit::seconds},    Short{"second", Unit::seconds},
      Short{"secs", Unit::seconds},    Short{"ms", Unit::milliseconds}, Short{"msec", Unit::milliseconds},
      Short{"millis", Unit::milliseconds}, Short{"us", Unit::microseconds}, Short{"ns", Unit::nanoseconds},
      Short{"min", Unit::minutes},     Short{"h", Unit::hours},        Short{"d", Unit::days},
      Short{"By", Unit::bytes},        Short{"byte", Unit::bytes},
      Short{"%", Unit::percent},       Short{"pct", Unit::percent},    Short{"Cel", Unit::celsius},
      Short{"m", Unit::meters},        Short{"V", Unit::volts},        Short{"A", Unit::amperes},
      Short{"J", Unit::joules},        Short{"W", Unit::watts},        Short{"g", Unit::grams},
      Short{"Hz", Unit::hertz}};
  for (const Short& s : shorts)
    if (s.word == word) return s.unit;
  return Unit::none;
}

std::optional<Kind> kind_from(std::string_view word) {
  for (int k = 0; k <= static_cast<int>(Kind::duration); ++k)
    if (to_word(static_cast<Kind>(k)) == word) return static_cast<Kind>(k);
  return {};
}

std::optional<Direction> direction_from(std::string_view word) {
  for (int d = 0; d <= static_cast<int>(Direction::down); ++d)
    if (to_word(static_cast<Direction>(d)) == word) return static_cast<Direction>(d);
  return {};
}

}  // namespace muster
