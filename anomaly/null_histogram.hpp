#pragma once

#include <array>
#include <cstdint>

namespace muster::anomaly {

// The pooled empirical null: what the innovations of many series of one metric look like when
// nothing is wrong, as a histogram that forgets. It turns an innovation into a Gaussian score:
//
//   F(z) = (mass below z's cell + half the cell + 1/2) / (mass + 1),   x = Phi^-1(F(z)), clipped at
//   +-5
//
// A rank within one series cannot resolve p < 1/(its length); pooled, 1e-5 is resolved in days. The
// halves keep a small pool from claiming more than it has seen.
//
// cells    640 over z in +-8 (the outer ones take all beyond), 0.025 wide
// forgets  the weight of a new z grows by the inverse of the decay, instead of all cells shrinking
// source   docs/evidence.md, Pooled null
class NullHistogram {
 public:
  static constexpr int cells = 640;
  static constexpr double mass_min = 2000;  // below it the pool has no say of its own

  // The score of z: a table look-up.
  float score(float z) const { return table_[static_cast<std::size_t>(cell_of(z))]; }

  void add(float z) {
    counts_[static_cast<std::size_t>(cell_of(z))] += static_cast<float>(weight_);
    added_ += weight_;
  }

  // After the samples of a tick. `decay` is what is left of the past's weight, in (0, 1]. Renews
  // the table when the mass grew by 2 %.
  void tick(double decay);

  // In units of one new sample.
  double mass() const { return mass_; }
  bool ready() const { return mass_ >= mass_min; }

  template <class Archive>
  void archive(Archive& a) {
    a(counts_, table_, weight_, added_, mass_, tabled_, untabled_);
  }

 private:
  static int cell_of(float z) {
    const int c = static_cast<int>((z + 8) * (cells / 16.0F));
    return z <= -8 ? 0 : c >= cells ? cells - 1 : c;
  }

  std::array<float, cells> counts_{};
  std::array<float, cells> table_{};
  double weight_ = 1;
  double added_ = 0;  // in the units of counts_
  double mass_ = 0;
  double tabled_ = 0;    // mass_ when the table was made
  double untabled_ = 0;  // mass added since then
};

}  // namespace muster::anomaly
