#pragma once
// AdamW and the moving average of weights, as functions of their own named state.

#include <cstdint>
#include <functional>
#include <vector>

#include "core/base/config.h"
#include "core/nn/parameters.h"

namespace thaw {

struct OptimizerOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0.01;  // of weights with two or more dimensions
  std::int64_t warmup = 100;   // steps of linear growth
  std::string decay = "cosine";
  double clip = 1.0;  // largest global gradient norm, 0 for none
};
const std::vector<Option>& optimizer_options();
OptimizerOptions optimizer_options_from(const Settings& settings);

/// Learning rate at a step (0-based) of `steps`: linear warm-up, then constant, or down to 0 by cosine or line.
double learning_rate_at(const OptimizerOptions& options, std::int64_t step, std::int64_t steps);

/// Loshchilov and Hutter 2019, through ATen's fused kernel.
class AdamW {
 public:
  AdamW(const NamedTensors& parameters, OptimizerOptions options);
  /// Scales the gradients to a global norm of at most `clip`. Returns the norm before, a float64 scalar on their
  /// device.
  at::Tensor clip_gradients();
  /// Step `number`, 1 for the first. Nothing changes where `is_void`, a float32 scalar on the device, is 1: a step can
  /// be refused without its reason leaving the device.
  void step(double learning_rate, std::int64_t number, const at::Tensor& is_void);
  void zero_gradients();
  /// "m.<name>" and "v.<name>", live.
  NamedTensors state() const;

 private:
  struct Group {
    std::vector<at::Tensor> weights{}, m{}, v{};
    double weight_decay = 0.0;
  };
  OptimizerOptions options_;
  NamedTensors m_, v_;
  std::vector<at::Tensor> weights_;
  Group groups_[2];
};

/// A moving average of weights, updated after each step; `decay` may depend on the step, 1 for the first.
using DecayRule = std::function<double(std::int64_t step)>;
/// Constant with the warm-up min(decay, (1 + step) / (10 + step)).
DecayRule exponential_decay(double decay);
/// Karras et al. 2024 (EDM2), eq. 127, of relative width `std`.
DecayRule power_decay_rule(double std);

class WeightAverage {
 public:
  WeightAverage(const NamedTensors& parameters, DecayRule decay);
  void update(std::int64_t step);  // 1 for the first
  const NamedTensors& tensors() const { return average_; }

 private:
  DecayRule decay_;
  std::vector<at::Tensor> weights_, values_;
  NamedTensors average_;
};

/// Exchanges the values of weights and average for its lifetime (sampling in the middle of training).
class SwappedWeights {
 public:
  SwappedWeights(const NamedTensors& parameters, const NamedTensors& average);
  ~SwappedWeights();
  SwappedWeights(const SwappedWeights&) = delete;
  SwappedWeights& operator=(const SwappedWeights&) = delete;

 private:
  NamedTensors parameters_, kept_;
};

}  // namespace thaw
