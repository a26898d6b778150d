#include "collector/decode/remote_write.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include <protozero/pbf_reader.hpp>

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

constexpr char label_tag = 0x0a;   // field 1, length-delimited
constexpr char value_tag = 0x09;   // field 1, fixed64
constexpr char millis_tag = 0x10;  // field 2, varint
static_assert(std::endian::native == std::endian::little, "a value is copied as it stands");

class Scan {
 public:
  Scan(Decoded& out, const Limits& limits) : out_(out), limits_(limits), histograms_(out, built_) {}

  enum class End { done, too_many_series, too_many_samples, too_many_bytes, other_version };

  End request(std::string_view bytes) {
    pbf_reader message(bytes.data(), bytes.size());
    while (message.next()) {
      switch (message.tag_and_type()) {
        case length_delimited(1): {
          const auto view = message.get_view();
          const End end = series({view.data(), view.size()});
          if (end != End::done) return end;
          ++index_;
          break;
        }
        case length_delimited(3): {
          const auto view = message.get_view();
          family({view.data(), view.size()});
          break;
        }
        case length_delimited(4):
        case length_delimited(5):
          other_version_ = true;
          message.skip();
          break;
        default:
          message.skip();
      }
    }
    if (other_version_ && index_ == 0 && out_.families.empty()) return End::other_version;
    out_.text = built_.settle(out_.batch);
    return End::done;
  }

 private:
  End series(std::string_view bytes) {
    std::vector<Point>& points = out_.batch.points;
    const auto first = static_cast<std::uint32_t>(points.size());
    std::string_view labels;
    std::size_t label_count = 0;
    bool apart = false;  // the label fields do not stand together, and are gathered
    histogram_messages_.clear();

    // Nearly every sender writes all labels first, each shorter than 128 bytes: a byte of tag, a byte of
    // length. Walking over them costs a third of reading them as fields.
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    while (end - at >= 2 && at[0] == label_tag && at[1] >= 0 && at[1] <= end - at - 2) {
      at += 2 + at[1];
      ++label_count;
    }
    labels = bytes.substr(0, static_cast<std::size_t>(at - bytes.data()));

    pbf_reader message(at, static_cast<std::size_t>(end - at));
    while (true) {
      const char* field = message.data().data();
      if (!message.next()) break;
      switch (message.tag_and_type()) {
        case length_delimited(1): {
          message.skip();
          ++label_count;
          const std::string_view view(field, message.data().data() - field);
          if (labels.empty()) {
            labels = view;
          } else if (!apart && labels.data() + labels.size() == view.data()) {
            labels = {labels.data(), labels.size() + view.size()};
          } else {
            if (!apart) gathered_.assign(labels);
            apart = true;
            gathered_ += view;
            gathered_.reserve(gathered_.size() + BuiltSeries::spare_bytes);
            labels = gathered_;
          }
          break;
        }
        case length_delimited(2): {
          const auto view = message.get_view();
          sample({view.data(), view.size()});
          break;
        }
        case length_delimited(3):
          ++out_.skipped.exemplars;
          message.skip();
          break;
        case length_delimited(4): {
          const auto view = message.get_view();
          histogram_messages_.emplace_back(view.data(), view.size());
          break;
        }
        default:
          message.skip();
      }
    }

    const auto count = static_cast<std::uint32_t>(points.size() - first);
    out_.samples_sent += count;
    out_.histograms_sent += histogram_messages_.size();
    if (count == 0 && histogram_messages_.empty()) return End::done;
    if (label_count > labels_max || labels.size() > label_fields_bytes_max) {
      out_.reject(index_,
                  "labels: " + std::to_string(label_count) + " in " +
                      std::to_string(labels.size()) + " bytes; at most " +
                      std::to_string(labels_max) + " of " + std::to_string(name_bytes_max) +
                      " and " + std::to_string(value_bytes_max) + " bytes are taken",
                  show_label_fields(labels), count + histogram_messages_.size());
      points.resize(first);
      return End::done;
    }
    if (count > 0) {
      RawSeries raw{labels, 0, first, count, index_, 0};
      if (apart) {
        char* const room = built_.room(labels.size());
        std::memcpy(room, labels.data(), labels.size());
        raw.labels = {};
        built_.close(out_.batch, raw, room + labels.size(), room + labels.size());
      } else {
        raw.alias = alias_of(labels);
        out_.batch.series.push_back(raw);
      }
    }
    if (!histogram_messages_.empty()) read_histograms(labels);
    if (points.size() > limits_.samples_max) return End::too_many_samples;
    if (out_.batch.series.size() > limits_.series_max) return End::too_many_series;
    return built_.bytes() > limits_.built_bytes_max ? End::too_many_bytes : End::done;
  }

