#include "schema/store/registry.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <random>
#include <set>

#include "tests/support/batches.hpp"

using namespace muster;
using namespace muster::test;
using store::Piece;
using store::Registry;

namespace {

constexpr std::int64_t noon = 1'700'000'000;
constexpr Timestamp now = from_seconds(noon + 3600);

Registry::Settings settings() {
  return {};
}

std::string name(int model, int metric) {
  return "model-" + std::to_string(model) + "|metric-" + std::to_string(metric) + "|v1";
}

std::size_t new_series(const Piece& piece) {
  std::size_t n = 0;
  for (const store::NewSeries& fresh : piece.unsaved_series)
    n += fresh.set->series.size() - fresh.from;
  return n;
}

// What rows say, as (set, ts, slot) -> value. Checks that they are well formed.
using Cells = std::map<std::tuple<std::int64_t, std::int64_t, int>, double>;
Cells cells(const std::vector<Piece>& pieces) {
  Cells out;
  for (const Piece& piece : pieces) {
    std::size_t next = 0;
    for (const LogRows::Row& row : piece.rows.rows) {
      REQUIRE(row.first == next);
      next += row.count;
      int before = -1;
      for (std::uint32_t i = row.first; i < row.first + row.count; ++i) {
        const int slot = row.full ? static_cast<int>(i - row.first) : piece.rows.positions[i];
        REQUIRE(slot > before);
        before = slot;
        const auto key = std::make_tuple(static_cast<std::int64_t>(row.set), row.ts.us, slot);
        REQUIRE(out.emplace(key, piece.rows.values[i]).second);
      }
    }
    REQUIRE(next == piece.rows.values.size());
  }
  return out;
}

}  // namespace

TEST_CASE("samples of one model at one instant make one row, in slot order however they came") {
  Registry registry(settings());
  const Stored first = registry.gather(
      batch_of({{name(1, 0), noon, 10}, {name(1, 1), noon, 11}, {name(1, 2), noon, 12}}), now);
  CHECK(first.accepted == 3);
  auto pieces = registry.take();
  REQUIRE(pieces.size() == 1);
  REQUIRE(pieces[0].rows.rows.size() == 1);
  CHECK(pieces[0].rows.rows[0].full);
  CHECK(pieces[0].rows.values == std::vector<double>{10, 11, 12});
  REQUIRE(pieces[0].new_sets.size() == 1);
  CHECK(pieces[0].new_sets[0]->series[1].metric == "metric-1");
  CHECK(pieces[0].new_sets[0]->id == set_id(*pieces[0].new_sets[0]));
  CHECK(pieces[0].unsaved_sets.size() == 1);
  CHECK(new_series(pieces[0]) == 3);

  // From two requests, the other way round: one row still.
  registry.gather(batch_of({{name(1, 2), noon + 60, 22}}), now);
  registry.gather(batch_of({{name(1, 1), noon + 60, 21}, {name(1, 0), noon + 60, 20}}), now);
  pieces = registry.take();
  REQUIRE(pieces.size() == 1);
  REQUIRE(pieces[0].rows.rows.size() == 1);
  CHECK(pieces[0].rows.rows[0].full);
  CHECK(pieces[0].rows.values == std::vector<double>{20, 21, 22});
  CHECK(pieces[0].new_sets.empty());
  CHECK(pieces[0].unsaved_series.empty());
}

