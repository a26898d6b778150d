#include <type_traits>

#include "aggregator/engine.hpp"

// What a fleet keeps between two ticks, counted by hand: capacities times sizes, and what the allocator and the
// standard containers put around them.
namespace muster::aggregator {
namespace {

constexpr std::uint64_t block = 16;      // malloc's own, a block
constexpr std::uint64_t tree_node = 40;  // of std::map, beside the pair; its block included

template <class T>
std::uint64_t of(const std::vector<T>& v) {
  return v.capacity() == 0 ? 0 : v.capacity() * sizeof(T) + block;
}

std::uint64_t of(const std::string& s) {
  return s.capacity() <= 15 ? 0 : s.capacity() + 1 + block;  // short ones stand inside
}

template <class Table>
std::uint64_t of_table(const Table& t) {
  return t.capacity() * (sizeof(typename Table::value_type) + 1) + block;
}

class Account {
 public:
  void add(std::string what, std::uint64_t count, std::uint64_t bytes) {
    for (MemoryPart& part : parts_) {
      if (part.what != what) continue;
      part.count += count;
      part.bytes += bytes;
      return;
    }
    parts_.push_back({std::move(what), count, bytes});
  }
  std::vector<MemoryPart> take() { return std::move(parts_); }

 private:
  std::vector<MemoryPart> parts_;
};

void add_lane(Account& out, const std::string& name, const Lane& lane) {
  out.add(name + ": score and bet", lane.size(), of(lane.unit));
  out.add(name + ": smoothed scores", lane.size(), of(lane.smooth));
  out.add(name + ": deviation", lane.size(), of(lane.deviation));
  out.add(name + ": evidence", lane.size(), of(lane.bets));
  out.add(name + ": masks", lane.masks.size(), of_table(lane.masks));
}

}  // namespace

std::vector<MemoryPart> Engine::memory() const {
  Account out;
  for (const auto& held : scales) {
    const Scale& scale = *held;
    out.add("series: season", scale.series.size(), scale.seasons.bytes());
    out.add("series: baseline and state", scale.series.size(), of(scale.series));
    out.add("series: loadings", scale.series.size(), of(scale.loading));
    out.add("series: model and channel", scale.series.size(),
            of(scale.model_of) + of(scale.channel_of));
    add_lane(out, "series", scale.metrics);
    add_lane(out, "events", scale.events);

    std::uint64_t learning = of(scale.learning);
    for (const auto& buffer : scale.learning)
      if (buffer)
        learning +=
            sizeof(LearningBuffer) + block + (buffer->ticks ? sizeof(*buffer->ticks) + block : 0);
    out.add("learning buffers", scale.learning_used, learning);

    std::uint64_t models_bytes = of(scale.models);
    std::uint64_t model_lists = 0;
    for (const ScaleModel& m : scale.models) model_lists += of(m.series);
    out.add("models: state", scale.models.size(), models_bytes);

    std::uint64_t lists = model_lists + of(scale.family_models);
    for (const auto& models_of : scale.family_models) lists += of(models_of);
    std::uint64_t channels_bytes = of(scale.channels) + of(scale.pools);
    for (const Channel& channel : scale.channels) {
      channels_bytes += of(channel.name) + of(channel.families);
      lists += of(channel.series) + of(channel.unit_of);
      for (const FamilyCell& family : channel.families) lists += of(family.series);
    }
    for (const Pool& pool : scale.pools) channels_bytes += of(pool.metric) + of(pool.classes);
    out.add("channels and pools", scale.channels.size(), channels_bytes);

    std::uint64_t groups_bytes = of(scale.groups) + of(scale.cell_order);
    std::uint64_t cells = 0;
    for (const Group& group : scale.groups) {
      groups_bytes += of(group.id) + of(group.twins) + of(group.members) + of(group.cells) +
                      group.history.size() * sizeof(EvidencePoint) + 576;  // a deque's least
      cells += group.cells.size();
      for (const Cell& cell : group.cells) lists += of(cell.units);
    }
    out.add("groups and their cells", cells, groups_bytes);
    out.add("who is in which list", scale.series.size(), lists);

    std::uint64_t open = 0;
    std::uint64_t waiting = 0;
    for (const auto& [tick, samples] : scale.open) {
      open += of(samples.runs) + of(samples.values) + tree_node + sizeof samples;
      waiting += samples.values.size();
    }
    out.add("samples of open ticks", waiting, open);

    std::uint64_t recent = 0;
    for (const Column& column : scale.recent) recent += sizeof column + of(column.values);
    out.add("charts", scale.recent.size(), recent);
    std::uint64_t heat = 0;
    for (const HeatColumn& column : scale.heat)
      heat += sizeof column + of(column.score) + of(column.drift);
    out.add("heat strip", scale.heat.size(), heat);
    out.add("fixed limits", scale.limited.size(),
            scale.limited.size() * (tree_node + sizeof(*scale.limited.begin())));
  }

  std::uint64_t names = of(models) + of_table(model_index);
  std::uint64_t unsettled = 0;
  for (const ModelInfo& m : models) {
    names += of(m.id);
    if (m.unsettled)
      unsettled += sizeof(Unsettled) + block + of(m.unsettled->waiting) + of(m.unsettled->first);
  }
  out.add("models: names", models.size(), names);
  out.add("models: interval not known yet", unlearned.size(), unsettled + of(unlearned));
  std::uint64_t text = of(words) + of_table(word_index);
  for (const std::string& w : words) text += of(w);
  out.add("words", words.size(), text);
  out.add("names of series", series.size(), of(series) + of_table(series_index));
  out.add("aliases", aliases.size(),
          of(aliases) + of_table(alias_index) + of(said) + of_table(said_index));
  out.add("counters", counter_states.size(), of(counter_states));
  out.add("buckets", buckets.size(), of(buckets));
  out.add("histograms", histograms.size(), of(histograms) + of_table(histogram_index));
  out.add("sets", sets.size(), of_table(sets) + of(slot_aliases));
  std::uint64_t graph = of(known_models) + of(topology.dependencies);
  for (const KnownModel& m : known_models) graph += of(m.id);
  for (const auto& list : dependants) graph += sizeof list + of(list);
  out.add("topology", known_models.size(), graph);
  return out.take();
}

}  // namespace muster::aggregator
