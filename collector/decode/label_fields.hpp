#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "collector/decode/decoded.hpp"

namespace muster::decode {

// The one raw form of a label set: the label fields of a remote write 1.0 TimeSeries, one behind the other
// (`repeated Label labels = 1; Label { string name = 1; string value = 2; }`). Whatever comes with labels is
// brought into it, so that there is one reader of labels, and one alias for one label set whatever its protocol.
// Labels stand in the order of their names when the sender is to have one alias for them.

// One byte of tag and at most two of length before each of name, value and label.
inline constexpr std::size_t label_fields_bytes_max =
    labels_max * (name_bytes_max + value_bytes_max + 9);

// What a protocol knows of a series beside its labels.
using muster::temporality_label;
using muster::type_label;
using muster::unit_label;

// XXH3 of the fields, set apart from the aliases of other forms.
std::uint64_t alias_of(std::string_view fields);

void append_label_field(std::vector<char>& out, std::string_view name, std::string_view value);

// Who a label set is, or what its sender has to change. Unsorted labels are sorted; a repeated name, an empty
// name or value, and text that is not UTF-8 are refused.
Result<SeriesIdentity> label_fields_identity(std::string_view fields, const Mapping& mapping);
// The same for a person, with the rule behind each field.
Result<Mapping::Explained> label_fields_explained(std::string_view fields, const Mapping& mapping);

// The labels of these fields in their order, of which at most into.size() may be there; how many there are.
Result<std::size_t> read_label_fields(std::string_view fields, std::span<LabelView> into);

// Labels that a protocol's own knowledge may add to a sender's.
inline constexpr std::size_t reserved_labels_max = 3;

// A label set as its sender would write it, {__name__="drift",job="j"}, cut and made printable; the labels reserved
// for us are left out.
std::string show_label_fields(std::string_view fields);
std::string show_labels(std::span<const LabelView> labels);

// Makes a batch of series whose labels are not there as fields already:
//
//   writer.begin(line);
//   writer.fields(resource);            // any number of these two, in the order of the names
//   writer.label("__name__", name);
//   writer.point({ts, value});          // a series without points is left out
//   …
//   SampleBatch batch = writer.finish();
class LabelFieldsWriter {
 public:
  void begin(std::uint32_t line, std::int64_t start_ms = 0);
  void fields(std::string_view fields) { bytes_.insert(bytes_.end(), fields.begin(), fields.end()); }
  void label(std::string_view name, std::string_view value) {
    append_label_field(bytes_, name, value);
  }
  void point(Point point) { points_.push_back(point); }
  // Forgets what was begun and not closed by a further begin().
  void drop();

  std::size_t series() const { return series_.size(); }  // begun
  std::size_t points() const { return points_.size(); }
  std::size_t bytes() const { return bytes_.size(); }

  // All of it, with `identify` and `show` set; the writer is empty afterwards.
  SampleBatch finish();

 private:
  void close();

  std::vector<char> bytes_;
  std::vector<RawSeries> series_;
  std::vector<std::size_t> starts_;  // of each series' fields in `bytes_`, which moves as it grows
  std::vector<Point> points_;
  bool open_ = false;
};

}  // namespace muster::decode
