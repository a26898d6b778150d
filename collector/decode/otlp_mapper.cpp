#include "collector/decode/otlp_mapper.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

constexpr std::uint64_t ns_per_ms = 1'000'000;

constexpr const char* too_many_series = "more series than one request may hold";
constexpr const char* too_many_samples = "more samples than one request may hold";
constexpr const char* too_many_bytes = "its labels would take more memory than one request may";

// Labels are written out for each series, and a resource stands once for all of them: so a small request could
// ask for any amount of memory. A usual one grows to twice its size.
constexpr std::size_t label_bytes_per_body_byte = 4;

constexpr std::array<std::string_view, 4> reserved = {"__name__", type_label, unit_label,
                                                      temporality_label};

// Which of 64 bits a name has: two names with different bits are different.
std::uint64_t bit_of(std::string_view name) {
  const auto first = static_cast<unsigned char>(name.front());
  const auto last = static_cast<unsigned char>(name.back());
  return std::uint64_t{1} << ((name.size() * 7 + first * 5 + last * 11) & 63);
}

std::string_view find(OtlpAttributes attributes, std::string_view key) {
  for (const OtlpAttribute& attribute : attributes)
    if (attribute.key == key) return attribute.value;
  return {};
}

std::string_view text_of(const std::vector<char>& bytes) { return {bytes.data(), bytes.size()}; }

double stale_marker() { return std::bit_cast<double>(stale_bits); }

}  // namespace

std::vector<OtlpRules::Promotion> OtlpRules::default_promotions() {
  return {
      {"model", "model"},
      {"model.name", "model_name"},
      {"model_name", "model_name"},
      {"ml.model.name", "model_name"},
      {"model.id", "model_id"},
      {"model_id", "model_id"},
      // A model's own version says more than that of the service that runs it.
      {"model.version", "version"},
      {"model_version", "version"},
      {"ml.model.version", "version"},
      {"service.version", "version"},
      {"version", "version"},
      {"deployment.environment.name", "environment"},
      {"deployment.environment", "environment"},
      {"environment", "environment"},
      {"cloud.region", "region"},
      {"region", "region"},
      {"family", "family"},
      {"team", "team"},
  };
}

std::size_t Otlp::data_points_of(std::span<const std::uint32_t> samples) const {
  std::size_t n = 0;
  std::uint32_t last = no_data_point;
  // The samples of a data point stand together.
  for (const std::uint32_t sample : samples) {
    const std::uint32_t at = data_point_of[sample];
    if (at != no_data_point && at != last) ++n;
    if (at != no_data_point) last = at;
  }
  return n;
}

void OtlpMapper::resource(OtlpAttributes attributes) {
  resource_.assign(attributes.begin(), attributes.end());
  shared_.clear();
  const std::string_view service = find(attributes, "service.name");
  const std::string_view space = find(attributes, "service.namespace");
  const std::string_view instance = find(attributes, "service.instance.id");
  if (!service.empty()) {
    std::string job(space);
    if (!space.empty()) job += '/';
    shared_.push_back({"job", job.append(service)});
  }
  if (!instance.empty()) shared_.push_back({"instance", std::string(instance)});
  for (const OtlpRules::Promotion& rule : rules_.promote) {
    const std::string_view value = find(attributes, rule.attribute);
    const bool there = std::any_of(shared_.begin(), shared_.end(),
                                   [&](const Label& label) { return label.name == rule.label; });
    if (!value.empty() && !there) shared_.push_back({rule.label, std::string(value), true});
  }
  of_resource_ = shared_.size();
  has_points_ = false;
  newest_ms_ = 0;
  scope({}, {});
}

void OtlpMapper::scope(std::string_view name, std::string_view version) {
  shared_.resize(of_resource_);
  if (rules_.scope_labels) {
    if (!name.empty()) shared_.push_back({"otel_scope_name", std::string(name)});
    if (!version.empty()) shared_.push_back({"otel_scope_version", std::string(version)});
  }
  shared_fields_.clear();
  shared_mask_ = bit_of("le") | bit_of("quantile");
  for (const std::string_view name_kept : reserved) shared_mask_ |= bit_of(name_kept);
  for (const Label& label : shared_) {
    append_label_field(shared_fields_, label.name, label.value);
    shared_mask_ |= bit_of(label.name);
  }
}

