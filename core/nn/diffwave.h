#pragma once
// DiffWave: a stack of gated dilated convolutions whose answers add up. Kong et al. 2021, section 3 and appendix A.
// N batch, C channels, T places, D features

#include <vector>

#include "core/nn/layers1d.h"
#include "core/nn/told_embedding.h"

namespace thaw::nn {

struct DiffWaveOptions {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t width = 64;       // channels of the stack
  std::int64_t depth = 30;       // layers
  std::int64_t cycle = 10;       // dilations 1, 2, 4 ... are repeated after so many layers
  std::int64_t embedding = 512;  // width of what is told
  std::int64_t num_classes = 0;
  bool takes_target = false, takes_guidance = false;
  std::vector<std::string> numbers{};  // of further ones that are told
  std::int64_t text_features = 0;      // width of the pooled text that is told; 0: none
  std::int64_t local = 0;              // channels of what is told of each place; 0: nothing

  ToldEmbeddingOptions told() const {
    return {embedding, num_classes, text_features, takes_target, takes_guidance, numbers};
  }
};

/// The input and what is told, through a dilated convolution and a gate; one half of the answer is residual, the other
/// goes to the sum of all layers. The noise level and the class are told by one vector, which the paper tells apart.
class DiffWave {
 public:
  DiffWave(const Scope& scope, const DiffWaveOptions& options);
  /// x [N, C, T]; told [N], the noise also [N, T]: levels of places; local [N, local, T] where there is any.
  at::Tensor operator()(const at::Tensor& x_NCT, const Told& told, const at::Tensor& local_NCT = {}) const;
  std::int64_t attention_layers() const { return 0; }
  bool takes_parts() const { return true; }
  /// How many places of the input an output sees.
  std::int64_t reach() const;

 private:
  struct Layer {
    Conv1d gated, out, local;
    Linear embed;
  };
  DiffWaveOptions options_;
  ToldEmbedding embed_;
  Conv1d in_, local_, skip_, out_;
  std::vector<Layer> layers_;
};

}  // namespace thaw::nn
