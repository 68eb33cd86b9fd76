#pragma once
// Transformers over patches of samples with three dimensions: time, height and width.
// N batch, C channels, T times, S patches of one time, L patches of all, P numbers of a patch, D features, h heads

#include <optional>
#include <vector>

#include "core/nn/layers.h"
#include "core/nn/packing.h"
#include "core/nn/patches.h"
#include "core/nn/rotary.h"
#include "core/nn/told_embedding.h"

namespace thaw::nn {

struct SpaceTimeOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  Patch3d patch{1, 2, 2};
  std::int64_t features = 128;
  std::int64_t depth = 6;
  std::int64_t heads = 4;
  double mlp_ratio = 4.0;
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;      // width of a text that is attended to; 0: none
  std::int64_t window = 0;             // RotaryTransformer: patches a side that attend to each other; 0: all to all
  std::int64_t window_every = 1;       // of blocks, from the first on, attend within windows; the others to all
  std::vector<std::int64_t> rotary{};  // features of a head that time, rows and columns turn; none: rotary_axes_3d

  std::int64_t inner() const { return static_cast<std::int64_t>(static_cast<double>(features) * mlp_ratio); }
  std::int64_t patch_numbers(std::int64_t channels) const { return channels * patch.size(); }
  ToldEmbeddingOptions told() const {
    return {features, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// What the patches of a grid are told: [N, 1 or T, 1 or S, D]. Throws DataError where told.noise is neither [N] nor
/// [N, t] nor [N, t, h, w] with the grid's numbers or ones.
at::Tensor embedding_in(const Grid3d& grid, const Told& told, const ToldEmbedding& embed);

/// Factorised: blocks in turn within each time and along time at each place, adaLN-Zero. Ma et al. 2024 (Latte),
/// variant 1. Positions are sines and cosines of the coordinates: any number of times and any size that patches tile.
class FactorisedTransformer {
 public:
  /// Throws ConfigError when heads do not divide the features, or they are no multiple of 4.
  FactorisedTransformer(const Scope& scope, const SpaceTimeOptions& options);
  /// x [N, C, T, H, W]; told.noise [N], [N, t], or [N, t, h, w] with the numbers of patches or ones: levels of parts
  /// of a sample.
  at::Tensor operator()(const at::Tensor& x_NCTHW, const Told& told) const;
  std::int64_t attention_layers() const { return options_.depth; }
  /// A level for each time: where a patch is one of them.
  bool takes_parts() const { return options_.patch.times == 1; }

 private:
  struct Block {
    LayerNorm norm;
    Linear qkv, project, mlp1, mlp2, modulate;
    std::int64_t heads, layer;
    bool is_temporal;
    std::optional<TextAttention> text{};
    Block(const Scope& scope, const SpaceTimeOptions& options, std::int64_t layer);
    at::Tensor attend(const at::Tensor& x_NTSD, bool is_identity) const;
    at::Tensor operator()(const at::Tensor& x_NTSD, const at::Tensor& embedding_NTSD, const Told& told) const;
  };

  SpaceTimeOptions options_;
  ToldEmbedding embed_;
  Linear patch_, modulate_, out_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

/// Every patch attends to every other; rotary positions in three dimensions, queries and keys under an RMS norm across
/// heads, one modulation for all blocks beside a table of each. Wan Team 2025; HaCohen et al. 2024 (LTX-Video).
class RotaryTransformer {
 public:
  /// What a patch attends to beside what the mask leaves.
  struct Seen {
    at::Tensor mask{};          // as of attention; undefined: all
    at::Tensor windows_WS{};    // int64, the patches that each window holds; undefined: one window
    at::Tensor from_windows{};  // int64 [L], the way back
  };
  /// Throws ConfigError when heads do not divide the features into even widths.
  RotaryTransformer(const Scope& scope, const SpaceTimeOptions& options);
  /// As FactorisedTransformer. Throws ConfigError where windows do not tile the patches.
  at::Tensor operator()(const at::Tensor& x_NCTHW, const Told& told) const;

  /// Patches anywhere: x [N, L, P], places [L, 3] or [N, L, 3], told numbers [N] or [N, L], mask as of attention. A
  /// text mask may be [N, L, T].
  at::Tensor on_patches(const at::Tensor& x_NLP, const at::Tensor& places, const Told& told,
                        const at::Tensor& mask = {}) const;

  /// Samples [C, T, H, W] of different sizes in one pass, laid behind one another in rows of at most `row_length`
  /// patches (0: one row); what each is told is a row of `told`, as in a batch. None sees another: the answers are
  /// those each would have alone. Dehghani et al. 2023 (NaViT). Throws DataError for a sample that fits no row.
  std::vector<at::Tensor> packed(const std::vector<at::Tensor>& samples, const Told& told,
                                 std::int64_t row_length = 0) const;
  std::int64_t attention_layers() const { return options_.depth; }
  /// A level for each time: where a patch is one of them.
  bool takes_parts() const { return options_.patch.times == 1; }

 private:
  struct Block {
    LayerNorm norm;
    Linear qkv, project, mlp1, mlp2;
    RmsNorm query_norm, key_norm;
    at::Tensor table_6D;
    std::int64_t heads, layer;
    std::optional<TextAttention> text{};
    Block(const Scope& scope, const SpaceTimeOptions& options, std::int64_t layer);
    at::Tensor attend(const at::Tensor& x_NLD, const Rotation& rotation, const Seen& seen, bool is_identity) const;
  };
  at::Tensor run(const Block& block, const at::Tensor& x_NLD, const at::Tensor& modulation_NL6D, const Told& told,
                 const Rotation& rotation, const Seen& seen) const;
  /// embedding [N, 1 or L, D]
  at::Tensor run_all(const at::Tensor& x_NLP, const at::Tensor& places, const at::Tensor& embedding_NLD,
                     const Told& told, const Seen& seen) const;

  SpaceTimeOptions options_;
  ToldEmbedding embed_;
  Linear patch_, modulate_, modulate_out_, out_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

}  // namespace thaw::nn
