#include "collector/decode/remote_write_2.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <protozero/pbf_reader.hpp>
#include <protozero/varint.hpp>

#include "collector/decode/built_series.hpp"
#include "collector/decode/label_fields.hpp"
#include "collector/decode/native_histogram.hpp"
#include "collector/decode/snappy_block.hpp"

namespace muster::decode {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr auto length_delimited(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::length_delimited);
}
constexpr auto varint(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::varint);
}
constexpr auto fixed64(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::fixed64);
}

std::string_view view_of(pbf_reader& message) {
  const auto view = message.get_view();
  return {view.data(), view.size()};
}

// Memory asked for on a guess: the labels of some ten thousand series.
constexpr std::size_t guess_max = 4u << 20;
constexpr std::size_t refs_max = 2 * labels_max;

constexpr char value_tag = 0x09;   // field 1, fixed64
constexpr char millis_tag = 0x10;  // field 2, varint
static_assert(std::endian::native == std::endian::little, "a value is copied as it stands");

class Scan {
 public:
  Scan(Decoded& out, const Limits& limits) : out_(out), limits_(limits), histograms_(out, built_) {}

  // Why nothing of the request can be used, if that is so.
  std::optional<Error> request(std::string_view bytes) {
    // The table may stand behind the series that refer to it, so it is read first.
    pbf_reader symbols(bytes.data(), bytes.size());
    bool other_version = false;  // fields of 1.0, which 2.0 leaves free
    while (symbols.next()) {
      switch (symbols.tag_and_type()) {
        case length_delimited(4):
          if (symbols_.size() == limits_.symbols_max)
            return Error{"symbols", "more than " + std::to_string(limits_.symbols_max)};
          symbols_.emplace_back().text = view_of(symbols);
          symbols_.back().word = word_of(symbols_.back().text);
          break;
        case length_delimited(5):
          ++series_count_;
          symbols.skip();
          break;
        case length_delimited(1):
        case length_delimited(3):
          other_version = true;
          symbols.skip();
          break;
        default:
          symbols.skip();
      }
    }
    if (other_version && symbols_.empty() && series_count_ == 0)
      return Error{std::string(wrong_version),
                   "the body is remote write 1.0, and is said to be 2.0: its type is "
                   "application/x-protobuf;proto=prometheus.WriteRequest"};
    if (symbols_.empty() ? series_count_ > 0 : !symbols_.front().text.empty())
      return Error{"symbols", "the first must be the empty text"};
    if (series_count_ > limits_.series_max)
      return Error{"body",
                   "more than " + std::to_string(limits_.series_max) + " series in a request"};
    out_.batch.series.reserve(series_count_);
    out_.batch.points.reserve(series_count_);

    pbf_reader message(bytes.data(), bytes.size());
    while (message.next(5, pbf_wire_type::length_delimited)) {
      series(view_of(message));
      ++index_;
      if (out_.batch.points.size() > limits_.samples_max)
        return Error{"body",
                     "more than " + std::to_string(limits_.samples_max) + " samples in a request"};
      if (out_.batch.series.size() > limits_.series_max)
        return Error{"body",
                     "more than " + std::to_string(limits_.series_max) + " series in a request"};
      if (built_.bytes() > limits_.built_bytes_max)
        return Error{"body", "its labels are more than " + std::to_string(limits_.built_bytes_max) +
                                 " bytes; lower max_samples_per_send"};
    }
    built_.settle(out_.batch);
    return {};
  }

 private:
  enum class Word : std::uint8_t { other, name, type, unit };
  struct Symbol {
    std::string_view text;
    Word word = Word::other;
    bool family_noted =
        false;  // what is said of the metric with this name was taken from this request
  };
  static Word word_of(std::string_view text) {
    if (!text.starts_with("__")) return Word::other;
    if (text == "__name__") return Word::name;
    return text == type_label ? Word::type : text == unit_label ? Word::unit : Word::other;
  }

