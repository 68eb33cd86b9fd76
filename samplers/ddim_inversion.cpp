#include "core/base/error.h"
#include "samplers/first_order.h"
#include "samplers/inversion.h"
#include "samplers/sampler.h"

#include <utility>

namespace thaw {

Plan finish_inverted(Builder& b, Reg output) {
  Plan plan = b.finish(output);
  std::swap(plan.start, plan.end);
  return plan;
}

Plan finish_round_trip(Builder& b, Reg output) {
  Plan plan = b.finish(output);
  plan.start = plan.end;
  return plan;
}

Option round_trip_option() {
  return {"round_trip", false, "samples again from the two states the inversion ends at: returns the data"};
}

Reg ddim_up(Builder& b, Reg x, const Level& from, const Level& to) {
  if (!from.is_clean()) {
    const Reg d = b.evaluate(x, from);
    const auto [keep, pull, fresh] = first_order_direct(from, to, to.sigma);
    return b.combine(keep * x + pull * d);
  }
  const Reg scaled = b.combine((to.alpha / from.alpha) * x, Role::kStage);
  const Reg d = b.evaluate(scaled, to);
  return b.combine(2.0 * Expr(scaled) - to.alpha * Expr(d));  // alpha_b x + sigma_b eps(alpha_b x)
}

namespace {

// x_b = alpha_b x0 + sigma_b eps with the network asked about x_a at level b: its output, as the prediction it is,
// gives eps and x0 by the scalings of level a.
Expr released_step(const std::string& prediction, Reg x, Reg d, const Level& a, const Level& b) {
  const Expr state(x), denoised(d);
  if (prediction == "data") {
    const Expr eps = (state - a.alpha * denoised) / a.sigma;
    return b.alpha * denoised + b.sigma * eps;
  }
  if (prediction == "v") {
    const Expr v = (b.alpha * state - denoised) / b.sigma;
    return b.alpha * (a.alpha * state - a.sigma * v) + b.sigma * (a.alpha * v + a.sigma * state);
  }
  const Expr eps = (state - b.alpha * denoised) / b.sigma;
  return (b.alpha / a.alpha) * (state - a.sigma * eps) + b.sigma * eps;
}

void expect_released_form(const Grid& grid, const std::string& prediction) {
  if (grid.front().alpha == 0.0)
    throw ConfigError(
        "sampler \"ddim_inversion\": cannot end at alpha = 0 with form diffusers, where the noise asked at that level "
        "is "
        "x itself. Use form exact, or start the grid lower (schedule.t_max below 1).");
  if (prediction == "data" && grid.back().is_clean())
    throw ConfigError(
        "sampler \"ddim_inversion\": form diffusers with prediction data divides by sigma = 0 of the clean level. Use "
        "grid.final sigma_min, or form exact.");
}

Plan ddim_inversion(const Grid& grid, bool is_exact, const std::string& prediction) {
  Builder b(grid);
  if (!is_exact) expect_released_form(grid, prediction);
  Reg x = b.input();
  for (std::size_t i = grid.steps(); i-- > 0;) {
    const Level &from = grid[i + 1], &to = grid[i];
    x = is_exact ? ddim_up(b, x, from, to) : b.combine(released_step(prediction, x, b.evaluate(x, to), from, to));
    b.mark(x, to);
  }
  return finish_inverted(b, x);
}

}  // namespace

void register_sampler_ddim_inversion(SamplerRegistry& registry) {
  registry.add(
      {{.name = "ddim_inversion",
        .summary = "the deterministic ddim step towards noise: what a picture would have started from, to first order",
        .source = "Song et al. 2021 (DDIM), eq. 14; form diffusers: DDIMInverseScheduler",
        .options = {Option{.name = "form",
                           .fallback = std::string("exact"),
                           .help = "exact: the network is asked at the level x is at; diffusers: at the next one",
                           .choices = {"exact", "diffusers"}},
                    Option{.name = "prediction",
                           .fallback = std::string("noise"),
                           .help = "what the network of form diffusers predicts; exact needs not know",
                           .choices = {"noise", "data", "v"}}},
        .traits = {"inverts", "evaluations_per_step=1"}},
       [](const Settings& settings) -> Solver {
         return [is_exact = settings.text("form") == "exact", prediction = settings.text("prediction")](
                    const Grid& grid) { return ddim_inversion(grid, is_exact, prediction); };
       }});
}

}  // namespace thaw
