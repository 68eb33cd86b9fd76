#include <cmath>
#include <cstdint>
#include <vector>

#include "core/base/text.h"
#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Jumps {
  int length = 10;      // levels a jump goes back up
  int repetitions = 1;  // passes over each stretch, the first included
};

// Levels still to go after each move, from all of them to none: Lugmayr et al. 2022, appendix B, get_schedule_jump.
std::vector<std::size_t> levels_to_go(std::size_t steps, const Jumps& jumps) {
  const auto length = static_cast<std::size_t>(jumps.length);
  std::vector<int> left(steps + 1, 0);
  for (std::size_t at = 0; at + length < steps; at += length) left[at] = jumps.repetitions - 1;
  std::vector<std::size_t> path{steps};
  for (std::size_t at = steps; at > 0;) {
    path.push_back(--at);
    if (left[at] == 0) continue;
    --left[at];
    for (std::size_t up = 0; up < length; ++up) path.push_back(++at);
  }
  return path;
}

// One forward step of the process, towards more noise.
Reg noised(Builder& b, Reg x, const Level& from, const Level& to, std::uint32_t ordinal) {
  const double ratio = to.alpha / from.alpha;
  const double fresh = std::sqrt(to.sigma * to.sigma - ratio * ratio * from.sigma * from.sigma);
  const Reg up = b.combine(ratio * x, b.fresh(kRestartStream, ordinal, fresh), Role::kNoiseUp);
  b.mark(up, to, MarkKind::kNoised);
  return up;
}

Plan repaint(const Grid& grid, const Jumps& jumps, double eta) {
  Builder b(grid);
  Reg x = b.input();
  std::uint32_t draws = 0;
  std::vector<bool> was_walked(grid.size(), false);  // by levels to go
  const std::vector<std::size_t> path = levels_to_go(grid.steps(), jumps);
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    const Level &s = grid[grid.steps() - path[i]], &t = grid[grid.steps() - path[i + 1]];
    if (path[i + 1] > path[i]) {
      x = noised(b, x, s, t, draws++);
      continue;
    }
    const Reg d = b.evaluate(x, s);
    const auto [keep, pull, fresh] = first_order(s, t, eta);
    // The path's noise can be used once; a stretch walked again needs its own.
    const bool is_again = was_walked[path[i]];
    was_walked[path[i]] = true;
    x = b.combine(keep * x + pull * d, is_again ? b.fresh(kRestartStream, draws++, fresh) : b.noise(s, t, fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_repaint(SamplerRegistry& registry) {
  registry.add(
      {{.name = "repaint",
        .summary = "ancestral steps that jump back up and down again, so that a filled-in part can agree with what is "
                   "known",
        .source = "Lugmayr et al. 2022 (RePaint), algorithm 1 and appendix B",
        .options = {{"jump_length", std::int64_t{10}, "levels a jump goes back", 1, 10000},
                    {"jump_n_sample", std::int64_t{1}, "passes over each stretch; 1 never jumps, the paper has 10", 1,
                     1000},
                    {"eta", 1.0, "1 the noise of ddpm, 0 none in the steps down", 0.0, 1.0}},
        .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
       [](const Settings& settings) -> Solver {
         const Jumps jumps{static_cast<int>(settings.integer("jump_length")),
                           static_cast<int>(settings.integer("jump_n_sample"))};
         return [jumps, eta = settings.number("eta")](const Grid& grid) { return repaint(grid, jumps, eta); };
       }});
}

}  // namespace thaw
