#include "simulator/encode.hpp"

#include <boost/json.hpp>
#include <charconv>

#include "schema/series.hpp"

namespace muster::simulator {
namespace {

std::string quoted(std::string_view text) {
  return boost::json::serialize(boost::json::string(text));
}

template <class Number>
void append_number(Number number, std::string& out) {
  char digits[32];  // the longest double takes 24
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

}  // namespace

NdjsonWriter::NdjsonWriter(const Fleet& fleet)
    : fleet_(fleet), lines_(fleet.topology().models.size() * metrics.size()) {
  for (std::size_t s = 0; s < lines_.size(); ++s) {
    const Model& model = fleet.topology().models[s / metrics.size()];
    lines_[s].before = ",\"model\":" + quoted(model.id) +
                       ",\"metric\":" + quoted(metrics[s % metrics.size()].id) + ",\"value\":";
  }
}

void NdjsonWriter::append(std::span<const Sample> samples, std::string& out) {
  for (const Sample& sample : samples) {
    Line& line = lines_[sample.model * metrics.size() + sample.metric];
    if (line.after.empty() || line.deploy != sample.deploy) {
      const Model& model = fleet_.topology().models[sample.model];
      line.deploy = sample.deploy;
      line.after = ",\"labels\":{\"region\":" + quoted(model.region) +
                   ",\"family\":" + quoted(model.family) + ",\"team\":" + quoted(model.team);
      if (fleet_.shape().version_labels) {
        line.after += ",\"version\":" + quoted(fleet_.version(sample.model, sample.deploy));
      }
      line.after += "}}\n";
    }
    out += "{\"ts\":";
    append_number(to_millis(sample.ts), out);
    out += line.before;
    if (is_null(sample.value)) {
      out += "null";
    } else {
      append_number(sample.value, out);
    }
    out += line.after;
  }
}

void append_event(const Event& event, std::string& out) {
  out += to_json(event);
  out += '\n';
}

}  // namespace muster::simulator
