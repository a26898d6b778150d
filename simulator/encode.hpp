#pragma once

#include <span>
#include <string>
#include <vector>

#include "simulator/fleet.hpp"

namespace muster::simulator {

// Samples as NDJSON lines (the body of POST /api/v1/samples). What does not change from line to
// line is written once, so a line costs about as much as printing its number.
class NdjsonWriter {
 public:
  explicit NdjsonWriter(const Fleet& fleet);

  void append(std::span<const Sample> samples, std::string& out);

 private:
  struct Line {
    std::string before;  // from the model to the value
    std::string after;   // from the value to the end, with the labels
    std::uint32_t deploy = 0;
  };
  const Fleet& fleet_;
  std::vector<Line> lines_;  // by series
};

// An event as one NDJSON line.
void append_event(const Event& event, std::string& out);

}  // namespace muster::simulator
