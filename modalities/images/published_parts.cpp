#include "modalities/images/published_parts.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"

namespace thaw::image {

at::Tensor published_timesteps(const at::Tensor& t_N, const nn::Sinusoid& options) {
  const std::int64_t half = options.features / 2;
  const auto type = t_N.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor exponent = at::arange(half, t_N.options().dtype(type)) * -std::log(options.max_period) /
                              (static_cast<double>(half) - options.frequency_shift);
  const at::Tensor angle = t_N.to(type).unsqueeze(1) * exponent.exp().unsqueeze(0);
  at::Tensor embedding =
      options.cosine_first ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
  if (options.features % 2 == 1) embedding = at::constant_pad_nd(embedding, {0, 1});
  return embedding;
}

PublishedTimeEmbedding::PublishedTimeEmbedding(PublishedWeights& weights, const std::string& name, std::int64_t in,
                                               std::int64_t out)
    : linear1(weights.linear(name + ".linear_1", in, out)), linear2(weights.linear(name + ".linear_2", out, out)) {}

at::Tensor PublishedTimeEmbedding::operator()(const at::Tensor& t_ND) const {
  // A sinusoid is float32 whatever the weights are.
  const at::Tensor h = linear1(t_ND.to(nn::type_here(linear1.weight)));
  return linear2(activation == nullptr ? at::silu(h) : activation(h));
}

void expect_forward_input(const at::Tensor& x, const at::Tensor& noise, std::int64_t channels) {
  if (x.dim() != 4 || x.size(0) < 1 || x.size(1) != channels)
    throw DataError(concat("network input: expected pictures [N, ", channels, ", H, W], got ", x.sizes(), "."));
  if (noise.dim() != 1 || noise.size(0) != x.size(0))
    throw DataError(concat("network timestep: expected [", x.size(0), "], got ", noise.sizes(), "."));
}

at::Tensor published_labels(const Condition& condition, std::int64_t batch, std::int64_t count) {
  const auto found = condition.find("label");
  const bool has_label = found != condition.end() && found->second.defined();
  if (count == 0 && has_label) throw DataError("network labels: this network has no classes, but labels are given.");
  if (count == 0) return {};
  if (!has_label) throw DataError("network labels: this network has classes and needs a label a sample.");
  const at::Tensor label = found->second.to(at::kLong).contiguous();
  if (label.dim() != 1 || label.size(0) != batch)
    throw DataError(concat("network labels: expected [", batch, "], got ", label.sizes(), "."));
  // On a device the check would wait for it; the lookup there has its own.
  if (label.is_cpu())
    for (std::int64_t n = 0; n < batch; ++n)
      if (const std::int64_t value = label.data_ptr<std::int64_t>()[n]; value < 0 || value >= count)
        throw DataError(concat("network labels: expected labels in [0, ", count - 1, "], got ", value, "."));
  return label;
}

at::Tensor published_positions(const PositionGrid& grid) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const std::int64_t quarter = grid.features / 4;
  const at::Tensor exponent = at::arange(quarter, options) / (static_cast<double>(grid.features) / 4.0);
  const at::Tensor frequency = 1.0 / at::pow(10000.0, exponent);
  const auto table = [&](std::int64_t count) {
    // The peer rounds the stretched positions to float32.
    const double stretch = static_cast<double>(count) / static_cast<double>(grid.base);
    const at::Tensor position = (at::arange(count, options.dtype(at::kFloat)) / stretch / grid.scale).to(at::kDouble);
    const at::Tensor angle = position.unsqueeze(1) * frequency.unsqueeze(0);
    return at::cat({angle.sin(), angle.cos()}, 1);
  };
  const std::int64_t rows = grid.rows, columns = grid.columns;
  const at::Tensor column = table(columns).unsqueeze(0).expand({rows, columns, 2 * quarter});
  const at::Tensor row = table(rows).unsqueeze(1).expand({rows, columns, 2 * quarter});
  return at::cat({column, row}, 2).reshape({rows * columns, 4 * quarter}).to(at::kFloat);
}

at::Tensor published_unpatchify(const at::Tensor& x_NLD, std::array<std::int64_t, 2> sides, std::int64_t patch) {
  const std::int64_t channels = x_NLD.size(2) / (patch * patch);
  const auto [rows, columns] = sides;
  return x_NLD.reshape({-1, rows, columns, patch, patch, channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({-1, channels, rows * patch, columns * patch});
}

at::Tensor published_condition(const Condition& condition, const std::string& name, std::vector<std::int64_t> shape,
                               bool is_required) {
  const auto found = condition.find(name);
  if (found == condition.end() || !found->second.defined()) {
    if (!is_required) return {};
    throw DataError(concat("network condition \"", name, "\": is missing; expected ", at::IntArrayRef(shape), "."));
  }
  const at::Tensor& tensor = found->second;
  bool fits = tensor.dim() == static_cast<std::int64_t>(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] < 0 ? tensor.size(static_cast<std::int64_t>(i)) > 0
                        : tensor.size(static_cast<std::int64_t>(i)) == shape[i];
  if (!fits)
    throw DataError(
        concat("network condition \"", name, "\": expected ", at::IntArrayRef(shape), ", got ", tensor.sizes(), "."));
  return tensor;
}

}  // namespace thaw::image
