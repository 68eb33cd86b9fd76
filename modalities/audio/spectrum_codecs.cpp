// Sounds as pictures of their spectra: complex short-time Fourier transforms and MDCT, both with a way back that needs
// no guess.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/audio/list.h"
#include "modalities/audio/mdct.h"
#include "modalities/audio/sound_codec.h"
#include "modalities/audio/sound_files.h"
#include "modalities/audio/stft.h"

namespace thaw::audio {

namespace {

/// [channels, T] as [channels * parts, T / hop, F]. Loud and soft come closer by a power of the magnitude.
class SpectrumCodec : public SoundCodec {
 public:
  SpectrumCodec(const Settings& settings, std::int64_t hop)
      : SoundCodec(settings.integer("rate"), settings),
        hop_(hop),
        exponent_(settings.number("compress")),
        gain_(settings.number("gain")) {}
  at::Tensor encode(const at::Tensor& raw_NCT) const override {
    const at::Tensor flat = raw_NCT.to(at::kFloat).flatten(0, 1);
    const at::Tensor x = compressed(forward(flat), exponent_) * gain_;
    return x.transpose(2, 3).reshape({raw_NCT.size(0), -1, x.size(3), x.size(2)}).contiguous();
  }
  at::Tensor decode(const at::Tensor& x_NCKF) const override {
    const at::Tensor x = x_NCKF.detach().to(at::kCPU, at::kFloat) / gain_;
    const at::Tensor sounds =
        inverse(compressed(x.reshape({-1, parts(), x.size(2), x.size(3)}).transpose(2, 3), 1.0 / exponent_));
    return sounds.reshape({x.size(0), -1, sounds.size(1)});
  }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    expect_sound(name(), raw_shape);
    expect_multiple(name(), raw_shape[1], hop_);
    if (raw_shape[1] < least_samples())
      throw DataError(
          concat("codec \"", name(), "\": ", raw_shape[1], " samples, at least ", least_samples(), " are needed."));
    return {raw_shape[0] * parts(), raw_shape[1] / hop_, frequencies()};
  }

 protected:
  std::int64_t hop() const { return hop_; }

 private:
  virtual const char* name() const = 0;
  virtual std::int64_t parts() const = 0;
  virtual std::int64_t frequencies() const = 0;
  virtual std::int64_t least_samples() const { return 1; }
  virtual at::Tensor forward(const at::Tensor& sound_NT) const = 0;  // [N, parts, F, K]
  virtual at::Tensor inverse(const at::Tensor& x_NPFK) const = 0;    // [N, T]
  // The magnitude over the parts is raised to the power, signs and phases stay.
  static at::Tensor compressed(const at::Tensor& x_NPFK, double exponent) {
    if (exponent == 1.0) return x_NPFK;
    const at::Tensor magnitude = x_NPFK.square().sum({1}, true).sqrt().clamp_min(1e-12);
    return x_NPFK * magnitude.pow(exponent - 1.0);
  }

  std::int64_t hop_;
  double exponent_, gain_;
};

class StftCodec : public SpectrumCodec {
 public:
  explicit StftCodec(const Settings& settings)
      : SpectrumCodec(settings, settings.integer("hop")),
        stft_{settings.integer("n_fft"), hop(), settings.integer("n_fft")} {
    if (stft_.n_fft % 2 != 0 || hop() > stft_.n_fft / 2) settings.fail("hop", "must be at most half of an even n_fft.");
  }

 private:
  const char* name() const override { return "stft"; }
  std::int64_t parts() const override { return 2; }
  std::int64_t frequencies() const override { return stft_.n_fft / 2; }
  std::int64_t least_samples() const override { return stft_.n_fft / 2 + 1; }  // ends are mirrored
  at::Tensor forward(const at::Tensor& sound_NT) const override {
    const at::Tensor all = at::view_as_real(stft_.forward(sound_NT)) * unit();
    // The frame behind the last sample and the highest frequency: the others overlap the one, sounds have none of the
    // other.
    return all.narrow(1, 0, frequencies()).narrow(2, 0, all.size(2) - 1).permute({0, 3, 1, 2});
  }
  at::Tensor inverse(const at::Tensor& x_NPFK) const override {
    const at::Tensor spectrum = at::constant_pad_nd(x_NPFK.permute({0, 2, 3, 1}) / unit(), {0, 0, 0, 0, 0, 1});
    return stft_.inverse(at::view_as_complex(spectrum.contiguous()), x_NPFK.size(3) * hop());
  }
  // A full-scale sine in the middle of a frequency has magnitude 1.
  double unit() const { return 4.0 / static_cast<double>(stft_.window); }

  Stft stft_;
};

class MdctCodec : public SpectrumCodec {
 public:
  explicit MdctCodec(const Settings& settings)
      : SpectrumCodec(settings, settings.integer("frequencies")), mdct_(hop()) {
    if (hop() % 2 != 0) settings.fail("frequencies", concat(hop(), " is odd; even numbers are allowed."));
  }

 private:
  const char* name() const override { return "mdct"; }
  std::int64_t parts() const override { return 1; }
  std::int64_t frequencies() const override { return hop(); }
  at::Tensor forward(const at::Tensor& sound_NT) const override { return mdct_.forward(sound_NT).unsqueeze(1); }
  at::Tensor inverse(const at::Tensor& x_NPFK) const override { return mdct_.inverse(x_NPFK.squeeze(1)); }

  Mdct mdct_;
};

Option compress_option() {
  return {.name = "compress",
          .fallback = 0.5,
          .help = "power that magnitudes are raised to, so that soft and loud are of one order",
          .minimum = 0.1,
          .maximum = 1.0};
}

Option gain_option() {
  return {.name = "gain",
          .fallback = 1.0,
          .help = "factor behind it, which brings the data to about unit variance",
          .minimum = 1e-3,
          .maximum = 1e3};
}

}  // namespace

void register_spectrum_codecs(CodecRegistry& registry) {
  registry.add(
      {{"stft",
        "Complex spectra over time, real and imaginary parts as channels; the way back is exact but for the highest "
        "frequency.",
        "",
        {rate_option(),
         format_option(),
         {"n_fft", std::int64_t{256}, "samples a frame, also the length of the Hann window", 4, 65536},
         {"hop", std::int64_t{64}, "samples from frame to frame", 1, 65536},
         compress_option(),
         gain_option()},
        {}},
       [](const Settings& settings, const CodecParts&) -> CodecPtr { return std::make_shared<StftCodec>(settings); }});
  registry.add(
      {{"mdct",
        "The modified discrete cosine transform: as many numbers as samples, the way back is exact.",
        "Princen and Bradley 1986",
        {rate_option(),
         format_option(),
         {"frequencies", std::int64_t{128}, "of a frame, and samples from frame to frame", 2, 65536},
         compress_option(),
         gain_option()},
        {}},
       [](const Settings& settings, const CodecParts&) -> CodecPtr { return std::make_shared<MdctCodec>(settings); }});
}

}  // namespace thaw::audio
