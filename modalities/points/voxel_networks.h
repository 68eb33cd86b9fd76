#pragma once
// Denoisers of clouds that work on a grid of cells around the noisy points. They do not depend on the order of the
// points. N batch, C channels, K points, D features, R cells a side

#include <vector>

#include "core/nn/layers.h"
#include "core/nn/space_time.h"
#include "core/nn/told_embedding.h"

namespace thaw::points {

struct VoxelOptions {
  std::int64_t in_channels = 3, out_channels = 3;
  std::int64_t side = 16;  // cells of the grid
  std::int64_t patch = 4;  // of VoxelTransformer: cells a side that are one token
  std::int64_t features = 128;
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  std::int64_t window = 0, window_every = 3;  // of VoxelTransformer: SpaceTimeOptions
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;

  nn::ToldEmbeddingOptions told() const {
    return {features, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// Cells with the mean of their points, patches of cells through a transformer, and back to the points: Mo et al. 2023
/// (DiT-3D). The transformer is that of clips (every patch attends to every other, rotary positions), where theirs has
/// absolute positions; the channels themselves are added to what comes back, so that points of one cell can part.
class VoxelTransformer {
 public:
  VoxelTransformer(const Scope& scope, const VoxelOptions& options);
  /// x [N, C, K], told [N].
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return options_.depth; }

 private:
  VoxelOptions options_;
  nn::ToldEmbedding embed_;
  nn::RotaryTransformer transformer_;
  nn::Linear point1_, modulate_, point2_, out_;
};

/// Convolution of 3 x 3 x 3 cells, as many behind it as before; gain 0 starts it at zero.
struct Conv3d {
  at::Tensor weight, bias;
  Conv3d(const Scope& scope, std::int64_t in, std::int64_t out, double gain = 1.0);
  at::Tensor operator()(const at::Tensor& x_NCRRR) const;
};

/// Blocks of two branches that add up: coarse neighbourhoods by convolutions on the grid, every point by itself. Liu et
/// al. 2019 (PVCNN), modulated by what is told; a maximum over the points gives each block the whole shape. PVD's (Zhou
/// et al. 2021) sampling of ever fewer points is not part of it: see Pvcnn2.
class PointVoxelNet {
 public:
  PointVoxelNet(const Scope& scope, const VoxelOptions& options);
  at::Tensor operator()(const at::Tensor& x_NCK, const nn::Told& told) const;
  std::int64_t attention_layers() const { return 0; }

 private:
  struct Block {
    nn::GroupNorm norm, grid_norm;
    nn::Linear modulate, point1, point2, whole;
    Conv3d conv1, conv2;
    Block(const Scope& scope, const VoxelOptions& options);
    at::Tensor operator()(const at::Tensor& h_NDK, const at::Tensor& embedding_ND, const at::Tensor& places_N3K,
                          std::int64_t side) const;
  };
  VoxelOptions options_;
  nn::ToldEmbedding embed_;
  nn::Linear in_, out_;
  nn::GroupNorm norm_;
  std::vector<Block> blocks_;
};

}  // namespace thaw::points
