#include "modalities/audio/vggish.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/text.h"
#include "core/checkpoint.h"
#include "modalities/audio/mel.h"

namespace thaw::audio {

namespace {

constexpr std::int64_t kWindow = 400, kHop = 160, kTransform = 512;
constexpr double kLowest_hz = 125.0, kHighest_hz = 7500.0, kOffset = 0.01;

// [F, B]; the first row, of no frequency, is zero.
at::Tensor triangles() {
  const std::int64_t frequencies = kTransform / 2 + 1;
  const double low = mel_of(kLowest_hz, MelScale::kHtk), high = mel_of(kHighest_hz, MelScale::kHtk);
  const at::Tensor weights = at::zeros({frequencies, kVggishBands}, at::kDouble);
  auto at_FB = weights.accessor<double, 2>();
  const double step = (high - low) / static_cast<double>(kVggishBands + 1);
  for (std::int64_t f = 1; f < frequencies; ++f) {
    const double hz = static_cast<double>(kVggishRate_hz) * static_cast<double>(f) / static_cast<double>(kTransform);
    const double place = (mel_of(hz, MelScale::kHtk) - low) / step;
    for (std::int64_t b = 0; b < kVggishBands; ++b) {
      const auto left = static_cast<double>(b);
      at_FB[f][b] = std::max(0.0, std::min(place - left, left + 2.0 - place));
    }
  }
  return weights;
}

}  // namespace

at::Tensor vggish_frames(const at::Tensor& sound_NT) {
  const at::Tensor frames = sound_NT.unfold(1, kWindow, kHop) * at::hann_window(kWindow, sound_NT.options());
  const at::Tensor magnitudes = at::fft_rfft(frames, kTransform).abs();
  return (at::matmul(magnitudes, triangles().to(sound_NT.options())) + kOffset).log();
}

Vggish::Layer Vggish::layer(const char* part, std::int64_t number, std::vector<std::int64_t> shape) {
  const Scope scope = Scope(parameters_) / part / static_cast<std::size_t>(number);
  const std::int64_t out = shape[0];
  return {scope.add("weight", std::move(shape), Init::zeros()), scope.add("bias", {out}, Init::zeros())};
}

Vggish::Vggish(std::int64_t divisor) : parameters_(0) {
  struct Convolution {
    std::int64_t number, out;
  };
  std::int64_t in = 1;
  for (const auto& [number, out] : {Convolution{0, 64}, {3, 128}, {6, 256}, {8, 256}, {11, 512}, {13, 512}}) {
    convolutions_.push_back(layer("features", number, {out / divisor, in, 3, 3}));
    in = out / divisor;
  }
  in *= kVggishFrames / 16 * kVggishBands / 16;
  for (const auto& [number, out] : {Convolution{0, 4096}, {2, 4096}, {4, 128}}) {
    embeddings_.push_back(layer("embeddings", number, {out / divisor, in}));
    in = out / divisor;
  }
}

at::Tensor Vggish::embedded(const at::Tensor& frames_NKB, bool has_activation) const {
  const c10::NoGradGuard no_grad;
  constexpr std::array<bool, 6> kIsPooled{true, true, false, true, false, true};
  at::Tensor x = frames_NKB.unsqueeze(1);
  for (std::size_t i = 0; i < convolutions_.size(); ++i) {
    x = at::relu(at::conv2d(x, convolutions_[i].weight, convolutions_[i].bias, {1, 1}, {1, 1}));
    if (kIsPooled[i]) x = at::max_pool2d(x, {2, 2}, {2, 2});
  }
  x = x.permute({0, 2, 3, 1}).flatten(1);  // channels last, as TensorFlow's weights expect it
  for (std::size_t i = 0; i < embeddings_.size(); ++i) {
    x = at::linear(x, embeddings_[i].weight, embeddings_[i].bias);
    if (i + 1 < embeddings_.size() || has_activation) x = at::relu(x);
  }
  return x;
}

std::shared_ptr<const Vggish> open_vggish(const std::filesystem::path& path, std::int64_t divisor) {
  auto network = std::make_shared<Vggish>(divisor);
  NamedTensors found = load_tensors(path).tensors;
  std::erase_if(found, [](const auto& one) { return one.first.starts_with("pproc."); });
  assign(network->parameters().all(), found, path.string());
  return network;
}

}  // namespace thaw::audio
