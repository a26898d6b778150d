#include "query/series_index.hpp"

#include <algorithm>
#include <deque>
#include <numeric>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "base/hash.hpp"
#include "query/expression.hpp"

namespace muster::query {
namespace {

using Symbol = std::uint32_t;

// Texts, each once, in chunks that never move.
class Symbols {
 public:
  Symbol of(std::string_view text) {
    if (const auto known = places_.find(text); known != places_.end()) return known->second;
    const std::string_view held = keep(text);
    const auto symbol = static_cast<Symbol>(texts_.size());
    texts_.push_back(held);
    places_.emplace(held, symbol);
    return symbol;
  }
  std::optional<Symbol> find(std::string_view text) const {
    const auto known = places_.find(text);
    if (known == places_.end()) return std::nullopt;
    return known->second;
  }
  std::string_view text(Symbol symbol) const { return texts_[symbol]; }
  std::size_t bytes() const {
    return chunks_.size() * chunk_bytes + texts_.capacity() * sizeof(std::string_view) +
           places_.capacity() * (sizeof(std::pair<std::string_view, Symbol>) + 1);
  }

 private:
  static constexpr std::size_t chunk_bytes = 64u << 10;
  std::string_view keep(std::string_view text) {
    if (chunks_.empty() || used_ + text.size() > size_) {
      size_ = std::max(chunk_bytes, text.size());
      chunks_.push_back(std::make_unique<char[]>(size_));
      used_ = 0;
    }
    char* to = chunks_.back().get() + used_;
    std::copy(text.begin(), text.end(), to);
    used_ += text.size();
    return {to, text.size()};
  }
  std::vector<std::unique_ptr<char[]>> chunks_;
  std::size_t used_ = 0, size_ = 0;
  std::vector<std::string_view> texts_;
  absl::flat_hash_map<std::string_view, Symbol> places_;
};

struct Pair {
  Symbol name = 0, value = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};

// Labels that many series have in common, in `pairs` at [first, first + count).
struct List {
  std::uint32_t first = 0, count = 0;
  Symbol whole = 0;  // of a metric: its text
};

// A series: what its metric says, and what its model says.
struct Entry {
  SeriesId id{};
  std::uint32_t metric = 0, owner = 0;  // in `lists`
};

std::uint64_t key_of(Pair pair) { return std::uint64_t{pair.name} << 32 | pair.value; }

constexpr std::string_view attribute_names[] = {"version", "region", "family", "team", "environment"};

bool is_own(std::string_view name) {
  return name == "model" || name == "__name__" ||
         std::find(std::begin(attribute_names), std::end(attribute_names), name) != std::end(attribute_names);
}

}  // namespace

ParsedMetric parse_metric(std::string_view metric) {
  ParsedMetric whole{std::string(metric), {}};
  const std::size_t brace = metric.find('{');
  if (brace == metric.npos || !metric.ends_with("\"}")) return whole;
  ParsedMetric out{std::string(metric.substr(0, brace)), {}};
  std::string_view rest = metric.substr(brace + 1);
  for (;;) {
    const std::size_t equals = rest.find("=\"");
    if (equals == rest.npos) return whole;
    Label label{std::string(rest.substr(0, equals)), {}};
    rest.remove_prefix(equals + 2);
    std::size_t i = 0;
    for (; i < rest.size() && rest[i] != '"'; ++i) {
      if (rest[i] != '\\') {
        label.value += rest[i];
        continue;
      }
      if (++i == rest.size()) return whole;
      label.value += rest[i] == 'n' ? '\n' : rest[i];
    }
    if (i >= rest.size() || label.name.empty()) return whole;
    rest.remove_prefix(i + 1);
    out.labels.push_back(std::move(label));
    if (rest == "}") return out;
    if (rest.empty() || rest.front() != ',') return whole;
    rest.remove_prefix(1);
  }
}

struct SeriesIndex::State {
  Symbols symbols;
  std::vector<Entry> entries;
  std::vector<Kind> kinds;  // of each
  std::vector<Pair> pairs;
  std::vector<List> lists;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> metrics, owners;  // by the hash of what they say
  absl::flat_hash_map<std::uint64_t, SeriesNumber> numbers;  // hash of (series, attributes)
  absl::flat_hash_map<std::uint64_t, std::vector<SeriesNumber>> postings;  // of (name, value), ascending
  absl::flat_hash_map<Symbol, std::vector<Symbol>> values;                 // of each label name, as they came
  struct Set {
    std::uint32_t first = 0, count = 0;  // its slots stand in `slots`
  };
  absl::flat_hash_map<std::int64_t, Set> sets;
  std::vector<SeriesNumber> slots;
  absl::flat_hash_map<Symbol, std::vector<SetId>> models;

