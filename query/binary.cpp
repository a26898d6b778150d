#include <algorithm>
#include <cmath>
#include <utility>

#include "query/parts.hpp"

namespace muster::query::parts {
namespace {

double compute(Operator op, double a, double b) {
  switch (op) {
    case Operator::add: return a + b;
    case Operator::sub: return a - b;
    case Operator::mul: return a * b;
    case Operator::div: return a / b;
    case Operator::mod: return std::fmod(a, b);
    case Operator::pow: return std::pow(a, b);
    case Operator::atan2: return std::atan2(a, b);
    default: return 0;
  }
}

bool compare(Operator op, double a, double b) {
  switch (op) {
    case Operator::eq: return a == b;
    case Operator::ne: return a != b;
    case Operator::gt: return a > b;
    case Operator::lt: return a < b;
    case Operator::ge: return a >= b;
    case Operator::le: return a <= b;
    default: return false;
  }
}

// Whether the result is still the metric's own number. atan2 keeps the name, as Prometheus 2.42 has it.
bool keeps_name(Operator op) { return is_comparison(op) || op == Operator::atan2; }

// Series of one side by the labels they are matched by.
using Groups = absl::flat_hash_map<std::string, std::vector<std::size_t>>;

std::vector<std::string> keys(const Columns& columns, const Matching& m) {
  std::vector<std::string> out;
  out.reserve(columns.size());
  for (const Labels& labels : columns.labels) out.push_back(key_of(labels, m.labels, !m.on));
  return out;
}

Groups group(const std::vector<std::string>& keys) {
  Groups groups;
  for (std::size_t s = 0; s < keys.size(); ++s) groups[keys[s]].push_back(s);
  return groups;
}

// At how many steps each of a group's series is present, as one mask.
std::vector<std::uint8_t> any_of(const Columns& columns, const std::vector<std::size_t>& group) {
  std::vector<std::uint8_t> any(columns.steps);
  for (const std::size_t s : group) {
    const auto present = columns.present_of(s);
    for (std::size_t i = 0; i < any.size(); ++i) any[i] |= present[i];
  }
  return any;
}

}  // namespace

Columns set_operation(const Expression& e, Columns left, Columns right) {
  const Matching& m = e.matching;
  const auto left_keys = keys(left, m), right_keys = keys(right, m);
  if (e.op == Operator::either) {
    const Groups groups = group(left_keys);
    for (std::size_t s = 0; s < right.size(); ++s) {
      const auto found = groups.find(right_keys[s]);
      const std::size_t to = left.add(std::move(right.labels[s]));
      const auto values = left.values_of(to);
      const auto present = left.present_of(to);
      std::vector<std::uint8_t> taken(left.steps);
      if (found != groups.end()) taken = any_of(left, found->second);
      for (std::size_t i = 0; i < left.steps; ++i) {
        values[i] = right.values_of(s)[i];
        present[i] = right.present_of(s)[i] && !taken[i] ? 1 : 0;
      }
    }
    drop_absent(left);
    join_equal(left);
    return left;
  }
  const Groups groups = group(right_keys);
  absl::flat_hash_map<std::string, std::vector<std::uint8_t>> masks;
  for (const auto& [key, members] : groups) masks.emplace(key, any_of(right, members));
  const bool unless = e.op == Operator::unless;
  for (std::size_t s = 0; s < left.size(); ++s) {
    const auto found = masks.find(left_keys[s]);
    const auto present = left.present_of(s);
    for (std::size_t i = 0; i < left.steps; ++i) {
      const bool other = found != masks.end() && found->second[i] != 0;
      if (other == unless) present[i] = 0;
    }
  }
  drop_absent(left);
  return left;
}

Columns match_vectors(const Expression& e, Columns left, Columns right) {
  const Matching& m = e.matching;
  using Cardinality = Matching::Cardinality;
  // `many` is the side that may have several series a group; for one to one it is the left.
  const bool swapped = m.cardinality == Cardinality::one_to_many;
  if (swapped) std::swap(left, right);
  Columns& many = left;
  Columns& one = right;
  const auto many_keys = keys(many, m), one_keys = keys(one, m);
  const Groups groups = group(one_keys);

  for (const auto& [key, members] : groups) {
    if (members.size() < 2) continue;
    std::vector<std::size_t> holder(one.steps, one.size());
    for (const std::size_t s : members) {
      for (std::size_t i = 0; i < one.steps; ++i) {
        if (!one.present_of(s)[i]) continue;
        if (holder[i] != one.size())
          refuse("found duplicate series for the match group " +
                 to_text(kept(one.labels[s], m.labels, !m.on)) + " on the " +
                 (swapped ? "left" : "right") + " hand-side of the operation: [" + to_text(one.labels[holder[i]]) +
                 ", " + to_text(one.labels[s]) +
                 "];many-to-many matching not allowed: matching labels must be unique on one side");
        holder[i] = s;
      }
    }
  }

  const bool comparison = is_comparison(e.op);
  const bool one_to_one = m.cardinality == Cardinality::one_to_one;
  Columns out;
  out.steps = many.steps;
  absl::flat_hash_map<std::string, std::vector<std::uint8_t>> matched;  // one to one: steps already used
  for (std::size_t s = 0; s < many.size(); ++s) {
    const auto found = groups.find(many_keys[s]);
    if (found == groups.end()) continue;
    std::vector<std::uint8_t>* used = nullptr;
    if (one_to_one) {
      used = &matched[many_keys[s]];
      used->resize(out.steps);
    }
    for (const std::size_t o : found->second) {
      Labels labels = many.labels[s];
      if (!keeps_name(e.op)) drop_name(labels);
      if (one_to_one) {
        // A comparison that filters keeps the name unless on() leaves it out.
        Labels fewer;
        for (Label& label : labels) {
          const bool named = std::find(m.labels.begin(), m.labels.end(), label.name) != m.labels.end();
          if (named == m.on) fewer.push_back(std::move(label));
        }
        labels = std::move(fewer);
      }
      for (const std::string& name : m.include) set_label(labels, name, value_of(one.labels[o], name));
      if (e.returns_bool) drop_name(labels);
      const std::size_t to = out.add(std::move(labels));
      const auto values = out.values_of(to);
      const auto present = out.present_of(to);
      const auto a_values = many.values_of(s), b_values = one.values_of(o);
      const auto a_present = many.present_of(s), b_present = one.present_of(o);
      for (std::size_t i = 0; i < out.steps; ++i) {
        if (!a_present[i] || !b_present[i]) continue;
        const double a = swapped ? b_values[i] : a_values[i];
        const double b = swapped ? a_values[i] : b_values[i];
        if (comparison) {
          const bool holds = compare(e.op, a, b);
          if (!holds && !e.returns_bool) continue;
          values[i] = e.returns_bool ? (holds ? 1 : 0) : a;
        } else {
          values[i] = compute(e.op, a, b);
        }
        present[i] = 1;
        if (!used) continue;
        if ((*used)[i])
          refuse("multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)");
        (*used)[i] = 1;
      }
    }
  }
  drop_absent(out);
  join_equal(out);
  return out;
}

Columns with_scalar(const Expression& e, Columns vector, const Columns& scalar, bool scalar_is_left) {
  const bool comparison = is_comparison(e.op);
  const auto other = scalar.values_of(0);
  for (std::size_t s = 0; s < vector.size(); ++s) {
    const auto values = vector.values_of(s);
    const auto present = vector.present_of(s);
    for (std::size_t i = 0; i < vector.steps; ++i) {
      const double a = scalar_is_left ? other[i] : values[i];
      const double b = scalar_is_left ? values[i] : other[i];
      if (!comparison) {
        values[i] = compute(e.op, a, b);
      } else if (e.returns_bool) {
        values[i] = compare(e.op, a, b) ? 1 : 0;
      } else if (!compare(e.op, a, b)) {
        present[i] = 0;
      }
    }
    if (!keeps_name(e.op) || e.returns_bool) drop_name(vector.labels[s]);
  }
  drop_absent(vector);
  join_equal(vector);
  return vector;
}

Columns between_scalars(const Expression& e, Columns left, const Columns& right) {
  for (std::size_t i = 0; i < left.steps; ++i)
    left.values[i] = is_comparison(e.op) ? (compare(e.op, left.values[i], right.values[i]) ? 1 : 0)
                                         : compute(e.op, left.values[i], right.values[i]);
  return left;
}

}  // namespace muster::query::parts
