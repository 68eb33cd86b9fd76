#include "samplers/polynomial.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

// Heun's step; its second evaluation is not kept.
Reg heun_step(Builder& b, Reg x, Reg noise, const Level& s, const Level& t) {
  const Reg guess = b.combine(rho_step(x, noise, s, t), Role::kStage);
  const Expr ahead = rho_slope(guess, b.evaluate(guess, t), t);
  return b.combine(rho_step(x, 0.5 * (noise + ahead), s, t));
}

Plan plms(const Grid& grid, const OrderRule& orders) {
  return pseudo_linear_plan(grid, "plms", orders, 1, [&](Builder& b, Reg x, Reg noise, std::size_t i) {
    return heun_step(b, x, noise, grid[i], grid[i + 1]);
  });
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
