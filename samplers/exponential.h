#pragma once
// Multistep solvers that integrate the linear part exactly and interpolate predictions over lambda.
//
// DPM-Solver, DPM-Solver++, DEIS, UniPC and SA-Solver are this one method: they differ in what is interpolated, in how
// many nodes the predictor and the corrector have, and in shortcuts at two and three nodes.

#include <cstdint>
#include <span>
#include <vector>

#include "samplers/multistep.h"
#include "samplers/sampler.h"

namespace thaw {

enum class Interpolated { kData, kNoise };

/// Weight g of the slope with two nodes: sum = (1 - e^-H) D_0 + g h dD/dlambda, H the exponent of the step.
enum class SlopeRule {
  kExact,     // g = H phi_2(-H): DPM-Solver++ "heun", RES
  kMidpoint,  // g = (1 - e^-H) / 2: DPM-Solver++ "midpoint", UniPC bh2
  kLinear,    // g = H / 2: UniPC bh1, the second order of SA-Solver's code
};

/// Weight of the second difference with three nodes.
enum class CurvatureRule {
  kExact,
  kHalved,     // half of it, as in the code of DPM-Solver++, k-diffusion and diffusers: a factor 2! is missing
  kWrongSign,  // diffusers' third-order "sde-dpmsolver++": -1/2 where + 1/2 belongs
};

/// Weights of one step of length h with predictions at lambda_s + offsets; they sum to 1 - e^-H.
///
/// Integral of exponent e^-exponent (h - u) over u in [0, h] against the interpolating polynomial, which is
/// Hochbruck and Ostermann 2010, eq. 2.28 with phi functions; exponent c, H = c h: c = 1 + tau^2 for data, -1 for
/// noise. The rules hold for exactly two nodes (one of offset 0) and three nodes (offsets falling from 0).
struct ExponentialRule {
  SlopeRule slope = SlopeRule::kExact;
  CurvatureRule curvature = CurvatureRule::kExact;

  std::vector<double> weights(std::span<const double> offsets, double h, double exponent) const;
};

/// The diffusion term: dx has tau^2 times the noise of the reverse SDE; 0 is the probability flow, 1 the SDE.
struct NoiseStrength {
  double tau2 = 0.0;
  std::vector<double> times{};  // [first, last] of the schedule's time where it acts; empty: everywhere

  double at(const Grid& grid, std::size_t i) const;
};

struct ExponentialMultistep {
  Interpolated interpolated = Interpolated::kData;
  OrderRule predictor{};
  int corrector = 0;  // nodes of the corrector, the new one included; 0: none
  ExponentialRule rule{};
  NoiseStrength noise{};
  std::vector<std::int64_t> uncorrected{};  // steps whose end is not corrected
};

/// Step s -> t, h = lambda_t - lambda_s. Data: x_t = (sigma_t / sigma_s) e^(-tau^2 h) x_s + alpha_t sum w_j D_j +
/// sigma_t sqrt(1 - e^(-2 tau^2 h)) W. Noise: x_t = (alpha_t / alpha_s) x_s + (1 + tau^2) sigma_t sum w_j eps_j +
/// tau sigma_t sqrt(e^2h - 1) W, with the weights of exponent -1.
///
/// Lu et al. 2022 (DPM-Solver++), Zhang and Chen 2023 (DEIS), Zhao et al. 2023 (UniPC), Xue et al. 2023 (SA-Solver).
/// From alpha = 0 the first step is of order 1 and that prediction is forgotten: its slope would be 0 / infinity.
Plan exponential_multistep(const Grid& grid, const ExponentialMultistep& method);

/// The solver of a method.
Solver exponential_solver(ExponentialMultistep method);

/// The option tau2 of solvers that follow the SDE by default.
Option noise_strength_option();

/// From the option solver_type.
SlopeRule read_slope_rule(const Settings& settings);

}  // namespace thaw
