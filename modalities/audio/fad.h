#pragma once
// How sounds are cut for the Frechet audio distance.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

struct FadWindows {
  std::int64_t window = 16000, hop = 8000;  // samples
  bool is_peak_normalised = false;          // each sound as a whole, before it is cut
  bool is_mono = true;                      // channels are mixed
};

/// float [N, C, T] to float32 [N, K, C or 1, window], K = (T - window) / hop + 1 windows that lie inside; a sound
/// shorter than the window is one, followed by silence.
at::Tensor sound_windows(const at::Tensor& raw_NCT, const FadWindows& how);

/// How a published evaluation cuts sounds for VGGish; covariances are divided by n - 1.
struct VggishProtocol {
  std::string name, source;
  std::string words;                                      // what it does
  std::function<at::Tensor(const at::Tensor&)> examples;  // float [N, C, T] at 16 kHz to [N, K, 96, 64]
};
const std::vector<VggishProtocol>& vggish_protocols();

}  // namespace thaw::audio
