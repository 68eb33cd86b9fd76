#include "samplers/er_sde.h"

#include <algorithm>
#include <cmath>

#include <boost/math/quadrature/gauss.hpp>

#include "core/math/plan_builder.h"
#include "samplers/first_order.h"
#include "samplers/sampler.h"

namespace thaw {
namespace {

struct Integrals {
  double s = 0.0;   // of 1 / f over rho_t .. rho_s
  double su = 0.0;  // of (rho - rho_s) / f
};

// In log rho, where f is smooth over many decades: 1e-15 of 30 points on any step up to a factor 100.
Integrals exact_integrals(const ErSde& options, double from, double to) {
  using Gauss = boost::math::quadrature::gauss<double, 30>;
  const double low = std::log(to), high = std::log(from);
  const auto inverse = [&](double u) { return 1.0 / options.scaling(std::exp(u)); };
  return {Gauss::integrate(inverse, low, high),
          Gauss::integrate([&](double u) { return (std::exp(u) - from) * inverse(u); }, low, high)};
}

// As the peers sum them: 200 points from rho_t on, none at rho_s.
Integrals left_sums(const ErSde& options, double from, double to) {
  constexpr int kPoints = 200;
  const double width = (from - to) / kPoints;
  Integrals sums;
  for (int i = 0; i < kPoints; ++i) {
    const double rho = to + i * width;
    const double inverse = width / (rho * options.scaling(rho));
    sums.s += inverse;
    sums.su += (rho - from) * inverse;
  }
  return sums;
}

struct Node {
  Reg data;
  double rho = 0.0;
};

// The terms of order 2 and 3: c1 D' + c2 D''. nodes are newest first and start with the step's own.
Expr corrections(const ErSde& options, const std::vector<Node>& nodes, const Level& t) {
  const std::size_t used = std::min<std::size_t>(nodes.size(), static_cast<std::size_t>(options.order));
  if (used < 2) return {};
  const double rho = nodes[0].rho, to = t.rho(), step = to - rho;
  const Integrals integrals = (options.sums_left ? left_sums : exact_integrals)(options, rho, to);
  const double f = to * options.scaling(to);
  const double c1 = t.alpha * (step + integrals.s * f);
  const Expr slope = (Expr(nodes[0].data) - nodes[1].data) / (rho - nodes[1].rho);
  if (used < 3) return c1 * slope;
  const double c2 = t.alpha * (0.5 * step * step + integrals.su * f);
  const Expr older = (Expr(nodes[1].data) - nodes[2].data) / (nodes[1].rho - nodes[2].rho);
  const Expr curvature = (slope - older) / (0.5 * (rho - nodes[2].rho));
  // The first difference is the slope at the middle of its interval: half an interval away from the step's start.
  const double shift = options.has_shift ? 0.5 * (rho - nodes[1].rho) : 0.0;
  return c1 * slope + (c2 + c1 * shift) * curvature;
}

}  // namespace

double ErSde::scaling(double rho) const {
  if (solver_type == "ode") return 1.0;
  if (solver_type == "reverse_sde") return std::pow(rho, eta);
  return std::exp(std::pow(rho, 0.3)) + 10.0;
}

Plan er_sde_plan(const Grid& grid, const ErSde& options) {
  Builder b(grid);
  Reg x = b.input();
  std::vector<Node> nodes;
  for (std::size_t i = 0; i + 1 < grid.size(); ++i) {
    const Level &s = grid[i], &t = grid[i + 1];
    const Reg d = b.evaluate(x, s);
    if (s.alpha > 0.0) nodes.insert(nodes.begin(), {d, s.rho()});
    const double ratio = t.is_clean() ? 0.0 : options.scaling(t.rho()) / options.scaling(s.rho());
    const FirstOrder step = first_order_direct(s, t, t.sigma * ratio);
    Expr next = step.keep * x + step.pull * d;
    if (!t.is_clean()) next += corrections(options, nodes, t);
    x = b.combine(next, b.noise(s, t, options.s_noise * step.fresh));
    b.mark(x, t);
  }
  return b.finish(x);
}

std::vector<Option> er_sde_options() {
  return {{"order", std::int64_t{3}, "terms of the expansion", 1, 3},
          Option{.name = "solver_type",
                 .fallback = std::string("er_sde"),
                 .help = "noise scaling f(rho): rho (exp(rho^0.3) + 10), rho^(1 + eta), or rho (no noise)",
                 .choices = {"er_sde", "reverse_sde", "ode"}},
          {"eta", 1.0, "noise strength of reverse_sde; 1 is the reverse SDE, 0 the ODE", 0.0, 10.0},
          {"s_noise", 1.0, "inflation of the added noise; 1 keeps the variance right", 0.0, 1.5}};
}

ErSde read_er_sde(const Settings& settings) {
  return {.order = static_cast<int>(settings.integer("order")),
          .solver_type = settings.text("solver_type"),
          .eta = settings.number("eta"),
          .s_noise = settings.number("s_noise")};
}

void register_sampler_er_sde(SamplerRegistry& registry) {
  registry.add(
      {{.name = "er_sde",
        .summary = "multistep in sigma / alpha for a family of reverse SDEs; the third order made third order, but "
                   "for the variance where noise is drawn: that is second order",
        .source = "Cui et al. 2023 (ER-SDE-Solvers), eq. 12, with the slope taken at the step's start",
        .options = er_sde_options(),
        .traits = {"stochastic", "evaluations_per_step=1", "order=3", "measured_order=2"}},
       [](const Settings& settings) -> Solver {
         return [own = read_er_sde(settings)](const Grid& grid) { return er_sde_plan(grid, own); };
       }});
}

}  // namespace thaw
