#include <algorithm>
#include <vector>

#include "samplers/first_order.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"
#include "samplers/singlestep.h"

namespace thaw {
namespace {

// Orders that add up to n evaluations: threes, then what is left (Lu et al. 2022, DPM-Solver, section 3.3).
std::vector<int> orders_of(int n) {
  std::vector<int> orders(static_cast<std::size_t>(n / 3), 3);
  if (n % 3 == 0) {
    orders.back() = 2;
    orders.push_back(1);
  } else {
    orders.push_back(n % 3);
  }
  return orders;
}

Plan dpm_fast(const Grid& grid, double eta, double s_noise) {
  expect_finite_rho(grid, "dpm_fast");
  const bool ends_clean = grid.back().is_clean();
  const Level& last = ends_clean ? grid[grid.size() - 2] : grid.back();
  Builder b(grid);
  Reg x = b.input();
  Level s = grid.front();
  if (const int budget = static_cast<int>(grid.steps()) - (ends_clean ? 1 : 0); budget > 0) {
    const std::vector<int> orders = orders_of(budget);
    const double h = (last.lambda() - s.lambda()) / static_cast<double>(orders.size());
    for (std::size_t i = 0; i < orders.size(); ++i) {
      const Level t =
          i + 1 < orders.size() ? grid.at_lambda(grid.front().lambda() + h * static_cast<double>(i + 1)) : last;
      Level down = down_level(s, t, eta);
      down.sigma = std::max(down.sigma, t.alpha * last.rho());  // never below the last noisy level
      const double fresh = eta == 0.0 ? 0.0 : first_order_direct(s, t, down.sigma).fresh;
      const SinglestepContext context{b, grid, Exponential{.is_data = false},
                                      Stages{.r1 = orders[i] == 3 ? 1.0 / 3.0 : 0.5}};
      const Reg d = b.evaluate(x, s);
      // With eta 0 the step is t's own, to the last bit.
      x = b.combine(context.step(orders[i], x, d, s, eta == 0.0 ? t : down), b.noise(s, t, s_noise * fresh));
      b.mark(x, t);
      s = t;
    }
  }
  if (ends_clean) {
    const auto [keep, pull, fresh] = first_order(s, grid.back(), 0.0);
    x = b.combine(keep * x + pull * b.evaluate(x, s));
    b.mark(x, grid.back());
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpm_fast(SamplerRegistry& registry) {
  registry.add(
      {{.name = "dpm_fast",
        .summary = "DPM-Solver-fast: steps of order 3, 2 and 1 that cost as many evaluations as the grid has steps, on "
                   "levels of its own, even in lambda between the grid's noisy ends",
        .source = "Lu et al. 2022 (DPM-Solver), section 3.3; k-diffusion, sample_dpm_fast",
        .options = {{"eta", 0.0, "share of noise renewed in a step", 0.0, 1.0},
                    {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5}},
        .traits = {"stochastic", "refuses_alpha_zero", "own_levels", "evaluations_per_step=1", "order=3"}},
       [](const Settings& settings) -> Solver {
         return [eta = settings.number("eta"), s_noise = settings.number("s_noise")](const Grid& grid) {
           return dpm_fast(grid, eta, s_noise);
         };
       }});
}

}  // namespace thaw
