#include "core/likelihood.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "core/math/posterior.h"

namespace thaw {

namespace {

// Draws at Purpose::kEvaluate of a sample; 0 is the dequantisation.
constexpr std::uint32_t kProbeDraw = 1 << 8, kStepDraw = 1 << 16, kPlaceDraw = 1;
// Beyond it no signal is left that float32 sees; a schedule may go on to alpha = 0.
constexpr double kSmallestLambda = -10.0;

struct Answer {
  at::Tensor estimate, variance;  // variance: v, undefined where none is learned
};

// Each sample at its own level; differentiable. In x's type.
Answer ask(const Model& model, const at::Tensor& x, std::span<const Level> levels, const Condition& condition) {
  if (model.backbone->exact_x0(x.narrow(0, 0, 1), levels.front()).defined()) {
    if (std::all_of(levels.begin(), levels.end(), [&](const Level& level) { return level == levels.front(); }))
      return {model.backbone->exact_x0(x, levels.front()), {}};
    std::vector<at::Tensor> rows;
    for (std::size_t n = 0; n < levels.size(); ++n)
      rows.push_back(model.backbone->exact_x0(x.narrow(0, static_cast<std::int64_t>(n), 1), levels[n]));
    return {at::cat(rows), {}};
  }
  const Parameterisation& p = model.parameterisation;
  std::vector<double> skip, out;
  for (const Level& level : levels) {
    const Scalings k = scalings(p.prediction, level, p.schedule->path(), p.sigma_data);
    skip.push_back(k.skip);
    out.push_back(k.out);
  }
  at::Tensor output = model.output(x, levels, condition).to(x.scalar_type()), variance;
  if (p.learns_variance) {
    const std::vector<at::Tensor> halves = output.chunk(2, 1);
    output = halves[0];
    variance = halves[1];
  }
  return {x * per_sample(skip, x) + output * per_sample(out, x), variance};
}

void expect_function_of_state(const Model& model) {
  if (model.backbone->takes_estimate())
    throw ConfigError(
        "backbone.self_conditioning: a network that sees its own earlier estimate has no likelihood by itself.");
}

at::Tensor sum_of(const at::Tensor& x) {
  return x.flatten(1).sum(1);
}

/// dx/dlambda and its divergence at points of the flow, the probes fixed.
class Flow {
 public:
  Flow(const Model& model, const LikelihoodInput& input, const FlowOptions& options)
      : model_(model),
        condition_(input.condition),
        is_exact_(options.trace == TraceMethod::kExact),
        dims_(input.x0.numel() / input.x0.size(0)) {
    const at::Tensor like = input.x0.to(model.device, at::kDouble);
    if (is_exact_) {
      const at::Tensor unit = at::eye(dims_, like.options());
      std::vector<std::int64_t> shape = like.sizes().vec();
      for (std::int64_t d = 0; d < dims_; ++d) {
        shape[0] = 1;
        probes_.push_back(unit[d].reshape(shape).expand_as(like).contiguous());
      }
    } else {
      for (std::int64_t k = 0; k < options.probes; ++k) probes_.push_back(rademacher(input, like, k));
    }
  }

  struct Slope {
    at::Tensor state, divergence;  // [N, ...], [N]
  };
  Slope operator()(const at::Tensor& x, double lambda) const {
    const double a = variance_preserving().at(lambda).alpha;
    const Level level = model_.parameterisation.schedule->path().at(lambda);
    const std::vector<Level> levels(static_cast<std::size_t>(x.size(0)), level);
    const c10::AutoGradMode gradients(true);
    const at::Tensor leaf = x.detach().requires_grad_(true);
    const at::Tensor estimate = ask(model_, leaf * std::hypot(level.alpha, level.sigma), levels, condition_).estimate;
    at::Tensor trace = at::zeros({x.size(0)}, x.options());
    for (std::size_t k = 0; k < probes_.size(); ++k) {
      const bool is_last = k + 1 == probes_.size();
      const auto product = torch::autograd::grad({estimate}, {leaf}, {probes_[k]}, !is_last, false, true);
      if (product.front().defined()) trace = trace + sum_of(product.front() * probes_[k]);
    }
    if (!is_exact_) trace = trace / static_cast<double>(probes_.size());
    const c10::NoGradGuard no_grad;
    return {(estimate.detach() - x * a) * a, (trace - a * static_cast<double>(dims_)) * a};
  }

 private:
  static at::Tensor rademacher(const LikelihoodInput& input, const at::Tensor& like, std::int64_t probe) {
    at::Tensor signs = at::empty(like.sizes(), at::kDouble);
    double* at = signs.data_ptr<double>();
    const std::int64_t dims = like.numel() / like.size(0);
    for (const std::uint64_t sample : input.samples) {
      const NoiseKey key{input.seed, Purpose::kEvaluate, sample, kProbeDraw + static_cast<std::uint32_t>(probe), 0};
      for (std::int64_t d = 0; d < dims; ++d) *at++ = uniform(key, static_cast<std::uint64_t>(d)) < 0.5 ? -1.0 : 1.0;
    }
    return signs.to(like.device());
  }