  void label(List& list, std::string_view name, std::string_view text) {
    pairs.push_back({symbols.of(name), symbols.of(text)});
    ++list.count;
  }
  std::uint32_t metric(std::string_view text) {
    const auto [known, fresh] = metrics.try_emplace(hash64(text), static_cast<std::uint32_t>(lists.size()));
    if (!fresh) return known->second;
    List list{static_cast<std::uint32_t>(pairs.size()), 0, symbols.of(text)};
    const ParsedMetric parsed = parse_metric(text);
    if (!parsed.name.empty()) label(list, "__name__", parsed.name);
    for (const Label& of : parsed.labels) label(list, is_own(of.name) ? "exported_" + of.name : of.name, of.value);
    lists.push_back(list);
    return known->second;
  }
  std::span<const Pair> pairs_of(std::uint32_t list) const {
    return {pairs.data() + lists[list].first, lists[list].count};
  }
  template <class Take>
  void for_each(const Entry& entry, const Take& take) const {
    for (const Pair& pair : pairs_of(entry.metric)) take(pair);
    for (const Pair& pair : pairs_of(entry.owner)) take(pair);
  }

  const Pair* find(const Entry& entry, Symbol name) const {
    for (const std::uint32_t list : {entry.metric, entry.owner})
      for (const Pair& pair : pairs_of(list))
        if (pair.name == name) return &pair;
    return nullptr;
  }

