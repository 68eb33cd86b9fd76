#include "modalities/audio/vocoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/told_backbone.h"

namespace thaw::audio {

namespace {

nn::DiffWaveOptions with_local(nn::DiffWaveOptions options, const MelOptions& mel) {
  options.local = options.in_channels * mel.mels;
  return options;
}

}  // namespace

Vocoder::Vocoder(nn::DiffWaveOptions options, const MelOptions& mel, std::uint64_t seed)
    : options_(with_local(options, mel)), mel_(mel), parameters_(seed), network_(Scope(parameters_), options_) {}

at::Tensor Vocoder::told_of(const at::Tensor& x0_NCT) const {
  const c10::NoGradGuard no_grad;
  const at::Tensor mel_MK = mel_.forward(x0_NCT.detach().to(at::kCPU, at::kFloat).flatten(0, 1));
  return mel_MK.reshape({x0_NCT.size(0), options_.local, mel_MK.size(2)}).to(x0_NCT.device());
}

at::Tensor Vocoder::forward(const at::Tensor& x_NCT, const at::Tensor& noise, const Condition& condition) const {
  const std::int64_t hop = mel_.options().stft.hop, samples = x_NCT.size(2), frames = samples / hop + 1;
  const auto found = condition.find("mel");
  if (found == condition.end() || !found->second.defined())
    throw ConfigError(
        "backbone.told_of_sample: this network gives sounds to mel spectrograms and was told none. Name it behind a "
        "network that draws sounds: thaw sample BASE cascade=THIS.");
  const at::Tensor& mel_NMK = found->second;
  const std::vector<std::int64_t> expected{x_NCT.size(0), options_.local, frames};
  if (mel_NMK.sizes() != at::IntArrayRef(expected))
    throw DataError(
        concat("network condition \"mel\": expected ", at::IntArrayRef(expected), ", got ", mel_NMK.sizes(), "."));
  // Frame k is centred at sample k hop; between frames by lines.
  const at::Tensor local_NMT = at::upsample_linear1d(mel_NMK, {(frames - 1) * hop + 1}, true).narrow(2, 0, samples);
  return network_(x_NCT, text::told_of(noise, condition), local_NMT.to(x_NCT.scalar_type()));
}

}  // namespace thaw::audio