  // What a series message holds, gathered before any of it is used, as fields may come in any order.
  struct Series {
    std::array<std::uint32_t, refs_max> refs;
    std::size_t ref_count = 0;  // may be more than there is room for
    std::uint32_t type = 0, help = 0, unit = 0;
    std::int64_t start_ms = 0;  // of the whole series, as in drafts of the protocol before 2.0-rc.4
    void add(std::uint32_t ref) {
      if (ref_count < refs_max) refs[ref_count] = ref;
      ++ref_count;
    }
  };

  void series(std::string_view bytes) {
    std::vector<Point>& points = out_.batch.points;
    const auto first = static_cast<std::uint32_t>(points.size());
    series_.ref_count = 0;
    series_.start_ms = 0;
    series_.type = series_.help = series_.unit = 0;
    starts_.clear();
    bad_times_.clear();
    histogram_messages_.clear();

    pbf_reader message(bytes.data(), bytes.size());
    while (message.next()) {
      switch (message.tag_and_type()) {
        case length_delimited(1):
          references(view_of(message));
          break;
        case varint(1):
          series_.add(message.get_uint32());
          break;
        case length_delimited(2):
          ++out_.samples_sent;
          sample(view_of(message));
          break;
        case length_delimited(3):
          ++out_.histograms_sent;
          histogram_messages_.push_back(view_of(message));
          break;
        case length_delimited(4):
          ++out_.skipped.exemplars;
          message.skip();
          break;
        case length_delimited(5):
          metadata(view_of(message));
          break;
        case varint(6):
          series_.start_ms = message.get_int64();
          break;
        default:
          message.skip();
      }
    }
    const std::size_t count = points.size() - first;
    const auto leave_out = [&](std::string what, std::string labels) {
      out_.reject(index_, std::move(what), std::move(labels),
                  count + histogram_messages_.size() + bad_times_.size());
      points.resize(first);
    };
    std::size_t bytes_needed = 0;
    if (!check_references(bytes_needed, leave_out)) return;
    for (const std::int64_t millis : bad_times_)
      out_.reject(
          index_,
          "timestamp " + std::to_string(millis) + " is not milliseconds since 1970-01-01 UTC",
          shown());
    note_family();
    if (count > 0) build(first, count, bytes_needed);
    if (!histogram_messages_.empty()) read_histograms();
  }

  void references(std::string_view packed) {
    const char* at = packed.data();
    const char* const end = at + packed.size();
    while (at != end) {
      // Most tables have fewer than 16,384 symbols.
      const auto low = static_cast<unsigned char>(*at);
      if (low < 0x80) {
        ++at;
        series_.add(low);
        continue;
      }
      if (end - at >= 2 && static_cast<unsigned char>(at[1]) < 0x80) {
        series_.add((low & 0x7fu) | static_cast<unsigned>(at[1]) << 7);
        at += 2;
        continue;
      }
      series_.add(static_cast<std::uint32_t>(protozero::decode_varint(&at, end)));
    }
  }

