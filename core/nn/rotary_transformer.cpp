#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/perturbation.h"
#include "core/nn/space_time.h"
#include "core/nn/streaming.h"

namespace thaw::nn {

RotaryTransformer::Block::Block(const Scope& scope, const SpaceTimeOptions& options, std::int64_t layer_)
    : norm(scope / "norm", options.features, false),
      qkv(scope / "qkv", options.features, 3 * options.features),
      project(scope / "project", options.features, options.features),
      mlp1(scope / "mlp1", options.features, options.inner()),
      mlp2(scope / "mlp2", options.inner(), options.features),
      query_norm(scope / "query_norm", options.features),
      key_norm(scope / "key_norm", options.features),
      table_6D(scope.add("table", {6, options.features}, Init::zeros())),
      heads(options.heads),
      layer(layer_) {
  if (options.text_features > 0) text.emplace(scope / "text", options.features, options.text_features, heads);
}

namespace {

// [N, h, L, D] -> [N W, h, S, D], and back.
at::Tensor in_windows(const at::Tensor& x_NhLD, const at::Tensor& windows_WS) {
  const at::Tensor x = x_NhLD.index_select(2, windows_WS.flatten()).unflatten(2, windows_WS.sizes());
  return x.transpose(1, 2).flatten(0, 1);
}
at::Tensor from_windows(const at::Tensor& x_MhSD, const at::Tensor& windows_WS, const at::Tensor& back) {
  const at::Tensor x = x_MhSD.unflatten(0, {-1, windows_WS.size(0)}).transpose(1, 2);
  return x.flatten(2, 3).index_select(2, back);
}

// Windows of side^3 patches of a grid.
RotaryTransformer::Seen windows_of(const Grid3d& grid, std::int64_t side, const c10::Device& device) {
  for (const std::int64_t count : {grid.times, grid.rows, grid.columns})
    if (count % side != 0)
      throw ConfigError(concat("backbone.window: windows of ", side, " patches a side do not tile ", grid.times, " x ",
                               grid.rows, " x ", grid.columns, " patches."));
  const at::Tensor all = at::arange(grid.times * grid.rows * grid.columns, at::TensorOptions(device).dtype(at::kLong));
  const at::Tensor windows_WS =
      all.reshape({grid.times / side, side, grid.rows / side, side, grid.columns / side, side})
          .permute({0, 2, 4, 1, 3, 5})
          .reshape({-1, side * side * side});
  return {{}, windows_WS, windows_WS.flatten().argsort()};
}

}  // namespace

at::Tensor RotaryTransformer::Block::attend(const at::Tensor& x_NLD, const Rotation& rotation, const Seen& seen,
                                            bool is_identity) const {
  const auto qkv_NLD = qkv(x_NLD).chunk(3, 2);
  const at::Tensor v_NhLD = split_heads(qkv_NLD[2], heads);
  if (is_identity) return project(merge_heads(v_NhLD));
  const at::Tensor q_NhLD = rotated(split_heads(query_norm(qkv_NLD[0]), heads), rotation);
  const at::Tensor k_NhLD = rotated(split_heads(key_norm(qkv_NLD[1]), heads), rotation);
  if (!seen.windows_WS.defined()) return project(merge_heads(attention(q_NhLD, k_NhLD, v_NhLD, seen.mask)));
  const at::Tensor within = attention(in_windows(q_NhLD, seen.windows_WS), in_windows(k_NhLD, seen.windows_WS),
                                      in_windows(v_NhLD, seen.windows_WS));
  return project(merge_heads(from_windows(within, seen.windows_WS, seen.from_windows)));
}

at::Tensor RotaryTransformer::run(const Block& block, const at::Tensor& x_NLD, const at::Tensor& modulation_NL6D,
                                  const Told& told, const Rotation& rotation, const Seen& seen) const {
  const Perturbation::Kind perturbed = perturbation_of(block.layer);
  if (perturbed == Perturbation::Kind::kSkippedLayer) return x_NLD;
  // shift, scale, gate of attention, then of the MLP
  const auto m = (modulation_NL6D + here(block.table_6D)).unbind(2);
  at::Tensor h = at::addcmul(m[0], block.norm(x_NLD), m[1] + 1);
  h = block.attend(h, rotation, seen, perturbed == Perturbation::Kind::kIdentityAttention);
  at::Tensor x = at::addcmul(x_NLD, m[2], h);
  if (block.text) x = (*block.text)(x, told);
  h = at::addcmul(m[3], block.norm(x), m[4] + 1);
  return at::addcmul(x, m[5], block.mlp2(at::gelu(block.mlp1(h), "tanh")));
}

RotaryTransformer::RotaryTransformer(const Scope& scope, const SpaceTimeOptions& options)
    : options_(options),
      embed_(scope, options.told()),
      patch_(scope / "patch", options.patch_numbers(options.in_channels), options.features),
      modulate_(scope / "modulate", options.features, 6 * options.features, 0.0),
      modulate_out_(scope / "modulate_out", options.features, 2 * options.features, 0.0),
      out_(scope / "out", options.features, options.patch_numbers(options.out_channels), 0.0),
      norm_(scope / "norm", options.features, false) {
  if (options_.features % (2 * options_.heads) != 0)
    throw ConfigError(concat("backbone.features: must be a multiple of twice the heads, got ", options_.features,
                             " with ", options_.heads, " heads."));
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_, i);
}

