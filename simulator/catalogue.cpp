#include "simulator/catalogue.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <set>
#include <string_view>

#include "simulator/random.hpp"

namespace muster::simulator {
namespace {

constexpr std::array<std::string_view, 4> regions{"eu", "us", "apac", "latam"};
constexpr std::array<std::string_view, 7> surfaces{"home", "web",  "app", "mail",
                                                   "b2b",  "lite", "tv"};

struct Node {
  std::string_view id;
  std::string_view team;
  std::array<std::string_view, 3> uses;
};

constexpr std::array sources{
    Node{"src-clickstream", "event-platform", {}},
    Node{"src-impressions", "event-platform", {}},
    Node{"src-campaigns", "ads-quality", {}},
    Node{"src-catalogue", "catalogue", {}},
    Node{"src-orders", "order-platform", {}},
    Node{"src-returns", "order-platform", {}},
    Node{"src-crm", "growth", {}},
    Node{"src-ledger", "payments-core", {}},
    Node{"src-payments", "payments-core", {}},
    Node{"src-device", "trust-safety", {}},
    Node{"src-identity", "identity", {}},
    Node{"src-pricebook", "commerce-pricing", {}},
    Node{"src-fx", "treasury-data", {}},
    Node{"src-gps", "logistics", {}},
    Node{"src-weather", "external-data", {}},
    Node{"src-bureau", "lending-risk", {}},
    Node{"src-tickets", "care-routing", {}},
    Node{"src-reviews", "catalogue", {}},
    Node{"src-images", "media-platform", {}},
    Node{"src-warehouse", "supply-planning", {}},
    Node{"src-search-log", "search-ranking", {}},
};
constexpr std::array pipelines{
    Node{"pipe-sessionize", "event-platform", {"src-clickstream"}},
    Node{"pipe-click-agg", "discovery", {"pipe-sessionize", "src-impressions"}},
    Node{"pipe-item-stats", "catalogue", {"src-catalogue", "src-orders"}},
    Node{"pipe-ad-join", "ads-quality", {"src-impressions", "src-campaigns"}},
    Node{"pipe-account-day", "growth", {"src-crm", "src-ledger"}},
    Node{"pipe-pay-velocity", "trust-safety", {"src-payments", "src-ledger"}},
    Node{"pipe-device-graph", "trust-safety", {"src-device", "src-identity"}},
    Node{"pipe-price-hist", "commerce-pricing", {"src-pricebook", "src-orders"}},
    Node{"pipe-fx-join", "treasury-data", {"src-fx"}},
    Node{"pipe-geo-grid", "logistics", {"src-gps"}},
    Node{"pipe-weather-join", "external-data", {"src-weather", "pipe-geo-grid"}},
    Node{"pipe-sales-day", "supply-planning", {"src-orders", "src-returns"}},
    Node{"pipe-bureau-join", "lending-risk", {"src-bureau", "src-identity"}},
    Node{"pipe-text-clean", "ml-platform", {"src-tickets", "src-reviews", "pkg-tokenizer 4.2.0"}},
    Node{"pipe-image-hash", "media-platform", {"src-images"}},
    Node{"pipe-inventory", "supply-planning", {"src-warehouse", "src-catalogue"}},
    Node{"pipe-query-log", "search-ranking", {"src-search-log"}},
    Node{"pipe-budget-pace", "ads-quality", {"src-campaigns"}},
};
constexpr std::array packages{
    Node{"pkg-onnx-runtime 1.16.3", "ml-platform", {}},
    Node{"pkg-gbdt-serve 3.1.0", "ml-platform", {}},
    Node{"pkg-torch-serve 2.1.4", "ml-platform", {}},
    Node{"pkg-featurelib 2.9.1", "feature-store", {}},
    Node{"pkg-tokenizer 4.2.0", "ml-platform", {}},
    Node{"pkg-calibrate 0.8.2", "ads-quality", {}},
    Node{"pkg-geohash 1.0.7", "logistics", {}},
    Node{"pkg-embed-cache 1.5.0", "discovery", {}},
};

struct Family {
  std::string_view id;
  std::string_view team;
  std::uint32_t weight;                       // its share of the models
  std::array<std::string_view, 3> pipelines;  // used by nearly all, by most, by some
  std::string_view source;                    // read directly by some: features made while serving
  std::string_view package;                   // beside the runtime
};
constexpr std::array families{
    Family{"ranking",
           "search-ranking",
           18,
           {"pipe-sessionize", "pipe-item-stats", "pipe-query-log"},
           "src-search-log",
           "pkg-embed-cache 1.5.0"},
    Family{"ctr",
           "ads-quality",
           16,
           {"pipe-sessionize", "pipe-ad-join", "pipe-click-agg"},
           "src-clickstream",
           "pkg-calibrate 0.8.2"},
    Family{"recs",
           "discovery",
           20,
           {"pipe-click-agg", "pipe-item-stats", "pipe-inventory"},
           "src-reviews",
           "pkg-embed-cache 1.5.0"},
    Family{"churn",
           "growth",
           18,
           {"pipe-account-day", "pipe-click-agg", "pipe-text-clean"},
           "src-crm",
           "pkg-calibrate 0.8.2"},
    Family{"fraud",
           "trust-safety",
           22,
           {"pipe-pay-velocity", "pipe-device-graph", "pipe-account-day"},
           "src-payments",
           "pkg-calibrate 0.8.2"},
    Family{"pricing",
           "commerce-pricing",
           19,
           {"pipe-price-hist", "pipe-fx-join", "pipe-sales-day"},
           "src-fx",
           ""},
    Family{"eta",
           "logistics",
           16,
           {"pipe-geo-grid", "pipe-weather-join", "pipe-device-graph"},
           "src-gps",
           "pkg-geohash 1.0.7"},
    Family{"demand",
           "supply-planning",
           24,
           {"pipe-sales-day", "pipe-weather-join", "pipe-price-hist"},
           "src-pricebook",
           "pkg-geohash 1.0.7"},
    Family{"credit",
           "lending-risk",
           14,
           {"pipe-bureau-join", "pipe-account-day", "pipe-pay-velocity"},
           "src-bureau",
           "pkg-calibrate 0.8.2"},
    Family{"moderate",
           "trust-safety",
           13,
           {"pipe-text-clean", "pipe-image-hash", "pipe-device-graph"},
           "src-images",
           "pkg-tokenizer 4.2.0"},
    Family{"support",
           "care-routing",
           11,
           {"pipe-text-clean", "pipe-account-day", "pipe-query-log"},
           "src-tickets",
           "pkg-tokenizer 4.2.0"},
    Family{"adbid",
           "ads-quality",
           15,
           {"pipe-budget-pace", "pipe-ad-join", "pipe-sessionize"},
           "src-campaigns",
           "pkg-calibrate 0.8.2"},
    Family{"embed",
           "ml-platform",
           12,
           {"pipe-image-hash", "pipe-item-stats", "pipe-text-clean"},
           "src-catalogue",
           "pkg-tokenizer 4.2.0"},
    Family{"spell",
           "search-ranking",
           9,
           {"pipe-query-log", "pipe-text-clean", "pipe-sessionize"},
           "src-search-log",
           "pkg-tokenizer 4.2.0"},
    Family{"stock",
           "supply-planning",
           21,
           {"pipe-inventory", "pipe-sales-day", "pipe-weather-join"},
           "src-warehouse",
           ""},
};
constexpr std::array use_share{0.92, 0.66, 0.3};

std::string copy_of(std::string_view id, std::uint32_t copy) {
  return copy == 0 ? std::string(id) : std::string(id) + "-" + std::to_string(copy + 1);
}

bool is_package(std::string_view id) {
  return id.starts_with("pkg-");
}

class Inventor {
 public:
  Inventor(std::uint32_t models, std::uint64_t seed)
      : dice_(seed, 'T'), copies_((models + 299) / 300) {}