TEST_CASE(
    "the points that were not taken are named, with their label set when the batch can show it") {
  Registry registry(settings());
  SampleBatch batch = batch_of({{name(1, 0), noon, 1},
                                {"nobody", noon, 2},
                                {name(1, 1), noon + 86'400, 3},
                                {name(1, 0), noon, 4},
                                {name(1, 1), 5, 5}});
  batch.show = [](std::string_view labels) { return "<" + std::string(labels) + ">"; };
  const Stored stored = registry.gather(batch, now);
  CHECK(stored.accepted == 1);
  CHECK(stored.duplicates == 1);
  CHECK(stored.refused == std::vector<std::uint32_t>{1, 2, 4});
  REQUIRE(stored.rejected.size() == 3);
  CHECK(stored.rejected[0].series == "<nobody>");
  CHECK(stored.rejected[0].what == "not model|metric|version");
  CHECK(stored.rejected[1].series == "<" + name(1, 1) + ">");
  CHECK(stored.rejected_count == 3);
}

TEST_CASE("a slot that did not come is a hole that positions name") {
  Registry registry(settings());
  registry.gather(batch_of({{name(1, 0), noon, 0}, {name(1, 1), noon, 1}, {name(1, 2), noon, 2}}),
                  now);
  registry.take();
  registry.gather(batch_of({{name(1, 2), noon + 60, 5}, {name(1, 0), noon + 60, 4}}), now);
  const auto pieces = registry.take();
  REQUIRE(pieces[0].rows.rows.size() == 1);
  CHECK_FALSE(pieces[0].rows.rows[0].full);
  CHECK(pieces[0].rows.positions == std::vector<std::int16_t>{0, 2});
  CHECK(pieces[0].rows.values == std::vector<double>{4, 5});
}

TEST_CASE(
    "a model with more series than a set has slots gets several sets, each sample its place") {
  Registry registry(settings());
  std::vector<Given> given;
  for (int m = 0; m < 450; ++m) given.push_back({name(1, m), noon, m * 1.0});
  CHECK(registry.gather(batch_of(given), now).accepted == 450);
  auto pieces = registry.take();
  REQUIRE(pieces[0].rows.rows.size() == 3);
  CHECK(pieces[0].rows.rows[2].count == 450 - 2 * 192);

  // Every third one, shuffled: the rank of a slot among those present crosses words of the mask.
  std::vector<Given> third;
  for (int m = 0; m < 450; m += 3) third.push_back({name(1, m), noon + 60, m * 1.0});
  std::shuffle(third.begin(), third.end(), std::mt19937(5));
  registry.gather(batch_of(third), now);
  pieces = registry.take();
  const Cells got = cells(pieces);
  CHECK(got.size() == 150);
  std::set<double> values;
  for (const auto& [key, value] : got) {
    // The n-th chunk holds metrics from 192 n on, so a value names its slot.
    CHECK(static_cast<int>(value) % 192 == std::get<2>(key));
    values.insert(value);
  }
  CHECK(values.size() == 150);
}

TEST_CASE("the same series and time again is a duplicate, whatever its value") {
  Registry registry(settings());
  const std::vector<Given> given = {{name(1, 0), noon, 1}, {name(1, 1), noon, 2}};
  registry.gather(batch_of(given), now);
  const Stored same = registry.gather(batch_of({{name(1, 0), noon, 9}}), now);
  CHECK(same.duplicates == 1);
  CHECK(same.accepted == 0);
  auto pieces = registry.take();
  CHECK(pieces[0].rows.values == std::vector<double>{1, 2});
  const Stored later = registry.gather(batch_of(given), now);
  CHECK(later.duplicates == 2);
  CHECK(registry.take().empty());
}

TEST_CASE("weeks of a regular stream sent again are all duplicates") {
  Registry registry(settings());
  std::vector<Given> weeks;
  for (int t = 0; t < 4032; ++t)
    for (int m = 0; m < 3; ++m) weeks.push_back({name(m % 2, m), noon - 4032 * 600 + t * 600, 1});
  CHECK(registry.gather(batch_of(weeks), now).accepted == weeks.size());
  CHECK(registry.take()[0].rows.values.size() == weeks.size());
  const Stored again = registry.gather(batch_of(weeks), now);
  CHECK(again.duplicates == weeks.size());
  CHECK(again.accepted == 0);
  CHECK(registry.take().empty());
}

TEST_CASE("what comes late is kept and counted, once") {
  Registry registry(settings());
  registry.gather(batch_of({{name(1, 0), noon, 1}}), now);
  // 29 minutes behind the newest is inside the lateness of 30, 31 minutes is not.
  CHECK(registry.gather(batch_of({{name(1, 0), noon - 29 * 60, 1}}), now).late == 0);
  const Stored late = registry.gather(batch_of({{name(1, 0), noon - 31 * 60, 1}}), now);
  CHECK(late.late == 1);
  CHECK(late.accepted == 1);
  CHECK(registry.gather(batch_of({{name(1, 0), noon - 31 * 60, 1}}), now).duplicates == 1);
}

TEST_CASE("a new version makes a new set of the same series in the same slots") {
  Registry registry(settings());
  registry.gather(batch_of({{"m|a|v1", noon, 1}, {"m|b|v1", noon, 2}}), now);
  const auto before = registry.take();
  registry.gather(batch_of({{"m|b|v2", noon + 60, 4}, {"m|a|v2", noon + 60, 3}}), now);
  const auto after = registry.take();
  REQUIRE(after[0].new_sets.size() == 1);
  const SeriesSet& set = *after[0].new_sets[0];
  CHECK(set.attributes.version == "v2");
  CHECK(set.id != before[0].new_sets[0]->id);
  CHECK(set.series[0].id == before[0].new_sets[0]->series[0].id);
  CHECK(after[0].unsaved_series.empty());
  CHECK(after[0].rows.values == std::vector<double>{3, 4});
  // Back again: known, and the same sample under another version is a duplicate.
  CHECK(registry.gather(batch_of({{"m|a|v1", noon + 60, 9}}), now).duplicates == 1);
  registry.gather(batch_of({{"m|a|v1", noon + 120, 9}, {"m|b|v2", noon + 120, 8}}), now);
  const auto both = registry.take();
  CHECK(both[0].rows.rows.size() == 2);
  CHECK(both[0].new_sets.empty());
}

TEST_CASE("a model that grows gets a longer set that begins like the old one") {
  Registry registry(settings());
  registry.gather(batch_of({{"m|a|v1", noon, 1}}), now);
  const auto before = registry.take();
  registry.gather(batch_of({{"m|b|v1", noon + 60, 2}, {"m|a|v1", noon + 60, 1}}), now);
  const auto after = registry.take();
  REQUIRE(after[0].new_sets.size() == 1);
  REQUIRE(after[0].new_sets[0]->series.size() == 2);
  CHECK(after[0].new_sets[0]->series[0].id == before[0].new_sets[0]->series[0].id);
  CHECK(new_series(after[0]) == 1);
}

TEST_CASE("what is refused says why and leaves the rest") {
  Registry::Settings s = settings();
  s.series_max = 3;
  Registry registry(s);
  const Stored stored = registry.gather(
      batch_of({{name(1, 0), noon + 3600 + 599, 1},  // ten minutes ahead are allowed
                {name(1, 0), noon + 3600 + 601, 1},  // no more
                {name(1, 1), 1'700'000, 1},          // seconds sent as milliseconds
                {"nonsense", noon, 1},
                {name(1, 2), noon, 1},
                {name(1, 3), noon, 1}}),  // the fourth series
      now);
  CHECK(stored.accepted == 2);
  REQUIRE(stored.rejected.size() == 4);
  CHECK(stored.rejected_count == 4);
  CHECK(stored.rejected[0].line == 1);
  CHECK_THAT(stored.rejected[0].what, Catch::Contains("ahead"));
  CHECK_THAT(stored.rejected[1].what, Catch::Contains("before the year 2000"));
  CHECK_THAT(stored.rejected[2].what, Catch::Contains("not model|metric|version"));
  CHECK_THAT(stored.rejected[3].what, Catch::Contains("series_max"));
  const auto drop = [&](Registry::Reason reason) -> const Registry::Drop& {
    return registry.drops()[static_cast<std::size_t>(reason)];
  };
  CHECK(drop(Registry::Reason::ahead).samples == 1);
  CHECK(drop(Registry::Reason::early).samples == 1);
  CHECK(drop(Registry::Reason::labels).samples == 1);
  CHECK(drop(Registry::Reason::series_limit).samples == 1);
  REQUIRE(drop(Registry::Reason::ahead).examples.size() == 1);
  const Registry::Example& example = drop(Registry::Reason::ahead).examples[0];
  CHECK(example.sender == "test");
  CHECK(example.series == "model model-1, metric metric-0");
  CHECK(example.ts == from_seconds(noon + 3600 + 601));
  CHECK(example.value == 1);
  CHECK_THAT(drop(Registry::Reason::series_limit).examples[0].series,
             Catch::Contains("model-1") && Catch::Contains("metric-3"));

  Registry::Settings open = settings();
  open.future_max = Duration::max();
  Registry demo(open);
  CHECK(demo.gather(batch_of({{name(1, 0), noon * 2, 1}}), now).accepted == 1);
}

TEST_CASE("new series of one request are bounded") {
  Registry::Settings s = settings();
  s.new_series_max = 2;
  Registry registry(s);
  const std::vector<Given> given = {
      {name(1, 0), noon, 1}, {name(1, 1), noon, 1}, {name(1, 2), noon, 1}};
  CHECK(registry.gather(batch_of(given), now).rejected_count == 1);
  const Stored again = registry.gather(batch_of(given), now);  // the next request brings the rest
  CHECK(again.accepted == 1);
  CHECK(again.duplicates == 2);
}

TEST_CASE("a registry that is told what the database holds goes on where the last one ended") {
  Registry first(settings());
  std::vector<Given> given;
  for (int t = 0; t < 20; ++t)
    for (int m = 0; m < 3; ++m)
      if (t % 4 != 1 || m != 1) given.push_back({name(1, m), noon + t * 60, t * 10.0 + m});
  first.gather(batch_of(given), now);
  const auto pieces = first.take();
  const Piece& piece = pieces[0];

  Registry second(settings());
  std::map<SetId, SeriesSetPtr> sets;
  for (const SeriesSetPtr& set : piece.new_sets) {
    second.remember(*set);
    sets[set->id] = set;
  }
  for (const LogRows::Row& row : piece.rows.rows)
    second.remember(*sets.at(row.set), row.ts,
                    row.full ? std::span<const std::int16_t>()
                             : std::span(piece.rows.positions).subspan(row.first, row.count),
                    row.full);
  const Stored again = second.gather(batch_of(given), now);
  CHECK(again.duplicates == given.size());
  CHECK(again.accepted == 0);

  // The holes are still free, and nothing that is in the database is written again.
  const Stored hole = second.gather(batch_of({{name(1, 1), noon + 60, 11}}), now);
  CHECK(hole.accepted == 1);
  const auto more = second.take();
  CHECK(more[0].new_sets.size() == 1);  // this process was not handed it
  CHECK(more[0].unsaved_sets.empty());
  CHECK(more[0].unsaved_series.empty());
  CHECK(more[0].rows.positions == std::vector<std::int16_t>{1});
}

TEST_CASE("a model's facts go to one shard, and all shards are used") {
  Registry::Settings s = settings();
  s.shards = 4;
  Registry registry(s);
  std::vector<Given> given;
  for (int model = 0; model < 100; ++model)
    for (int m = 0; m < 2; ++m) given.push_back({name(model, m), noon, 1});
  registry.gather(batch_of(given), now);
  const auto pieces = registry.take();
  REQUIRE(pieces.size() == 4);
  std::size_t values = 0;
  for (const Piece& piece : pieces) {
    values += piece.rows.values.size();
    for (const SeriesSetPtr& set : piece.new_sets)
      CHECK(store::shard_of(set->model, 4) == piece.shard);
    CHECK(new_series(piece) == piece.rows.values.size());
  }
  CHECK(values == 200);
  CHECK(store::shard_of("anything", 1) == 0);
}

TEST_CASE("any order of requests and resends stores each sample once") {
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Registry registry(settings());
  std::map<std::pair<std::string, std::int64_t>, double> sent;
  Cells stored_cells;
  std::vector<std::vector<Given>> requests;
  // Thirty series of four models; requests of the last few instants, sent up to three times in any order.
  for (int t = 0; t < 200; ++t) {
    std::vector<Given> tick;
    for (int s = 0; s < 30; ++s)
      if (random() % 10 != 0)
        tick.push_back({name(s % 4, s), noon - 200 * 60 + t * 60, t + s / 100.0});
    std::shuffle(tick.begin(), tick.end(), random);
    requests.emplace_back(tick.begin(), tick.begin() + tick.size() / 2);
    requests.emplace_back(tick.begin() + tick.size() / 2, tick.end());
    std::vector<std::size_t> picks = {requests.size() - 1, requests.size() - 2};
    for (int extra = 0; extra < 2; ++extra)
      picks.push_back(requests.size() - 1 - random() % std::min<std::size_t>(requests.size(), 10));
    std::shuffle(picks.begin(), picks.end(), random);
    for (const std::size_t pick : picks) {
      const Stored outcome = registry.gather(batch_of(requests[pick]), now);
      std::size_t fresh = 0;
      for (const Given& g : requests[pick])
        fresh += sent.emplace(std::make_pair(g.series, g.seconds), g.value).second;
      REQUIRE(outcome.accepted == fresh);
      REQUIRE(outcome.duplicates == requests[pick].size() - fresh);
      if (random() % 3 == 0)
        for (const auto& [key, value] : cells(registry.take()))
          REQUIRE(stored_cells.emplace(key, value).second);
    }
  }
  for (const auto& [key, value] : cells(registry.take()))
    REQUIRE(stored_cells.emplace(key, value).second);
  CHECK(stored_cells.size() == sent.size());
}

TEST_CASE("instants that follow no step and are shared by no two series are remembered for each") {
  // Sixty pods report one model, each every minute at a time of its own that jitters by up to two seconds.
  const auto seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Registry registry(settings());
  const auto at = [](int pod, std::int64_t us) {
    SampleBatch batch = batch_of({{name(1, pod), 0, 1}});
    batch.points[0].ts = {us};
    return batch;
  };
  std::vector<std::vector<std::int64_t>> sent(60);
  std::size_t bytes = 0;
  for (int minute = 0; minute < 200; ++minute) {
    registry.take();
    if (minute == 100) bytes = registry.memory_bytes();
    for (int pod = 0; pod < 60; ++pod) {
      sent[pod].push_back((noon - 200 * 60 + minute * 60 + pod) * 1'000'000 +
                          static_cast<std::int64_t>(random() % 2'000'000));
      REQUIRE(registry.gather(at(pod, sent[pod].back()), now).accepted == 1);
    }
  }
  registry.take();
  // It does not grow, and instants take 136 bytes a series; the rest is tables with room for more.
  CHECK(registry.memory_bytes() == bytes);
  CHECK(bytes < 60 * 200 + 20'000);
  // The last sixteen of each are known, in any order; one between them is new.
  for (int pod = 0; pod < 60; ++pod) {
    for (int back = 16; back >= 1; --back)
      REQUIRE(registry.gather(at(pod, sent[pod][200 - back]), now).duplicates == 1);
    REQUIRE(registry.gather(at(pod, sent[pod][195] + 7), now).accepted == 1);
    REQUIRE(registry.gather(at(pod, sent[pod][195] + 7), now).duplicates == 1);
  }
}

TEST_CASE("pods that report one model by steps of their own are remembered for months") {
  Registry registry(settings());
  // Twenty pods, each at its own second of every minute, for two days.
  const auto all = [&](int minute) {
    std::vector<Stored> out;
    for (int pod = 0; pod < 20; ++pod)
      out.push_back(registry.gather(
          batch_of({{name(1, pod), noon - 2880 * 60 + minute * 60 + pod, 1}}), now));
    return out;
  };
  for (int minute = 0; minute < 2880; ++minute)
    for (const Stored& stored : all(minute)) REQUIRE(stored.accepted == 1);
  for (const int minute : {0, 1, 77, 1500, 2878, 2879})
    for (const Stored& stored : all(minute)) REQUIRE(stored.duplicates == 1);
}

TEST_CASE("histories that come series by series make a row an instant, and are known again") {
  Registry registry(settings());
  std::vector<Given> given;
  for (int metric = 0; metric < 50; ++metric)
    for (int t = 0; t < 300; ++t) given.push_back({name(1, metric), noon - 300 * 15 + t * 15, 1});
  CHECK(registry.gather(batch_of(given), now).accepted == given.size());
  const auto pieces = registry.take();
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0].rows.rows.size() == 300);
  CHECK(pieces[0].rows.values.size() == given.size());
  CHECK(registry.gather(batch_of(given), now).duplicates == given.size());
}

