#include "core/nn/parameters.h"

#include <cmath>

#include <ATen/ATen.h>
#include <xxhash.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

NoiseKey weight_key(std::uint64_t seed, const std::string& name) {
  constexpr std::uint64_t kSampleMask = (std::uint64_t{1} << 48) - 1;
  return {seed, Purpose::kWeights, XXH3_64bits(name.data(), name.size()) & kSampleMask, 0, 0};
}

}  // namespace

Init Init::fan_in(std::int64_t fan_in, double gain) {
  return uniform(gain / std::sqrt(static_cast<double>(fan_in)));
}

at::Tensor Parameters::add(const std::string& name, at::IntArrayRef shape, const Init& init) {
  for (const auto& [known, tensor] : tensors_)
    if (known == name) throw Error(ExitCode::kBug, concat("weight \"", name, "\" is made twice"));
  at::Tensor tensor = at::zeros(shape, at::kFloat);
  const std::span<float> values(tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel()));
  const NoiseKey key = weight_key(seed_, name);
  switch (init.kind) {
    case Init::Kind::kZeros:
      break;
    case Init::Kind::kOnes:
      tensor.fill_(1.0);
      break;
    case Init::Kind::kNormal:
      fill_normal(values, key);
      tensor.mul_(init.scale);
      break;
    case Init::Kind::kUniform:
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>((2 * uniform(key, i) - 1) * init.scale);
      break;
  }
  tensor.set_requires_grad(true);
  tensors_.emplace_back(name, tensor);
  return tensor;
}

at::Tensor Parameters::add_buffer(const std::string& name, at::Tensor value) {
  tensors_.emplace_back(name, value);
  return value;
}

at::Tensor Scope::add_buffer(const std::string& name, at::Tensor value) const {
  return parameters_->add_buffer((*this / name).prefix_, std::move(value));
}

std::int64_t num_weights(const NamedTensors& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors)
    if (tensor.requires_grad()) count += tensor.numel();
  return count;
}

}  // namespace thaw
