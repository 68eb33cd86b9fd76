#include "samplers/polynomial.h"

#include <algorithm>
#include <cmath>

#include "samplers/first_order.h"
#include "samplers/rho.h"

namespace thaw {
namespace {

struct Node {
  Reg noise;
  double rho = 0.0;
};

// The first step of a method that takes the state for pure noise: D has the weight 0.
Reg begin_blind(Builder& b, Reg x, const Grid& grid, std::vector<Node>& history) {
  history.push_back({b.combine(x / grid[0].sigma, Role::kEps), grid[0].rho()});
  return b.combine((grid[1].sigma / grid[0].sigma) * x);
}

Reg begin_without_signal(Builder& b, Reg x, Reg data, const Grid& grid) {
  const FirstOrder step = first_order(grid[0], grid[1], 0.0);
  return b.combine(step.keep * x + step.pull * data);
}

}  // namespace

std::vector<double> adams_bashforth(int order) {
  switch (order) {
    case 1:
      return {1.0};
    case 2:
      return {3.0 / 2.0, -1.0 / 2.0};
    case 3:
      return {23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0};
    default:
      return {55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0};
  }
}

std::vector<double> even_adams_bashforth(std::span<const double> nodes, double) {
  return adams_bashforth(static_cast<int>(nodes.size()));
}

std::vector<double> variable_adams_bashforth(std::span<const double> nodes, double end) {
  const double h = end - nodes[0];
  std::vector<double> z, moments;
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    z.push_back((nodes[k] - nodes[0]) / h);
    moments.push_back(1.0 / static_cast<double>(k + 1));
  }
  return interpolation_weights(z, moments);
}

namespace {

// Step i over the noise predictions, newest first; at least one.
Reg pseudo_linear_step(Builder& b, Reg x, const Grid& grid, std::size_t i, const OrderRule& orders,
                       std::span<const Reg> noises) {
  const Level &s = grid[i], &t = grid[i + 1];
  const std::vector<double> weights = adams_bashforth(std::min(orders.at(grid, i), static_cast<int>(noises.size())));
  Expr slope;
  for (std::size_t j = 0; j < weights.size(); ++j) slope += weights[j] * Expr(noises[j]);
  return b.combine(rho_step(x, slope, s, t));
}

}  // namespace

Plan pseudo_linear_plan(const Grid& grid, const char* sampler, const OrderRule& orders, std::size_t num_starts,
                        const StartStep& start) {
  expect_finite_rho(grid, sampler);
  Builder b(grid);
  Reg x = b.input();
  std::vector<Reg> noises;  // newest first
  for (std::size_t i = 0; i < grid.steps(); ++i) {
    const Reg data = b.evaluate(x, grid[i]);
    noises.insert(noises.begin(), b.combine(rho_slope(x, data, grid[i]), Role::kEps));
    const bool is_start = i < num_starts && !grid[i + 1].is_clean();
    x = is_start ? start(b, x, noises[0], i) : pseudo_linear_step(b, x, grid, i, orders, noises);
    b.mark(x, grid[i + 1]);
  }
  return b.finish(x);
}

Plan rho_multistep(const Grid& grid, const RhoMultistep& method) {
  Builder b(grid);
  Reg x = b.input();
  std::vector<Node> history;  // newest first
  for (std::size_t i = 0; i < grid.steps(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg data = b.evaluate(x, s);
    if (i == 0 && method.ignores_first_data) {
      x = begin_blind(b, x, grid, history);
    } else if (s.alpha == 0.0) {
      x = begin_without_signal(b, x, data, grid);
    } else {
      history.insert(history.begin(), {b.combine(rho_slope(x, data, s), Role::kEps), s.rho()});
      const std::size_t order = std::min(static_cast<std::size_t>(method.orders.at(grid, i)), history.size());
      history.resize(std::min(history.size(), static_cast<std::size_t>(method.orders.order)));
      std::vector<double> nodes;
      for (std::size_t j = 0; j < order; ++j) nodes.push_back(history[j].rho);
      const std::vector<double> weights = method.weights(nodes, t.rho());
      Expr slope;
      for (std::size_t j = 0; j < order; ++j) slope += weights[j] * Expr(history[j].noise);
      x = b.combine(rho_step(x, slope, s, t));
    }
    b.mark(x, t);
  }
  return b.finish(x);
}

Solver variable_step_solver(const Settings& settings) {
  const RhoMultistep method{.orders = read_rho_order_rule(settings, static_cast<int>(settings.integer("order"))),
                            .weights = variable_adams_bashforth};
  return [method](const Grid& grid) { return rho_multistep(grid, method); };
}

}  // namespace thaw