  void read_histograms(std::string_view fields) {
    std::array<LabelView, labels_max> storage;
    const auto count = read_label_fields(fields, storage);
    const auto labels = std::span(storage).first(count ? *count : 0);
    std::sort(labels.begin(), labels.end(),
              [](const LabelView& a, const LabelView& b) { return a.name < b.name; });
    for (const std::string_view message : histogram_messages_) {
      Result<void> read =
          count ? histograms_.read(message, labels, {}, {}, index_) : Result<void>(count.error());
      if (!read) out_.reject(index_, read.error().what, show_label_fields(fields));
      if (out_.batch.points.size() > limits_.samples_max) break;
    }
  }

  void sample(std::string_view bytes) {
    double value = 0;
    std::int64_t millis = 0;
    pbf_reader message(bytes.data(), bytes.size());
    // The usual form: the value, then the time, and nothing else.
    if (bytes.size() > 10 && bytes[0] == value_tag && bytes[9] == millis_tag) {
      std::memcpy(&value, bytes.data() + 1, sizeof value);
      const char* at = bytes.data() + 10;
      millis =
          static_cast<std::int64_t>(protozero::decode_varint(&at, bytes.data() + bytes.size()));
      message = pbf_reader(at, static_cast<std::size_t>(bytes.data() + bytes.size() - at));
    }
    while (message.next()) {
      switch (message.tag_and_type()) {
        case protozero::tag_and_type(1, pbf_wire_type::fixed64):
          value = message.get_double();
          break;
        case protozero::tag_and_type(2, pbf_wire_type::varint):
          millis = message.get_int64();
          break;
        default:
          message.skip();
      }
    }
    if (millis > millis_max || millis < -millis_max) {
      out_.reject(index_, "timestamp " + std::to_string(millis) +
                              " is not milliseconds since 1970-01-01 UTC");
      ++out_.samples_sent;
      return;
    }
    out_.batch.points.push_back({from_millis(millis), value});
  }

  void family(std::string_view bytes) {
    if (out_.families.size() == limits_.families_max) {
      ++out_.skipped.families;
      return;
    }
    FamilyView family;
    std::uint64_t type = 0;
    const auto text = [](pbf_reader& message) {
      const auto view = message.get_view();
      return std::string_view(view.data(), view.size());
    };
    pbf_reader message(bytes.data(), bytes.size());
    while (message.next()) {
      switch (message.tag_and_type()) {
        case protozero::tag_and_type(1, pbf_wire_type::varint):
          type = message.get_uint64();
          break;
        case length_delimited(2):
          family.name = text(message);
          break;
        case length_delimited(4):
          family.help = text(message);
          break;
        case length_delimited(5):
          family.unit = text(message);
          break;
        default:
          message.skip();
      }
    }
    family.type = metric_type(type);
    out_.families.push_back(family);
  }

  Decoded& out_;
  const Limits& limits_;
  std::uint32_t index_ = 0;
  bool other_version_ = false;  // fields of 2.0, which leaves those of 1.0 free
  BuiltSeries built_;
  HistogramReader histograms_;
  // Of the series at hand, kept for their memory.
  std::vector<std::string_view> histogram_messages_;
  std::string gathered_;
};

}  // namespace

Result<Decoded> remote_write(std::span<const char> body, const Limits& limits) {
  auto bytes = undo_snappy(body, limits.decoded_bytes_max, BuiltSeries::spare_bytes);
  if (!bytes) return bytes.error();
  const std::size_t size = bytes->size() - BuiltSeries::spare_bytes;

  Decoded out;
  out.batch.bytes = std::move(*bytes);
  out.batch.identify = label_fields_identity;
  out.batch.show = show_label_fields;
  // A usual sample takes 60 to 150 bytes of the request with its labels.
  out.batch.series.reserve(size / 128 + 1);
  out.batch.points.reserve(size / 128 + 1);
  Scan::End end{};
  try {
    end = Scan(out, limits).request({out.batch.bytes.data(), size});
  } catch (const protozero::exception& fault) {
    return Error{"body", std::string("not a protobuf WriteRequest: ") + fault.what()};
  }
  switch (end) {
    case Scan::End::done:
      return out;
    case Scan::End::too_many_series:
      return Error{"body",
                   "more than " + std::to_string(limits.series_max) + " series in a request"};
    case Scan::End::too_many_samples:
      return Error{"body",
                   "more than " + std::to_string(limits.samples_max) + " samples in a request"};
    case Scan::End::other_version:
      return Error{std::string(wrong_version),
                   "the body is remote write 2.0, and is said to be 1.0: its type is "
                   "application/x-protobuf;proto=io.prometheus.write.v2.Request"};
    case Scan::End::too_many_bytes:
      break;
  }
  return Error{"body", "its native histograms give more than " +
                           std::to_string(limits.built_bytes_max) +
                           " bytes of labels; lower max_samples_per_send"};
}

}  // namespace muster::decode
