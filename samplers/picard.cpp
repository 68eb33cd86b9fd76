#include <algorithm>
#include <cmath>

#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct PicardOptions {
  std::int64_t window = 8;
  double tolerance = 1e-3;
};

Reg ddim_step(Machine& machine, const Grid& grid, std::size_t i, Reg x, Reg d) {
  const FirstOrder step = first_order(grid[i], grid[i + 1], 0.0);
  return machine.combine(step.keep * Expr(x) + step.pull * Expr(d));
}

// Shih et al. 2023, algorithm 1, with the linear part exact: states first + 1 ... last are recomputed by DDIM steps
// whose estimates all come from the sweep before, in one batch. The first of them is then exact, and the ones behind
// it that moved less than the tolerance count as settled.
class Picard {
 public:
  Picard(Machine& machine, const Grid& grid, const PicardOptions& options)
      : machine_(machine), grid_(grid), options_(options) {}

  Reg run(Reg x) {
    states_.assign(1, x);
    extend(kNoReg);
    while (first_ < grid_.steps()) {
      const std::vector<Reg> estimates = evaluate();
      settle(sweep(estimates));
      extend(estimates.back());
      machine_.keep_only(std::span(states_).subspan(first_));
    }
    return states_.back();
  }

 private:
  std::vector<Reg> evaluate() {
    const std::size_t count = states_.size() - 1 - first_;
    return machine_.evaluate_many(std::span(states_).subspan(first_, count),
                                  std::span(grid_.levels).subspan(first_, count));
  }

  // Returns the index of the last settled state.
  std::size_t sweep(const std::vector<Reg>& estimates) {
    std::size_t settled = first_ + 1;
    bool is_settled = true;
    for (std::size_t j = first_; j + 1 < states_.size(); ++j) {
      const Reg old = states_[j + 1];
      states_[j + 1] = ddim_step(machine_, grid_, j, states_[j], estimates[j - first_]);
      if (!is_settled || j == first_) continue;
      const double allowed = options_.tolerance * std::hypot(grid_[j + 1].alpha, grid_[j + 1].sigma);
      const Reg moved = machine_.combine(Expr(states_[j + 1]) - old);
      is_settled = machine_.error_norm(moved, moved, moved, allowed, 0.0) <= 1.0;
      if (is_settled) settled = j + 1;
    }
    return settled;
  }

  void settle(std::size_t last) {
    while (first_ < last) {
      ++first_;
      if (machine_.mark(states_[first_], grid_[first_])) return;  // a hook moved it: those behind it must follow
    }
  }

  // States new in the window, from the newest estimate; without one from 0.
  void extend(Reg estimate) {
    const std::size_t last = std::min(first_ + static_cast<std::size_t>(options_.window), grid_.steps());
    for (std::size_t j = states_.size() - 1; j < last; ++j) {
      if (estimate == kNoReg)
        states_.push_back(machine_.combine((grid_[j + 1].sigma / grid_[j].sigma) * Expr(states_[j])));
      else
        states_.push_back(ddim_step(machine_, grid_, j, states_[j], estimate));
    }
  }

  Machine& machine_;
  const Grid& grid_;
  const PicardOptions& options_;
  std::vector<Reg> states_;  // by level; those before first_ are given back
  std::size_t first_ = 0;
};

// Each sweep settles one state at least.
std::int64_t most_evaluations(const Grid& grid, const PicardOptions& options) {
  std::int64_t total = 0;
  for (std::int64_t left = static_cast<std::int64_t>(grid.steps()); left > 0; --left)
    total += std::min(left, options.window);
  return total;
}

}  // namespace

void register_sampler_picard(SamplerRegistry& registry) {
  registry.add(
      {{.name = "picard",
        .summary =
            "ddim's trajectory by Picard sweeps over a window of levels, each sweep one batch: more evaluations, "
            "fewer calls one after the other",
        .source = "Shih et al. 2023, \"Parallel sampling of diffusion models\" (ParaDiGMS), algorithm 1",
        .options = {{"window", std::int64_t{8}, "levels evaluated together", 1.0, 4096.0},
                    {"tolerance", 1e-3,
                     "a state is settled when it moves less than this, relative to the spread of its level", 0.0, 1.0}},
        .traits = {"adaptive", "order=1"}},
       [](const Settings& settings) -> Solver {
         const PicardOptions options{settings.integer("window"), settings.number("tolerance")};
         return Solver::adaptive(
             "picard",
             [options](Machine& machine, const Grid& grid, Reg x) { return Picard(machine, grid, options).run(x); },
             [options](const Grid& grid) { return most_evaluations(grid, options); });
       }});
}

}  // namespace thaw
