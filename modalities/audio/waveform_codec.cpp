// Sounds as they are: float32 [channels, T] in [-1, 1].

#include <ATen/ATen.h>

#include "modalities/audio/list.h"
#include "modalities/audio/sound_files.h"

namespace thaw::audio {

namespace {

class WaveformCodec : public Codec {
 public:
  explicit WaveformCodec(const Settings& settings)
      : rate_hz_(settings.integer("rate")), gain_(settings.number("gain")) {}
  at::Tensor encode(const at::Tensor& raw_NCT) const override { return raw_NCT.to(at::kFloat) * gain_; }
  at::Tensor decode(const at::Tensor& x_NCT) const override { return x_NCT.detach().to(at::kCPU, at::kFloat) / gain_; }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    expect_sound("waveform", raw_shape);
    return raw_shape;
  }
  std::string sheet_png(const at::Tensor& raw_NCT, std::int64_t columns) const override {
    return sheet_of_sounds(raw_NCT, columns);
  }
  std::vector<std::string> write_shown(const at::Tensor& raw_NCT, std::int64_t columns,
                                       const std::filesystem::path& folder, const std::string& stem) const override {
    return write_sounds_shown(raw_NCT, rate_hz_, columns, folder, stem);
  }
  void write(const at::Tensor& raw_NCT, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    write_sounds(raw_NCT, rate_hz_, folder, stem, first);
  }

 private:
  std::int64_t rate_hz_;
  double gain_;
};

}  // namespace

void register_waveform_codec(CodecRegistry& registry) {
  registry.add({{"waveform",
                 "Sounds as they are, times a gain; written as WAV.",
                 "",
                 {{.name = "rate",
                   .fallback = std::int64_t{16000},
                   .help = "samples a second of the data",
                   .minimum = 1000,
                   .maximum = 384000},
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
