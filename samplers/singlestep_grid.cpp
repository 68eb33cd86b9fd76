#include "samplers/singlestep_grid.h"

#include <cmath>

#include "samplers/first_order.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

// Cycles 1 .. order; at the end lower orders, either asked for or because the steps are no multiple of the order.
std::vector<int> orders_of(int steps, const GridSinglestep& options) {
  const int order = options.order;
  int cycles = steps / order;
  std::vector<int> tail;
  if (options.has_lower_order_final || steps % order != 0) {
    const int rest = steps % order == 0 ? order : steps % order;
    if (rest == order) --cycles;
    for (int k = 1; k <= rest; ++k) tail.push_back(k);
    if (rest == order) tail.back() = 1;
  }
  std::vector<int> orders;
  for (int c = 0; c < cycles; ++c)
    for (int k = 1; k <= order; ++k) orders.push_back(k);
  orders.insert(orders.end(), tail.begin(), tail.end());
  return orders;
}

}  // namespace

Plan grid_singlestep_plan(const Grid& grid, const std::string& sampler, const GridSinglestep& options) {
  expect_finite_rho(grid, sampler);
  const Exponential& form = options.form;
  const std::vector<int> orders = orders_of(static_cast<int>(grid.steps()), options);
  Builder b(grid);
  std::vector<Reg> states{b.input()};
  std::vector<Expr> models;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level& t = grid[i + 1];
    const Reg d = b.evaluate(states[i], grid[i]);
    models.push_back(form.model(states[i], d, grid[i]));
    if (t.is_clean()) {
      const auto [keep, pull, fresh] = first_order(grid[i], t, 0.0);
      states.push_back(b.combine(keep * states[i] + pull * d));
      b.mark(states.back(), t);
      break;
    }
    const auto order = static_cast<std::size_t>(orders[i]);
    const std::size_t base = i + 1 - order;
    const double h = t.lambda() - grid[base].lambda();
    std::vector<double> r;
    for (std::size_t k = base; k <= i; ++k) r.push_back((grid[k].lambda() - grid[base].lambda()) / h);
    const std::span<const Expr> m = std::span(models).subspan(base);
    Expr next = exponential_update(form, {states[base], grid[base]}, t, {m, r, options.is_heun});
    if (options.has_wrong_sign && order == 3)
      next -= (2.0 * t.alpha / (r[2] - r[1])) * ((m[2] - m[0]) / r[2] - (m[1] - m[0]) / r[1]);
    const double fresh = t.sigma * std::sqrt(-std::expm1(-2.0 * form.tau2 * h));
    states.push_back(b.combine(next, b.noise(grid[base], t, fresh)));
    b.mark(states.back(), t);
  }
  return b.finish(states.back());
}

std::vector<Option> grid_singlestep_options() {
  return {{"order", std::int64_t{2}, "highest order of the cycle 1 .. order", 1, 3},
          Option{.name = "solver_type",
                 .fallback = std::string("midpoint"),
                 .help = "weight of the slopes",
                 .choices = {"midpoint", "heun"}},
          Option{.name = "lower_order_final",
                 .fallback = std::string("never"),
                 .help = "lower orders at the end; never: only where the steps are no multiple of the order",
                 .choices = {"never", "always"}}};
}

GridSinglestep read_grid_singlestep(const Settings& settings) {
  return {.order = static_cast<int>(settings.integer("order")),
          .is_heun = settings.text("solver_type") == "heun",
          .has_lower_order_final = settings.text("lower_order_final") == "always"};
}

}  // namespace thaw
