#include <cmath>

#include "samplers/exponential.h"

namespace thaw {
namespace {

Solver make_sa_solver(const Settings& settings) {
  const double tau = settings.number("tau");
  const std::vector<double>& times = settings.numbers("tau_times");
  if (!times.empty() && (times.size() != 2 || times[0] > times[1]))
    settings.fail("tau_times", "must be [first, last] with first <= last.");
  return exponential_solver(
      {.interpolated = settings.text("prediction") == "noise" ? Interpolated::kNoise : Interpolated::kData,
       .predictor = read_order_rule(settings, static_cast<int>(settings.integer("predictor_order"))),
       .corrector = static_cast<int>(settings.integer("corrector_order")),
       .rule = {.slope = settings.text("coefficients") == "simplified" ? SlopeRule::kLinear : SlopeRule::kExact},
       .noise = {.tau2 = tau * tau, .times = times}});
}

}  // namespace

void register_sampler_sa_solver(SamplerRegistry& registry) {
  registry.add(
      {{.name = "sa_solver",
        .summary = "stochastic Adams predictor and corrector, from the probability flow (tau 0) to the SDE (tau 1)",
        .source = "Xue et al. 2023 (SA-Solver), algorithm 1",
        .options = with_order_options(
            {{"predictor_order", std::int64_t{3}, "nodes of the predictor", 1, 4},
             {"corrector_order", std::int64_t{4}, "nodes of the corrector, the new one included; 0: none", 0, 4},
             {"tau", 1.0, "strength of the noise", 0.0, 10.0},
             {"tau_times", std::vector<double>{}, "[first, last] time of the schedule where tau acts; empty: all"},
             Option{.name = "coefficients",
                    .fallback = std::string("exact"),
                    .help = "of steps with two nodes; simplified: the published code's, as UniPC bh1",
                    .choices = {"exact", "simplified"}},
             Option{.name = "prediction",
                    .fallback = std::string("data"),
                    .help = "what is interpolated; noise keeps the marginals only with tau 0",
                    .choices = {"data", "noise"}}}),
        .traits = {"stochastic", "evaluations_per_step=1", "order=2"}},
       make_sa_solver});
}

}  // namespace thaw
