#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

// The rules that keep one SQL for one machine and for a distributed database (docs/storage.md), read off the
// text of the migrations. It understands the plain SQL that migrations are written in, no more.
namespace muster::test {

using TableClasses = std::map<std::string, std::string>;  // table -> fact, catalog or control

// Reads classes.txt; a line that is none is a complaint.
TableClasses read_classes(std::string_view text, std::vector<std::string>& complaints);

// What breaks a rule, a sentence each; nothing when all is well.
std::vector<std::string> lint(std::string_view sql, const TableClasses& classes);

// As lint over all files together, and every table of `classes` must be there.
std::vector<std::string> lint_all(const std::vector<std::string>& files,
                                  const TableClasses& classes);

}  // namespace muster::test
