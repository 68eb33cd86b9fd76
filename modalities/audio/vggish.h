#pragma once
// The network whose features published Frechet audio distances compare.
// N sounds, T samples, K frames, B bands, E embedding

#include <cstdint>
#include <filesystem>
#include <memory>

#include <ATen/core/Tensor.h>

#include "core/nn/parameters.h"

namespace thaw::audio {

constexpr std::int64_t kVggishRate_hz = 16000;
constexpr std::int64_t kVggishFrames = 96, kVggishBands = 64;  // of what the network sees at a time: 0.96 s

/// float [N, T] at 16 kHz, T at least 400, to log mels [N, (T - 400) / 160 + 1, 64] in its type: magnitudes of frames
/// of 25 ms under a periodic Hann window, none beyond the ends, by triangles that are straight in mels (HTK's, 125 to
/// 7500 Hz); log(mel + 0.01). TensorFlow models, research/audioset/vggish, mel_features.py and vggish_params.py.
at::Tensor vggish_frames(const at::Tensor& sound_NT);

/// Hershey et al. 2017; weights are called as in the state_dict of torchvggish.
class Vggish {
 public:
  /// `divisor` of all widths but the bands'; the published network has 1, others are for tests.
  explicit Vggish(std::int64_t divisor = 1);

  /// [N, 96, 64] to [N, 128]. With `has_activation` behind a last ReLU, as the first release had it; the later one and
  /// users of the PyTorch port take it off.
  at::Tensor embedded(const at::Tensor& frames_NKB, bool has_activation) const;
  const Parameters& parameters() const { return parameters_; }

 private:
  struct Layer {
    at::Tensor weight, bias;
  };
  Layer layer(const char* part, std::int64_t number, std::vector<std::int64_t> shape);

  Parameters parameters_;
  std::vector<Layer> convolutions_, embeddings_;
};

/// The published network from a .safetensors file (tests/peers/convert_pickle.py). Throws DataError where it is another
/// file; the parameters of the whitening that may stand beside it are not used.
std::shared_ptr<const Vggish> open_vggish(const std::filesystem::path& path, std::int64_t divisor = 1);

}  // namespace thaw::audio
