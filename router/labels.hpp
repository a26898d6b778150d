#pragma once

#include <string>
#include <string_view>

#include "schema/matcher.hpp"
#include "schema/series.hpp"
#include "schema/text.hpp"

namespace muster::router {

// Sorted by name, without empty values: a label whose value is empty is not there. Of a repeated name the
// last one stays.
Labels canonical(Labels labels);

// Sets, replaces or (with an empty value) drops a label of a canonical list.
void set_label(Labels& labels, std::string_view name, std::string_view value);

// FNV-1a, 64 bits, over name 0xFF value 0xFF of each label, as 16 hex digits: what Alertmanager shows for
// the same labels. It is a name to show, not an identity: two label sets may share it.
std::string fingerprint(const Labels& canonical_labels);

// The identity of a label set: names and values quoted, so that no two sets have the same text.
std::string identity(const Labels& canonical_labels);

// {a="b", c="d"}, as in group keys. Values are quoted as Go does it.
std::string to_text(const Labels& canonical_labels);

std::string sha256_hex(std::string_view bytes);

}  // namespace muster::router