  // Those that have one of the values for which the matcher holds, ascending.
  std::vector<SeriesNumber> with(const Matcher& m, Symbol name) const {
    if (m.op == Matcher::Op::equal) {
      const auto value = symbols.find(m.value);
      if (!value) return {};
      const auto found = postings.find(key_of({name, *value}));
      return found == postings.end() ? std::vector<SeriesNumber>() : found->second;
    }
    std::vector<SeriesNumber> out;
    const auto all = values.find(name);
    if (all == values.end()) return out;
    std::size_t used = 0;
    for (const Symbol value : all->second) {
      if (!m.matches(symbols.text(value))) continue;
      const auto& list = postings.at(key_of({name, value}));
      out.insert(out.end(), list.begin(), list.end());
      ++used;
    }
    if (used > 1) std::sort(out.begin(), out.end());
    return out;
  }
};

SeriesIndex::SeriesIndex() : state_(std::make_unique<State>()) {}
SeriesIndex::~SeriesIndex() = default;

void SeriesIndex::add(const SeriesSet& set) {
  State& s = *state_;
  const auto [place, fresh] = s.sets.try_emplace(static_cast<std::int64_t>(set.id));
  if (!fresh) return;
  place->second = {static_cast<std::uint32_t>(s.slots.size()), static_cast<std::uint32_t>(set.series.size())};
  const Symbol model = s.symbols.of(set.model);
  s.models[model].push_back(set.id);

  const ModelAttributes& a = set.attributes;
  const std::pair<std::string_view, std::string_view> said[] = {{"model", set.model}, {"version", a.version},
                                                                {"region", a.region}, {"family", a.family},
                                                                {"team", a.team},     {"environment", a.environment}};
  std::string all;
  for (const auto& [name, value] : said) {
    all += value;
    all += '\xff';
  }
  const std::uint64_t owner_hash = hash64(all);
  const auto [owner, new_owner] = s.owners.try_emplace(owner_hash, static_cast<std::uint32_t>(s.lists.size()));
  if (new_owner) {
    List list{static_cast<std::uint32_t>(s.pairs.size()), 0, 0};
    for (const auto& [name, value] : said)
      if (!value.empty()) s.label(list, name, value);
    s.lists.push_back(list);
  }
  for (const Series& series : set.series) {
    const auto number = static_cast<SeriesNumber>(s.entries.size());
    const auto id = static_cast<std::uint64_t>(series.id);
    const std::string_view id_bytes(reinterpret_cast<const char*>(&id), sizeof id);
    const auto [known, is_new] = s.numbers.try_emplace(hash64(id_bytes, owner_hash), number);
    s.slots.push_back(known->second);
    if (!is_new) continue;
    const Entry entry{series.id, s.metric(series.metric), owner->second};
    s.entries.push_back(entry);
    s.kinds.push_back(series.kind);
    s.for_each(entry, [&](const Pair& pair) {
      std::vector<SeriesNumber>& list = s.postings[key_of(pair)];
      if (list.empty()) s.values[pair.name].push_back(pair.value);
      list.push_back(number);
    });
  }
}

bool SeriesIndex::knows(SetId set) const { return state_->sets.contains(static_cast<std::int64_t>(set)); }
std::size_t SeriesIndex::size() const { return state_->entries.size(); }

std::size_t SeriesIndex::bytes() const {
  const State& s = *state_;
  std::size_t sum = s.symbols.bytes() + s.entries.capacity() * sizeof(Entry) + s.kinds.capacity() +
                    s.pairs.capacity() * sizeof(Pair) + s.lists.capacity() * sizeof(List) +
                    (s.metrics.capacity() + s.owners.capacity()) * 17 +
                    s.slots.capacity() * sizeof(SeriesNumber) + s.numbers.capacity() * 17 +
                    s.sets.capacity() * (sizeof(State::Set) + 9) + s.postings.capacity() * 33 +
                    s.values.capacity() * 33 + s.models.capacity() * 33;
  for (const auto& [key, list] : s.postings) sum += list.capacity() * sizeof(SeriesNumber);
  for (const auto& [key, list] : s.values) sum += list.capacity() * sizeof(Symbol);
  for (const auto& [key, list] : s.models) sum += list.capacity() * sizeof(SetId);
  return sum;
}

std::vector<SeriesNumber> SeriesIndex::select(const Selector& matchers, std::size_t max) const {
  const State& s = *state_;
  // Selector that a series without the label fails give lists, which are intersected; the others are asked
  // of each that is left.
  std::optional<std::vector<SeriesNumber>> found;
  struct Check {
    const Matcher* matcher;
    std::optional<Symbol> name;
    absl::flat_hash_map<Symbol, bool> known;  // what it said of each value: a regex is asked once
  };
  std::vector<Check> checks;
  for (const Matcher& m : matchers) {
    const auto name = s.symbols.find(m.name);
    if (m.matches("")) {
      checks.push_back({&m, name, {}});
      continue;
    }
    if (!name) return {};
    std::vector<SeriesNumber> list = s.with(m, *name);
    if (!found) {
      found = std::move(list);
    } else {
      std::vector<SeriesNumber> both;
      std::set_intersection(found->begin(), found->end(), list.begin(), list.end(), std::back_inserter(both));
      found = std::move(both);
    }
    if (found->empty()) return {};
  }
  if (!found) {
    found.emplace(s.entries.size());
    std::iota(found->begin(), found->end(), SeriesNumber{0});
  }
  for (Check& check : checks) {
    std::erase_if(*found, [&](SeriesNumber number) {
      const Pair* pair = check.name ? s.find(s.entries[number], *check.name) : nullptr;
      if (!pair) return false;
      const auto [known, fresh] = check.known.try_emplace(pair->value, false);
      if (fresh) known->second = check.matcher->matches(s.symbols.text(pair->value));
      return !known->second;
    });
  }
  if (found->size() > max) found->resize(max + 1);
  return std::move(*found);
}

Labels SeriesIndex::labels(SeriesNumber series) const {
  const State& s = *state_;
  Labels out;
  s.for_each(s.entries[series], [&](const Pair& pair) {
    out.push_back({std::string(s.symbols.text(pair.name)), std::string(s.symbols.text(pair.value))});
  });
  std::sort(out.begin(), out.end(), [](const Label& a, const Label& b) { return a.name < b.name; });
  return out;
}

SeriesId SeriesIndex::id(SeriesNumber series) const { return state_->entries[series].id; }
Kind SeriesIndex::kind(SeriesNumber series) const { return state_->kinds[series]; }
std::string_view SeriesIndex::model(SeriesNumber series) const {
  // The model is never empty, so it stands first.
  return state_->symbols.text(state_->pairs_of(state_->entries[series].owner).front().value);
}

std::string_view SeriesIndex::metric(SeriesNumber series) const {
  return state_->symbols.text(state_->lists[state_->entries[series].metric].whole);
}

std::span<const SeriesNumber> SeriesIndex::slots(SetId set) const {
  const auto found = state_->sets.find(static_cast<std::int64_t>(set));
  if (found == state_->sets.end()) return {};
  return {state_->slots.data() + found->second.first, found->second.count};
}

std::vector<SetId> SeriesIndex::sets_of(std::string_view model) const {
  const auto symbol = state_->symbols.find(model);
  if (!symbol) return {};
  const auto found = state_->models.find(*symbol);
  return found == state_->models.end() ? std::vector<SetId>() : found->second;
}

std::vector<std::string> SeriesIndex::names(const std::vector<SeriesNumber>* of) const {
  const State& s = *state_;
  std::vector<Symbol> found;
  if (!of) {
    for (const auto& [name, values] : s.values) found.push_back(name);
  } else {
    for (const SeriesNumber number : *of)
      s.for_each(s.entries[number], [&](const Pair& pair) { found.push_back(pair.name); });
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  }
  std::vector<std::string> out;
  for (const Symbol symbol : found) out.emplace_back(s.symbols.text(symbol));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> SeriesIndex::values(std::string_view name, const std::vector<SeriesNumber>* of) const {
  const State& s = *state_;
  const auto symbol = s.symbols.find(name);
  if (!symbol) return {};
  std::vector<Symbol> found;
  if (!of) {
    const auto all = s.values.find(*symbol);
    if (all != s.values.end()) found = all->second;
  } else {
    for (const SeriesNumber number : *of)
      if (const Pair* pair = s.find(s.entries[number], *symbol)) found.push_back(pair->value);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  }
  std::vector<std::string> out;
  for (const Symbol value : found) out.emplace_back(s.symbols.text(value));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace muster::query