void OtlpMapper::metric(const OtlpMetric& metric) {
  metric_ = metric;
  name_ = prometheus_name(metric.name, metric.unit, metric.data, metric.monotonic);
  std::string_view type = "gauge";
  if (metric.data == OtlpData::sum && metric.monotonic) type = "counter";
  if (metric.data == OtlpData::histogram || metric.data == OtlpData::exponential_histogram)
    type = "histogram";
  if (metric.data == OtlpData::summary) type = "summary";
  std::string unit = prometheus_unit(metric.unit);
  if (metric.data == OtlpData::gauge && metric.unit == "1") unit = "ratio";

  if (!name_.empty()) describe(type, unit);

  constexpr std::array<std::string_view, parts> ends = {"", "_count", "_sum", "_bucket"};
  const bool simple = metric.data == OtlpData::gauge || metric.data == OtlpData::sum;
  for (std::size_t part = 0; part < (simple ? std::size_t{1} : std::size_t{parts}); ++part) {
    std::vector<char>& fields = part_fields_[part];
    fields.clear();
    scratch_ = name_;
    append_label_field(fields, "__name__", scratch_.append(ends[part]));
    append_label_field(fields, type_label, type);
    // A bucket counts observations, whatever those are measured in.
    const bool measured = part == plain || part == sum_part;
    if (measured && !unit.empty()) append_label_field(fields, unit_label, unit);
    if (is_delta()) append_label_field(fields, temporality_label, "delta");
  }
}

void OtlpMapper::describe(std::string_view type, std::string_view unit) {
  Decoded& decoded = out_.decoded;
  if (families_.size() == limits_.families_max) {
    ++decoded.skipped.families;
    return;
  }
  const std::string_view help = metric_.description;
  families_.push_back({families_text_.size(), name_.size(), unit.size(), help.size(), type});
  for (const std::string_view part : {std::string_view(name_), unit, help})
    families_text_.insert(families_text_.end(), part.begin(), part.end());
}

void OtlpMapper::refuse(OtlpAttributes attributes, std::string why) {
  index_ = out_.data_points++;
  reject(attributes, std::move(why));
}

void OtlpMapper::reject(OtlpAttributes attributes, std::string why) {
  Decoded& decoded = out_.decoded;
  // The message is made only when somebody may read it.
  if (decoded.rejected.size() == Decoded::rejected_max) {
    ++decoded.rejected_count;
    return;
  }
  std::vector<LabelView> labels;
  for (const OtlpAttribute& attribute : attributes.first(std::min<std::size_t>(attributes.size(), 16)))
    labels.push_back({attribute.key, attribute.value});
  std::string text = "metric " + printable(metric_.name, 120);
  if (!labels.empty()) {
    std::string shown;
    append_labels(shown, labels);
    text += ' ' + printable(shown);
  }
  decoded.reject(index_, text + ": " + why);
}

bool OtlpMapper::begin_point(const OtlpPoint& point) {
  if (full()) return false;
  index_ = out_.data_points++;
  const char* fault = nullptr;
  const bool needs_temporality = metric_.data == OtlpData::sum ||
                                 metric_.data == OtlpData::histogram ||
                                 metric_.data == OtlpData::exponential_histogram;
  if (name_.empty()) {
    fault = "its name has no letter and no digit";
  } else if (needs_temporality && metric_.temporality != Temporality::delta &&
             metric_.temporality != Temporality::cumulative) {
    fault = "its aggregation temporality is not said; 1 is delta, 2 is cumulative";
  } else if (point.time_ns == 0) {
    fault = "it has no time (time_unix_nano)";
  } else if (point.attributes.size() > labels_max) {
    fault = "it has more than 64 attributes";
  }
  if (fault != nullptr) {
    reject(point.attributes, fault);
    return false;
  }
  ms_ = static_cast<std::int64_t>(point.time_ns / ns_per_ms);
  const auto start = static_cast<std::int64_t>(point.start_ns / ns_per_ms);
  // A start at the point itself, or after it, says nothing.
  start_ms_ = start < ms_ ? start : 0;
  if (!attribute_fields(point.attributes)) {
    reject(point.attributes, "an attribute has no key");
    return false;
  }
  return true;
}

