#include <algorithm>
#include <cmath>
#include <cstdio>

#include "aggregator/engine.hpp"

namespace muster::aggregator {
namespace {

constexpr std::size_t static_findings_max =
    500;  // a page of them; more is one finding: the fleet is down
constexpr std::size_t recent_events_max = 50;
constexpr Duration day = std::chrono::hours(24);

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

std::string signed_sigma(double sigma) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.1f sigma", sigma);
  return text;
}

}  // namespace

FleetView Engine::view() const {
  FleetView out;
  // Before the first tick has closed there is still something to see: who has begun to report.
  const bool none_closed = now == Timestamp{};
  out.at = !none_closed                             ? now
           : counters.samples > counters.not_judged ? Timestamp{newest}
                                                    : Timestamp{};
  out.samples = counters.samples;
  out.series = counters.series;
  // The page's time axis is that of the scale with most models.
  const Scale* main = nullptr;
  double left = settings.warmup_days;
  Timestamp promised_since = now;
  for (const auto& scale : scales) {
    if (!scale->started()) continue;
    if (main == nullptr || scale->models.size() > main->models.size()) main = scale.get();
    left = std::min(left, days_left(*scale));
    const auto warm = Duration(static_cast<std::int64_t>(settings.warmup_days * 86400e6));
    promised_since = std::min(promised_since, scale->end_of(scale->first_tick) + warm);
  }
  out.learning_days_left = left;
  out.learning = left > 0;
  promised_since = std::max(promised_since, now - std::chrono::hours(24 * 28));
  if (settings.pages_from) promised_since = std::max(promised_since, *settings.pages_from);
  out.ledger.budget_per_week = settings.budget_per_week;
  out.ledger.since = std::min(promised_since, now);
  out.ledger.promised = settings.budget_per_week *
                        static_cast<double>((now - out.ledger.since).count()) / (7 * 86400e6);
  for (const Timestamp page : pages) out.ledger.sent += page >= out.ledger.since ? 1 : 0;
  for (auto e = events.rbegin(); e != events.rend() && out.recent_events.size() < recent_events_max;
       ++e)
    if (now - e->ts <= day && e->ts <= now) out.recent_events.push_back(*e);
  if (main != nullptr) {
    out.tick = Duration(main->step);
    for (const HeatColumn& column : main->heat) out.heat_ticks.push_back(column.ts);
  }

  struct Row {
    std::uint32_t global;
    const Scale* scale;  // null: no tick of it has closed
    std::uint32_t local;
  };
  std::vector<Row> rows;
  for (std::uint32_t g = 0; g < models.size(); ++g) {
    const ModelInfo& info = models[g];
    const Scale* scale =
        info.scale >= 0 ? scales[static_cast<std::size_t>(info.scale)].get() : nullptr;
    // A model that came after the last tick joins its scale with the next one.
    if (scale != nullptr && scale->started() && info.local != none) {
      rows.push_back({g, scale, info.local});
    } else if (scale != nullptr || (info.unsettled && !info.unsettled->waiting.empty())) {
      rows.push_back({g, nullptr, none});
    }
  }
  std::sort(rows.begin(), rows.end(),
            [&](const Row& a, const Row& b) { return models[a.global].id < models[b.global].id; });

  // Of each scale, the column that belongs to each tick of the page: its newest that is not after it.
  std::map<const Scale*, std::vector<const HeatColumn*>> columns;
  for (const auto& scale : scales) {
    std::vector<const HeatColumn*>& of = columns[scale.get()];
    for (const Timestamp at : out.heat_ticks) {
      const auto column =
          std::upper_bound(scale->heat.begin(), scale->heat.end(), at,
                           [](Timestamp t, const HeatColumn& c) { return t < c.ts; });
      const bool near = column != scale->heat.begin() &&
                        at - (column - 1)->ts < Duration(std::max(scale->step, main->step));
      of.push_back(near ? &*(column - 1) : nullptr);
    }
  }

  out.models.reserve(rows.size());
  out.heat.reserve(rows.size() * out.heat_ticks.size());
  for (const Row& row : rows) {
    const ModelInfo& info = models[row.global];
    ModelView v;
    v.id = info.id;
    v.family = family_of(info);
    v.region = region_of(info);
    v.team = team_of(info);
    const std::string& known_version = known_version_of(info);
    if (row.scale == nullptr) {
      v.version = known_version.empty() ? words[info.version] : known_version;
      v.learning_days_left = settings.warmup_days;
      v.caption = "learning how often it reports";
      if (info.unsettled)
        for (const Waiting& w : info.unsettled->waiting)
          v.last_seen = std::max(v.last_seen, std::optional(w.ts));
      out.models.push_back(std::move(v));
      out.heat.resize(out.heat.size() + out.heat_ticks.size(), 255);
      continue;
    }
    const Scale& scale = *row.scale;
    const ScaleModel& m = scale.models[row.local];
    v.version = m.version != none ? words[m.version] : known_version;
    v.score = m.score;
    v.last_seen = scale.end_of(m.last_tick);
    const double age = static_cast<double>(scale.closed - m.first_tick) / scale.ticks_per_day();
    const double own = std::max(0.0, settings.series_warmup_days - age);
    v.learning_days_left = std::max(days_left(scale), own);
    const double silent = static_cast<double>(scale.closed - m.last_tick);
    const bool is_silent = silent >= static_cast<double>(m.step) * settings.no_data_intervals;
    const bool is_muted = m.version_tick != 0 && static_cast<float>(scale.closed - m.version_tick) <
                                                     m.step * anomaly::Baseline::muted_samples;
    Deviation worst;
    if (m.worst != none) {
      v.worst_metric = scale.channels[scale.channel_of[m.worst]].name;
      worst = scale.metrics.deviation[m.worst];
      v.worst_sigma = static_cast<double>(worst.drift);
    }
    const Incident* incident = nullptr;
    for (const Case& c : cases) {
      if (c.incident.state != Incident::State::open) continue;
      if (std::binary_search(c.incident.models.begin(), c.incident.models.end(), v.id))
        incident = &c.incident;
    }
    if (incident != nullptr) {
      v.incident = incident->id;
      v.score = std::max(v.score, explained_score);
    }
    const double sigma = std::abs(v.worst_sigma);
    // What it shows by itself. That its group nears a page is a reason to watch it, and not its own state.
    const std::uint8_t alone =
        score_of(static_cast<double>(m.evidence), scale.single_share, threshold(scale));
    v.state = is_silent                           ? ModelView::State::silent
              : is_muted                          ? ModelView::State::muted
              : incident != nullptr && sigma >= 4 ? ModelView::State::failing
              : incident != nullptr               ? ModelView::State::degraded
              : v.learning_days_left > 0          ? ModelView::State::learning
              : alone >= 78                       ? ModelView::State::failing
              : alone >= 55 || sigma >= 5         ? ModelView::State::degraded
              : alone >= 35 || sigma >= 3.5       ? ModelView::State::watch
              : v.score >= 55                     ? ModelView::State::watch
                                                  : ModelView::State::ok;
    const std::int64_t six_hours = static_cast<std::int64_t>(scale.ticks_per_day() / 4);
    if (six_hours >= 1 && static_cast<std::int64_t>(scale.heat.size()) > six_hours) {
      const HeatColumn& then =
          scale.heat[scale.heat.size() - 1 - static_cast<std::size_t>(six_hours)];
      if (row.local < then.drift.size()) {
        const double change = sigma - static_cast<double>(then.drift[row.local]);
        v.trend = change > 1.5 ? -1 : change < -1.5 ? 1 : 0;
      }
    }
    if (is_silent)
      v.caption = "no data since " + clock_of(*v.last_seen);
    else if (is_muted)
      v.caption = "new version " + v.version + " since " + clock_of(scale.end_of(m.version_tick));
    else if (sigma >= 2)
      v.caption = v.worst_metric + " " + signed_sigma(v.worst_sigma) +
                  (worst.out_since != 0 ? " since " + clock_of(scale.out_since(worst)) : "");
    else if (v.score >= 55 && incident == nullptr)
      v.caption = "leans with others that share something";
    else
      v.caption = "all inside their bands";
    if (incident != nullptr) v.caption += "; explained by " + incident->id;

    for (const HeatColumn* column : columns.at(&scale))
      out.heat.push_back(column != nullptr && row.local < column->score.size()
                             ? column->score[row.local]
                             : std::uint8_t{255});

    // What needs no history.
    const auto add = [&](std::string kind, std::string metric, Timestamp from, std::string text) {
      if (out.static_findings.size() < static_findings_max)
        out.static_findings.push_back({.kind = std::move(kind),
                                       .model = v.id,
                                       .metric = std::move(metric),
                                       .since = from,
                                       .text = std::move(text)});
    };
    if (is_silent) add("no_data", "", *v.last_seen, "has sent nothing");
    for (const std::uint32_t s : m.series) {
      const SeriesState& state = scale.series[s];
      const std::int64_t last_tick = scale.tick_at(state.last_tick);
      const std::string& metric = scale.channels[scale.channel_of[s]].name;
      // A constant that never varied is not a line gone flat.
      if (!is_silent && static_cast<int>(state.repeats) >= settings.flat_samples &&
          state.base.abs_residual > 0 && state.base.total > state.repeats + 1) {
        const auto ticks = static_cast<std::int64_t>(static_cast<float>(state.repeats) * m.step);
        add("flat", metric, scale.end_of(last_tick - ticks), "repeats one value");
      }
      if (is_silent || scale.limited.empty()) continue;
      const auto newest_value = scale.limited.find(s);
      if (newest_value == scale.limited.end() || is_null(newest_value->second)) continue;
      for (const Limit& limit : settings.limits) {
        if (!matches(limit.metric, metric)) continue;
        const double value = newest_value->second;
        if (limit.high && value > *limit.high)
          add("limit", metric, scale.end_of(last_tick),
              "is " + number(value) + ", above its limit " + number(*limit.high));
        else if (limit.low && value < *limit.low)
          add("limit", metric, scale.end_of(last_tick),
              "is " + number(value) + ", below its limit " + number(*limit.low));
      }
    }
    out.models.push_back(std::move(v));
  }

  for (const Dependency& d : topology.dependencies) {
    DependencyView v;
    v.id = d.id;
    v.kind = d.kind;
    v.team = d.team;
    for (const auto& scale : scales) {
      for (const Group& g : scale->groups) {
        if (g.kind != Group::Kind::dependency) continue;
        if (g.id != d.id && std::find(g.twins.begin(), g.twins.end(), d.id) == g.twins.end())
          continue;
        v.members += static_cast<std::uint32_t>(g.members.size());
        v.moved += g.moved;
        v.score = std::max(v.score,
                           score_of(static_cast<double>(g.evidence), g.share, threshold(*scale)));
      }
    }
    for (const Case& c : cases) {
      if (c.incident.state != Incident::State::open) continue;
      if (c.incident.cause == d.id) v.incident = c.incident.id;
    }
    out.dependencies.push_back(std::move(v));
  }
  return out;
}

}  // namespace muster::aggregator
