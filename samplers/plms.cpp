#include "samplers/polynomial.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

// The first step is Heun's: its second evaluation is not kept.
Reg first_step(Builder& b, Reg x, Reg noise, const Grid& grid) {
  const Level &s = grid[0], &t = grid[1];
  if (t.is_clean()) return b.combine(rho_step(x, noise, s, t));
  const Reg guess = b.combine(rho_step(x, noise, s, t), Role::kStage);
  const Expr ahead = rho_slope(guess, b.evaluate(guess, t), t);
  return b.combine(rho_step(x, 0.5 * (noise + ahead), s, t));
}

Plan plms(const Grid& grid, const OrderRule& orders) {
  expect_finite_rho(grid, "plms");
  Builder b(grid);
  Reg x = b.input();
  std::vector<Reg> noises;  // newest first
  for (std::size_t i = 0; i < grid.steps(); ++i) {
    const Reg data = b.evaluate(x, grid[i]);
    noises.insert(noises.begin(), b.combine(rho_slope(x, data, grid[i]), Role::kEps));
    x = i == 0 ? first_step(b, x, noises[0], grid) : pseudo_linear_step(b, x, grid, i, orders, noises);
    b.mark(x, grid[i + 1]);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_plms(SamplerRegistry& registry) {
  registry.add({{.name = "plms",
                 .summary = "PNDM without Runge-Kutta steps: Heun first, then Adams-Bashforth weights of even steps",
                 .source = "Liu et al. 2022 (PNDM), eq. 12; latent diffusion's PLMS; diffusers, skip_prk_steps",
                 .options = {final_order_option("one")},
                 .traits = {"refuses_alpha_zero", "evaluations_per_step=1", "extra_evaluations=1", "order=2"}},
                [](const Settings& settings) -> Solver {
                  const OrderRule orders = read_rho_order_rule(settings, 4);
                  return [orders](const Grid& grid) { return plms(grid, orders); };
                }});
}

}  // namespace thaw
