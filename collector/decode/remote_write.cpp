#include "collector/decode/remote_write.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include <snappy.h>
#include <protozero/pbf_reader.hpp>

#include "collector/decode/label_fields.hpp"

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

// `spare` is room behind the request for label fields that do not stand together and have to be
// copied. Gives nothing when there is none and it is needed.
class Scan {
 public:
  Scan(Decoded& out, const Limits& limits, std::span<char> spare)
      : out_(out), limits_(limits), spare_(spare) {}

  enum class End { done, wants_spare, too_many_series, too_many_samples };

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
        default:
          message.skip();
      }
    }
    return End::done;
  }

 private:
  End series(std::string_view bytes) {
    std::vector<Point>& points = out_.batch.points;
    const auto first = static_cast<std::uint32_t>(points.size());
    std::string_view labels;
    std::size_t label_count = 0;

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
          } else if (labels.data() + labels.size() == view.data()) {
            labels = {labels.data(), labels.size() + view.size()};
          } else if (!append_apart(labels, view)) {
            return End::wants_spare;
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
        case length_delimited(4):
          ++out_.histograms_sent;
          message.skip();
          break;
        default:
          message.skip();
      }
    }

    const auto count = static_cast<std::uint32_t>(points.size() - first);
    out_.samples_sent += count;
    if (count == 0) return End::done;
    if (points.size() > limits_.samples_max) return End::too_many_samples;
    if (label_count > labels_max || labels.size() > label_fields_bytes_max) {
      out_.reject(index_,
                  "labels: " + std::to_string(label_count) + " in " +
                      std::to_string(labels.size()) + " bytes; at most " +
                      std::to_string(labels_max) + " of " + std::to_string(name_bytes_max) +
                      " and " + std::to_string(value_bytes_max) + " bytes are taken",
                  show_label_fields(labels), count);
      points.resize(first);
      return End::done;
    }
    if (out_.batch.series.size() == limits_.series_max) return End::too_many_series;
    out_.batch.series.push_back({labels, alias_of(labels), first, count, index_, 0});
    return End::done;
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

  // Label fields with another field between them: brought together in the spare room.
  bool append_apart(std::string_view& labels, std::string_view view) {
    char* const end = spare_.data() + used_;
    const bool copied = used_ > 0 && labels.data() + labels.size() == end;
    const std::size_t wanted = view.size() + (copied ? 0 : labels.size());
    if (wanted > spare_.size() - used_) return false;
    if (copied) {
      std::memcpy(end, view.data(), view.size());
      labels = {labels.data(), labels.size() + view.size()};
    } else {
      std::memcpy(end, labels.data(), labels.size());
      std::memcpy(end + labels.size(), view.data(), view.size());
      labels = {end, wanted};
    }
    used_ += wanted;
    return true;
  }

  Decoded& out_;
  const Limits& limits_;
  std::span<char> spare_;
  std::size_t used_ = 0;
  std::uint32_t index_ = 0;
};

}  // namespace

std::string_view metric_type(std::uint64_t number) {
  constexpr std::array<std::string_view, 8> words = {
      "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"};
  return words[number < words.size() ? number : 0];
}

Result<Decoded> remote_write(std::span<const char> body, const Limits& limits) {
  std::size_t size = 0;
  if (body.empty() || !snappy::GetUncompressedLength(body.data(), body.size(), &size))
    return Error{"body",
                 "not a snappy block; remote write wants the block format, not the framed one"};
  if (size > limits.decoded_bytes_max)
    return Error{"body", "claims " + std::to_string(size) + " bytes decompressed, at most " +
                             std::to_string(limits.decoded_bytes_max) +
                             " are taken; lower max_samples_per_send"};
  // Three bytes of a snappy block give 64 at most, so a claim beyond that is false: nothing is
  // allocated.
  if (size / 22 > body.size()) return Error{"body", "snappy: its claimed size cannot be true"};

  Decoded out;
  out.batch.bytes.resize(size);
  if (!snappy::RawUncompress(body.data(), body.size(), out.batch.bytes.data()))
    return Error{"body", "snappy: the block is damaged or cut short"};

  std::size_t spare = 0;
  while (true) {
    Decoded attempt;
    attempt.batch.bytes = std::move(out.batch.bytes);
    attempt.batch.identify = label_fields_identity;
    attempt.batch.show = show_label_fields;
    // A usual sample takes 60 to 150 bytes of the request with its labels.
    attempt.batch.series.reserve(size / 128 + 1);
    attempt.batch.points.reserve(size / 128 + 1);
    Scan scan(attempt, limits, std::span(attempt.batch.bytes).subspan(size, spare));
    Scan::End end{};
    try {
      end = scan.request({attempt.batch.bytes.data(), size});
    } catch (const protozero::exception& fault) {
      return Error{"body", std::string("not a protobuf WriteRequest: ") + fault.what()};
    }
    switch (end) {
      case Scan::End::done:
        return attempt;
      case Scan::End::too_many_series:
        return Error{"body",
                     "more than " + std::to_string(limits.series_max) + " series in a request"};
      case Scan::End::too_many_samples:
        return Error{"body",
                     "more than " + std::to_string(limits.samples_max) + " samples in a request"};
      case Scan::End::wants_spare:
        break;
    }
    // Rare, so paid for only then: all label fields together fit into as much room again.
    spare = size;
    out.batch.bytes = std::move(attempt.batch.bytes);
    out.batch.bytes.resize(size + spare);
  }
}

}  // namespace muster::decode