bool OtlpMapper::attribute_fields(OtlpAttributes attributes) {
  std::size_t most = 0;
  // Tags and lengths take up to 18 bytes, "key_" four.
  for (const OtlpAttribute& attribute : attributes) {
    if (attribute.key.empty()) return false;
    most += attribute.key.size() + attribute.value.size() + 24;
  }
  fields_.clear();
  // Nothing moves while names_ looks at what stands there.
  fields_.reserve(most);
  names_.clear();
  merged_ = false;
  std::uint64_t mask = shared_mask_;
  for (const OtlpAttribute& attribute : attributes) {
    if (attribute.value.empty()) continue;
    prometheus_label(attribute.key, scratch_);
    const std::uint64_t bit = bit_of(scratch_);
    if ((mask & bit) != 0 && (is_taken(scratch_) || std::find(names_.begin(), names_.end(),
                                                              scratch_) != names_.end())) {
      merge(attributes);
      return true;
    }
    mask |= bit;
    const std::size_t at = fields_.size();
    append_label_field(fields_, scratch_, attribute.value);
    // The name follows the value's own tag and length from behind.
    names_.push_back(text_of(fields_).substr(at).substr(
        fields_.size() - at - attribute.value.size() - scratch_.size() -
            (attribute.value.size() < 128 ? 2 : attribute.value.size() < 16384 ? 3 : 4),
        scratch_.size()));
  }
  return true;
}

bool OtlpMapper::is_kept(std::string_view name) const {
  if (std::find(reserved.begin(), reserved.end(), name) != reserved.end()) return true;
  if (name == "quantile") return metric_.data == OtlpData::summary;
  return name == "le" && (metric_.data == OtlpData::histogram ||
                          metric_.data == OtlpData::exponential_histogram);
}

bool OtlpMapper::is_taken(std::string_view name) const {
  return is_kept(name) || std::any_of(shared_.begin(), shared_.end(),
                                      [&](const Label& label) { return label.name == name; });
}

// Attributes whose names meet: those of one name are joined in the order of their keys, what the resource says of
// the job counts before them, and they before what was promoted.
void OtlpMapper::merge(OtlpAttributes attributes) {
  std::vector<OtlpAttribute> sorted(attributes.begin(), attributes.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const OtlpAttribute& a, const OtlpAttribute& b) {
    return a.key < b.key;
  });
  std::vector<Label> labels;
  const auto named = [&](std::vector<Label>& list, std::string_view name) {
    return std::find_if(list.begin(), list.end(),
                        [&](const Label& label) { return label.name == name; });
  };
  for (const OtlpAttribute& attribute : sorted) {
    if (attribute.value.empty()) continue;
    prometheus_label(attribute.key, scratch_);
    if (is_kept(scratch_)) continue;
    if (const auto same = named(labels, scratch_); same != labels.end()) {
      (same->value += ';') += attribute.value;
    } else {
      labels.push_back({scratch_, std::string(attribute.value)});
    }
  }
  fields_.clear();
  for (const Label& label : shared_)
    if (!label.weak || named(labels, label.name) == labels.end())
      append_label_field(fields_, label.name, label.value);
  for (const Label& label : labels) {
    const auto same = named(shared_, label.name);
    if (same == shared_.end() || same->weak) append_label_field(fields_, label.name, label.value);
  }
  merged_ = true;
}

void OtlpMapper::start_series(Part part, bool counts) {
  if (writer_.series() >= limits_.series_max) full_ = too_many_series;
  if (writer_.points() >= limits_.samples_max) full_ = too_many_samples;
  if (writer_.bytes() >= limits_.decoded_bytes_max * label_bytes_per_body_byte)
    full_ = too_many_bytes;
  const bool says_start = counts && !is_delta();
  writer_.begin(index_, says_start ? start_ms_ : 0);
  writer_.fields(text_of(part_fields_[part]));
  if (!merged_) writer_.fields(text_of(shared_fields_));
  writer_.fields(text_of(fields_));
  has_points_ = true;
  newest_ms_ = std::max(newest_ms_, ms_);
}

void OtlpMapper::series(Part part, double value, bool counts) {
  if (full()) return;
  start_series(part, counts);
  writer_.point({from_millis(ms_), value});
}

void OtlpMapper::bounded_series(Part part, std::string_view label, double bound, double value,
                                bool counts) {
  if (full()) return;
  start_series(part, counts);
  writer_.fields(bound_field(label, bound));
  writer_.point({from_millis(ms_), value});
}

