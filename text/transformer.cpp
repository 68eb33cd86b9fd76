#include "text/transformer.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/encoder.h"

namespace thaw::text {

namespace {

// Not the 0.02 of large language models: what the first attention adds, much the same for all tokens, is of size 0.1,
// and would drown which word stands where before anything is learned.
constexpr double kEmbeddingDeviation = 1.0;
constexpr std::uint64_t kDropoutLayers = 1 << 16;  // apart from the layers of the denoiser

std::int64_t inner_of(const TextTransformerOptions& options) {
  return static_cast<std::int64_t>(static_cast<double>(options.features) * options.mlp_ratio);
}

}  // namespace

TextTransformer::Block::Block(const Scope& scope, const TextTransformerOptions& options)
    : norm1(scope / "norm1", options.features, true),
      norm2(scope / "norm2", options.features, true),
      qkv(scope / "qkv", options.features, 3 * options.features),
      project(scope / "project", options.features, options.features),
      mlp1(scope / "mlp1", options.features, inner_of(options)),
      mlp2(scope / "mlp2", inner_of(options), options.features) {}

TextTransformer::TextTransformer(const Scope& scope, const TextTransformerOptions& options)
    : options_(options),
      tokens_(scope / "tokens", options.vocabulary, options.features, kEmbeddingDeviation),
      positions_LD_(scope.add("positions", {options.length, options.features}, Init::normal(kEmbeddingDeviation))),
      norm_(scope / "norm", options.features, true) {
  if (options_.features % options_.heads != 0)
    throw ConfigError(concat("text.features: must be a multiple of heads, got ", options_.features, " with ",
                             options_.heads, " heads."));
  for (std::int64_t i = 0; i < options_.depth; ++i)
    blocks_.emplace_back(scope / "blocks" / static_cast<std::size_t>(i), options_);
}

at::Tensor TextTransformer::run(const Block& block, const at::Tensor& x_NLD, const at::Tensor& keep,
                                std::uint64_t layer) const {
  const auto qkv = block.qkv(block.norm1(x_NLD)).chunk(3, 2);
  const at::Tensor mixed = block.project(attend(qkv[0], qkv[1], qkv[2], options_.heads, keep));
  const at::Tensor y_NLD = x_NLD + nn::dropout(mixed, options_.dropout, kDropoutLayers + 2 * layer);
  const at::Tensor inner = block.mlp2(at::gelu(block.mlp1(block.norm2(y_NLD)), "tanh"));
  return y_NLD + nn::dropout(inner, options_.dropout, kDropoutLayers + 2 * layer + 1);
}

TextTransformer::Output TextTransformer::operator()(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const {
  if (ids_NL.dim() != 2 || ids_NL.size(1) < 1 || ids_NL.size(1) > options_.length || mask_NL.sizes() != ids_NL.sizes())
    throw DataError(concat("text: expected ids and mask [N, L] of at most ", options_.length, " tokens, got ",
                           ids_NL.sizes(), " and ", mask_NL.sizes(), "."));
  const at::Tensor is_token_NL = mask_NL.to(at::kBool);
  const at::Tensor keep = is_token_NL.unsqueeze(1).unsqueeze(1);
  at::Tensor x_NLD = tokens_(ids_NL) + positions_LD_.slice(0, 0, ids_NL.size(1));
  for (std::size_t i = 0; i < blocks_.size(); ++i) x_NLD = run(blocks_[i], x_NLD, keep, i);
  const at::Tensor weight_NL1 = is_token_NL.to(x_NLD.scalar_type()).unsqueeze(-1);
  Output out;
  out.text = norm_(x_NLD) * weight_NL1;
  out.pooled = out.text.sum(1) / weight_NL1.sum(1).clamp_min(1.0);
  return out;
}

}  // namespace thaw::text