TEST_CASE("one take has a bounded number of new series, and what is known does not wait for them") {
  Registry::Settings s = settings();
  s.new_series_at_once = 10;
  Registry registry(s);
  registry.gather(batch_of({{name(9, 0), noon, 1}}), now);
  registry.take();

  std::vector<Given> storm;
  for (int m = 0; m < 25; ++m) storm.push_back({name(1, m), noon, 1});
  const SampleBatch batch = batch_of(storm);
  Registry::Progress progress;
  std::size_t rows = 0, series = 0;
  for (const std::size_t expected : {10, 10, 5}) {
    CHECK(registry.gather(batch, now, progress) == (expected == 5));
    // A sender whose series are known goes on in the same take.
    Registry::Progress known;
    CHECK(registry.gather(batch_of({{name(9, 0), noon + 60 + static_cast<int>(rows), 1}}), now,
                          known));
    CHECK(known.stored.accepted == 1);
    const auto pieces = registry.take();
    REQUIRE(pieces.size() == 1);
    CHECK(pieces[0].rows.values.size() == expected + 1);
    rows += pieces[0].rows.values.size();
    series += new_series(pieces[0]);
  }
  CHECK(progress.stored.accepted == 25);
  CHECK(series == 25);
}

TEST_CASE("a sender that brings too many series is told so, and others go on") {
  Registry::Settings s = settings();
  s.sender_series_max = 3;
  Registry registry(s);
  const auto from = [&](const char* sender, int model, int metrics) {
    std::vector<Given> given;
    for (int m = 0; m < metrics; ++m) given.push_back({name(model, m), noon + model, 1});
    SampleBatch batch = batch_of(given);
    batch.sender = sender;
    return registry.gather(batch, now);
  };
  const Stored greedy = from("greedy", 1, 5);
  CHECK(greedy.accepted == 3);
  CHECK(greedy.rejected_count == 2);
  CHECK_THAT(greedy.rejected[0].what, Catch::Contains("sender_series_max") &&
                                          Catch::Contains("model model-1, metric metric-3"));
  CHECK(from("other", 2, 3).accepted == 3);
  CHECK(registry.drops()[static_cast<std::size_t>(Registry::Reason::sender_limit)].samples == 2);
  // What it has goes on.
  SampleBatch known = batch_of({{name(1, 0), noon + 60, 1}});
  known.sender = "greedy";
  CHECK(registry.gather(known, now).accepted == 1);

  const auto senders = registry.senders();
  REQUIRE(senders.size() == 2);
  for (const Registry::Sender& sender : senders) {
    CHECK(sender.new_series == 3);
    CHECK(sender.samples == (sender.name == "greedy" ? 4 : 3));
    // Five label sets were seen of the greedy one, three of the other.
    CHECK(sender.active_series == (sender.name == "greedy" ? 5 : 3));
  }
}