// The bounds of a histogram are those of the next one too, and a number is slow to write.
std::string_view OtlpMapper::bound_field(std::string_view label, double bound) {
  const auto bits = std::bit_cast<std::uint64_t>(bound);
  BoundField& kept = bound_fields_[bits * 0x9e37'79b9'7f4a'7c15ULL >> 56];
  if (kept.size == 0 || kept.bits != bits || kept.label != label.front()) {
    scratch_.clear();
    append_number(scratch_, bound);
    bound_scratch_.clear();
    append_label_field(bound_scratch_, label, scratch_);
    assert(bound_scratch_.size() <= kept.fields.size());
    std::copy(bound_scratch_.begin(), bound_scratch_.end(), kept.fields.begin());
    kept.bits = bits;
    kept.label = label.front();
    kept.size = static_cast<std::uint8_t>(bound_scratch_.size());
  }
  return {kept.fields.data(), kept.size};
}

void OtlpMapper::remember_span(const OtlpPoint& point) {
  if (is_delta() && point.start_ns != 0 && point.recorded())
    deltas_.push_back({writer_.series(), point.start_ns, point.time_ns});
}

void OtlpMapper::point(const OtlpNumber& point) {
  if (!begin_point(point)) return;
  if (point.recorded() && !point.value) {
    reject(point.attributes, "it has no value");
    return;
  }
  remember_span(point);
  series(plain, point.recorded() ? *point.value : stale_marker(), metric_.monotonic);
}

void OtlpMapper::point(const OtlpHistogram& point) {
  if (!begin_point(point)) return;
  const bool recorded = point.recorded();
  const auto count = static_cast<double>(point.count);
  if (recorded && !point.bucket_counts.empty() &&
      point.bucket_counts.size() != point.bounds.size() + 1) {
    reject(point.attributes, std::to_string(point.bucket_counts.size()) + " buckets and " +
                                 std::to_string(point.bounds.size()) +
                                 " bounds; there is one bucket more than bounds");
    return;
  }
  std::uint64_t held = 0;
  for (const std::uint64_t in : point.bucket_counts) held += in;
  if (recorded && held > point.count) {
    reject(point.attributes, "its buckets hold " + std::to_string(held) +
                                 " observations, more than its count of " +
                                 std::to_string(point.count));
    return;
  }
  for (std::size_t i = 0; i < point.bounds.size(); ++i) {
    if (i > 0 ? point.bounds[i] > point.bounds[i - 1] : !std::isnan(point.bounds[i])) continue;
    reject(point.attributes, "its bounds do not ascend");
    return;
  }

  remember_span(point);
  series(count_part, recorded ? count : stale_marker(), true);
  if (!recorded || point.sum) series(sum_part, recorded ? *point.sum : stale_marker(), true);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < point.bounds.size() && !full(); ++i) {
    if (recorded && point.bucket_counts.empty()) break;
    if (i < point.bucket_counts.size()) seen += point.bucket_counts[i];
    if (std::isinf(point.bounds[i]) && point.bounds[i] > 0) break;
    bounded_series(bucket_part, "le", point.bounds[i],
                   recorded ? static_cast<double>(seen) : stale_marker(), true);
  }
  bounded_series(bucket_part, "le", std::numeric_limits<double>::infinity(),
                 recorded ? count : stale_marker(), true);
}

void OtlpMapper::point(const OtlpExponential& point) {
  if (!begin_point(point)) return;
  const auto count = static_cast<double>(point.count);
  if (!point.recorded()) {
    for (const Part part : {count_part, sum_part}) series(part, stale_marker(), true);
    bounded_series(bucket_part, "le", std::numeric_limits<double>::infinity(), stale_marker(),
                   true);
    return;
  }
  const ExponentialHistogram histogram{.scale = point.scale,
                                       .zero_threshold = point.zero_threshold,
                                       .zero_count = static_cast<double>(point.zero_count),
                                       .positive = point.positive,
                                       .negative = point.negative,
                                       .count = count};
  if (const Result<void> done = classic_buckets(histogram, buckets_); !done) {
    reject(point.attributes, done.error().what);
    return;
  }
  ++out_.decoded.histograms_sent;
  remember_span(point);
  series(count_part, count, true);
  if (point.sum) series(sum_part, *point.sum, true);
  for (const ClassicBucket& bucket : buckets_)
    bounded_series(bucket_part, "le", bucket.le, bucket.count, true);
}

