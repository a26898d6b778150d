#include "collector/decode/remote_read.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include <simdjson.h>
#include <snappy.h>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "collector/decode/snappy_block.hpp"
#include "collector/decode/text.hpp"

namespace muster::decode {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;
using protozero::pbf_writer;

constexpr auto length_delimited(std::uint32_t field) {
  return protozero::tag_and_type(field, pbf_wire_type::length_delimited);
}

std::string_view view_of(pbf_reader& message) {
  const auto view = message.get_view();
  return {view.data(), view.size()};
}

// One series of an export.
Result<void> add_series(simdjson::dom::element line, pbf_writer& request) {
  const auto bad = [](std::string what) { return Error{"line", std::move(what)}; };
  simdjson::dom::object metric;
  simdjson::dom::array values, times;
  if (line["metric"].get(metric) != simdjson::SUCCESS) return bad("no object \"metric\"");
  if (line["values"].get(values) != simdjson::SUCCESS) return bad("no array \"values\"");
  if (line["timestamps"].get(times) != simdjson::SUCCESS) return bad("no array \"timestamps\"");
  if (values.size() != times.size())
    return bad(std::to_string(values.size()) + " values and " + std::to_string(times.size()) +
               " timestamps");

  std::vector<std::pair<std::string_view, std::string_view>> labels;
  for (const auto field : metric) {
    std::string_view value;
    if (field.value.get(value) != simdjson::SUCCESS)
      return bad("label " + printable(field.key, 60) + " is not a text");
    labels.emplace_back(field.key, value);
  }
  std::sort(labels.begin(), labels.end());

  std::string series;
  pbf_writer writer(series);
  for (const auto& [name, value] : labels) {
    pbf_writer label(writer, 1);
    label.add_string(1, name.data(), name.size());
    label.add_string(2, value.data(), value.size());
  }
  auto time = times.begin();
  for (const auto value : values) {
    double number = 0;
    std::string_view word;
    if (value.is_null()) {
      number = std::numeric_limits<double>::quiet_NaN();
    } else if (value.get(word) == simdjson::SUCCESS) {
      const bool infinite = word == "Infinity" || word == "-Infinity";
      if (!infinite && word != "NaN") return bad("value " + printable(word, 40) + " is no number");
      number = infinite ? std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
      if (word.starts_with('-')) number = -number;
    } else if (value.get(number) != simdjson::SUCCESS) {
      return bad("a value is no number");
    }
    std::int64_t ms = 0;
    if ((*time).get(ms) != simdjson::SUCCESS) return bad("a timestamp is no whole number");
    ++time;
    pbf_writer sample(writer, 2);
    sample.add_double(1, number);
    sample.add_int64(2, ms);
  }
  request.add_message(1, series);
  return {};
}

}  // namespace

std::string snappy_block(std::string_view bytes) {
  std::string out;
  snappy::Compress(bytes.data(), bytes.size(), &out);
  return out;
}

std::string remote_read_request(std::int64_t from_ms, std::int64_t to_ms,
                                std::span<const Matcher> matchers) {
  std::string request;
  {
    pbf_writer writer(request);
    pbf_writer query(writer, 1);
    query.add_int64(1, from_ms);
    query.add_int64(2, to_ms);
    for (const Matcher& matcher : matchers) {
      pbf_writer one(query, 3);
      static_assert(static_cast<int>(Matcher::Op::not_regex) == 3, "the protocol's own numbers");
      one.add_enum(1, static_cast<std::int32_t>(matcher.op));
      one.add_string(2, matcher.name);
      one.add_string(3, matcher.value);
    }
  }
  return snappy_block(request);  // without accepted_response_types: samples
}

Result<std::string> remote_read_samples(std::span<const char> body, std::size_t bytes_max) {
  const auto bytes = undo_snappy(body, bytes_max);
  if (!bytes) return bytes.error();
  std::string out;
  try {
    pbf_reader message(bytes->data(), bytes->size());
    while (message.next(1, pbf_wire_type::length_delimited)) out += view_of(message);
  } catch (const protozero::exception& fault) {
    return Error{"body", std::string("not a ReadResponse: ") + fault.what()};
  }
  return out;
}

Result<std::string> victoria_samples(std::string_view lines) {
  std::string out;
  pbf_writer request(out);
  simdjson::dom::parser parser;
  std::uint64_t number = 0;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    simdjson::dom::element element;
    const auto fault = parser.parse(line.data(), line.size()).get(element);
    Result<void> added = fault == simdjson::SUCCESS
                             ? add_series(element, request)
                             : Result<void>(Error{"line", simdjson::error_message(fault)});
    if (!added) return Error{"line " + std::to_string(number), added.error().what};
  }
  return out;
}

WriteRequestSize size_of_write_request(std::string_view bytes) {
  WriteRequestSize size;
  try {
    pbf_reader request(bytes.data(), bytes.size());
    while (request.next(1, pbf_wire_type::length_delimited)) {
      ++size.series;
      pbf_reader series = request.get_message();
      while (series.next()) {
        if (series.tag_and_type() == length_delimited(2)) ++size.samples;
        series.skip();
      }
    }
  } catch (const protozero::exception&) {
    // Whoever takes it says what is wrong.
  }
  return size;
}

}  // namespace muster::decode