  // Whether they name a label set that can be written out, and in how many bytes; else the series is left out.
  template <class LeaveOut>
  bool check_references(std::size_t& bytes_needed, const LeaveOut& leave_out) {
    const std::size_t count = series_.ref_count;
    if (count > refs_max) {
      leave_out("labels: " + std::to_string(count / 2) + "; at most " + std::to_string(labels_max) +
                    " are taken",
                "");
      return false;
    }
    if (count % 2 != 0) {
      leave_out("labels_refs: " + std::to_string(count) + " references, which are no pairs", "");
      return false;
    }
    name_ = nullptr;
    has_type_ = has_unit_ = false;
    for (std::size_t i = 0; i < count; i += 2) {
      const std::uint32_t highest = std::max(series_.refs[i], series_.refs[i + 1]);
      if (highest >= symbols_.size()) {
        leave_out("labels_refs: reference " + std::to_string(highest) + " of " +
                      std::to_string(symbols_.size()) + " symbols",
                  "");
        return false;
      }
      const Symbol& name = symbols_[series_.refs[i]];
      Symbol& value = symbols_[series_.refs[i + 1]];
      bytes_needed += name.text.size() + value.text.size();
      if (name.word == Word::other) continue;
      if (name.word == Word::name) name_ = &value;
      has_type_ = has_type_ || name.word == Word::type;
      has_unit_ = has_unit_ || name.word == Word::unit;
    }
    if (bytes_needed > labels_max * (name_bytes_max + value_bytes_max)) {
      leave_out("labels: " + std::to_string(count / 2) + " in " + std::to_string(bytes_needed) +
                    " bytes; at most " + std::to_string(labels_max) + " of " +
                    std::to_string(name_bytes_max) + " and " + std::to_string(value_bytes_max) +
                    " bytes are taken",
                shown());
      return false;
    }
    if (series_.unit >= symbols_.size() || series_.help >= symbols_.size()) {
      leave_out("metadata: reference " + std::to_string(std::max(series_.unit, series_.help)) +
                    " of " + std::to_string(symbols_.size()) + " symbols",
                shown());
      return false;
    }
    bytes_needed += count / 2 * label_overhead_max;
    return true;
  }

  std::span<const LabelView> labels() {
    const std::size_t count = std::min(series_.ref_count, refs_max) / 2;
    for (std::size_t i = 0; i < count; ++i)
      labels_[i] = {symbols_[series_.refs[2 * i]].text, symbols_[series_.refs[2 * i + 1]].text};
    return {labels_.data(), count};
  }
  std::string shown() { return show_labels(labels()); }

  // A type or unit that stands among the labels already, as Prometheus can send them, is not said twice.
  std::string_view said_type() const {
    return series_.type == 0 || has_type_ ? std::string_view() : metric_type(series_.type);
  }
  std::string_view said_unit() const {
    return series_.unit == 0 || has_unit_ ? std::string_view() : symbols_[series_.unit].text;
  }

  void note_family() {
    const bool described = series_.type != 0 || series_.help != 0 || series_.unit != 0;
    if (!described || name_ == nullptr || std::exchange(name_->family_noted, true)) return;
    if (out_.families.size() == limits_.families_max) {
      ++out_.skipped.families;
      return;
    }
    FamilyView family;
    family.name = name_->text;
    family.type = metric_type(series_.type);
    family.help = symbols_[series_.help].text;
    family.unit = symbols_[series_.unit].text;
    // Series are described here, and families there.
    if (family.type == "histogram" || family.type == "summary" || family.type == "gaugehistogram")
      for (const std::string_view end : {"_bucket", "_count", "_sum"})
        if (family.name.size() > end.size() && family.name.ends_with(end)) {
          family.name.remove_suffix(end.size());
          break;
        }
    out_.families.push_back(family);
  }

  void build(std::uint32_t first, std::size_t count, std::size_t bytes_needed) {
    const std::string_view unit = said_unit();
    // The first series tells what the others will take; a false guess costs a copy.
    if (built_.bytes() == 0)
      built_.expect(std::min(series_count_ * (bytes_needed + bytes_needed / 8 + 32), guess_max));
    char* at = built_.room(bytes_needed + unit.size() + 4 * label_overhead_max + 32);
    for (std::size_t i = 0; i < series_.ref_count; i += 2)
      at = put_label(at, symbols_[series_.refs[i]].text, symbols_[series_.refs[i + 1]].text);
    const char* const alias_end = at;
    at = put_reserved(at, said_type(), unit);

    // A series carries one start: samples with others make further series of the same labels.
    RawSeries raw;
    raw.line = index_;
    for (std::size_t i = 0; i < count;) {
      std::size_t next = i + 1;
      while (next < count && starts_[next] == starts_[i]) ++next;
      raw.first = first + static_cast<std::uint32_t>(i);
      raw.count = static_cast<std::uint32_t>(next - i);
      raw.start_ms = starts_[i] != 0 ? starts_[i] : series_.start_ms;
      if (i == 0) {
        built_.close(out_.batch, raw, alias_end, at);
      } else {
        built_.again(out_.batch, raw);
      }
      i = next;
    }
  }

