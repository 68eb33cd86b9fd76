// Likelihoods against the closed form of Gaussian data.

#include <cmath>
#include <cstdio>
#include <numbers>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/analytic.h"
#include "core/base/error.h"
#include "core/likelihood.h"
#include "core/math/philox.h"
#include "core/math/posterior.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

constexpr double kSpread = 0.6;

SchedulePtr schedule(const char* name, const char* yaml = "{}") {
  ScheduleRegistry registry("schedule");
  register_schedules(registry);
  return registry.create(Config::parse(yaml, "t"), name);
}

Model gaussian(SchedulePtr process, const char* means = "[0]") {
  BackboneRegistry registry("backbone");
  register_exact_backbones(registry);
  const Config config =
      Config::parse(std::string("{weights: [1], stds: [0.6], shape: [8], means: ") + means + "}", "t");
  Parameterisation p;
  p.schedule = std::move(process);
  return Model{.spec = {{8}, 0},
               .parameterisation = p,
               .backbone = registry.create(config, "gaussian_mixture", DataSpec{}, 1),
               .device = c10::Device(c10::kCPU),
               .precision = Precision::kFloat64};
}

LikelihoodInput data(std::int64_t n, double mean = 0.0) {
  LikelihoodInput input;
  at::Tensor x = at::empty({n, 8});
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {3, Purpose::kOther});
  input.x0 = x.to(at::kDouble) * kSpread + mean;
  input.seed = 11;
  for (std::int64_t i = 0; i < n; ++i) input.samples.push_back(static_cast<std::uint64_t>(i));
  return input;
}

// Of N(mean, variance) in each of 8 dimensions.
at::Tensor log_density(const at::Tensor& x, double mean, double variance) {
  return -0.5 * ((x - mean).square() / variance + std::log(2 * std::numbers::pi * variance)).sum(1);
}

double flow_error(const Model& model, const LikelihoodInput& input, double mean, std::int64_t steps) {
  const Schedule& process = *model.parameterisation.schedule;
  const double rho = process.at(process.t_min()).rho();
  const at::Tensor found = flow_log_density(model, input, {.steps = steps, .trace = TraceMethod::kExact});
  return (found - log_density(input.x0, mean, kSpread * kSpread + rho * rho)).abs().max().item<double>();
}

}  // namespace

CATCH_TEST_CASE("the flow's likelihood is that of Gaussian data, to at least the fourth order of its step",
                "[core][likelihood]") {
  for (const char* name : {"cosine", "flow", "edm"}) {
    const Model model = gaussian(schedule(name));
    const LikelihoodInput input = data(16);
    const double e16 = flow_error(model, input, 0.0, 16), e32 = flow_error(model, input, 0.0, 32),
                 e64 = flow_error(model, input, 0.0, 64);
    std::printf("flow %s: nats off in 8 dimensions %.2g %.2g %.2g\n", name, e16, e32, e64);
    CATCH_CAPTURE(name, e16, e32, e64);
    CATCH_CHECK(e64 < 1e-3);
  }
  // Over the whole range the errors of both halves nearly cancel; over a part the order shows, from steps to steps.
  const Model part = gaussian(schedule("cosine", "{lambda_min: -1, lambda_max: 2}"));
  const auto at_steps = [&](std::int64_t steps) {
    return flow_log_density(part, data(16), {.steps = steps, .trace = TraceMethod::kExact});
  };
  const at::Tensor f8 = at_steps(8), f16 = at_steps(16), f32 = at_steps(32);
  const double ratio = (f8 - f16).abs().max().item<double>() / (f16 - f32).abs().max().item<double>();
  CATCH_CHECK(ratio > 12);
  CATCH_CHECK(ratio < 40);  // between fourth and fifth here
}

CATCH_TEST_CASE("the flow's likelihood knows where the data are", "[core][likelihood]") {
  const Model model = gaussian(schedule("cosine"), "[0.3]");
  // A mean of 0.3 is still alpha 0.3 = 1.4e-5 at the noisiest level, where the prior has none.
  CATCH_CHECK(flow_error(model, data(16, 0.3), 0.3, 128) < 1e-3);
}

namespace {

/// F = 0.5 tanh(x W): a Jacobian with entries off its diagonal.
class Mixing : public Backbone {
 public:
  Mixing() : weight_(parameters_.add("w", {8, 8}, Init::normal(0.6))) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override {
    return 0.5 * at::tanh(at::linear(x, weight_.detach().to(x.scalar_type())));
  }
  const Parameters& parameters() const override { return parameters_; }
  bool takes_estimate() const override { return takes_estimate_value; }
  bool takes_estimate_value = false;

 private:
  Parameters parameters_{5};
  at::Tensor weight_;
};

}  // namespace

