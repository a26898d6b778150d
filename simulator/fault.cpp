#include "simulator/fault.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cassert>
#include <cmath>

#include "simulator/fleet.hpp"

namespace muster::simulator {
namespace {

namespace json = boost::json;

enum Purpose : std::uint32_t { for_victims = 'v', for_plan = 'p' };

struct KindWords {
  FaultKind kind;
  std::string_view word;
  std::string_view phrase;
};
constexpr KindWords words[]{
    {FaultKind::upstream_break, "upstream_break", "breaks"},
    {FaultKind::schema_change, "schema_change", "changes its schema"},
    {FaultKind::package_regression, "package_regression", "regresses"},
    {FaultKind::single_model, "single_model", "fails alone"},
    {FaultKind::slow_drift, "slow_drift", "drifts slowly"},
    {FaultKind::stale_feed, "stale_feed", "goes stale"},
    {FaultKind::region_outage, "region_outage", "falls silent"},
    {FaultKind::outside_graph, "outside_graph", "something outside the graph breaks"},
};

enum MetricIndex : std::size_t { psi_drift, null_rate, latency, prediction, error_rate, requests };
static_assert(metrics[psi_drift].id == "psi_drift" && metrics[null_rate].id == "null_rate" &&
              metrics[latency].id == "latency_p95_ms" &&
              metrics[prediction].id == "prediction_mean" &&
              metrics[error_rate].id == "error_rate" &&
              metrics[requests].id == "requests_per_second");

// How a kind of fault moves a metric, against its strength.
struct Move {
  std::size_t metric;
  double weight;
  double chance = 1;        // that this fault touches the metric at all
  bool either_way = false;  // the direction is the fault's own
};

std::vector<Move> moves_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::upstream_break:
      return {{psi_drift, 1},
              {prediction, 1, 0.7, true},
              {error_rate, 0.8, 0.5},
              {null_rate, 0.8, 0.4}};
    case FaultKind::schema_change:
      return {{null_rate, 1.5}, {psi_drift, 0.7, 0.6}};
    case FaultKind::package_regression:
      return {{latency, 1.2}, {error_rate, 0.8, 0.8}};
    case FaultKind::single_model:
      return {{psi_drift, 4}, {error_rate, 3, 0.7}, {prediction, 3, 0.5, true}};
    case FaultKind::slow_drift:
      return {{psi_drift, 1.6}, {prediction, 1.4, 0.7, true}};
    case FaultKind::stale_feed:
      return {{psi_drift, 0.9}};
    case FaultKind::region_outage:
      return {};
    case FaultKind::outside_graph:
      return {{psi_drift, 1.3}, {error_rate, 1.1, 0.7}, {prediction, 1.2, 0.5, true}};
  }
  return {};
}

// Time in a truth file: seconds or milliseconds. Seconds reach 10^11 in the year 5138, milliseconds
// did in 1973.
Timestamp time_of_number(double number) {
  return number < 1e11 ? Timestamp{static_cast<std::int64_t>(number * 1e6)}
                       : from_millis(static_cast<std::int64_t>(number));
}

}  // namespace

std::string_view to_word(FaultKind kind) {
  return words[static_cast<std::size_t>(kind)].word;
}
std::string_view to_phrase(FaultKind kind) {
  return words[static_cast<std::size_t>(kind)].phrase;
}

std::optional<FaultKind> fault_kind(std::string_view word) {
  for (const KindWords& entry : words) {
    if (entry.word == word) return entry.kind;
  }
  return std::nullopt;
}

std::vector<std::uint32_t> Fleet::users(std::string_view cause) const {
  const auto by_id = [](const auto& entry, std::string_view id) { return entry.id < id; };
  const auto& deps = topology_.dependencies;
  if (const auto d = std::lower_bound(deps.begin(), deps.end(), cause, by_id);
      d != deps.end() && d->id == cause) {
    return dependants_[static_cast<std::size_t>(d - deps.begin())];
  }
  const auto& ms = topology_.models;
  if (const auto m = std::lower_bound(ms.begin(), ms.end(), cause, by_id);
      m != ms.end() && m->id == cause) {
    return {static_cast<std::uint32_t>(m - ms.begin())};
  }
  return {};
}

