// Sounds as they are: float32 [channels, T] in [-1, 1].

#include <ATen/ATen.h>

#include "modalities/audio/list.h"
#include "modalities/audio/sound_codec.h"
#include "modalities/audio/sound_files.h"

namespace thaw::audio {

namespace {

class WaveformCodec : public SoundCodec {
 public:
  explicit WaveformCodec(const Settings& settings)
      : SoundCodec(settings.integer("rate"), settings), gain_(settings.number("gain")) {}
  at::Tensor encode(const at::Tensor& raw_NCT) const override { return raw_NCT.to(at::kFloat) * gain_; }
  at::Tensor decode(const at::Tensor& x_NCT) const override { return x_NCT.detach().to(at::kCPU, at::kFloat) / gain_; }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    expect_sound("waveform", raw_shape);
    return raw_shape;
  }

 private:
  double gain_;
};

}  // namespace

void register_waveform_codec(CodecRegistry& registry) {
  registry.add({{"waveform",
                 "Sounds as they are, times a gain; written as WAV.",
                 "",
                 {rate_option(),
                  format_option(),
                  {.name = "gain",
                   .fallback = 1.0,
                   .help = "factor that brings the data to about unit variance",
                   .minimum = 1e-3,
                   .maximum = 1e3}},
                 {}},
                [](const Settings& settings, const CodecParts&) -> CodecPtr {
                  return std::make_shared<WaveformCodec>(settings);
                }});
}

}  // namespace thaw::audio
