// Sounds as mel spectrograms: small, and close to what is heard. What is lost is the phase, which is guessed again.

#include <algorithm>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "modalities/audio/list.h"
#include "modalities/audio/mel.h"
#include "modalities/audio/sound_codec.h"
#include "modalities/audio/sound_files.h"

namespace thaw::audio {

MelOptions mel_preset(const std::string& name) {
  MelOptions own;
  if (name == "thaw") return own;
  if (name == "diffwave") {
    // Kong et al. 2021 as published: 20 log10(max(x, 1e-5)) - 20, (x + 100) / 100 in [0, 1], here 2 x - 1 of that.
    own = {22050, {1024, 256, 1024}, 80, 20.0, 11025.0, MelScale::kHtk, MelNorm::kNone, SpectrumNorm::kWindow};
    own.floor = 1e-5, own.mean = -30.0, own.spread = 50.0, own.most = 1.0;
    return own;
  }
  if (name == "audioldm") {
    // Liu et al. 2023: natural logarithm of magnitudes; mean and spread are AudioMAE's, which it takes over.
    own = {16000, {1024, 160, 1024}, 64, 0.0, 8000.0, MelScale::kSlaney, MelNorm::kSlaney, SpectrumNorm::kNone};
    own.floor = 1e-5, own.factor = std::log(10.0), own.mean = -4.63, own.spread = 2.74;
    return own;
  }
  // torchaudio.transforms.MelSpectrogram and AmplitudeToDB as they default.
  own = {16000, {400, 200, 400}, 128, 0.0, 8000.0, MelScale::kHtk, MelNorm::kNone, SpectrumNorm::kNone};
  own.power = 2.0, own.floor = 1e-10, own.factor = 10.0, own.mean = 0.0, own.spread = 20.0;
  return own;
}

namespace {

// A number of 0 leaves the preset's.
MelOptions options_of(const Settings& settings) {
  MelOptions o = mel_preset(settings.text("preset"));
  const auto take = [&settings](const char* name, std::int64_t& value) {
    if (const std::int64_t given = settings.integer(name); given > 0) value = given;
  };
  take("rate", o.rate_hz);
  take("n_fft", o.stft.n_fft);
  o.stft.window = o.stft.n_fft;
  take("hop", o.stft.hop);
  take("mels", o.mels);
  if (const double given = settings.number("f_min"); given >= 0) o.lowest_hz = given;
  if (const double given = settings.number("f_max"); given > 0) o.highest_hz = given;
  if (o.stft.n_fft % 2 != 0) settings.fail("n_fft", concat(o.stft.n_fft, " is odd; even numbers are allowed."));
  if (o.stft.hop > o.stft.n_fft / 2)
    settings.fail("hop", concat(o.stft.hop, " leaves gaps; at most half of n_fft = ", o.stft.n_fft, " is allowed."));
  const double nyquist = static_cast<double>(o.rate_hz) / 2;
  if (o.highest_hz > nyquist || o.lowest_hz >= o.highest_hz)
    settings.fail("f_max", concat("expected f_min < f_max <= rate / 2, got ", o.lowest_hz, ", ", o.highest_hz, ", ",
                                  nyquist, "."));
  return o;
}

// Guessed phases, and what a vocoder draws, add up to other peaks than the sound's own: one above full scale is softer
// as a whole, so that nothing is clipped. The constant part, which no filter hears, is taken off.
at::Tensor as_recorded(const at::Tensor& sounds_NCT) {
  const at::Tensor sounds = sounds_NCT - sounds_NCT.mean({2}, true);
  constexpr double kMostPeak = 0.999;
  return sounds * (kMostPeak / sounds.abs().amax({1, 2}, true).clamp_min(kMostPeak));
}

// Soft noise, in which every filter hears something: at least `least` samples, a multiple of the hop.
at::Tensor probe_sound(std::int64_t channels, std::int64_t least, std::int64_t hop) {
  at::Tensor sound = at::empty({1, channels, (least + hop - 1) / hop * hop}, at::kFloat);
  fill_normal({sound.data_ptr<float>(), static_cast<std::size_t>(sound.numel())}, {0, Purpose::kCodec, 0, 0, 0});
  return sound * 0.1;
}

// A vocoder that is told of a sound what this codec encodes of it, to a rounding.
OpenedTold open_vocoder(const Settings& settings, const CodecParts& parts, const MelTransform& mel) {
  constexpr double kMostApart = 1e-3;
  const std::string& path = settings.text("vocoder");
  OpenedTold vocoder = parts.open_told(path);
  if (vocoder.raw_shape.size() != 2)
    settings.fail("vocoder", concat(path, " draws samples of ", at::IntArrayRef(vocoder.raw_shape), ", no sounds."));
  const Stft& stft = mel.options().stft;
  const at::Tensor probe = probe_sound(vocoder.raw_shape[0], std::max(vocoder.raw_shape[1], 2 * stft.n_fft), stft.hop);
  const at::Tensor told = vocoder.told_of(probe), all = mel.forward(probe.flatten(0, 1));
  const at::Tensor own = all.reshape({1, -1, all.size(2)});
  const char* const kMend =
      "the codec's preset and hop must be backbone.mel_preset and mel_hop, its waveform's gain 1.";
  if (told.sizes() != own.sizes())
    settings.fail("vocoder", concat(path, " is told ", told.sizes().slice(1), " of a sound of which this codec makes ",
                                    own.sizes().slice(1), ": ", kMend));
  if (const double apart = (told - own).abs().max().item<double>(); !(apart <= kMostApart))
    settings.fail("vocoder", concat(path, " is told of sounds what this codec encodes otherwise (by ",
                                    format_short(apart), "): ", kMend));
  return vocoder;
}

/// decode(encode(raw)) sounds like raw: `thaw roundtrip` measures how much.
class MelCodec : public SoundCodec {
 public:
  MelCodec(const Settings& settings, const CodecParts& parts, const MelOptions& options)
      : SoundCodec(options.rate_hz, settings),
        mel_(options),
        griffin_lim_{settings.integer("iterations"), settings.number("momentum")} {
    if (!settings.text("vocoder").empty()) vocoder_ = open_vocoder(settings, parts, mel_);
  }
  at::Tensor encode(const at::Tensor& raw_NCT) const override {
    const at::Tensor x = mel_.forward(raw_NCT.to(at::kFloat).flatten(0, 1));
    // T / hop frames: the one behind the last sample is left out. Time comes first behind the channels, where tasks and
    // levels of parts look for it.
    const at::Tensor frames_NKM = x.narrow(2, 0, x.size(2) - 1).transpose(1, 2);
    return frames_NKM.reshape({raw_NCT.size(0), -1, frames_NKM.size(1), frames_NKM.size(2)}).contiguous();
  }
  at::Tensor decode(const at::Tensor& x_NCKM) const override {
    const at::Tensor x = x_NCKM.detach().to(at::kCPU, at::kFloat).flatten(0, 1).transpose(1, 2);
    const std::int64_t batch = x_NCKM.size(0), frames = x.size(2), length = frames * mel_.options().stft.hop;
    const at::Tensor all = at::cat({x, x.narrow(2, frames - 1, 1)}, 2);
    const at::Tensor sounds = vocoder_ ? vocoder_->draw(all.reshape({batch, -1, frames + 1}), length)
                                       : mel_.inverse(all, griffin_lim_, length);
    return as_recorded(sounds.reshape({batch, -1, length}));
  }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    expect_sound("mel", raw_shape);
    const Stft& stft = mel_.options().stft;
    expect_multiple("mel", raw_shape[1], stft.hop);
    if (raw_shape[1] <= stft.n_fft / 2)
      throw DataError(concat("codec \"mel\": ", raw_shape[1], " samples, more than ", stft.n_fft / 2, " are needed."));
    return {raw_shape[0], raw_shape[1] / stft.hop, mel_.options().mels};
  }

