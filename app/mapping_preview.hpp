#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"
#include "schema/mapping.hpp"

// What becomes of label sets, for a person: the command, the endpoint and the doctor say it in the same words.
namespace muster::app {

// {"rules":[{"rule","name","built_in","match","says":{…}}]}, in the order in which they are asked.
std::string mapping_json(const Mapping& mapping);
// A line a rule: `12  model label  built in  model=${model|model_name}`.
std::string mapping_text(const Mapping& mapping);

// Reads label sets and says what each becomes, under rules to try or else under `current`.
//
//   JSON  {"series":[…],"mapping":…}: a series is `name{a="b"}` or an object of labels; `mapping` is YAML in a
//         text, or an object or list as the config has it
//   text  a label set a line, `name{a="b"}`; what follows it (a value, a time) is not looked at. `# TYPE NAME TYPE`
//         and `# UNIT NAME UNIT` of an exposition count for the lines after them
//
// Gives {"series":[{"model","version",…,"because":[{"field","rule","name","why"}]} | {"error"}]}.
Result<std::string> preview_mapping(std::string_view body, const Mapping& current);

// One label set as text: a field a line, with the rule behind it.
Result<std::string> explain_mapping(std::string_view series, const Mapping& mapping);

}  // namespace muster::app
