#include "collector/decode/page_memory.hpp"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/hash.hpp"
#include "collector/decode/label_fields.hpp"
#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

// Sets the lines of a report apart from those of a page, which may have the same names.
constexpr std::uint64_t report_mark = 0x7363'7261'7065'3031ULL;
// Below so many forgotten lines it is not worth while to make everything anew.
constexpr std::size_t forget_min = 1024;
// Offsets are 32 bits; a page whose labels take more is none that anybody reads.
constexpr std::size_t fields_bytes_max = 1u << 31;

const double stale_marker = std::bit_cast<double>(stale_bits);

// The labels a target has already are kept under a name of their own, shortest first, as Prometheus does it.
void rename_conflicting(Labels& labels, std::vector<Label> conflicting) {
  std::stable_sort(conflicting.begin(), conflicting.end(),
                   [](const Label& a, const Label& b) { return a.name.size() < b.name.size(); });
  for (const Label& label : conflicting) {
    std::string name = "exported_" + label.name;
    while (!value_of(labels, name).empty()) name = "exported_" + name;
    set_label(labels, name, label.value);
  }
}

void add_target_labels(Labels& labels, const Labels& target, bool honor) {
  if (honor) {
    Labels missing;
    for (const Label& label : target) {
      const bool there = std::any_of(labels.begin(), labels.end(),
                                     [&](const Label& own) { return own.name == label.name; });
      if (!there) missing.push_back(label);
    }
    for (const Label& label : missing) set_label(labels, label.name, label.value);
    return;
  }
  std::vector<Label> conflicting;
  for (const Label& label : target) {
    const std::string_view own = value_of(labels, label.name);
    if (!own.empty()) conflicting.push_back({label.name, std::string(own)});
    set_label(labels, label.name, label.value);
  }
  rename_conflicting(labels, std::move(conflicting));
}

std::string shown(const Labels& labels) {
  std::string text;
  for (const Label& label : labels) {
    text += text.empty() ? '{' : ',';
    text += label.name + "=\"" + label.value + '"';
  }
  return printable(text + '}');
}

// What Prometheus's label limits refuse, if anything.
std::optional<std::string> over_limit(const Labels& labels, const PageRules& rules) {
  if (rules.label_limit > 0 && labels.size() > rules.label_limit)
    return "label_limit: " + std::to_string(labels.size()) + " labels, at most " +
           std::to_string(rules.label_limit) + ": " + shown(labels);
  for (const Label& label : labels) {
    if (rules.label_name_length_limit > 0 && label.name.size() > rules.label_name_length_limit)
      return "label_name_length_limit: label " + printable(label.name, 60) + " is longer than " +
             std::to_string(rules.label_name_length_limit) + ": " + shown(labels);
    if (rules.label_value_length_limit > 0 && label.value.size() > rules.label_value_length_limit)
      return "label_value_length_limit: label " + printable(label.name, 60) + " is longer than " +
             std::to_string(rules.label_value_length_limit) + ": " + shown(labels);
  }
  return {};
}

// The series of one family that began together: all labels but those that part a histogram or summary.
std::uint64_t point_of(const Labels& labels, std::string_view family) {
  std::string text(family);
  for (const Label& label : labels) {
    if (label.name == "__name__" || label.name == "le" || label.name == "quantile") continue;
    text += '\xff' + label.name + '\xff' + label.value;
  }
  return hash64(text) | 1;  // 0 is none
}

}  // namespace

PageMemory::PageMemory(std::shared_ptr<const PageRules> rules) : rules_(std::move(rules)) {}

void PageMemory::set_rules(std::shared_ptr<const PageRules> rules) {
  rules_ = std::move(rules);
  lines_.clear();
}

std::size_t PageMemory::bytes() const {
  return fields_.capacity() + entries_.capacity() * sizeof(Entry) +
         lines_.capacity() * (sizeof(std::uint64_t) + sizeof(std::uint32_t) + 1);
}

PageMemory::Entry PageMemory::finished(Labels labels, FamilyType type, std::string_view unit) {
  Entry entry;
  entry.offset = static_cast<std::uint32_t>(fields_.size());
  set_label(labels, type_label, type == FamilyType::unknown ? "" : to_word(type));
  set_label(labels, unit_label, unit);
  set_label(labels, temporality_label, "");
  for (const Label& label : labels) append_label_field(fields_, label.name, label.value);
  entry.size = static_cast<std::uint32_t>(fields_.size() - entry.offset);
  entry.alias = alias_of({fields_.data() + entry.offset, entry.size});
  return entry;
}

