#include "modalities/points/set_networks.h"

#include <array>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"
#include "core/nn/streaming.h"

namespace thaw::points {

namespace {

nn::ToldEmbeddingOptions without_classes(nn::ToldEmbeddingOptions options) {
  options.num_classes = 0;
  return options;
}

}  // namespace

at::Tensor with_waves(const at::Tensor& x_NKC, std::int64_t frequencies) {
  if (frequencies == 0) return x_NKC;
  std::vector<at::Tensor> all{x_NKC};
  for (std::int64_t k = 0; k < frequencies; ++k) {
    const at::Tensor angle = x_NKC * static_cast<double>(std::int64_t{1} << k);
    all.push_back(angle.sin());
    all.push_back(angle.cos());
  }
  return at::cat(all, 2);
}

at::Tensor PointwiseNet::GatedLinear::operator()(const at::Tensor& x_NKD, const at::Tensor& context_N1D) const {
  return at::addcmul(shift(context_N1D), linear(x_NKD), at::sigmoid(gate(context_N1D)));
}

PointwiseNet::PointwiseNet(const Scope& scope, const SetOptions& options)
    : options_(options), embed_(scope, options.told()) {
  constexpr std::array<std::int64_t, 5> kWidths{128, 256, 512, 256, 128};
  const std::int64_t d = options_.features;
  if (options_.is_pooled) {
    look1_ = nn::Linear(scope / "look1", options_.in_channels, d);
    look2_ = nn::Linear(scope / "look2", d, d);
    pool_ = nn::Linear(scope / "pool", 2 * d, d);
  }
  std::int64_t in = options_.in_channels;
  for (std::size_t i = 0; i <= kWidths.size(); ++i) {
    const Scope own = scope / "layers" / i;
    const bool is_last = i == kWidths.size();
    const std::int64_t out = is_last ? options_.out_channels : kWidths[i];
    const double gain = is_last ? 0.0 : 1.0;
    layers_.push_back({nn::Linear(own / "linear", in, out, gain), nn::Linear(own / "gate", d, out),
                       nn::Linear(own / "shift", d, out, gain, false)});
    in = out;
  }
}

at::Tensor PointwiseNet::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  at::Tensor h = x_NCK.transpose(1, 2);
  at::Tensor context = embed_(told);
  if (options_.is_pooled) {
    const at::Tensor seen_NKD = look2_(at::silu(look1_(h) + context.unsqueeze(1)));
    context = context + pool_(at::silu(at::cat({seen_NKD.amax({1}), seen_NKD.mean(1)}, 1)));
  }
  context = at::silu(context).unsqueeze(1);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    h = layers_[i](h, context);
    if (i + 1 < layers_.size()) h = at::leaky_relu(h, 0.01);
  }
  return h.transpose(1, 2);
}

PointTransformer::Block::Block(const Scope& scope, const SetOptions& options, std::int64_t layer_)
    : norm(scope / "norm", options.features, options.has_tokens),
      qkv(scope / "qkv", options.features, 3 * options.features),
      project(scope / "project", options.features, options.features),
      mlp1(scope / "mlp1", options.features, 4 * options.features),
      mlp2(scope / "mlp2", 4 * options.features, options.features),
      heads(options.heads),
      layer(layer_) {
  if (!options.has_tokens) modulate = nn::Linear(scope / "modulate", options.features, 6 * options.features, 0.0);
  if (options.inducing > 0) {
    inducing_MD = scope.add("inducing", {options.inducing, options.features}, Init::normal(1.0));
    gather_query = nn::Linear(scope / "gather_query", options.features, options.features);
    gather_norm = nn::LayerNorm(scope / "gather_norm", options.features, true);
    gather_mlp1 = nn::Linear(scope / "gather_mlp1", options.features, 2 * options.features);
    gather_mlp2 = nn::Linear(scope / "gather_mlp2", 2 * options.features, options.features);
    gathered_norm = nn::LayerNorm(scope / "gathered_norm", options.features, true);
    gather = nn::Linear(scope / "gather", options.features, 2 * options.features);
  }
  if (options.text_features > 0) text.emplace(scope / "text", options.features, options.text_features, heads);
}