void OtlpMapper::point(const OtlpSummary& point) {
  if (!begin_point(point)) return;
  for (const OtlpQuantile& at : point.quantiles) {
    if (at.quantile >= 0 && at.quantile <= 1) continue;
    reject(point.attributes, "a quantile is not between 0 and 1");
    return;
  }
  const bool recorded = point.recorded();
  series(count_part, recorded ? static_cast<double>(point.count) : stale_marker(), true);
  series(sum_part, recorded ? point.sum : stale_marker(), true);
  for (const OtlpQuantile& at : point.quantiles)
    bounded_series(plain, "quantile", at.quantile, recorded ? at.value : stale_marker(), false);
}

// All that a resource says of itself and no label of its series has: a series of value 1, as Prometheus makes one.
// What was promoted stands in it under its label alone, so that a new version does not make a new series.
void OtlpMapper::end_resource() {
  const bool known = find(resource_, "service.name").size() + find(resource_, "service.instance.id").size() > 0;
  if (!rules_.target_info || !has_points_ || !known || full()) return;
  std::vector<OtlpAttribute> others;
  for (const OtlpAttribute& attribute : resource_) {
    const std::string_view key = attribute.key;
    if (key.empty() || key == "service.name" || key == "service.namespace" ||
        key == "service.instance.id" || attribute.value.size() > value_bytes_max)
      continue;
    const bool promoted =
        std::any_of(rules_.promote.begin(), rules_.promote.end(),
                    [&](const OtlpRules::Promotion& rule) { return rule.attribute == key; });
    if (!promoted && !attribute.value.empty()) others.push_back(attribute);
  }
  if (others.empty()) return;
  // Beside its name and type, and those of the resource itself.
  others.resize(std::min(others.size(), labels_max - 2 - std::min(of_resource_, labels_max - 2)));

  metric_ = {"target_info", {}, {}, OtlpData::gauge, Temporality::unspecified, false};
  shared_.resize(of_resource_);
  merge(others);
  std::vector<char>& fields = part_fields_[plain];
  fields.clear();
  append_label_field(fields, "__name__", "target_info");
  append_label_field(fields, type_label, "info");
  index_ = Otlp::no_data_point;
  ms_ = newest_ms_;
  series(plain, 1, false);
}

Result<Otlp> OtlpMapper::finish() {
  if (full()) return Error{std::string(over_limit), std::string(full_) + "; send it in parts"};
  Decoded& decoded = out_.decoded;
  decoded.batch = writer_.finish();
  const std::vector<RawSeries>& all = decoded.batch.series;
  out_.data_point_of.reserve(all.size());
  for (const RawSeries& series : all) out_.data_point_of.push_back(series.line);
  out_.deltas.reserve(deltas_.size());
  for (const Delta& delta : deltas_)
    out_.deltas.push_back({all[delta.series].alias, delta.start_ns, delta.end_ns});
  decoded.samples_sent = all.size();
  decoded.text = std::move(families_text_);
  const std::string_view text = text_of(decoded.text);
  decoded.families.reserve(families_.size());
  for (const Family& family : families_) {
    const std::string_view own = text.substr(family.at);
    decoded.families.push_back({own.substr(0, family.name), family.type,
                                own.substr(family.name, family.unit),
                                own.substr(family.name + family.unit, family.help)});
  }
  return std::move(out_);
}

namespace attribute_text {

void append_double(std::string& out, double number) {
  const double size = std::abs(number);
  if (!std::isfinite(number) || size == 0) {
    append_number(out, number);
    return;
  }
  const bool fixed = size >= 1e-6 && size < 1e21;
  char text[32];
  const auto [end, fault] =
      std::to_chars(text, text + sizeof text, number,
                    fixed ? std::chars_format::fixed : std::chars_format::scientific);
  out.append(text, end);
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (byte < 0x20) {
      ((out += "\\u00") += digits[byte >> 4]) += digits[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_base64(std::string& out, std::string_view bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view three = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < three.size() ? static_cast<unsigned char>(three[i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i)
      out += i <= three.size() ? digits[bits >> (18 - 6 * i) & 63] : '=';
  }
}

}  // namespace attribute_text

std::string& OtlpTexts::next() {
  if (used_ == texts_.size()) texts_.push_back(std::make_unique<std::string>());
  std::string& text = *texts_[used_++];
  text.clear();
  return text;
}

}  // namespace muster::decode