CATCH_TEST_CASE("Hutchinson's likelihood is the exact one in the mean of its probes", "[core][likelihood]") {
  Model model = gaussian(schedule("cosine", "{lambda_min: -3, lambda_max: 4}"));
  model.backbone = std::make_unique<Mixing>();
  const LikelihoodInput input = data(4);
  const auto with = [&](TraceMethod trace, std::int64_t probes) {
    return flow_log_density(model, input, {.steps = 8, .trace = trace, .probes = probes});
  };
  const at::Tensor exact = with(TraceMethod::kExact, 1), one = with(TraceMethod::kHutchinson, 1),
                   many = with(TraceMethod::kHutchinson, 200);
  const double off_one = (one - exact).abs().mean().item<double>(),
               off_many = (many - exact).abs().mean().item<double>();
  CATCH_CAPTURE(off_one, off_many);
  CATCH_CHECK(off_one > 1e-3);
  CATCH_CHECK(off_many < 0.25 * off_one);  // 1 / sqrt(200) = 0.07 in the mean
  CATCH_CHECK(at::equal(one, with(TraceMethod::kHutchinson, 1)));
}

CATCH_TEST_CASE("the variational bound falls to the entropy of Gaussian data as its steps grow", "[core][likelihood]") {
  // lambda is linear in this schedule's time, so that every step is small once there are many.
  const Model model = gaussian(schedule("ve"));
  const LikelihoodInput input = data(512);
  const at::Tensor exact = -log_density(input.x0, 0.0, kSpread * kSpread);
  double last = 0.0;
  for (const std::int64_t steps : {160, 640, 2560}) {
    const at::Tensor gap = variational_bound(model, input, {.steps = steps, .draws = 640}).total() - exact;
    const double mean = gap.mean().item<double>(), error = gap.std().item<double>() / std::sqrt(512.0);
    std::printf("bound: %lld steps, %.4f +- %.4f nats above in 8 dimensions\n", static_cast<long long>(steps), mean,
                error);
    CATCH_CAPTURE(steps, mean, error, last);
    CATCH_CHECK(mean > -5 * error);
    // A sum above the integral by its step: the gap falls as 1 / steps.
    if (last > 0) CATCH_CHECK(mean == Catch::Approx(last / 4).margin(6 * error + 0.05 * last));
    last = mean;
  }
  CATCH_CHECK(last < 0.5);
}

CATCH_TEST_CASE("the bound of quantised data is the probability of their bins", "[core][likelihood]") {
  const double bin = 1 / 127.5;
  const Model model = gaussian(schedule("cosine"));
  LikelihoodInput input = data(512);
  input.x0 = (input.x0 * (0.4 * 127.5)).round() * bin;  // narrower than the model: away from the edges
  const at::Tensor exact = -log_density(input.x0, 0.0, kSpread * kSpread) - 8 * std::log(bin);
  const at::Tensor gap = variational_bound(model, input, {.steps = 640, .bin = bin}).total() - exact;
  const double mean = gap.mean().item<double>(), error = gap.std().item<double>() / std::sqrt(512.0);
  CATCH_CAPTURE(mean, error);
  CATCH_CHECK(std::abs(mean) < 5 * error + 0.5);  // a chain of 640 steps is above by 0.3 nats in 8 dimensions
  CATCH_CHECK(error < 0.3);
}

CATCH_TEST_CASE("a bound of drawn steps is the whole one in the mean", "[core][likelihood]") {
  const Model model = gaussian(schedule("linear"));
  const LikelihoodInput input = data(512);
  const at::Tensor whole = variational_bound(model, input, {}).total(),
                   drawn = variational_bound(model, input, {.draws = 50}).total();
  const at::Tensor difference = drawn - whole;
  const double error = difference.std().item<double>() / std::sqrt(512.0);
  CATCH_CHECK(std::abs(difference.mean().item<double>()) < 5 * error);
  CATCH_CHECK(error > 0);
}

CATCH_TEST_CASE("a step of the bound is the divergence of two normals", "[core][likelihood][variance]") {
  const SchedulePtr process = schedule("linear");
  const Level from = process->at(500), to = process->at(499);
  const StepPosterior posterior = step_posterior(from, to);
  // Ho et al. 2020, eq. 7, from betas: beta = 1 - alphabar_t / alphabar_s.
  const double bar = from.alpha * from.alpha, bar_to = to.alpha * to.alpha, beta = 1 - bar / bar_to;
  CATCH_CHECK(posterior.pull == Catch::Approx(std::sqrt(bar_to) * beta / (1 - bar)).epsilon(1e-9));
  CATCH_CHECK(std::exp(posterior.log_small) == Catch::Approx((1 - bar_to) / (1 - bar) * beta).epsilon(1e-9));
  CATCH_CHECK(std::exp(posterior.log_large) == Catch::Approx(beta).epsilon(1e-9));

  const std::vector<BoundStep> steps{bound_step(from, to, false)};
  const at::Tensor x0 = at::full({1, 8}, 0.4, at::kDouble), estimate = at::full({1, 8}, 0.1, at::kDouble);
  for (const double v : {-1.0, -0.2, 1.0}) {
    const double share = (v + 1) / 2;
    const double s2 = std::exp(share * posterior.log_large + (1 - share) * posterior.log_small);
    const double own = std::exp(posterior.log_small), gap = posterior.pull * 0.3;
    const double expected = 8 * (0.5 * std::log(s2 / own) + (own + gap * gap) / (2 * s2) - 0.5);
    CATCH_CHECK(bound_terms(x0, estimate, at::full({1, 8}, v, at::kDouble), steps, 0.0).item<double>() ==
                Catch::Approx(expected).epsilon(1e-9));
  }
  // Without a learned variance: 1/2 (SNR - SNR') |x0 - D|^2, Kingma et al. 2021, eq. 13.
  const double snr = 0.5 * (std::exp(2 * to.lambda()) - std::exp(2 * from.lambda())) * 8 * 0.09;
  CATCH_CHECK(bound_terms(x0, estimate, {}, steps, 0.0).item<double>() == Catch::Approx(snr).epsilon(1e-9));
}