Result<Truth> Fleet::inject(const Fault& fault) {
  if (fault.first < 0 || fault.last <= fault.first) {
    return Error{"fault", "must last from a tick >= 0 to a later one"};
  }
  const std::uint32_t id = fault.id != 0 ? fault.id : last_fault_ + 1;
  Dice dice(seed_, for_victims, id);

  std::vector<std::uint32_t> victims;
  if (fault.kind == FaultKind::outside_graph) {
    const double share = dice.between(0.06, 0.15);
    for (std::uint32_t m = 0; m < models_.size(); ++m) {
      if (dice.chance(share)) victims.push_back(m);
    }
    // Fewer would be single models by another name.
    const std::size_t enough = std::min<std::size_t>(8, models_.size());
    while (victims.size() < enough) {
      const std::uint32_t m = dice.below(static_cast<std::uint32_t>(models_.size()));
      const auto at = std::lower_bound(victims.begin(), victims.end(), m);
      if (at == victims.end() || *at != m) victims.insert(at, m);
    }
  } else {
    const std::vector<std::uint32_t> candidates = users(fault.cause);
    if (candidates.empty()) {
      return Error{"fault.cause", "no model uses '" + fault.cause +
                                      "'; name a dependency or a model of the topology"};
    }
    for (const std::uint32_t m : candidates) {
      if (dice.chance(fault.share)) victims.push_back(m);
    }
    if (victims.empty())
      victims.push_back(candidates[dice.below(static_cast<std::uint32_t>(candidates.size()))]);
  }

  Truth truth{id,
              std::string(to_word(fault.kind)),
              fault.cause,
              {},
              {},
              time_of(fault.first),
              time_of(fault.last),
              0};
  if (fault.kind == FaultKind::single_model) truth.root_cause = "model:" + fault.cause;
  if (fault.kind == FaultKind::outside_graph) truth.root_cause = "unknown";

  Effect effect;
  effect.fault = fault;
  std::array<bool, metrics.size()> hit{};
  for (const Move& move : moves_of(fault.kind)) {
    if (!dice.chance(move.chance)) continue;
    hit[move.metric] = true;
    const double way = move.either_way && dice.chance(0.5) ? -1 : 1;
    for (const std::uint32_t m : victims) {
      const auto series = static_cast<std::uint32_t>(m * metrics.size() + move.metric);
      effect.shifts.push_back(
          {series, way * move.weight * fault.strength * dice.between(0.7, 1.3)});
      truth.shift += std::abs(effect.shifts.back().sigma);
    }
  }
  if (!effect.shifts.empty()) truth.shift /= static_cast<double>(effect.shifts.size());

  for (const std::uint32_t m : victims) {
    truth.models.push_back(topology_.models[m].id);
    const auto series = static_cast<std::uint32_t>(m * metrics.size() + prediction);
    if (fault.kind == FaultKind::schema_change) effect.nulls.push_back(series);
    if (fault.kind == FaultKind::region_outage) effect.silent.push_back(m);
    if (fault.kind == FaultKind::stale_feed) {
      const double deployed = deploy_shift(m, prediction, deploys_by(m, fault.first));
      const Series& s = series_[series];
      effect.flat.push_back(series);
      effect.held.push_back(value_at(series, s.level + s.sigma * (season(s, hour_of(fault.first)) +
                                                                  deployed + dice.between(-1, 1))));
    }
  }
  hit[prediction] = hit[prediction] || fault.kind == FaultKind::schema_change ||
                    fault.kind == FaultKind::stale_feed;
  if (fault.kind == FaultKind::region_outage) hit.fill(true);
  for (std::size_t k = 0; k < metrics.size(); ++k) {
    if (hit[k]) truth.metrics.emplace_back(metrics[k].id);
  }

  last_fault_ = id;
  effects_.push_back(std::move(effect));
  truth_.push_back(truth);
  if (fault.first <= at_) at_ = -1;  // what waits there was made without this fault
  return truth;
}

void Fleet::forget_before(Tick t) {
  // Late reports of earlier ticks may still be made again (tick()).
  std::size_t kept = 0;
  for (std::size_t i = 0; i < effects_.size(); ++i) {
    if (effects_[i].fault.last + late_max < t) continue;
    if (kept != i) {
      effects_[kept] = std::move(effects_[i]);
      truth_[kept] = std::move(truth_[i]);
    }
    ++kept;
  }
  effects_.resize(kept);
  truth_.resize(kept);
}

Fault invent_fault(const Fleet& fleet, FaultKind kind, Dice& dice) {
  const Topology& topology = fleet.topology();
  Fault fault;
  fault.kind = kind;
  if (kind == FaultKind::outside_graph) return fault;
  if (kind == FaultKind::single_model) {
    fault.cause =
        topology.models[dice.below(static_cast<std::uint32_t>(topology.models.size()))].id;
    fault.share = 1;
    return fault;
  }
  const auto fits = [&](const Dependency& d) {
    if (kind == FaultKind::region_outage) return d.kind == "region";
    if (kind == FaultKind::package_regression) return d.kind == "package";
    return d.kind == "source" || d.kind == "feature_pipeline";
  };
  // Enough users to be told from chance; in a small fleet, whatever there is.
  for (const std::size_t enough : {std::size_t{8}, std::size_t{1}}) {
    std::vector<const Dependency*> candidates;
    for (const Dependency& d : topology.dependencies) {
      if (fits(d) && fleet.users(d.id).size() >= enough) candidates.push_back(&d);
    }
    if (candidates.empty()) continue;
    fault.cause = candidates[dice.below(static_cast<std::uint32_t>(candidates.size()))]->id;
    return fault;
  }
  fault.kind = FaultKind::outside_graph;
  return fault;
}