Result<PageMemory::Entry> PageMemory::introduce(const ExpositionSample& sample,
                                                ExpositionFormat format) {
  const std::string where = "line " + std::to_string(sample.line);
  Result<Labels> read = exposition_labels(sample.series, format);
  if (!read) return Error{where, read.error().what};
  Labels labels = std::move(*read);

  std::uint64_t point = 0;
  if (format == ExpositionFormat::openmetrics &&
      (sample.type == FamilyType::counter || sample.type == FamilyType::histogram ||
       (sample.type == FamilyType::summary && value_of(labels, "quantile").empty())))
    point = point_of(labels, sample.family_name);
  if (sample.created) {
    Entry entry;
    entry.point = point;
    entry.created = true;
    return entry;
  }

  add_target_labels(labels, rules_->target, rules_->honor_labels);
  std::erase_if(labels, [](const Label& label) { return label.value.empty(); });
  if (!relabel(labels, rules_->metric_relabel) || labels.empty()) {
    Entry entry;
    entry.dropped = true;
    return entry;
  }
  if (value_of(labels, "__name__").empty())
    return Error{where, "metric_relabel_configs left no metric name: " + shown(labels)};
  if (auto over = over_limit(labels, *rules_)) return Error{where, std::move(*over)};
  for (const Label& label : rules_->external)
    if (value_of(labels, label.name).empty()) set_label(labels, label.name, label.value);
  if (fields_.size() > fields_bytes_max) return Error{where, "too many labels on one page"};
  Entry entry = finished(std::move(labels), sample.type, sample.unit);
  entry.point = point;
  return entry;
}

Result<Page> PageMemory::read(std::string_view text, ExpositionFormat format, Timestamp at,
                              const Limits& limits) {
  forget_old();
  ++page_;
  Page page;
  page.series.reserve(lines_.size());
  page.entries.reserve(lines_.size());
  page.points.reserve(lines_.size());
  absl::flat_hash_map<std::uint64_t, std::int64_t> starts;  // by Entry::point, unix ms

  ExpositionParser parser(text, format);
  ExpositionSample sample;
  while (parser.next(sample)) {
    const std::uint64_t line = hash64(sample.series) ^ sample.family;
    const auto [at_line, fresh] =
        lines_.try_emplace(line, static_cast<std::uint32_t>(entries_.size()));
    if (fresh) {
      Result<Entry> entry = introduce(sample, format);
      if (!entry) {
        lines_.erase(line);
        return entry.error();
      }
      entries_.push_back(*entry);
    }
    const std::uint32_t index = at_line->second;
    Entry& entry = entries_[index];
    if (entry.created) {
      entry.seen = page_;
      const double millis = sample.value * 1000;
      if (millis > 0 && millis < static_cast<double>(millis_max))
        starts[entry.point] = std::llround(millis);
      continue;
    }
    ++page.scraped;
    if (page.scraped > limits.samples_max)
      return Error{"page", "more than " + std::to_string(limits.samples_max) + " samples"};
    const std::uint32_t seen = entry.seen;
    entry.seen = page_;
    if (entry.dropped) continue;
    ++page.kept;
    if (rules_->sample_limit > 0 && page.kept > rules_->sample_limit)
      return Error{"page", "sample_limit: more than " + std::to_string(rules_->sample_limit) +
                               " samples after metric_relabel_configs"};
    if (seen != page_ && (seen != good_ || good_ == 0)) ++page.added;
    const bool own_time = sample.millis && rules_->honor_timestamps;
    if (!own_time) entry.tracked = page_;
    add_sample(page, index, {own_time ? from_millis(*sample.millis) : at, sample.value},
               sample.line);
  }
  if (parser.fault()) return *parser.fault();
  page.exemplars = parser.exemplars();

  if (!starts.empty()) {
    for (std::size_t i = 0; i < page.series.size(); ++i) {
      const std::uint64_t point = entries_[page.entries[i]].point;
      if (point == 0) continue;
      if (const auto found = starts.find(point); found != starts.end())
        page.series[i].start_ms = found->second;
    }
  }
  good_ = page_;
  add_stale(page, at, false);
  return page;
}

