#pragma once
// Named weights. Networks are plain structs of layers over ATen functions; their weights live in one ordered list.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw {

/// In the order they were made; names are dotted paths as published checkpoints use them.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// How a weight starts. Uniform and normal ones are pure functions of (seed, name), whatever the order of making.
struct Init {
  enum class Kind { kZeros, kOnes, kUniform, kNormal } kind = Kind::kZeros;
  double scale = 0.0;  // bound of the uniform, standard deviation of the normal

  static Init zeros() { return {}; }
  static Init ones() { return {Kind::kOnes, 0.0}; }
  static Init uniform(double bound) { return {Kind::kUniform, bound}; }
  static Init normal(double deviation) { return {Kind::kNormal, deviation}; }
  /// Uniform in +-1/sqrt(fan_in), the default of linear and convolution layers in the field (He et al. 2015, a = sqrt
  /// 5).
  static Init fan_in(std::int64_t fan_in, double gain = 1.0);
};

class Parameters {
 public:
  explicit Parameters(std::uint64_t seed) : seed_(seed) {}

  /// A float32 leaf on the CPU that requires a gradient.
  at::Tensor add(const std::string& name, at::IntArrayRef shape, const Init& init);
  /// A constant that is saved with the weights (position tables); no gradient.
  at::Tensor add_buffer(const std::string& name, at::Tensor value);

  const NamedTensors& all() const { return tensors_; }

 private:
  std::uint64_t seed_;
  NamedTensors tensors_;
};

/// A dotted prefix into a Parameters: scope / "down_blocks" / 0.
class Scope {
 public:
  explicit Scope(Parameters& parameters, std::string prefix = "")
      : parameters_(&parameters), prefix_(std::move(prefix)) {}
  Scope operator/(const std::string& name) const {
    return Scope(*parameters_, prefix_.empty() ? name : prefix_ + "." + name);
  }
  Scope operator/(std::size_t index) const { return *this / std::to_string(index); }

  at::Tensor add(const std::string& name, at::IntArrayRef shape, const Init& init) const {
    return parameters_->add((*this / name).prefix_, shape, init);
  }
  at::Tensor add_buffer(const std::string& name, at::Tensor value) const;

 private:
  Parameters* parameters_;
  std::string prefix_;
};

/// Number of elements of all tensors that require a gradient.
std::int64_t num_weights(const NamedTensors& tensors);

}  // namespace thaw