  const Model& model_;
  const Condition& condition_;
  bool is_exact_;
  std::int64_t dims_;
  std::vector<at::Tensor> probes_;
};

}  // namespace

BoundStep bound_step(const Level& from, const Level& to, bool is_decoder) {
  const StepPosterior posterior = step_posterior(from, to);
  return {posterior.pull, posterior.log_small, is_decoder ? 2.0 * std::log(to.rho()) : posterior.log_large, is_decoder};
}

at::Tensor bound_terms(const at::Tensor& x0, const at::Tensor& estimate, const at::Tensor& variance,
                       std::span<const BoundStep> steps, double bin) {
  std::vector<double> pull, low, high;
  std::vector<std::uint8_t> decodes;
  for (const BoundStep& step : steps) {
    pull.push_back(step.is_decoder ? 1.0 : step.pull);
    low.push_back(step.log_small);
    high.push_back(step.log_large);
    decodes.push_back(step.is_decoder);
  }
  const at::Tensor x = x0.to(at::kDouble), small = per_sample(low, x), large = per_sample(high, x);
  const at::Tensor is_decoder = at::tensor(decodes, at::kByte).to(x.device(), at::kBool);
  const at::Tensor gap = (x - estimate.to(at::kDouble)) * per_sample(pull, x);
  at::Tensor log_variance = at::where(is_decoder.reshape(small.sizes()), large, small).expand_as(x);
  if (variance.defined()) log_variance = (variance.to(at::kDouble) + 1.0) * 0.5 * (large - small) + small;
  const at::Tensor squares = gap.square() * (-log_variance).exp();
  // KL of two normals whose means differ by gap, the first with the small variance.
  const at::Tensor ratio = small - log_variance;
  const at::Tensor divergence = 0.5 * (ratio.exp() - 1.0 - ratio + squares);
  at::Tensor decoder;
  if (bin == 0.0) {
    decoder = 0.5 * (squares + log_variance + std::log(2.0 * std::numbers::pi));
  } else {
    constexpr double kLeast = 1e-12;  // as Nichol and Dhariwal's code: an impossible pixel has a finite loss
    const double half = 0.5 * bin, edge = 1.0 - 0.5 * half;
    const at::Tensor scale = (-0.5 * log_variance).exp();
    const at::Tensor above = at::special_ndtr((gap + half) * scale), below = at::special_ndtr((gap - half) * scale);
    const at::Tensor mass = at::where(x > edge, 1.0 - below, at::where(x < -edge, above, above - below));
    decoder = -mass.clamp_min(kLeast).log();
  }
  return at::where(is_decoder, sum_of(decoder), sum_of(divergence));
}

at::Tensor flow_log_density(const Model& model, const LikelihoodInput& input, const FlowOptions& options) {
  expect_function_of_state(model);
  const Schedule& schedule = *model.parameterisation.schedule;
  const double begin = schedule.lambda(schedule.t_min());
  const double end = std::max(schedule.lambda(schedule.t_max()), kSmallestLambda);
  const double h = (end - begin) / static_cast<double>(options.steps);
  const auto dims = static_cast<double>(input.x0.numel() / input.x0.size(0));
  const double kept = variance_preserving().at(begin).alpha;
  const Flow flow(model, input, options);
  at::Tensor x = input.x0.to(model.device, at::kDouble) * kept;
  at::Tensor divergence = at::zeros({x.size(0)}, x.options());
  for (std::int64_t i = 0; i < options.steps; ++i) {
    const double lambda = begin + h * static_cast<double>(i);
    const Flow::Slope k1 = flow(x, lambda), k2 = flow(x + k1.state * (h / 2), lambda + h / 2);
    const Flow::Slope k3 = flow(x + k2.state * (h / 2), lambda + h / 2), k4 = flow(x + k3.state * h, lambda + h);
    x = x + (k1.state + 2 * k2.state + 2 * k3.state + k4.state) * (h / 6);
    divergence = divergence + (k1.divergence + 2 * k2.divergence + 2 * k3.divergence + k4.divergence) * (h / 6);
  }
  const at::Tensor prior = -0.5 * (sum_of(x.square()) + dims * std::log(2.0 * std::numbers::pi));
  return prior + divergence + dims * std::log(kept);
}

at::Tensor Bound::total() const {
  return prior + steps + decoder;
}

namespace {

/// The chain of a bound and its terms at drawn places.
class Chain {
 public:
  Chain(const Model& model, const LikelihoodInput& input, const BoundOptions& options)
      : model_(model), input_(input), bin_(options.bin), x0_(input.x0.to(model.device, at::kFloat)) {
    const Schedule& schedule = *model.parameterisation.schedule;
    constexpr std::int64_t kContinuousSteps = 1000;
    const std::int64_t table = schedule.discrete_steps();
    size_ = options.steps > 0 ? options.steps : table > 0 ? table : kContinuousSteps;
    const bool is_table = size_ == table;
    double begin = is_table ? schedule.t_min() : schedule.lambda(schedule.t_min());
    // Noise well below a bin tells nothing more about quantised data, and a network that has not learned the grid of
    // its values pays for every such level: the decoder takes over where the noise is as wide as a bin.
    if (!is_table && bin_ > 0.0) begin = std::min(begin, -std::log(bin_));
    const double end = is_table ? schedule.t_max() : std::max(schedule.lambda(schedule.t_max()), kSmallestLambda);
    for (std::int64_t i = 0; i < size_; ++i) {
      const double at = begin + (end - begin) * static_cast<double>(i) / static_cast<double>(size_ - 1);
      levels_.push_back(is_table ? schedule.at(at) : schedule.path().at(at));
    }
  }

