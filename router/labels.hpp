#pragma once

#include <string>
#include <string_view>

#include "schema/series.hpp"

namespace muster::router {

// Sorted by name, without empty values: a label whose value is empty is not there. Of a repeated name the
// last one stays.
Labels canonical(Labels labels);

// The value of `name`, or "" when it is missing: the two are the same to every matcher.
std::string_view value_of(const Labels& labels, std::string_view name);

// Sets, replaces or (with an empty value) drops a label of a canonical list.
void set_label(Labels& labels, std::string_view name, std::string_view value);

// FNV-1a, 64 bits, over name 0xFF value 0xFF of each label, as 16 hex digits: what Alertmanager shows for
// the same labels. It is a name to show, not an identity: two label sets may share it.
std::string fingerprint(const Labels& canonical_labels);

// The identity of a label set: names and values quoted, so that no two sets have the same text.
std::string identity(const Labels& canonical_labels);

// {a="b", c="d"}, as in group keys. Values are quoted as Go does it.
std::string to_text(const Labels& canonical_labels);

// A double-quoted Go string: what cannot be printed, and bytes that are not UTF-8, become escapes.
std::string quote(std::string_view text);

// One code point of UTF-8 at `at`: how many bytes it takes, and what it is; 0 bytes when it is not UTF-8.
struct CodePoint {
  std::size_t bytes = 0;
  char32_t value = 0;
};
CodePoint code_point(std::string_view text, std::size_t at);
bool is_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t value);

std::string sha256_hex(std::string_view bytes);

}  // namespace muster::router
