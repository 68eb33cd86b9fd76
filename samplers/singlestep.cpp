#include "samplers/singlestep.h"

#include <array>
#include <cmath>

#include "core/base/text.h"
#include "core/math/phi.h"
#include "samplers/first_order.h"
#include "samplers/rho.h"

namespace thaw {

Expr Exponential::model(Reg x, Reg denoised, const Level& level) const {
  return is_data ? Expr(denoised) : rho_slope(x, denoised, level);
}

double Exponential::keep(const Level& s, const Level& t) const {
  if (!is_data) return t.alpha / s.alpha;
  const double ratio = t.sigma / s.sigma;
  return tau2 == 0.0 ? ratio : ratio * std::exp(-tau2 * (t.lambda() - s.lambda()));
}

double Exponential::weight(int k, double h) const {
  const double length = is_data ? (1.0 + tau2) * h : h;
  return length * phi(k, is_data ? -length : length);
}

Expr exponential_update(const Exponential& form, const ExponentialBase& base, const Level& t,
                        const StagePredictions& stages) {
  const auto& [m, r, is_heun] = stages;
  const double h = t.lambda() - base.level.lambda();
  Expr next = form.keep(base.level, t) * Expr(base.x) + (form.scale(t) * form.weight(1, h)) * m[0];
  if (m.size() == 2) {
    const double slope = is_heun ? form.weight(2, h) : 0.5 * form.weight(1, h);
    next += (form.scale(t) * slope / r[1]) * (m[1] - m[0]);
  } else if (m.size() == 3) {
    const Expr e1 = (m[1] - m[0]) / r[1], e2 = (m[2] - m[0]) / r[2];
    const double gap = r[2] - r[1];
    Expr slopes = form.weight(2, h) * (is_heun ? r[2] / gap * e1 - r[1] / gap * e2 : e2);
    if (is_heun) slopes += (2.0 * form.weight(3, h) / gap) * (e2 - e1);
    next += form.scale(t) * slopes;
  }
  return next;
}

Expr SinglestepContext::step(int order, Reg x, Reg d, const Level& s, const Level& t) const {
  const ExponentialBase base{x, s};
  const double h = t.lambda() - s.lambda();
  std::array<Expr, 3> m;
  const std::array<double, 3> r{0.0, stages.r1, stages.r2};
  m[0] = form.model(x, d, s);
  for (std::size_t stage = 1; stage < static_cast<std::size_t>(order); ++stage) {
    const Level level = grid.at_lambda(s.lambda() + r[stage] * h);
    const std::array<double, 2> shares{0.0, r[1] / r[stage]};
    // The second stage uses the slope with phi_2, "heun", in both forms of the papers.
    const StagePredictions known{std::span(m).first(stage), std::span(shares).first(stage), true};
    const Reg at = b.combine(exponential_update(form, base, level, known), Role::kStage);
    m[stage] = form.model(at, b.evaluate(at, level), level);
  }
  const auto used = static_cast<std::size_t>(order);
  return exponential_update(form, base, t, {std::span(m).first(used), std::span(r).first(used), stages.is_heun});
}

Plan singlestep_plan(const Grid& grid, const std::string& sampler, int order, const Exponential& form,
                     const Stages& stages) {
  expect_finite_rho(grid, sampler);
  Builder b(grid);
  const SinglestepContext context{b, grid, form, stages};
  Reg x = b.input();
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    const auto [keep, pull, fresh] = first_order(s, t, 0.0);
    x = b.combine(t.is_clean() ? keep * x + pull * d : context.step(order, x, d, s, t));
    b.mark(x, t);
  }
  return b.finish(x);
}

std::vector<Option> stage_options(int order) {
  std::vector<Option> options{Option{.name = "solver_type",
                                     .fallback = std::string("midpoint"),
                                     .help = "weight of the slopes",
                                     .choices = {"midpoint", "heun"}},
                              {"r1", order == 2 ? 0.5 : 1.0 / 3.0, "first stage, in shares of the step", 0.01, 1.0}};
  if (order == 3) options.push_back({"r2", 2.0 / 3.0, "second stage, in shares of the step", 0.01, 1.0});
  return options;
}

Stages read_stages(const Settings& settings, int order) {
  Stages stages{.r1 = settings.number("r1"), .is_heun = settings.text("solver_type") == "heun"};
  if (order == 3) stages.r2 = settings.number("r2");
  if (order == 3 && stages.r1 >= stages.r2)
    settings.fail("r1", concat("must be below r2 (", stages.r2, "), got ", stages.r1, "."));
  return stages;
}

}  // namespace thaw
