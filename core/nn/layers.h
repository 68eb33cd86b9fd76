#pragma once
// The layers that networks are made of, as value types over ATen functions.
// N batch, C channels, H height, W width, L tokens, D features

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"

namespace thaw::nn {

/// y = x W^T + b over the last dimension.
struct Linear {
  at::Tensor weight, bias;
  Linear() = default;
  Linear(const Scope& scope, std::int64_t in, std::int64_t out, double gain = 1.0, bool has_bias = true);
  at::Tensor operator()(const at::Tensor& x) const;
};

/// 2-D convolution, NCHW; gain 0 starts it at zero.
struct Conv2d {
  at::Tensor weight, bias;
  std::int64_t stride = 1, padding = 0;
  Conv2d() = default;
  Conv2d(const Scope& scope, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
         double gain = 1.0, std::optional<std::int64_t> padding = std::nullopt);
  at::Tensor operator()(const at::Tensor& x_NCHW) const;
};

/// Wu and He 2018.
struct GroupNorm {
  at::Tensor weight, bias;
  std::int64_t groups = 32;
  double epsilon = 1e-5;
  GroupNorm() = default;
  GroupNorm(const Scope& scope, std::int64_t channels, std::int64_t groups, double epsilon = 1e-5);
  at::Tensor operator()(const at::Tensor& x_NC) const;
};

/// Over the last dimension, with or without weights.
struct LayerNorm {
  at::Tensor weight, bias;
  std::int64_t features = 0;
  double epsilon = 1e-6;
  LayerNorm() = default;
  LayerNorm(const Scope& scope, std::int64_t features, bool has_weights, double epsilon = 1e-6);
  at::Tensor operator()(const at::Tensor& x) const;
};

/// Zhang and Sennrich 2019, over the last dimension; squares are summed in float32 (float64 for float64).
struct RmsNorm {
  at::Tensor weight;
  double epsilon = 1e-6;
  RmsNorm() = default;
  RmsNorm(const Scope& scope, std::int64_t features, double epsilon = 1e-6);
  at::Tensor operator()(const at::Tensor& x) const;
};

/// A table looked up by index.
struct Embedding {
  at::Tensor weight;
  Embedding() = default;
  Embedding(const Scope& scope, std::int64_t count, std::int64_t features, double deviation);
  at::Tensor operator()(const at::Tensor& index_N) const;
};

/// Options of the sinusoidal embedding, for the conventions of published networks.
struct Sinusoid {
  std::int64_t features = 0;
  double max_period = 10000.0;
  bool cosine_first = false;
  double frequency_shift = 0.0;  // subtracted from the number of frequencies in the exponent's divisor
};

/// Vaswani et al. 2017 as Ho et al. 2020 use it: t_N float -> [N, features], in float32 (float64 for float64).
at::Tensor sinusoidal_embedding(const at::Tensor& t_N, const Sinusoid& options);

/// A further number a network is told, as an embedding of its own that starts at zero: a network that learns to read it
/// starts as one that does not.
struct NumberEmbedding {
  Linear embed1, embed2;
  std::int64_t features = 0;
  NumberEmbedding() = default;
  NumberEmbedding(const Scope& scope, std::int64_t features, std::int64_t embedding);
  at::Tensor operator()(const at::Tensor& number_N) const;  // [N, embedding]
};

/// Numbers of any meaning, each by name with an embedding of its own, told to a hundredth. A NaN adds nothing.
struct NumberEmbeddings {
  std::vector<NumberEmbedding> embeddings{};
  NumberEmbeddings() = default;
  NumberEmbeddings(const Scope& scope, const std::vector<std::string>& names, std::int64_t features,
                   std::int64_t embedding);
  bool is_empty() const { return embeddings.empty(); }
  at::Tensor operator()(const at::Tensor& numbers_NK) const;  // [N, embedding]
};

/// What a network is told beside its input, [N] each; noise and target [N, K] where parts of a sample have their own.
struct Told {
  at::Tensor noise;        // in [0, 1000]
  at::Tensor label{};      // int64, or undefined
  at::Tensor target{};     // where a flow map goes, in the numbers of `noise`
  at::Tensor guidance{};   // scale; 1 for none
  at::Tensor text{};       // [N, L, D] of a text encoder
  at::Tensor text_mask{};  // [N, L], 1 where a token stands, or [N, M, L] for each of M states; undefined: everywhere
  at::Tensor pooled{};     // [N, D]
  at::Tensor numbers{};    // [N, K] further ones, NaN where a sample is not told
};

/// [N, L, heads D] -> [N, heads, L, D], and back.
at::Tensor split_heads(const at::Tensor& x_NLD, std::int64_t heads);
at::Tensor merge_heads(const at::Tensor& x_NhLD);
/// Scaled dot-product attention, [N, heads, L, D] each. mask broadcasts to [N, heads, L, L]: bool keeps where it is
/// true, numbers are added to the logits; undefined: none.
at::Tensor attention(const at::Tensor& q_NhLD, const at::Tensor& k_NhLD, const at::Tensor& v_NhLD,
                     const at::Tensor& mask = {});

/// Attention of states to a text, residual, zero at the start. Rombach et al. 2022 (LDM), section 3.3.
struct TextAttention {
  LayerNorm norm;
  Linear query, key_value, project;
  std::int64_t heads = 1;
  TextAttention(const Scope& scope, std::int64_t features, std::int64_t text_features, std::int64_t heads);
  /// Throws DataError where no text is told, or one of another width.
  at::Tensor operator()(const at::Tensor& x_NLD, const Told& told) const;
};

/// The largest divisor of `channels` that is at most `wanted`: groups of a norm for any width.
std::int64_t norm_groups(std::int64_t channels, std::int64_t wanted = 32);

/// Dropout with a mask that is a pure function of (seed, sample, layer): no generator state. Identity when p = 0 or no
/// training pass is active.
at::Tensor dropout(const at::Tensor& x, double p, std::uint64_t layer);

/// Marks a training pass for `dropout`; nothing else depends on it.
class TrainingPass {
 public:
  TrainingPass(std::uint64_t seed, std::uint64_t first_sample);
  ~TrainingPass();
  TrainingPass(const TrainingPass&) = delete;
  TrainingPass& operator=(const TrainingPass&) = delete;
};

/// No dropout within a training pass: teachers.
class EvaluationPass {
 public:
  EvaluationPass();
  ~EvaluationPass();
  EvaluationPass(const EvaluationPass&) = delete;
  EvaluationPass& operator=(const EvaluationPass&) = delete;

 private:
  bool was_active_;
};

}  // namespace thaw::nn
