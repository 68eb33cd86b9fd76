#pragma once
// What a solver does on problems chosen to show one property of it each. All exact, nothing is drawn.

#include <array>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/math/grid.h"
#include "core/math/plan.h"
#include "core/math/plan_analysis.h"

namespace thaw {

/// A solver, wherever it is registered.
using PlanMaker = std::function<Plan(const Grid&)>;

// --- grids -----------------------------------------------------------------------------------------------------------

/// How the grids of the probes are spaced, from sigma / alpha = 80 down to 0.002: as Karras et al. 2022, eq. 5, with
/// rho 7; even in lambda; even in lambda from 2000, where data is so far below the noise that the low order of a
/// multistep method's first steps leaves no trace; Karras and then clean.
enum class ProbeGrid { kKarras, kUniformLambda, kWideLambda, kClean };

/// `steps` intervals on a path. kClean is Karras with steps - 1 intervals, then the clean level.
Grid probe_grid(const Path& path, ProbeGrid kind, int steps);

/// The same levels with whole timesteps and a level at any time, as discrete schedules have.
Grid with_timesteps(Grid grid);

/// Levels of uneven spacing and moderate noise, where weights stay near 1 and equality can be asked to 1e-12.
Grid uneven_grid(const Path& path, int steps, bool ends_clean);

// --- Gaussian data ---------------------------------------------------------------------------------------------------

/// True when the plan goes towards noise.
bool is_inversion(const Plan& plan);

/// True when the plan has a noise term.
bool draws_noise(const Plan& plan);

/// Output standard deviation over the exact one minus 1, from the exact marginal; without noise the signed gain over
/// the exact gain minus 1.
double spread_error(const Plan& plan, double data_std);

/// spread_error of data standard deviations 0.1, 0.25, 0.5, 1, 2, and their root mean square.
std::array<double, 5> spread_errors(const Plan& plan);
double spread_error(const Plan& plan);

/// 2-Wasserstein distance of the output to the exact marginal over the data's root mean square norm, for Gaussian data
/// with covariance eigenvalues 1 / j^2, j = 1 .. 16, each with mean 1 / j: W2^2 = sum (std_j - exact_j)^2 + mean gaps.
double gaussian_w2(const Plan& plan);

/// Largest |gain over exact gain| (with noise: of standard deviations) over data spreads in [1e-3, 30]: what a solver
/// with few steps does to directions of the data it was not tuned on.
double stability(const Plan& plan);

// --- mixtures --------------------------------------------------------------------------------------------------------

/// Root mean square error on the reference mixture from nine quantiles of the start, against the exact quantile map.
/// The plan must draw nothing.
double line_mixture_error(const Plan& plan);

/// The same on the reference mixture in the plane, against a fine integration. The plan must draw nothing.
double plane_mixture_error(const Plan& plan);

// --- predictions prescribed as functions of the level
// ------------------------------------------------------------------

/// Highest k such that predictions that are polynomials of degree k are integrated exactly, with the family where k is
/// highest: "data in lambda", "noise in lambda", "noise in rho" or "data in rho". -1: not even constants.
struct Exactness {
  int degree = -1;
  std::string family{};
};

/// The state is made exact for the first steps, then runs free; a family is exact when some of the states that follow
/// (three in a row are looked at: methods in cycles of two or three are complete at one of them) are right to 1e-11.
/// The lower orders of the last steps do not count. The solver must draw nothing.
Exactness exactness(const PlanMaker& solver);

/// Order where data or noise is cos(1.3 lambda + phase) whatever the state: what is left of a method's order when the
/// accidents of Gaussian data are taken away. The solver must draw nothing.
double prescribed_order(const PlanMaker& solver);

// --- arithmetic ------------------------------------------------------------------------------------------------------

/// Largest sum of absolute weights of a Combine, those that form noise predictions (Role::kEps) left out.
double amplification(const Plan& plan);

/// Largest relative difference on the reference mixture between the plan in float32 (weights and states rounded, the
/// denoiser in double) and in double. The plan must draw nothing.
double float32_error(const Plan& plan);

/// How many different numbers of evaluations the steps have: one captured body of a step serves each.
int step_bodies(const Plan& plan);

}  // namespace thaw
