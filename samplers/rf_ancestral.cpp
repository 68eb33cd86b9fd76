#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

// Time on the straight line x = (1 - t) x0 + t eps of the level with the same sigma / alpha.
double flow_time(const Level& level) {
  return level.sigma / (level.alpha + level.sigma);
}

// Down to t_d = t (1 + (t / t_s - 1) eta), then scaled and noised up to t.
FirstOrder rectified_flow_step(const Level& s, const Level& t, double eta) {
  const double next = flow_time(t);
  const double down = next * (1.0 + (next / flow_time(s) - 1.0) * eta);
  return first_order_direct(s, t, t.alpha * down / (1.0 - down));
}

}  // namespace

void register_sampler_rf_ancestral(SamplerRegistry& registry) {
  registry.add({{.name = "rf_ancestral",
                 .summary = "ancestral Euler of rectified flows; eta counts time on the straight line",
                 .source = "ComfyUI, sample_euler_ancestral_RF; marginals of Lipman et al. 2023",
                 .options = {{"eta", 1.0, "0: Euler; 1: the share of a step that is renewed grows with it", 0.0, 1.0},
                             {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.0, 1.5}},
                 .traits = {"stochastic", "evaluations_per_step=1", "order=1"}},
                [](const Settings& settings) -> Solver {
                  const double eta = settings.number("eta"), s_noise = settings.number("s_noise");
                  return [eta, s_noise](const Grid& grid) {
                    return first_order_plan(grid, [=](const Grid& g, std::size_t i) {
                      FirstOrder step = rectified_flow_step(g[i], g[i + 1], eta);
                      step.fresh *=
                          eta > 0.0 ? s_noise : 0.0;  // what rounding leaves of sigma^2 - direct^2 is no noise
                      return step;
                    });
                  };
                }});
}

}  // namespace thaw
