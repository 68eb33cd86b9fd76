// The denoisers of sounds of our own: along one dimension, of waveforms or latents.

#include <ATen/core/Tensor.h>

#include "core/base/text.h"
#include "core/nn/diffwave.h"
#include "core/nn/sequence_transformer.h"
#include "core/nn/unet1d.h"
#include "modalities/audio/list.h"
#include "modalities/audio/vocoder.h"
#include "text/told_backbone.h"

namespace thaw::audio {

namespace {

void expect_sound(const Settings& settings, const DataSpec& spec) {
  if (spec.shape.size() != 2)
    settings.fail("type",
                  concat("works on sounds [channels, samples], the data is ", at::IntArrayRef(spec.shape), "."));
  text::expect_captions(settings, spec);
  text::expect_coarse(settings, spec, 1);
}

std::unique_ptr<Backbone> make_vocoder(nn::DiffWaveOptions options, const Settings& settings, const DataSpec& spec,
                                       std::uint64_t seed) {
  for (const char* other : {"self_conditioning", "given", "learns_variance"})
    if (settings.flag(other)) settings.fail(other, "does not go with told_of_sample: mel.");
  if (settings.integer("coarse") > 0) settings.fail("coarse", "does not go with told_of_sample: mel.");
  for (const char* other : {"words", "numbers"})
    if (!settings.texts(other).empty()) settings.fail(other, "does not go with told_of_sample: mel.");
  MelOptions mel = mel_preset(settings.text("mel_preset"));
  if (const std::int64_t hop = settings.integer("mel_hop"); hop > 0) mel.stft.hop = hop;
  if (mel.stft.hop > mel.stft.n_fft / 2)
    settings.fail("mel_hop",
                  concat("must be at most ", mel.stft.n_fft / 2, ", half a window, got ", mel.stft.hop, "."));
  if (spec.shape[1] % mel.stft.hop != 0 || spec.shape[1] <= mel.stft.n_fft / 2)
    settings.fail("mel_hop", concat("sounds must be a multiple of the hop ", mel.stft.hop, " and longer than ",
                                    mel.stft.n_fft / 2, " samples, they are ", spec.shape[1], "."));
  options.takes_target = settings.flag("takes_target");
  options.takes_guidance = settings.flag("takes_guidance");
  return std::make_unique<Vocoder>(options, mel, seed);
}

std::unique_ptr<Backbone> make_diffwave(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_sound(settings, spec);
  nn::DiffWaveOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.width = settings.integer("width");
  options.depth = settings.integer("depth");
  options.cycle = settings.integer("cycle");
  options.embedding = settings.integer("embedding");
  options.num_classes = spec.num_classes;
  if (settings.text("told_of_sample") == "mel") return make_vocoder(options, settings, spec, seed);
  return std::make_unique<text::ToldBackbone<nn::DiffWave, nn::DiffWaveOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_unet1d(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_sound(settings, spec);
  nn::UNet1dOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.length = spec.shape[1];
  options.patch = settings.integer("patch");
  options.width = settings.integer("width");
  options.multipliers = settings.integers("multipliers");
  options.factor = settings.integer("factor");
  options.blocks = settings.integer("blocks");
  options.attention = settings.integers("attention");
  options.head_width = settings.integer("head_width");
  options.dropout = settings.number("dropout");
  options.num_classes = spec.num_classes;
  if (options.multipliers.empty()) settings.fail("multipliers", "needs one number a level.");
  if (options.multipliers.size() > 20) settings.fail("multipliers", "names more than 20 levels.");
  if (options.length % options.patch != 0)
    settings.fail("patch", concat("must divide the length ", options.length, ", got ", options.patch, "."));
  std::int64_t places = options.length / options.patch;
  for (std::size_t level = 1; level < options.multipliers.size(); ++level) {
    if (places % options.factor != 0)
      settings.fail("multipliers", concat("the step to level ", level + 1, " divides ", places, " places by ",
                                          options.factor, ", which leaves a rest."));
    places /= options.factor;
  }
  return std::make_unique<text::ToldBackbone<nn::UNet1d, nn::UNet1dOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_sound_transformer(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_sound(settings, spec);
  nn::SpaceTimeOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.patch = {settings.integer("patch"), 1, 1};
  options.features = settings.integer("features");
  options.depth = settings.integer("depth");
  options.heads = settings.integer("heads");
  options.num_classes = spec.num_classes;
  if (spec.shape[1] % options.patch.times != 0)
    settings.fail("patch", concat(options.patch.times, " does not divide sounds of ", spec.shape[1], " samples."));
  if (options.features % (2 * options.heads) != 0)
    settings.fail("features", concat("must be a multiple of twice the heads, got ", options.features, " with ",
                                     options.heads, " heads."));
  return std::make_unique<text::ToldBackbone<nn::SequenceTransformer, nn::SpaceTimeOptions>>(options, settings, seed);
}

std::vector<Option> unet_options() {
  return text::with_told_options(
      {{"width", std::int64_t{32}, "channels at multiplier 1", 4, 4096},
       {"multipliers", std::vector<double>{1, 2, 4, 4}, "of the width, one a level", 1, 64},
       {"factor", std::int64_t{4}, "how many times fewer places a level has than the one before", 2, 16},
       {"patch", std::int64_t{1}, "neighbouring samples that are one place of the network", 1, 4096},
       {"blocks", std::int64_t{1}, "residual blocks a level", 1, 64},
       {"attention", std::vector<double>{}, "numbers of places at which blocks attend", 1, 1e6},
       {"head_width", std::int64_t{32}, "channels an attention head", 1, 4096},
       {"dropout", 0.0, "in residual blocks, while training", 0.0, 0.95}});
}

}  // namespace

void register_backbones(BackboneRegistry& registry) {
  registry.add({{"diffwave",
                 "Gated dilated convolutions whose answers add up, told the noise level and the class: any length.",
                 "Kong et al. 2021 (DiffWave), section 3",
                 text::with_told_options(
                     {{"width", std::int64_t{64}, "channels", 4, 4096},
                      {"depth", std::int64_t{30}, "layers", 1, 256},
                      {"cycle", std::int64_t{10}, "layers after which dilations 1, 2, 4 ... begin anew", 1, 20},
                      {"embedding", std::int64_t{512}, "width of what is told", 4, 16384},
                      {.name = "told_of_sample",
                       .fallback = std::string("nothing"),
                       .help = "mel: a vocoder, which gives a sound to a mel spectrogram",
                       .choices = {"nothing", "mel"}},
                      {.name = "mel_preset",
                       .fallback = std::string("thaw"),
                       .help = "which, as of codec mel",
                       .choices = {"thaw", "diffwave", "audioldm", "torchaudio"}},
                      {"mel_hop", std::int64_t{0}, "samples from frame to frame; 0: the preset's", 0, 65536}}),
                 {}},
                make_diffwave});
  registry.add({{"unet1d",
                 "U-Net along time: residual blocks that are told the noise level and the class, attention at chosen "
                 "numbers of places.",
                 "Dhariwal and Nichol 2021 (ADM) in one dimension",
                 unet_options(),
                 {}},
                make_unet1d});
  registry.add({{"sound_transformer",
                 "Diffusion transformer on patches of a sound or of its latents, rotary positions, normed queries and "
                 "keys.",
                 "Peebles and Xie 2023 (DiT); Evans et al. 2024 (Stable Audio Open)",
                 text::with_told_options({{"patch", std::int64_t{16}, "samples of a patch", 1, 65536},
                                          {"features", std::int64_t{128}, "width of a patch", 4, 16384},
                                          {"depth", std::int64_t{6}, "blocks", 1, 256},
                                          {"heads", std::int64_t{4}, "attention heads", 1, 256}}),
                 {}},
                make_sound_transformer});
}

}  // namespace thaw::audio