Page PageMemory::failed(Timestamp at) {
  ++page_;
  Page page;
  add_stale(page, at, false);
  return page;
}

Page PageMemory::ended(Timestamp at) {
  ++page_;
  Page page;
  add_stale(page, at, true);
  return page;
}

void PageMemory::report(Page& page, std::span<const ReportSample> samples, Timestamp at) {
  for (const ReportSample& sample : samples) {
    const std::uint64_t line = hash64(sample.name) ^ report_mark;
    const auto [found, fresh] =
        lines_.try_emplace(line, static_cast<std::uint32_t>(entries_.size()));
    if (fresh) {
      Labels labels{{"__name__", std::string(sample.name)}};
      for (const Label& label : rules_->target) set_label(labels, label.name, label.value);
      for (const Label& label : rules_->external)
        if (value_of(labels, label.name).empty()) set_label(labels, label.name, label.value);
      Entry entry = finished(std::move(labels), FamilyType::gauge, {});
      entry.reported = true;
      entries_.push_back(entry);
    }
    entries_[found->second].seen = page_;
    entries_[found->second].tracked = page_;
    add_sample(page, found->second, {at, sample.value}, 0);
  }
}

void PageMemory::add_sample(Page& page, std::uint32_t entry, Point point, std::uint32_t line) {
  RawSeries series;
  series.alias = entries_[entry].alias;
  series.first = static_cast<std::uint32_t>(page.points.size());
  series.count = 1;
  series.line = line;
  page.series.push_back(series);
  page.entries.push_back(entry);
  page.points.push_back(point);
}

void PageMemory::add_stale(Page& page, Timestamp at, bool with_report) {
  std::vector<std::uint32_t> gone;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (entry.live && entry.tracked != page_ && (with_report || !entry.reported))
      gone.push_back(static_cast<std::uint32_t>(i));
  }
  if (gone.empty()) return;
  // The same series may have come in other words, its labels in another order.
  absl::flat_hash_set<std::uint64_t> here;
  for (const RawSeries& series : page.series) here.insert(series.alias);
  for (const std::uint32_t index : gone) {
    if (!here.insert(entries_[index].alias).second) continue;
    add_sample(page, index, {at, stale_marker}, 0);
    ++page.stale;
  }
}

SampleBatch PageMemory::batch_of(const Page& page) const {
  SampleBatch batch;
  batch.identify = label_fields_identity;
  batch.bytes = fields_;
  batch.series = page.series;
  batch.points = page.points;
  for (std::size_t i = 0; i < batch.series.size(); ++i) {
    const Entry& entry = entries_[page.entries[i]];
    batch.series[i].labels = {batch.bytes.data() + entry.offset, entry.size};
  }
  return batch;
}

void PageMemory::delivered() {
  // A report's series stay what they are on pages that have none of their own.
  for (Entry& entry : entries_) entry.live = entry.tracked == page_;
}

void PageMemory::forget_old() {
  std::size_t here = 0;
  for (const Entry& entry : entries_) here += entry.seen == good_ || entry.live ? 1 : 0;
  if (entries_.size() - here <= std::max(here, forget_min)) return;

  std::vector<Entry> kept;
  std::vector<char> fields;
  std::vector<std::uint32_t> moved(entries_.size(), 0);
  kept.reserve(here);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry entry = entries_[i];
    if (entry.seen != good_ && !entry.live) continue;
    const auto from = fields_.begin() + static_cast<std::ptrdiff_t>(entry.offset);
    entry.offset = static_cast<std::uint32_t>(fields.size());
    fields.insert(fields.end(), from, from + static_cast<std::ptrdiff_t>(entry.size));
    kept.push_back(entry);
    moved[i] = static_cast<std::uint32_t>(kept.size());  // counted from 1: 0 is gone
  }
  absl::erase_if(lines_, [&](auto& line) {
    const std::uint32_t to = moved[line.second];
    if (to == 0) return true;
    line.second = to - 1;
    return false;
  });
  entries_ = std::move(kept);
  fields_ = std::move(fields);
}

}  // namespace muster::decode
