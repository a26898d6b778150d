#include "collector/decode/label_fields.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include <protozero/pbf_reader.hpp>
#include <protozero/varint.hpp>

#include "base/hash.hpp"
#include "collector/decode/text.hpp"
#include "schema/mapping.hpp"

namespace muster::decode {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

// Sets the aliases of this form of a label set apart from those of others. Not a seed: XXH3 derives a secret
// from one for each text over 240 bytes.
constexpr std::uint64_t alias_mark = 0x72656d6f74652031;

constexpr auto length_delimited(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::length_delimited);
}

constexpr char name_tag = 0x0a;   // field 1, length-delimited; a label's own tag too
constexpr char value_tag = 0x12;  // field 2, length-delimited

char* put_varint(char* at, std::size_t value) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
  *at++ = static_cast<char>(value);
  return at;
}

std::size_t varint_bytes(std::size_t value) {
  std::size_t n = 1;
  for (; value >= 0x80; value >>= 7) ++n;
  return n;
}

bool is_reserved(const LabelView& label) {
  return label.name == type_label || label.name == unit_label || label.name == temporality_label;
}
// What was said of the metric before, into `facts`, stands in for what does not come with this series. Gives how
// many labels there are then.
std::size_t add_facts(const Mapping& mapping, std::optional<MetricFacts>& facts,
                      std::span<LabelView> labels, std::size_t count) {
  std::string_view name;
  bool type = false, unit = false;
  for (const LabelView& label : labels.first(count)) {
    if (label.name == "__name__") name = label.value;
    type = type || label.name == type_label;
    unit = unit || label.name == unit_label;
  }
  if (name.empty() || (type && unit)) return count;
  facts = mapping.facts(name);
  if (!facts) return count;
  if (!type && !facts->type.empty()) labels[count++] = {type_label, facts->type};
  if (!unit && !facts->unit.empty()) labels[count++] = {unit_label, facts->unit};
  return count;
}

}  // namespace

Result<std::size_t> read_label_fields(std::string_view fields, std::span<LabelView> into) {
  std::size_t count = 0;
  try {
    pbf_reader message(fields.data(), fields.size());
    while (message.next(1, pbf_wire_type::length_delimited)) {
      if (count == into.size()) return Error{"labels", "more than " + std::to_string(into.size())};
      pbf_reader label = message.get_message();
      LabelView& view = into[count++];
      while (label.next()) {
        switch (label.tag_and_type()) {
          case length_delimited(1): {
            const auto text = label.get_view();
            view.name = {text.data(), text.size()};
            break;
          }
          case length_delimited(2): {
            const auto text = label.get_view();
            view.value = {text.data(), text.size()};
            break;
          }
          default:
            label.skip();
        }
      }
    }
  } catch (const protozero::exception& fault) {
    return Error{"labels", std::string("not protobuf labels: ") + fault.what()};
  }
  return count;
}

std::string show_labels(std::span<const LabelView> labels) {
  std::string text;
  append_labels(text, labels);
  return printable(text);
}

std::uint64_t alias_of(std::string_view fields) {
  return hash64(fields) ^ alias_mark;
}

void append_label_field(std::vector<char>& out, std::string_view name, std::string_view value) {
  const std::size_t inner =
      2 + varint_bytes(name.size()) + name.size() + varint_bytes(value.size()) + value.size();
  const std::size_t before = out.size();
  out.resize(before + 1 + varint_bytes(inner) + inner);
  char* at = out.data() + before;
  *at++ = name_tag;
  at = put_varint(at, inner);
  *at++ = name_tag;
  at = put_varint(at, name.size());
  at = std::copy(name.begin(), name.end(), at);
  *at++ = value_tag;
  at = put_varint(at, value.size());
  std::copy(value.begin(), value.end(), at);
}

