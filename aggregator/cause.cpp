#include <algorithm>
#include <cmath>

#include "aggregator/engine.hpp"
#include "anomaly/robust.hpp"
#include "anomaly/shift_likelihood.hpp"

// Which cause explains the smoothed scores best: docs/evidence.md, Cause.
namespace muster::aggregator {
namespace {

// log(.8 + .2 BF): a channel that a cause does not touch costs nothing much.
constexpr double hit_prior = 0.2;
constexpr std::size_t suspects_max = 5;

double channel_score(double log_bf) {
  const std::array<double, 2> terms = {std::log(1 - hit_prior), std::log(hit_prior) + log_bf};
  return anomaly::log_sum_exp(terms);
}

double hit_probability(double log_bf) {
  return std::exp(std::log(hit_prior) + log_bf - channel_score(log_bf));
}

// The smoothed scores of one lane at one window, centred per channel, with their likelihood ratios.
struct Scores {
  std::vector<float> y;
  std::vector<std::uint8_t> in;
  std::vector<anomaly::Ratios> ratios;
};

float normalised(const Lane& lane, std::size_t u, int window) {
  switch (window) {
    case 0:
      return lane.smooth[u].h3 * std::sqrt(5.0F);  // / sqrt(a / (2 - a)), a = 1/3
    case 1:
      return lane.smooth[u].h12 * std::sqrt(23.0F);  // a = 1/12
    default:
      return lane.smooth[u].h48 * std::sqrt(95.0F);  // a = 1/48
  }
}

struct Channels {
  Scores metrics;
  Scores events;
  const Scores& of(bool event) const { return event ? events : metrics; }
};

// A candidate's view of one channel.
struct ChannelFit {
  double log_bf = 0;
  double q = 0;
  std::size_t mu = 0;
};

// each_unit(f) calls f with each unit.
template <class EachUnit>
ChannelFit fit(const EachUnit& each_unit, const Scores& scores,
               const std::array<double, 4>& shares) {
  anomaly::GroupLikelihood likelihood(shares);
  bool any = false;
  each_unit([&](std::uint32_t u) {
    if (!scores.in[u]) return;
    likelihood.add(scores.ratios[u]);
    any = true;
  });
  if (!any) return {};
  const auto best = likelihood.best();
  return {.log_bf = likelihood.log_bayes_factor(), .q = best.q, .mu = best.mu};
}

std::string percent(double share) {
  return std::to_string(std::lround(100 * share)) + " %";
}

}  // namespace

Ranking Engine::rank(const Scale& scale, std::int64_t tick, const Group* group, std::uint32_t model,
                     std::uint32_t owner) const {
  // A unit counts when it is current, and nobody else's incident explains it.
  const auto included = [&](const Lane& lane, std::size_t u, const ScaleModel& m) {
    const bool current =
        lane.unit[u].seen ||
        (m.step > 1 && static_cast<float>(tick - m.last_tick) <= m.step && lane.smooth[u].h48 != 0);
    return current && (!lane.masked(u, tick) || (owner != 0 && lane.owner(u) == owner));
  };
  const auto model_of_unit = [&](bool event, std::uint32_t u) {
    return event ? u / event_kinds : scale.model_of[u];
  };

  // The window that shows most within what raised the question.
  int window = 0;
  double most = -1;
  for (int w = 0; w < 3; ++w) {
    double signal = 0;
    const auto look = [&](bool event, std::uint32_t u) {
      const Lane& lane = event ? scale.events : scale.metrics;
      if (!included(lane, u, scale.models[model_of_unit(event, u)])) return;
      const auto y = static_cast<double>(normalised(lane, u, w));
      if (event && y < 0) return;
      signal += std::max(0.0, y * y - 1);
    };
    if (group != nullptr) {
      for (const Cell& cell : group->cells)
        scale.each_unit(*group, cell, [&](std::uint32_t u) { look(cell.event, u); });
    } else {
      for (const std::uint32_t s : scale.models[model].series) look(false, s);
      for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
        if (kind != missing_event) look(true, event_kinds * model + kind);
    }
    if (signal > most) {
      most = signal;
      window = w;
    }
  }

  Channels scores;
  const auto prepare = [](Scores& out, const Lane& lane) {
    out.y.resize(lane.size());
    out.in.resize(lane.size());
    out.ratios.resize(lane.size());
  };
  prepare(scores.metrics, scale.metrics);
  prepare(scores.events, scale.events);
  const auto centre_channel = [&](bool event, const std::vector<std::uint32_t>& units) {
    Scores& out = event ? scores.events : scores.metrics;
    const Lane& lane = event ? scale.events : scale.metrics;
    std::vector<float> free;
    for (const std::uint32_t u : units) {
      out.in[u] = included(lane, u, scale.models[model_of_unit(event, u)]) ? 1 : 0;
      if (!out.in[u]) continue;
      out.y[u] = normalised(lane, u, window);
      if (!lane.masked(u, tick)) free.push_back(out.y[u]);
    }
    float centre = 0;
    float spread = 1;
    if (free.size() >= 8) {
      centre = anomaly::median(free);
      for (float& v : free) v -= centre;
      spread = std::max(1.0F, anomaly::mad_about_zero(free));
    }
    for (const std::uint32_t u : units) {
      if (!out.in[u]) continue;
      out.y[u] = (out.y[u] - centre) / spread;
      if (event) out.y[u] = std::max(0.0F, out.y[u]);
      out.ratios[u] = anomaly::shift_ratios(out.y[u]);
    }
  };
  const auto each_of_cell = [&](const Group& g, const Cell& cell) {
    return [&](const auto& f) { scale.each_unit(g, cell, f); };
  };
  const auto each_of = [](const std::vector<std::uint32_t>& units) {
    return [&](const auto& f) {
      for (const std::uint32_t u : units) f(u);
    };
  };
  std::array<std::vector<std::uint32_t>, event_kinds> event_units;
  for (std::uint32_t m = 0; m < scale.models.size(); ++m)
    for (std::uint32_t kind = 0; kind < event_kinds; ++kind)
      event_units[kind].push_back(event_kinds * m + kind);
  const std::size_t n_channels = scale.channels.size() + event_kinds;
  each(n_channels, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t c = first; c < last; ++c) {
      if (c < scale.channels.size())
        centre_channel(false, scale.channels[c].series);
      else
        centre_channel(true, event_units[c - scale.channels.size()]);
    }
  });

  // Scores of all candidates.
  std::size_t n_dependencies = 0;
  std::size_t n_families = 0;
  for (const Group& g : scale.groups) {
    n_dependencies += g.kind == Group::Kind::dependency ? 1 : 0;
    n_families += g.kind == Group::Kind::family ? 1 : 0;
  }
  std::vector<Scored> all(scale.groups.size() + scale.models.size() + 1);
  each(scale.groups.size(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t g = first; g < last; ++g) {
      const Group& candidate = scale.groups[g];
      Scored& out = all[g];
      out.kind = Scored::Kind::group;
      out.index = static_cast<std::uint32_t>(g);
      if (candidate.kind == Group::Kind::fleet) {
        out.score = -1e9;  // "everybody" is `unknown` below
        continue;
      }
      // Twins share a group, and each brings its own prior.
      out.score = candidate.kind == Group::Kind::dependency
                      ? std::log(0.6 * static_cast<double>(1 + candidate.twins.size()) /
                                 static_cast<double>(std::max<std::size_t>(n_dependencies, 1)))
                      : std::log(0.05 / static_cast<double>(n_families));
      for (const Cell& cell : candidate.cells)
        out.score += channel_score(
            fit(each_of_cell(candidate, cell), scores.of(cell.event), anomaly::group_shares)
                .log_bf);
    }
  });
  each(scale.models.size(), 256, [&](std::size_t first, std::size_t last) {
    for (std::size_t m = first; m < last; ++m) {
      Scored& out = all[scale.groups.size() + m];
      out.kind = Scored::Kind::single;
      out.index = static_cast<std::uint32_t>(m);
      out.score = std::log(0.3 / static_cast<double>(scale.models.size()));
      for (const std::uint32_t s : scale.models[m].series)
        if (scores.metrics.in[s])
          out.score += channel_score(anomaly::log_single(scores.metrics.ratios[s]));
      for (const std::uint32_t kind : {flat_event, null_event}) {
        const std::size_t u = event_kinds * m + kind;
        if (scores.events.in[u])
          out.score += channel_score(anomaly::log_single(scores.events.ratios[u]));
      }
    }
  });
  std::vector<ChannelFit> unknown(n_channels);
  each(n_channels, 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t c = first; c < last; ++c) {
      unknown[c] = c < scale.channels.size() ? fit(each_of(scale.channels[c].series),
                                                   scores.metrics, anomaly::unknown_shares)
                                             : fit(each_of(event_units[c - scale.channels.size()]),
                                                   scores.events, anomaly::unknown_shares);
    }
  });
  all.back().kind = Scored::Kind::unknown;
  all.back().score = std::log(0.05);
  for (const ChannelFit& f : unknown) all.back().score += channel_score(f.log_bf);

  std::vector<double> logs;
  for (const Scored& s : all) logs.push_back(s.score);
  const double total = anomaly::log_sum_exp(logs);
  for (Scored& s : all) s.posterior = std::exp(s.score - total);
  std::stable_sort(all.begin(), all.end(),
                   [](const Scored& a, const Scored& b) { return a.score > b.score; });

  // Who moved because of a candidate, and how much of the fleet's excess that is.
  struct Account {
    std::vector<ScoredUnit> units;
    std::vector<std::uint32_t> affected;
    std::vector<std::pair<double, std::uint32_t>> hit;  // by P(hit), then log BF
    double explained = 0;
    std::uint32_t members = 0;
  };
  const auto account_for = [&](const Scored& scored) {
    Account out;
    const auto take = [&](bool event, std::uint32_t channel, const auto& each_unit,
                          const ChannelFit& f, bool alone) {
      const double p_hit = hit_probability(f.log_bf);
      if (p_hit > 0.5) out.hit.emplace_back(f.log_bf, channel);
      const Scores& from = scores.of(event);
      each_unit([&](std::uint32_t u) {
        if (!from.in[u]) return;
        ScoredUnit unit{.event = event,
                        .unit = u,
                        .model = model_of_unit(event, u),
                        .channel = channel,
                        .y = from.y[u]};
        double r = 0;
        if (alone) {
          r = 1;
        } else {
          const double e = f.q * static_cast<double>(from.ratios[u][f.mu]);
          r = e / (1 - f.q + e);
        }
        unit.responsibility = static_cast<float>(r * p_hit);
        out.units.push_back(unit);
      });
    };
    const auto base = static_cast<std::uint32_t>(scale.channels.size());
    if (scored.kind == Scored::Kind::group) {
      const Group& g = scale.groups[scored.index];
      out.members = static_cast<std::uint32_t>(g.members.size());
      for (const Cell& cell : g.cells)
        take(cell.event, cell.event ? base + cell.channel : cell.channel, each_of_cell(g, cell),
             fit(each_of_cell(g, cell), scores.of(cell.event), anomaly::group_shares), false);
    } else if (scored.kind == Scored::Kind::single) {
      out.members = 1;
      for (const std::uint32_t s : scale.models[scored.index].series)
        if (scores.metrics.in[s])
          take(
              false, scale.channel_of[s], [&](const auto& f) { f(s); },
              {.log_bf = anomaly::log_single(scores.metrics.ratios[s])}, true);
      for (const std::uint32_t kind : {flat_event, null_event}) {
        const std::uint32_t u = event_kinds * scored.index + kind;
        if (scores.events.in[u])
          take(
              true, base + kind, [&](const auto& f) { f(static_cast<std::uint32_t>(u)); },
              {.log_bf = anomaly::log_single(scores.events.ratios[u])}, true);
      }
    } else {
      out.members = static_cast<std::uint32_t>(scale.models.size());
      for (std::uint32_t c = 0; c < n_channels; ++c)
        take(c >= base, c, each_of(c < base ? scale.channels[c].series : event_units[c - base]),
             unknown[c], false);
    }
    std::stable_sort(out.hit.begin(), out.hit.end(),
                     [](const auto& a, const auto& b) { return a.first > b.first; });
    for (const ScoredUnit& unit : out.units)
      if (unit.responsibility > 0.5F) out.affected.push_back(unit.model);
    std::sort(out.affected.begin(), out.affected.end());
    out.affected.erase(std::unique(out.affected.begin(), out.affected.end()), out.affected.end());
    return out;
  };

  Ranking ranking;
  ranking.all = std::move(all);
  const Account best = account_for(ranking.all.front());
  // The excess of the whole fleet over the channels that the best cause hits.
  const auto base = static_cast<std::uint32_t>(scale.channels.size());
  double excess = 0;
  for (const auto& [log_bf, c] : best.hit) {
    const Scores& from = scores.of(c >= base);
    for (const std::uint32_t u : c < base ? scale.channels[c].series : event_units[c - base]) {
      const auto y = static_cast<double>(from.y[u]);
      if (from.in[u] && std::abs(y) > 2) excess += y * y - 1;
    }
    ranking.hit.push_back(c);
  }
  const auto explained_by = [&](const Account& account) {
    double explained = 0;
    for (const ScoredUnit& unit : account.units) {
      if (std::abs(unit.y) <= 2 ||
          std::find(ranking.hit.begin(), ranking.hit.end(), unit.channel) == ranking.hit.end())
        continue;
      explained += static_cast<double>(unit.responsibility) *
                   (static_cast<double>(unit.y) * static_cast<double>(unit.y) - 1);
    }
    return excess > 0 ? std::min(1.0, explained / excess) : 0;
  };
  ranking.units = best.units;
  ranking.models = best.affected;
  ranking.moved = static_cast<std::uint32_t>(best.affected.size());
  ranking.explained = explained_by(best);

  for (std::size_t i = 0; i < ranking.all.size() && ranking.suspects.size() < suspects_max; ++i) {
    const Scored& scored = ranking.all[i];
    if (scored.score < -1e8) break;
    const Account account = i == 0 ? best : account_for(scored);
    Suspect suspect;
    suspect.posterior = scored.posterior;
    suspect.score = scored.score;
    suspect.moved = static_cast<std::uint32_t>(account.affected.size());
    suspect.members = account.members;
    suspect.explained = explained_by(account);
    std::vector<std::string> twins;
    if (scored.kind == Scored::Kind::group) {
      const Group& g = scale.groups[scored.index];
      suspect.id = g.id;
      suspect.kind = g.word;
      twins = g.twins;
      const std::uint32_t calm = suspect.members - suspect.moved;
      if (i == 0) {
        suspect.why = std::to_string(suspect.moved) + " of the " + std::to_string(suspect.members) +
                      " models that use it moved";
        if (g.kind == Group::Kind::family)
          suspect.why = std::to_string(suspect.moved) + " of its " +
                        std::to_string(suspect.members) + " models moved";
      } else if (suspect.explained + 0.1 < ranking.explained) {
        suspect.why = "leaves " + percent(1 - suspect.explained) + " of the excess unexplained";
      } else {
        suspect.why = std::to_string(calm) + " of its " + std::to_string(suspect.members) +
                      " models are calm";
      }
    } else if (scored.kind == Scored::Kind::single) {
      suspect.id = "model:" + models[scale.models[scored.index].global].id;
      suspect.kind = "model";
      suspect.why =
          i == 0 ? "no dependency explains it better than the model alone" : "one model alone";
    } else {
      suspect.id = "unknown";
      suspect.kind = "unknown";
      suspect.why =
          i == 0 ? "no known dependency has these models" : "a set this regular is rarely chance";
    }
    if (!twins.empty()) {
      suspect.posterior /= static_cast<double>(1 + twins.size());
      suspect.why += "; the same models use ";
      for (std::size_t t = 0; t < twins.size(); ++t) suspect.why += (t == 0 ? "" : ", ") + twins[t];
    }
    ranking.suspects.push_back(suspect);
    for (const std::string& twin : twins) {
      if (ranking.suspects.size() >= suspects_max) break;
      Suspect other = suspect;
      other.id = twin;
      for (const Dependency& d : topology.dependencies)
        if (d.id == twin) other.kind = d.kind;
      other.why = "the same models use it and " + suspect.id;
      ranking.suspects.push_back(std::move(other));
    }
  }
  return ranking;
}

}  // namespace muster::aggregator
