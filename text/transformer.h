#pragma once
// A small text network that trains along with a denoiser. Vaswani et al. 2017, with the norm before each part.
// N batch, L tokens, D features, h heads

#include <vector>

#include "core/nn/layers.h"
#include "text/tokens/words.h"

namespace thaw::text {

struct TextTransformerOptions {
  std::int64_t vocabulary = 4 + 256;  // WordTokenizer::size()
  std::int64_t length = 64;           // tokens of a row at most
  std::int64_t features = 128;
  std::int64_t depth = 2;
  std::int64_t heads = 4;
  double mlp_ratio = 4.0;
  double dropout = 0.0;
};

class TextTransformer {
 public:
  /// Throws ConfigError when heads do not divide the features.
  TextTransformer(const Scope& scope, const TextTransformerOptions& options);
  struct Output {
    at::Tensor text{};    // [N, L, D], zero where no token stands
    at::Tensor pooled{};  // [N, D], the mean over the tokens of a row
  };
  /// ids int64 [N, L], mask [N, L] with 1 where a token stands: what stands elsewhere changes nothing.
  Output operator()(const at::Tensor& ids_NL, const at::Tensor& mask_NL) const;

 private:
  struct Block {
    nn::LayerNorm norm1, norm2;
    nn::Linear qkv, project, mlp1, mlp2;
    Block(const Scope& scope, const TextTransformerOptions& options);
  };
  at::Tensor run(const Block& block, const at::Tensor& x_NLD, const at::Tensor& keep, std::uint64_t layer) const;

  TextTransformerOptions options_;
  nn::Embedding tokens_;
  at::Tensor positions_LD_;
  std::vector<Block> blocks_;
  nn::LayerNorm norm_;
};

}  // namespace thaw::text
