#include "samplers/first_order.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {
namespace {

Plan dpmpp_2s_ancestral(const Grid& grid, double eta, double s_noise) {
  expect_finite_rho(grid, "dpmpp_2s_ancestral");
  Builder b(grid);
  const SinglestepContext context{b, grid};
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const auto [keep, pull, fresh] = first_order(s, t, eta);
    const Expr down = t.is_clean() ? keep * x + pull * d : context.step(2, x, d, s, down_level(s, t, eta));
    x = b.combine(down, b.noise(s, t, s_noise * fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpmpp_2s_ancestral(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_2s_ancestral",
                 .summary = "a dpmpp_2s step to less noise than the next level has, then fresh noise up to it",
                 .source = "Lu et al. 2022 (DPM-Solver++), algorithm 1; k-diffusion, sample_dpmpp_2s_ancestral",
                 .options = {{"eta", 1.0, "share of noise renewed in a step", 0.0, 1.0},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& settings) -> Solver {
                  return [eta = settings.number("eta"), s_noise = settings.number("s_noise")](const Grid& grid) {
                    return dpmpp_2s_ancestral(grid, eta, s_noise);
                  };
                }});
}

}  // namespace thaw