std::vector<Fault> plan_faults(const Fleet& fleet, const FaultPlan& plan) {
  assert(plan.per_week > 0);
  // How often each kind comes, out of 100.
  constexpr std::pair<FaultKind, double> shares[]{
      {FaultKind::upstream_break, 30},     {FaultKind::schema_change, 10},
      {FaultKind::package_regression, 15}, {FaultKind::single_model, 12},
      {FaultKind::slow_drift, 12},         {FaultKind::stale_feed, 10},
      {FaultKind::region_outage, 3},       {FaultKind::outside_graph, 8}};
  Dice dice(fleet.seed(), for_plan);
  const auto kind = [&] {
    double left = dice.between(0, 100);
    for (const auto& [candidate, share] : shares) {
      if ((left -= share) <= 0) return candidate;
    }
    return FaultKind::upstream_break;
  };
  const double day = static_cast<double>(Duration(std::chrono::days(1)) / fleet.shape().tick);
  const auto invent = [&](Tick first) {
    Fault fault = invent_fault(fleet, kind(), dice);
    fault.first = first;
    const double days =
        fault.kind == FaultKind::slow_drift ? dice.between(0.7, 1.5) : dice.between(0.2, 0.8);
    fault.last = first + static_cast<Tick>(days * day);
    fault.strength = dice.between(plan.strength_low, plan.strength_high);
    if (fault.kind != FaultKind::single_model) fault.share = dice.between(0.5, 1);
    return fault;
  };

  std::vector<Fault> faults;
  // A fault in each stretch of equal length, somewhere in its first 60 %, so that recoveries have
  // room.
  const double stretch = 7 * day / plan.per_week;
  for (double from = static_cast<double>(plan.first);
       from + stretch <= static_cast<double>(plan.last); from += stretch) {
    const Fault fault = invent(static_cast<Tick>(from + dice.between(0, 0.6) * stretch));
    faults.push_back(fault);
    if (!dice.chance(plan.together)) continue;
    Fault second =
        invent(fault.first + static_cast<Tick>(dice.between(0, 0.5) *
                                               static_cast<double>(fault.last - fault.first)));
    // Two causes, not one cause twice.
    if (second.cause != fault.cause) faults.push_back(std::move(second));
  }
  return faults;
}

std::string to_json(const std::vector<Truth>& truth) {
  json::array all;
  for (const Truth& t : truth) {
    all.push_back(json::object{{"id", t.id},
                               {"kind", t.kind},
                               {"root_cause", t.root_cause},
                               {"models", json::array(t.models.begin(), t.models.end())},
                               {"metrics", json::array(t.metrics.begin(), t.metrics.end())},
                               {"start", to_millis(t.start)},
                               {"end", to_millis(t.end)},
                               {"shift", t.shift}});
  }
  return json::serialize(all);
}

Result<std::vector<Truth>> parse_truth(std::string_view text) {
  boost::system::error_code failed;
  const json::value parsed = json::parse(text, failed);
  if (failed) return Error{"truth", "not JSON: " + failed.message()};
  if (!parsed.is_array()) return Error{"truth", "must be an array of objects"};

  std::vector<Truth> all;
  for (const json::value& entry : parsed.get_array()) {
    const std::string where = "truth[" + std::to_string(all.size()) + "]";
    const json::object* o = entry.if_object();
    if (!o) return Error{where, "must be an object"};
    const auto text_of = [&](std::string_view key) {
      const json::value* v = o->if_contains(key);
      return v && v->is_string() ? std::string(v->get_string()) : std::string();
    };
    const auto number = [&](std::string_view key) -> std::optional<double> {
      const json::value* v = o->if_contains(key);
      if (!v || !v->is_number()) return std::nullopt;
      return v->to_number<double>();
    };
    const auto list = [&](std::string_view key, std::vector<std::string>& into) {
      const json::value* v = o->if_contains(key);
      if (!v || !v->is_array()) return;
      for (const json::value& one : v->get_array()) {
        if (one.is_string()) into.emplace_back(one.get_string());
      }
    };
    Truth t;
    t.id = static_cast<std::uint32_t>(number("id").value_or(static_cast<double>(all.size())));
    t.kind = text_of("kind");
    t.root_cause = text_of("root_cause");
    list("models", t.models);
    list("affected", t.models);
    list("metrics", t.metrics);
    const auto start = number("start");
    const auto end = number("end");
    if (!start || !end || *end < *start)
      return Error{where, "needs `start` and a later `end`, unix seconds or milliseconds"};
    if (t.root_cause.empty()) return Error{where + ".root_cause", "must be a non-empty string"};
    t.start = time_of_number(*start);
    t.end = time_of_number(*end);
    t.shift = number("shift").value_or(number("mean_shift_in_sigma").value_or(0));
    all.push_back(std::move(t));
  }
  return all;
}

}  // namespace muster::simulator