CATCH_TEST_CASE("the bound is least at the variance that the estimate's own error adds",
                "[core][likelihood][variance]") {
  const SchedulePtr process = schedule("linear");
  for (const int t : {40, 500}) {
    const Level from = process->at(t), to = process->at(t - 1);
    const StepPosterior posterior = step_posterior(from, to);
    const std::vector<BoundStep> steps{bound_step(from, to, false)};
    // Data N(0, 0.6^2): the exact mean's squared error is the posterior variance of x0.
    const double data = 0.36,
                 error = data * from.sigma * from.sigma / (data * from.alpha * from.alpha + from.sigma * from.sigma);
    const double best = std::log(std::exp(posterior.log_small) + posterior.pull * posterior.pull * error);
    const double v = 2 * (best - posterior.log_small) / (posterior.log_large - posterior.log_small) - 1;
    CATCH_CAPTURE(t, v);
    CATCH_REQUIRE((v > -1 && v < 1));
    const auto term = [&](double at) {
      return bound_terms(at::full({1, 1}, std::sqrt(error), at::kDouble), at::zeros({1, 1}, at::kDouble),
                         at::full({1, 1}, at, at::kDouble), steps, 0.0)
          .item<double>();
    };
    CATCH_CHECK(term(v) < term(v + 0.05));
    CATCH_CHECK(term(v) < term(v - 0.05));
    CATCH_CHECK(term(v) == Catch::Approx(0.5 * (best - posterior.log_small)).epsilon(1e-6));
  }
}

CATCH_TEST_CASE("the probabilities of all bins of a pixel sum to 1", "[core][likelihood]") {
  const double bin = 1 / 127.5;
  const at::Tensor x0 = (at::arange(256, at::kDouble) * bin - 1).reshape({256, 1});
  const SchedulePtr process = schedule("linear");
  for (const int t : {1, 300}) {
    const std::vector<BoundStep> steps(256, bound_step(process->at(t), process->at(t - 1), true));
    const at::Tensor terms = bound_terms(x0, at::full({256, 1}, 0.93, at::kDouble), {}, steps, bin);
    CATCH_CHECK((-terms).exp().sum().item<double>() == Catch::Approx(1.0).margin(1e-8));  // 1e-12 at least a bin
  }
}

CATCH_TEST_CASE("dequantised data stay in their bins, and bits count the bin", "[core][likelihood]") {
  LikelihoodInput input = data(200);
  input.x0 = (input.x0 * 127.5).round() / 127.5;
  const at::Tensor moved = (dequantised(input, 1 / 127.5) - input.x0) * 127.5;
  CATCH_CHECK(moved.abs().max().item<double>() <= 0.5);
  // 1600 uniforms: the deviation of their mean is 0.2887 / 40; five of them.
  CATCH_CHECK(std::abs(moved.mean().item<double>()) < 0.036);
  CATCH_CHECK(moved.std().item<double>() == Catch::Approx(0.2887).margin(0.02));
  // Uniform over [-1, 1]: 2^-1 a unit, 255 bins of 1 / 127.5.
  const at::Tensor nats = at::full({1}, 8 * std::log(2.0), at::kDouble);
  CATCH_CHECK(bits_per_dim(nats, 8, 1 / 127.5).item<double>() == Catch::Approx(std::log2(255.0)));
  CATCH_CHECK(bits_per_dim(nats, 8, 0).item<double>() == Catch::Approx(1.0));
}

CATCH_TEST_CASE("a network that sees its own estimate has no likelihood", "[core][likelihood][errors]") {
  Model model = gaussian(schedule("cosine"));
  auto backbone = std::make_unique<Mixing>();
  backbone->takes_estimate_value = true;
  model.backbone = std::move(backbone);
  CATCH_CHECK_THROWS_WITH(flow_log_density(model, data(2), {}), Catch::StartsWith("backbone.self_conditioning"));
  CATCH_CHECK_THROWS_WITH(variational_bound(model, data(2), {}), Catch::StartsWith("backbone.self_conditioning"));
}
