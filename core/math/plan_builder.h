#pragma once
// Writes plans so that a sampler reads like its paper.
//
//   Builder b(grid);
//   Reg x = b.input();
//   const Reg d = b.evaluate(x, grid[i]);
//   x = b.combine(keep * x + pull * d, b.noise(grid[i], grid[i + 1], fresh));
//   b.mark(x, grid[i + 1]);
//   return b.finish(x);

#include <initializer_list>
#include <vector>

#include "core/math/grid.h"
#include "core/math/plan.h"

namespace thaw {

/// A weighted sum of registers. Equal registers merge; a weight of exactly 0 drops its term when combined.
class Expr {
 public:
  Expr() = default;
  Expr(Reg reg) { add(reg, 1.0); }  // NOLINT: a register is the simplest sum

  Expr& operator+=(const Expr& other);
  Expr& operator-=(const Expr& other);
  Expr& operator*=(double factor);
  const std::vector<Term>& terms() const { return terms_; }

 private:
  void add(Reg reg, double weight);
  std::vector<Term> terms_;
};

inline Expr operator+(Expr a, const Expr& b) {
  return a += b;
}
inline Expr operator-(Expr a, const Expr& b) {
  return a -= b;
}
inline Expr operator*(double factor, Expr a) {
  return a *= factor;
}
inline Expr operator*(Expr a, double factor) {
  return a *= factor;
}
inline Expr operator/(Expr a, double divisor) {
  return a *= 1.0 / divisor;
}

class Builder {
 public:
  /// Checks the grid (ConfigError); the plan starts at its first level and ends at its last.
  explicit Builder(const Grid& grid);

  /// The state at the grid's first level.
  Reg input() const { return plan_.input; }

  /// The denoiser's x0 estimate of x at `level`.
  Reg evaluate(Reg x, const Level& level);
  /// The same of a network that also takes the level it shall jump to.
  Reg evaluate(Reg x, const Level& level, const Level& target);
  /// Several outputs of one call, in the order of `kinds`.
  std::vector<Reg> evaluate(Reg x, const Level& level, std::initializer_list<OutputKind> kinds);

  Reg combine(const Expr& sum, Role role = Role::kAdvance);
  /// A noise term of weight 0 is dropped.
  Reg combine(const Expr& sum, const NoiseTerm& noise, Role role = Role::kAdvance);
  Reg combine(const Expr& sum, std::vector<NoiseTerm> noise, Role role = Role::kAdvance);

  /// weight * normalised Brownian increment between two levels (order does not matter).
  static NoiseTerm noise(const Level& from, const Level& to, double weight);
  /// weight * independent draw (stream, ordinal).
  static NoiseTerm fresh(std::uint8_t stream, std::uint32_t ordinal, double weight);

  /// kStep marks number the steps from 0.
  void mark(Reg x, const Level& level, MarkKind kind = MarkKind::kStep);

  /// Validates; the builder is empty afterwards.
  Plan finish(Reg output);

 private:
  Reg make_register() { return Reg{plan_.num_registers++}; }
  Plan plan_;
  int step_ = 0;
};

}  // namespace thaw
