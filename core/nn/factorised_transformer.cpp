#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"
#include "core/nn/space_time.h"

namespace thaw::nn {

namespace {

/// Sines, then cosines of 0 ... count - 1, float32 [count, features]; angles in float64. Vaswani et al. 2017.
at::Tensor sine_positions(std::int64_t count, std::int64_t features, const c10::Device& device) {
  const auto options = at::TensorOptions(device).dtype(at::kDouble);
  const double half = static_cast<double>(features / 2);
  const at::Tensor frequency = at::exp(at::arange(features / 2, options) * (-std::log(10000.0) / half));
  const at::Tensor angle = at::outer(at::arange(count, options), frequency);
  return at::cat({angle.sin(), angle.cos()}, 1).to(at::kFloat);
}

/// The table of position_table_2d, made where it is used: [S, features].
at::Tensor places_within(const Grid3d& grid, std::int64_t features, const c10::Device& device) {
  const std::vector<std::int64_t> shape{grid.rows, grid.columns, features / 2};
  const at::Tensor column = sine_positions(grid.columns, features / 2, device).unsqueeze(0).expand(shape);
  const at::Tensor row = sine_positions(grid.rows, features / 2, device).unsqueeze(1).expand(shape);
  return at::cat({column, row}, 2).flatten(0, 1);
}

}  // namespace

FactorisedTransformer::Block::Block(const Scope& scope, const SpaceTimeOptions& options, std::int64_t layer_)
    : norm(scope / "norm", options.features, false),
      qkv(scope / "qkv", options.features, 3 * options.features),
      project(scope / "project", options.features, options.features),
      mlp1(scope / "mlp1", options.features, options.inner()),
      mlp2(scope / "mlp2", options.inner(), options.features),
      modulate(scope / "modulate", options.features, 6 * options.features, 0.0),
      heads(options.heads),
      layer(layer_),
      is_temporal(layer_ % 2 == 1) {
  if (options.text_features > 0 && !is_temporal)
    text.emplace(scope / "text", options.features, options.text_features, heads);
}

at::Tensor FactorisedTransformer::Block::attend(const at::Tensor& x_NTSD, bool is_identity) const {
  // What is attended to comes third: the patches of a time, or one place at all times.
  const at::Tensor x_NBLD = is_temporal ? x_NTSD.transpose(1, 2) : x_NTSD;
  const std::int64_t n = x_NBLD.size(0), b = x_NBLD.size(1), l = x_NBLD.size(2), d = x_NBLD.size(3);
  const at::Tensor qkv_3MhLD = qkv(x_NBLD).reshape({n * b, l, 3, heads, d / heads}).permute({2, 0, 3, 1, 4});
  const at::Tensor h_MhLD = is_identity ? qkv_3MhLD[2] : attention(qkv_3MhLD[0], qkv_3MhLD[1], qkv_3MhLD[2]);
  const at::Tensor h_NBLD = project(merge_heads(h_MhLD).reshape({n, b, l, d}));
  return is_temporal ? h_NBLD.transpose(1, 2) : h_NBLD;
}

at::Tensor FactorisedTransformer::Block::operator()(const at::Tensor& x_NTSD, const at::Tensor& embedding_NTSD,
                                                    const Told& told) const {
  const Perturbation::Kind perturbed = perturbation_of(layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NTSD;
  // shift, scale, gate of attention, then of the MLP
  const auto m = modulate(embedding_NTSD).chunk(6, 3);
  at::Tensor h = at::addcmul(m[0], norm(x_NTSD), m[1] + 1);
  at::Tensor x = at::addcmul(x_NTSD, m[2], attend(h, perturbed == Perturbation::Kind::kIdentityAttention));
  if (text) x = (*text)(x.flatten(1, 2), told).reshape(x.sizes());
  h = at::addcmul(m[3], norm(x), m[4] + 1);
  return at::addcmul(x, m[5], mlp2(at::gelu(mlp1(h), "tanh")));
}

FactorisedTransformer::FactorisedTransformer(const Scope& scope, const SpaceTimeOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      patch_(scope / "patch", options.patch_numbers(options.in_channels), options.features),
      modulate_(scope / "modulate", options.features, 2 * options.features, 0.0),
      out_(scope / "out", options.features, options.patch_numbers(options.out_channels), 0.0),
      norm_(scope / "norm", options.features, false) {
  if (options_.features % options_.heads != 0 || options_.features % 4 != 0)
    throw ConfigError(concat("backbone.features: must be a multiple of heads and of 4, got ", options_.features,
                             " with ", options_.heads, " heads."));
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_, i);
}

at::Tensor FactorisedTransformer::operator()(const at::Tensor& x_NCTHW, const Told& told) const {
  const Grid3d grid = grid_of(x_NCTHW, options_.patch);
  const at::Tensor embedding_NTSD = embedding_in(grid, told, embed_);
  at::Tensor h = patch_(patchify_3d(x_NCTHW, options_.patch)).unflatten(1, {grid.times, -1});
  h = h + places_within(grid, options_.features, h.device());
  for (const Block& block : blocks_) {
    // Once, before anything attends along time.
    if (block.layer == 1) h = h + sine_positions(grid.times, options_.features, h.device()).unsqueeze(1);
    h = block(h, embedding_NTSD, told);
  }
  const auto m = modulate_(embedding_NTSD).chunk(2, 3);
  const at::Tensor y_NLP = out_(at::addcmul(m[0], norm_(h), m[1] + 1)).flatten(1, 2);
  return unpatchify_3d(y_NLP, grid, options_.patch);
}

at::Tensor embedding_in(const Grid3d& grid, const Told& told, const ToldEmbedding& embed) {
  const at::Tensor& noise = told.noise;
  if (noise.dim() == 1) return embed(told).unsqueeze(1).unsqueeze(1);
  const auto fits = [&](std::int64_t axis, std::int64_t count) {
    return noise.size(axis) == 1 || noise.size(axis) == count;
  };
  if (noise.dim() != 4 || !fits(1, grid.times) || !fits(2, grid.rows) || !fits(3, grid.columns))
    throw DataError(concat("network timestep: expected [N] or [N, ", grid.times, ", ", grid.rows, ", ", grid.columns,
                           "] or ones there, got ", noise.sizes(), "."));
  const at::Tensor e = embed(told);  // [N, t, h, w, D]
  if (noise.size(2) == 1 && noise.size(3) == 1) return e.flatten(2, 3);
  return e.expand({-1, -1, grid.rows, grid.columns, -1}).flatten(2, 3);
}

}  // namespace thaw::nn
