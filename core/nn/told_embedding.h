#pragma once
// What a network is told, as a vector that modulates its blocks. N batch, D features

#include "core/nn/layers.h"

namespace thaw::nn {

struct ToldEmbeddingOptions {
  std::int64_t features = 0, num_classes = 0, text_features = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};
};

/// The sum of the embeddings of noise level, label, target, scale of guidance, pooled text and further numbers, through
/// SiLU.
class ToldEmbedding {
 public:
  ToldEmbedding() = default;
  ToldEmbedding(const Scope& scope, const ToldEmbeddingOptions& options);
  /// Each number is [N], or [N, ...] one for each part of a sample; the parts are those of the noise level, or one.
  /// Returns [N, ..., D] with the noise level's parts.
  at::Tensor operator()(const Told& told) const;

 private:
  ToldEmbeddingOptions options_;
  Linear embed1_, embed2_, text_;
  Embedding label_;
  NumberEmbedding target_, guidance_;
  NumberEmbeddings numbers_;
};

}  // namespace thaw::nn
