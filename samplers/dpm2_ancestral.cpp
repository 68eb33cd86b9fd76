#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

Plan dpm2_ancestral(const Grid& grid, double eta, double s_noise) {
  expect_finite_rho(grid, "dpm2_ancestral");
  Builder b(grid);
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Level down = down_level(s, t, eta);
    Expr d = rho_slope(x, b.evaluate(x, s), s);
    if (!t.is_clean()) {
      const Level middle = grid.at_lambda(0.5 * (s.lambda() + down.lambda()));
      const Reg half = b.combine(rho_step(x, d, s, middle), Role::kStage);
      d = rho_slope(half, b.evaluate(half, middle), middle);
    }
    x = b.combine(rho_step(x, d, s, down), b.noise(s, t, s_noise * first_order(s, t, eta).fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpm2_ancestral(SamplerRegistry& registry) {
  registry.add({{.name = "dpm2_ancestral",
                 .summary = "a dpm2 step to less noise than the next level has, then fresh noise up to it",
                 .source = "k-diffusion, sample_dpm_2_ancestral; split of the noise as in Song et al. 2021, eq. 16",
                 .options = {{"eta", 1.0, "share of noise renewed in a step", 0.0, 1.0},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [eta = settings.number("eta"), s_noise = settings.number("s_noise")](const Grid& grid) {
                    return dpm2_ancestral(grid, eta, s_noise);
                  };
                }});
}

}  // namespace thaw