namespace {

const SeriesIdentity& identity_of(const SeriesIdentity& identity) { return identity; }
const SeriesIdentity& identity_of(const Mapping::Explained& explained) {
  return explained.identity;
}

// Checked labels to whatever `with` makes of them.
template <class Answer, class With>
Result<Answer> with_labels(std::string_view fields, const Mapping& mapping, const With& with) {
  // Beside a sender's own labels: those reserved for us, and two that may be known from before.
  std::array<LabelView, labels_max + reserved_labels_max + 2> storage;
  const auto read =
      read_label_fields(fields, std::span(storage).first(labels_max + reserved_labels_max));
  if (!read) return read.error();
  std::size_t count = *read;
  const auto reserved = std::count_if(storage.begin(), storage.begin() + count, is_reserved);
  if (count > labels_max + static_cast<std::size_t>(reserved))
    return Error{"labels", "more than " + std::to_string(labels_max)};
  std::optional<MetricFacts> facts;
  if (mapping.facts) count = add_facts(mapping, facts, storage, count);

  const std::span<LabelView> labels(storage.data(), count);
  if (labels.empty()) return Error{"labels", "a series without labels"};
  std::sort(labels.begin(), labels.end(),
            [](const LabelView& a, const LabelView& b) { return a.name < b.name; });
  for (std::size_t i = 0; i < count; ++i) {
    const LabelView& label = labels[i];
    if (label.name.empty()) return Error{"labels " + show_labels(labels), "an empty label name"};
    if (label.value.empty())
      return Error{"labels " + show_labels(labels),
                   "label \"" + printable(label.name) + "\" is empty"};
    if (label.name.size() > name_bytes_max || label.value.size() > value_bytes_max)
      return Error{"labels " + show_labels(labels),
                   "label " + printable(label.name, 64) + " is longer than " +
                       std::to_string(name_bytes_max) + " (name) or " +
                       std::to_string(value_bytes_max) + " (value) bytes"};
    if (!is_storable(label.name) || !is_storable(label.value))
      return Error{"labels " + show_labels(labels),
                   "label " + printable(label.name, 64) + " is not UTF-8 text without NUL"};
    if (i > 0 && labels[i - 1].name == label.name)
      return Error{"labels " + show_labels(labels),
                   "label \"" + printable(label.name) + "\" is repeated"};
  }
  Answer answer = with(labels);
  if (identity_of(answer).metric.size() > metric_bytes_max)
    return Error{"labels " + show_labels(labels), "the labels beside the model take more than " +
                                                std::to_string(metric_bytes_max) + " bytes"};
  return answer;
}

}  // namespace

Result<SeriesIdentity> label_fields_identity(std::string_view fields, const Mapping& mapping) {
  return with_labels<SeriesIdentity>(
      fields, mapping, [&](std::span<const LabelView> labels) { return mapping.identify(labels); });
}

Result<Mapping::Explained> label_fields_explained(std::string_view fields, const Mapping& mapping) {
  return with_labels<Mapping::Explained>(
      fields, mapping, [&](std::span<const LabelView> labels) { return mapping.explain(labels); });
}

std::string show_label_fields(std::string_view fields) {
  std::array<LabelView, labels_max + reserved_labels_max> storage;
  const auto count = read_label_fields(fields, storage);
  if (!count) return "{…}";
  const auto end = std::remove_if(storage.begin(), storage.begin() + *count, is_reserved);
  std::string text = show_labels({storage.begin(), end});
  return text.empty() ? "{}" : text;
}

void LabelFieldsWriter::begin(std::uint32_t line, std::int64_t start_ms) {
  close();
  RawSeries series;
  series.line = line;
  series.start_ms = start_ms;
  series.first = static_cast<std::uint32_t>(points_.size());
  series_.push_back(series);
  starts_.push_back(bytes_.size());
  open_ = true;
}

void LabelFieldsWriter::drop() {
  if (!open_) return;
  bytes_.resize(starts_.back());
  points_.resize(series_.back().first);
  series_.pop_back();
  starts_.pop_back();
  open_ = false;
}

void LabelFieldsWriter::close() {
  if (!open_) return;
  RawSeries& series = series_.back();
  if (points_.size() == series.first) {
    drop();
    return;
  }
  series.count = static_cast<std::uint32_t>(points_.size() - series.first);
  open_ = false;
}

SampleBatch LabelFieldsWriter::finish() {
  close();
  SampleBatch batch;
  batch.bytes = std::exchange(bytes_, {});
  batch.series = std::exchange(series_, {});
  batch.points = std::exchange(points_, {});
  batch.identify = label_fields_identity;
  batch.show = show_label_fields;
  const std::string_view all(batch.bytes.data(), batch.bytes.size());
  for (std::size_t i = 0; i < batch.series.size(); ++i) {
    const std::size_t end = i + 1 < starts_.size() ? starts_[i + 1] : all.size();
    batch.series[i].labels = all.substr(starts_[i], end - starts_[i]);
    batch.series[i].alias = alias_of(batch.series[i].labels);
  }
  starts_.clear();
  return batch;
}

}  // namespace muster::decode
