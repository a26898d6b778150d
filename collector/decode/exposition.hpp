#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "base/result.hpp"
#include "schema/series.hpp"

namespace muster::decode {

enum class ExpositionFormat : std::uint8_t { text, openmetrics };  // text 0.0.4, OpenMetrics 1.0

// Which format a Content-Type names; none is text. The Error names what is there instead.
Result<ExpositionFormat> exposition_format(std::string_view content_type);

enum class FamilyType : std::uint8_t {
  unknown,
  counter,
  gauge,
  histogram,
  gaugehistogram,
  summary,
  info,
  stateset
};
std::string_view to_word(FamilyType type);

// A line of a page. Views point into the page.
struct ExpositionSample {
  std::string_view series;  // the name and the braces with all in them, as they stand
  double value = 0;
  std::optional<std::int64_t> millis;  // when the line says its time
  std::uint32_t line = 0;              // 1-based

  // Of the family that the name belongs to; unknown and empty when no TYPE line named it.
  FamilyType type = FamilyType::unknown;
  std::string_view unit;
  std::string_view family_name;
  // Hash of what is known of the family: the same series with another type is another line.
  std::uint64_t family = 0;
  bool created = false;  // OpenMetrics: not a series, but the time its family's series began
};

// Reads a page line by line. A series' bytes are found here and not read, so that who knows them need not read
// them; `exposition_labels` does.
//
//   ExpositionParser parser(page, format);
//   ExpositionSample sample;
//   while (parser.next(sample)) …
//   if (parser.fault()) …          // the page as a whole is of no use
//
// source  Prometheus, exposition formats (text 0.0.4); OpenMetrics 1.0.0
class ExpositionParser {
 public:
  ExpositionParser(std::string_view page, ExpositionFormat format);

  bool next(ExpositionSample& sample);
  const std::optional<Error>& fault() const { return fault_; }
  std::uint64_t exemplars() const { return exemplars_; }

 private:
  struct Family {
    std::string_view name;
    FamilyType type = FamilyType::unknown;
    std::string_view unit;
    std::uint64_t hash = 0;
  };

  bool fail(std::string what);
  bool comment(std::string_view text);
  bool sample_line(std::string_view text, ExpositionSample& sample);
  bool exemplar(std::string_view text);
  Family& family_named(std::string_view name);
  void classify(std::string_view name, ExpositionSample& sample);

  std::string_view rest_;
  ExpositionFormat format_;
  std::uint32_t line_ = 0;
  bool ended_ = false;  // # EOF was there
  Family current_;
  absl::flat_hash_map<std::string_view, Family> families_;
  std::uint64_t exemplars_ = 0;
  std::optional<Error> fault_;
};

// The labels of a series as it stands on a page, `__name__` with them, sorted by name. Empty values are kept, as
// they say something to honor_labels. The Error's `what` names the fault.
Result<Labels> exposition_labels(std::string_view series, ExpositionFormat format);

}  // namespace muster::decode
