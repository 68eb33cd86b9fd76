#pragma once
// Multistep solvers of dy/drho = eps in y = x / alpha, rho = sigma / alpha: LMS and the pseudo-linear family.

#include <functional>
#include <span>
#include <vector>

#include "samplers/multistep.h"
#include "samplers/sampler.h"

namespace thaw {

/// Adams-Bashforth on even nodes, order 1 to 4: weights sum to 1, newest first.
std::vector<double> adams_bashforth(int order);

/// The same for as many nodes as there are, wherever they lie.
std::vector<double> even_adams_bashforth(std::span<const double> nodes, double end);

/// A step of its own from grid[i] for a history that is still short, given the noise prediction there.
using StartStep = std::function<Reg(Builder& b, Reg x, Reg noise, std::size_t i)>;

/// adams_bashforth over the noise predictions whatever the steps, with `start` in the first `num_starts` of them.
/// Throws ConfigError naming the sampler where the grid starts from alpha = 0.
Plan pseudo_linear_plan(const Grid& grid, const char* sampler, const OrderRule& orders, std::size_t num_starts,
                        const StartStep& start);

/// Adams-Bashforth on the nodes as they are: mean over [nodes[0], end] of the interpolating polynomial; weights sum
/// to 1. Hairer, Norsett and Wanner 1993, III.5.
std::vector<double> variable_adams_bashforth(std::span<const double> nodes, double end);

/// Shares of the noise predictions at `nodes` (rho, newest first) in the slope of a step to `end`; they sum to 1.
using RhoWeights = std::function<std::vector<double>(std::span<const double> nodes, double end)>;

struct RhoMultistep {
  OrderRule orders{};
  RhoWeights weights{};
  bool ignores_first_data = false;  // the first prediction of noise is x / sigma, whatever the denoiser says
};

/// y_t = y_s + (rho_t - rho_s) sum w_j eps_j. From alpha = 0 the first step is of order 1 in the data and is then
/// forgotten.
Plan rho_multistep(const Grid& grid, const RhoMultistep& method);

/// variable_adams_bashforth with the options order and final_order: lms, and iPNDM done right.
Solver variable_step_solver(const Settings& settings);

}  // namespace thaw
