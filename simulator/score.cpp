#include "simulator/score.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>

namespace muster::simulator {
namespace {

using Names = std::set<std::string, std::less<>>;

// Which dependencies have the same dependants as `cause`, itself included.
Names equivalents(const Topology* topology, const std::vector<std::vector<std::uint32_t>>& users,
                  const std::string& cause) {
  Names same{cause};
  if (!topology) return same;
  const auto& dependencies = topology->dependencies;
  for (std::size_t d = 0; d < dependencies.size(); ++d) {
    if (dependencies[d].id != cause || users[d].empty()) continue;
    for (std::size_t other = 0; other < dependencies.size(); ++other) {
      if (users[other] == users[d]) same.insert(dependencies[other].id);
    }
  }
  return same;
}

// The value below which the share q of the sorted values lies: the smallest with at least that
// many.
Duration quantile(const std::vector<Duration>& sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// P(X <= n) for Poisson X.
double poisson_cdf(std::uint32_t n, double mean) {
  double term = std::exp(-mean), sum = term;
  for (std::uint32_t k = 1; k <= n; ++k) sum += term *= mean / k;
  return sum;
}

// Fills what follows from the counts and the fates.
void finish(Score& s) {
  std::vector<Duration> delays;
  std::uint32_t first = 0, third = 0;
  std::size_t claims = 0;
  s.found = 0;
  for (const Score::Fate& fate : s.fates) {
    if (!fate.delay) continue;
    ++s.found;
    delays.push_back(*fate.delay);
    first += fate.rank == 1;
    third += 1 <= fate.rank && fate.rank <= 3;
    claims += fate.claims.size();
  }
  std::sort(delays.begin(), delays.end());
  if (!delays.empty()) {
    s.delay_median = quantile(delays, 0.5);
    s.delay_p90 = quantile(delays, 0.9);
  }
  if (s.found > 0) {
    s.top1 = static_cast<double>(first) / s.found;
    s.top3 = static_cast<double>(third) / s.found;
    s.fragmentation = static_cast<double>(claims) / s.found;
    s.pages_per_incident = static_cast<double>(s.pages - s.false_pages) / s.found;
  }
  if (s.weeks > 0) {
    const Interval interval = poisson_interval(s.false_pages);
    s.false_per_week = s.false_pages / s.weeks;
    s.false_low = interval.low / s.weeks;
    s.false_high = interval.high / s.weeks;
  }
}

std::string minutes(std::optional<Duration> d) {
  return d ? std::to_string(std::chrono::duration_cast<std::chrono::minutes>(*d).count()) : "-";
}

}  // namespace

Interval poisson_interval(std::uint32_t n) {
  // The means at which n or more, and n or fewer, have probability 2.5 %, by bisection.
  const auto solve = [](auto&& too_low, double high) {
    double low = 0;
    for (int i = 0; i < 100; ++i) {
      const double middle = (low + high) / 2;
      (too_low(middle) ? low : high) = middle;
    }
    return low;
  };
  const double far = n + 10 * std::sqrt(n + 1.0) + 10;
  const double low =
      n == 0 ? 0 : solve([&](double m) { return 1 - poisson_cdf(n - 1, m) < 0.025; }, far);
  return {low, solve([&](double m) { return poisson_cdf(n, m) > 0.025; }, far)};
}

Score score(std::span<const Truth> truth, std::span<const Claim> claims,
            std::span<const Page> pages, const Topology* topology, const ScoreSettings& settings) {
  assert(settings.from <= settings.until);
  const auto users = topology ? dependants(*topology) : std::vector<std::vector<std::uint32_t>>{};
  struct Known {
    Names cause;
    Names models;
    bool counted;
  };
  std::vector<Known> faults;
  for (const Truth& t : truth) {
    faults.push_back({equivalents(topology, users, t.root_cause),
                      Names(t.models.begin(), t.models.end()),
                      settings.from <= t.start && t.start < settings.until});
  }

  // The fault that each claim fits best. Faults that are not counted take theirs too: a page about
  // one that began while the detector still learned is not false.
  constexpr std::size_t none = -1;
  std::map<std::string, std::size_t> fault_of;
  std::map<std::string, const Claim*> claim_of;
  for (const Claim& claim : claims) {
    const Names models(claim.models.begin(), claim.models.end());
    std::tuple<double, bool, Timestamp> best{-1, false, {}};
    std::size_t best_fault = none;
    for (std::size_t f = 0; f < faults.size(); ++f) {
      if (claim.opened_at < truth[f].start || truth[f].end + settings.grace <= claim.opened_at)
        continue;
      const auto common = static_cast<double>(
          std::count_if(models.begin(), models.end(),
                        [&](const std::string& m) { return faults[f].models.contains(m); }));
      const auto smaller = static_cast<double>(std::min(models.size(), faults[f].models.size()));
      const bool named = !claim.suspects.empty() &&
                         faults[f].cause.contains(claim.suspects.front()) &&
                         truth[f].root_cause != "unknown";
      if (!named && (smaller == 0 || common < settings.overlap_min * smaller)) continue;
      const double all = static_cast<double>(models.size() + faults[f].models.size()) - common;
      const std::tuple fit{all > 0 ? common / all : 0, named, truth[f].start};
      if (best_fault == none || fit > best) {
        best = fit;
        best_fault = f;
      }
    }
    claim_of[claim.id] = &claim;
    fault_of[claim.id] = best_fault;
  }

  Score result;
  std::vector<std::size_t> fate_of(truth.size(), none);
  for (std::size_t f = 0; f < truth.size(); ++f) {
    if (!faults[f].counted) continue;
    fate_of[f] = result.fates.size();
    result.fates.push_back({f, {}, {}, 0});
    ++result.faults;
  }

  std::vector<Page> in_order(pages.begin(), pages.end());
  std::stable_sort(in_order.begin(), in_order.end(),
                   [](const Page& a, const Page& b) { return a.ts < b.ts; });
  for (const Page& page : in_order) {
    const auto at = fault_of.find(page.incident_id);
    const std::size_t f = at == fault_of.end() ? none : at->second;
    if (f == none) {
      if (page.ts < settings.from || settings.until <= page.ts) continue;
      ++result.pages;
      ++result.false_pages;
      result.false_claims.push_back(page.incident_id);
      continue;
    }
    if (!faults[f].counted) continue;
    ++result.pages;
    Score::Fate& fate = result.fates[fate_of[f]];
    if (std::find(fate.claims.begin(), fate.claims.end(), page.incident_id) == fate.claims.end()) {
      fate.claims.push_back(page.incident_id);
    }
    if (fate.delay) continue;
    fate.delay = page.ts - truth[f].start;
    const std::vector<std::string>& suspects = claim_of.at(page.incident_id)->suspects;
    const auto named = std::find_if(suspects.begin(), suspects.end(), [&](const std::string& s) {
      return faults[f].cause.contains(s);
    });
    if (named != suspects.end())
      fate.rank = static_cast<std::uint32_t>(named - suspects.begin() + 1);
  }
  result.weeks = static_cast<double>((settings.until - settings.from).count()) /
                 static_cast<double>(Duration(std::chrono::weeks(1)).count());
  finish(result);
  return result;
}

Score pooled(std::span<const Score> scores) {
  Score all;
  for (const Score& s : scores) {
    all.faults += s.faults;
    all.pages += s.pages;
    all.false_pages += s.false_pages;
    all.weeks += s.weeks;
    all.fates.insert(all.fates.end(), s.fates.begin(), s.fates.end());
    all.false_claims.insert(all.false_claims.end(), s.false_claims.begin(), s.false_claims.end());
  }
  finish(all);
  return all;
}

Claims claims_of(std::span<const Finding> findings) {
  Claims all;
  std::set<std::string> known;
  for (const Finding& finding : findings) {
    const Incident& incident = finding.incident;
    const bool opens =
        finding.what == Finding::What::opened || finding.what == Finding::What::reopened;
    if (!opens || !incident.paged) continue;
    if (known.insert(incident.id).second) {
      Claim claim{incident.id, incident.opened_at, {}, incident.models};
      for (const Suspect& suspect : incident.suspects) claim.suspects.push_back(suspect.id);
      all.claims.push_back(std::move(claim));
    }
    all.pages.push_back({finding.at, incident.id});
  }
  return all;
}

std::string markdown_head() {
  return "| run | found | median delay, min | p90 | false pages/week (95 %) | pages per incident | "
         "top-1 | top-3 | fragmentation |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
}

std::string markdown_row(std::string_view name, const Score& s) {
  char row[512];
  std::snprintf(row, sizeof row,
                "| %.*s | %u/%u | %s | %s | %.2f (%.2f-%.2f) | %.2f | %.2f | %.2f | %.2f |\n",
                static_cast<int>(std::min<std::size_t>(name.size(), 100)), name.data(), s.found,
                s.faults, minutes(s.delay_median).c_str(), minutes(s.delay_p90).c_str(),
                s.false_per_week, s.false_low, s.false_high, s.pages_per_incident, s.top1, s.top3,
                s.fragmentation);
  return row;
}

}  // namespace muster::simulator
