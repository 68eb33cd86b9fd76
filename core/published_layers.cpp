#include "core/published_layers.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"

namespace thaw {

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

CaptionProjection::CaptionProjection(PublishedWeights& weights, const std::string& name, std::int64_t in,
                                     std::int64_t out)
    : linear1(weights.linear(name + ".linear_1", in, out)), linear2(weights.linear(name + ".linear_2", out, out)) {}

at::Tensor CaptionProjection::operator()(const at::Tensor& text_NTD) const {
  return linear2(at::gelu(linear1(text_NTD), "tanh"));
}

at::Tensor attend(const at::Tensor& q_NhLD, const at::Tensor& k_NhTD, const at::Tensor& v_NhTD,
                  const at::Tensor& bias) {
  return nn::merge_heads(nn::attention(q_NhLD, k_NhTD, v_NhTD, bias));
}

CrossAttention::CrossAttention(PublishedWeights& weights, const std::string& name, const AttentionOptions& options)
    : heads(options.heads), is_upcast(options.is_upcast) {
  const std::int64_t inner = options.heads * options.head_width;
  const std::int64_t source = options.text_features > 0 ? options.text_features : options.features;
  query = weights.linear(name + ".to_q", options.features, inner, options.has_bias);
  key = weights.linear(name + ".to_k", source, inner, options.has_bias);
  value = weights.linear(name + ".to_v", source, inner, options.has_bias);
  project = weights.linear(name + ".to_out.0", inner, options.features);
}

at::Tensor CrossAttention::operator()(const at::Tensor& x_NLD, const at::Tensor& source_NTD,
                                      const at::Tensor& bias) const {
  at::Tensor q = nn::split_heads(query(x_NLD), heads), k = nn::split_heads(key(source_NTD), heads),
             v = nn::split_heads(value(source_NTD), heads);
  if (!is_upcast || q.scalar_type() == at::kFloat || q.scalar_type() == at::kDouble)
    return project(attend(q, k, v, bias));
  const at::Tensor wide =
      attend(q.to(at::kFloat), k.to(at::kFloat), v.to(at::kFloat), bias.defined() ? bias.to(at::kFloat) : at::Tensor());
  return project(wide.to(q.scalar_type()));
}

FeedForward::FeedForward(PublishedWeights& weights, const std::string& name, const Widths& widths, Kind kind_)
    : in(weights.linear(name + ".net.0.proj", widths.in, (kind_ == Kind::kGeglu ? 2 : 1) * widths.inner)),
      out(weights.linear(name + ".net.2", widths.inner, widths.out)),
      kind(kind_) {}

FeedForward::Kind feed_forward_kind(PublishedConfig& config, const std::string& fallback) {
  const std::string name = config.choice("activation_fn", fallback, {"gelu-approximate", "gelu", "geglu"});
  return name == "gelu"    ? FeedForward::Kind::kGelu
         : name == "geglu" ? FeedForward::Kind::kGeglu
                           : FeedForward::Kind::kGeluTanh;
}

at::Tensor FeedForward::operator()(const at::Tensor& x_NLD) const {
  const at::Tensor h = in(x_NLD);
  if (kind != Kind::kGeglu) return out(at::gelu(h, kind == Kind::kGelu ? "none" : "tanh"));
  const auto value_and_gate = h.chunk(2, -1);
  return out(value_and_gate[0] * at::gelu(value_and_gate[1]));
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

}  // namespace thaw
