#include "samplers/inversion.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Solves the ddim step b -> a, x_a = (alpha_a / alpha_b) x_b + (sigma_a - alpha_a rho_b) eps(x_b), for x_b by
// repeating it a fixed number of times from the noiseless guess.
Plan fixed_point_inversion(const Grid& grid, std::int64_t iterations) {
  expect_finite_rho(grid, "fixed_point_inversion");
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = grid.steps(); i-- > 0;) {
    const Level &from = grid[i + 1], &to = grid[i];
    const Expr scaled = (to.alpha / from.alpha) * Expr(x);
    Reg guess = b.combine(scaled, Role::kStage);
    for (std::int64_t k = 0; k < iterations; ++k) {
      const Expr eps = rho_slope(guess, b.evaluate(guess, to), to);
      guess = b.combine(scaled + (to.sigma - to.alpha * from.rho()) * eps, Role::kStage);
    }
    x = guess;
    b.mark(x, to);
  }
  return finish_inverted(b, x);
}

}  // namespace

void register_sampler_fixed_point_inversion(SamplerRegistry& registry) {
  registry.add(
      {{.name = "fixed_point_inversion",
        .summary =
            "solves each ddim step for its start by fixed-point iteration; marginals hold as far as it has converged",
        .source = "Pan et al. 2023 (AIDI), eq. 8; Garibi et al. 2024 (ReNoise), section 3",
        .options = {{"iterations", std::int64_t{4}, "evaluations of a step", 1, 1000}},
        .traits = {"inverts", "breaks_marginals", "refuses_alpha_zero", "evaluations_per_step=4"}},
       [](const Settings& settings) -> Solver {
         return [iterations = settings.integer("iterations")](const Grid& grid) {
           return fixed_point_inversion(grid, iterations);
         };
       }});
}

}  // namespace thaw
