#include <cmath>
#include <string>
#include <vector>

#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/rho.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Options {
  double eta = 1.0;
  double s_noise = 1.0;
  double r = 0.5;
  std::string clock = "snr";
};

// Share of the variance of the step's noise that its first stage has drawn already, on the clock whose increments are
// independent: snr is the SDE's own, whose noise in x / sigma grows with e^(2 lambda).
double drawn_share(const std::string& clock, const Level& s, const Level& middle, const Level& t) {
  if (clock == "rho") return (s.rho() - middle.rho()) / (s.rho() - t.rho());
  const double first = 2.0 * (middle.lambda() - s.lambda()), all = 2.0 * (t.lambda() - s.lambda());
  return std::expm1(first) / std::expm1(all);
}

// Noise over [s, t] that shares [s, middle] with the first stage.
std::vector<NoiseTerm> step_noise(const Options& options, const Level& s, const Level& middle, const Level& t,
                                  double weight) {
  if (options.clock == "lambda") return {Builder::noise(s, t, weight)};
  const double share = drawn_share(options.clock, s, middle, t);
  std::vector<NoiseTerm> terms{Builder::noise(s, middle, weight * std::sqrt(share))};
  if (options.r < 1.0) terms.push_back(Builder::noise(middle, t, weight * std::sqrt(1.0 - share)));
  return terms;
}

Plan dpmpp_sde(const Grid& grid, const Options& options) {
  expect_finite_rho(grid, "dpmpp_sde");
  Builder b(grid);
  Reg x = b.input();
  const double f = 0.5 / options.r;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const auto [keep, pull, fresh] = first_order(s, t, options.eta);
    if (t.is_clean()) {
      x = b.combine(keep * x + pull * d);
    } else {
      const Level middle = grid.at_lambda(s.lambda() + options.r * (t.lambda() - s.lambda()));
      const FirstOrder stage = first_order(s, middle, options.eta);
      const Reg half = b.combine(stage.keep * x + stage.pull * d,
                                 Builder::noise(s, middle, options.s_noise * stage.fresh), Role::kStage);
      const Expr data = (1.0 - f) * Expr(d) + f * Expr(b.evaluate(half, middle));
      x = b.combine(keep * x + pull * data, step_noise(options, s, middle, t, options.s_noise * fresh));
    }
    b.mark(x, t);
  }
  return b.finish(x);
}

}  // namespace

void register_sampler_dpmpp_sde(SamplerRegistry& registry) {
  registry.add({{.name = "dpmpp_sde",
                 .summary = "DPM++ SDE: a stochastic singlestep whose two stages share one Brownian path",
                 .source = "k-diffusion, sample_dpmpp_sde, after Lu et al. 2022 (DPM-Solver++), algorithm 1",
                 .options = {{"eta", 1.0, "share of noise renewed in a stage", 0.0, 1.0},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.5, 1.5},
                             {"r", 0.5, "first stage, in shares of the step", 0.05, 1.0},
                             Option{.name = "clock",
                                    .fallback = std::string("snr"),
                                    .help = "clock of the Brownian motion inside a step: snr is the SDE's own, rho "
                                            "(sigma / alpha) k-diffusion's, lambda takes one draw a stage",
                                    .choices = {"snr", "rho", "lambda"}}},
                 .traits = {"stochastic", "refuses_alpha_zero", "evaluations_per_step=2", "order=2"}},
                [](const Settings& s) -> Solver {
                  const Options options{s.number("eta"), s.number("s_noise"), s.number("r"), s.text("clock")};
                  return [options](const Grid& grid) { return dpmpp_sde(grid, options); };
                }});
}

}  // namespace thaw
