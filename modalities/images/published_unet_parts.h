#pragma once
// The half of UNet2DConditionModel that ControlNetModel shares: options, embeddings, the way down and the middle.

#include <optional>
#include <string>
#include <vector>

#include "core/condition.h"
#include "modalities/images/published_attention.h"
#include "modalities/images/published_blocks.h"
#include "modalities/images/published_parts.h"

namespace thaw::image {

struct ConditionUNetOptions {
  std::int64_t in_channels, out_channels = 0;
  bool is_centred = false;
  nn::Sinusoid time;
  std::int64_t embedding;
  std::int64_t time_condition = 0;  // width of condition "time_features"; 0: none
  Activation time_out = nullptr, embedding_out = nullptr, class_activation = nullptr;  // nullptr: none
  std::string class_type;  // null, timestep, identity, projection, simple_projection
  std::int64_t num_classes = 0, class_features = 0;
  bool has_text_time = false;  // SDXL: pooled text and sizes
  std::int64_t size_features = 0, pooled_and_size_features = 0;
  std::int64_t text_projection = 0;  // width before it; 0: none
  std::vector<std::int64_t> widths, heads, text_features, layers;
  std::vector<bool> attends_down, attends_up, attends_to_text_only;
  std::vector<std::vector<std::int64_t>> depths_down, depths_up;  // transformer layers; one number stands for all
  enum class Middle { kNone, kResnet, kAttending } middle;
  std::int64_t in_kernel = 3, out_kernel = 3;
  std::int64_t downsample_padding;
  double middle_scale;
  Activation activation;
  std::int64_t groups;
  double epsilon;
  bool scales_and_shifts, has_linear_projection, is_upcast;

  ResnetOptions resnet(double out_scale = 1.0) const {
    return {embedding, groups, epsilon, activation, scales_and_shifts, out_scale};
  }
  SpatialTransformerOptions transformer(std::size_t level, std::int64_t depth) const {
    return {widths[level], heads[level], text_features[level], groups, depth, has_linear_projection, false, is_upcast};
  }
};

/// What both classes read; the caller reads its own keys and refuses the rest.
ConditionUNetOptions read_condition_unet(PublishedConfig& config);
/// up_block_types and what else describes the way up alone.
void read_condition_unet_up(PublishedConfig& config, ConditionUNetOptions& options);

/// nullptr where the value is null.
Activation activation_or_null(PublishedConfig& config, const std::string& key);

/// Of a transformer depth list: one number stands for all layers of a level.
std::int64_t depth_of(const std::vector<std::int64_t>& depths, std::int64_t layer);

struct UNetLevel {
  std::vector<Resnet> resnets;
  std::vector<SpatialTransformer> transformers;  // one a resnet, or none
  std::optional<nn::Conv2d> resample;
};

/// Time, class and size embeddings, as one vector a sample.
class UNetEmbeddings {
 public:
  UNetEmbeddings() = default;
  UNetEmbeddings(PublishedWeights& weights, const ConditionUNetOptions& options);
  /// [N, D]. Reads "label", "pooled", "time_ids", "time_features" of the condition. Throws DataError.
  at::Tensor operator()(const at::Tensor& noise_N, const Condition& condition) const;

 private:
  at::Tensor classes(const at::Tensor& noise_N, const Condition& condition) const;
  at::Tensor sizes(const at::Tensor& noise_N, const Condition& condition) const;

  ConditionUNetOptions options_;
  PublishedTimeEmbedding time_, class_mlp_, sizes_;
  nn::Linear time_condition_, class_linear_;
  nn::Embedding class_table_;
};

/// The way down and the middle.
class UNetEncoder {
 public:
  UNetEncoder() = default;
  UNetEncoder(PublishedWeights& weights, const ConditionUNetOptions& options);
  /// h after conv_in; appends to skips. Returns the activation below.
  at::Tensor down(at::Tensor h, const at::Tensor& embedding_ND, const AttentionContext& context,
                  std::vector<at::Tensor>& skips) const;
  at::Tensor middle(at::Tensor h, const at::Tensor& embedding_ND, const AttentionContext& context) const;

 private:
  std::vector<UNetLevel> levels_;
  UNetLevel middle_;
};

/// Text and its mask out of a condition, projected where the network does. Throws DataError.
AttentionContext text_context(const Condition& condition, std::int64_t batch, std::int64_t features,
                              const nn::Linear& projection);

}  // namespace thaw::image
