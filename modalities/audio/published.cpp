#include "modalities/audio/published.h"

namespace thaw::audio {

namespace {

constexpr std::int64_t kMaxChannels = 1 << 16, kMaxLength = 1 << 30;

template <int channels, int length>
DataSpec spec_of(PublishedConfig& config) {
  return {
      {config.integer("in_channels", channels, 1, kMaxChannels), config.integer("sample_size", length, 1, kMaxLength)}};
}

template <int fallback>
std::int64_t output_channels(PublishedConfig& config) {
  return config.integer("out_channels", fallback, 1, kMaxChannels);
}

}  // namespace

const PublishedDenoisers& published_denoisers() {
  static const PublishedDenoisers table{
      {"UNet1DModel", {"sample", spec_of<2, 65536>, output_channels<2>, make_published_unet1d}},
      {"StableAudioDiTModel",
       {"hidden_states",
        spec_of<64, 1024>,
        output_channels<64>,
        make_published_stable_audio,
        {{"encoder_hidden_states", "text"},
         {"global_hidden_states", "global"},
         {"attention_mask", "mask"},
         {"encoder_attention_mask", "text_mask"}}}}};
  return table;
}

nn::Conv1d published_conv1d(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out,
                            std::int64_t kernel, bool has_bias) {
  nn::Conv1d layer;
  layer.weight = weights.take(name + ".weight", {out, in, kernel});
  if (has_bias) layer.bias = weights.take(name + ".bias", {out});
  layer.padding = kernel / 2;
  return layer;
}

}  // namespace thaw::audio