TEST_CASE("senders beyond the table share one entry") {
  Registry::Settings s = settings();
  s.senders_max = 2;
  Registry registry(s);
  for (int i = 0; i < 5; ++i) {
    SampleBatch batch = batch_of({{name(i, 0), noon, 1}});
    batch.sender = "sender-" + std::to_string(i);
    registry.gather(batch, now);
  }
  std::map<std::string, std::uint64_t> series;
  for (const Registry::Sender& sender : registry.senders()) series[sender.name] = sender.new_series;
  CHECK(series == std::map<std::string, std::uint64_t>{{"sender-0", 1}, {"sender-1", 1}, {"others", 3}});
}

TEST_CASE("a counter that says when it began has a zero there, once, and not in its past") {
  Registry registry(settings());
  const auto counted = [&](std::int64_t start, std::int64_t at, double value) {
    SampleBatch batch = batch_of({{"m|requests_total|v1", at, value}});
    batch.series[0].start_ms = start * 1000;
    const Stored stored = registry.gather(batch, now);
    std::map<std::int64_t, double> rows;
    for (const auto& [key, number] : cells(registry.take()))
      rows[std::get<1>(key) / 1'000'000 - noon] = number;
    CHECK(stored.accepted + stored.duplicates == 1);
    return rows;
  };
  using Rows = std::map<std::int64_t, double>;
  CHECK(counted(noon - 20, noon, 5) == Rows{{-20, 0}, {0, 5}});
  CHECK(counted(noon - 20, noon + 15, 7) == Rows{{15, 7}});  // the same start
  CHECK(counted(noon + 20, noon + 30, 2) == Rows{{20, 0}, {30, 2}});  // it began anew
  CHECK(counted(noon + 20, noon + 30, 2) == Rows{});                  // sent again
  CHECK(counted(noon + 25, noon + 45, 3) == Rows{{45, 3}});  // before its newest sample: not believed
  // A start that is older than the lateness would rewrite what is decided.
  Registry late(settings());
  SampleBatch batch = batch_of({{"m|requests_total|v1", noon, 5}});
  batch.series[0].start_ms = (noon - 31 * 60) * 1000;
  late.gather(batch, now);
  CHECK(late.take()[0].rows.values.size() == 1);
  // A gauge that says when it began had some value then, and not zero.
  Registry measured(settings());
  SampleBatch gauge = batch_of({{"m|queue_length|v1", noon, 5}});
  gauge.series[0].start_ms = (noon - 20) * 1000;
  measured.gather(gauge, now);
  CHECK(measured.take()[0].rows.values.size() == 1);
}

