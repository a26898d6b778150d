#include "schema/mapping.hpp"

#include <array>
#include <vector>

namespace muster {
namespace {

constexpr std::array<std::string_view, 4> model_labels = {"model", "model_name", "model_id",
                                                          "deployment"};
constexpr std::array<std::string_view, 2> version_labels = {"version", "model_version"};

const LabelView* find(std::span<const LabelView> labels, std::string_view name) {
  for (const LabelView& label : labels)
    if (label.name == name) return &label;
  return nullptr;
}

const LabelView* find_first(std::span<const LabelView> labels,
                            std::span<const std::string_view> names) {
  for (const std::string_view name : names)
    if (const LabelView* label = find(labels, name)) return label;
  return nullptr;
}

// `le` marks a bucket, and a summary's quantile is a gauge, whatever the family's type says.
Kind said_kind(std::string_view name, std::string_view type, bool delta) {
  Kind kind = kind_of(name);
  if (type == "gauge" || (type == "summary" && kind == Kind::gauge)) return Kind::gauge;
  if (type == "counter") kind = Kind::counter;
  if (!delta) return kind;
  if (kind == Kind::counter) return Kind::delta;
  return kind == Kind::bucket ? Kind::delta_bucket : kind;
}

// A unit by the word that Prometheus's names and OpenMetrics use; none for any other.
Unit unit_of(std::string_view word) {
  for (int u = 1; u <= static_cast<int>(Unit::hertz); ++u)
    if (to_word(static_cast<Unit>(u)) == word) return static_cast<Unit>(u);
  return Unit::none;
}

}  // namespace

Kind kind_of(std::string_view metric_name) {
  for (const std::string_view end : {"_total", "_count", "_sum"})
    if (metric_name.ends_with(end)) return Kind::counter;
  return metric_name.ends_with("_bucket") ? Kind::bucket : Kind::gauge;
}

void append_labels(std::string& out, std::span<const LabelView> labels) {
  if (labels.empty()) return;
  char before = '{';
  for (const LabelView& label : labels) {
    out += before;
    out += label.name;
    out += "=\"";
    for (const char c : label.value) {
      if (c == '"' || c == '\\') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
    before = ',';
  }
  out += '}';
}

SeriesIdentity Mapping::identify(std::span<const LabelView> labels) const {
  SeriesIdentity identity;
  std::array<const LabelView*, 12> used{};
  std::size_t uses = 0;
  const auto use = [&](const LabelView* label) -> std::string_view {
    if (label == nullptr) return {};
    used[uses++] = label;
    return label->value;
  };

  const std::string_view name = use(find(labels, "__name__"));
  if (const LabelView* model = find_first(labels, model_labels)) {
    identity.model = use(model);
  } else {
    identity.model = use(find(labels, "job"));
    const std::string_view instance = use(find(labels, "instance"));
    if (!identity.model.empty() && !instance.empty()) identity.model += '/';
    identity.model += instance;
    if (identity.model.empty()) identity.model = "unknown";
  }
  identity.attributes.version = use(find_first(labels, version_labels));
  identity.attributes.region = use(find(labels, "region"));
  identity.attributes.family = use(find(labels, "family"));
  identity.attributes.team = use(find(labels, "team"));
  identity.attributes.environment = use(find(labels, "environment"));
  const std::string_view type = use(find(labels, "__type__"));
  const bool delta = use(find(labels, "__temporality__")) == "delta";
  identity.unit = unit_of(use(find(labels, "__unit__")));

  std::vector<LabelView> left;
  left.reserve(labels.size());
  for (const LabelView& label : labels) {
    bool taken = false;
    for (std::size_t i = 0; i < uses; ++i) taken = taken || used[i] == &label;
    if (!taken) left.push_back(label);
  }
  identity.metric = name;
  append_labels(identity.metric, left);
  if (identity.metric.empty()) identity.metric = "{}";
  identity.kind = said_kind(name, type, delta);
  return identity;
}

std::string Mapping::explain(std::span<const LabelView> labels) const {
  std::string text;
  if (const LabelView* model = find_first(labels, model_labels)) {
    text = "model from label \"" + std::string(model->name) + "\" (rule 1)";
  } else if (find(labels, "job") != nullptr || find(labels, "instance") != nullptr) {
    text = "model from job and instance, as no label names a model (rule 2)";
  } else {
    text = "model unknown: no label names a model, a job or an instance (rule 3)";
  }
  const LabelView* name = find(labels, "__name__");
  switch (kind_of(name == nullptr ? std::string_view() : name->value)) {
    case Kind::counter:
      return text + "; a counter by its name's end (rule 6)";
    case Kind::bucket:
      return text + "; a histogram's bucket by its name's end (rule 6)";
    default:
      return text + "; a gauge (rule 6)";
  }
  return text;
}

}  // namespace muster
