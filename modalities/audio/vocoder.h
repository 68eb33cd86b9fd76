#pragma once
// DiffWave that is told the mel spectrogram of the sound it draws. Kong et al. 2021, section 3.2.
// N batch, C channels, T samples, M mels, K frames

#include "core/backbone.h"
#include "core/nn/diffwave.h"
#include "core/told_of_sample.h"
#include "modalities/audio/mel.h"

namespace thaw::audio {

class Vocoder : public Backbone, public ToldOfSample {
 public:
  /// options.local is set here.
  Vocoder(nn::DiffWaveOptions options, const MelOptions& mel, std::uint64_t seed);

  /// condition["mel"] [N, C M, T / hop + 1]. Throws DataError where it is absent or of another shape.
  at::Tensor forward(const at::Tensor& x_NCT, const at::Tensor& noise, const Condition& condition) const override;
  const Parameters& parameters() const override { return parameters_; }
  bool takes_target() const override { return options_.takes_target; }
  bool takes_guidance() const override { return options_.takes_guidance; }
  bool takes_parts() const override { return true; }

  std::string told_name() const override { return "mel"; }
  /// Of sounds at the scale of the mel spectrogram's, so a waveform's gain is 1.
  at::Tensor told_of(const at::Tensor& x0_NCT) const override;

 private:
  nn::DiffWaveOptions options_;
  MelTransform mel_;
  Parameters parameters_;
  nn::DiffWave network_;
};

}  // namespace thaw::audio