TEST_CASE("the names of metrics and labels with the most series are known") {
  Registry registry(settings());
  std::vector<Given> given;
  for (int pod = 0; pod < 3000; ++pod)
    given.push_back({"m|requests{pod=\"p-" + std::to_string(pod) + "\",zone=\"" +
                         std::to_string(pod % 3) + "\"}|v1",
                     noon, 1});
  for (int m = 0; m < 10; ++m) given.push_back({"m" + std::to_string(m) + "|drift|v1", noon, 1});
  registry.gather(batch_of(given), now);
  const auto metrics = registry.cardinality().top_metrics(5);
  REQUIRE(metrics.size() == 2);
  CHECK(metrics[0].name == "requests");
  CHECK(metrics[0].series == 3000);
  CHECK(metrics[1].series == 10);
  const auto labels = registry.cardinality().top_labels(5);
  REQUIRE(labels.size() == 2);
  CHECK(labels[0].name == "pod");
  CHECK(labels[0].series == 3000);
  // Three standard errors of 3.3 %.
  CHECK(std::abs(static_cast<double>(labels[0].values) - 3000) < 300);
  CHECK(labels[1].name == "zone");
  CHECK(labels[1].values == 3);
}

TEST_CASE("what many things are counted as is near to how many they are") {
  for (const std::uint64_t n : {1u, 10u, 500u, 5'000u, 100'000u, 3'000'000u}) {
    store::DistinctCount count;
    for (std::uint64_t i = 0; i < n; ++i)
      for (int twice = 0; twice < 2; ++twice)
        count.add(hash64(std::string_view(reinterpret_cast<const char*>(&i), sizeof i)));
    INFO(n << " counted as " << count.estimate());
    CHECK(std::abs(static_cast<double>(count.estimate()) - static_cast<double>(n)) <=
          std::max(1.0, 0.1 * static_cast<double>(n)));
  }
}

