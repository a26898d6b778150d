#include <algorithm>
#include <cassert>
#include <cmath>
#include <set>

#include "aggregator/engine.hpp"

// The life of incidents: docs/evidence.md, Incidents.
namespace muster::aggregator {
namespace {

constexpr double score_min = 3;  // 20 : 1 against "nothing"
constexpr double near_best = 5;  // log odds within which an open incident's cause still explains
constexpr double new_cause_score = 10;  // a single model this likely is a cause of its own
constexpr std::int64_t reexamined_after = 6;
constexpr std::int64_t told_every = 6;
constexpr std::int64_t age_min = 8;
constexpr std::uint32_t below_needed = 6;
constexpr float recovered = 0.35F;
constexpr std::int64_t mask_after = 18;  // the recovery is a shift too
constexpr std::int64_t reopen_us = 12LL * 3600 * 1'000'000;
constexpr std::int64_t accepted_us = 3LL * 86400 * 1'000'000;
constexpr std::int64_t month_us = 28LL * 86400 * 1'000'000;
constexpr std::int64_t for_ever = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t affected_max = 200;  // listed; all of them are counted
constexpr std::size_t charted_max = 12;

const Lane& lane_of(const Scale& scale, const CaseUnit& unit) {
  return unit.event ? scale.events : scale.metrics;
}

// Suspects of equal score are twins: each of them is the cause.
bool is_cause(const Ranking& ranking, const std::string& id) {
  for (const Suspect& s : ranking.suspects) {
    if (s.score < ranking.suspects.front().score) return false;
    if (s.id == id) return true;
  }
  return false;
}

}  // namespace

// Takes the units a ranking explains into a case and masks them.
void Engine::explain(std::uint32_t index, std::int64_t tick, Case& c, const Ranking& ranking,
                     const Group* group) {
  Scale& scale = *scales[index];
  std::vector<std::uint8_t> touched_metrics(scale.metrics.size());
  std::vector<std::uint8_t> touched_events(scale.events.size());
  const auto mask = [&](bool event, std::uint32_t u) {
    Lane& lane = event ? scale.events : scale.metrics;
    if (lane.masked(u, tick) && lane.owner(u) != c.number) return;
    (event ? touched_events : touched_metrics)[u] = 1;
    lane.mask(u, {.owner = c.number, .until = for_ever});
    lane.bets[u] = {};
  };
  // Members x hit channels of the cause, and affected models x all channels.
  if (group != nullptr) {
    const auto base = static_cast<std::uint32_t>(scale.channels.size());
    for (const Cell& cell : group->cells) {
      const std::uint32_t channel = cell.event ? base + cell.channel : cell.channel;
      if (std::find(ranking.hit.begin(), ranking.hit.end(), channel) == ranking.hit.end()) continue;
      scale.each_unit(*group, cell, [&](std::uint32_t u) { mask(cell.event, u); });
    }
  }
  for (const std::uint32_t m : ranking.models) {
    for (const std::uint32_t s : scale.models[m].series) mask(false, s);
    for (std::uint32_t kind = 0; kind < event_kinds; ++kind) mask(true, event_kinds * m + kind);
  }
  // What is left must page by itself: the cells that lost a unit start again.
  for (Group& g : scale.groups) {
    for (Cell& cell : g.cells) {
      const auto& touched = cell.event ? touched_events : touched_metrics;
      bool lost = false;
      scale.each_unit(g, cell, [&](std::uint32_t u) { lost = lost || touched[u] != 0; });
      if (lost) cell.state.restart();
    }
    g.summarise();
  }
  for (ScaleModel& m : scale.models) {
    double evidence = 0;
    for (const std::uint32_t s : m.series)
      evidence += static_cast<double>(anomaly::sum(scale.metrics.bets[s].up) +
                                      anomaly::sum(scale.metrics.bets[s].down));
    const auto at = static_cast<std::size_t>(&m - scale.models.data());
    for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
      evidence += static_cast<double>(anomaly::sum(scale.events.bets[event_kinds * at + kind].up));
    m.evidence = static_cast<float>(evidence);
  }

  for (const ScoredUnit& unit : ranking.units) {
    if (unit.responsibility <= 0.5F) continue;
    const auto known = std::find_if(c.affected.begin(), c.affected.end(), [&](const CaseUnit& u) {
      return u.scale == index && u.event == unit.event && u.unit == unit.unit;
    });
    if (known != c.affected.end()) {
      known->strength = std::max(known->strength, std::abs(unit.y));
      continue;
    }
    c.affected.push_back({.scale = index,
                          .event = unit.event,
                          .unit = unit.unit,
                          .sign = unit.y < 0 ? -1.0F : 1.0F,
                          .strength = std::abs(unit.y)});
  }
}

void Engine::release(const Case& c) {
  for (const auto& scale : scales)
    for (Lane* lane : {&scale->metrics, &scale->events})
      for (auto& [u, mask] : lane->masks)
        if (mask.owner == c.number && mask.until == for_ever)
          mask.until = scale->closed + mask_after;
}

void Engine::fill(Case& c, const Ranking& ranking) {
  const Scale& scale = *scales[c.scale];
  Incident& i = c.incident;
  i.suspects = ranking.suspects;
  i.cause = ranking.suspects.front().id;
  i.cause_kind = ranking.suspects.front().kind;
  i.members = ranking.suspects.front().members;
  i.explained = ranking.explained;
  i.team.clear();
  const Scored& best = ranking.all.front();
  if (best.kind == Scored::Kind::group) i.team = scale.groups[best.index].team;
  if (best.kind == Scored::Kind::single) i.team = team_of(models[scale.models[best.index].global]);
  if (!ranking.hit.empty()) {
    const auto base = static_cast<std::uint32_t>(scale.channels.size());
    c.hit_event = ranking.hit.front() >= base;
    c.hit_channel = c.hit_event ? ranking.hit.front() - base : ranking.hit.front();
    double direction = 0;
    for (const ScoredUnit& unit : ranking.units)
      if (unit.channel == ranking.hit.front())
        direction += static_cast<double>(unit.responsibility * unit.y);
    c.down = direction < 0;
  }
}

// Brings what people read up to the newest tick: who is affected and how, the evidence, the
// sentences.
void Engine::refresh(Case& c) {
  const Scale& home = *scales[c.scale];
  Incident& i = c.incident;
  std::set<std::string> model_names;
  std::set<std::string> metric_names;
  std::vector<std::pair<AffectedSeries, const CaseUnit*>> lines;
  for (const CaseUnit& unit : c.affected) {
    const Scale& scale = *scales[unit.scale];
    const Lane& lane = lane_of(scale, unit);
    AffectedSeries a;
    const Deviation& deviation = lane.deviation[unit.unit];
    if (unit.event) {
      a.model = models[scale.models[unit.unit / event_kinds].global].id;
      a.metric = scale.channel_name(static_cast<std::uint32_t>(scale.channels.size()) +
                                    unit.unit % event_kinds);
    } else {
      a.model = models[scale.models[scale.model_of[unit.unit]].global].id;
      a.metric = scale.channels[scale.channel_of[unit.unit]].name;
    }
    a.sigma = static_cast<double>(deviation.drift);
    a.since = deviation.out_since != 0 ? scale.out_since(deviation) : i.opened_at;
    model_names.insert(a.model);
    metric_names.insert(a.metric);
    lines.emplace_back(std::move(a), &unit);
  }
  std::stable_sort(lines.begin(), lines.end(), [](const auto& a, const auto& b) {
    const double x = std::abs(a.first.sigma);
    const double y = std::abs(b.first.sigma);
    return std::tie(y, a.first.model, a.first.metric) < std::tie(x, b.first.model, b.first.metric);
  });
  i.affected.clear();
  std::size_t charted = 0;
  for (auto& [a, unit] : lines) {
    if (i.affected.size() >= affected_max) break;
    const Scale& scale = *scales[unit->scale];
    if (charted < charted_max && !unit->event) {
      ++charted;
      const anomaly::Baseline& base = scale.series[unit->unit].base;
      const std::int32_t week_shift = scale.models[scale.model_of[unit->unit]].week_shift;
      const float half = 1.96F * anomaly::spread(base);
      for (const Column& column : scale.recent) {
        const anomaly::Phase phase = anomaly::phase_of(column.ts.us / 1'000'000, week_shift);
        const float middle = anomaly::usual(base, scale.seasons.at(unit->unit), phase);
        const float v =
            unit->unit < column.values.size() ? column.values[unit->unit] : absent_value;
        a.ts.push_back(column.ts);
        a.value.push_back(v == absent_value ? std::nullopt : std::optional(static_cast<double>(v)));
        a.low.push_back(anomaly::untransformed(base, middle - half));
        a.high.push_back(anomaly::untransformed(base, middle + half));
      }
    }
    i.affected.push_back(std::move(a));
  }
  i.models.assign(model_names.begin(), model_names.end());
  i.metrics.assign(metric_names.begin(), metric_names.end());
  i.moved = static_cast<std::uint32_t>(i.models.size());
  i.expected_by_chance = 0.05 * i.members;
  i.updated_at = home.end_of(home.closed);
  for (const Group& g : home.groups) {
    const bool named = i.cause == g.id || (i.cause == "unknown" && g.kind == Group::Kind::fleet) ||
                       std::find(g.twins.begin(), g.twins.end(), i.cause) != g.twins.end();
    if (named) i.timeline.assign(g.history.begin(), g.history.end());
  }
  const bool wide = i.moved >= 10 || (i.moved >= 5 && 2 * i.moved >= i.members);
  i.severity = !i.paged ? Incident::Severity::info
               : wide   ? Incident::Severity::critical
                        : Incident::Severity::warning;
  i.events.clear();
  for (auto e = events.rbegin(); e != events.rend() && i.events.size() < 20; ++e)
    if (e->ts <= i.opened_at && i.started_at - e->ts <= std::chrono::hours(6))
      i.events.push_back(*e);
  i.title = title_of(*this, c);
  i.why = why_of(*this, c);
  i.first_look = first_look_of(*this, c);
}

void Engine::tell(Case& c, Finding::What what, std::vector<Finding>& findings) {
  c.told_tick = scales[c.scale]->closed;
  c.told_moved = c.incident.moved;
  findings.push_back({.what = what,
                      .sequence = ++c.sequence,
                      .at = c.incident.updated_at,
                      .incident = c.incident});
}

void Engine::examine(std::uint32_t index, std::int64_t tick, std::vector<Finding>& findings) {
  Scale& scale = *scales[index];
  const double a = threshold(scale);
  struct Candidate {
    double evidence;
    bool single;
    std::uint32_t index;
  };
  const auto candidates = [&] {
    std::vector<Candidate> out;
    for (std::uint32_t g = 0; g < scale.groups.size(); ++g)
      if (static_cast<double>(scale.groups[g].evidence) >= a)
        out.push_back({static_cast<double>(scale.groups[g].evidence), false, g});
    for (std::uint32_t m = 0; m < scale.models.size(); ++m)
      if (static_cast<double>(scale.models[m].evidence) >= a)
        out.push_back({static_cast<double>(scale.models[m].evidence), true, m});
    std::stable_sort(out.begin(), out.end(),
                     [](const auto& x, const auto& y) { return x.evidence > y.evidence; });
    return out;
  };
  const auto restart = [&](const Candidate& c) {
    if (!c.single) {
      for (Cell& cell : scale.groups[c.index].cells) cell.state.restart();
      scale.groups[c.index].evidence = 0;
      return;
    }
    for (const std::uint32_t s : scale.models[c.index].series) scale.metrics.bets[s] = {};
    for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
      scale.events.bets[event_kinds * c.index + kind].up = {};
    scale.models[c.index].evidence = 0;
  };
  const bool learning = days_left(scale) > 0;

  for (std::uint32_t round = 0; round < settings.candidates_max; ++round) {
    // Explaining one candidate takes the evidence from others: they are asked again each time.
    const std::vector<Candidate> now_over = candidates();
    if (now_over.empty()) break;
    if (learning) {
      for (const Candidate& c : now_over) restart(c);
      break;
    }
    const Candidate candidate = now_over.front();
    const Group* group = candidate.single ? nullptr : &scale.groups[candidate.index];
    const double share = candidate.single ? scale.single_share : group->share;
    const Ranking ranking = rank(scale, tick, group, candidate.index, 0);
    const Scored& best = ranking.all.front();
    const Group* cause_group =
        best.kind == Scored::Kind::group ? &scale.groups[best.index] : nullptr;
    if (best.score < score_min || ranking.models.empty()) {
      restart(candidate);
      ++counters.candidates_dropped;
      continue;
    }
    if (best.kind == Scored::Kind::unknown) {
      // A move of the whole fleet, with loadings that are not exactly known: shown, never blamed.
      const bool fleet_wide = std::any_of(
          ranking.hit.begin(), ranking.hit.end(),
          [&](std::uint32_t c) { return c < scale.channels.size() && scale.channels[c].tau > 0; });
      if (fleet_wide) {
        restart(candidate);
        ++counters.candidates_dropped;
        continue;
      }
    }
    std::vector<std::string> affected;
    for (const std::uint32_t m : ranking.models)
      affected.push_back(models[scale.models[m].global].id);
    std::sort(affected.begin(), affected.end());

    Case* home = nullptr;
    for (auto it = cases.rbegin(); it != cases.rend() && home == nullptr; ++it) {
      Case& c = *it;
      const Incident& i = c.incident;
      if (i.state == Incident::State::merged) continue;
      if (i.state == Incident::State::resolved &&
          (scale.end_of(tick) - *i.resolved_at).count() >= reopen_us)
        continue;
      std::vector<std::string> shared;
      std::set_intersection(affected.begin(), affected.end(), i.models.begin(), i.models.end(),
                            std::back_inserter(shared));
      const double overlap =
          static_cast<double>(shared.size()) /
          static_cast<double>(std::max<std::size_t>(1, std::min(affected.size(), i.models.size())));
      const double held = static_cast<double>(shared.size()) / static_cast<double>(affected.size());
      const bool same_cause = i.cause != "unknown" && is_cause(ranking, i.cause);
      bool explains = false;
      for (const Scored& s : ranking.all) {
        if (s.score < best.score - near_best) break;
        const std::string id = s.kind == Scored::Kind::group ? scale.groups[s.index].id
                               : s.kind == Scored::Kind::single
                                   ? "model:" + models[scale.models[s.index].global].id
                                   : "unknown";
        explains =
            explains || id == i.cause ||
            (s.kind == Scored::Kind::group &&
             std::find(scale.groups[s.index].twins.begin(), scale.groups[s.index].twins.end(),
                       i.cause) != scale.groups[s.index].twins.end());
      }
      const bool vague =
          best.kind != Scored::Kind::group && held >= 0.5 && best.score < new_cause_score;
      if (same_cause || (overlap >= 0.5 && (!versions_said || explains || vague))) home = &c;
    }
    if (home != nullptr) {
      const bool reopened = home->incident.state == Incident::State::resolved;
      explain(index, tick, *home, ranking, cause_group);
      home->news_tick = scales[home->scale]->closed;
      if (reopened) {
        home->incident.state = Incident::State::open;
        home->incident.resolved_at.reset();
        home->below = 0;
        home->opened_tick = scales[home->scale]->closed;
        home->level = home->peak = 0;
        if (!home->incident.paged) count_page(home->incident, scale.end_of(tick));
      }
      refresh(*home);
      tell(*home, reopened ? Finding::What::reopened : Finding::What::attached, findings);
      restart(candidate);
      continue;
    }

    Case& c = cases.emplace_back();
    c.number = ++last_number;
    c.scale = index;
    c.opened_tick = c.news_tick = tick;
    Incident& i = c.incident;
    const std::string digits = std::to_string(c.number);
    i.id = "INC-" + std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
    i.opened_at = i.started_at = scale.end_of(tick);
    count_page(i, i.opened_at);
    i.evidence = share > 0 ? candidate.evidence / share : candidate.evidence;
    i.needed = share > 0 ? a / share : a;
    i.score = 100;
    fill(c, ranking);
    explain(index, tick, c, ranking, cause_group);
    for (const CaseUnit& unit : c.affected) {
      const Deviation& deviation = lane_of(scale, unit).deviation[unit.unit];
      if (deviation.out_since != 0)
        i.started_at = std::min(i.started_at, scale.out_since(deviation));
    }
    refresh(c);
    restart(candidate);
    tell(c, Finding::What::opened, findings);
  }
}

void Engine::count_page(Incident& incident, Timestamp at) {
  if (settings.pages_from && at < *settings.pages_from) return;
  incident.paged = true;
  ++counters.pages;
  pages.push_back(at);
  while ((at - pages.front()).count() > month_us) pages.pop_front();
}

void Engine::upkeep(std::uint32_t index, std::int64_t tick, std::vector<Finding>& findings) {
  Scale& scale = *scales[index];
  for (std::size_t at = 0; at < cases.size(); ++at) {
    Case& c = cases[at];
    Incident& i = c.incident;
    if (i.state != Incident::State::open || c.scale != index || c.opened_tick == tick) continue;

    // How far the affected are from what was usual before, in their own sigmas.
    double total = 0;
    for (const CaseUnit& unit : c.affected)
      total += static_cast<double>(unit.sign *
                                   lane_of(*scales[unit.scale], unit).deviation[unit.unit].drift);
    const auto mean =
        static_cast<float>(total / std::max<double>(1, static_cast<double>(c.affected.size())));
    c.level += 0.15F * (mean - c.level);
    c.peak = std::max(c.peak, c.level);
    const std::int64_t age = tick - c.opened_tick;
    c.below = c.level < recovered * c.peak || c.level <= 0 ? c.below + 1 : 0;
    const bool accepted = (tick - c.news_tick) * scale.step >= accepted_us;
    if ((age >= age_min && c.below >= below_needed) || accepted) {
      refresh(c);
      i.state = Incident::State::resolved;
      i.resolved_at = scale.end_of(tick);
      release(c);
      tell(c, Finding::What::resolved, findings);
      continue;
    }

    if (!c.examined_again && age >= reexamined_after) {
      c.examined_again = true;
      const Group* group = nullptr;
      std::uint32_t single = none;
      for (const Group& g : scale.groups)
        if (g.id == i.cause || (i.cause == "unknown" && g.kind == Group::Kind::fleet)) group = &g;
      if (group == nullptr && i.cause.starts_with("model:")) {
        const auto model = model_index.find(i.cause.substr(6));
        if (model != model_index.end()) single = models[*model].local;
      }
      if (group == nullptr && single == none) continue;
      const Ranking ranking = rank(scale, tick, group, single, c.number);
      if (ranking.all.front().score < score_min || ranking.models.empty()) continue;
      const std::string before = i.cause;
      const std::uint32_t moved = i.moved;
      fill(c, ranking);
      const Scored& best = ranking.all.front();
      explain(index, tick, c, ranking,
              best.kind == Scored::Kind::group ? &scale.groups[best.index] : nullptr);
      refresh(c);
      // Two incidents of one cause are one: the older id stays.
      Case* elder = nullptr;
      for (Case& other : cases)
        if (&other != &c && other.incident.state == Incident::State::open &&
            other.number < c.number && other.incident.cause == i.cause && i.cause != "unknown" &&
            elder == nullptr)
          elder = &other;
      if (elder != nullptr) {
        i.state = Incident::State::merged;
        i.merged_into = elder->incident.id;
        i.resolved_at = scale.end_of(tick);
        for (const CaseUnit& unit : c.affected) elder->affected.push_back(unit);
        for (const auto& s : scales)
          for (Lane* lane : {&s->metrics, &s->events})
            for (auto& [u, mask] : lane->masks)
              if (mask.owner == c.number) mask.owner = elder->number;
        elder->news_tick = scales[elder->scale]->closed;
        tell(c, Finding::What::merged, findings);
        refresh(*elder);
        tell(*elder, Finding::What::attached, findings);
        continue;
      }
      if (before != i.cause || moved != i.moved) tell(c, Finding::What::updated, findings);
      continue;
    }
    if (tick - c.told_tick >= told_every) {
      const Incident::Severity severity = i.severity;
      refresh(c);
      if (i.moved != c.told_moved || severity != i.severity)
        tell(c, Finding::What::updated, findings);
      else
        c.told_tick = tick;
    }
  }

  std::size_t closed = 0;
  for (const Case& c : cases) closed += c.incident.state != Incident::State::open ? 1 : 0;
  for (auto it = cases.begin(); closed > settings.closed_incidents_max && it != cases.end();) {
    if (it->incident.state != Incident::State::open) {
      it = cases.erase(it);
      --closed;
    } else {
      ++it;
    }
  }
}

}  // namespace muster::aggregator
