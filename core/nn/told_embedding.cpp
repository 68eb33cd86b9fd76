#include "core/nn/told_embedding.h"

#include <ATen/ATen.h>

namespace thaw::nn {

namespace {

constexpr std::int64_t kNumberFeatures = 256;

/// [N, ...] with ones up to `dimensions`, before the last `kept` ones.
at::Tensor aligned(const at::Tensor& x, std::int64_t dimensions, std::int64_t kept = 0) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  while (static_cast<std::int64_t>(shape.size()) < dimensions) shape.insert(shape.end() - kept, 1);
  return x.reshape(shape);
}

/// `embed`, which takes [M], of numbers of any shape.
template <class Embed>
at::Tensor of_each(const Embed& embed, const at::Tensor& numbers) {
  const at::Tensor embedding_MD = embed(numbers.flatten());
  std::vector<std::int64_t> shape = numbers.sizes().vec();
  shape.push_back(embedding_MD.size(1));
  return embedding_MD.reshape(shape);
}

}  // namespace

ToldEmbedding::ToldEmbedding(const Scope& scope, const ToldEmbeddingOptions& options)
    : options_(options),
      embed1_(scope / "embed1", kNumberFeatures, options.features),
      embed2_(scope / "embed2", options.features, options.features) {
  const std::int64_t d = options_.features;
  if (options_.num_classes > 0) label_ = Embedding(scope / "label", options_.num_classes + 1, d, 0.02);
  if (options_.takes_target) target_ = NumberEmbedding(scope / "target", kNumberFeatures, d);
  if (options_.takes_guidance) guidance_ = NumberEmbedding(scope / "guidance", kNumberFeatures, d);
  numbers_ = NumberEmbeddings(scope / "numbers", options_.numbers, kNumberFeatures, d);
  if (options_.text_features > 0) text_ = Linear(scope / "text", options_.text_features, d);
}

at::Tensor ToldEmbedding::operator()(const Told& told) const {
  const std::int64_t dimensions = told.noise.dim();
  at::Tensor sum = of_each(
      [this](const at::Tensor& t_M) {
        return embed2_(at::silu(embed1_(sinusoidal_embedding(t_M, {kNumberFeatures, 10000.0, true}))));
      },
      told.noise);
  if (label_.weight.defined() && told.label.defined()) sum = sum + of_each(label_, aligned(told.label, dimensions));
  if (options_.takes_target) sum = sum + of_each(target_, told.noise - aligned(told.target, dimensions));
  if (options_.takes_guidance) sum = sum + of_each(guidance_, 100 * (aligned(told.guidance, dimensions) - 1));
  if (text_.weight.defined() && told.pooled.defined()) sum = sum + text_(aligned(told.pooled, dimensions + 1, 1));
  if (!numbers_.is_empty()) {
    std::vector<std::int64_t> shape = told.numbers.sizes().vec();
    shape.back() = options_.features;
    sum = sum + aligned(numbers_(told.numbers.flatten(0, -2)).reshape(shape), dimensions + 1, 1);
  }
  return at::silu(sum);
}

}  // namespace thaw::nn
