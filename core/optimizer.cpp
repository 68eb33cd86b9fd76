#include "core/optimizer.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/power_profile.h"

namespace thaw {

const std::vector<Option>& optimizer_options() {
  static const std::vector<Option> options{
      {"type", std::string("adamw"), "name of the optimiser", 0, 0, {"adamw"}},
      {"learning_rate", 1e-3, "largest step size", 0.0, 10.0},
      {"beta1", 0.9, "decay of the mean of gradients", 0.0, 0.999999},
      {"beta2", 0.999, "decay of the mean of squared gradients", 0.0, 0.999999},
      {"epsilon", 1e-8, "added to the root of the mean square", 0.0, 1.0},
      {"weight_decay", 0.01, "pull of matrices and kernels to 0, times the step size", 0.0, 10.0},
      {"warmup", std::int64_t{100}, "steps of linear growth of the step size", 0.0, 1e9},
      {"decay", std::string("cosine"), "of the step size after the warm-up", 0, 0, {"constant", "cosine", "linear"}},
      {"clip", 1.0, "largest norm of all gradients together, 0 for no clipping", 0.0, 1e9}};
  return options;
}

OptimizerOptions optimizer_options_from(const Settings& settings) {
  return {settings.number("learning_rate"), settings.number("beta1"),        settings.number("beta2"),
          settings.number("epsilon"),       settings.number("weight_decay"), settings.integer("warmup"),
          settings.text("decay"),           settings.number("clip")};
}

double learning_rate_at(const OptimizerOptions& options, std::int64_t step, std::int64_t steps) {
  if (step < options.warmup)
    return options.learning_rate * static_cast<double>(step + 1) / static_cast<double>(options.warmup);
  if (options.decay == "constant") return options.learning_rate;
  const double span = std::max<double>(1.0, static_cast<double>(steps - options.warmup));
  const double done = std::min(1.0, static_cast<double>(step - options.warmup) / span);
  if (options.decay == "linear") return options.learning_rate * (1 - done);
  return options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

AdamW::AdamW(const NamedTensors& parameters, OptimizerOptions options) : options_(std::move(options)) {
  groups_[0].weight_decay = options_.weight_decay;
  for (const auto& [name, weight] : parameters) {
    if (!weight.requires_grad()) continue;
    m_.emplace_back("m." + name, at::zeros_like(weight.detach()));
    v_.emplace_back("v." + name, at::zeros_like(weight.detach()));
    weights_.push_back(weight);
    Group& group = groups_[weight.dim() >= 2 ? 0 : 1];
    group.weights.push_back(weight);
    group.m.push_back(m_.back().second);
    group.v.push_back(v_.back().second);
  }
}

at::Tensor AdamW::clip_gradients() {
  const c10::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& weight : weights_)
    if (weight.grad().defined()) gradients.push_back(weight.grad());
  const at::Tensor norm = at::stack(at::_foreach_norm(gradients)).to(at::kDouble).square().sum().sqrt();
  // A factor of exactly 1 changes no bit, so that whether to clip needs no answer from the device.
  if (options_.clip > 0) at::_foreach_mul_(gradients, norm.reciprocal().mul(options_.clip).clamp_max(1).to(at::kFloat));
  return norm;
}

void AdamW::step(double learning_rate, std::int64_t number, const at::Tensor& is_void) {
  const c10::NoGradGuard no_grad;
  for (Group& group : groups_) {
    std::vector<at::Tensor> weights, gradients, m, v;
    for (std::size_t i = 0; i < group.weights.size(); ++i) {
      if (!group.weights[i].grad().defined()) continue;
      weights.push_back(group.weights[i]);
      gradients.push_back(group.weights[i].grad());
      m.push_back(group.m[i]);
      v.push_back(group.v[i]);
    }
    if (weights.empty()) continue;
    const std::vector<at::Tensor> numbers(weights.size(), at::full({}, static_cast<double>(number), m[0].options()));
    at::_fused_adamw_(weights, gradients, m, v, {}, numbers, learning_rate, options_.beta1, options_.beta2,
                      group.weight_decay, options_.epsilon, false, false, {}, is_void);
  }
}

void AdamW::zero_gradients() {
  for (at::Tensor& weight : weights_) weight.mutable_grad() = at::Tensor();
}

NamedTensors AdamW::state() const {
  NamedTensors state = m_;
  state.insert(state.end(), v_.begin(), v_.end());
  return state;
}

DecayRule exponential_decay(double decay) {
  return [decay](std::int64_t step) {
    const double n = static_cast<double>(step);
    return std::min(decay, (1 + n) / (10 + n));
  };
}

DecayRule power_decay_rule(double std) {
  return [gamma = power_gamma(std)](std::int64_t step) { return power_decay(gamma, static_cast<double>(step)); };
}

WeightAverage::WeightAverage(const NamedTensors& parameters, DecayRule decay) : decay_(std::move(decay)) {
  for (const auto& [name, weight] : parameters) {
    average_.emplace_back(name, weight.detach().clone());
    if (!weight.requires_grad()) continue;
    weights_.push_back(weight);
    values_.push_back(average_.back().second);
  }
}

void WeightAverage::update(std::int64_t step) {
  const c10::NoGradGuard no_grad;
  at::_foreach_lerp_(values_, weights_, 1 - decay_(step));
}

SwappedWeights::SwappedWeights(const NamedTensors& parameters, const NamedTensors& average) : parameters_(parameters) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    kept_.emplace_back(parameters_[i].first, parameters_[i].second.detach());
    parameters_[i].second.set_data(average[i].second);
  }
}

SwappedWeights::~SwappedWeights() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].second.set_data(kept_[i].second);
}

}  // namespace thaw
