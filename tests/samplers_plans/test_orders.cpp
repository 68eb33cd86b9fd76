#include "tests/catch.h"

#include <cmath>
#include <vector>

#include "core/math/plan_analysis.h"
#include "tests/mixture.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

const Gaussian kHalf{.mean = 0.0, .variance = 0.25};

double gaussian_end_error(const Plan& plan) {
  const double start = std::sqrt(kHalf.variance_at(plan.start));
  return std::abs(gaussian_moments(plan, kHalf).output.gain * start - std::sqrt(kHalf.variance_at(plan.end)));
}

struct OrderRow {
  std::string sampler, options;
  std::vector<double> errors;  // N = 8, 16, 32, 64, 128, 256, 512
  double slope, mixture_slope;
};

// sigma 80 -> 0.002, Karras rho 7, |x - exact| from sqrt(0.25 + 80^2) on N(0, 0.25); computed by analytic scripts in
// float64 Python, independent of this code.
const std::vector<OrderRow> kOrders{
    {"euler", "", {1.505e-1, 8.135e-2, 4.249e-2, 2.172e-2, 1.098e-2, 5.520e-3, 2.768e-3}, 1.00, 0.97},
    {"ddim", "", {1.505e-1, 8.135e-2, 4.249e-2, 2.172e-2, 1.098e-2, 5.520e-3, 2.768e-3}, 1.00, 0.97},
    {"heun", "", {1.391e-1, 3.145e-2, 7.353e-3, 1.777e-3, 4.370e-4, 1.083e-4, 2.697e-5}, 2.01, 1.99},
    {"dpmpp_2m", "", {7.862e-2, 3.526e-2, 7.944e-3, 1.844e-3, 4.448e-4, 1.093e-4, 2.708e-5}, 2.01, 1.98},
    {"dpmpp_2m",
     "solver_type: heun",
     {1.937e-1, 6.086e-2, 1.185e-2, 2.635e-3, 6.258e-4, 1.527e-4, 3.773e-5},
     2.02,
     2.00},
};

// In one dimension the probability flow keeps the distribution function: the exact end of a start is a quantile map.
double mixture_error(const Plan& plan) {
  const std::vector<double> start{-119.747616705291, -47.743035488093, -39.742527436336, 24.261529898734,
                                  96.266079195527};
  const std::vector<double> end{-1.190791135491, -0.658748887015, -0.099511375633, 0.753935447445, 1.190642244161};
  const std::vector<double> x = run_on_host(plan, start, denoise_mixture);
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - end[i]) * (x[i] - end[i]);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

}  // namespace

CATCH_TEST_CASE("errors on a Gaussian are those of an independent analysis", "[samplers][order]") {
  for (const OrderRow& row : kOrders) {
    const Solver solver = make_solver(row.sampler, row.options);
    std::vector<double> steps, errors;
    for (std::size_t i = 0; i < row.errors.size(); ++i) {
      steps.push_back(static_cast<double>(8 << i));
      errors.push_back(gaussian_end_error(solver(karras_grid(8 << i))));
      CATCH_CAPTURE(row.sampler, row.options, steps.back());
      CATCH_CHECK(errors.back() == Catch::Approx(row.errors[i]).epsilon(1e-3));  // printed with four digits
    }
    const double slope = order_slope(std::span(steps).last(2), std::span(errors).last(2));
    CATCH_CHECK(slope == Catch::Approx(row.slope).margin(0.01));
  }
}

CATCH_TEST_CASE("slopes on a mixture, where nonlinear order conditions count, are those known", "[samplers][order]") {
  for (const OrderRow& row : kOrders) {
    CATCH_CAPTURE(row.sampler, row.options);
    const Solver solver = make_solver(row.sampler, row.options);
    const double steps[] = {256, 512};
    const double errors[] = {mixture_error(solver(karras_grid(256))), mixture_error(solver(karras_grid(512)))};
    // The exact ends have 12 digits: 1e-12 of errors of 1e-6.
    CATCH_CHECK(order_slope(steps, errors) == Catch::Approx(row.mixture_slope).margin(0.015));
  }
}

CATCH_TEST_CASE("every sampler has the order it claims", "[samplers][order]") {
  int claims = 0;
  for (const auto& entry : all_samplers().entries()) {
    const int claim = trait_value(entry.info, "order", 0);
    if (claim == 0) continue;
    for (const char* type : {"karras", "uniform_lambda"}) {
      const Solver solver = make_solver(entry.info.name);
      std::vector<double> steps, errors;
      for (int n : {64, 128, 256}) {
        const Plan plan = solver(make_grid_on(*make_schedule("edm"), type, n, "final: sigma_min"));
        steps.push_back(n);
        // Stochastic samplers: the order of the variance.
        const bool has_noise = gaussian_moments(plan, kHalf).output.noise_variance > 0.0;
        errors.push_back(has_noise ? std::abs(variance_error(plan, kHalf)) : gain_error(plan));
      }
      CATCH_CAPTURE(entry.info.name, type);
      CATCH_CHECK(order_slope(steps, errors) == Catch::Approx(claim).margin(0.15));
    }
    ++claims;
  }
  CATCH_CHECK(claims == 5);
}

CATCH_TEST_CASE("errors with a clean last level are those of an independent analysis", "[samplers][order]") {
  // Standard deviation error, Karras N - 1 then 0, N = 10, 20, 40, 80.
  const std::vector<std::pair<std::string, std::vector<double>>> rows{
      {"ddim", {-2.696e-1, -1.389e-1, -7.028e-2, -3.534e-2}},
      {"heun", {2.196e-1, 4.367e-2, 9.774e-3, 2.310e-3}},
      {"dpmpp_2m", {1.588e-1, 4.926e-2, 1.041e-2, 2.380e-3}}};
  for (const auto& [name, expected] : rows)
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const Plan plan = make_solver(name)(karras_grid(10 << i, "clean"));
      CATCH_CAPTURE(name, 10 << i);
      CATCH_CHECK(std::sqrt(1.0 + variance_error(plan, kHalf)) - 1.0 == Catch::Approx(expected[i]).epsilon(1e-3));
    }
}