  std::int64_t size() const { return size_; }

  // places[n] in [0, size): 0 is the decoder. `draw` names the noise.
  at::Tensor terms(std::span<const std::int64_t> places, std::uint32_t draw) const {
    std::vector<Level> levels;
    std::vector<BoundStep> steps;
    for (const std::int64_t place : places) {
      levels.push_back(levels_[static_cast<std::size_t>(place)]);
      const auto from = static_cast<std::size_t>(std::max<std::int64_t>(place, 1));
      steps.push_back(bound_step(levels_[from], levels_[from - 1], place == 0));
    }
    std::vector<double> alpha, sigma;
    for (const Level& level : levels) alpha.push_back(level.alpha), sigma.push_back(level.sigma);
    const at::Tensor x = x0_ * per_sample(alpha, x0_) + noise(draw) * per_sample(sigma, x0_);
    const Answer answer = ask(model_, x, levels, input_.condition);
    return bound_terms(x0_, answer.estimate, answer.variance, steps, bin_);
  }

  // KL of the noisiest level's state from the standard normal it is taken for, in unit scale.
  at::Tensor prior() const {
    const Level level = variance_preserving().at(levels_.back().lambda());
    const double variance = level.sigma * level.sigma;
    const auto dims = static_cast<double>(x0_.numel() / x0_.size(0));
    return 0.5 * (sum_of(x0_.to(at::kDouble).square()) * (level.alpha * level.alpha) +
                  dims * (variance - 1.0 - std::log(variance)));
  }

 private:
  at::Tensor noise(std::uint32_t draw) const {
    at::Tensor eps = at::empty(x0_.sizes(), at::kFloat);
    const std::size_t dims = static_cast<std::size_t>(eps.numel()) / input_.samples.size();
    for (std::size_t n = 0; n < input_.samples.size(); ++n)
      fill_normal({eps.data_ptr<float>() + n * dims, dims},
                  {input_.seed, Purpose::kEvaluate, input_.samples[n], kStepDraw + draw, 0});
    return eps.to(x0_.device());
  }

  const Model& model_;
  const LikelihoodInput& input_;
  double bin_;
  at::Tensor x0_;
  std::int64_t size_ = 0;
  std::vector<Level> levels_;
};

}  // namespace

Bound variational_bound(const Model& model, const LikelihoodInput& input, const BoundOptions& options) {
  expect_function_of_state(model);
  const c10::NoGradGuard no_grad;
  const Chain chain(model, input, options);
  const std::int64_t inner = chain.size() - 1;
  const std::int64_t draws = options.draws > 0 ? std::min(options.draws, inner) : inner;
  const double stratum = static_cast<double>(inner) / static_cast<double>(draws);
  at::Tensor steps = at::zeros({input.x0.size(0)}, at::TensorOptions(model.device).dtype(at::kDouble));
  for (std::int64_t k = 0; k < draws; ++k) {
    std::vector<std::int64_t> places;
    for (const std::uint64_t sample : input.samples) {
      const double u = uniform({input.seed, Purpose::kEvaluate, sample, kPlaceDraw, 0}, static_cast<std::uint64_t>(k));
      const auto place = static_cast<std::int64_t>((static_cast<double>(k) + u) * stratum);
      places.push_back(1 + std::min(place, inner - 1));
    }
    steps = steps + chain.terms(places, static_cast<std::uint32_t>(k) + 1) * stratum;
  }
  const std::vector<std::int64_t> cleanest(input.samples.size(), 0);
  return {chain.prior(), steps, chain.terms(cleanest, 0)};
}

at::Tensor dequantised(const LikelihoodInput& input, double bin) {
  at::Tensor u = at::empty(input.x0.sizes(), at::kDouble);
  double* at = u.data_ptr<double>();
  const std::int64_t dims = u.numel() / u.size(0);
  for (const std::uint64_t sample : input.samples)
    for (std::int64_t d = 0; d < dims; ++d)
      *at++ = uniform({input.seed, Purpose::kEvaluate, sample, 0, 0}, static_cast<std::uint64_t>(d)) - 0.5;
  return input.x0.to(at::kDouble) + u.to(input.x0.device()) * bin;
}

at::Tensor bits_per_dim(const at::Tensor& nats, std::int64_t dims, double bin) {
  const double volume = bin > 0.0 ? std::log(bin) : 0.0;
  return (nats / static_cast<double>(dims) - volume) / std::numbers::ln2;
}

}  // namespace thaw
