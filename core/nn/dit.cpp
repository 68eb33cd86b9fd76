#include "core/nn/dit.h"

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"

namespace thaw::nn {

namespace {

std::int64_t inner_of(const DiTOptions& options) {
  return static_cast<std::int64_t>(static_cast<double>(options.features) * options.mlp_ratio);
}

}  // namespace

DiTBlock::DiTBlock(const Scope& scope, const DiTOptions& options)
    : norm(scope / "norm", options.features, false),
      qkv(scope / "qkv", options.features, 3 * options.features),
      project(scope / "project", options.features, options.features),
      mlp1(scope / "mlp1", options.features, inner_of(options)),
      mlp2(scope / "mlp2", inner_of(options), options.features),
      modulate(scope / "modulate", options.features, 6 * options.features, 0.0),
      heads(options.heads) {
  if (options.text_features > 0) text.emplace(scope / "text", options.features, options.text_features, heads);
}

at::Tensor DiTBlock::operator()(const at::Tensor& x_NLD, const at::Tensor& embedding_ND, const Told& told) const {
  const Perturbation::Kind perturbed = perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NLD;
  const auto m = modulate(at::silu(embedding_ND)).unsqueeze(1).chunk(6, 2);
  const std::int64_t n = x_NLD.size(0), l = x_NLD.size(1), d = x_NLD.size(2);
  at::Tensor h = at::addcmul(m[0], norm(x_NLD), m[1] + 1);
  const at::Tensor qkv_3NhLD = qkv(h).reshape({n, l, 3, heads, d / heads}).permute({2, 0, 3, 1, 4});
  h = perturbed == Perturbation::Kind::kIdentityAttention ? qkv_3NhLD[2]
                                                          : attention(qkv_3NhLD[0], qkv_3NhLD[1], qkv_3NhLD[2]);
  h = h.transpose(1, 2).reshape({n, l, d});
  at::Tensor x = at::addcmul(x_NLD, m[2], project(h));
  if (text) x = (*text)(x, told);
  h = at::addcmul(m[3], norm(x), m[4] + 1);
  return at::addcmul(x, m[5], mlp2(at::gelu(mlp1(h), "tanh")));
}

DiT::DiT(const Scope& scope, const DiTOptions& options)
    : options_(options),
      patch_(scope / "patch", options.in_channels * options.patch * options.patch, options.features),
      embed1_(scope / "embed1", 256, options.features),
      embed2_(scope / "embed2", options.features, options.features),
      modulate_(scope / "modulate", options.features, 2 * options.features, 0.0),
      out_(scope / "out", options.features, options.out_channels * options.patch * options.patch, 0.0),
      norm_(scope / "norm", options.features, false) {
  if (options_.height % options_.patch != 0 || options_.width % options_.patch != 0)
    throw ConfigError(concat("backbone.patch: ", options_.patch, " does not tile a picture of ", options_.height, " x ",
                             options_.width, "."));
  if (options_.features % options_.heads != 0 || options_.features % 4 != 0)
    throw ConfigError(concat("backbone.features: must be a multiple of heads and of 4, got ", options_.features,
                             " with ", options_.heads, " heads."));
  if (options_.num_classes > 0) label_ = Embedding(scope / "label", options_.num_classes + 1, options_.features, 0.02);
  if (options_.takes_target) target_ = NumberEmbedding(scope / "target", 256, options_.features);
  if (options_.takes_guidance) guidance_ = NumberEmbedding(scope / "guidance", 256, options_.features);
  numbers_ = NumberEmbeddings(scope / "numbers", options_.numbers, 256, options_.features);
  if (options_.text_features > 0) text_ = Linear(scope / "text", options_.text_features, options_.features);
  position_LD_ = scope.add_buffer("position", position_table_2d(options_.height / options_.patch,
                                                                options_.width / options_.patch, options_.features));
  for (std::int64_t i = 0; i < options_.depth; ++i) {
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_);
    blocks_.back().layer = i;
  }
}

at::Tensor DiT::operator()(const at::Tensor& x_NCHW, const Told& told) const {
  at::Tensor embedding_ND = embed2_(at::silu(embed1_(sinusoidal_embedding(told.noise, {256, 10000.0, true}))));
  if (label_.weight.defined() && told.label.defined()) embedding_ND = embedding_ND + label_(told.label);
  if (options_.takes_target) embedding_ND = embedding_ND + target_(told.noise - told.target);
  if (options_.takes_guidance) embedding_ND = embedding_ND + guidance_(100 * (told.guidance - 1));
  if (text_.weight.defined() && told.pooled.defined()) embedding_ND = embedding_ND + text_(told.pooled);
  if (!numbers_.is_empty()) embedding_ND = embedding_ND + numbers_(told.numbers);
  at::Tensor h = patch_(patchify(x_NCHW, options_.patch)) + position_LD_;
  for (const DiTBlock& block : blocks_) h = block(h, embedding_ND, told);
  const auto m = modulate_(at::silu(embedding_ND)).unsqueeze(1).chunk(2, 2);
  return unpatchify(out_(at::addcmul(m[0], norm_(h), m[1] + 1)), options_.height, options_.width, options_.patch);
}

at::Tensor position_table_2d(std::int64_t height, std::int64_t width, std::int64_t features) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor frequency = (at::arange(features / 4, options) * (-std::log(10000.0) / (features / 4.0))).exp();
  const auto table = [&](std::int64_t count) {
    const at::Tensor angle = at::arange(count, options).unsqueeze(1) * frequency.unsqueeze(0);
    return at::cat({angle.sin(), angle.cos()}, 1);
  };
  // Columns first, then rows, as published tables have it.
  const at::Tensor column = table(width).unsqueeze(0).expand({height, width, features / 2});
  const at::Tensor row = table(height).unsqueeze(1).expand({height, width, features / 2});
  return at::cat({column, row}, 2).reshape({height * width, features}).to(at::kFloat);
}

at::Tensor patchify(const at::Tensor& x_NCHW, std::int64_t patch) {
  const std::int64_t n = x_NCHW.size(0), c = x_NCHW.size(1), h = x_NCHW.size(2) / patch, w = x_NCHW.size(3) / patch;
  return x_NCHW.reshape({n, c, h, patch, w, patch}).permute({0, 2, 4, 1, 3, 5}).reshape({n, h * w, c * patch * patch});
}

at::Tensor unpatchify(const at::Tensor& x_NLD, std::int64_t height, std::int64_t width, std::int64_t patch) {
  const std::int64_t n = x_NLD.size(0), h = height / patch, w = width / patch, c = x_NLD.size(2) / (patch * patch);
  return x_NLD.reshape({n, h, w, c, patch, patch}).permute({0, 3, 1, 4, 2, 5}).reshape({n, c, height, width});
}

}  // namespace thaw::nn
