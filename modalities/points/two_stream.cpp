#include "modalities/points/two_stream.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"
#include "core/nn/streaming.h"
#include "modalities/points/set_networks.h"

namespace thaw::points {

namespace {

at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return at::addcmul(shift, x, scale + 1);
}

}  // namespace

TwoStream::Cross::Cross(const Scope& scope, std::int64_t to, std::int64_t from, std::int64_t width, std::int64_t heads_)
    : query(scope / "query", to, width),
      key_value(scope / "key_value", from, 2 * width),
      project(scope / "project", width, to),
      heads(heads_) {}

at::Tensor TwoStream::Cross::operator()(const at::Tensor& to, const at::Tensor& from) const {
  const auto parts = key_value(from).chunk(2, 2);
  return project(nn::merge_heads(nn::attention(nn::split_heads(query(to), heads), nn::split_heads(parts[0], heads),
                                               nn::split_heads(parts[1], heads))));
}

TwoStream::LatentLayer::LatentLayer(const Scope& scope, const TwoStreamOptions& options, std::int64_t layer_)
    : norm1(scope / "norm1", options.latent_features, true),
      norm2(scope / "norm2", options.latent_features, true),
      qkv(scope / "qkv", options.latent_features, 3 * options.latent_features),
      project(scope / "project", options.latent_features, options.latent_features),
      mlp1(scope / "mlp1", options.latent_features, 4 * options.latent_features),
      mlp2(scope / "mlp2", 4 * options.latent_features, options.latent_features),
      heads(options.heads),
      layer(layer_) {}

at::Tensor TwoStream::LatentLayer::operator()(const at::Tensor& z_NML) const {
  const Perturbation::Kind perturbed = nn::perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return z_NML;
  const auto parts = qkv(norm1(z_NML)).chunk(3, 2);
  const at::Tensor seen =
      perturbed == Perturbation::Kind::kIdentityAttention
          ? parts[2]
          : nn::merge_heads(nn::attention(nn::split_heads(parts[0], heads), nn::split_heads(parts[1], heads),
                                          nn::split_heads(parts[2], heads)));
  const at::Tensor z = z_NML + project(seen);
  return z + mlp2(at::gelu(mlp1(norm2(z)), "tanh"));
}

TwoStream::Block::Block(const Scope& scope, const TwoStreamOptions& options, std::int64_t number)
    : points_norm(scope / "points_norm", options.features, false),
      latent_norm(scope / "latent_norm", options.latent_features, true),
      write_norm(scope / "write_norm", options.latent_features, true),
      read(scope / "read", options.latent_features, options.features, options.features, options.heads),
      write(scope / "write", options.features, options.latent_features, options.features, options.heads),
      mlp1(scope / "mlp1", options.features, 2 * options.features),
      mlp2(scope / "mlp2", 2 * options.features, options.features),
      modulate(scope / "modulate", options.features, 8 * options.features, 0.0) {
  for (std::int64_t i = 0; i < options.latent_depth; ++i)
    layers.emplace_back(scope / "layers" / static_cast<std::size_t>(i), options, number * options.latent_depth + i);
  if (options.text_features > 0)
    text.emplace(scope / "text", options.latent_features, options.text_features, options.heads);
}

void TwoStream::Block::operator()(at::Tensor& x_NKD, at::Tensor& z_NML, const at::Tensor& embedding_N1D,
                                  const nn::Told& told) const {
  const auto m = modulate(embedding_N1D).chunk(8, 2);
  const at::Tensor normed = points_norm(x_NKD);
  z_NML = z_NML + read(latent_norm(z_NML), modulated(normed, m[0], m[1]));
  if (text) z_NML = (*text)(z_NML, told);
  for (const LatentLayer& layer : layers) z_NML = layer(z_NML);
  x_NKD = at::addcmul(x_NKD, m[4], write(modulated(normed, m[2], m[3]), write_norm(z_NML)));
  x_NKD = at::addcmul(x_NKD, m[7], mlp2(at::gelu(mlp1(modulated(points_norm(x_NKD), m[5], m[6])), "tanh")));
}

TwoStream::TwoStream(const Scope& scope, const TwoStreamOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      points_(scope / "points", options.in_channels * (1 + 2 * options.frequencies), options.features),
      token_(scope / "token", options.features, options.latent_features),
      modulate_(scope / "modulate", options.features, 2 * options.features, 0.0),
      out_(scope / "out", options.features, options.out_channels, 0.0),
      latents_ML_(scope.add("latents", {options.latents, options.latent_features}, Init::normal(1.0))),
      norm_(scope / "norm", options.features, false) {
  if (options_.features % options_.heads != 0 || options_.latent_features % options_.heads != 0)
    throw ConfigError(concat("backbone.heads: must divide features and latent_features, got ", options_.heads, " with ",
                             options_.features, " and ", options_.latent_features, "."));
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_, i);
}

at::Tensor TwoStream::operator()(const at::Tensor& x_NCK, const nn::Told& told) const {
  const at::Tensor embedding_N1D = embed_(told).unsqueeze(1);
  at::Tensor x = points_(with_waves(x_NCK.transpose(1, 2), options_.frequencies));
  at::Tensor z = at::cat({nn::here(latents_ML_).unsqueeze(0).expand({x.size(0), -1, -1}), token_(embedding_N1D)}, 1);
  for (const Block& block : blocks_) block(x, z, embedding_N1D, told);
  const auto m = modulate_(embedding_N1D).chunk(2, 2);
  return out_(modulated(norm_(x), m[0], m[1])).transpose(1, 2);
}

}  // namespace thaw::points