at::Tensor RotaryTransformer::run_all(const at::Tensor& x_NLP, const at::Tensor& places,
                                      const at::Tensor& embedding_NLD, const Told& told, const Seen& seen) const {
  const Rotation rotation = rotation_of(
      places, options_.rotary.empty() ? rotary_axes_3d(options_.features / options_.heads) : options_.rotary);
  const at::Tensor modulation_NL6D = modulate_(embedding_NLD).unflatten(2, {6, options_.features});
  at::Tensor h = patch_(x_NLP);
  const Seen all{seen.mask};
  for (const Block& block : blocks_)
    h = run(block, h, modulation_NL6D, told, rotation, block.layer % options_.window_every == 0 ? seen : all);
  const auto m = modulate_out_(embedding_NLD).chunk(2, 2);
  return out_(at::addcmul(m[0], norm_(h), m[1] + 1));
}

at::Tensor RotaryTransformer::on_patches(const at::Tensor& x_NLP, const at::Tensor& places, const Told& told,
                                         const at::Tensor& mask) const {
  const at::Tensor embedding = embed_(told);
  return run_all(x_NLP, places, embedding.dim() == 2 ? embedding.unsqueeze(1) : embedding, told, {mask});
}

at::Tensor RotaryTransformer::operator()(const at::Tensor& x_NCTHW, const Told& told) const {
  const Grid3d grid = grid_of(x_NCTHW, options_.patch);
  const at::Tensor embedding_NTSD = embedding_in(grid, told, embed_);
  // One for all patches stays one; else each has its own.
  const at::Tensor embedding_NLD =
      told.noise.dim() == 1 ? embedding_NTSD.flatten(1, 2)
                            : embedding_NTSD.expand({-1, grid.times, grid.rows * grid.columns, -1}).flatten(1, 2);
  const Seen seen = options_.window > 0 ? windows_of(grid, options_.window, x_NCTHW.device()) : Seen{};
  const at::Tensor y_NLP =
      run_all(patchify_3d(x_NCTHW, options_.patch), places_3d(grid, x_NCTHW.device()), embedding_NLD, told, seen);
  return unpatchify_3d(y_NLP, grid, options_.patch);
}

namespace {

/// What each place of the rows is told: its sample's own. A text is all texts behind one another, of which each place
/// sees its sample's.
Told told_in_rows(const Told& told, const at::Tensor& owners_RL) {
  // Where nothing lies any sample's number does.
  const at::Tensor owner_RL = owners_RL.clamp_min(0);
  const auto of_each = [&](const at::Tensor& numbers_K) {
    if (!numbers_K.defined()) return at::Tensor();
    return numbers_K.index_select(0, owner_RL.flatten()).unflatten(0, owner_RL.sizes());
  };
  Told rows{of_each(told.noise), of_each(told.label), of_each(told.target), of_each(told.guidance)};
  rows.pooled = of_each(told.pooled);
  rows.numbers = of_each(told.numbers);
  if (!told.text.defined()) return rows;
  const std::int64_t samples = told.text.size(0), tokens = told.text.size(1), r = owner_RL.size(0);
  rows.text = told.text.flatten(0, 1).unsqueeze(0).expand({r, -1, -1});
  const at::Tensor of_token = at::arange(samples, owner_RL.options()).repeat_interleave(tokens);
  rows.text_mask = owner_RL.unsqueeze(2).eq(of_token);
  if (told.text_mask.defined()) rows.text_mask = rows.text_mask.logical_and(told.text_mask.to(at::kBool).flatten());
  return rows;
}

}  // namespace

std::vector<at::Tensor> RotaryTransformer::packed(const std::vector<at::Tensor>& samples, const Told& told,
                                                  std::int64_t row_length) const {
  if (samples.empty()) return {};
  std::vector<at::Tensor> patches, places;
  std::vector<Grid3d> grids;
  std::vector<std::int64_t> counts;
  std::int64_t total = 0;
  for (const at::Tensor& sample : samples) {
    const at::Tensor x = sample.unsqueeze(0);
    grids.push_back(grid_of(x, options_.patch));
    patches.push_back(patchify_3d(x, options_.patch)[0]);
    places.push_back(places_3d(grids.back(), x.device()));
    counts.push_back(grids.back().size());
    total += counts.back();
  }
  if (told.noise.dim() != 1 || told.noise.size(0) != static_cast<std::int64_t>(samples.size()))
    throw DataError(concat("network timestep: expected [", samples.size(), "], got ", told.noise.sizes(), "."));
  const Packing packing = pack(counts, row_length > 0 ? row_length : total);
  const c10::Device device = samples.front().device();
  const at::Tensor y_RLP = on_patches(packing.packed(patches), packing.packed(places),
                                      told_in_rows(told, packing.owners().to(device)), packing.mask().to(device));
  std::vector<at::Tensor> answers;
  const std::vector<at::Tensor> each = packing.unpacked(y_RLP);
  for (std::size_t k = 0; k < each.size(); ++k)
    answers.push_back(unpatchify_3d(each[k].unsqueeze(0), grids[k], options_.patch)[0]);
  return answers;
}

}  // namespace thaw::nn