  std::vector<std::filesystem::path> files() const override {
    return vocoder_ ? vocoder_->files : std::vector<std::filesystem::path>{};
  }

 private:
  MelTransform mel_;
  GriffinLim griffin_lim_;
  std::optional<OpenedTold> vocoder_{};
};

}  // namespace

void register_mel_codec(CodecRegistry& registry) {
  registry.add(
      {{"mel",
        "Mel spectrograms in decibels or logarithms; sounds come back by the fast Griffin-Lim algorithm, "
        "or by a vocoder.",
        "Griffin and Lim 1984; Perraudin, Balazs and Sondergaard 2013",
        {{.name = "preset",
          .fallback = std::string("thaw"),
          .help = "all parameters, of which those below can be set apart",
          .choices = {"thaw", "diffwave", "audioldm", "torchaudio"}},
         format_option(),
         {"rate", std::int64_t{0}, "samples a second of the data; 0: the preset's", 0, 384000},
         {"n_fft", std::int64_t{0}, "samples a frame and of its Hann window; 0: the preset's", 0, 65536},
         {"hop", std::int64_t{0}, "samples from frame to frame; 0: the preset's", 0, 65536},
         {"mels", std::int64_t{0}, "filters; 0: the preset's", 0, 1024},
         {"f_min", -1.0, "Hz, where the lowest filter begins; -1: the preset's", -1, 192000},
         {"f_max", 0.0, "Hz, where the highest filter ends; 0: the preset's", 0, 192000},
         {.name = "iterations", .fallback = std::int64_t{32}, .help = "of Griffin-Lim", .minimum = 0, .maximum = 10000},
         {.name = "momentum", .fallback = 0.99, .help = "of Griffin-Lim; 0: the original", .minimum = 0, .maximum = 1},
         {"vocoder", std::string(),
          "model directory or finished run of a network that is told mel spectrograms and draws their sounds, in place "
          "of Griffin-Lim; none: that"}},
        {}},
       [](const Settings& settings, const CodecParts& parts) -> CodecPtr {
         return std::make_shared<MelCodec>(settings, parts, options_of(settings));
       }});
}

}  // namespace thaw::audio