  void read_histograms() {
    const std::size_t count = labels().size();
    const auto sorted = std::span(labels_).first(count);
    const std::string labels_shown = show_labels(sorted);
    std::sort(sorted.begin(), sorted.end(),
              [](const LabelView& a, const LabelView& b) { return a.name < b.name; });
    for (const std::string_view message : histogram_messages_) {
      const Result<void> read =
          histograms_.read(message, sorted, said_type(), said_unit(), index_, series_.start_ms);
      if (!read) out_.reject(index_, read.error().what, labels_shown);
      if (out_.batch.points.size() > limits_.samples_max) break;
    }
  }

  void sample(std::string_view bytes) {
    double value = 0;
    std::int64_t millis = 0, start_ms = 0;
    pbf_reader message(bytes.data(), bytes.size());
    // The usual form: the value, then the time, and perhaps a start.
    if (bytes.size() > 10 && bytes[0] == value_tag && bytes[9] == millis_tag) {
      std::memcpy(&value, bytes.data() + 1, sizeof value);
      const char* at = bytes.data() + 10;
      millis =
          static_cast<std::int64_t>(protozero::decode_varint(&at, bytes.data() + bytes.size()));
      message = pbf_reader(at, static_cast<std::size_t>(bytes.data() + bytes.size() - at));
    }
    while (message.next()) {
      switch (message.tag_and_type()) {
        case fixed64(1):
          value = message.get_double();
          break;
        case varint(2):
          millis = message.get_int64();
          break;
        case varint(3):
          start_ms = message.get_int64();
          break;
        default:
          message.skip();
      }
    }
    if (millis > millis_max || millis < -millis_max) {
      bad_times_.push_back(millis);
      return;
    }
    out_.batch.points.push_back({from_millis(millis), value});
    starts_.push_back(start_ms);
  }

  void metadata(std::string_view bytes) {
    pbf_reader message(bytes.data(), bytes.size());
    while (message.next()) {
      switch (message.tag_and_type()) {
        case varint(1):
          series_.type = message.get_uint32();
          break;
        case varint(3):
          series_.help = message.get_uint32();
          break;
        case varint(4):
          series_.unit = message.get_uint32();
          break;
        default:
          message.skip();
      }
    }
  }

  Decoded& out_;
  const Limits& limits_;
  std::vector<Symbol> symbols_;
  std::size_t series_count_ = 0;
  std::uint32_t index_ = 0;
  BuiltSeries built_;
  HistogramReader histograms_;
  // Of the series at hand, kept for their memory.
  Series series_;
  std::vector<std::int64_t> starts_;     // of its points
  std::vector<std::int64_t> bad_times_;  // times that do not fit
  std::vector<std::string_view> histogram_messages_;
  std::array<LabelView, labels_max> labels_;
  Symbol* name_ = nullptr;  // the value of __name__
  bool has_type_ = false, has_unit_ = false;
};

}  // namespace

Result<Decoded> remote_write_2(std::span<const char> body, const Limits& limits) {
  auto bytes = undo_snappy(body, limits.decoded_bytes_max, BuiltSeries::spare_bytes);
  if (!bytes) return bytes.error();
  Decoded out;
  out.text = std::move(*bytes);
  out.batch.identify = label_fields_identity;
  out.batch.show = show_label_fields;
  try {
    Scan scan(out, limits);
    if (auto fault = scan.request({out.text.data(), out.text.size() - BuiltSeries::spare_bytes}))
      return std::move(*fault);
  } catch (const protozero::exception& fault) {
    return Error{"body",
                 std::string("not a protobuf io.prometheus.write.v2.Request: ") + fault.what()};
  }
  return out;
}

}  // namespace muster::decode
