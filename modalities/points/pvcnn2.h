#pragma once
// The denoiser of PVD: ever fewer points, with convolutions on grids of cells at each number of them.
// N batch, C channels, D features, K points, M centres, R cells a side

#include <optional>
#include <vector>

#include "core/nn/layers.h"
#include "core/nn/told_embedding.h"
#include "modalities/points/neighbourhoods.h"
#include "modalities/points/voxel_networks.h"

namespace thaw::points {

struct Pvcnn2Options {
  std::int64_t in_channels = 3, out_channels = 3;
  double width = 1.0;       // of every layer, in those of PVD
  double resolution = 1.0;  // of every grid, likewise
  std::vector<double> radii{0.1, 0.2, 0.4, 0.8};
  bool attends = true;
  double dropout = 0.1;
  Choice choice = Choice::kByPlace;
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;

  static constexpr std::int64_t kEmbedding = 64;
  nn::ToldEmbeddingOptions told() const {
    return {kEmbedding, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
  bool is_told_more() const {
    return num_classes > 0 || takes_target || takes_guidance || !numbers.empty() || text_features > 0;
  }
};

/// Zhou et al. 2021 (PVD), PVCNN2 of their train_generation.py; Liu et al. 2019 (PVCNN++), Qi et al. 2017 (PointNet++).
/// Names and shapes of the weights are those of their checkpoints behind `model.module.`; what else is told than the
/// level lies under `told` and is added to the embedding of the level. As in their code: stages after the first have
/// one convolution block whatever number was asked for, the way back has no attention, and logits of attention are not
/// scaled. Other than there: the output starts at zero, derivatives by x go through cells and weights of interpolation
/// too, and a cloud of K points is taken to K/2, K/8, K/32 and K/128 (at least 1; theirs for K = 2048).
class Pvcnn2 {
 public:
  /// Throws ConfigError where there are not four radii.
  Pvcnn2(const Scope& scope, const Pvcnn2Options& options);
  /// x [N, C, K], its first three channels the coordinates; told [N].
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return options_.attends ? 2 : 0; }

 private:
  /// The same for every point or cell; `ones` are the dimensions of size 1 behind those of the published weight.
  struct Mix {
    at::Tensor weight, bias;
    Mix() = default;
    Mix(const Scope& scope, std::int64_t in, std::int64_t out, std::size_t ones, double gain = 1.0);
    at::Tensor operator()(const at::Tensor& x_NC) const;  // [N, C, ...]
  };
  struct Layers {
    std::vector<Mix> mixes;
    std::vector<nn::GroupNorm> norms;
    Layers() = default;
    Layers(const Scope& scope, std::int64_t in, const std::vector<std::int64_t>& widths, std::size_t ones);
    at::Tensor operator()(at::Tensor x_NC) const;
  };
  struct Attention {
    Mix q, k, v, out;
    nn::GroupNorm norm;
    std::int64_t layer;
    Attention(const Scope& scope, std::int64_t features, std::size_t ones, std::int64_t layer);
    at::Tensor operator()(const at::Tensor& x_ND) const;  // [N, D, ...]
  };
  struct ConvolutionOptions {
    std::int64_t in, out, side;
    bool attends;
    double dropout;
    std::uint64_t number;
  };
  /// Two convolutions among cells, and every point by itself beside them.
  struct Convolution {
    ConvolutionOptions options;
    Conv3d conv1, conv2;
    nn::GroupNorm norm1, norm2;
    std::optional<Attention> attention;
    nn::Linear squeeze, excite;
    Layers own;
    Convolution(const Scope& scope, const ConvolutionOptions& options);
    at::Tensor operator()(const at::Tensor& h_NDK, const at::Tensor& places_N3K) const;
  };
  struct Stage {
    std::vector<Convolution> convolutions;
    Layers layers;
    at::Tensor convolved(at::Tensor h_NDK, const at::Tensor& points_N3K) const;
  };

  void add_stages(const Scope& scope);
  void add_ways_back(const Scope& scope);
  /// Convolutions that are numbers `first` and on of the list `scope`; returns the features behind them.
  struct Row {
    std::size_t first;
    std::int64_t features, count, side;
    bool attends;
  };
  std::int64_t add_row(std::vector<Convolution>& all, const Scope& scope, std::int64_t in, const Row& row);
  std::int64_t widened(std::int64_t features) const;
  std::vector<std::int64_t> widened(std::vector<std::int64_t> widths) const;
  at::Tensor embedded(const nn::Told& told) const;

  Pvcnn2Options options_;
  std::uint64_t num_convolutions_ = 0;
  std::vector<std::int64_t> skipped_;  // features that a way back is given beside those it brings back
  std::int64_t features_ = 0;          // of the layer built last
  std::vector<Stage> stages_, ways_back_;
  std::optional<Attention> attention_;
  Layers last_;
  Mix out_;
  nn::Linear embed1_, embed2_;
  std::optional<nn::ToldEmbedding> told_;
};

}  // namespace thaw::points
