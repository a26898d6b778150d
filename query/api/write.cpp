#include "query/api/write.hpp"

#include <algorithm>

#include "query/number.hpp"

namespace muster::query {
namespace {

void append_point(std::string& out, Timestamp at, double value) {
  out += '[';
  append_seconds(out, at);
  out += ",\"";
  append_value(out, value);
  out += "\"]";
}

}  // namespace

void append_string(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += "\\u00";
      out += hex[u >> 4];
      out += hex[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_labels(std::string& out, const Labels& labels) {
  out += '{';
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (i > 0) out += ',';
    append_string(out, labels[i].name);
    out += ':';
    append_string(out, labels[i].value);
  }
  out += '}';
}

bool append_instant(std::string& out, const Value& value, Timestamp at, std::size_t limit) {
  if (value.type == Type::scalar) {
    out += R"({"resultType":"scalar","result":)";
    append_point(out, at, value.columns.values.front());
    out += '}';
    return false;
  }
  if (value.type == Type::text) {
    out += R"({"resultType":"string","result":[)";
    append_seconds(out, at);
    out += ',';
    append_string(out, value.text);
    out += "]}";
    return false;
  }
  std::size_t n = 0;
  if (value.type == Type::range) {
    out += R"({"resultType":"matrix","result":[)";
    for (const Samples::Series& series : value.samples.series) {
      if (n == limit) break;
      const std::size_t before = out.size();
      if (n > 0) out += ',';
      out += R"({"metric":)";
      append_labels(out, series.labels);
      out += R"(,"values":[)";
      bool any = false;
      for (std::size_t i = series.first; i < series.first + series.count; ++i) {
        if (is_stale(value.samples.values[i])) continue;
        if (any) out += ',';
        append_point(out, {value.samples.at[i]}, value.samples.values[i]);
        any = true;
      }
      out += "]}";
      if (any) {
        ++n;
      } else {
        out.resize(before);
      }
    }
    out += "]}";
    return n == limit && value.samples.series.size() > limit;
  }
  out += R"({"resultType":"vector","result":[)";
  const Columns& columns = value.columns;
  for (std::size_t s = 0; s < columns.size() && n < limit; ++s) {
    if (!columns.present[s]) continue;
    if (n++ > 0) out += ',';
    out += R"({"metric":)";
    append_labels(out, columns.labels[s]);
    out += R"(,"value":)";
    append_point(out, at, columns.values[s]);
    out += '}';
  }
  out += "]}";
  return columns.size() > limit;
}

bool append_range(std::string& out, Value& value, const Steps& steps, std::size_t limit) {
  Columns& columns = value.columns;
  sort_by_labels(columns);
  out += R"({"resultType":"matrix","result":[)";
  std::size_t n = 0;
  for (std::size_t s = 0; s < columns.size() && n < limit; ++s) {
    const auto present = columns.present_of(s);
    if (std::none_of(present.begin(), present.end(), [](std::uint8_t p) { return p != 0; })) continue;
    if (n++ > 0) out += ',';
    out += R"({"metric":)";
    append_labels(out, columns.labels[s]);
    out += R"(,"values":[)";
    bool any = false;
    for (std::size_t i = 0; i < steps.count; ++i) {
      if (!present[i]) continue;
      if (any) out += ',';
      append_point(out, steps.at(i), columns.values_of(s)[i]);
      any = true;
    }
    out += "]}";
  }
  out += "]}";
  return columns.size() > limit;
}

}  // namespace muster::query
