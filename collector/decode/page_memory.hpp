#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/result.hpp"
#include "collector/decode/decoded.hpp"
#include "collector/decode/exposition.hpp"
#include "collector/decode/relabel.hpp"
#include "schema/series.hpp"
#include "schema/time.hpp"

namespace muster::decode {

// What becomes of the labels on a target's pages.
struct PageRules {
  Labels target;                            // its own: job, instance, …
  bool honor_labels = false;                // the page's label wins; else it becomes exported_…
  bool honor_timestamps = true;             // a time on the page counts
  std::vector<RelabelRule> metric_relabel;  // went through checked()
  Labels external;                          // added last, where the label is not there yet

  // Over one of them the page as a whole is refused, as in Prometheus; 0 is no bound.
  std::size_t sample_limit = 0;  // after metric_relabel
  std::size_t label_limit = 0;
  std::size_t label_name_length_limit = 0;
  std::size_t label_value_length_limit = 0;
};

// What a scrape says of itself: up, scrape_duration_seconds and the like.
struct ReportSample {
  std::string_view name;
  double value = 0;
};

// A page, brought to samples.
struct Page {
  // Without their labels, which PageMemory::batch_of adds: a page that has to be handed over again is kept
  // without a second copy of them.
  std::vector<RawSeries> series;
  std::vector<std::uint32_t> entries;  // of each series, in the memory
  std::vector<Point> points;
  std::uint64_t exemplars = 0;  // read and left out
  std::uint64_t scraped = 0;    // samples on the page
  std::uint64_t kept = 0;       // of them, after metric_relabel
  std::uint64_t added = 0;      // of these, series that the page before had not
  std::uint64_t stale = 0;      // markers for series that are gone
};

// What is remembered of one target between its pages: for each line as it stood, the finished label fields of its
// series, so that a page like the one before is neither read nor relabelled again; and which series live, so that
// one that is gone gets a stale marker. Its size follows the target's pages: lines that did not come again are
// forgotten when they are more than those that did.
//
//   auto page = memory.read(text, format, at);            // or memory.failed(at)
//   memory.report(*page, {{"up", 1}, …}, at);
//   … hand over memory.batch_of(*page), as often as it takes …
//   memory.delivered();                                    // only then what lives has changed
//
// Not for several threads at once.
class PageMemory {
 public:
  explicit PageMemory(std::shared_ptr<const PageRules> rules);

  // Other rules from now on: every line is read anew, and what lives goes on living.
  void set_rules(std::shared_ptr<const PageRules> rules);
  const PageRules& rules() const { return *rules_; }

  // An Error: the page as a whole is refused, and nothing changed.
  //
  // at  the scrape's start, for whatever has no time of its own
  Result<Page> read(std::string_view text, ExpositionFormat format, Timestamp at,
                    const Limits& limits = {});
  // No page: stale markers for all that lives.
  Page failed(Timestamp at);
  // Adds samples under the target's labels alone, as Prometheus does for those of its own.
  void report(Page& page, std::span<const ReportSample> samples, Timestamp at);
  // The target is gone: markers for the report's series too.
  Page ended(Timestamp at);

  SampleBatch batch_of(const Page& page) const;
  // The newest page is stored: what it has lives, what got a marker does not.
  void delivered();

  std::size_t lines() const { return entries_.size(); }  // remembered
  std::size_t bytes() const;

 private:
  struct Entry {
    std::uint64_t alias = 0;
    std::uint64_t point =
        0;  // hash of the family and the labels but le and quantile; for `created`
    std::uint32_t offset = 0;  // of its fields
    std::uint32_t size = 0;
    std::uint32_t seen = 0;     // the page it was on last
    std::uint32_t tracked = 0;  // the page it was on last without a time of its own
    bool dropped = false;       // by metric_relabel
    bool created = false;       // no series, but a start time
    bool reported = false;      // of report()
    bool live = false;          // its last stored sample is no marker
  };

  Result<Entry> introduce(const ExpositionSample& sample, ExpositionFormat format);
  // Its fields are made. What a page says under the reserved names does not count: they are ours to say.
  Entry finished(Labels labels, FamilyType type, std::string_view unit);
  void add_sample(Page& page, std::uint32_t entry, Point point, std::uint32_t line);
  void add_stale(Page& page, Timestamp at, bool with_report);
  void forget_old();

  std::shared_ptr<const PageRules> rules_;
  absl::flat_hash_map<std::uint64_t, std::uint32_t> lines_;  // hash of a line's series to its entry
  std::vector<Entry> entries_;
  std::vector<char> fields_;
  std::uint32_t page_ = 0;  // the newest, read or failed
  std::uint32_t good_ = 0;  // the newest that was read
};

}  // namespace muster::decode