  Topology invent(std::uint32_t models);

 private:
  void use(const std::string& user, std::string_view what, std::uint32_t copy);

  Dice dice_;
  std::uint32_t copies_;
  Topology topology_;
  std::set<std::string> declared_;
};

// The edge, and on first use the thing used and what it uses in turn. A copy uses its own copies; a
// package has none: it is the same bytes everywhere.
void Inventor::use(const std::string& user, std::string_view what, std::uint32_t copy) {
  const auto declare = [&](const auto& nodes, std::string_view kind) {
    const auto* node =
        std::find_if(nodes.begin(), nodes.end(), [&](const Node& n) { return n.id == what; });
    if (node == nodes.end()) return false;
    std::string id = copy_of(what, is_package(what) ? 0 : copy);
    topology_.edges.push_back({user, id, std::string(kind)});
    if (!declared_.insert(id).second) return true;
    topology_.dependencies.push_back({id, std::string(kind), std::string(node->team)});
    for (const std::string_view next : node->uses) {
      if (!next.empty()) use(id, next, copy);
    }
    return true;
  };
  [[maybe_unused]] const bool known = declare(sources, "source") ||
                                      declare(pipelines, "feature_pipeline") ||
                                      declare(packages, "package");
  assert(known);
}

Topology Inventor::invent(std::uint32_t models) {
  std::uint32_t weights = 0;
  for (const Family& family : families) weights += family.weight;

  std::uint32_t made = 0;
  std::uint32_t weight_so_far = 0;
  for (const Family& family : families) {
    weight_so_far += family.weight;
    const auto until = static_cast<std::uint32_t>(std::uint64_t{models} * weight_so_far / weights);
    for (std::uint32_t i = 0; made < until; ++i, ++made) {
      const std::string_view region = regions[i % regions.size()];
      const std::uint32_t round = i / regions.size();
      std::string id = std::string(family.id) + "-" + std::string(region) + "-" +
                       std::string(surfaces[round % surfaces.size()]);
      if (const auto generation = round / surfaces.size(); generation > 0) {
        id += std::to_string(generation + 1);
      }
      // Most models report every 10 minutes, some every 30, a few every hour.
      const double speed = dice_.uniform();
      const auto interval =
          speed <= 0.8 ? std::chrono::minutes(10) : std::chrono::minutes(speed <= 0.93 ? 30 : 60);
      topology_.models.push_back({id,
                                  std::string(family.id),
                                  std::string(region),
                                  {},
                                  std::string(family.team),
                                  interval});

      const std::uint32_t copy = dice_.below(copies_);
      bool any = false;
      for (std::size_t k = 0; k < family.pipelines.size(); ++k) {
        if (dice_.chance(use_share[k])) {
          use(id, family.pipelines[k], copy);
          any = true;
        }
      }
      if (!any) use(id, family.pipelines[0], copy);
      if (dice_.chance(0.35)) use(id, family.source, copy);
      use(id, packages[dice_.below(3)].id, copy);  // one runtime each
      if (dice_.chance(0.4)) use(id, "pkg-featurelib 2.9.1", copy);
      if (!family.package.empty() && dice_.chance(0.8)) use(id, family.package, copy);
    }
  }
  std::set<std::string> used;
  for (const Model& model : topology_.models) used.insert(model.region);
  for (const std::string& region : used) {
    topology_.dependencies.push_back({region, "region", "site-reliability"});
  }
  // Through the reader, so that what the simulator hands out is what a sender's file would become.
  Result<Topology> checked = parse_topology(to_json(topology_));
  assert(checked);
  return std::move(*checked);
}

}  // namespace

Topology invent_topology(std::uint32_t models, std::uint64_t seed) {
  return Inventor(models, seed).invent(models);
}

}  // namespace muster::simulator