at::Tensor PointTransformer::Block::attend(const at::Tensor& x_NKD, bool is_identity) const {
  const auto parts = qkv(x_NKD).chunk(3, 2);
  if (is_identity) return project(parts[2]);
  if (!inducing_MD.defined()) {
    const at::Tensor all_NhKD = nn::attention(nn::split_heads(parts[0], heads), nn::split_heads(parts[1], heads),
                                              nn::split_heads(parts[2], heads));
    return project(nn::merge_heads(all_NhKD));
  }
  // The inducing points look at all points, then all points look at them.
  const at::Tensor own = nn::here(inducing_MD).unsqueeze(0).expand({x_NKD.size(0), -1, -1});
  const at::Tensor seen_NhMD = nn::attention(nn::split_heads(gather_query(own), heads),
                                             nn::split_heads(parts[1], heads), nn::split_heads(parts[2], heads));
  at::Tensor h_NMD = own + nn::merge_heads(seen_NhMD);
  h_NMD = h_NMD + gather_mlp2(at::gelu(gather_mlp1(gather_norm(h_NMD)), "tanh"));
  const auto gathered = gather(gathered_norm(h_NMD)).chunk(2, 2);
  return project(nn::merge_heads(nn::attention(nn::split_heads(parts[0], heads), nn::split_heads(gathered[0], heads),
                                               nn::split_heads(gathered[1], heads))));
}

at::Tensor PointTransformer::Block::operator()(const at::Tensor& x_NKD, const at::Tensor& embedding_N1D,
                                               const nn::Told& told) const {
  const Perturbation::Kind perturbed = nn::perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NKD;
  const bool is_identity = perturbed == Perturbation::Kind::kIdentityAttention;
  if (!modulate.weight.defined()) {
    at::Tensor x = x_NKD + attend(norm(x_NKD), is_identity);
    if (text) x = (*text)(x, told);
    return x + mlp2(at::gelu(mlp1(norm(x)), "tanh"));
  }
  const auto m = modulate(embedding_N1D).chunk(6, 2);
  at::Tensor x = at::addcmul(x_NKD, m[2], attend(at::addcmul(m[0], norm(x_NKD), m[1] + 1), is_identity));
  if (text) x = (*text)(x, told);
  return at::addcmul(x, m[5], mlp2(at::gelu(mlp1(at::addcmul(m[3], norm(x), m[4] + 1)), "tanh")));
}

PointTransformer::PointTransformer(const Scope& scope, const SetOptions& options)
    : options_(options),
      embed_(scope, options.has_tokens ? without_classes(options.told()) : options.told()),
      points_(scope / "points", options.in_channels * (1 + 2 * options.frequencies), options.features),
      out_(scope / "out", options.features, options.out_channels, 0.0),
      norm_(scope / "norm", options.features, options.has_tokens) {
  if (options_.features % options_.heads != 0)
    throw ConfigError(concat("backbone.features: must be a multiple of heads, got ", options_.features, " with ",
                             options_.heads, " heads."));
  if (options_.has_tokens && options_.num_classes > 0)
    label_ = nn::Embedding(scope / "class", options_.num_classes + 1, options_.features, 0.02);
  if (!options_.has_tokens) modulate_ = nn::Linear(scope / "modulate", options_.features, 2 * options_.features, 0.0);
  if (options_.globals > 0)
    globals_GD_ = scope.add("globals", {options_.globals, options_.features}, Init::normal(1.0));
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_, i);
}

at::Tensor PointTransformer::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  const at::Tensor embedding_N1D = embed_(told).unsqueeze(1);
  at::Tensor h = points_(with_waves(x_NCK.transpose(1, 2), options_.frequencies));
  if (options_.globals > 0) {
    const std::int64_t points = h.size(1) - options_.globals;
    if (points < 1)
      throw DataError(concat("backbone \"point_transformer\": of ", h.size(1), " columns the last ", options_.globals,
                             " are globals; at least ", options_.globals + 1, " are needed."));
    h = at::cat({h.narrow(1, 0, points), h.narrow(1, points, options_.globals) + nn::here(globals_GD_)}, 1);
  }
  std::int64_t tokens = 0;
  if (options_.has_tokens) {
    std::vector<at::Tensor> all{h, embedding_N1D};
    if (label_.weight.defined() && told.label.defined()) all.push_back(label_(told.label).unsqueeze(1));
    tokens = static_cast<std::int64_t>(all.size()) - 1;
    h = at::cat(all, 1);
  }
  for (const Block& block : blocks_) h = block(h, embedding_N1D, told);
  h = norm_(h.narrow(1, 0, h.size(1) - tokens));
  if (modulate_.weight.defined()) {
    const auto m = modulate_(embedding_N1D).chunk(2, 2);
    h = at::addcmul(m[0], h, m[1] + 1);
  }
  return out_(h).transpose(1, 2);
}

}  // namespace thaw::points