TEST_CASE("what a rule ignores is not stored, is counted, and its sender is not told") {
  const auto ignoring = [](std::string_view text, const Mapping& mapping) -> Result<SeriesIdentity> {
    auto identity = identify_bars(text, mapping);
    if (identity) identity->ignored = identity->metric == "metric-1";
    return identity;
  };
  Registry registry(settings());
  for (int round = 0; round < 2; ++round) {  // the second time by its alias
    SampleBatch batch = batch_of({{name(1, 0), noon + round, 1}, {name(1, 1), noon + round, 2}});
    batch.identify = ignoring;
    const Stored stored = registry.gather(batch, now);
    CHECK(stored.accepted == 1);
    CHECK(stored.ignored == 1);
    CHECK(stored.rejected_count == 0);
    CHECK(cells(registry.take()).size() == 1);
  }
  CHECK(registry.series_count() == 1);
  CHECK(registry.drops()[static_cast<std::size_t>(Registry::Reason::ignored)].samples == 2);
}

TEST_CASE("other rules apply to the next sample of a series that is known, and what is stored stays") {
  const auto by_rules = [](std::string_view text, const Mapping& mapping) -> Result<SeriesIdentity> {
    const LabelView label{"app", text};
    return mapping.identify(std::span(&label, 1));
  };
  const auto rules = [](const std::string& model) {
    MappingRule rule;
    rule.model = model;
    return std::make_shared<const Mapping>(Mapping::make({rule}).value());
  };
  Registry::Settings with = settings();
  with.mapping = rules("old-${app}");
  Registry registry(with);
  const auto model_of = [&](std::int64_t seconds) {
    SampleBatch batch = batch_of({{"x", seconds, 1}});
    batch.identify = by_rules;
    CHECK(registry.gather(batch, now).accepted == 1);
    const auto pieces = registry.take();
    return pieces[0].new_sets.empty() ? std::string("a set that is known") : pieces[0].new_sets[0]->model;
  };
  CHECK(model_of(noon) == "old-x");
  CHECK(model_of(noon + 1) == "a set that is known");
  registry.remap(rules("new-${app}"));
  CHECK(model_of(noon + 2) == "new-x");
  CHECK(registry.series_count() == 2);
}
